"""Is BigQuery up to date? One sync writes all three tables, so one step materializes all three assets."""

from collections.abc import Iterator

import dagster as dg

from content_orchestration.core.replication.engine import Replicator
from content_orchestration.core.replication.tables import ENTITIES
from content_orchestration.defs.migration.assets import campaign_assets_migrated, content_items_migrated
from content_orchestration.defs.schema.assets import bigquery_dr_tables
from content_orchestration.failures import explained
from content_orchestration.policies import KIND_BIGQUERY, OWNERS, POOL_REPLICATION, RETRY
from content_orchestration.presentation import table_metadata, values
from content_orchestration.resources.bigquery import BigQueryDRResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.resources.zerodb import ZeroDBResource
from content_orchestration.settings import get_settings


@dg.multi_asset(
    name="replication_sync",
    specs=[
        dg.AssetSpec(
            entity.table.name,
            group_name="replication",
            deps=[campaign_assets_migrated, content_items_migrated, bigquery_dr_tables],
            kinds={KIND_BIGQUERY},
            owners=OWNERS,
            description=entity.table.description,
        )
        for entity in ENTITIES
    ],
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
    warehouse = bigquery.client()
    replicator = Replicator(
        postgres.client(),
        zerodb.client(),
        warehouse,
        batch_size=settings.bigquery_sync_batch_size,
        max_bytes=settings.sync_max_bytes,
        run_id=context.run_id,
    )
    with explained():
        report = replicator.sync(
            lambda so_far: context.log.info(f"sync {so_far.last_sync_id}: {so_far.changes} changes in all")
        )
        for entity in ENTITIES:
            table = entity.table.name
            yield dg.MaterializeResult(
                asset_key=table,
                metadata=table_metadata(
                    warehouse.qualified(table),
                    [(c.name, c.type) for c in entity.table.columns],
                    warehouse.row_count(table),
                )
                | {"rows_loaded_here": report.rows[table], "tombstones_here": report.tombstones[table]}
                | values(report.as_metadata()),
            )
