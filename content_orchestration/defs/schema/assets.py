"""Are the tiers shaped right? One asset a tier; each creates what is missing and never drops anything."""

import dagster as dg

from content_orchestration.core.schema.documents import ensure_collections
from content_orchestration.core.schema.platform import PLATFORM_COLUMNS, platform_counts
from content_orchestration.core.schema.postgres import columns_of, shape_differences, table_counts, upgrade
from content_orchestration.core.schema.warehouse import ensure_warehouse
from content_orchestration.defs.platform.assets import PLATFORM_KEYS
from content_orchestration.failures import explained
from content_orchestration.policies import KIND_BIGQUERY, KIND_POSTGRES, KIND_ZERODB, OWNERS, POOL_SCHEMA, RETRY
from content_orchestration.presentation import table_metadata, values
from content_orchestration.resources.bigquery import BigQueryDRResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.resources.zerodb import ZeroDBResource


@dg.asset(
    group_name="schema",
    deps=list(PLATFORM_KEYS.values()),
    kinds={KIND_POSTGRES},
    owners=OWNERS,
    pool=POOL_SCHEMA,
    retry_policy=RETRY,
)
def postgres_schema(context: dg.AssetExecutionContext, postgres: PostgresResource) -> dg.MaterializeResult[None]:
    """Our tables, functions and triggers at the newest revision; the platform's tables checked, not touched."""
    database = postgres.client()
    with explained():
        report = upgrade(database)
        counts = platform_counts(database)
        ours = table_counts(database)
    # External assets have no run of their own: this is the one that looked at them.
    for table, key in PLATFORM_KEYS.items():
        columns = list(PLATFORM_COLUMNS[table].items())
        context.log_event(dg.AssetMaterialization(key, metadata=table_metadata(table, columns, counts[table])))
    table = "content_storage_metadata"
    return dg.MaterializeResult(
        metadata=table_metadata(table, columns_of(database, table), ours[table])
        | values(report.as_metadata() | {"rows_by_table": ours})
    )


@dg.asset_check(asset=postgres_schema, name="tables_have_their_shape", blocking=True)
def tables_have_their_shape(postgres: PostgresResource) -> dg.AssetCheckResult:
    """The named tables have the columns and indexes that the data model lists."""
    differences = shape_differences(postgres.client())
    return dg.AssetCheckResult(
        passed=not differences, description="; ".join(differences) or "columns and indexes as listed"
    )


@dg.asset(group_name="schema", kinds={KIND_ZERODB}, owners=OWNERS, pool=POOL_SCHEMA, retry_policy=RETRY)
def zerodb_collections(zerodb: ZeroDBResource) -> dg.MaterializeResult[None]:
    """The collections of bodies, version records and media documents."""
    with explained():
        report = ensure_collections(zerodb.client())
    columns = [("id", "text"), ("content_id", "text"), ("tenant_id", "text")]
    return dg.MaterializeResult(
        metadata=table_metadata("content_items", columns, report.documents["content_items"])
        | values(report.as_metadata())
    )


@dg.asset(group_name="schema", kinds={KIND_BIGQUERY}, owners=OWNERS, pool=POOL_SCHEMA, retry_policy=RETRY)
def bigquery_dr_tables(bigquery: BigQueryDRResource) -> dg.MaterializeResult[None]:
    """The disaster-recovery dataset: history tables, sync log, and the views of what is current."""
    with explained():
        warehouse = bigquery.client()
        report = ensure_warehouse(warehouse)
        columns = warehouse.schema_of("content_storage_dr")
    return dg.MaterializeResult(
        metadata=table_metadata(warehouse.qualified("content_storage_dr"), columns, report.rows["content_storage_dr"])
        | values(report.as_metadata())
    )
