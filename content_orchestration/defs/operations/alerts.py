"""Who hears of trouble? Failed runs and failed checks become alerts, told once until they are over.

The sensors work in their ticks and ask for no runs: where runs do not start, alerts are wanted most. Figures of the
health page become alerts in `health.py`.
"""

import time
from collections import Counter

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)

from content_orchestration.core.errors import Transient
from content_orchestration.core.operations.alert_signs import UNKNOWN, CheckOutcome, tell_checks
from content_orchestration.core.operations.alerts import ALERTS, waiting
from content_orchestration.core.operations.health_page import runbook
from content_orchestration.core.operations.outage import Outage
from content_orchestration.core.quota.outbox import deliver
from content_orchestration.defs.operations.alert_runs import Memory, newest_event, watch
from content_orchestration.defs.operations.health import HEALTH_CHECK
from content_orchestration.resources.notifier import NotifierResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.settings import get_settings

# A tick of Dagster's has a minute; one send may take that long, and the lease outlives both.
_DELIVER_SECONDS = 20.0
_DELIVER_MOST = 50
_EVALUATED = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}


@dg.sensor(minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def run_failure_alerts(context: dg.SensorEvaluationContext, postgres: PostgresResource) -> dg.SensorResult:
    """An alert for each job and class of error whose last try failed, and its end when the job succeeds again.

    Not Dagster's own run-failure sensor: that one moves on when an alert could not be written down.
    """
    if context.cursor is None:
        begins = newest_event(context.instance)
        memory = Memory(begins, begins)
        return dg.SensorResult(skip_reason=f"begins after event {memory.event}", cursor=memory.dump())
    memory, done = watch(context.instance, postgres.client(), Memory.load(context.cursor), get_settings().docs_url)
    return dg.SensorResult(skip_reason=_words(done), cursor=memory.dump())


@dg.sensor(minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def check_failure_alerts(context: dg.SensorEvaluationContext, postgres: PostgresResource) -> dg.SkipReason:
    """An alert for each asset check whose last evaluation failed, and its end when one passes. Warnings are left out.

    The last evaluation of each check is read anew, not what came since a cursor: nothing can be missed, and a check
    that passes again within half a minute alerts nobody.
    """
    repository = context.repository_def
    if repository is None:
        return dg.SkipReason("the definitions are not loaded")
    keys = sorted(repository.asset_graph.asset_check_keys)
    records = context.instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    outcomes = [outcome for record in records.values() if (outcome := _outcome(record)) is not None]
    defined = [_subject(key) for key in keys]
    opened, ended = tell_checks(postgres.client(), outcomes, defined, get_settings().docs_url)
    return dg.SkipReason(f"{len(outcomes)} checks: {_words(Counter(opened=opened, ended=ended))}")


@dg.sensor(minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def alert_delivery(
    context: dg.SensorEvaluationContext, postgres: PostgresResource, notifier: NotifierResource
) -> dg.SensorResult:
    """Alerts to NOTIFY_URLS, from their outbox. Where PostgreSQL is gone for a minute, that is told past it."""
    outage, targets, now = Outage.load(context.cursor), notifier.targets(), time.time()
    try:
        report = deliver(postgres.client(), targets, outbox=ALERTS, most=_DELIVER_MOST, most_seconds=_DELIVER_SECONDS)
        left = waiting(postgres.client())
    except Transient as error:
        outage.unreachable(now, str(error), targets, runbook("a-tier-is-down", get_settings().docs_url))
        return dg.SensorResult(skip_reason=f"unknown: {error}", cursor=outage.dump())
    outage.reachable(now, targets)
    told = f"{report.delivered} delivered, {report.failed} failed, {left.waiting} wait"
    return dg.SensorResult(skip_reason=told, cursor=outage.dump())


def _outcome(record: AssetCheckExecutionRecord) -> CheckOutcome | None:
    """What an evaluation said; None for a check that is running, and for what the thresholds tell already."""
    evaluation = record.evaluation if record.status in _EVALUATED else None
    if evaluation is None:
        return None
    told = evaluation.metadata.get("outcome")
    outcome = str(told.value) if told is not None else ""
    if record.key == HEALTH_CHECK and not evaluation.passed and outcome != UNKNOWN:
        return None
    return CheckOutcome(
        asset=record.key.asset_key.to_user_string(),
        check=record.key.name,
        passed=evaluation.passed or evaluation.severity is dg.AssetCheckSeverity.WARN,
        outcome=outcome,
        description=evaluation.description or "",
        run_id=record.run_id,
        event=record.id,
    )


def _subject(key: dg.AssetCheckKey) -> str:
    return f"{key.asset_key.to_user_string()}: {key.name}"


def _words(done: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in done.items() if count) or "nothing to tell"
