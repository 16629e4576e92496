"""Starts a run for each batch, another where one died, and gives back what dead workers hold."""

import time
from datetime import UTC, datetime

import dagster as dg

from content_orchestration.core.generation.health import open_batches
from content_orchestration.defs.generation.batch import work_generation_batch
from content_orchestration.defs.generation.launching import (
    MOST_RUNS,
    nobody_works,
    past_of,
    requests,
    waiting_runs,
    was_cancelled,
    why_not_again,
)
from content_orchestration.resources.generation import GenerationQueueResource
from content_orchestration.resources.postgres import PostgresResource

_NAMED = 5
# A living run claims within half a second.
_SECOND_LOOK_SECONDS = 1.0


@dg.sensor(
    job_name=work_generation_batch.name, minimum_interval_seconds=10, default_status=dg.DefaultSensorStatus.RUNNING
)
def generation_batches_pending(
    context: dg.SensorEvaluationContext, postgres: PostgresResource, generation: GenerationQueueResource
) -> dg.SensorResult | dg.SkipReason:
    """The first run of each batch that has open items; those of higher priority first, tenants in turn.

    Rows of the older shape, which have no batch, are put into batches first.
    """
    for adopted in generation.queue().adopt_loose():
        what = f"{adopted.items} are batch {adopted.batch_id}" if adopted.batch_id else f"wait: {adopted.why}"
        context.log.info(f"items without a batch of tenant {adopted.tenant_id}: {what}")
    batches = open_batches(postgres.client())
    room = MOST_RUNS - waiting_runs(context.instance)
    fresh = [(batch, 1) for batch in batches if not batch.live and past_of(context.instance, batch).last is None]
    if not fresh:
        return dg.SkipReason(f"{len(batches)} batches are open, all of them have their run")
    if room <= 0:
        return dg.SkipReason(f"{len(fresh)} batches wait behind {MOST_RUNS - room} runs that wait for a slot")
    return dg.SensorResult(run_requests=list(requests(fresh[:room])))


@dg.sensor(
    job_name=work_generation_batch.name, minimum_interval_seconds=10, default_status=dg.DefaultSensorStatus.RUNNING
)
def generation_leases_expired(
    context: dg.SensorEvaluationContext, postgres: PostgresResource, generation: GenerationQueueResource
) -> dg.SensorResult | dg.SkipReason:
    """Items of workers that died go back into the queue, their batches get another run; what is over is settled."""
    queue = generation.queue()
    batches = open_batches(postgres.client())
    reaped = queue.reap()
    now = datetime.now(UTC)
    again, told = [], []
    for batch in batches:
        past = past_of(context.instance, batch)
        if batch.is_over or was_cancelled(past):
            if was_cancelled(past):
                queue.cancel_batch(batch.tenant_id, batch.batch_id)
            told.append(f"batch {batch.batch_id} is {queue.finish_batch(batch.batch_id) or 'open'}")
            continue
        reason = why_not_again(past, batch, now)
        if reason is None:
            again.append((batch, past.attempt + 1))
        else:
            told.append(f"batch {batch.batch_id}: {reason}")
    if again:
        time.sleep(_SECOND_LOOK_SECONDS)
        seen = {batch.batch_id: batch for batch in open_batches(postgres.client())}
        again = [(batch, attempt) for batch, attempt in again if nobody_works(batch, seen.get(batch.batch_id))]
    context.log.info(f"{reaped.retried} items back in the queue, {reaped.failed} failed for good; {len(again)} runs")
    if not again:
        return dg.SkipReason(
            f"{reaped.total} leases had expired; {len(batches)} batches are open: " + "; ".join(told[:_NAMED])
        )
    return dg.SensorResult(run_requests=list(requests(again)))
