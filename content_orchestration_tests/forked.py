"""Work in processes that may be killed at any step: a server forks one for each line of its input.

The imports of the BigQuery client take 2 s, a fork takes some milliseconds, so that every failpoint can be killed at.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from content_orchestration.core.failpoints import VARIABLE
from content_orchestration.resources.bigquery_client import BigQueryClient
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration.settings import PROJECT_ROOT, Settings
from content_orchestration_tests.tiers import Tiers

# What a pipe holds without a reader: the parent reads when the child has ended.
_MOST = 60_000


@dataclass(frozen=True)
class Outcome:
    """How a process ended: its exit status, negative for a signal, and what it reported or raised."""

    status: int
    said: str


class ForkServer:
    """Runs the `serve` of a module in a process of its own, and asks it for one child after another."""

    def __init__(self, module: str) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", module], cwd=PROJECT_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, tiers: Tiers, failpoint: str, **wanted: Any) -> Outcome:
        """One child that works on `tiers` and dies at `failpoint`, where one is named."""
        assert self._server.stdin
        assert self._server.stdout
        place = {
            "environment": tiers.environment() | {VARIABLE: failpoint},
            "url": tiers.database_url,
            "project": tiers.zerodb_project,
            "dataset": tiers.bigquery_dataset,
        }
        self._server.stdin.write(json.dumps(place | wanted) + "\n")
        self._server.stdin.flush()
        return Outcome(**json.loads(self._server.stdout.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.close()
        self._server.wait(20)
        self._server.stdout.close()


class Clients(NamedTuple):
    """What a child works with."""

    database: PostgresClient
    store: ZeroDBClient
    warehouse: BigQueryClient


@contextmanager
def clients(wanted: dict[str, Any]) -> Iterator[Clients]:
    """Clients of the tiers that the test named, made in the child: connections do not survive a fork."""
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
        yield Clients(database, store, warehouse)


def serve(work: Callable[[dict[str, Any]], str]) -> None:
    """Fork a child for each line, let it do `work`, and answer with its `Outcome`, until the input ends."""
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            code = 2
            try:
                os.write(writing, work(json.loads(line)).encode()[:_MOST])
                code = 0
            except BaseException as error:  # noqa: BLE001  (the test is told of whatever it is)
                os.write(writing, f"{type(error).__name__}: {error}".encode()[:_MOST])
                code = 1
            finally:
                os._exit(code)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            said = pipe.read().decode(errors="replace")
        _, status = os.waitpid(child, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status), "said": said}), flush=True)  # noqa: T201  (the answer, to the test)
