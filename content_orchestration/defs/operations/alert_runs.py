"""Which failed runs are worth telling? What Dagster's events say of runs, as signs of trouble and of health.

A failure that will be retried waits for its retry; what the sensor has to remember between two ticks is its cursor.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Self

import dagster as dg

from content_orchestration.core.database import Database
from content_orchestration.core.generation.health import open_batches
from content_orchestration.core.operations.alert_signs import FailedRun, of_run
from content_orchestration.core.operations.alerts import Kind, close_forgotten, open_alerts, raise_alert, resolve
from content_orchestration.failures import PERMANENT_TAG
from content_orchestration.policies import BATCH_ATTEMPT_TAG, BATCH_TAG

# Ids are given before they are committed, so an older event may show after a newer one: these are read again.
OVERLAP = 1_000
_MOST_EVENTS = 500
# Dagster tags a failed run only after it wrote the event. After this the tag is not to come any more.
_TAGGED_WITHIN_SECONDS = 60.0
# The daemon starts a retry within half a minute, a sensor the next run of a batch within ten.
RETRIED_WITHIN_SECONDS = 900.0
_WILL_RETRY = "dagster/will_retry"
_RETRIED_BY = "dagster/auto_retry_run_id"
_PARTITION = "dagster/partition"
_ASSET_JOB = "__ASSET_JOB"
# What Dagster and failures.py put around the engines' errors.
_WRAPPERS = {
    "DagsterExecutionStepExecutionError",
    "RetryRequestedFromPolicy",
    "Failure",
    "DagsterUserCodeExecutionError",
}
_NAMED_ASSETS = 5


@dataclass(frozen=True)
class Pending:
    """A failure that is to be retried, until something is started for it. `at` is its moment in seconds since 1970."""

    run_id: str
    event: int
    at: float


@dataclass
class Memory:
    """What is kept between two ticks: the newest event that was read, and failures that wait for their retry.

    Nothing up to `begins` is ever read: what had failed before the sensor was first on is nobody's alert.
    """

    event: int
    begins: int
    pending: list[Pending] = field(default_factory=list)

    @classmethod
    def load(cls, cursor: str) -> Self:
        """From a sensor's cursor."""
        stored = json.loads(cursor)
        return cls(stored["event"], stored["begins"], [Pending(**each) for each in stored["pending"]])

    def dump(self) -> str:
        """As a sensor's cursor."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Ended:
    """An event that a run ended with, beside the run."""

    event: int
    at: float
    run: dg.DagsterRun
    entry: dg.EventLogEntry
    failed: bool


def newest_event(instance: dg.DagsterInstance) -> int:
    """The newest event of a run that ended: where a sensor without a cursor begins."""
    found = [
        instance.fetch_run_status_changes(kind, limit=1).records
        for kind in (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS)
    ]
    return max((records[0].storage_id for records in found if records), default=0)


def ended_runs(instance: dg.DagsterInstance, memory: Memory) -> tuple[list[Ended], int]:
    """Runs that ended since the last look (and a little before), oldest first, and how far that reaches."""
    after, start = memory.event, max(memory.begins, memory.event - OVERLAP)
    kinds = (
        (dg.RunStatusChangeRecordsFilter(dg.DagsterEventType.RUN_FAILURE, after_storage_id=start), True),
        (dg.RunStatusChangeRecordsFilter(dg.DagsterEventType.RUN_SUCCESS, after_storage_id=start), False),
    )
    found, reaches = [], []
    for kind, failed in kinds:
        records = instance.fetch_run_status_changes(kind, limit=_MOST_EVENTS, ascending=True).records
        found += [(record, failed) for record in records]
        if len(records) == _MOST_EVENTS:
            reaches.append(records[-1].storage_id)
    reach = min(reaches, default=max((record.storage_id for record, _ in found), default=after))
    # Deleted runs are not among them: what is gone is nobody's alert.
    runs = _runs(instance, {record.run_id for record, _ in found})
    ended = [
        Ended(record.storage_id, record.timestamp, runs[record.run_id], record.event_log_entry, failed)
        for record, failed in found
        if record.storage_id <= reach and record.run_id in runs
    ]
    return sorted(ended, key=lambda each: each.event), max(after, reach)


def job_of(run: dg.DagsterRun) -> str:
    """What a run worked, in words that are the same each time: its job, or the assets of one launched by hand."""
    if run.job_name != _ASSET_JOB:
        return run.job_name
    names = sorted(key.to_user_string() for key in run.asset_selection or ())
    more = f" and {len(names) - _NAMED_ASSETS} more" if len(names) > _NAMED_ASSETS else ""
    return f"assets {', '.join(names[:_NAMED_ASSETS])}{more}"


def scope_of(run: dg.DagsterRun) -> str:
    """The run's one partition; empty for none and for a range, since a range is another one each time."""
    return run.tags.get(_PARTITION, "")


def covers(success: dg.DagsterRun, failed: dg.DagsterRun) -> bool:
    """Whether one run's success says that what the other failed at is well."""
    return job_of(success) == job_of(failed) and scope_of(success) in ("", scope_of(failed))


def verdict(
    instance: dg.DagsterInstance, run: dg.DagsterRun, age_seconds: float, open_batches: Callable[[], Collection[str]]
) -> str:
    """What to do about a failed run: `tell`, `wait` for a retry, `overdue` where none came, `retried` where one did.

    A batch that is not open any more needs no other run. `open_batches` are asked for only where it matters.
    """
    if run.tags.get(_RETRIED_BY) or _has_successor(instance, run):
        return "retried"
    if not _is_retried(instance, run, age_seconds):
        return "tell"
    if age_seconds < RETRIED_WITHIN_SECONDS:
        return "wait"
    return "retried" if BATCH_TAG in run.tags and run.tags[BATCH_TAG] not in open_batches() else "overdue"


