"""Reads content: items with their bodies, pages of items, versions. Nothing is written here."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import DataError

from content_orchestration.core.content import cursor as cursors
from content_orchestration.core.content import validation
from content_orchestration.core.content.bodies import BodyReader, Found, Wanted
from content_orchestration.core.content.errors import ContentNotFound, InvalidContent
from content_orchestration.core.content.model import (
    MAX_PAGE_SIZE,
    PREVIEW_CHARACTERS,
    Content,
    Filters,
    Item,
    Listed,
    Page,
    Version,
)
from content_orchestration.core.content.rows import read_rows
from content_orchestration.core.content.scope import as_tenant
from content_orchestration.core.database import Database
from content_orchestration.core.sql import statement

MAX_READ_BYTES = 256 * 1024 * 1024
_GROUP_BYTES = 32 * 1024 * 1024


class Reader:
    """Reads one tenant's content at a time."""

    def __init__(self, database: Database, bodies: BodyReader) -> None:
        self._database = database
        self._bodies = bodies

    def items(self, tenant_id: UUID, ids: Sequence[UUID], *, deleted: bool = False) -> dict[UUID, Item]:
        """The tenant's items with these ids; deleted ones only where asked for."""
        with as_tenant(self._database, tenant_id) as connection:
            rows = read_rows(connection, statement("content/items"), {"tenant_id": tenant_id, "ids": list(ids)})
        items = map(Item.of, rows)
        return {item.id: item for item in items if deleted or item.deleted_at is None}

    def item(self, tenant_id: UUID, content_id: UUID, *, deleted: bool = False) -> Item:
        """One item. Raises `ContentNotFound`."""
        found = self.items(tenant_id, [content_id], deleted=deleted)
        if content_id not in found:
            raise ContentNotFound(content_id)
        return found[content_id]

    def contents(self, tenant_id: UUID, ids: Sequence[UUID]) -> dict[UUID, Content]:
        """Items with their bodies. An item whose body no tier can give comes without it and with the reason."""
        items = self.items(tenant_id, ids)
        size = sum(item.storage_size_bytes for item in items.values())
        if size > MAX_READ_BYTES and len(items) > 1:
            raise InvalidContent(
                "content_ids", f"name {size:,} bytes of bodies, more than {MAX_READ_BYTES:,}", "Ask for fewer at once."
            )
        bodies, reason = self._bodies.read(tenant_id, list(items.values())) if items else ({}, "")
        return {item.id: _content(item, bodies.get(item.zerodb_row_id), reason) for item in items.values()}

    def page(self, tenant_id: UUID, filters: Filters, limit: int, after: str | None) -> Page:
        """A page of items from the newest down. Raises `InvalidContent` for a bad filter, limit or cursor."""
        validation.limit(limit, MAX_PAGE_SIZE)
        filters = _checked(filters)
        created, last_id = cursors.decode(after) if after is not None else (None, None)
        values = {
            name: getattr(filters, name)
            for name in (
                "content_type", "status", "campaign_space_id", "brand_id", "tag", "created_from", "created_before",
                "deleted",
            )
        } | {
            "tenant_id": tenant_id,
            "after_created": created,
            "after_id": last_id,
            "title_contains": None if filters.title_contains is None else f"%{_literal(filters.title_contains)}%",
            # One more than asked for tells whether another page follows.
            "limit": limit + 1,
        }  # fmt: skip
        with as_tenant(self._database, tenant_id) as connection:
            try:
                rows = read_rows(connection, statement("content/list"), values)
            except DataError as error:
                # All else is checked: a cursor is text, and may name a day that no month has.
                raise cursors.unknown(after) from error
        shown = [Item.of(row) for row in rows[:limit]]
        previews, notice = self._previews(tenant_id, shown)
        return Page(
            [Listed(item, previews.get(item.id)) for item in shown],
            cursors.encode(rows[limit - 1]) if len(rows) > limit else None,
            notice or None,
        )

    def versions(self, tenant_id: UUID, content_id: UUID) -> list[Version]:
        """The versions of an item, the newest first, of deleted items too. Raises `ContentNotFound`."""
        values = {"tenant_id": tenant_id, "id": content_id}
        with as_tenant(self._database, tenant_id) as connection:
            rows = read_rows(connection, statement("content/versions"), values)
        if not rows:
            raise ContentNotFound(content_id, "has no such item")
        return [Version(**row) for row in rows]

    def newest_version(self, tenant_id: UUID, content_id: UUID) -> int:
        """The newest version that the item has had, 0 for one without records."""
        values = {"tenant_id": tenant_id, "id": content_id}
        with as_tenant(self._database, tenant_id) as connection:
            row = connection.execute(statement("content/newest_version"), values).fetchone()
        return int(row["version"] or 0) if row else 0

    def bodies(self, tenant_id: UUID, versions: Sequence[Wanted]) -> tuple[dict[str, Found], str]:
        """The bodies of items or versions by document id, and why others are missing."""
        return self._bodies.read(tenant_id, versions)

    def metadata_text(self, tenant_id: UUID, content_id: UUID) -> str:
        """The metadata of an item as PostgreSQL prints them."""
        with as_tenant(self._database, tenant_id) as connection:
            row = connection.execute(
                statement("content/metadata_text"), {"tenant_id": tenant_id, "id": content_id}
            ).fetchone()
        if row is None:
            raise ContentNotFound(content_id)
        return str(row["metadata"])

    def _previews(self, tenant_id: UUID, items: Sequence[Item]) -> tuple[dict[UUID, str], str]:
        """First characters of the bodies. Documents of the migration carry none of their own: their bodies are read."""
        documents, notice = self._bodies.previews(tenant_id, [item.zerodb_row_id for item in items])
        previews: dict[UUID, str] = {}
        unread: list[Item] = []
        for item in items:
            document = documents.get(item.zerodb_row_id, {})
            if isinstance(document.get("preview"), str) and document.get("body_sha256") == item.body_sha256:
                previews[item.id] = document["preview"]
            else:
                unread.append(item)
        missing = ""
        for group in _bounded(unread):
            bodies, why = self._bodies.read(tenant_id, group, nearby=True)
            missing = missing or why
            for item in group:
                if item.zerodb_row_id in bodies:
                    previews[item.id] = bodies[item.zerodb_row_id].body[:PREVIEW_CHARACTERS]
        return previews, missing if unread else notice


