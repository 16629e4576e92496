"""What runs by schedule or by hand: usage of chosen tenants, of all of them by night, and the ledger's upkeep."""

import dagster as dg

from content_orchestration.core.quota.upkeep import apply_changed_plans, prune, reap
from content_orchestration.defs.quota.assets import storage_usage
from content_orchestration.failures import explained, stop_run_retries
from content_orchestration.policies import TENANTS
from content_orchestration.resources.postgres import PostgresResource

compute_storage_usage = dg.define_asset_job(
    "compute_storage_usage", selection=[storage_usage], hooks={stop_run_retries},
    description="Usage of the chosen tenants, from the truth; counters that were off are corrected.",
)  # fmt: skip


@dg.schedule(job=compute_storage_usage, cron_schedule="30 3 * * *", default_status=dg.DefaultScheduleStatus.RUNNING)
def reconcile_by_night(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """All tenants in one run, from one snapshot."""
    tenants = context.instance.get_dynamic_partitions(TENANTS.name or "")
    if not tenants:
        return dg.SkipReason("no tenant has a partition yet: the sensor tenant_partitions makes them")
    return dg.RunRequest(
        tags={"dagster/asset_partition_range_start": tenants[0], "dagster/asset_partition_range_end": tenants[-1]}
    )


@dg.op
def keep_ledger_clean(context: dg.OpExecutionContext, postgres: PostgresResource) -> None:
    """Give back what expired reservations hold, bring limits to changed plans, forget reservations that ended."""
    database = postgres.client()
    with explained():
        reaped = reap(database)
        plans = apply_changed_plans(database)
        forgotten = prune(database)
    context.add_output_metadata(
        {f"reaped_{name}": value for name, value in reaped.as_metadata().items()}
        | {"plans_applied": len(plans), "reservations_forgotten": forgotten}
    )


@dg.job(hooks={stop_run_retries}, description="Expired reservations, changed plans, reservations that ended long ago.")
def quota_upkeep() -> None:
    """The ledger's upkeep."""
    keep_ledger_clean()


upkeep_by_night = dg.ScheduleDefinition(
    name="upkeep_by_night", job=quota_upkeep, cron_schedule="0 3 * * *", default_status=dg.DefaultScheduleStatus.RUNNING
)