def failed_run(ended: Ended, *, not_retried: bool = False) -> FailedRun:
    """What a failure says, without the layers that Dagster puts around an engine's error."""
    event = ended.entry.dagster_event
    data = event.event_specific_data if event else None
    step = getattr(data, "first_step_failure_event", None)
    step_data = step.event_specific_data if step else None
    error = getattr(step_data, "error", None) or getattr(data, "error", None)
    told = getattr(step_data, "user_failure_data", None)
    chain = list(_chain(error))
    named = [each for each in chain if each.cls_name not in _WRAPPERS]
    kind = named[0].cls_name if named else chain[-1].cls_name if chain else None
    reason = getattr(data, "failure_reason", None)
    message = (told.description if told else None) or (named[0].message if named else None)
    return FailedRun(
        run_id=ended.run.run_id,
        job=job_of(ended.run),
        scope=scope_of(ended.run),
        steps=[step.step_key] if step and step.step_key else [],
        error_class=kind or (reason.value if reason else "no error was recorded"),
        message=(message or (event.message if event else None) or "its process ended without a word").strip(),
        permanent=ended.run.tags.get(PERMANENT_TAG) == "true",
        event=ended.event,
        not_retried=not_retried,
    )


def watch(
    instance: dg.DagsterInstance,
    database: Database,
    memory: Memory,
    docs_url: str,
    *,
    clock: Callable[[], float] = time.time,
) -> tuple[Memory, Counter[str]]:
    """One look at the runs that ended since the last one: opens and ends alerts, and says how many of what.

    Raises where an alert cannot be written down; the caller then keeps the old memory, and nothing is lost. Looking
    twice at the same events changes nothing.
    """
    ended, reached = ended_runs(instance, memory)
    waited = {each.event for each in memory.pending}
    events = {each.event: each for each in (*_waiting(instance, memory.pending), *ended)}
    known = {alert.subject for alert in open_alerts(database) if alert.kind is Kind.RUN}
    pending: dict[int, Ended] = {}
    done: Counter[str] = Counter()

    @cache
    def batches() -> Collection[str]:
        return {str(batch.batch_id) for batch in open_batches(database)}

    for _, each in sorted(events.items()):
        job = job_of(each.run)
        if each.failed:
            found = verdict(instance, each.run, clock() - each.at, batches)
            if found == "wait":
                pending[each.event] = each
            elif found == "tell" or (found == "overdue" and (each.event in waited or each.event > memory.event)):
                sign = of_run(failed_run(each, not_retried=found == "overdue"), docs_url)
                done["opened"] += raise_alert(database, sign)
                known.add(job)
            continue
        pending = {event: one for event, one in pending.items() if not covers(each.run, one.run)}
        if job in known:
            why = f"run {each.run.run_id} succeeded"
            done["ended"] += resolve(database, Kind.RUN, job, why, scope=scope_of(each.run), event=each.event)
    done["closed"] += close_forgotten(database, Kind.RUN, [])
    done["wait for their retry"] = len(pending)
    kept = [Pending(one.run.run_id, event, one.at) for event, one in pending.items()]
    return Memory(reached, memory.begins, kept), done


def _waiting(instance: dg.DagsterInstance, pending: Sequence[Pending]) -> Iterator[Ended]:
    """Failures that wait, looked at anew; those whose run was deleted are not among them."""
    runs = _runs(instance, {each.run_id for each in pending})
    for each in pending:
        records = instance.fetch_run_status_changes(
            dg.RunStatusChangeRecordsFilter(dg.DagsterEventType.RUN_FAILURE, storage_ids=[each.event]), limit=1
        ).records
        if records and each.run_id in runs:
            yield Ended(each.event, each.at, runs[each.run_id], records[0].event_log_entry, failed=True)


def _runs(instance: dg.DagsterInstance, ids: set[str]) -> dict[str, dg.DagsterRun]:
    if not ids:
        return {}
    return {run.run_id: run for run in instance.get_runs(dg.RunsFilter(run_ids=sorted(ids)))}


def _is_retried(instance: dg.DagsterInstance, run: dg.DagsterRun, age_seconds: float) -> bool:
    """Whether something is to start this run's work again by itself."""
    if run.tags.get(PERMANENT_TAG) == "true":
        return False
    if BATCH_TAG in run.tags:
        # The sensors of batches look for dead runs, whatever Dagster's daemon does.
        return True
    tag = run.tags.get(_WILL_RETRY)
    if tag is None:
        return bool(instance.run_retries_enabled) and age_seconds < _TAGGED_WITHIN_SECONDS
    return tag == "true"


def _has_successor(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether a later attempt at the same work is there: a retry of Dagster's, or a batch's next run."""
    if BATCH_TAG not in run.tags:
        return False
    others = instance.get_runs(dg.RunsFilter(tags={BATCH_TAG: run.tags[BATCH_TAG]}), limit=20)
    return any(_attempt(other) > _attempt(run) for other in others)


def _attempt(run: dg.DagsterRun) -> int:
    text = run.tags.get(BATCH_ATTEMPT_TAG, "")
    return int(text) if text.isdecimal() else 0


def _chain(error: Any) -> Iterator[Any]:
    """An error and its causes, as Dagster stores them."""
    while error is not None:
        yield error
        error = error.cause
