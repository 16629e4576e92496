"""Deleted content that is past its tenant's plan: rows, versions, bodies and files go, BigQuery's history stays.

Superseded versions of what is alive are `versions.py`, files that were deleted by themselves `media_rows.py`.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from psycopg import Connection

from content_orchestration.core.cleanup.expired import Pass, Source, expired, kept_reason
from content_orchestration.core.cleanup.guards import CEILING_FLOOR, check_ceiling
from content_orchestration.core.cleanup.holds import held_tenants
from content_orchestration.core.cleanup.horizons import (
    MOST_COUNTED,
    RetentionRules,
    check_pass,
    kept_days,
    least_days,
)
from content_orchestration.core.cleanup.model import Cleaned
from content_orchestration.core.cleanup.removals import CONTENT, MEDIA_DOCUMENTS, Removal, finish, note
from content_orchestration.core.content.breaker import Breaker
from content_orchestration.core.content.documents import BODIES, RECORDS
from content_orchestration.core.content.errors import ContentNotFound
from content_orchestration.core.content.model import Item
from content_orchestration.core.content.writing import Writer
from content_orchestration.core.database import Database, Row
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.errors import Permanent
from content_orchestration.core.failpoints import reach
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.sql import statement

LOCK = "cleanup_retention"
_SOURCE = Source("cleanup/retention_tenants", "cleanup/retention_candidates", "deleted_at")


class _Unended(Permanent):
    """An earlier removal of the same item is not ended yet."""


def purge_expired(
    database: Database,
    documents: DocumentStore,
    *,
    run_id: str,
    dry_run: bool,
    limit: int,
    rules: RetentionRules | None = None,
    clock: Callable[[], float] = time.time,
) -> Cleaned:
    """Purge at most `limit` deleted items that are past their plans, and end what an earlier pass began.

    An item goes in a transaction of its own that repeats the rule; whatever is brought back, held or upgraded before
    that stays. Raises `Refused` where a guard stops the pass, `AlreadyRunning` beside another one, `Transient` where
    PostgreSQL does not answer. A dry run removes and writes nothing.
    """
    rules = rules or RetentionRules()
    started = time.monotonic()
    days = kept_days(rules.plans)
    done = Pass(CONTENT, dry_run, limit)
    with database.advisory_lock(LOCK):
        check_pass(database, rules, dry_run=dry_run, clock=clock)
        extent = _extent(database, rules, days)
        check_ceiling(extent["candidates"], extent["objects"], rules.max_candidate_percent)
        writer = Writer(database, documents, QuotaLedger(database), Breaker())
        if not dry_run:
            finish(database, documents, run_id=run_id, kinds=[CONTENT], keep=rules.never.tenants)
        done.go(
            expired(database, _SOURCE, days, extent["kept_tenants"]),
            lambda tenant_id, row: _purge(writer, tenant_id, row, days, run_id),
        )
        if not dry_run:
            waiting = finish(database, documents, run_id=run_id, kinds=[CONTENT], keep=rules.never.tenants)
            done.skipped.update({f"unended_{why}": n for why, n in waiting.items() if why != "ended"})
            after = _extent(database, rules, days)
        else:
            after = extent | {"candidates": extent["candidates"] - done.candidates}
    done.skipped.update(extent["skipped"])
    return done.cleaned(
        left=max(0, after["candidates"]), oldest_seconds=after["oldest_seconds"], seconds=time.monotonic() - started
    )


def _purge(writer: Writer, tenant_id: UUID, row: Row, days: str, run_id: str) -> int | None:
    """Purge one item; the bytes that its bodies and files had, or None where it is no longer to go."""
    freed = 0

    def beside(connection: Connection[Row], item: Item, versions: Sequence[str]) -> None:
        nonlocal freed
        values = {"tenant_id": tenant_id, "content_id": item.id}
        files = connection.execute(statement("cleanup/retention_media"), values).fetchall()
        bodies = sorted({item.zerodb_row_id, *versions})
        freed = item.storage_size_bytes + sum(each["size_bytes"] for each in files)
        removal = Removal(
            run_id,
            CONTENT,
            str(item.id),
            tenant_id,
            freed,
            f"deleted longer ago than plan {row['plan_tier'] or 'free'} keeps",
            item.id,
            {BODIES: bodies, RECORDS: bodies, MEDIA_DOCUMENTS: [each["zerodb_row_id"] for each in files]},
            sorted({each["key"] for each in files if each["key"] is not None}),
            {"deleted_at": row["deleted_at"], "version": item.version, "source": item.source},
        )
        if not note(connection, removal):
            raise _Unended(f"content {item.id}: an earlier removal of it is not ended yet")
        reach("retention_noted")

    try:
        writer.purge(tenant_id, row["id"], kept_days=days, beside=beside)
    except (ContentNotFound, _Unended):
        return None
    reach("retention_row_purged")
    return freed


def _extent(database: Database, rules: RetentionRules, days: str) -> dict[str, Any]:
    """What there is to do, and what is kept and why."""
    with database.connection() as connection:
        held = held_tenants(connection)
        kept = held | rules.never.tenants
        values = {
            "kept_days": days, "floor": CEILING_FLOOR, "percent": rules.max_candidate_percent, "most": MOST_COUNTED,
            "least_days": least_days(rules.plans), "kept_tenants": list(kept),
        }  # fmt: skip
        row = connection.execute(statement("cleanup/retention_extent"), values).fetchone() or {}
        unknown = connection.execute(statement("cleanup/retention_unknown"), values).fetchall()
    skipped = Counter({each["reason"]: each["items"] for each in unknown})
    if row["kept"]:
        skipped[kept_reason(held, rules.never.tenants)] += row["kept"]
    return {**row, "kept_tenants": kept, "skipped": skipped}
