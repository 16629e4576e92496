"""The delete pass: what waited out its grace goes for good if, under its lock, it still is an orphan; else it is back.

First the row, with all that it said kept in `cleanup_quarantine`. Then the file, after a last look: a save that came in
between brings both back. From the commit of the last look on a save is too late.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.errors import ForeignKeyViolation

from content_orchestration.core.cleanup.audit import AuditEntry, record
from content_orchestration.core.cleanup.batches import each_file
from content_orchestration.core.cleanup.context import OrphanContext
from content_orchestration.core.cleanup.guards import check_references
from content_orchestration.core.cleanup.holds import HELD, held_tenants
from content_orchestration.core.cleanup.model import MOST_SAMPLES, ORPHANED_RENDER, Cleaned
from content_orchestration.core.cleanup.moving import COPY_KEPT, drop_copy
from content_orchestration.core.cleanup.prepare import check_triggers, ensure_indexes
from content_orchestration.core.cleanup.returning import bring_back_waiting
from content_orchestration.core.cleanup.verdicts import KEPT, ORPHAN, UNKNOWN_TENANT, Verdict, judge
from content_orchestration.core.cleanup.writers import writers_ended
from content_orchestration.core.database import Row
from content_orchestration.core.failpoints import reach
from content_orchestration.core.sql import statement

BATCH = 100
_FIRST = UUID(int=0)
_GONE = "gone"
_RECALLED = "recalled"


@dataclass
class _Pass:
    context: OrphanContext
    run_id: str
    now: datetime
    dry_run: bool
    skipped: Counter[str] = field(default_factory=Counter)
    deleted: int = 0
    freed: int = 0
    seen: int = 0
    samples: list[dict[str, Any]] = field(default_factory=list)


def delete_quarantined(context: OrphanContext, *, run_id: str, dry_run: bool, limit: int | None) -> Cleaned:
    """Delete at most `limit` renders whose grace is over.

    Raises as `quarantine_orphans` does. Freed bytes are those of files that are gone from the store.
    """
    began = time.monotonic()
    with context.moving_files():
        ensure_indexes(context.database)
        check_triggers(context.database)
        work = _Pass(context, run_id, context.guarded("orphan_due"), dry_run)
        restored = 0
        if not dry_run:
            restored += bring_back_waiting(context, run_id=run_id, everything=True).restored
            _finish(work)
        after: dict[str, Any] = {"after_at": None, "after": _FIRST, "now": work.now}
        while limit is None or work.seen < limit:
            batch = BATCH if limit is None else min(BATCH, limit - work.seen)
            last = _delete_batch(work, after | {"batch": batch})
            if last is None:
                break
            after |= {"after_at": last["delete_after"], "after": last["quarantine_id"]}
        if not dry_run:
            restored += bring_back_waiting(context, run_id=run_id, everything=bool(work.skipped["saved"])).restored
            _drop_kept_copies(work)
    with context.database.connection() as connection:
        state = connection.execute(statement("cleanup/quarantine_state"), {"kind": ORPHANED_RENDER}).fetchone() or {}
    return Cleaned(
        ORPHANED_RENDER,
        dry_run,
        scanned=work.seen,
        candidates=work.seen - sum(work.skipped.values()) if dry_run else work.seen,
        restored=restored,
        deleted=work.deleted,
        skipped=work.skipped,
        freed_bytes=work.freed,
        oldest_seconds=state["oldest_seconds"],
        left=state["waiting"],
        samples=work.samples,
        seconds=time.monotonic() - began,
    )


def _delete_batch(work: _Pass, values: dict[str, Any]) -> Row | None:
    """Delete the next rows and then their files; the last of them, or None at the end."""
    with work.context.database.connection() as connection:
        check_references(connection, remember=False)
        rows: list[Row] = connection.execute(statement("cleanup/due_pick"), values).fetchall()
        if not rows:
            return None
        work.seen += len(rows)
        try:
            with connection.transaction():
                gone = _delete_rows(work, connection, rows)
        except ForeignKeyViolation:
            # Some other table of the platform names one of them: each by itself, so that the others go.
            gone = [each for row in rows for each in _alone(work, connection, row)]
    reach("orphan_row_deleted")
    _remove_files(work, gone)
    return rows[-1]


def _alone(work: _Pass, connection: Connection[Row], row: Row) -> list[Row]:
    try:
        with connection.transaction():
            return _delete_rows(work, connection, [row])
    except ForeignKeyViolation as error:
        work.skipped["referenced_elsewhere"] += 1
        values = {"quarantine_id": row["quarantine_id"], "error": str(error)[:500]}
        connection.execute(statement("cleanup/quarantine_error"), values)
        return []


def _delete_rows(work: _Pass, connection: Connection[Row], rows: Sequence[Row]) -> list[Row]:
    by_job = {UUID(row["subject_id"]): row for row in rows}
    free = set(by_job)
    if not work.dry_run:
        locked = connection.execute(statement("cleanup/orphan_lock"), {"ids": list(by_job)}).fetchall()
        free = {row["id"] for row in locked}
    cutoff = work.context.cutoff(work.now)
    verdicts = judge(connection, work.context, list(by_job), cutoff)
    held = held_tenants(connection)
    going: list[Row] = []
    returning: dict[UUID, str] = {}
    skipped: Counter[str] = Counter()
    for job_id, row in by_job.items():
        verdict = verdicts[job_id]
        kept = _kept(work, row, verdict, held)
        if verdict.verdict != _GONE and job_id not in free:
            skipped["busy"] += 1
        elif kept is not None:
            skipped[kept] += 1
        elif verdict.verdict == _GONE or _still(row, verdict):
            going.append(row)
        else:
            returning[row["quarantine_id"]] = verdict.reason if verdict.verdict != ORPHAN else "file_needed"
    awaited = _awaited(connection, going)
    skipped.update(["file_awaited"] * len(awaited))
    going = [row for row in going if row["quarantine_id"] not in awaited]
    last = _last_of_their_file(connection, going, verdicts)
    returning |= dict.fromkeys(last, "last_of_file")
    going = [row for row in going if row["quarantine_id"] not in last]
    if work.dry_run:
        skipped.update(returning.values())
        work.skipped += skipped
        work.samples += [_sample(row) for row in going[: MOST_SAMPLES - len(work.samples)]]
        return []
    values = {"ids": [UUID(row["subject_id"]) for row in going], "cutoff": cutoff}
    connection.execute(statement("cleanup/quarantine_deleting"), values)
    deleted = {row["id"] for row in connection.execute(statement("cleanup/orphan_delete"), values).fetchall()}
    # Whatever the statement did not find to be an orphan any more stays, row and file.
    sure = [row for row in going if (each := UUID(row["subject_id"])) in deleted or verdicts[each].verdict == _GONE]
    if len(sure) < len(going):
        stayed = [row["subject_id"] for row in going if row not in sure]
        connection.execute(statement("cleanup/quarantine_stayed"), {"ids": stayed})
        skipped.update(["busy"] * len(stayed))
        going = sure
    for identity, reason in returning.items():
        connection.execute(statement("cleanup/quarantine_recall"), {"quarantine_id": identity, "reason": reason})
    record(connection, [_entry(row, "row_deleted", work.run_id, None) for row in going])
    skipped.update(returning.values())
    work.skipped += skipped
    reach("orphan_deleting")
    return going


def _still(row: Row, verdict: Verdict) -> bool:
    """Whether the render is an orphan and its file is nobody else's; one that names another file by now is not."""
    if verdict.verdict != ORPHAN or verdict.file_key != row["file_key"]:
        return False
    return not (verdict.file_needed and row["file_fate"] == "moved")


