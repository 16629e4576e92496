"""Undoes a cleanup of renders: brings back from quarantine what a run put there, or what lay under a path.

What the delete pass removed is not there any more, and is counted as such. What comes back is left alone for 30 days.
"""

import time
from collections import Counter

from content_orchestration.core.cleanup.context import OrphanContext
from content_orchestration.core.cleanup.model import MOST_SAMPLES, ORPHANED_RENDER, Cleaned
from content_orchestration.core.cleanup.returning import bring_back_waiting
from content_orchestration.core.errors import Permanent
from content_orchestration.core.failpoints import reach
from content_orchestration.core.sql import statement

LEFT_ALONE_DAYS = 30
MOST = 100_000


def undo(
    context: OrphanContext,
    *,
    acting_run: str,
    dry_run: bool,
    run_id: str | None = None,
    prefix: str | None = None,
    limit: int = 1_000,
) -> Cleaned:
    """Bring back what the run `run_id` put into quarantine, or what was at `bucket/path` or below it; at most `limit`.

    Raises `Permanent` unless exactly one of both is given, and `AlreadyRunning` while another pass moves files.
    """
    began = time.monotonic()
    if bool(run_id) == bool(prefix):
        raise Permanent("name either the run whose work is undone, or a bucket/path prefix: one of both")
    if not 1 <= limit <= MOST:
        raise Permanent(f"limit is {limit}: from 1 to {MOST:,}")
    bucket, _, path = (prefix or "").strip("/").partition("/")
    values = {"run_id": run_id, "bucket": bucket or None, "path": path, "limit": limit}
    with context.moving_files():
        with context.database.connection() as connection:
            rows = connection.execute(statement("cleanup/undo_pick"), values).fetchall()
            counts = connection.execute(statement("cleanup/undo_states"), values).fetchall()
            if not dry_run:
                ids = [row["quarantine_id"] for row in rows]
                connection.execute(statement("cleanup/undo_mark"), {"ids": ids, "days": LEFT_ALONE_DAYS})
        reach("orphan_undone")
        back = None if dry_run else bring_back_waiting(context, run_id=acting_run, everything=False)
    skipped = Counter(
        {row["state"]: row["rows"] for row in counts if row["state"] in ("deleting", "deleted", "restored")}
    )
    return Cleaned(
        ORPHANED_RENDER,
        dry_run,
        scanned=sum(row["rows"] for row in counts),
        candidates=len(rows),
        restored=back.restored if back else 0,
        skipped=skipped + (back.skipped if back else Counter()),
        samples=[
            {"render": row["subject_id"], "file": f"{row['bucket']}/{row['path']}", "run": row["run_id"]}
            for row in rows[:MOST_SAMPLES]
        ],
        left=sum(row["rows"] for row in counts if row["state"] in ("moving", "quarantined")) - len(rows),
        seconds=time.monotonic() - began,
    )
