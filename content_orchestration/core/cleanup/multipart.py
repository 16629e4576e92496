"""Uploads in parts that were begun and never finished: stores keep and bill their parts, and no listing shows them.

How a store is asked for them is `resources/object_store_uploads.py`. Files that are stored are not touched here.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from content_orchestration.core.cleanup.audit import AuditEntry, record
from content_orchestration.core.cleanup.guards import NeverDelete, check_clock
from content_orchestration.core.cleanup.holds import HELD, UnderHold, require_free
from content_orchestration.core.cleanup.model import MOST_SAMPLES, Cleaned
from content_orchestration.core.cleanup.stray_files import place_of
from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.failpoints import reach
from content_orchestration.core.media.turns import object_turn
from content_orchestration.core.sql import statement

KIND = "multipart_upload"
OLDER_THAN = timedelta(days=1)
"""A writer of ours gives up within the hour, at 5 GiB a file; another's upload has a day."""
_PREDICATE = 1


class CannotList(Permanent):
    """The store has no way to name its unfinished uploads; the message says who removes them instead."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One unfinished upload. The time is the store's (UTC); the size is None where the store does not say."""

    key: str
    upload_id: str
    started_at: datetime
    size_bytes: int | None = None


class TenantUploads(Protocol):
    """The unfinished uploads below one tenant's prefix. Raises `CannotList`, `Transient` and `Permanent`."""

    @property
    def location(self) -> str:
        """Address of the bucket or folder with the tenant's prefix."""
        ...

    def list(self) -> Iterator[Upload]:
        """Every unfinished upload; keys are relative to the prefix. Raises rather than end early."""
        ...

    def abort(self, upload: Upload) -> None:
        """Drop the upload with its parts. One that ended meanwhile is no error."""
        ...


class Uploads(Protocol):
    """The unfinished uploads of all tenants."""

    def for_tenant(self, tenant_id: UUID) -> TenantUploads:
        """Those of one tenant. Nothing is asked before the listing."""
        ...


def abort(
    database: Database,
    uploads: Uploads,
    *,
    run_id: str,
    dry_run: bool,
    limit: int,
    older_than: timedelta = OLDER_THAN,
    never: NeverDelete = NeverDelete(),  # noqa: B008  (frozen)
    clock: Callable[[], float] = time.time,
) -> Cleaned:
    """Abort uploads that were begun more than `older_than` ago, at most `limit`; a dry run only tells of them.

    A tenant whose store cannot list its uploads is skipped as `store_cannot_list`; the reason is among the samples.
    Raises `Refused` where a clock jumped, `Transient` and `Permanent` where a store does not answer: then nothing of
    that tenant was aborted.
    """
    started = time.monotonic()
    if not dry_run:
        check_clock(database, clock)
    with database.connection() as connection:
        now: datetime = (connection.execute(statement("cleanup/now")).fetchone() or {})["now"]
        tenants = connection.execute(statement("cleanup/stray_tenants")).fetchall()
    skipped: Counter[str] = Counter()
    samples: list[dict[str, Any]] = []
    told: set[str] = set()
    scanned = candidates = done = freed = 0
    oldest: datetime | None = None
    for tenant in tenants:
        store = uploads.for_tenant(tenant["tenant_id"])
        found = _listed(store, tenant, skipped, told)
        scanned += len(found)
        for upload in found:
            oldest = min(oldest or upload.started_at, upload.started_at)
            place = place_of(store.location, upload.key)
            why = "young" if now - upload.started_at < older_than else never.forbids(tenant["tenant_id"], place)
            if why is None and candidates >= limit:
                why = "over_the_limit"
            if why is None and not dry_run:
                why = _abort(database, store, tenant["tenant_id"], upload, run_id)
            if why is not None:
                skipped[why] += 1
                continue
            candidates += 1
            done += not dry_run
            freed += upload.size_bytes or 0
            if len(samples) < MOST_SAMPLES:
                samples.append({"key": upload.key, "started_at": upload.started_at.isoformat()})
    samples += [{"store_cannot_list": reason} for reason in sorted(told)][: MOST_SAMPLES - len(samples)]
    return Cleaned(
        KIND, dry_run, scanned=scanned, candidates=candidates, deleted=done, skipped=skipped, freed_bytes=freed,
        oldest_seconds=(now - oldest).total_seconds() if oldest else None, left=skipped["over_the_limit"],
        samples=samples, seconds=time.monotonic() - started,
    )  # fmt: skip


def _listed(store: TenantUploads, tenant: Row, skipped: Counter[str], told: set[str]) -> list[Upload]:
    """A tenant's uploads, all of them before anything is aborted: they are few, and a listing that broke is none."""
    try:
        return list(store.list())
    except CannotList as error:
        skipped["store_cannot_list"] += 1
        told.add(str(error))
    except Permanent:
        # A tenant without files need not have a bucket.
        if tenant["files"]:
            raise
        skipped["no_store"] += 1
    return []


def _abort(database: Database, store: TenantUploads, tenant_id: UUID, upload: Upload, run_id: str) -> str | None:
    entry = AuditEntry(
        run_id, KIND, "deleted", upload.key, tenant_id, location=f"{store.location}/{upload.key}",
        size_bytes=upload.size_bytes, reason="upload was never finished", predicate_version=_PREDICATE,
        detail={"upload_id": upload.upload_id, "started_at": upload.started_at.isoformat()},
    )  # fmt: skip
    try:
        # Whoever stores this file through us holds its turn, however long it takes.
        with object_turn(database, tenant_id, upload.key, patience=0.0), database.connection() as connection:
            require_free(connection, tenant_id)
            record(connection, [entry])
            store.abort(upload)
            reach("multipart_aborted")
    except UnderHold:
        return HELD
    except Transient:
        return "busy"
    return None
