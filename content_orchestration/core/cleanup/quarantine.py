"""The quarantine pass: orphans that a scan marked are asked again under the row's lock, noted, and their files moved.

The row of `render_jobs` stays until the delete pass. A shared file stays where it is, and only its row goes later.
"""

import time
from collections import Counter
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from content_orchestration.core.cleanup.addresses import QUARANTINE_PREFIX
from content_orchestration.core.cleanup.audit import AuditEntry, record
from content_orchestration.core.cleanup.batches import each_file
from content_orchestration.core.cleanup.context import OrphanContext
from content_orchestration.core.cleanup.guards import check_references
from content_orchestration.core.cleanup.model import MOST_SAMPLES, ORPHANED_RENDER, PREDICATE_VERSION, Cleaned
from content_orchestration.core.cleanup.moving import into_quarantine
from content_orchestration.core.cleanup.prepare import check_triggers, ensure_indexes
from content_orchestration.core.cleanup.returning import bring_back_waiting
from content_orchestration.core.cleanup.scanning import settle
from content_orchestration.core.cleanup.verdicts import ORPHAN, Verdict, judge
from content_orchestration.core.database import Row
from content_orchestration.core.failpoints import reach
from content_orchestration.core.sql import statement

BATCH = 100
"""Orphans whose rows are locked at once, for some milliseconds; no file moves under those locks."""
_FIRST = UUID(int=0)


def quarantine_orphans(context: OrphanContext, *, run_id: str, dry_run: bool, limit: int | None) -> Cleaned:
    """Put at most `limit` orphans into quarantine.

    Raises `Refused` where a rule stops it, `AlreadyRunning` while another pass moves files, `Transient` where the
    store or the database does not answer; what was begun is finished by the next pass.
    """
    began = time.monotonic()
    with context.moving_files():
        ensure_indexes(context.database)
        check_triggers(context.database)
        now = context.guarded("orphan_candidates")
        skipped: Counter[str] = Counter()
        restored = 0 if dry_run else bring_back_waiting(context, run_id=run_id, everything=True).restored
        moved: list[tuple[Row, int]] = [] if dry_run else _finish(context, run_id, skipped)
        seen, after = 0, {"after_at": None, "after": _FIRST, "now": now}
        would: list[Verdict] = []
        while limit is None or seen < limit:
            batch = BATCH if limit is None else min(BATCH, limit - seen)
            taken = _take(context, after | {"batch": batch}, now, run_id, dry_run=dry_run, skipped=skipped)
            if taken is None:
                break
            rows, orphans, after["after_at"], after["after"] = taken
            seen += len(orphans)
            would += orphans
            moved += _move(context, rows, run_id, skipped)
        if not dry_run:
            # What was saved while files moved.
            restored += bring_back_waiting(context, run_id=run_id, everything=False).restored
    with context.database.connection() as connection:
        state = connection.execute(statement("cleanup/orphan_state")).fetchone() or {}
    samples = [{"render": str(each.job_id), "file": str(each.location)} for each in would[:MOST_SAMPLES]]
    return Cleaned(
        ORPHANED_RENDER,
        dry_run,
        scanned=seen + sum(skipped.values()),
        candidates=len(would),
        quarantined=len(moved),
        restored=restored,
        skipped=skipped,
        oldest_seconds=state["oldest_seconds"],
        left=state["candidates"],
        samples=samples,
        seconds=time.monotonic() - began,
    )


def _take(
    context: OrphanContext,
    after: dict[str, Any],
    now: datetime,
    run_id: str,
    *,
    dry_run: bool,
    skipped: Counter[str],
) -> tuple[list[Row], list[Verdict], datetime, UUID] | None:
    """The next orphans, noted as about to move: their rows, and where the next batch begins. None at the end."""
    with context.database.connection() as connection:
        # Again in every batch: references may be lost while a long pass runs.
        check_references(connection, remember=False)
        picked = connection.execute(statement("cleanup/orphan_pick"), after).fetchall()
        if not picked:
            return None
        before = {row["job_id"]: row for row in picked}
        ids = list(before)
        if not dry_run:
            ids = [row["id"] for row in connection.execute(statement("cleanup/orphan_lock"), {"ids": ids}).fetchall()]
            reach("orphan_locked")
        verdicts = judge(connection, context, ids, context.cutoff(now))
        orphans = [each for each in verdicts.values() if each.verdict == ORPHAN]
        skipped.update(each.reason for each in verdicts.values() if each.verdict != ORPHAN)
        skipped.update(["busy"] * (len(before) - len(ids)))
        rows: list[Row] = []
        if not dry_run:
            settle(connection, context, verdicts.values(), before, now, run_id=run_id)
            rows = [_note(connection, context, each, run_id) for each in orphans]
            connection.execute(statement("cleanup/candidates_drop"), {"ids": [each.job_id for each in orphans]})
            record(connection, [_kept(each, run_id) for each in orphans if each.file_needed])
    reach("orphan_noted")
    return rows, orphans, picked[-1]["since"], picked[-1]["job_id"]


def _note(connection: Any, context: OrphanContext, orphan: Verdict, run_id: str) -> Row:
    """The intent, written before anything moves. A file that somebody else needs does not move at all."""
    identity = uuid4()
    values = {
        "quarantine_id": identity,
        "subject_id": str(orphan.job_id),
        "tenant_id": orphan.tenant_id,
        "run_id": run_id,
        "bucket": orphan.location.bucket if orphan.location else None,
        "path": orphan.location.path if orphan.location else None,
        "quarantine_key": None if orphan.file_needed else f"{QUARANTINE_PREFIX}/{identity}",
        "file_key": orphan.file_key,
        "state": "quarantined" if orphan.file_needed else "moving",
        "file_fate": "shared" if orphan.file_needed else "waiting",
        "reason": "nobody saved it",
        "predicate_version": PREDICATE_VERSION,
        "grace": context.rules.grace,
        "job_id": orphan.job_id,
    }
    row: Row = connection.execute(statement("cleanup/quarantine_insert"), values).fetchone()
    return row


def _kept(orphan: Verdict, run_id: str) -> AuditEntry:
    return AuditEntry(
        run_id=run_id,
        kind=ORPHANED_RENDER,
        action="quarantined",
        subject_id=str(orphan.job_id),
        tenant_id=orphan.tenant_id,
        location=str(orphan.location),
        size_bytes=0,
        reason="nobody saved it",
        detail={"file": "shared"},
    )


def _move(context: OrphanContext, rows: list[Row], run_id: str, skipped: Counter[str]) -> list[tuple[Row, int]]:
    waiting = [row for row in rows if row["state"] == "moving"]
    done = each_file(context, waiting, lambda row: into_quarantine(context, row, run_id), skipped)
    skipped.update("wanted_back" for _, moved in done if moved.fate == "stopped")
    stayed = [(row, 0) for row in rows if row["state"] != "moving"]
    return stayed + [(row, moved.size_bytes) for row, moved in done if moved.fate != "stopped"]


def _finish(context: OrphanContext, run_id: str, skipped: Counter[str]) -> list[tuple[Row, int]]:
    """Move what a killed pass, or a store that did not answer, left half-way."""
    moved: list[tuple[Row, int]] = []
    after = _FIRST
    while True:
        with context.database.connection() as connection:
            values = {"state": "moving", "after": after, "batch": BATCH}
            rows = connection.execute(statement("cleanup/quarantine_unfinished"), values).fetchall()
        if not rows:
            return moved
        after = rows[-1]["quarantine_id"]
        moved += _move(context, rows, run_id, skipped)
