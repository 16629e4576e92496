"""Rows of files that were deleted by themselves and are past their plan; files of deleted items are `retention.py`.

The file itself is released when no row names it any more, and its bytes are `files.py`.
"""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from content_orchestration.core.cleanup.expired import Pass, Source, expired, kept_reason
from content_orchestration.core.cleanup.guards import CEILING_FLOOR, check_ceiling
from content_orchestration.core.cleanup.holds import held_tenants, require_free
from content_orchestration.core.cleanup.horizons import MOST_COUNTED, RetentionRules, kept_days
from content_orchestration.core.cleanup.model import Cleaned
from content_orchestration.core.cleanup.removals import MEDIA, MEDIA_DOCUMENTS, Removal, finish, note
from content_orchestration.core.database import Database, Row
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.failpoints import reach
from content_orchestration.core.sql import statement

_SOURCE = Source("cleanup/media_tenants", "cleanup/media_candidates", "deleted_at")


def purge_rows(
    database: Database,
    documents: DocumentStore,
    *,
    run_id: str,
    dry_run: bool,
    limit: int,
    rules: RetentionRules,
    clock: Callable[[], float] = time.monotonic,
) -> Cleaned:
    """Purge at most `limit` rows of deleted files; their documents go, and files that nothing names are released.

    Counters do not move: they moved when the row was deleted. Raises `Refused` past the ceiling, and `Transient`.
    """
    started = clock()
    days = kept_days(rules.plans)
    done = Pass(MEDIA, dry_run, limit)
    extent = _extent(database, rules, days)
    check_ceiling(extent["candidates"], extent["objects"], rules.max_candidate_percent)
    if not dry_run:
        finish(database, documents, run_id=run_id, kinds=[MEDIA], keep=rules.never.tenants)
    done.go(
        expired(database, _SOURCE, days, extent["kept_tenants"]),
        lambda tenant_id, row: _purge(database, tenant_id, row, days, run_id),
    )
    if not dry_run:
        waiting = finish(database, documents, run_id=run_id, kinds=[MEDIA], keep=rules.never.tenants)
        done.skipped.update({f"unended_{why}": n for why, n in waiting.items() if why != "ended"})
    if extent["kept"]:
        done.skipped[extent["kept_reason"]] += extent["kept"]
    left = extent["candidates"] - done.candidates
    return done.cleaned(left=max(0, left), oldest_seconds=extent["oldest_seconds"], seconds=clock() - started)


def _purge(database: Database, tenant_id: UUID, row: Row, days: str, run_id: str) -> int | None:
    values = {"id": row["id"], "tenant_id": tenant_id, "kept_days": days}
    with database.connection() as connection:
        require_free(connection, tenant_id)
        gone = connection.execute(statement("cleanup/media_row_delete"), values).fetchone()
        if gone is None:
            return None
        removal = Removal(
            run_id,
            MEDIA,
            str(gone["id"]),
            tenant_id,
            gone["size_bytes"],
            f"deleted longer ago than plan {row['plan_tier'] or 'free'} keeps",
            gone["id"],
            {MEDIA_DOCUMENTS: [gone["zerodb_row_id"]]},
            [] if gone["key"] is None else [gone["key"]],
            {"deleted_at": gone["deleted_at"], "content_id": gone["content_id"] and str(gone["content_id"])},
        )
        if not note(connection, removal):
            connection.rollback()
            return None
        reach("retention_noted")
    reach("retention_row_purged")
    return int(gone["size_bytes"])


def _extent(database: Database, rules: RetentionRules, days: str) -> dict[str, Any]:
    with database.connection() as connection:
        held = held_tenants(connection)
        kept = held | rules.never.tenants
        values = {
            "kept_days": days, "floor": CEILING_FLOOR, "percent": rules.max_candidate_percent, "most": MOST_COUNTED,
            "kept_tenants": list(kept),
        }  # fmt: skip
        row = connection.execute(statement("cleanup/media_extent"), values).fetchone() or {}
    return {**row, "kept_tenants": kept, "kept_reason": kept_reason(held, rules.never.tenants)}
