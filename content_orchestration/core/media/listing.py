"""Does every variant have its source, and every file a row? One listing of each tenant's objects answers both.

Report only: nothing is deleted here. A listing that fails raises, for a listing that stopped is not a listing. Memory:
the hashes of a tenant's originals, about 100 MB for a million.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import TypeVar
from uuid import UUID

from content_orchestration.core.database import Database, Row
from content_orchestration.core.media.findings import FileReport, Finding
from content_orchestration.core.media.keys import is_key
from content_orchestration.core.media.model import MediaStore, MediaStores, ObjectInfo
from content_orchestration.core.sql import statement

T = TypeVar("T")

STRAY = "file_without_row"
NO_SOURCE = "variant_without_source"
YOUNG = "without a row, within the grace period"
GONE = "gone while the check ran"

# A writer puts a file before its row, and gives up long before this.
GRACE = timedelta(hours=1)
_PAGE = 1000
_ORIGINAL = re.compile(r"[0-9a-f]{64}(\.[0-9a-f-]{36})?")


@dataclass(frozen=True)
class ListingReport:
    """What the listings of all tenants showed: variants without a source, and files without a row."""

    sources: FileReport = field(default_factory=FileReport)
    """Counted are sources of variants."""
    strays: FileReport = field(default_factory=FileReport)
    """Counted are listed files."""


def list_files(database: Database, stores: MediaStores, *, now: datetime, grace: timedelta = GRACE) -> ListingReport:
    """Compare what lies in the stores with what rows name, for each tenant that has or had files.

    now (UTC), grace: a file younger than `grace` may be ahead of its row and is left out.
    Raises `Transient` or `Permanent` where a store cannot be listed or PostgreSQL not be read.
    """
    report = ListingReport()
    with database.connection() as connection:
        tenants = [row["tenant_id"] for row in connection.execute(statement("media/truth_tenants")).fetchall()]
    for tenant_id in tenants:
        _Tenant(database, stores.for_tenant(tenant_id), tenant_id, now - grace, report).look()
    report.strays.notes |= {"tenants": len(tenants)} | _superseded(database)
    return report


@dataclass(frozen=True)
class _Tenant:
    database: Database
    store: MediaStore
    tenant_id: UUID
    young_after: datetime
    report: ListingReport

    def look(self) -> None:
        originals: set[str] = set()
        for page in _pages(self.store.list()):
            originals.update(each.key for each in page if _ORIGINAL.fullmatch(each.key))
            self._strays(page)
        self._sources(originals)

    def _strays(self, page: list[ObjectInfo]) -> None:
        strays = self.report.strays
        strays.attempted += len(page)
        old = [each for each in page if each.modified_at <= self.young_after]
        unnamed = self._unnamed(each.key for each in page)
        strays.compared += len(page) - len(unnamed)
        strays.skipped[YOUNG] += len(unnamed - {each.key for each in old})
        for each in old:
            if each.key not in unnamed:
                continue
            # A file that went meanwhile, as one does whose cleanup was under way, is none. Others are not cleaned up.
            if is_key(each.key) and not self.store.exists(each.key):
                strays.skip(GONE)
                continue
            strays.compared += 1
            detail = f"{each.size_bytes} bytes of {each.modified_at.isoformat()} in {self.store.location}"
            strays.found(Finding(STRAY, str(self.tenant_id), each.key, detail))

    def _unnamed(self, keys: Iterable[str]) -> set[str]:
        values = {"tenant_id": self.tenant_id, "keys": list(keys)}
        with self.database.connection() as connection:
            rows = connection.execute(statement("media/truth_unknown_keys"), values).fetchall()
        return {row["key"] for row in rows}

    def _sources(self, originals: Collection[str]) -> None:
        """A source that the listing does not show is asked for by name: it may have come after the listing began."""
        sources = self.report.sources
        doubtful = []
        for row in self._variants(None):
            sources.attempted += 1
            if any(key in originals for key in row["keys"]):
                sources.compared += 1
            else:
                doubtful.append(row["sha256"])
        for page in _pages(iter(doubtful)):
            rows = {row["sha256"]: row for row in self._variants(page)}
            sources.skipped[GONE] += len(page) - len(rows)
            sources.compared += len(rows)
            for sha256, row in rows.items():
                if not any(self.store.exists(key) for key in row["keys"]):
                    why = "its bytes are not in the store" if row["keys"] else "no object of this hash is known"
                    detail = f"{row['variants']} variants: {why}"
                    sources.found(Finding(NO_SOURCE, str(self.tenant_id), sha256, detail))

    def _variants(self, hashes: list[str] | None) -> list[Row]:
        values = {"tenant_id": self.tenant_id, "hashes": hashes}
        with self.database.connection() as connection:
            return connection.execute(statement("media/truth_sources"), values).fetchall()


def _superseded(database: Database) -> dict[str, object]:
    with database.connection() as connection:
        rows = connection.execute(statement("media/truth_superseded")).fetchall()
    return {f"superseded_{name}": value for row in rows for name, value in row.items()}


def _pages(items: Iterator[T]) -> Iterator[list[T]]:
    while page := list(islice(items, _PAGE)):
        yield page
