"""Does Dagster's own storage stay small? Each night old runs go, except those that hold the latest of anything."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from content_orchestration.core.errors import Permanent
from content_orchestration.core.failpoints import reach
from content_orchestration.core.operations.compute_logs import LogsReport, remove_logs
from content_orchestration.core.operations.event_log import prune
from content_orchestration.failures import explained, stop_run_retries
from content_orchestration.policies import RETRY
from content_orchestration.presentation import values
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.settings import get_settings


class EventsFirst:
    """Deletes a run's events before the run. Dagster does it the other way, and a kill between leaves the events."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    def delete_run(self, run_id: str) -> None:
        """Delete a run with its events."""
        self._instance.event_log_storage.delete_events(run_id)
        reach("event_log_events_deleted")
        self._instance.delete_run(run_id)


class RetentionConfig(dg.Config):
    """How far back, and whether anything is deleted."""

    dry_run: bool = Field(
        default=True, description="True counts what would go and deletes nothing. The schedule sets False."
    )
    days: int = Field(
        default=0,
        ge=0,
        description="Days for which ended runs are kept, at least 2; 0 means DAGSTER_RUN_RETENTION_DAYS.",
    )


@dg.op(retry_policy=RETRY)
def remove_old_runs(context: dg.OpExecutionContext, config: RetentionConfig) -> None:
    """Ended runs past their days with their events, and the logs of runs that are gone."""
    settings = get_settings()
    with explained(), PostgresClient(_storage_url(context.instance), pool_size=4) as database:
        report = prune(
            database,
            EventsFirst(context.instance),
            days=config.days or settings.dagster_run_retention_days,
            budget_seconds=settings.dagster_retention_budget_minutes * 60,
            dry_run=config.dry_run,
        )
        folder = _log_folder(context.instance)
        logs = remove_logs(database, folder, dry_run=config.dry_run) if folder else LogsReport()
    context.add_output_metadata(values(report.as_metadata() | logs.as_metadata()))


@dg.job(
    hooks={stop_run_retries},
    description="Deletes Dagster's ended runs past DAGSTER_RUN_RETENTION_DAYS with their events and logs. Runs with "
    "the latest state of an asset, a partition or a check stay. A dry run unless told otherwise.",
)
def prune_event_log() -> None:
    """Retention of Dagster's own storage."""
    remove_old_runs()


prune_event_log_by_night = dg.ScheduleDefinition(
    name="prune_event_log_by_night",
    job=prune_event_log,
    cron_schedule="40 2 * * *",
    run_config={"ops": {"remove_old_runs": {"config": {"dry_run": False}}}},
    default_status=dg.DefaultScheduleStatus.RUNNING,
)


def _storage_url(instance: dg.DagsterInstance) -> str:
    """Where this instance has its events and runs: asked of it, so that one database is both read and deleted from."""
    events = getattr(instance.event_log_storage, "postgres_url", None)
    runs = getattr(instance.run_storage, "postgres_url", None)
    if not events or events != runs:
        raise Permanent(
            "Dagster's storage is not one PostgreSQL database: its retention works there alone. Set `storage: "
            "postgres` in dagster.yaml, as deploy/dagster.yaml does"
        )
    return str(events)


def _log_folder(instance: dg.DagsterInstance) -> Path | None:
    """Where compute logs are; None where they are not files of this machine."""
    base = getattr(instance.compute_log_manager, "_base_dir", None)
    return Path(base) if base else None
