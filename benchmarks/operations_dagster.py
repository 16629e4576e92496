"""The Dagster of the operations benchmark: UI and daemon as children, a one-asset project beside ours, real launches.

What is measured with it is `operations.py`'s.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
from dagster._utils.schedules import schedule_execution_time_iterator
from psycopg.rows import scalar_row

from benchmarks.scratch import say
from content_orchestration.core.sql import statement
from content_orchestration.local.ui import DagsterUI
from content_orchestration.settings import PROJECT_ROOT, Settings

OURS = "content_orchestration"
TRIVIAL = "trivial"
_RUN_SECONDS = 1200.0
_START_SECONDS = 600.0  # a slow start is a result, not an error
_DAYS = 364
# With what Dagster gives a new project: a process a run, and one a step. The second job has its step in the run's own
# process, as all of ours have.
_ONE_ASSET = '''
import dagster as dg


@dg.asset
def one() -> None:
    """Nothing."""


defs = dg.Definitions(
    assets=[one],
    jobs=[
        dg.define_asset_job("trivial", selection=[one]),
        dg.define_asset_job("trivial_in_process", selection=[one], executor_def=dg.in_process_executor),
    ],
)
'''


@dataclass(frozen=True)
class Ended:
    """A run that was launched by the daemon and has ended."""

    run_id: str
    status: str


def workspace(folder: Path) -> Path:
    """A workspace of two projects: ours, and one of one asset."""
    (folder / "trivial.py").write_text(_ONE_ASSET, encoding="utf-8")
    path = folder / "workspace.yaml"
    path.write_text(
        "load_from:\n"
        f"  - python_module: {{module_name: {OURS}.definitions, location_name: {OURS}}}\n"
        f"  - python_file: {{relative_path: {folder / 'trivial.py'}, location_name: {TRIVIAL}}}\n",
        encoding="utf-8",
    )
    return path


def ui_seconds(settings: Settings) -> float:
    """Seconds from the start of `make up`'s UI, its servers running, to its first answer."""
    ui = DagsterUI(settings, patience=_START_SECONDS)
    try:
        return ui.start()
    finally:
        ui.stop()


@contextmanager
def serving(settings: Settings, workspace_file: Path) -> Iterator["Launcher"]:
    """The UI and the daemon of `make up` over another workspace."""
    ui = DagsterUI(settings, workspace=workspace_file, patience=_START_SECONDS)
    ui.start()
    try:
        yield Launcher(settings)
    finally:
        ui.stop()


class Launcher:
    """Starts runs as a person does in the UI: they are queued, and the daemon launches each in a process of its own."""

    def __init__(self, settings: Settings) -> None:
        from dagster_graphql import DagsterGraphQLClient

        self._client = DagsterGraphQLClient("127.0.0.1", port_number=settings.dagster_ui_port)
        self._url = settings.dagster_database_url

    def submit(
        self, location: str, job: str, *, config: Mapping[str, Any] | None = None, tags: Mapping[str, str] | None = None
    ) -> str:
        """The id of a run that is in the queue."""
        return str(
            self._client.submit_job_execution(
                job, location, "__repository__", run_config=dict(config or {}), tags=dict(tags or {})
            )
        )

    def wait(self, runs: Sequence[str]) -> list[Ended]:
        """Until all of them have ended. Raises `TimeoutError`."""
        ended: dict[str, str] = {}
        deadline = time.monotonic() + _RUN_SECONDS
        while len(ended) < len(runs):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(runs) - len(ended)} runs did not end within {_RUN_SECONDS:.0f} s")
            for run in set(runs) - set(ended):
                status = self._client.get_run_status(run).value
                if status in ("SUCCESS", "FAILURE", "CANCELED"):
                    ended[run] = status
            time.sleep(0.5)
        return [Ended(run, ended[run]) for run in runs]

    def seconds(self, location: str, job: str) -> float:
        """Launch to success of one run. Raises `RuntimeError` where it failed."""
        (run,) = self.wait([self.submit(location, job)])
        if run.status != "SUCCESS":
            raise RuntimeError(f"{job}: run {run.run_id} ended as {run.status}")
        with psycopg.connect(self._url, row_factory=scalar_row) as connection:
            found = connection.execute(statement("benchmarks/launch_to_success"), {"run": run.run_id}).fetchone()
        return float(found or 0.0)

    def event_rows(self, runs: Sequence[str]) -> dict[str, int]:
        """Rows of the event log by run."""
        with psycopg.connect(self._url) as connection:
            rows = connection.execute(statement("benchmarks/event_rows"), {"runs": list(runs)}).fetchall()
        return {str(run): int(count) for run, count in rows}


def requests_of(
    schedule: dg.ScheduleDefinition, repository: dg.RepositoryDefinition, instance: dg.DagsterInstance
) -> list[dg.RunRequest]:
    """What one tick of the schedule asks for."""
    names = schedule.required_resource_keys
    resources = {name: repository.get_top_level_resources()[name] for name in names}
    with dg.build_schedule_context(
        instance=instance, repository_def=repository, resources=resources
    ) as context:  # fmt: skip
        found = schedule.evaluate_tick(context)
    return list(found.run_requests or [])


def ticks_a_day(schedule: dg.ScheduleDefinition) -> float:
    """Ticks of its cron a day, over 52 weeks."""
    begin = 1_767_225_600.0  # 2026-01-01, a Thursday
    end = begin + _DAYS * 86_400
    moments = schedule_execution_time_iterator(begin, schedule.cron_schedule, schedule.execution_timezone)
    return sum(1 for _ in takewhile(lambda moment: moment.timestamp() < end, moments)) / _DAYS


def import_seconds(module: str) -> float:
    """Seconds that a fresh Python takes to import a module."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_ROOT, env=os.environ, capture_output=True, text=True, check=True
    )
    return float(ran.stdout.split()[-1])


def tell(title: str, rows: Sequence[Sequence[object]]) -> None:
    """A small table on stderr."""
    say(title)
    for row in rows:
        say("  " + "  ".join(f"{cell:>10,.2f}" if isinstance(cell, float) else f"{cell!s:<36}" for cell in row))
