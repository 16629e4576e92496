"""Keeps the tenant partitions in step with the platform's tenants."""

import dagster as dg

from content_orchestration.core.quota.usage import tenant_ids
from content_orchestration.defs.quota.assets import storage_usage
from content_orchestration.failures import stop_run_retries
from content_orchestration.policies import TENANTS
from content_orchestration.resources.postgres import PostgresResource

compute_storage_usage = dg.define_asset_job(
    "compute_storage_usage", selection=[storage_usage], hooks={stop_run_retries},
    description="Usage of the chosen tenants, from the truth.",
)  # fmt: skip


@dg.sensor(job=compute_storage_usage, minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.RUNNING)
def tenant_partitions(context: dg.SensorEvaluationContext, postgres: PostgresResource) -> dg.SensorResult:
    """Add a partition for every new tenant and compute its usage; remove the partitions of tenants that are gone."""
    name = TENANTS.name or ""
    wanted = tenant_ids(postgres.client())
    present = context.instance.get_dynamic_partitions(name)
    new = [tenant for tenant in wanted if tenant not in set(present)]
    gone = [tenant for tenant in present if tenant not in set(wanted)]
    return dg.SensorResult(
        run_requests=[dg.RunRequest(partition_key=tenant) for tenant in new],
        dynamic_partitions_requests=[TENANTS.build_add_request(new), TENANTS.build_delete_request(gone)],
        skip_reason=None if new else f"{len(present)} tenants, none of them new",
    )
