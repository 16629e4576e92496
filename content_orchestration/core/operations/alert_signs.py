"""Signs of trouble from what Dagster and the health page report: which cause, what to say, which section to read.

No Dagster here: the sensors hand over names, classes and texts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from content_orchestration.core.database import Database
from content_orchestration.core.operations.alerts import Kind, Sign, close_forgotten, open_alerts, raise_alert, resolve
from content_orchestration.core.operations.health import HealthReport
from content_orchestration.core.operations.health_facts import Reading
from content_orchestration.core.operations.health_page import runbook
from content_orchestration.core.operations.thresholds import BY_NAME, RULES, State

UNKNOWN = "unknown"

# Headings of docs/RUNBOOK.md by job and by check. What is not named here has the general section.
JOB_ANCHORS: Mapping[str, str] = {
    "replicate_to_bigquery": "a-window-is-left-open",
    "restore_from_bigquery": "bring-content-back-how-every-restore-goes",
    "repair_differences": "the-copies-differ",
    "run_drills": "a-drill-is-red",
    "deliver_quota_notices": "notices-are-not-delivered",
    "work_generation_batch": "a-batch-is-stuck",
    "make_variants": "a-media-file-failed",
    "check_files": "stored-files-are-damaged-or-gone",
    "drain_body_spill": "bodies-wait-in-the-spill",
}
CHECK_ANCHORS: Mapping[str, str] = {
    "recovery_point_within_15_minutes": "replication-is-behind",
    "no_transaction_pins_the_horizon": "replication-is-behind",
    "no_window_is_left_open": "a-window-is-left-open",
    "deleted_ids_have_tombstones": "the-copies-differ",
    "agrees_with_postgres": "the-copies-differ",
    "copies_agree": "the-copies-differ",
    "no_body_waits_longer_than_an_hour": "bodies-wait-in-the-spill",
    "counters_equal_truth": "drift-was-found-usage-is-not-true",
    "no_tenant_is_above_its_limit": "a-tenant-is-above-its-limit",
    "no_reservation_outlives_its_expiry": "reservations-outlive-their-expiry",
    "no_notice_waits_for_an_hour": "notices-are-not-delivered",
    "no_batch_is_stuck": "a-batch-is-stuck",
    "no_lease_outlives_its_expiry": "the-generation-queue-does-not-move",
    "ledger_equals_attempts": "books-of-generation-do-not-add-up",
    "every_file_has_its_bytes_and_hash": "stored-files-are-damaged-or-gone",
    "no_file_failed": "a-media-file-failed",
    "every_variant_has_its_source": "files-without-a-row-variants-without-a-source",
    "no_file_is_without_a_row": "files-without-a-row-variants-without-a-source",
    "every_disaster_was_recovered_from_lately": "a-drill-is-red",
    "tables_have_their_shape": "the-metadata-tables-are-gone",
    "nothing_is_quarantined": "legacy-rows-are-quarantined",
    "no_transaction_touched_most_rows": "a-tenant-was-deleted-or-many-rows",
    "last_backup_is_young": "no-backup-was-proven-lately",
    "no_orphan_is_late": "orphans-stay",
}
RUN_ANCHOR = "a-run-failed"
CHECK_ANCHOR = "a-check-failed"
UNKNOWN_ANCHOR = "a-check-says-unknown"


@dataclass(frozen=True)
class FailedRun:
    """A run that failed for good: `job` is what it worked, `scope` its partition, `steps` those that failed.

    `permanent`: trying again cannot help. `retried`: how often it was started again before.
    """

    run_id: str
    job: str
    scope: str
    steps: Sequence[str]
    error_class: str
    message: str
    permanent: bool
    event: int
    not_retried: bool = False


@dataclass(frozen=True)
class CheckOutcome:
    """The last evaluation of an asset check. A warning counts as passed; `outcome` is `unknown` where it said so."""

    asset: str
    check: str
    passed: bool
    outcome: str
    description: str
    run_id: str
    event: int

    @property
    def subject(self) -> str:
        """Asset and check in one text."""
        return f"{self.asset}: {self.check}"


def of_run(failed: FailedRun, docs_url: str) -> Sign:
    """The sign that a failed run is."""
    where = f" in {', '.join(failed.steps[:5])}" if failed.steps else ""
    partition = f", partition {failed.scope}" if failed.scope else ""
    step = (
        "mend what the error names, then launch the job again: it is not tried again by itself"
        if failed.permanent
        else "see the run in the UI; when its cause is gone, launch it again or leave it to its schedule"
    )
    if failed.not_retried:
        step = f"it was to be retried, and nothing was started: does the daemon run? Then {step}"
    return Sign(
        Kind.RUN,
        failed.job,
        failed.error_class,
        f"{failed.job} failed ({failed.error_class})",
        f"run {failed.run_id}{partition}{where}: {failed.message}",
        step,
        runbook(JOB_ANCHORS.get(failed.job, RUN_ANCHOR), docs_url),
        scope=failed.scope,
        event=failed.event,
    )


def of_check(outcome: CheckOutcome, docs_url: str) -> Sign:
    """The sign that a failed check is. One that could not look says so, and is another cause than one that saw harm."""
    unknown = outcome.outcome == UNKNOWN
    anchor = UNKNOWN_ANCHOR if unknown else CHECK_ANCHORS.get(outcome.check, CHECK_ANCHOR)
    return Sign(
        Kind.CHECK,
        outcome.subject,
        UNKNOWN if unknown else "failed",
        f"{outcome.subject} {'could not look' if unknown else 'failed'}",
        outcome.description or "the check gave no reason",
        "bring back what it could not reach, then run the check again"
        if unknown
        else "see the check in the UI for samples, and the runbook for what to do",
        runbook(anchor, docs_url),
        event=outcome.event,
    )


def of_reading(reading: Reading, docs_url: str) -> Sign:
    """The sign that a red figure is."""
    rule = BY_NAME[reading.rule]
    return Sign(
        Kind.THRESHOLD,
        rule.name,
        "red",
        f"{rule.title} is red",
        f"{reading.text} (red {rule.words}; {rule.source})",
        "see platform_health in the UI for what else is red",
        runbook(rule.anchor, docs_url),
    )


def tell_health(database: Database, report: HealthReport, docs_url: str) -> tuple[int, int]:
    """Open an alert for each red figure, end those of figures that are well; how many opened and ended.

    An unknown figure does neither: what was red may still be, and the check of its group says that it could not look.
    """
    opened = ended = 0
    known = {alert.subject for alert in open_alerts(database) if alert.kind is Kind.THRESHOLD}
    for reading in report.readings:
        if reading.state is State.RED:
            opened += raise_alert(database, of_reading(reading, docs_url))
        elif reading.state is not State.UNKNOWN and reading.rule in known:
            ended += resolve(database, Kind.THRESHOLD, reading.rule, f"it is {reading.text}, {reading.state}")
    close_forgotten(database, Kind.THRESHOLD, [rule.name for rule in RULES])
    return opened, ended


def tell_checks(
    database: Database, outcomes: Sequence[CheckOutcome], defined: Sequence[str], docs_url: str
) -> tuple[int, int]:
    """Open, carry on or end the alerts of checks by their last evaluations; how many opened and ended.

    `defined` are the subjects of all checks that there are: alerts of others are closed.
    """
    opened = ended = 0
    known = {alert.subject for alert in open_alerts(database) if alert.kind is Kind.CHECK}
    for outcome in outcomes:
        if not outcome.passed:
            opened += raise_alert(database, of_check(outcome, docs_url))
        elif outcome.subject in known:
            why = f"it passed in run {outcome.run_id}"
            ended += resolve(database, Kind.CHECK, outcome.subject, why, event=outcome.event)
    if known - set(defined):
        close_forgotten(database, Kind.CHECK, defined)
    return opened, ended