def _awaited(connection: Connection[Row], going: Sequence[Row]) -> set[UUID]:
    """Rows whose copy is the only one for another render of the same file; they wait until that has one, or is gone."""
    values = {"ids": [row["quarantine_id"] for row in going]}
    return {row["quarantine_id"] for row in connection.execute(statement("cleanup/copy_awaited"), values).fetchall()}


def _last_of_their_file(connection: Connection[Row], going: Sequence[Row], verdicts: dict[UUID, Verdict]) -> set[UUID]:
    """Rows whose file stayed for other renders of which none is left: with the row gone, nobody would ever remove it.

    They come back as what nobody saved, and the next pass moves both. One whose row the platform removed cannot.
    """
    values = {"ids": [row["quarantine_id"] for row in going]}
    last = {row["quarantine_id"] for row in connection.execute(statement("cleanup/last_of_file"), values).fetchall()}
    gone = {row["quarantine_id"] for row in going if verdicts[UUID(row["subject_id"])].verdict == _GONE}
    return last - gone


def _kept(work: _Pass, row: Row, verdict: Verdict, held: frozenset[UUID]) -> str | None:
    if verdict.verdict == KEPT:
        return verdict.reason
    if verdict.verdict == _GONE:
        # The platform removed the row: whose it was is what was written down.
        if row["tenant_id"] is None:
            return UNKNOWN_TENANT
        if row["tenant_id"] in held:
            return HELD
        return work.context.never.forbids(row["tenant_id"], f"{row['bucket']}/{row['path']}")
    return None


