"""A tenant's files taken in and described in processes that may be killed. `python -m` of it forks one a line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self
from uuid import UUID

from content_orchestration.core.failpoints import VARIABLE
from content_orchestration.core.media.download import Downloader
from content_orchestration.core.media.inbox import Inbox
from content_orchestration.core.media.ingest import Ingestor
from content_orchestration.core.media.pipeline import process_waiting, store_waiting
from content_orchestration.core.media.processing import Processor
from content_orchestration.core.media.spool import Spool
from content_orchestration.core.media.variants import VariantSettings
from content_orchestration.core.media.worker import ImageWorker
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.resources.object_store import TenantStores
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration.settings import PROJECT_ROOT
from content_orchestration_tests.tiers import Tiers


class MediaProcesses:
    """Starts runs over the same tenant in processes of their own."""

    def __init__(self, tiers: Tiers, url: str, spool: Path, tenant_id: UUID) -> None:
        self._wanted = {
            "url": tiers.database_url, "zerodb": tiers.settings.zerodb_url, "project": tiers.zerodb_project,
            "key": tiers.settings.zerodb_key, "stores": url, "spool": str(spool), "tenant": str(tenant_id),
        }  # fmt: skip
        self._server = subprocess.Popen(
            [sys.executable, "-m", __name__], cwd=PROJECT_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, failpoint: str = "", *, sizes: tuple[int, ...] = (150, 400), remake: bool = False) -> dict[str, Any]:
        """One run; its exit status, negative for a signal, and what it reported."""
        assert self._server.stdin
        assert self._server.stdout
        line = json.dumps(self._wanted | {"failpoint": failpoint, "sizes": sizes, "remake": remake})
        self._server.stdin.write(line + "\n")
        self._server.stdin.flush()
        answer: dict[str, Any] = json.loads(self._server.stdout.readline())
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait(20)
        assert self._server.stdout
        self._server.stdout.close()


def _run(wanted: dict[str, Any]) -> dict[str, Any]:
    os.environ[VARIABLE] = wanted["failpoint"]
    tenant, stores = UUID(wanted["tenant"]), TenantStores(wanted["stores"])
    with (
        PostgresClient(wanted["url"]) as database,
        ZeroDBClient(wanted["zerodb"], wanted["project"], wanted["key"], timeout=10.0) as documents,
        ImageWorker() as worker,
    ):
        ledger = QuotaLedger(database)
        dropped = Inbox(database, stores, ledger, documents).register(tenant)
        ingestor = Ingestor(database, stores, ledger, documents, Downloader(), Spool(Path(wanted["spool"])))
        settings = VariantSettings(tuple(wanted["sizes"]), 80)
        files = store_waiting(database, ingestor, tenant, most=100)
        processor = Processor(database, stores, documents, worker, settings=settings)
        made = process_waiting(database, processor, tenant, most=100, remake=wanted["remake"])
        return {"dropped": dropped.registered, "files": files.as_metadata(), "made": made.as_metadata()}


def _serve() -> None:
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            code = 2
            try:
                os.write(writing, json.dumps(_run(json.loads(line))).encode()[:60_000])
                code = 0
            finally:
                os._exit(code)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            said = pipe.read().decode()
        _, status = os.waitpid(child, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status), "said": said}), flush=True)  # noqa: T201  (the answer, to the test)


if __name__ == "__main__":
    _serve()
