"""Is usage true? One partition a tenant, counted from what is stored; counters that were off are corrected."""

import dagster as dg

from content_orchestration.core.quota.usage import reconcile
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
    """Items, files and bytes of each tenant, counted from the truth in one snapshot; counters corrected by delta."""
    database = postgres.client()
    with explained():
        columns = columns_of(database, _TABLE)
        for usage in reconcile(database, context.partition_keys):
            metadata = table_metadata(_TABLE, columns, 1) | values(usage.as_metadata())
            # Recorded as each tenant finishes, so that a crash keeps what was done; and once more on the run's event.
            context.log_event(dg.AssetMaterialization(context.asset_key, partition=usage.tenant_id, metadata=metadata))
            context.add_asset_metadata(metadata, partition_key=usage.tenant_id)
