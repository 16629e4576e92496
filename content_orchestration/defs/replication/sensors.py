"""Starts a sync before its time when much is waiting."""

import dagster as dg

from content_orchestration.core.replication.status import backlog
from content_orchestration.defs.replication.schedules import replicate_to_bigquery
from content_orchestration.resources.bigquery import why_unavailable
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.settings import get_settings

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


@dg.sensor(job=replicate_to_bigquery, minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def replicate_early(context: dg.SensorEvaluationContext, postgres: PostgresResource) -> dg.RunRequest | dg.SkipReason:
    """One sync when the backlog passes SYNC_EARLY_ROWS or SYNC_EARLY_BYTES and none is on its way."""
    settings = get_settings()
    reason = why_unavailable(settings)
    if reason:
        return dg.SkipReason(reason)
    waiting = backlog(postgres.client(), most=settings.sync_early_rows)
    if waiting.changes < settings.sync_early_rows and waiting.bytes < settings.sync_early_bytes:
        return dg.SkipReason(f"{waiting.changes} changes and {waiting.bytes} bytes wait: the schedule takes them")
    running = context.instance.get_runs(
        dg.RunsFilter(job_name=replicate_to_bigquery.name, statuses=_UNFINISHED), limit=1
    )
    if running:
        return dg.SkipReason(f"run {running[0].run_id} is replicating already")
    return dg.RunRequest()