def _bounded(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Groups whose bodies fit in memory together; one larger body still goes, alone."""
    group: list[Item] = []
    size = 0
    for item in items:
        if group and size + item.storage_size_bytes > _GROUP_BYTES:
            yield group
            group, size = [], 0
        group.append(item)
        size += item.storage_size_bytes
    if group:
        yield group


def _content(item: Item, found: Found | None, reason: str) -> Content:
    if found is None:
        return Content(item, None, None, f"the body of {item.zerodb_row_id} cannot be read now: {reason}")
    return Content(item, found.body, found.source)


def _checked(filters: Filters) -> Filters:
    """The filters, their ids as UUIDs. Raises `InvalidContent`."""
    for name, allowed in (("content_type", validation.CONTENT_TYPES), ("status", validation.STATUSES)):
        value = getattr(filters, name)
        if value is not None and value not in allowed:
            raise InvalidContent(name, f"is {value!r}", f"Use one of {', '.join(allowed)}, or leave it out.")
    for name in ("tag", "title_contains"):
        if getattr(filters, name) is not None:
            validation.words(name, getattr(filters, name))
    for name in ("created_from", "created_before"):
        moment = getattr(filters, name)
        if moment is not None and (not isinstance(moment, datetime) or moment.tzinfo is None):
            raise InvalidContent(
                name, f"is {moment!r}, no moment with a time zone", "Give a datetime with its zone, for example in UTC."
            )
    ids: dict[str, Any] = {
        name: validation.identifier(name, getattr(filters, name))
        for name in ("campaign_space_id", "brand_id")
        if getattr(filters, name) is not None
    }
    return replace(filters, deleted=bool(filters.deleted), **ids)


def _literal(text: str) -> str:
    """The text with LIKE's own characters taken at their word."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
