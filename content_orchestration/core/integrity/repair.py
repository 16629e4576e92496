"""Repairs what a report found: looks again, acts on what still differs, looks once more, and writes all of it down.

PostgreSQL's rows say what is right; a body is right when it has the hash that its row names. No row and no live
document is ever deleted: of identical copies of a document one stays, and everything else is written anew.
A run that is killed leaves `started` rows; the next one begins with a look, so nothing is done twice.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from content_orchestration.core.errors import AlreadyRunning, ContentError
from content_orchestration.core.failpoints import reach
from content_orchestration.core.integrity.findings import Kind
from content_orchestration.core.integrity.mend import (
    MEDIA,
    VERSIONS,
    Tiers,
    ensure_bodies,
    mend_bodies,
    mend_media,
    mend_spill,
    mend_versions_documents,
)
from content_orchestration.core.integrity.mend_rows import mend_usage, mend_versions
from content_orchestration.core.integrity.proof import BODIES
from content_orchestration.core.integrity.recheck import ENTITY_OF, Look, look_again
from content_orchestration.core.integrity.repair_log import Action, Outcome, RepairLog
from content_orchestration.core.integrity.repair_report import ACTIONS, RepairReport, chosen_kinds, refusal
from content_orchestration.core.integrity.report import IntegrityReport, Scope
from content_orchestration.core.integrity.report_store import read_differences, read_report, store_report
from content_orchestration.core.integrity.resend import resend
from content_orchestration.core.integrity.survey import Limits, Sides
from content_orchestration.core.replication.tables import Entity

LOCK = "integrity_repair"


class Repairer:
    """Repairs the differences of one report. `sync` runs one sync of replication; see `Replicator`."""

    def __init__(
        self,
        sides: Sides,
        limits: Limits,
        sync: Callable[[], object],
        *,
        run_id: str,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        sync_attempts: int = 12,
    ) -> None:
        self._sides = sides
        self._limits = limits
        self._sync_once = sync
        self._run_id = run_id
        self._sleep = sleep
        self._clock = clock
        self._sync_attempts = sync_attempts

    def repair(self, report_id: int, *, kinds: Sequence[str], max_repairs: int, dry_run: bool) -> RepairReport:
        """Repair at most `max_repairs` differences of these kinds (all, where none is named).

        Raises `Permanent` for a report or kind that does not exist, `AlreadyRunning` beside another repair, `Transient`
        when PostgreSQL is lost. Another tier that is down makes outcomes unknown. A dry run writes nothing anywhere.
        """
        started = self._clock()
        wanted = chosen_kinds(kinds)
        stored = read_report(self._sides.database, report_id)
        report = RepairReport(report_id, dry_run)
        with self._sides.database.advisory_lock(LOCK):
            found = read_differences(self._sides.database, report_id, wanted, max_repairs)
            report.actions = [Action(each, ACTIONS.get(each.difference.kind, "none")) for each in found]
            report.left = max(0, sum(stored.counts.get(str(kind), 0) for kind in wanted) - len(found))
            log = RepairLog(self._sides.database, report_id, self._run_id)
            if not dry_run:
                report.abandoned = log.close_abandoned()
                self._settle_history(report)
            self._judge(report)
            if not dry_run:
                log.start(report.actions)
                reach("repair_started")
                self._act(report)
                self._conclude(report)
                log.finish(report.actions)
        report.seconds = self._clock() - started
        return report

    def _judge(self, report: RepairReport) -> None:
        """End what is refused, what is clean by now, and what nobody can see; the rest is due."""
        due = []
        for action in report.actions:
            reason = refusal(action.found.difference)
            if reason:
                action.end(Outcome.REFUSED, reason=reason)
            else:
                due.append(action)
        look = look_again(self._sides, self._limits, due, self._clock)
        for action in due:
            differences = look.differences.get(action.key)
            if differences:
                kind = action.found.difference.kind
                now = next((each for each in differences if each.kind == kind), differences[0])
                action.found = replace(action.found, difference=now)
                if reason := refusal(now):
                    action.end(Outcome.REFUSED, reason=reason)
            elif action.key in look.unknown:
                action.end(Outcome.UNKNOWN, reason=look.unknown[action.key])
            else:
                action.end(Outcome.ALREADY_CLEAN)

    def _act(self, report: RepairReport) -> None:
        tiers = Tiers(
            self._sides.database, self._sides.store, self._sides.warehouse, f"{self._run_id}:{report.report_id}"
        )
        due = [action for action in report.actions if action.outcome is None]
        # Rows first: a record that comes back claims documents, which are then looked after too.
        self._attempt(_of(due, _is(Kind.VERSION_GAP, Kind.VERSION_DIFFERS)), partial(mend_versions, tiers))
        self._attempt(_of(due, partial(_is_document, BODIES)), partial(mend_bodies, tiers))
        self._attempt(_of(due, partial(_is_document, VERSIONS)), partial(mend_versions_documents, tiers))
        self._attempt(_of(due, partial(_is_document, MEDIA)), partial(mend_media, tiers))
        self._attempt(_of(due, _is(Kind.SPILL_DIFFERS)), partial(mend_spill, tiers))
        self._attempt(_of(due, _is(Kind.USAGE_DIFFERS)), partial(mend_usage, tiers))
        reach("repair_mended")
        for table, entity in ENTITY_OF.items():
            self._attempt(_of(due, partial(_is_row, table)), partial(_send, tiers, entity))
        reach("repair_changes_written")
        self._settle_history(report)
        reach("repair_synced")

    def _attempt(self, actions: Sequence[Action], work: Callable[[Sequence[Action]], None]) -> None:
        """Do one part; what it fails with is noted, and the look afterwards says what came of it."""
        if not actions:
            return
        try:
            work(actions)
        except ContentError as error:
            for action in actions:
                if action.outcome is None:
                    action.detail["error"] = str(error)

    def _conclude(self, report: RepairReport) -> None:
        acted = [action for action in report.actions if action.outcome is None]
        look = look_again(self._sides, self._limits, acted, self._clock)
        for action in acted:
            differences = look.differences.get(action.key)
            if differences:
                action.end(Outcome.NOT_REPAIRED, still=sorted({str(each.kind) for each in differences}))
            elif action.key in look.unknown:
                action.end(Outcome.UNKNOWN, reason=look.unknown[action.key])
            else:
                action.end(Outcome.REPAIRED)
        self._keep(report, look)

    def _keep(self, report: RepairReport, look: Look) -> None:
        after = IntegrityReport(Scope.REPAIR, self._run_id, self._limits.now, look.comparisons)
        after.seconds = sum(comparison.seconds for comparison in look.comparisons)
        report.after_report_id = store_report(self._sides.database, after)

    def _settle_history(self, report: RepairReport) -> None:
        """Let windows carry what the change log holds, so that a look at BigQuery sees it. Waits for a running sync."""
        if self._sides.warehouse is None or not any(
            action.found.difference.table in ENTITY_OF for action in report.actions
        ):
            return
        for attempt in range(1, self._sync_attempts + 1):
            try:
                self._sync_once()
            except AlreadyRunning as error:
                if attempt == self._sync_attempts:
                    report.problems.append(str(error))
                    return
                self._sleep(5.0)
            except ContentError as error:
                report.problems.append(str(error))
                return
            else:
                return


def _of(actions: Sequence[Action], chosen: Callable[[Action], bool]) -> list[Action]:
    return [action for action in actions if action.outcome is None and chosen(action)]


def _is(*kinds: Kind) -> Callable[[Action], bool]:
    return lambda action: action.found.difference.kind in kinds


def _is_row(table: str, action: Action) -> bool:
    return action.found.difference.table == table


def _is_document(collection: str, action: Action) -> bool:
    """A document of a collection; version records in PostgreSQL have the same table name and kinds of their own."""
    difference = action.found.difference
    return difference.table == collection and difference.kind not in (Kind.VERSION_GAP, Kind.VERSION_DIFFERS)


def _send(tiers: Tiers, entity: Entity, actions: Sequence[Action]) -> None:
    """Write into the change log what BigQuery is to get again."""
    ensure_bodies(tiers, entity, actions)
    due = [action for action in actions if action.outcome is None]
    if tiers.warehouse is None or not due:
        return
    ids = {action.found.difference.entity_id: action.found.difference.tenant_id for action in due}
    done = resend(tiers.database, tiers.warehouse, entity, ids)
    for action in due:
        key = action.found.difference.entity_id
        if key in done.refused:
            action.end(Outcome.REFUSED, reason=done.refused[key])
        else:
            action.detail["sent_as"] = "tombstone" if key in done.tombstones else "row"
