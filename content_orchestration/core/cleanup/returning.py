"""Brings renders back from quarantine: those that were saved, that turned out to be needed, that undo names."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from content_orchestration.core.cleanup.audit import AuditEntry, record
from content_orchestration.core.cleanup.batches import each_file
from content_orchestration.core.cleanup.context import OrphanContext, database_time
from content_orchestration.core.cleanup.model import MOST_SAMPLES, ORPHANED_RENDER, Cleaned
from content_orchestration.core.cleanup.moving import check_fate, out_of_quarantine
from content_orchestration.core.database import Database, Row
from content_orchestration.core.failpoints import reach
from content_orchestration.core.sql import statement

BATCH = 100
_RECALLS = 10_000
_FIRST = UUID(int=0)


def recalls_waiting(database: Database) -> int:
    """How many saves named something in quarantine since the last time; a question for a sensor, answered at once."""
    with database.connection() as connection:
        row = connection.execute(statement("cleanup/recalls_count"), {"most": _RECALLS}).fetchone() or {}
    return int(row["waiting"])


def bring_back_waiting(context: OrphanContext, *, run_id: str, everything: bool, limit: int | None = None) -> Cleaned:
    """Bring back what was saved since it went into quarantine. The caller holds the lock of moving files.

    By the notes that saves leave; with `everything` by the references themselves, and by who else names the file.
    """
    began = time.monotonic()
    if everything:
        with context.database.connection() as connection:
            cutoff = context.cutoff(database_time(connection))
            connection.execute(statement("cleanup/by_index"))
            connection.execute(statement("cleanup/recall_needed"), {"cutoff": cutoff})
    with context.database.connection() as connection:
        connection.execute(statement("cleanup/recall_noted"), {"most": _RECALLS})
    reach("orphan_recalled")
    restored, skipped, samples = 0, Counter[str](), list[dict[str, Any]]()
    after, seen = _FIRST, 0
    while limit is None or seen < limit:
        with context.database.connection() as connection:
            batch = BATCH if limit is None else min(BATCH, limit - seen)
            values = {"state": "restoring", "after": after, "batch": batch}
            rows = connection.execute(statement("cleanup/quarantine_unfinished"), values).fetchall()
        if not rows:
            break
        after = rows[-1]["quarantine_id"]
        seen += len(rows)
        back = _bring_back(context, rows, run_id, skipped)
        restored += len(back)
        samples += [_sample(row) for row in back[: MOST_SAMPLES - len(samples)]]
    return Cleaned(
        ORPHANED_RENDER,
        False,
        scanned=seen,
        candidates=seen,
        restored=restored,
        skipped=skipped,
        left=seen - restored,
        samples=samples,
        seconds=time.monotonic() - began,
    )


def _bring_back(context: OrphanContext, rows: Sequence[Row], run_id: str, skipped: Counter[str]) -> list[Row]:
    def back(row: Row) -> str:
        fate = out_of_quarantine(context, row)
        check_fate(row, fate)
        return fate

    done = each_file(context, rows, back, skipped)
    with context.database.connection() as connection:
        connection.execute(statement("cleanup/orphan_reinsert"), {"ids": [row["quarantine_id"] for row, _ in done]})
        for row, fate in done:
            values = {"quarantine_id": row["quarantine_id"], "file_fate": fate}
            connection.execute(statement("cleanup/quarantine_restored"), values)
        record(connection, [_entry(row, fate, run_id) for row, fate in done])
        # What nobody saved, but somebody wanted back, is a candidate like any other.
        names = [row["subject_id"] for row, _ in done]
        connection.execute(statement("cleanup/candidates_again"), {"ids": names})
    reach("orphan_restored")
    return [row for row, _ in done]


def _entry(row: Row, fate: str, run_id: str) -> AuditEntry:
    return AuditEntry(
        run_id=run_id,
        kind=ORPHANED_RENDER,
        action="restored",
        subject_id=row["subject_id"],
        tenant_id=row["tenant_id"],
        location=f"{row['bucket']}/{row['path']}",
        size_bytes=row["size_bytes"],
        reason=row["error"] or "saved",
        quarantined_at=row["quarantined_at"],
        detail={"file": fate, "quarantine_id": str(row["quarantine_id"])},
    )


def _sample(row: Row) -> dict[str, Any]:
    return {"render": row["subject_id"], "file": f"{row['bucket']}/{row['path']}", "run": row["run_id"]}
