"""The scan: brings `render_candidates` up to what the platform's tables say. Nothing of the platform's is touched.

Its cost grows with candidates: renders of the last hour, orphans, and what was refused and is asked about once a day.
"""

import time
from collections import Counter
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import Connection

from content_orchestration.core.cleanup.audit import AuditEntry, record
from content_orchestration.core.cleanup.context import OrphanContext, database_time
from content_orchestration.core.cleanup.guards import check_clock, check_references
from content_orchestration.core.cleanup.model import MOST_SAMPLES, ORPHANED_RENDER, Cleaned
from content_orchestration.core.cleanup.prepare import (
    check_triggers,
    ensure_indexes,
    note_in_turn,
    note_old_renders,
    take_notes,
)
from content_orchestration.core.cleanup.verdicts import KEPT, ORPHAN, OVER, YOUNG, Verdict, judge
from content_orchestration.core.database import Row
from content_orchestration.core.sql import statement

BATCH = 1_000
_ASK_AGAIN = timedelta(days=1)
_ASK_KEPT_AGAIN = timedelta(hours=1)
_FIRST = UUID(int=0)


def scan_candidates(context: OrphanContext, *, run_id: str, dry_run: bool, limit: int | None) -> Cleaned:
    """Look at every candidate whose time has come, at most `limit`.

    In a dry run nothing is noted or dropped: it sees the candidates that earlier scans and triggers noted.

    Raises `Refused` (triggers, clock, empty references). Too many candidates do not stop a scan, but what follows it.
    """
    began = time.monotonic()
    ensure_indexes(context.database)
    check_triggers(context.database)
    check_clock(context.database, context.clock)
    with context.database.connection() as connection:
        check_references(connection, remember=not dry_run)
    compared = 0
    if not dry_run:
        compared += note_old_renders(context.database).compared
        compared += note_in_turn(context.database).compared
        take_notes(context.database)
    with context.database.connection() as connection:
        # What was noted a moment ago is looked at as well.
        now = database_time(connection)
    scanned, skipped, samples = _look_at_all(context, now, run_id=run_id, dry_run=dry_run, limit=limit)
    with context.database.connection() as connection:
        state = connection.execute(statement("cleanup/orphan_state")).fetchone() or {}
    found = skipped.pop(ORPHAN, 0)
    return Cleaned(
        ORPHANED_RENDER,
        dry_run,
        scanned=scanned + compared,
        candidates=found if dry_run else state["candidates"],
        skipped=skipped,
        oldest_seconds=state["oldest_seconds"],
        left=state["candidates"],
        samples=samples,
        seconds=time.monotonic() - began,
    )


def _look_at_all(
    context: OrphanContext, now: datetime, *, run_id: str, dry_run: bool, limit: int | None
) -> tuple[int, Counter[str], list[dict[str, Any]]]:
    scanned = 0
    found: Counter[str] = Counter()
    samples: list[dict[str, Any]] = []
    after: dict[str, Any] = {"after_at": None, "after": _FIRST, "now": now}
    while limit is None or scanned < limit:
        with context.database.connection() as connection:
            batch = BATCH if limit is None else min(BATCH, limit - scanned)
            rows = connection.execute(statement("cleanup/orphan_look"), after | {"batch": batch}).fetchall()
            if not rows:
                break
            after |= {"after_at": rows[-1]["look_at"], "after": rows[-1]["job_id"]}
            before = {row["job_id"]: row for row in rows}
            verdicts = judge(connection, context, list(before), context.cutoff(now))
            if not dry_run:
                settle(connection, context, verdicts.values(), before, now, run_id=run_id)
        scanned += len(rows)
        found.update(
            each.verdict if each.verdict in (ORPHAN, YOUNG, *OVER) else each.reason for each in verdicts.values()
        )
        samples += [
            {"render": str(each.job_id), "file": str(each.location)}
            for each in verdicts.values()
            if each.verdict == ORPHAN
        ][: MOST_SAMPLES - len(samples)]
    return scanned, found, samples


def settle(
    connection: Connection[Row],
    context: OrphanContext,
    verdicts: Collection[Verdict],
    before: dict[UUID, Row],
    now: datetime,
    *,
    run_id: str,
) -> None:
    """Write the verdicts down where they changed: drop what is over, mark orphans, ask later about the rest."""
    over = [each.job_id for each in verdicts if each.verdict in OVER]
    if over:
        connection.execute(statement("cleanup/candidates_drop"), {"ids": over})
    orphans = [each.job_id for each in verdicts if each.verdict == ORPHAN and before[each.job_id]["state"] != ORPHAN]
    if orphans:
        connection.execute(statement("cleanup/candidates_mark"), {"ids": orphans})
    young = [each.job_id for each in verdicts if each.verdict == YOUNG]
    if young:
        values = {"ids": young, "age": context.rules.minimum_age, "latest": now + _ASK_AGAIN}
        connection.execute(statement("cleanup/candidates_wait"), values)
    later = [each for each in verdicts if each.verdict not in (*OVER, ORPHAN, YOUNG)]
    for each in later:
        at = now + (_ASK_KEPT_AGAIN if each.verdict == KEPT else _ASK_AGAIN)
        connection.execute(
            statement("cleanup/candidates_refuse"), {"job_id": each.job_id, "reason": each.reason, "at": at}
        )
    told = [each for each in later if before[each.job_id]["reason"] != each.reason]
    record(connection, [_refusal(each, run_id) for each in told])


def _refusal(verdict: Verdict, run_id: str) -> AuditEntry:
    return AuditEntry(
        run_id=run_id,
        kind=ORPHANED_RENDER,
        action="refused" if verdict.verdict != KEPT else "skipped",
        subject_id=str(verdict.job_id),
        tenant_id=verdict.tenant_id,
        location=str(verdict.location) if verdict.location else None,
        reason=verdict.reason,
    )
