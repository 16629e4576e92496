"""Ingest in a process of its own, for tests that kill it or run many. Each line of its input is a task, as JSON.

It forks a child for each: importing takes longer than ingesting. A child's last line of output is its exit code.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any
from uuid import UUID

from content_orchestration.core.failpoints import VARIABLE
from content_orchestration.core.media.download import Downloader
from content_orchestration.core.media.inbox import Inbox
from content_orchestration.core.media.ingest import Ingestor
from content_orchestration.core.media.spool import Spool
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.resources.object_store import TenantStores
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration_tests.media_world import loopback_too


def work(asked: dict[str, Any]) -> object:
    if asked.get("failpoint"):
        os.environ[VARIABLE] = asked["failpoint"]
    with (
        PostgresClient(asked["database"], pool_size=4) as database,
        ZeroDBClient(asked["zerodb"], asked["project"], asked["key"]) as documents,
    ):
        stores = TenantStores(asked["stores"], **asked.get("options", {}))
        ledger = QuotaLedger(database)
        if "inbox" in asked:
            return (
                Inbox(database, stores, ledger, documents, now=lambda: 1e12).register(UUID(asked["inbox"])).registered
            )
        ingestor = Ingestor(
            database, stores, ledger, documents, Downloader(total_seconds=60, permits=loopback_too),
            Spool(Path(asked["spool"])),
        )  # fmt: skip
        return [ingestor.ingest_asset(UUID(asset)).outcome for asset in asked["assets"]]


def main() -> None:
    tasks = [json.loads(line) for line in sys.stdin]
    children = []
    for number, asked in enumerate(tasks):
        child = os.fork()
        if not child:
            code = 1
            try:
                Path(asked["answer"]).write_text(json.dumps(work(asked)))
                code = 0
            except BaseException:  # noqa: BLE001  (a forked child never returns into its parent's stack)
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append((number, child))
    codes = {number: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for number, child in children}
    sys.stdout.write(json.dumps([codes[number] for number in range(len(tasks))]) + "\n")


if __name__ == "__main__":
    main()
