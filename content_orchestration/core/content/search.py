"""Search: titles through PostgreSQL's index, bodies through ZeroDB as far as it can.

ZeroDB has no text search (its filters compare whole values), so bodies are read and looked through, up to a bound; what
was not looked at is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from content_orchestration.core.content import validation
from content_orchestration.core.content.documents import BODIES
from content_orchestration.core.content.model import MAX_PAGE_SIZE, Item
from content_orchestration.core.content.reading import Reader
from content_orchestration.core.content.rows import read_rows
from content_orchestration.core.content.scope import as_tenant
from content_orchestration.core.database import Database
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.errors import Transient
from content_orchestration.core.sql import statement

MAX_DOCUMENTS = 10_000
MAX_TITLES = 5_000
_GROUP = 500


@dataclass(frozen=True)
class Found:
    """Items that match, and how far bodies were looked through. `complete` is False where some were not looked at."""

    items: Sequence[Item]
    bodies_searched: int
    complete: bool
    notice: str | None = None


class Search:
    """Looks for words in one tenant's content."""

    def __init__(self, database: Database, store: DocumentStore, reader: Reader) -> None:
        self._database = database
        self._store = store
        self._reader = reader

    def titles(self, tenant_id: UUID, query: str, limit: int) -> Found:
        """Live items whose title has the words: `"exact phrase"`, `or` and `-not` as in a web search.

        Of more than 5,000 titles that match, deleted ones among them, the others are not ranked, and it says so.
        """
        _check(query, limit)
        values = {"tenant_id": tenant_id, "query": query, "limit": limit, "most": MAX_TITLES}
        with as_tenant(self._database, tenant_id) as connection:
            rows = read_rows(connection, statement("content/search_titles"), values)
        if rows and rows[0]["matches"] >= MAX_TITLES:
            notice = f"more than {MAX_TITLES:,} titles match: not all were ranked"
            return Found([Item.of(row) for row in rows], 0, complete=False, notice=notice)
        return Found([Item.of(row) for row in rows], 0, complete=True)

    def bodies(self, tenant_id: UUID, query: str, limit: int, most: int = MAX_DOCUMENTS) -> Found:
        """Live items whose current body has every word of the query, whatever the case, in order of id.

        Stops after `limit` items or `most` documents and says so.
        """
        _check(query, limit)
        sought = query.casefold().split()
        items: list[Item] = []
        group: dict[str, UUID] = {}
        looked = 0
        where = {"tenant_id": str(tenant_id)}
        try:
            for document in self._store.scan(BODIES, where=where, fields=["content_id", "body"]):
                if looked == most or len(items) >= limit:
                    items += self._current(tenant_id, group)
                    return Found(items[:limit], looked, complete=False, notice=f"stopped after {looked} documents")
                looked += 1
                body = document.get("body")
                if isinstance(body, str) and all(word in body.casefold() for word in sought):
                    group[document["id"]] = UUID(document["content_id"])
                if len(group) >= _GROUP or len(items) + len(group) >= limit:
                    items += self._current(tenant_id, group)
                    group = {}
        except Transient as error:
            return Found(items, looked, complete=False, notice=f"ZeroDB cannot be read further: {error}")
        items += self._current(tenant_id, group)
        with as_tenant(self._database, tenant_id) as connection:
            row = connection.execute(statement("content/spill_waiting"), {"tenant_id": tenant_id}).fetchone()
        if row and row["waiting"]:
            return Found(
                items[:limit], looked, complete=False, notice="some bodies wait for ZeroDB: not looked through"
            )
        return Found(items[:limit], looked, complete=len(items) <= limit)

    def _current(self, tenant_id: UUID, documents: dict[str, UUID]) -> list[Item]:
        """The live items that point to one of these documents: an old version that matches is no match."""
        items = self._reader.items(tenant_id, list(set(documents.values()))) if documents else {}
        return sorted((i for i in items.values() if i.zerodb_row_id in documents), key=lambda item: str(item.id))


def _check(query: str, limit: int) -> None:
    validation.words("query", query)
    validation.limit(limit, MAX_PAGE_SIZE)
