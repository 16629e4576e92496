"""How has usage grown, and who reaches a limit when? An hourly record with charts and a forecast."""

import dagster as dg

from content_orchestration.core.quota.history import next_at_limit, plan_chart, take_history, top_tenants
from content_orchestration.core.schema.postgres import columns_of
from content_orchestration.defs.quota.assets import storage_usage
from content_orchestration.failures import explained, stop_run_retries
from content_orchestration.policies import KIND_POSTGRES, OWNERS, RETRY
from content_orchestration.presentation import table_metadata, values, write_report
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.settings import get_settings


@dg.asset(group_name="quota", deps=[storage_usage], kinds={KIND_POSTGRES}, owners=OWNERS, retry_policy=RETRY)
def usage_history(postgres: PostgresResource) -> dg.MaterializeResult[None]:
    """What every tenant uses, an entry an hour, kept by month; use by plan, the top ten, and a forecast of 30 days."""
    database = postgres.client()
    with explained():
        report = take_history(database)
        columns = columns_of(database, "usage_history")
    path = write_report(
        get_settings().reports, "usage_forecast", {"tenants": [each.as_report() for each in report.forecasts]}
    )
    return dg.MaterializeResult(
        metadata=table_metadata("usage_history", columns, report.tenants)
        | values(report.as_metadata())
        | {
            "plans": dg.MetadataValue.md(plan_chart(report.plans)),
            "top_ten_tenants": dg.MetadataValue.md(top_tenants(report.forecasts)),
            "next_at_their_limit": dg.MetadataValue.md(next_at_limit(report.forecasts)),
            "report": dg.MetadataValue.path(path),
        }
    )


record_usage = dg.define_asset_job(
    "record_usage",
    selection=[usage_history],
    hooks={stop_run_retries},
    description="This hour's usage of every tenant, with charts and the forecast.",
)
record_usage_hourly = dg.ScheduleDefinition(
    name="record_usage_hourly",
    job=record_usage,
    cron_schedule="0 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
