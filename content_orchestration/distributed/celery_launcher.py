"""Runs as Celery tasks, watched: who works a run is asked of the workers, not believed. Workers are `celery_app.py`'s.

dagster-celery's launcher takes the last state that Redis holds for the truth. A worker that was killed leaves
`STARTED` there for ever; its run never ends, and one that it had taken and not yet begun is not looked at for an hour.
"""

import logging
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any, Self, cast

from celery.states import EXCEPTION_STATES, PENDING
from dagster import DagsterRun, DagsterRunStatus, Field, IntSource, RunsFilter
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._serdes import ConfigurableClassData
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG as TASK_TAG

_LOG = logging.getLogger("dagster.celery")


class WatchedCeleryRunLauncher(CeleryRunLauncher):
    """One run, one Celery task. A run that no worker works is failed, and Dagster's run retries start it anew.

    The daemon's run monitoring asks for runs that have begun. For those that were taken and have not begun, which it
    leaves to its start timeout, a thread of the launching process asks.
    """

    def __init__(self, missed_checks: int = 3, check_seconds: int = 20, answer_seconds: int = 2, **celery: Any) -> None:
        super().__init__(**celery)
        self._missed_checks = missed_checks
        self._check_seconds = check_seconds
        self._answer_seconds = answer_seconds
        self._misses: Counter[str] = Counter()
        self._watcher: threading.Thread | None = None
        self._disposed = threading.Event()

    def launch_run(self, context: LaunchRunContext) -> None:
        """Send the run to the workers. Raises what Redis raises; the run coordinator fails the run then."""
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, name="celery-launcher", daemon=True)
            self._watcher.start()
        super().launch_run(context)

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """RUNNING while a worker works the run or is given time to answer, else FAILED.

        Raises what Redis raises where it cannot be asked: the daemon logs that and leaves the run alone.
        """
        lost = self._why_lost(run)
        return CheckRunHealthResult(WorkerStatus.FAILED if lost else WorkerStatus.RUNNING, lost)

    def fail_lost_before_they_began(self) -> list[str]:
        """Fail the runs that a worker took and lost before their first step; returns their ids.

        Those that wait in Redis for a free worker are left alone. Raises what Redis and Dagster's storage raise.
        """
        failed = []
        for run in self._instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTING])):
            task = run.tags.get(TASK_TAG)
            if task is None or self.celery.AsyncResult(task).state == PENDING:
                continue
            lost = self._why_lost(run)
            now = self._instance.get_run_by_id(run.run_id)
            if lost and now is not None and now.status == DagsterRunStatus.STARTING:
                self._instance.report_run_failed(now, f"The run was taken and not begun: {lost}.")
                failed.append(run.run_id)
        return failed

    def terminate(self, run_id: str) -> bool:
        """Interrupt the run as Ctrl-C does, so that its step can end in order; False where it has ended or has no task.

        One that does not end by itself is ended by the daemon after `run_monitoring.cancel_timeout_seconds`.
        """
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or TASK_TAG not in run.tags:
            return False
        self._instance.report_run_canceling(run)
        # SIGTERM, Celery's own choice, kills a process that has not begun its step.
        self.celery.control.revoke(run.tags[TASK_TAG], terminate=True, signal="SIGINT")
        return True

    def dispose(self) -> None:
        """End the thread."""
        self._disposed.set()
        super().dispose()

    def _why_lost(self, run: DagsterRun) -> str | None:
        """Why nobody works the run, once that was so in enough checks in a row."""
        task = run.tags.get(TASK_TAG, "")
        result = self.celery.AsyncResult(task) if task else None
        if result is not None and result.state in EXCEPTION_STATES:
            return f"its Celery task {task} ended as {result.state}: {result.result!r}"
        if result is not None and self._is_worked(task, result.info):
            self._misses.pop(run.run_id, None)
            return None
        self._misses[run.run_id] += 1
        if self._misses[run.run_id] < self._missed_checks:
            return None
        self._misses.pop(run.run_id)
        return f"no Celery worker answered for task {task} in {self._missed_checks} checks"

    def _is_worked(self, task: str, info: Any) -> bool:
        worker = info.get("hostname") if isinstance(info, dict) else None
        inspect = self.celery.control.inspect([worker] if worker else None, timeout=self._answer_seconds)
        return any(task in tasks for tasks in (inspect.query_task(task) or {}).values())

    def _watch(self) -> None:
        while not self._disposed.wait(self._check_seconds):
            try:
                self.fail_lost_before_they_began()
            except Exception:  # noqa: BLE001  (Redis or PostgreSQL may be away for a while: the next round looks again)
                _LOG.warning("could not look for runs that lost their worker; looking again", exc_info=True)

    @classmethod
    def config_type(cls) -> Any:
        """Dagster-celery's own settings and these three."""
        return {
            **cast(dict[str, Any], super().config_type()),
            "missed_checks": Field(
                IntSource,
                is_required=False,
                default_value=3,
                description="Checks in a row that no worker answers before a run counts as lost.",
            ),
            "check_seconds": Field(
                IntSource,
                is_required=False,
                default_value=20,
                description="Seconds between two checks of runs that were taken and have not begun; of begun ones, "
                "it is run_monitoring.poll_interval_seconds.",
            ),
            "answer_seconds": Field(
                IntSource, is_required=False, default_value=2, description="Seconds that a worker has for its answer."
            ),
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        """What Dagster calls with the section of `dagster.yaml`."""
        return cls(inst_data=inst_data, **config_value)
