"""Is usage true? One partition a tenant, computed from what is stored."""

import dagster as dg

from content_orchestration.core.quota.usage import compute_usage, untrue_counters
from content_orchestration.core.schema.postgres import columns_of
from content_orchestration.defs.migration.assets import campaign_assets_migrated, content_items_migrated
from content_orchestration.defs.platform.assets import PLATFORM_KEYS
from content_orchestration.failures import explained
from content_orchestration.policies import KIND_POSTGRES, OWNERS, RETRY, TENANTS
from content_orchestration.presentation import table_metadata, values
from content_orchestration.resources.postgres import PostgresResource

_TABLE = "content_quota_usage"


@dg.asset(
    group_name="quota",
    deps=[campaign_assets_migrated, content_items_migrated, PLATFORM_KEYS["tenants"]],
    partitions_def=TENANTS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    kinds={KIND_POSTGRES},
    owners=OWNERS,
    retry_policy=RETRY,
)
def storage_usage(context: dg.AssetExecutionContext, postgres: PostgresResource) -> None:
    """Items, files and bytes of each tenant, counted from the truth and written to content_quota_usage."""
    database = postgres.client()
    columns = columns_of(database, _TABLE)
    for tenant in context.partition_keys:
        with explained():
            usage = compute_usage(database, tenant)
        metadata = table_metadata(_TABLE, columns, 1) | values(usage.as_metadata())
        # Recorded as each tenant finishes, so that a crash keeps what was done; and once more on the run's own event.
        context.log_event(dg.AssetMaterialization(context.asset_key, partition=tenant, metadata=metadata))
        context.add_asset_metadata(metadata, partition_key=tenant)


@dg.asset_check(asset=storage_usage, name="counters_equal_truth")
def counters_equal_truth(postgres: PostgresResource) -> dg.AssetCheckResult:
    """Every tenant's counters are there and are what its rows add up to."""
    untrue = untrue_counters(postgres.client())
    return dg.AssetCheckResult(
        passed=not untrue,
        description=f"{len(untrue)} tenants differ; materialize their partitions" if untrue else "all tenants agree",
        metadata={"differences": dg.MetadataValue.json(untrue)},
    )
