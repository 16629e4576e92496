"""Versions that another one followed longer ago than the plan keeps: records and bodies go, the current one never.

How far they went is kept in `retention_floors`, by which the integrity check tells them from versions that were lost.
"""

import time
from collections.abc import Callable
from uuid import UUID

from content_orchestration.core.cleanup.expired import Pass, Source, expired
from content_orchestration.core.cleanup.holds import held_tenants, require_free
from content_orchestration.core.cleanup.horizons import RetentionRules, check_pass, kept_days
from content_orchestration.core.cleanup.model import Cleaned
from content_orchestration.core.cleanup.removals import VERSION, Removal, finish, note
from content_orchestration.core.content.documents import BODIES, RECORDS
from content_orchestration.core.database import Database, Row
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.failpoints import reach
from content_orchestration.core.sql import statement

LOCK = "cleanup_versions"
_LOCK_SECONDS = 30
_SOURCE = Source("cleanup/versions_tenants", "cleanup/versions_candidates", "created_at")


def purge_superseded(
    database: Database,
    documents: DocumentStore,
    *,
    run_id: str,
    dry_run: bool,
    limit: int,
    rules: RetentionRules | None = None,
    clock: Callable[[], float] = time.time,
) -> Cleaned:
    """Purge the superseded versions of at most `limit` items; counted are items, and the bytes of bodies.

    What an item said at any moment within its plan's time stays: a version goes only where its successor is older than
    that. A version whose body waits in the spill, and all behind it, stay. Raises as `retention.purge_expired` does.
    """
    rules = rules or RetentionRules()
    started = time.monotonic()
    days = kept_days(rules.plans)
    done = Pass(VERSION, dry_run, limit)
    with database.advisory_lock(LOCK):
        check_pass(database, rules, dry_run=dry_run, clock=clock)
        with database.connection() as connection:
            kept = held_tenants(connection) | rules.never.tenants
        if not dry_run:
            finish(database, documents, run_id=run_id, kinds=[VERSION], keep=rules.never.tenants)
        done.go(
            expired(database, _SOURCE, days, kept),
            lambda tenant_id, row: _purge(database, tenant_id, row, days, run_id),
        )
        if not dry_run:
            waiting = finish(database, documents, run_id=run_id, kinds=[VERSION], keep=rules.never.tenants)
            done.skipped.update({f"unended_{why}": n for why, n in waiting.items() if why != "ended"})
    return done.cleaned(left=0, oldest_seconds=None, seconds=time.monotonic() - started)


def _purge(database: Database, tenant_id: UUID, row: Row, days: str, run_id: str) -> int | None:
    """Purge what one item superseded; the bytes of those bodies, or None where nothing is to go any more."""
    values = {"id": row["id"], "tenant_id": tenant_id, "kept_days": days, "run_id": run_id}
    with database.connection() as connection:
        connection.execute(statement("content/lock_timeout"), {"timeout": f"{_LOCK_SECONDS}s"})
        connection.execute(statement("content/lock"), {"ids": [str(row["id"])]})
        require_free(connection, tenant_id)
        gone: Row = connection.execute(statement("cleanup/versions_purge"), values).fetchone() or {}
        if not gone["versions"]:
            return None
        removal = Removal(
            run_id,
            VERSION,
            # One removal an item and floor: an earlier one that is not ended yet does not stand in the way.
            f"{row['id']}:{gone['floor']}",
            tenant_id,
            gone["size_bytes"],
            f"superseded longer ago than plan {row['plan_tier'] or 'free'} keeps",
            row["id"],
            {BODIES: gone["documents"], RECORDS: gone["documents"]},
            detail={"versions": gone["versions"], "floor": gone["floor"]},
        )
        if not note(connection, removal):
            # A restore brought back what an unended removal took: the transaction must not commit without its note.
            connection.rollback()
            return None
        reach("retention_noted")
    reach("retention_row_purged")
    return int(gone["size_bytes"])
