"""Lets go of stray files that two looks a week apart saw. The look is `stray_look.py`'s.

A stray that is due becomes one of the files that wait to be removed (`media_superseded`); `files.py` removes those
after its grace period, under the locks that writers of files take, unless a row names them by then. Only keys of the
shapes that this project writes are let go; others are told of.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import Connection

from content_orchestration.core.cleanup.audit import AuditEntry, record
from content_orchestration.core.cleanup.guards import NeverDelete, Refused, check_ceiling, check_clock
from content_orchestration.core.cleanup.holds import HELD, UnderHold, require_free
from content_orchestration.core.cleanup.model import MOST_SAMPLES, Cleaned
from content_orchestration.core.cleanup.stray_files import APART, KIND, LOCK, place_of, refuse_nameless, sha256_of
from content_orchestration.core.cleanup.stray_look import look as look
from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Transient
from content_orchestration.core.failpoints import reach
from content_orchestration.core.media.model import MediaStore, MediaStores
from content_orchestration.core.media.turns import object_turn
from content_orchestration.core.sql import statement

_PREDICATE = 1
_PAGE = 1000
_PATIENCE_SECONDS = 5.0


def delete(
    database: Database,
    stores: MediaStores,
    *,
    run_id: str,
    dry_run: bool,
    limit: int,
    max_candidate_percent: float,
    never: NeverDelete = NeverDelete(),  # noqa: B008  (frozen)
    apart: timedelta = APART,
    clock: Callable[[], float] = time.time,
) -> Cleaned:
    """Let go of the strays that are due, at most `limit`; a dry run looks at as many and changes nothing.

    `quarantined` counts them: their bytes are removed by `files.remove_files` after its grace period. Raises `Refused`
    where the last look is not whole, more than `max_candidate_percent` of all files are due, or a clock jumped.
    """
    started = time.monotonic()
    if not dry_run:
        check_clock(database, clock)
    with database.advisory_lock(LOCK):
        extent, emptied = _guarded(database, max_candidate_percent, apart)
        skipped: Counter[str] = Counter()
        samples: list[dict[str, Any]] = []
        scanned = released = freed = 0
        for row in _due(database, apart):
            if scanned >= limit:
                break
            scanned += 1
            why = never.forbids(row["tenant_id"], place_of(row["location"], row["key"]))
            if row["tenant_id"] in emptied:
                why = "empty_references"
            why = why or _let_go(database, stores, row, run_id, apart, dry_run=dry_run)
            if why is not None:
                skipped[why] += 1
                continue
            released += not dry_run
            freed += row["size_bytes"]
            if len(samples) < MOST_SAMPLES:
                samples.append({"tenant_id": str(row["tenant_id"]), "key": row["key"], "bytes": row["size_bytes"]})
    return Cleaned(
        KIND, dry_run, scanned=scanned, candidates=scanned - skipped.total(), quarantined=released, skipped=skipped,
        freed_bytes=freed, oldest_seconds=extent["oldest_seconds"], left=max(0, extent["due"] - released),
        samples=samples, seconds=time.monotonic() - started,
    )  # fmt: skip


def accept_empty(database: Database, tenant_id: UUID) -> None:
    """Believe that none of a tenant's files is named any more; for people who looked."""
    with database.connection() as connection:
        connection.execute(statement("cleanup/stray_accept"), {"tenant_id": tenant_id})


def _guarded(database: Database, percent: float, apart: timedelta) -> tuple[Row, frozenset[UUID]]:
    """How much is due, and the tenants of whom no row names any file though some did."""
    with database.connection() as connection:
        last = connection.execute(statement("cleanup/stray_look_last")).fetchone()
        extent = connection.execute(statement("cleanup/stray_extent"), {"apart": apart}).fetchone() or {}
        tenants = connection.execute(statement("cleanup/stray_tenants")).fetchall()
    refuse_nameless(tenants)
    if last is not None and last["finished_at"] is None:
        raise Refused(
            "look_unfinished",
            f"look {last['look_id']} did not come to its end, so nobody knows what is a stray: look again",
        )
    check_ceiling(extent["due"], last["objects"] if last else 0, percent)
    return extent, frozenset(row["tenant_id"] for row in tenants if row["named_before"] and not row["named"])


def _let_go(
    database: Database, stores: MediaStores, row: Row, run_id: str, apart: timedelta, *, dry_run: bool
) -> str | None:
    """Let go of one file; why not, where it stays. All is asked again under the lock of whoever stores this file."""
    tenant_id, key = row["tenant_id"], row["key"]
    place = {"tenant_id": tenant_id, "key": key}
    store = stores.for_tenant(tenant_id)
    try:
        with (
            object_turn(database, tenant_id, key, patience=_PATIENCE_SECONDS),
            database.connection() as connection,
        ):
            require_free(connection, tenant_id)
            seen = connection.execute(statement("cleanup/stray_lock"), place | {"apart": apart}).fetchone()
            if seen is None:
                return "locked_or_younger"
            why = _why_not(connection, store, seen, tenant_id, key)
            if dry_run:
                return why
            if why is None:
                released = {"sha256": sha256_of(key), "size_bytes": seen["size_bytes"]}
                if connection.execute(statement("cleanup/stray_release"), place | released).rowcount != 1:
                    why = "named_again"
            connection.execute(statement("cleanup/stray_forget"), place)
            if why is None:
                record(connection, [_entry(run_id, store, row, seen)])
            reach("stray_released")
    except UnderHold:
        return HELD
    except Transient:
        return "busy"
    reach("stray_committed")
    return why


def _why_not(connection: Connection[Row], store: MediaStore, seen: Row, tenant_id: UUID, key: str) -> str | None:
    values = {"tenant_id": tenant_id, "keys": [key]}
    if connection.execute(statement("cleanup/stray_unnamed"), values).fetchone() is None:
        return "named_again"
    found = store.head(key)
    if found is None:
        return "gone"
    there = (found.size_bytes, found.etag, found.generation, found.modified_at)
    same = there == (seen["size_bytes"], seen["etag"], seen["generation"], seen["modified_at"])
    return None if same else "changed"


def _entry(run_id: str, store: MediaStore, row: Row, seen: Row) -> AuditEntry:
    return AuditEntry(
        run_id, KIND, "quarantined", row["key"], row["tenant_id"], location=f"{store.location}/{row['key']}",
        size_bytes=seen["size_bytes"], reason="no row names the file", predicate_version=_PREDICATE,
        detail={
            "first_seen": seen["first_seen"].isoformat(), "last_seen": seen["last_seen"].isoformat(),
            "sightings": seen["sightings"], "look_id": seen["look_id"], "etag": seen["etag"],
            "generation": seen["generation"],
        },
    )  # fmt: skip


def _due(database: Database, apart: timedelta) -> Iterator[Row]:
    after: tuple[datetime | None, UUID | None, str] = (None, None, "")
    while True:
        values = {"apart": apart, "limit": _PAGE, "after": after[0], "after_tenant": after[1], "after_key": after[2]}
        with database.connection() as connection:
            rows = connection.execute(statement("cleanup/stray_due"), values).fetchall()
        yield from rows
        if len(rows) < _PAGE:
            return
        after = (rows[-1]["first_seen"], rows[-1]["tenant_id"], rows[-1]["key"])
