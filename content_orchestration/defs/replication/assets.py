"""Is BigQuery up to date? One sync writes all of its tables, so one step materializes all of these assets."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from content_orchestration.core.replication.backfill import Snapshotter
from content_orchestration.core.replication.engine import Replicator
from content_orchestration.core.replication.status import backlog, horizon, lag_chart, recent_windows
from content_orchestration.core.replication.status import replication_status as read_status
from content_orchestration.core.replication.tables import CLEANUP_AUDIT, REPLICATED, SYNC_LOG, TableSpec
from content_orchestration.core.schema.postgres import columns_of
from content_orchestration.defs.migration.assets import campaign_assets_migrated, content_items_migrated
from content_orchestration.defs.schema.assets import bigquery_dr_tables
from content_orchestration.failures import explained
from content_orchestration.policies import (
    KIND_BIGQUERY,
    KIND_POSTGRES,
    OWNERS,
    POOL_REPLICATION,
    RETRY,
    RPO,
    TENANTS,
    tenants_a_run,
)
from content_orchestration.presentation import table_metadata, values
from content_orchestration.resources.bigquery import BigQueryDRResource, why_unavailable
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.resources.zerodb import ZeroDBResource
from content_orchestration.settings import get_settings

if TYPE_CHECKING:
    from content_orchestration.resources.bigquery_client import BigQueryClient


# What fills the content's tables. The audit is of cleanup, which runs behind all of them.
_SOURCES = [campaign_assets_migrated, content_items_migrated, bigquery_dr_tables]


def _spec(table: TableSpec) -> dg.AssetSpec:
    return dg.AssetSpec(
        table.name,
        group_name="replication",
        deps=[bigquery_dr_tables] if table is CLEANUP_AUDIT.table else _SOURCES,
        kinds={KIND_BIGQUERY},
        owners=OWNERS,
        description=table.description,
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=RPO),
    )


def _metadata(warehouse: "BigQueryClient", table: TableSpec) -> dict[str, Any]:
    columns = [(column.name, column.type, column.description) for column in table.columns]
    return table_metadata(warehouse.qualified(table.name), columns, warehouse.row_count(table.name))


@dg.multi_asset(
    name="replication_sync",
    specs=[_spec(table) for table in (*(entity.table for entity in REPLICATED), SYNC_LOG)],
    pool=POOL_REPLICATION,
    retry_policy=RETRY,
)
def replication_sync(
    context: dg.AssetExecutionContext,
    postgres: PostgresResource,
    zerodb: ZeroDBResource,
    bigquery: BigQueryDRResource,
) -> Iterator[dg.MaterializeResult[None]]:
    """Everything that changed since the last sync, into the history tables."""
    settings = get_settings()
    with explained():
        database, warehouse = postgres.client(), bigquery.client()
        replicator = Replicator(
            database,
            zerodb.client(),
            warehouse,
            batch_size=settings.bigquery_sync_batch_size,
            max_bytes=settings.sync_max_bytes,
            run_id=context.run.run_id,
        )
        report = replicator.sync(
            lambda so_far: context.log.info(f"sync {so_far.last_sync_id}: {so_far.changes} changes in all")
        )
        waiting, oldest, windows = backlog(database), horizon(database), recent_windows(database)
        shared = values(report.as_metadata()) | {
            "lag_seconds": waiting.oldest_seconds,
            "horizon_seconds": oldest.seconds,
            "lag": dg.MetadataValue.md(lag_chart(windows)),
        }
        for table in (entity.table for entity in REPLICATED):
            loaded = {
                "rows_loaded_here": report.rows[table.name],
                "tombstones_here": report.tombstones[table.name],
            }
            yield dg.MaterializeResult(asset_key=table.name, metadata=_metadata(warehouse, table) | loaded | shared)
        yield dg.MaterializeResult(asset_key=SYNC_LOG.name, metadata=_metadata(warehouse, SYNC_LOG) | shared)


# Behind the log and not behind the tables: where their blocking check fails, these two are wanted most.
@dg.asset(group_name="status", deps=[SYNC_LOG.name], kinds={KIND_POSTGRES}, owners=OWNERS)
def replication_status(postgres: PostgresResource) -> dg.MaterializeResult[None]:
    """Is replication on, when was the last sync, what waits, who holds it back, how often does it fail."""
    with explained():
        status = read_status(postgres.client(), why_unavailable(get_settings()))
        columns = columns_of(postgres.client(), "replication_windows")
    return dg.MaterializeResult(
        metadata=table_metadata("replication_windows", columns, len(status.windows))
        | values(status.as_metadata())
        | {"lag": dg.MetadataValue.md(lag_chart(status.windows))}
    )


class BackfillConfig(dg.Config):
    """What to load."""

    only_missing: bool = Field(
        default=False,
        description="True leaves out tenants of whom PostgreSQL and BigQuery hold equally many rows; false loads all.",
    )


@dg.asset(
    group_name="backfill",
    partitions_def=TENANTS,
    backfill_policy=tenants_a_run(get_settings().backfill_tenants_per_run),
    deps=[SYNC_LOG.name],
    kinds={KIND_BIGQUERY},
    owners=OWNERS,
    retry_policy=RETRY,
)
def content_dr_backfill(
    context: dg.AssetExecutionContext,
    config: BackfillConfig,
    postgres: PostgresResource,
    zerodb: ZeroDBResource,
    bigquery: BigQueryDRResource,
) -> None:
    """Every row of the chosen tenants into the history, from one snapshot. Syncs go on beside it."""
    with explained():
        snapshotter = Snapshotter(
            postgres.client(),
            zerodb.client(),
            bigquery.client(),
            max_bytes=get_settings().sync_max_bytes,
            run_id=context.run.run_id,
        )
        columns = columns_of(postgres.client(), "replication_backfills")
        for report in snapshotter.backfill(context.partition_keys, only_missing=config.only_missing):
            metadata = table_metadata("replication_backfills", columns, 0 if report.skipped else 1)
            metadata |= values(report.as_metadata())
            # Recorded as each tenant finishes, so that a crash keeps what was done; and once more on the run's event.
            context.log_event(dg.AssetMaterialization(context.asset_key, partition=report.tenant_id, metadata=metadata))
            context.add_asset_metadata(metadata, partition_key=report.tenant_id)
        if snapshotter.audit_entries_sent:
            context.log.info(f"{snapshotter.audit_entries_sent:,} entries of the cleanup audit go with the next sync")
