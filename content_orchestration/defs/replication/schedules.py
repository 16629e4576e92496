"""When replication runs."""

import dagster as dg

from content_orchestration.failures import stop_run_retries
from content_orchestration.settings import get_settings

replicate_to_bigquery = dg.define_asset_job(
    "replicate_to_bigquery",
    selection=dg.AssetSelection.groups("replication", "status"),
    hooks={stop_run_retries},
    description="One sync: everything that changed since the last one, with its checks.",
)


@dg.schedule(
    job=replicate_to_bigquery,
    cron_schedule=get_settings().sync_cron,
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def replicate_on_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Every BIGQUERY_SYNC_INTERVAL_MINUTES, unless replication is switched off or has no credentials."""
    from content_orchestration.resources.bigquery import why_unavailable

    reason = why_unavailable(get_settings())
    if reason:
        return dg.SkipReason(reason)
    return dg.RunRequest()
