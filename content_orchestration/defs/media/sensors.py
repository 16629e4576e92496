"""Takes files in as they come: rows whose bytes are wanted, files to describe, tags that are due, drop folders."""

from uuid import UUID

import dagster as dg

from content_orchestration.core.errors import ContentError
from content_orchestration.core.media.waiting import waiting_tenants
from content_orchestration.defs.media.jobs import take_files_in
from content_orchestration.policies import TENANTS
from content_orchestration.resources.media import MediaResource
from content_orchestration.resources.postgres import PostgresResource

# Tenants that one tick asks runs for, and drop folders that one tick looks into: a listing costs some 50 ms in S3.
_MOST_RUNS = 20
_MOST_FOLDERS = 50
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


@dg.sensor(job=take_files_in, minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def media_waiting(
    context: dg.SensorEvaluationContext, postgres: PostgresResource, media: MediaResource
) -> dg.SensorResult | dg.SkipReason:
    """A run for each tenant with files to fetch, to describe or to tag, unless one is on its way."""
    waiting = waiting_tenants(postgres.client(), tags=media.vision() is not None)
    busy = _busy(context)
    known = set(context.instance.get_dynamic_partitions(TENANTS.name or ""))
    asked = [tenant for tenant in waiting if tenant in known and tenant not in busy][:_MOST_RUNS]
    if not asked:
        return dg.SkipReason(
            f"{sum(waiting.values())} files of {len(waiting)} tenants wait; each has a run already, or no partition yet"
            if waiting
            else "no file waits"
        )
    return dg.SensorResult(run_requests=[dg.RunRequest(partition_key=tenant) for tenant in asked])


@dg.sensor(job=take_files_in, minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.RUNNING)
def media_dropped(
    context: dg.SensorEvaluationContext, postgres: PostgresResource, media: MediaResource
) -> dg.SensorResult | dg.SkipReason:
    """A run for each tenant in whose drop folder files lie that have no row yet; 50 folders a tick, in turn."""
    tenants = context.instance.get_dynamic_partitions(TENANTS.name or "")
    # In turn: those behind the tenant that the last tick ended with come first.
    behind = [tenant for tenant in sorted(tenants) if tenant > (context.cursor or "")]
    turn = (behind + sorted(tenants))[: min(_MOST_FOLDERS, len(tenants))]
    busy = _busy(context)
    inbox = media.inbox()
    asked, lost = [], []
    for tenant in turn:
        try:
            if tenant not in busy and inbox.waiting(UUID(tenant)):
                asked.append(tenant)
        except ContentError as error:
            lost.append(f"{tenant}: {error}")
    context.update_cursor(turn[-1] if turn else "")
    if asked:
        return dg.SensorResult(run_requests=[dg.RunRequest(partition_key=tenant) for tenant in asked])
    if lost:
        return dg.SkipReason(f"{len(lost)} of {len(turn)} drop folders could not be listed: {lost[0]}")
    return dg.SkipReason(f"{len(turn)} drop folders hold nothing new")


def _busy(context: dg.SensorEvaluationContext) -> set[str]:
    """Tenants for whom a run of this job has not ended."""
    runs = context.instance.get_runs(dg.RunsFilter(job_name=take_files_in.name, statuses=_UNFINISHED), limit=1000)
    return {run.tags["dagster/partition"] for run in runs if "dagster/partition" in run.tags}
