"""The drop folder of a tenant: each file in it becomes a row, once. Fetching it is ingest's.

`<brand id>/<name>` belongs to that brand of the tenant, anything else to no brand. Files stay where they are: whoever
drops them, or a life-cycle rule, removes them. A file that is replaced under its name is a new one.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote
from uuid import UUID

from content_orchestration.core.database import Database
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.errors import Permanent
from content_orchestration.core.failpoints import reach
from content_orchestration.core.identity import content_id
from content_orchestration.core.media.documents import COLLECTION
from content_orchestration.core.media.fetching import INBOX
from content_orchestration.core.media.keys import checked_drop
from content_orchestration.core.media.model import MediaStores
from content_orchestration.core.media.references import Change, count
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.sql import statement

QUIET_SECONDS = 10.0
"""A file that changed within this time may still be copied: the next look takes it."""
_BATCH = 200
_SAMPLE = 20
# Programs that copy write under such a name first.
_HALF_WRITTEN = (".part", ".tmp", ".crdownload", ".filepart")
_KINDS = {
    "image": {".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif", ".tif", ".tiff", ".bmp", ".heic", ".svg"},
    "video": {".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi"},
}


@dataclass
class InboxReport:
    """What a look into the drop folder found; files are counted, 20 refused names are shown."""

    seen: int = 0
    registered: int = 0
    known: int = 0
    still_changing: int = 0
    refused: int = 0
    samples: list[str] = field(default_factory=list)

    def as_metadata(self) -> dict[str, Any]:
        """For the asset's metadata."""
        return {
            "inbox_seen": self.seen,
            "inbox_registered": self.registered,
            "inbox_known": self.known,
            "inbox_still_changing": self.still_changing,
            "inbox_refused": self.refused,
            "inbox_refused_samples": self.samples,
        }

    def refuse(self, name: str, reason: str) -> None:
        """Count a file that becomes no row."""
        self.refused += 1
        if len(self.samples) < _SAMPLE:
            self.samples.append(f"{name[:120]}: {reason}")


class Inbox:
    """Turns dropped files into rows."""

    def __init__(
        self,
        database: Database,
        stores: MediaStores,
        ledger: QuotaLedger,
        documents: DocumentStore,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._stores = stores
        self._ledger = ledger
        self._documents = documents
        self._now = now

    def register(self, tenant_id: UUID, limit: int = 10_000) -> InboxReport:
        """Make a row for each file that has none, asked for at once; at most `limit` rows. Safe to repeat and to kill.

        Raises `Transient` and `Permanent` where the store or the database does: a listing that broke is no listing.
        """
        report = InboxReport()
        for batch in _batches(self._takeable(tenant_id, report)):
            known = self._known(batch)
            report.known += len(known)
            for drop in batch.values():
                if drop.source in known:
                    continue
                if report.registered >= limit:
                    return report
                self._register(tenant_id, drop, report)
        return report

    def waiting(self, tenant_id: UUID) -> bool:
        """Whether some file could become a row. Writes nothing; raises as `register` does."""
        return any(len(self._known(batch)) < len(batch) for batch in _batches(self._takeable(tenant_id, InboxReport())))

    def _takeable(self, tenant_id: UUID, report: InboxReport) -> Iterator["_Drop"]:
        brands: dict[str, bool] = {}
        for found in self._stores.inbox(tenant_id).list():
            report.seen += 1
            if _half_written(found.key) or self._now() - found.modified_at.timestamp() < QUIET_SECONDS:
                report.still_changing += 1
                continue
            try:
                checked_drop(found.key)
            except Permanent as error:
                report.refuse(found.key, str(error))
                continue
            brand_id = _brand_of(found.key)
            if brand_id is not None and not self._is_brand(tenant_id, brand_id, brands):
                report.refuse(found.key, "its folder is the id of no brand of this tenant: move it")
                continue
            version = found.etag or f"{found.size_bytes}-{found.modified_at.timestamp()}"
            yield _Drop(f"{INBOX}{tenant_id}/{found.key}@{version}", found.key, brand_id)

    def _known(self, batch: dict[str, "_Drop"]) -> set[str]:
        with self._database.connection() as connection:
            rows = connection.execute(statement("media/sources_known"), {"sources": list(batch)}).fetchall()
        return {row["source"] for row in rows}

    def _register(self, tenant_id: UUID, drop: "_Drop", report: InboxReport) -> None:
        asset_id = content_id(drop.source)
        kind = _kind_of(drop.key)
        url = f"{INBOX}{quote(drop.key)}"
        # The document first: a row without one is a difference, a document without a row is left over at worst.
        self._documents.put_many(
            COLLECTION,
            [{
                "id": str(asset_id), "content_id": None, "tenant_id": str(tenant_id), "kind": kind, "url": url,
                "public_url": None, "external_id": None, "mime_type": None, "size_bytes": 0,
            }],
        )  # fmt: skip
        reach("media_inbox_document")
        values = {
            "id": asset_id, "tenant_id": tenant_id, "brand_id": drop.brand_id, "source": drop.source, "kind": kind,
            "url": url, "name": PurePosixPath(drop.key).name,
        }  # fmt: skip
        with self._database.connection() as connection:
            if connection.execute(statement("media/asset_insert"), values).rowcount:
                report.registered += 1
                connection.execute(statement("media/ingest_ask"), values)
                count(connection, self._ledger, Change(tenant_id, None, 0, 0, 1))
            else:
                report.known += 1

    def _is_brand(self, tenant_id: UUID, brand_id: UUID, known: dict[str, bool]) -> bool:
        if str(brand_id) not in known:
            values = {"brand_id": brand_id, "tenant_id": tenant_id}
            with self._database.connection() as connection:
                row = connection.execute(statement("media/brand_exists"), values).fetchone()
            known[str(brand_id)] = bool(row and row["found"])
        return known[str(brand_id)]


@dataclass(frozen=True, slots=True)
class _Drop:
    """A file that may become a row. Its source names the version too."""

    source: str
    key: str
    brand_id: UUID | None


def _brand_of(key: str) -> UUID | None:
    """The brand that the first folder names, whether there is one or not."""
    folder, slash, _ = key.partition("/")
    try:
        return UUID(folder) if slash else None
    except ValueError:
        return None


def _half_written(key: str) -> bool:
    name = PurePosixPath(key).name.lower()
    return name.startswith(".") or name.endswith(_HALF_WRITTEN)


def _kind_of(key: str) -> str:
    """The kind by the name's ending, until ingest sees the bytes."""
    ending = PurePosixPath(key).suffix.lower()
    return next((kind for kind, endings in _KINDS.items() if ending in endings), "document")


def _batches(found: Iterable[_Drop]) -> Iterator[dict[str, _Drop]]:
    drops = iter(found)
    while batch := {drop.source: drop for drop in islice(drops, _BATCH)}:
        yield batch
