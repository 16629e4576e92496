"""Moves one file into quarantine and back, in steps that a kill may end anywhere. Which file and when, others decide.

Copy, look whether nobody said stop, delete the original, mark: at every moment the bytes are in one place at least.
The copy of what was brought back is kept for an hour more (`COPY_KEPT`): a request of a process that was thought dead
may still arrive and delete the original.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from content_orchestration.core.cleanup.audit import AuditEntry, record
from content_orchestration.core.cleanup.context import OrphanContext
from content_orchestration.core.cleanup.model import ORPHANED_RENDER
from content_orchestration.core.cleanup.stores import RenderBucket
from content_orchestration.core.database import Row
from content_orchestration.core.errors import Permanent
from content_orchestration.core.failpoints import reach
from content_orchestration.core.media.model import ObjectInfo
from content_orchestration.core.sql import statement

COPY_KEPT = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of one file: its fate as in `cleanup_quarantine`, or `stopped` where somebody wanted it back."""

    fate: str
    size_bytes: int = 0


def into_quarantine(context: OrphanContext, row: Row, run_id: str) -> Moved:
    """Move the file of a row in state `moving`, and mark it. Safe to call again for what a kill left."""
    bucket = context.stores.bucket(row["bucket"])
    found = bucket.head(row["path"])
    copy = bucket.head(row["quarantine_key"])
    key = row["quarantine_key"]
    if found is None and copy is None:
        # Another render of the same file may have taken it along; without one there is nothing to keep.
        key = _taken_by(context, row)
        copy = bucket.head(key) if key else None
        return _marked(context, row, run_id, "missing" if copy is None else "moved", copy, key if copy else None)
    if found is None:
        return _marked(context, row, run_id, "moved", copy, key)
    if copy is not None and copy.size_bytes != found.size_bytes:
        bucket.delete(key)  # the original was written anew since a killed pass copied it
    copied = bucket.copy(row["path"], key)
    reach("orphan_copied")
    if not _goes_on(context, row, found):
        return Moved("stopped")
    reach("orphan_fenced")
    if not _same(bucket.head(row["path"]), found):
        return _marked(context, row, run_id, "shared", copied, key, reason="changed")
    bucket.delete(row["path"])
    reach("orphan_original_deleted")
    return _marked(context, row, run_id, "moved", copied, key)


def out_of_quarantine(context: OrphanContext, row: Row) -> str:
    """Bring the file of a row in state `restoring` back to where it was; its fate: `back`, `missing` or `none`."""
    if row["bucket"] is None or row["file_fate"] in ("shared", "missing", "none"):
        return str(row["file_fate"]) if row["file_fate"] != "waiting" else "none"
    bucket = context.stores.bucket(row["bucket"])
    if bucket.head(row["path"]) is None:
        key = row["quarantine_key"]
        if key is None or bucket.head(key) is None:
            # It was called back before it moved, and another render of the same file has taken that along.
            key = _taken_by(context, row)
        if key is None or bucket.head(key) is None:
            return "missing"
        bucket.copy(key, row["path"])
        reach("orphan_copied_back")
    return "back"


def drop_copy(bucket: RenderBucket, row: Row) -> bool:
    """Delete the file in quarantine, if it is the one that was put there; False where it has another size."""
    found = bucket.head(row["quarantine_key"])
    known = row["size_bytes"]  # None where a kill came before it was written down
    if found is not None and known is not None and found.size_bytes != known:
        return False
    if found is not None:
        bucket.delete(row["quarantine_key"])
    return True


def _taken_by(context: OrphanContext, row: Row) -> str | None:
    with context.database.connection() as connection:
        other = connection.execute(
            statement("cleanup/orphan_taken_by"),
            {"quarantine_id": row["quarantine_id"], "bucket": row["bucket"], "path": row["path"]},
        ).fetchone()
    return str(other["quarantine_key"]) if other else None


def _goes_on(context: OrphanContext, row: Row, found: ObjectInfo) -> bool:
    """Whether the row still waits for its move; what is about to be deleted is written down first."""
    values = {
        "quarantine_id": row["quarantine_id"],
        "size_bytes": found.size_bytes,
        "etag": found.etag,
        "generation": found.generation,
    }
    with context.database.connection() as connection:
        return bool(connection.execute(statement("cleanup/orphan_fence"), values).rowcount)


def _same(now: ObjectInfo | None, before: ObjectInfo) -> bool:
    return now is not None and (now.etag, now.generation, now.size_bytes) == (
        before.etag,
        before.generation,
        before.size_bytes,
    )


def _marked(
    context: OrphanContext,
    row: Row,
    run_id: str,
    fate: str,
    copy: ObjectInfo | None,
    key: str | None,
    *,
    reason: str | None = None,
) -> Moved:
    size = copy.size_bytes if copy else 0
    values: dict[str, Any] = {
        "quarantine_id": row["quarantine_id"],
        "file_fate": fate,
        "size_bytes": size,
        "quarantine_key": key,
        "grace": context.rules.grace,
    }
    with context.database.connection() as connection:
        marked = connection.execute(statement("cleanup/orphan_moved"), values).fetchone()
        if marked is None:
            return Moved("stopped")
        record(
            connection,
            [
                AuditEntry(
                    run_id=run_id,
                    kind=ORPHANED_RENDER,
                    action="quarantined",
                    subject_id=row["subject_id"],
                    tenant_id=row["tenant_id"],
                    location=f"{row['bucket']}/{row['path']}",
                    size_bytes=size,
                    reason=reason or row["reason"],
                    quarantined_at=marked["quarantined_at"],
                    detail={"file": fate, "quarantine_id": str(row["quarantine_id"])},
                )
            ],
        )
    reach("orphan_quarantined")
    return Moved(fate, size)


def check_fate(row: Row, fate: str) -> None:
    """Raise `Permanent` where a file that was moved is in neither place: nobody may hold that for a success."""
    if fate == "missing" and row["file_fate"] == "moved":
        raise Permanent(
            f"{row['bucket']}/{row['path']} is neither there nor in quarantine as {row['quarantine_key']}: somebody "
            "else removed it; look at the bucket's own versions"
        )
