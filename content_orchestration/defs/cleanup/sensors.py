"""Brings back at once what somebody saves while it waits in quarantine."""

import dagster as dg

from content_orchestration.defs.cleanup.hand import bring_back_saved_renders
from content_orchestration.defs.cleanup.jobs import clean_orphaned_renders
from content_orchestration.defs.quota.running import unfinished_run
from content_orchestration.resources.postgres import PostgresResource


@dg.sensor(
    job_name=bring_back_saved_renders.name,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def renders_saved_in_quarantine(
    context: dg.SensorEvaluationContext, postgres: PostgresResource
) -> dg.RunRequest | dg.SkipReason:
    """A run while saves of quarantined renders wait: their trigger leaves a row, so a look costs one index."""
    from content_orchestration.core.cleanup import orphans

    waiting = orphans.recalls_waiting(postgres.client())
    if not waiting:
        return dg.SkipReason("nothing in quarantine was saved")
    for job in (bring_back_saved_renders.name, clean_orphaned_renders.name):
        running = unfinished_run(context, job)
        if running:
            return dg.SkipReason(f"{waiting} were saved, and run {running} of {job} brings them back")
    return dg.RunRequest()
