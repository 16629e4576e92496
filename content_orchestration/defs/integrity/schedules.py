"""When the copies are compared: each hour, each night, and a tenant when somebody asks."""

import dagster as dg

from content_orchestration.defs.integrity.assets import integrity_report, integrity_report_full, tenant_integrity
from content_orchestration.failures import stop_run_retries

check_integrity = dg.define_asset_job(
    "check_integrity",
    selection=[integrity_report],
    hooks={stop_run_retries},
    description="One hourly report: all rows, a share of bodies and partitions, documents, versions, spill, usage.",
)
check_integrity_fully = dg.define_asset_job(
    "check_integrity_fully",
    selection=[integrity_report_full],
    hooks={stop_run_retries},
    description="One full report: as the hourly one, with every body and every partition. Reads all that is stored.",
)
check_tenants = dg.define_asset_job(
    "check_tenants",
    selection=[tenant_integrity],
    hooks={stop_run_retries},
    description="Everything of the chosen tenants compared: rows, every body, every document, usage.",
)


@dg.schedule(job=check_integrity, cron_schedule="7 * * * *", default_status=dg.DefaultScheduleStatus.RUNNING)
def check_integrity_hourly() -> dg.RunRequest:
    """Each hour, beside the syncs. Without BigQuery the other tiers are compared, and the report says what was not."""
    return dg.RunRequest()


@dg.schedule(job=check_integrity_fully, cron_schedule="37 2 * * *", default_status=dg.DefaultScheduleStatus.RUNNING)
def check_integrity_nightly() -> dg.RunRequest:
    """Each night at 02:37 UTC."""
    return dg.RunRequest()
