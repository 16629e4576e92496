"""When drills run: every week, all six disasters in one run."""

import dagster as dg

from content_orchestration.core.drill.scenarios import SCENARIOS
from content_orchestration.defs.restore.assets import dr_drill, drills_report
from content_orchestration.failures import stop_run_retries
from content_orchestration.resources.drill import why_no_drill
from content_orchestration.settings import get_settings

ALL_DISASTERS = {
    "dagster/asset_partition_range_start": SCENARIOS[0].name,
    "dagster/asset_partition_range_end": SCENARIOS[-1].name,
}

run_drills = dg.define_asset_job(
    "run_drills",
    selection=[dr_drill, drills_report],
    hooks={stop_run_retries},
    description="Disasters in scratch tiers, recovered from and measured. Choose one partition or all of them.",
)


@dg.schedule(job=run_drills, cron_schedule="0 4 * * 0", default_status=dg.DefaultScheduleStatus.RUNNING)
def drill_every_week(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Sundays at 04:00 UTC, unless there is no place for drills or no BigQuery."""
    from content_orchestration.resources.bigquery import why_unavailable

    settings = get_settings()
    reason = why_no_drill(settings) or why_unavailable(settings)
    if reason:
        return dg.SkipReason(reason)
    return dg.RunRequest(tags=ALL_DISASTERS)