def _finish(work: _Pass) -> None:
    """Remove the files of rows that a killed pass had deleted."""
    after = _FIRST
    while True:
        with work.context.database.connection() as connection:
            values = {"state": "deleting", "after": after, "batch": BATCH}
            rows = connection.execute(statement("cleanup/quarantine_unfinished"), values).fetchall()
        if not rows:
            return
        after = rows[-1]["quarantine_id"]
        _remove_files(work, rows)


def _remove_files(work: _Pass, rows: Sequence[Row]) -> None:
    """The files of deleted rows. One that other rows of the quarantine hold on to goes with the last of them."""

    def remove(row: Row) -> str:
        fate = _last_look(work, row)
        if fate == _RECALLED or row["quarantine_key"] is None:
            return fate
        with work.context.database.connection() as connection:
            if connection.execute(statement("cleanup/copy_needed"), row).fetchone():
                return "shared"
        gone = drop_copy(work.context.stores.bucket(row["bucket"]), row)
        reach("orphan_copy_deleted")
        return "removed" if gone and fate == "removing" else "shared"

    if rows and not writers_ended(work.context.database):
        # Somebody writes assets for long; the rows are in state `deleting`, and the next pass looks again.
        work.skipped["writers_busy"] += len(rows)
        return
    looked = each_file(work.context, rows, remove, work.skipped)
    done = [(row, fate) for row, fate in looked if fate != _RECALLED]
    work.skipped.update(["saved"] * (len(looked) - len(done)))
    with work.context.database.connection() as connection:
        for row, fate in done:
            connection.execute(
                statement("cleanup/quarantine_deleted"), {"quarantine_id": row["quarantine_id"], "file_fate": fate}
            )
        record(connection, [_entry(row, "deleted", work.run_id, fate) for row, fate in done])
    reach("orphan_deleted")
    work.deleted += len(done)
    work.freed += sum(row["size_bytes"] or 0 for row, fate in done if fate == "removed")
    work.samples += [_sample(row) for row, _ in done[: MOST_SAMPLES - len(work.samples)]]


def _last_look(work: _Pass, row: Row) -> str:
    """Under the lock for which a late save waits: the file's fate, or that somebody saved it after all."""
    with work.context.database.connection() as connection:
        connection.execute(statement("cleanup/last_look_lock"), row).fetchone()
        reach("orphan_last_look")
        found = connection.execute(statement("cleanup/last_look"), row).fetchone()
    reach("orphan_removing")
    return str(found["file_fate"]) if found else _RECALLED


def _drop_kept_copies(work: _Pass) -> None:
    """Copies of what came back an hour ago and is there: only then is the second one not needed."""
    with work.context.database.connection() as connection:
        values = {"before": work.now - COPY_KEPT, "batch": BATCH}
        rows = connection.execute(statement("cleanup/copies_kept"), values).fetchall()

    def drop(row: Row) -> str:
        bucket = work.context.stores.bucket(row["bucket"])
        if row["saved"] and bucket.head(row["path"]) is None:
            return "again"
        with work.context.database.connection() as connection:
            needed = connection.execute(statement("cleanup/copy_needed"), row).fetchone()
        if not needed:
            drop_copy(bucket, row)
        return "dropped"

    done = each_file(work.context, rows, drop, work.skipped)
    with work.context.database.connection() as connection:
        for row, what in done:
            name = "cleanup/copy_dropped" if what == "dropped" else "cleanup/copy_again"
            connection.execute(statement(name), {"quarantine_id": row["quarantine_id"]})


def _entry(row: Row, action: str, run_id: str, fate: str | None) -> AuditEntry:
    place = f"{row['bucket']}/{row['path']}" if row["bucket"] else None
    return AuditEntry(
        run_id=run_id,
        kind=ORPHANED_RENDER,
        action=action,
        subject_id=row["subject_id"],
        tenant_id=row["tenant_id"],
        location=place,
        size_bytes=row["size_bytes"] if fate == "removed" else 0,
        reason=row["reason"],
        quarantined_at=row["quarantined_at"],
        detail={"file": fate or row["file_fate"], "quarantine_id": str(row["quarantine_id"]), "by_run": row["run_id"]},
    )


def _sample(row: Row) -> dict[str, Any]:
    return {"render": row["subject_id"], "file": f"{row['bucket']}/{row['path']}", "bytes": row["size_bytes"] or 0}
