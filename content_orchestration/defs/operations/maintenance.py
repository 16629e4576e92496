"""How large are the tables, and are they in order? A weekly report, VACUUM by the week, REINDEX by the month."""

import dagster as dg
from pydantic import Field

from content_orchestration.core.errors import Permanent
from content_orchestration.core.operations.sizes import measure, sizes_table, unused_table
from content_orchestration.core.schema.postgres import columns_of
from content_orchestration.defs.operations.backups import last_backup_is_young
from content_orchestration.failures import explained, stop_run_retries
from content_orchestration.policies import KIND_POSTGRES, OWNERS, POOL_MAINTENANCE, RETRY
from content_orchestration.presentation import table_metadata, values, write_report
from content_orchestration.resources.maintenance import MaintenanceResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.settings import get_settings


@dg.asset(group_name="operations", deps=["postgres_schema"], kinds={KIND_POSTGRES}, owners=OWNERS, retry_policy=RETRY)
def table_sizes(postgres: PostgresResource) -> dg.MaterializeResult[None]:
    """Every table's size, growth, dead rows and estimated bloat, and the indexes that nobody reads."""
    database = postgres.client()
    with explained():
        report = measure(database)
        columns = columns_of(database, "table_sizes")
    return dg.MaterializeResult(
        metadata=table_metadata("table_sizes", columns, len(report.tables))
        | values(report.as_metadata())
        | {
            "tables_by_size": dg.MetadataValue.md(sizes_table(report)),
            "indexes_nobody_reads": dg.MetadataValue.md(unused_table(report)),
        }
    )


measure_tables = dg.define_asset_job(
    "measure_tables",
    selection=dg.AssetSelection.assets(table_sizes) | dg.AssetSelection.checks(last_backup_is_young),
    hooks={stop_run_retries},
    description="The sizes of all tables, and whether a backup that was proven to restore is young enough.",
)
measure_tables_by_week = dg.ScheduleDefinition(
    name="measure_tables_by_week",
    job=measure_tables,
    cron_schedule="10 1 * * 6",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)


class MaintenanceConfig(dg.Config):
    """What a pass does."""

    vacuum: bool = Field(
        default=True,
        description="VACUUM (ANALYZE) of tables with 1,000 dead or uncounted rows that are a tenth of the table, and "
        "of those whose oldest transaction is 150 million old.",
    )
    reindex: bool = Field(
        default=True,
        description="REINDEX INDEX CONCURRENTLY of indexes of which half, and a MiB, is bloat by estimate; and DROP of "
        "what an earlier one left half-made.",
    )
    dry_run: bool = Field(
        default=True, description="True says what would be done and does nothing. Schedules set False."
    )


@dg.op(pool=POOL_MAINTENANCE, retry_policy=RETRY)
def maintain_tables(
    context: dg.OpExecutionContext, config: MaintenanceConfig, maintenance: MaintenanceResource
) -> None:
    """One pass within MAINTENANCE_BUDGET_MINUTES, never beside a restore, a drill or a backup."""
    with explained():
        if not config.vacuum and not config.reindex:
            raise Permanent("vacuum and reindex are both false: nothing is left to do; set one of them to true")
        report = maintenance.maintenance(context.run.run_id).run(
            vacuum=config.vacuum, reindex=config.reindex, dry_run=config.dry_run
        )
    context.log.info(report.as_markdown())
    path = write_report(
        get_settings().reports,
        f"maintenance-{context.run.run_id}",
        report.as_metadata() | {"actions": [action.as_report() for action in report.actions]},
    )
    metadata = values(report.as_metadata()) | {
        "actions": dg.MetadataValue.md(report.as_markdown()),
        "report": dg.MetadataValue.path(path),
    }
    if report.failed:
        raise dg.Failure(
            description="PostgreSQL refused " + "; ".join(f"{a.step.relation}: {a.detail}" for a in report.failed[:5]),
            metadata=metadata,
            allow_retries=False,
        )
    context.add_output_metadata(metadata)


@dg.job(
    hooks={stop_run_retries},
    description="VACUUM and REINDEX where tables and indexes call for it, within a time budget. A dry run unless told "
    "otherwise.",
)
def maintain_database() -> None:
    """A pass of maintenance."""
    maintain_tables()


def _pass(*, vacuum: bool, reindex: bool) -> dict[str, object]:
    return {"ops": {"maintain_tables": {"config": {"vacuum": vacuum, "reindex": reindex, "dry_run": False}}}}


vacuum_by_week = dg.ScheduleDefinition(
    name="vacuum_by_week",
    job=maintain_database,
    cron_schedule="30 1 * * 6",
    run_config=_pass(vacuum=True, reindex=False),
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
reindex_by_month = dg.ScheduleDefinition(
    name="reindex_by_month",
    job=maintain_database,
    cron_schedule="30 2 15 * *",
    run_config=_pass(vacuum=False, reindex=True),
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
