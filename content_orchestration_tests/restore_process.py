"""Restores in processes that may be killed. `python -m` of this module forks one for each line of its input.

As `replication_process.py`: the imports take seconds, a fork some milliseconds.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from content_orchestration.core.errors import ContentError
from content_orchestration.core.failpoints import VARIABLE
from content_orchestration.core.restore.engine import Restorer
from content_orchestration.core.restore.request import RestoreRequest
from content_orchestration.resources.bigquery_client import BigQueryClient
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration.settings import PROJECT_ROOT, Settings
from content_orchestration_tests.replication_process import Outcome
from content_orchestration_tests.tiers import Tiers


class RestoreProcesses:
    """Starts restores of everything into the live tables, in processes of their own."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", __name__], cwd=PROJECT_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def restore(self, tiers: Tiers, as_of: int, plan_hash: str, *, chunk_bytes: int, failpoint: str = "") -> Outcome:
        """One restore by one worker, so that failpoints are passed in order."""
        assert self._server.stdin
        assert self._server.stdout
        wanted = {
            "environment": tiers.environment() | {VARIABLE: failpoint},
            "url": tiers.database_url,
            "project": tiers.zerodb_project,
            "dataset": tiers.bigquery_dataset,
            "as_of": as_of,
            "plan_hash": plan_hash,
            "chunk_bytes": chunk_bytes,
        }
        self._server.stdin.write(json.dumps(wanted) + "\n")
        self._server.stdin.flush()
        return Outcome(**json.loads(self._server.stdout.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait(20)
        assert self._server.stdout
        self._server.stdout.close()


def _restore(wanted: dict[str, Any]) -> str:
    os.environ.update(wanted["environment"])
    settings = Settings(LOCAL_STATE_DIR=Path(wanted["environment"]["LOCAL_STATE_DIR"]))
    google = bigquery.Client(
        project=settings.bigquery_project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": settings.bigquery_url},
    )
    warehouse = BigQueryClient(
        google, wanted["dataset"], attempts=3, retry_seconds=20.0, read_endpoint=settings.bigquery_read_address
    )
    with (
        PostgresClient(wanted["url"]) as database,
        ZeroDBClient(settings.zerodb_url, wanted["project"], settings.zerodb_key, timeout=10.0) as store,
    ):
        restorer = Restorer(
            database, store, warehouse, run_id=f"pid {os.getpid()}", workers=1, chunk_bytes=wanted["chunk_bytes"]
        )
        return json.dumps(restorer.run(RestoreRequest(as_of=wanted["as_of"]), wanted["plan_hash"]).as_metadata())


def _serve() -> None:
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                os.write(writing, _restore(json.loads(line)).encode()[:60_000])
                code = 0
            except ContentError as error:
                os.write(writing, f"{type(error).__name__}: {error}".encode()[:60_000])
                code = 1
            finally:
                os._exit(locals().get("code", 2))
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            said = pipe.read().decode()
        _, status = os.waitpid(child, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status), "said": said}), flush=True)  # noqa: T201  (the answer, to the test)


if __name__ == "__main__":
    _serve()
