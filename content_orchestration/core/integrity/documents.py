"""Documents that no row names and documents that are there more than once, in every collection.

Whether documents say what their rows say is in `bodies.py`, `versions.py` and `media.py`. Nothing is deleted here.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from uuid import UUID

from content_orchestration.core.database import Database
from content_orchestration.core.documents import Document, DocumentStore
from content_orchestration.core.errors import ContentError
from content_orchestration.core.integrity.fields import storable
from content_orchestration.core.integrity.findings import Comparison, Difference, Kind
from content_orchestration.core.integrity.looking import Clock, looking, stream, tenant_uuid
from content_orchestration.core.integrity.pairs import GONE, NOT_REACHED
from content_orchestration.core.schema.documents import COLLECTIONS
from content_orchestration.core.sql import statement

YOUNG = "without a row, within the grace period"
ROW_DELETED = "its row was deleted within the grace period"

_PAGE = 1000
# Documents that look wrong and are settled together: one filter of the store takes so many ids.
_MOST_DOUBTFUL = 500


def compare_documents(
    database: Database,
    store: DocumentStore,
    *,
    tenant_id: str | None = None,
    grace: timedelta,
    now: datetime,
    clock: Clock = time.monotonic,
) -> Comparison:
    """Find documents without a row and documents that are there twice, of a tenant or all. Counted are document ids.

    Writers put a document before its row and delete it after, so one without a row counts only when it is older than
    `grace` and no row that named it was deleted within `grace`. A document's age is in its `created_at`; one that has
    none counts when a comparison at least `grace` before `now` saw it without a row.
    Raises `Permanent` for a malformed tenant id; a tier that cannot be read makes the comparison unknown.
    """
    tenant = tenant_uuid(tenant_id)
    with looking("documents", clock) as comparison:
        for collection in COLLECTIONS:
            _Walk(database, store, collection, tenant, grace, now, comparison).walk()
    return comparison


@dataclass
class _Walk:
    """One collection, in order of ids, beside the ids that rows name in the same order."""

    database: Database
    store: DocumentStore
    collection: str
    tenant: UUID | None
    grace: timedelta
    now: datetime
    comparison: Comparison
    doubtful: set[str] = field(default_factory=set)

    def walk(self) -> None:
        """Compare the collection. Raises `Permanent` or `Transient` where a tier cannot be read."""
        values = {"tenant": self.tenant, "ids": None}
        try:
            with closing(stream(self.database, self._named_sql, values)) as rows:
                self._beside(row["zerodb_row_id"] for row in rows)
            self._settle()
        except ContentError:
            self.comparison.skip(NOT_REACHED, len(self.doubtful))
            raise
        if self.tenant is None:
            with self.database.connection() as connection:
                connection.execute(
                    statement("integrity/unclaimed_forget"), {"collection": self.collection, "now": self.now}
                )

    @property
    def _named_sql(self) -> str:
        return f"integrity/named_{self.collection}"

    def _beside(self, named: Iterator[str]) -> None:
        claimed = next(named, None)
        where = None if self.tenant is None else {"tenant_id": str(self.tenant)}
        found = self.store.scan(self.collection, where=where, page=_PAGE, fields=[])
        for document_id, copies in groupby(found, key=_id):
            # Both orders are that of code points. Were the store's another, it would cost time: `_settle` asks by id.
            while claimed is not None and claimed < document_id:
                claimed = next(named, None)
            self.comparison.attempted += 1
            if sum(1 for _ in copies) == 1 and claimed == document_id:
                self.comparison.compared += 1
                continue
            self.doubtful.add(document_id)
            if len(self.doubtful) >= _MOST_DOUBTFUL:
                self._settle()

    def _settle(self) -> None:
        """Look once more at what looked wrong: first at the rows, then at the documents, so that a late row counts."""
        ids = sorted(self.doubtful)
        if not ids:
            return
        named = self._named(ids)
        deleted = self._deleted_lately(set(ids) - named)
        copies = self._copies(ids)
        since = self._unclaimed_since({key: found for key, found in copies.items() if key not in named | deleted})
        identical = self._identical([key for key, found in copies.items() if len(found) > 1])
        for document_id in ids:
            self._decide(document_id, copies.get(document_id, []), document_id in named, since, identical)
        self.doubtful = set()

    def _decide(
        self,
        document_id: str,
        copies: list[Document],
        named: bool,
        since: Mapping[str, datetime],
        identical: Mapping[str, bool],
    ) -> None:
        if not copies:
            self.comparison.skip(GONE)
            return
        excuse = None
        if not named:
            began = since.get(document_id)
            excuse = ROW_DELETED if began is None else YOUNG if began > self.now - self.grace else None
        if len(copies) > 1:
            detail: dict[str, object] = {"copies": len(copies), "identical": identical.get(document_id, False)}
            self._found(Kind.DUPLICATE_DOCUMENT, document_id, copies[0], detail)
        elif excuse:
            self.comparison.skip(excuse)
            return
        self.comparison.compared += 1
        if not named and not excuse:
            detail = {"without_row_since": since[document_id].isoformat()}
            self._found(Kind.DOCUMENT_WITHOUT_ROW, document_id, copies[0], detail)

    def _found(self, kind: Kind, document_id: str, document: Document, detail: Mapping[str, object]) -> None:
        difference = Difference(kind, self.collection, storable(document_id), _tenant(document), detail)
        self.comparison.differences.append(difference)

    def _named(self, ids: list[str]) -> set[str]:
        with self.database.connection() as connection:
            rows = connection.execute(statement(self._named_sql), {"tenant": None, "ids": _storable(ids)}).fetchall()
        return {row["zerodb_row_id"] for row in rows}

    def _deleted_lately(self, ids: set[str]) -> set[str]:
        values = {"ids": _storable(ids), "since": self.now - self.grace}
        with self.database.connection() as connection:
            rows = connection.execute(statement("integrity/deleted_lately"), values).fetchall()
        return {row["zerodb_row_id"] for row in rows}

    def _copies(self, ids: list[str]) -> dict[str, list[Document]]:
        copies: dict[str, list[Document]] = {}
        where = {"id": {"$in": ids}}
        for document in self.store.scan(self.collection, where=where, fields=["created_at", "tenant_id"]):
            copies.setdefault(document["id"], []).append(document)
        return copies

    def _unclaimed_since(self, orphans: Mapping[str, list[Document]]) -> dict[str, datetime]:
        """Since when each of these has been without a row: its youngest copy's date, else when that was first seen."""
        since: dict[str, datetime] = {}
        for key, copies in orphans.items():
            dates = [date for copy in copies if (date := written_at(copy)) is not None]
            if dates:
                since[key] = max(dates)
        undated = sorted(orphans.keys() - since.keys())
        if undated:
            stored = {storable(key): key for key in undated}
            values = {"collection": self.collection, "ids": list(stored), "now": self.now}
            with self.database.connection() as connection:
                rows = connection.execute(statement("integrity/unclaimed_seen"), values).fetchall()
            since |= {stored[row["document_id"]]: row["first_seen_at"] for row in rows}
        return since

    def _identical(self, ids: list[str]) -> dict[str, bool]:
        """Whether all documents of one id say the same."""
        said: dict[str, set[bytes]] = {}
        if ids:
            for document in self.store.scan(self.collection, where={"id": {"$in": ids}}, page=100):
                text = json.dumps(document, sort_keys=True)
                said.setdefault(document["id"], set()).add(hashlib.sha256(text.encode()).digest())
        return {key: len(different) == 1 for key, different in said.items()}


def written_at(document: Document) -> datetime | None:
    """When the document was written (UTC), as its `created_at` says in ISO 8601; None where that says nothing."""
    text = document.get("created_at")
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _id(document: Document) -> str:
    return str(document["id"])


def _tenant(document: Document) -> str | None:
    """Whose the document says it is; None where that is no tenant id."""
    try:
        return str(UUID(document["tenant_id"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _storable(ids: Iterable[str]) -> list[str]:
    """Those that PostgreSQL can hold: no row names any other."""
    return sorted(each for each in ids if storable(each) == each)
