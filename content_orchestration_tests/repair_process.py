"""Repairs in processes that may be killed. `python -m` of this module forks one for each line of its input.

As `replication_process.py` does for syncs: the imports take seconds, a fork takes some milliseconds.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from content_orchestration.core.failpoints import VARIABLE
from content_orchestration.core.integrity.repair import Repairer
from content_orchestration.core.integrity.survey import Sides
from content_orchestration.core.replication.engine import Replicator
from content_orchestration.resources.bigquery_client import BigQueryClient
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration.settings import PROJECT_ROOT, Settings
from content_orchestration_tests.repair_world import LIMITS
from content_orchestration_tests.tiers import Tiers


class RepairProcesses:
    """Starts repairs of the same tiers in processes of their own."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", __name__], cwd=PROJECT_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def repair(self, tiers: Tiers, report_id: int, *, failpoint: str = "") -> int:
        """The exit status, negative for a signal."""
        assert self._server.stdin
        assert self._server.stdout
        wanted = {
            "environment": tiers.environment() | {VARIABLE: failpoint},
            "url": tiers.database_url,
            "project": tiers.zerodb_project,
            "dataset": tiers.bigquery_dataset,
            "report_id": report_id,
        }
        self._server.stdin.write(json.dumps(wanted) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.close()
        self._server.wait(20)
        self._server.stdout.close()


def _repair(wanted: dict[str, Any]) -> None:
    os.environ.update(wanted["environment"])
    settings = Settings(LOCAL_STATE_DIR=Path(wanted["environment"]["LOCAL_STATE_DIR"]))
    google = bigquery.Client(
        project=settings.bigquery_project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": settings.bigquery_url},
    )
    warehouse = BigQueryClient(google, wanted["dataset"], attempts=3, retry_seconds=20.0)
    with (
        PostgresClient(wanted["url"]) as database,
        ZeroDBClient(settings.zerodb_url, wanted["project"], settings.zerodb_key, timeout=10.0) as store,
    ):
        run_id = f"pid {os.getpid()}"

        def sync() -> None:
            Replicator(database, store, warehouse, batch_size=1000, max_bytes=10**7, run_id=run_id).sync()

        Repairer(Sides(database, store, warehouse), LIMITS, sync, run_id=run_id).repair(
            wanted["report_id"], kinds=[], max_repairs=1000, dry_run=False
        )


def _serve() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 2
            try:
                _repair(json.loads(line))
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201  (the answer, to the test)


if __name__ == "__main__":
    _serve()
