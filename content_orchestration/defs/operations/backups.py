"""Is there a backup, and does it restore? Each quarter a full dump is stored, restored elsewhere, and compared."""

import dagster as dg
from pydantic import Field

from content_orchestration.core.errors import Transient
from content_orchestration.core.operations.backup_record import last_verified
from content_orchestration.core.schema.postgres import columns_of
from content_orchestration.failures import explained, stop_run_retries, unknown
from content_orchestration.policies import KIND_POSTGRES, OWNERS, POOL_MAINTENANCE, RETRY
from content_orchestration.presentation import table_metadata, values
from content_orchestration.resources.maintenance import MaintenanceResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.settings import get_settings

YOUNG_DAYS = 100
"""A quarter has 92 days at most; the rest is time to take one that failed again."""


@dg.asset(
    group_name="operations", deps=["postgres_schema"], kinds={KIND_POSTGRES}, owners=OWNERS, pool=POOL_MAINTENANCE,
    retry_policy=RETRY,
)  # fmt: skip
def database_backup(context: dg.AssetExecutionContext, maintenance: MaintenanceResource) -> dg.MaterializeResult[None]:
    """A full dump in BACKUP_URL that was restored into a scratch database and holds every row of its snapshot."""
    with explained():
        report = maintenance.backups(context.run.run_id).take()
        columns = columns_of(maintenance.database(), "database_backups")
    return dg.MaterializeResult(
        metadata=table_metadata("database_backups", columns, report.stored.contents.rows) | values(report.as_metadata())
    )


@dg.asset_check(asset=database_backup, name="last_backup_is_young")
def last_backup_is_young(postgres: PostgresResource) -> dg.AssetCheckResult:
    """The newest backup that was proven to restore was taken within 100 days."""
    try:
        row = last_verified(postgres.client())
    except Transient as error:
        return unknown(error)
    if row is None:
        return dg.AssetCheckResult(
            passed=False,
            description="no backup was ever proven to restore: launch the job back_up_database (docs/RUNBOOK.md, "
            "'Backups')",
        )
    age = row["age_days"]
    return dg.AssetCheckResult(
        passed=age <= YOUNG_DAYS,
        description=f"the newest proven backup is {age:.1f} days old"
        + ("" if age <= YOUNG_DAYS else f", and {YOUNG_DAYS} are allowed: launch the job back_up_database"),
        metadata={
            "backup_id": row["backup_id"],
            "object": row["key"],
            "age_days": age,
            "size_bytes": row["size_bytes"],
        },
    )


back_up_database = dg.define_asset_job(
    "back_up_database",
    selection=[database_backup],
    hooks={stop_run_retries},
    description="A full dump of the platform's database, stored, restored into a scratch database, and compared.",
)


@dg.schedule(job=back_up_database, cron_schedule="0 3 2 1,4,7,10 *", default_status=dg.DefaultScheduleStatus.RUNNING)
def back_up_by_quarter(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """The second day of each quarter at 03:00 UTC, unless there is no place for backups."""
    from content_orchestration.resources.backup_store import why_no_backup

    reason = why_no_backup(get_settings())
    return dg.SkipReason(reason) if reason else dg.RunRequest()


class VerifyConfig(dg.Config):
    """Which backup to look at."""

    backup_id: str = Field(description="The id of a backup in the table database_backups.")


@dg.op(pool=POOL_MAINTENANCE, retry_policy=RETRY)
def restore_and_compare(context: dg.OpExecutionContext, config: VerifyConfig, maintenance: MaintenanceResource) -> None:
    """The stored dump restored into a scratch database, and compared with what it was taken of."""
    with explained():
        report = maintenance.backups(context.run.run_id).verify(config.backup_id.strip())
    context.add_output_metadata(values(report.as_metadata()))


@dg.job(
    hooks={stop_run_retries},
    description="Restores a stored backup into a scratch database and compares it with what was dumped. Changes "
    "nothing else.",
)
def verify_backup() -> None:
    """Prove a backup again."""
    restore_and_compare()
