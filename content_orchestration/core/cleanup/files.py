"""Stored files that no row names any more: released into `media_superseded`, and after a grace period removed.

Rows of `media_assets` are `media_rows.py`. Files that no table knows at all are found by listings, elsewhere.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import UUID

from content_orchestration.core.cleanup.audit import AuditEntry, record
from content_orchestration.core.cleanup.holds import HELD, UnderHold, require_free
from content_orchestration.core.cleanup.horizons import RETENTION_PREDICATE, RetentionRules
from content_orchestration.core.cleanup.model import MOST_SAMPLES, Cleaned
from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Transient
from content_orchestration.core.failpoints import reach
from content_orchestration.core.media.model import MediaStores
from content_orchestration.core.media.objects import lock_object
from content_orchestration.core.media.turns import object_turn
from content_orchestration.core.sql import statement

FILE = "media_file"
UNNAMED = "no row names the file"
NAMED_AGAIN = "named_again"
_PAGE = 200
_PATIENCE_SECONDS = 5.0


def release(database: Database, tenant_id: UUID, key: str) -> bool:
    """Take a stored file that no row names, deleted ones included, and its variants out of what is stored.

    Their bytes are `remove_files`'s, after a grace period. False where a row names it. Raises `UnderHold`.
    """
    values = {"tenant_id": tenant_id, "key": key}
    with database.connection() as connection:
        require_free(connection, tenant_id)
        # Whoever begins to name it holds this lock, and the statement after it sees the row of whoever did.
        lock_object(connection, tenant_id, key)
        row = connection.execute(statement("cleanup/file_release"), values).fetchone()
    return bool(row and row["files"])


def remove_files(
    database: Database,
    stores: MediaStores,
    *,
    run_id: str,
    dry_run: bool,
    limit: int,
    rules: RetentionRules | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Cleaned:
    """Remove the bytes of released files and replaced variants that are past the grace period, the oldest first.

    Each goes under the turn that whoever stores it takes, when no row of any tenant names a file at its place.
    """
    rules = rules or RetentionRules()
    started = clock()
    skipped: Counter[str] = Counter()
    samples: list[dict[str, object]] = []
    scanned = deleted = freed = 0
    for row in _due(database, rules.file_grace):
        if scanned >= limit:
            break
        scanned += 1
        location = stores.for_tenant(row["tenant_id"]).location
        why = rules.never.forbids(row["tenant_id"], f"{location.partition('://')[2].lstrip('/')}/{row['key']}")
        if why is None and not dry_run:
            try:
                why = _remove(database, stores, row, run_id, rules.file_grace)
            except UnderHold:
                why = HELD
            except Transient:
                why = "busy"
        elif why is None:
            why = _kept(database, row, location)
        if why is not None:
            skipped[why] += 1
            continue
        freed += row["bytes"]
        deleted += not dry_run
        if len(samples) < MOST_SAMPLES:
            samples.append({"tenant_id": str(row["tenant_id"]), "key": row["key"], "bytes": row["bytes"]})
    extent = _extent(database, rules.file_grace)
    return Cleaned(
        FILE,
        dry_run,
        scanned=scanned,
        candidates=scanned - skipped.total(),
        deleted=deleted,
        skipped=skipped,
        freed_bytes=freed,
        oldest_seconds=extent["oldest_seconds"],
        left=extent["files"],
        samples=samples,
        seconds=clock() - started,
    )


def _remove(database: Database, stores: MediaStores, row: Row, run_id: str, grace: timedelta) -> str | None:
    """Remove one file; why not, where it stays. Killed between bytes and commit, the next pass does it again."""
    tenant_id, key = row["tenant_id"], row["key"]
    store = stores.for_tenant(tenant_id)
    with (
        object_turn(database, tenant_id, key, patience=_PATIENCE_SECONDS),
        database.connection() as connection,
    ):
        require_free(connection, tenant_id)
        values = {"tenant_id": tenant_id, "key": key, "location": store.location, "grace": grace}
        found = connection.execute(statement("cleanup/file_lock"), values).fetchone()
        if found is None:
            return "locked_or_younger"
        named = connection.execute(statement("cleanup/file_named"), values).fetchone()
        connection.execute(statement("cleanup/file_forget"), values)
        if named is None or named["named"]:
            return NAMED_AGAIN
        entry = AuditEntry(
            run_id, FILE, "deleted", key, tenant_id, location=f"{store.location}/{key}", size_bytes=found["bytes"],
            reason=UNNAMED, predicate_version=RETENTION_PREDICATE, quarantined_at=found["superseded_at"],
        )  # fmt: skip
        record(connection, [entry])
        store.delete(key)
        reach("retention_bytes_gone")
    return None


def _kept(database: Database, row: Row, location: str) -> str | None:
    """Why a dry run would leave the file, without writing or locking anything."""
    values = {"tenant_id": row["tenant_id"], "key": row["key"], "location": location}
    with database.connection() as connection:
        try:
            require_free(connection, row["tenant_id"])
        except UnderHold:
            return HELD
        named = connection.execute(statement("cleanup/file_named"), values).fetchone()
    return NAMED_AGAIN if named is None or named["named"] else None


def _due(database: Database, grace: timedelta) -> Iterator[Row]:
    after: tuple[object, UUID | None, str] = (None, None, "")
    while True:
        values = {
            "grace": grace, "limit": _PAGE, "after": after[0], "after_tenant": after[1], "after_key": after[2],
        }  # fmt: skip
        with database.connection() as connection:
            rows = connection.execute(statement("cleanup/files_due"), values).fetchall()
        yield from rows
        if len(rows) < _PAGE:
            return
        after = (rows[-1]["superseded_at"], rows[-1]["tenant_id"], rows[-1]["key"])


def _extent(database: Database, grace: timedelta) -> Row:
    with database.connection() as connection:
        return connection.execute(statement("cleanup/files_extent"), {"grace": grace}).fetchone() or {}
