"""Does any batch wait, what fails, and what does it cost? A report with charts, and checks on leases and books."""

import dagster as dg

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.generation.health import (
    batches_table,
    costs_table,
    failures_table,
    open_batches,
    overdue_leases,
    take_health,
    throughput_chart,
    untrue_books,
)
from content_orchestration.core.schema.postgres import columns_of
from content_orchestration.defs.schema.assets import postgres_schema
from content_orchestration.failures import explained, stop_run_retries, unknown
from content_orchestration.policies import KIND_POSTGRES, OWNERS, RETRY
from content_orchestration.presentation import table_metadata, values
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.settings import get_settings

_TABLE = "content_generation_jobs"
_SAMPLE = 20
# A run starts within half a minute and another within a minute after one died: ten times that means nobody comes.
_STUCK_SECONDS = 600.0
# The reaping sensor looks every ten seconds.
_REAPED_WITHIN_SECONDS = 60.0


@dg.asset(group_name="generation", deps=[postgres_schema], kinds={KIND_POSTGRES}, owners=OWNERS, retry_policy=RETRY)
def generation_health(postgres: PostgresResource) -> dg.MaterializeResult[None]:
    """Queue depth, oldest wait, throughput by the hour, failures by category, cost by tenant and provider."""
    database = postgres.client()
    with explained():
        report = take_health(database)
        columns = columns_of(database, _TABLE)
    return dg.MaterializeResult(
        metadata=table_metadata(_TABLE, columns, len(report.batches))
        | values(report.as_metadata())
        | {
            "throughput": dg.MetadataValue.md(throughput_chart(report.hours)),
            "failures": dg.MetadataValue.md(failures_table(report.failures)),
            "costs": dg.MetadataValue.md(costs_table(report.costs)),
            "batches": dg.MetadataValue.md(batches_table(report.batches)),
        }
    )


@dg.asset_check(asset=generation_health, name="no_batch_is_stuck")
def no_batch_is_stuck(postgres: PostgresResource) -> dg.AssetCheckResult:
    """No batch has items that could be worked, or books that could be closed, and nobody who has done so for long."""
    try:
        batches = open_batches(postgres.client())
    except (Transient, Permanent) as error:
        return unknown(error)
    stuck = [
        batch
        for batch in batches
        if not batch.live
        and batch.age_seconds > _STUCK_SECONDS
        and (batch.is_over or (batch.waiting_seconds or 0.0) > _STUCK_SECONDS)
    ]
    return dg.AssetCheckResult(
        passed=not stuck,
        description=f"{len(batches)} batches are open, {len(stuck)} of them without anybody for "
        f"{_STUCK_SECONDS / 60:.0f} minutes"
        + (
            ": are the sensors generation_batches_pending and generation_leases_expired on, and is a slot free? Their "
            "ticks say why a batch has no run"
            if stuck
            else ""
        ),
        metadata={
            "stuck": dg.MetadataValue.json([str(batch.batch_id) for batch in stuck[:_SAMPLE]]),
            "batches": dg.MetadataValue.md(batches_table(stuck)),
        },
    )


@dg.asset_check(asset=generation_health, name="no_lease_outlives_its_expiry")
def no_lease_outlives_its_expiry(postgres: PostgresResource) -> dg.AssetCheckResult:
    """Leases of dead workers are reaped within a minute: until then nobody works their items."""
    try:
        leases, oldest = overdue_leases(postgres.client())
    except (Transient, Permanent) as error:
        return unknown(error)
    passed = oldest < _REAPED_WITHIN_SECONDS
    return dg.AssetCheckResult(
        passed=passed,
        description=f"{leases} leases have expired, the oldest {oldest:.0f} s ago"
        + ("" if passed else ": is the sensor generation_leases_expired on?"),
        metadata={"leases": leases, "oldest_seconds": oldest},
    )


@dg.asset_check(asset=generation_health, name="ledger_equals_attempts")
def ledger_equals_attempts(postgres: PostgresResource) -> dg.AssetCheckResult:
    """What batches and budgets say was spent is the sum of the provider calls, and settled batches hold nothing."""
    try:
        # A batch's first attempts may be a day older than its last item, and go with the history's oldest day.
        found = untrue_books(postgres.client(), days=max(1, get_settings().generation_history_days - 2))
    except (Transient, Permanent) as error:
        return unknown(error)
    return dg.AssetCheckResult(
        passed=not found,
        description=f"{len(found)} sums differ, the first is {found[0]['what']} of {found[0]['id']}"
        if found
        else "every sum is that of its attempts",
        metadata={"differences": dg.MetadataValue.json(found[:_SAMPLE]), "count": len(found)},
    )


watch_generation = dg.define_asset_job(
    "watch_generation",
    selection=[generation_health],
    hooks={stop_run_retries},
    description="How generation is doing, with its checks.",
)
watch_generation_quarterly = dg.ScheduleDefinition(
    name="watch_generation_every_quarter_hour",
    job=watch_generation,
    cron_schedule="*/15 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
