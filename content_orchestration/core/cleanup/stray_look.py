"""Lists the stores of all tenants and notes the files that no row names. Reporting: nothing is removed here.

Files of a tenant that `tenants` and our tables know nothing of are not found: no store is listed for it.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

from content_orchestration.core.cleanup.guards import NeverDelete
from content_orchestration.core.cleanup.model import MOST_SAMPLES, Cleaned
from content_orchestration.core.cleanup.stray_files import (
    APART,
    KIND,
    LOCK,
    is_ours,
    place_of,
    refuse_nameless,
    unnamed,
)
from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Permanent
from content_orchestration.core.failpoints import reach
from content_orchestration.core.media.model import MediaStore, MediaStores, ObjectInfo
from content_orchestration.core.sql import statement

YOUNG = timedelta(hours=1)
"""A writer puts a file before its row, and gives up long before this: such a file is not seen yet."""
_PAGE = 1000


def look(
    database: Database,
    stores: MediaStores,
    *,
    run_id: str,
    dry_run: bool,
    never: NeverDelete = NeverDelete(),  # noqa: B008  (frozen)
    now: Callable[[], datetime] | None = None,
) -> Cleaned:
    """List the stores of all tenants and note the files that no row names; in a dry run only tell of them.

    Memory is bounded by a page of 1,000 files. What is seen counts when the whole look came to its end: a store that
    cannot be listed raises `Transient` or `Permanent` and nothing is due until a later look is whole. `Refused` where
    no row names any file though some did. `never`: whose strays are counted as kept. `now`: the database's time (UTC),
    for tests.
    """
    with database.advisory_lock(LOCK):
        return _Look(database, stores, run_id, dry_run, never, now).work()


@dataclass
class _Look:
    database: Database
    stores: MediaStores
    run_id: str
    dry_run: bool
    never: NeverDelete
    now: Callable[[], datetime] | None
    look_id: int = 0
    scanned: int = 0
    strays: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    samples: list[dict[str, Any]] = field(default_factory=list)

    def work(self) -> Cleaned:
        started = time.monotonic()
        tenants = self._tenants()
        if not self.dry_run:
            self.look_id = self._one("cleanup/stray_look_begin", {"run_id": self.run_id})["look_id"]
        for row in tenants:
            if row["named_before"] and not row["named"]:
                self.skipped["empty_references"] += 1
                continue
            self._tenant(row)
            reach("stray_tenant_listed")
        if not self.dry_run:
            done = {"tenants": len(tenants), "objects": self.scanned, "strays": self.strays, "look_id": self.look_id}
            self._run("cleanup/stray_look_finish", done)
        extent = self._one("cleanup/stray_extent", {"apart": APART})
        return Cleaned(
            KIND, self.dry_run, scanned=self.scanned, candidates=self.strays, skipped=self.skipped,
            freed_bytes=0, oldest_seconds=extent["oldest_seconds"], left=extent["strays"], samples=self.samples,
            seconds=time.monotonic() - started,
        )  # fmt: skip

    def _tenants(self) -> list[Row]:
        with self.database.connection() as connection:
            rows = connection.execute(statement("cleanup/stray_tenants")).fetchall()
        refuse_nameless(rows)
        return rows

    def _tenant(self, row: Row) -> None:
        tenant_id = row["tenant_id"]
        store = self.stores.for_tenant(tenant_id)
        objects = self.scanned
        seen_at = self.now() if self.now else self._one("cleanup/now", {})["now"]
        pages = _pages(store)
        while True:
            try:
                page = next(pages, None)
            except Permanent:
                # A tenant without files need not have a bucket.
                if row["files"] or self.scanned > objects:
                    raise
                self.skipped["no_store"] += 1
                return
            if page is None:
                break
            self.scanned += len(page)
            self._page(tenant_id, store.location, page, seen_at)
        if not self.dry_run:
            done = {"tenant_id": tenant_id, "named": row["named"], "objects": self.scanned - objects}
            self._run("cleanup/stray_tenant_done", done | {"look_id": self.look_id})

    def _page(self, tenant_id: UUID, location: str, page: list[ObjectInfo], seen_at: datetime) -> None:
        old = {each.key: each for each in page if each.modified_at <= seen_at - YOUNG}
        strays = [old[key] for key in unnamed(self.database, tenant_id, list(old))]
        self.skipped["young"] += len(page) - len(old)
        self.strays += len(strays)
        for each in strays:
            why = self.never.forbids(tenant_id, place_of(location, each.key))
            if why or not is_ours(each.key):
                self.skipped[why or "not_ours"] += 1
        for each in strays[: MOST_SAMPLES - len(self.samples)]:
            self.samples.append({"tenant_id": str(tenant_id), "key": each.key, "bytes": each.size_bytes})
        if self.dry_run or not strays:
            return
        files = [
            {
                "key": each.key, "size_bytes": each.size_bytes, "etag": each.etag, "generation": each.generation,
                "modified_at": each.modified_at.isoformat(), "ours": is_ours(each.key),
            }
            for each in strays
        ]  # fmt: skip
        values = {"tenant_id": tenant_id, "location": location, "seen_at": seen_at, "look_id": self.look_id}
        self._run("cleanup/stray_sight", values | {"files": json.dumps(files)})

    def _one(self, name: str, values: dict[str, Any]) -> Row:
        with self.database.connection() as connection:
            return connection.execute(statement(name), values).fetchone() or {}

    def _run(self, name: str, values: dict[str, Any]) -> None:
        with self.database.connection() as connection:
            connection.execute(statement(name), values)


def _pages(store: MediaStore) -> Iterator[list[ObjectInfo]]:
    files = store.list()
    while page := list(islice(files, _PAGE)):
        yield page
