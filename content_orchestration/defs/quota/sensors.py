"""Keeps the tenant partitions in step with the platform's tenants, and the ledger free of what has expired."""

import dagster as dg

from content_orchestration.core.quota.limits import overdue, plans_behind
from content_orchestration.core.quota.usage import tenant_ids
from content_orchestration.defs.quota.jobs import compute_storage_usage, quota_upkeep
from content_orchestration.defs.quota.running import unfinished_run
from content_orchestration.policies import TENANTS
from content_orchestration.resources.postgres import PostgresResource


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


@dg.sensor(job_name=quota_upkeep.name, minimum_interval_seconds=120, default_status=dg.DefaultSensorStatus.RUNNING)
def expired_reservations(
    context: dg.SensorEvaluationContext, postgres: PostgresResource
) -> dg.RunRequest | dg.SkipReason:
    """One upkeep when a reservation has expired or a tenant's plan has changed."""
    database = postgres.client()
    expired, behind = overdue(database).reservations, plans_behind(database)
    if not expired and not behind:
        return dg.SkipReason("no reservation has expired and no plan has changed")
    running = unfinished_run(context, quota_upkeep.name)
    return dg.SkipReason(f"run {running} is at it already") if running else dg.RunRequest()
