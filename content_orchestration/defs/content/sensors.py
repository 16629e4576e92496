"""Empties the spill as soon as ZeroDB answers again."""

import time

import dagster as dg

from content_orchestration.core.content.spill import spill_state
from content_orchestration.core.errors import ContentError
from content_orchestration.defs.content.assets import content_body_spill
from content_orchestration.failures import stop_run_retries
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.resources.zerodb import ZeroDBResource

drain_body_spill = dg.define_asset_job(
    "drain_body_spill", selection=[content_body_spill], hooks={stop_run_retries},
    description="Moves bodies that waited in PostgreSQL into ZeroDB.",
)  # fmt: skip
# What a drain refuses stays until somebody repairs it, and needs no run every 30 seconds meanwhile.
_PAUSE_SECONDS = 300
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


@dg.sensor(job=drain_body_spill, minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def spill_can_be_drained(
    context: dg.SensorEvaluationContext, postgres: PostgresResource, zerodb: ZeroDBResource
) -> dg.RunRequest | dg.SkipReason:
    """One drain when bodies wait and ZeroDB answers."""
    waiting = spill_state(postgres.client())
    if not waiting.bodies:
        return dg.SkipReason("no body waits for ZeroDB")
    try:
        zerodb.client().ping()
    except ContentError as error:
        return dg.SkipReason(f"{waiting.bodies} bodies wait, and ZeroDB does not answer: {error}")
    running = context.instance.get_runs(dg.RunsFilter(job_name=drain_body_spill.name, statuses=_UNFINISHED), limit=1)
    if running:
        return dg.SkipReason(f"run {running[0].run_id} is moving them already")
    now = time.time()
    seen, _, asked = (context.cursor or "").rpartition(" at ")
    if seen == f"{waiting.bodies} bodies, {waiting.bytes} bytes" and now < float(asked) + _PAUSE_SECONDS:
        return dg.SkipReason(f"the last drain left {seen}: the next one begins after {_PAUSE_SECONDS} s")
    context.update_cursor(f"{waiting.bodies} bodies, {waiting.bytes} bytes at {now:.0f}")
    return dg.RunRequest()
