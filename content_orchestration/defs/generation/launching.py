"""Which run does a batch need next? Decided from the queue's leases and Dagster's runs; both sensors ask here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg

from content_orchestration.core.generation.health import OpenBatch
from content_orchestration.defs.generation.batch import work_generation_batch
from content_orchestration.failures import PERMANENT_TAG
from content_orchestration.policies import BATCH_ATTEMPT_TAG, BATCH_TAG, BATCH_TENANT_TAG, GENERATION_TAG

# Runs that one tick asks for, and runs of batches that may wait for a slot. More would only fill Dagster's queue.
MOST_RUNS = 50
# A run needs some seconds from its start to its first claim.
STARTING_SECONDS = 45.0
# Between two runs of one batch that died: doubled with each, so that a run that cannot start is not started for ever.
_FIRST_PAUSE_SECONDS = 15.0
_LONGEST_PAUSE_SECONDS = 600.0
_WAITING = {dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING}


@dataclass(frozen=True)
class Past:
    """The runs that a batch has had. `attempt` is the number of the last one, 0 where there was none."""

    attempt: int
    last: dg.RunRecord | None

    @property
    def status(self) -> dg.DagsterRunStatus | None:
        """How the last run stands."""
        return self.last.dagster_run.status if self.last else None


def past_of(instance: dg.DagsterInstance, batch: OpenBatch) -> Past:
    """The batch's runs, by their tags."""
    records = instance.get_run_records(dg.RunsFilter(tags={BATCH_TAG: str(batch.batch_id)}), limit=20)
    last = max(records, key=_attempt_of, default=None)
    return Past(_attempt_of(last) if last else 0, last)


def was_cancelled(past: Past) -> bool:
    """Whether somebody cancelled the batch's run: the batch goes with it, should the run not have seen to that."""
    return past.status == dg.DagsterRunStatus.CANCELED


def why_not_again(past: Past, batch: OpenBatch, now: datetime) -> str | None:
    """Why the batch needs no other run now, None where it does. Its leases count, not what Dagster knows of its run.

    A run whose process was killed is started in Dagster's eyes until the monitor has missed it for a minute or more.
    """
    last = past.last
    if last is None:
        return "no run has been asked for yet: generation_batches_pending does it"
    if batch.live:
        return f"{batch.live} items are being worked"
    if past.status in _WAITING:
        return f"run {last.dagster_run.run_id} waits for its turn"
    began = (now - datetime.fromtimestamp(last.start_time or 0.0, UTC)).total_seconds()
    if past.status == dg.DagsterRunStatus.STARTED and began < STARTING_SECONDS and not batch.expired:
        return f"run {last.dagster_run.run_id} has begun {began:.0f} s ago"
    if last.dagster_run.tags.get(PERMANENT_TAG) == "true":
        return (
            f"run {last.dagster_run.run_id} failed for good: see its error, mend it, then launch work_generation_batch"
        )
    pause = min(_FIRST_PAUSE_SECONDS * 2 ** min(past.attempt - 2, 10), _LONGEST_PAUSE_SECONDS)
    if past.attempt > 1 and began < pause:
        return f"run {last.dagster_run.run_id} was attempt {past.attempt}: the next one begins after {pause:.0f} s"
    if past.status == dg.DagsterRunStatus.STARTED and not batch.expired and batch.waiting_seconds is None:
        return "its items wait for another attempt, and its run for them"
    return None


def nobody_works(before: OpenBatch, after: OpenBatch | None) -> bool:
    """Whether two looks a moment apart saw no sign of life. Between two claims a living run may hold nothing."""
    if after is None or after.live:
        return False
    return before.expired > 0 or (before.ended, before.queued) == (after.ended, after.queued)


def requests(batches: Sequence[tuple[OpenBatch, int]]) -> Iterator[dg.RunRequest]:
    """A run for each batch and attempt. The key makes one run of it, should two ticks ask."""
    for batch, attempt in batches[:MOST_RUNS]:
        yield dg.RunRequest(
            run_key=f"{batch.batch_id}:{attempt}",
            job_name=work_generation_batch.name,
            run_config={"ops": {"generation_batch": {"config": {"batch_id": str(batch.batch_id)}}}},
            tags={
                GENERATION_TAG: "true",
                BATCH_TAG: str(batch.batch_id),
                BATCH_TENANT_TAG: str(batch.tenant_id),
                BATCH_ATTEMPT_TAG: str(attempt),
                "dagster/priority": str(batch.priority),
            },
        )


def waiting_runs(instance: dg.DagsterInstance) -> int:
    """Runs of batches that wait for a slot."""
    return instance.get_runs_count(dg.RunsFilter(tags={GENERATION_TAG: "true"}, statuses=list(_WAITING)))


def _attempt_of(record: dg.RunRecord) -> int:
    text = record.dagster_run.tags.get(BATCH_ATTEMPT_TAG, "")
    return int(text) if text.isdecimal() else 0
