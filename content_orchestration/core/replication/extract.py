"""Reads what a window changed: rows as PostgreSQL prints them, with the bodies that they point to, hash-checked."""

import hashlib
from collections import OrderedDict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg import Connection

from content_orchestration.core.database import Database, Row
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.identity import sha256_hex
from content_orchestration.core.replication.tables import Entity
from content_orchestration.core.replication.window import Window
from content_orchestration.core.sql import statement

_ROWS_PER_FETCH = 1000
# Bodies in memory at once, besides the file that is being written; one larger body still goes, alone.
_BODY_BYTES = 32 * 1024 * 1024
_BODIES = "content_items"


@dataclass(frozen=True)
class Chunk:
    """Rows for one table in key order, with their size in bytes."""

    rows: Sequence[Row]
    size: int

    @property
    def last_id(self) -> UUID:
        """The key that the chunk ends with."""
        return UUID(self.rows[-1]["entity_id"])

    @property
    def tombstones(self) -> int:
        """How many of the rows are deletes."""
        return sum(row["op"] == "delete" for row in self.rows)


@dataclass
class BodyReport:
    """Bodies of a window: read, and the ones that were not copied, with the reason."""

    fetched: int = 0
    withheld: list[dict[str, Any]] = field(default_factory=list)


class BodyReader:
    """Bodies by document id. They are immutable, so those read last are kept: items and versions name the same ones."""

    def __init__(self, database: Database, store: DocumentStore, keep_bytes: int = 64 * 1024 * 1024) -> None:
        self._database = database
        self._store = store
        self._keep_bytes = keep_bytes
        self._kept: OrderedDict[str, str] = OrderedDict()
        self._kept_size = 0
        self.report = BodyReport()

    def fill(self, rows: Sequence[Row], entity: Entity, window: Window) -> None:
        """Put `body` into each row that points to one; a body that is missing or differs is withheld and reported."""
        wanted = [row for row in rows if row["op"] == "upsert"]
        keys = {row["zerodb_row_id"] for row in wanted}
        # Taken out before anything is kept anew: keeping one body may drop another that this group still needs.
        bodies: dict[str, str | None] = {key: self._kept[key] for key in keys & self._kept.keys()}
        bodies |= self._fetch(sorted(keys - bodies.keys()))
        for row in wanted:
            key = row["zerodb_row_id"]
            body = bodies.get(key)
            found = _hash_of(body)
            if body is not None and found == row["body_sha256"]:
                row["body"] = body
                self._keep(key, body)
            else:
                self.report.withheld.append(
                    {
                        "zerodb_row_id": key,
                        "sync_id": window.sync_id,
                        "entity": entity.name,
                        "tenant_id": row["tenant_id"],
                        "reason": "body_differs" if isinstance(body, str) else "body_missing",
                        "expected": row["body_sha256"],
                        "found": found,
                    }
                )

    def _fetch(self, ids: list[str]) -> dict[str, str | None]:
        """Bodies from the document store, else from the spill, where they wait while it is down."""
        if not ids:
            return {}
        bodies = {key: document.get("body") for key, document in self._store.get_many(_BODIES, ids).items()}
        absent = [key for key in ids if key not in bodies]
        if absent:
            with self._database.connection() as connection:
                spilled = connection.execute(statement("replication/spilled_bodies"), {"ids": absent}).fetchall()
            bodies |= {row["zerodb_row_id"]: row["body"] for row in spilled}
        self.report.fetched += len(bodies)
        return bodies

    def _keep(self, key: str, body: str) -> None:
        if key in self._kept:
            self._kept.move_to_end(key)
            return
        self._kept[key] = body
        self._kept_size += len(body)
        while self._kept_size > self._keep_bytes:
            _, dropped = self._kept.popitem(last=False)
            self._kept_size -= len(dropped)


def _hash_of(body: str | None) -> str | None:
    """The hash, or None for what has no UTF-8: a lone surrogate can come out of a document store, and is no body."""
    try:
        return sha256_hex(body) if isinstance(body, str) else None
    except UnicodeEncodeError:
        return None


def changed_rows(
    database: Database, entity: Entity, window: Window, bodies: BodyReader, after: UUID | None
) -> Generator[Chunk, None, None]:
    """The rows and tombstones of one table that the window changed, by key from beyond `after` or the first.

    Rows are read as they are now, which may be later than the window: the windows behind it send them again.
    """
    with database.connection() as connection:
        values = {"low": window.low_xid, "high": window.high_xid, "after": after}
        yield from stream_rows(connection, entity, entity.rows_sql, values, window, bodies)


def stream_rows(
    connection: Connection[Row],
    entity: Entity,
    name: str,
    values: dict[str, Any],
    window: Window,
    bodies: BodyReader,
) -> Generator[Chunk, None, None]:
    """The rows of the statement `name` with their bodies and hashes, in bounded memory."""
    connection.execute(statement("replication/pin_settings"))
    with connection.cursor(name="replicated_rows") as cursor:
        cursor.execute(statement(name), values)
        while rows := cursor.fetchmany(_ROWS_PER_FETCH):
            for group in bounded(rows, entity):
                if entity.has_body:
                    bodies.fill(group, entity, window)
                yield _stamped(group, window)


def bounded(rows: Sequence[Row], entity: Entity) -> Iterator[list[Row]]:
    """The rows in groups whose bodies fit in memory together; one larger body goes alone."""
    if not entity.has_body:
        yield list(rows)
        return
    group: list[Row] = []
    size = 0
    for row in rows:
        body_size = row["storage_size_bytes"] or 0
        if group and size + body_size > _BODY_BYTES:
            yield group
            group, size = [], 0
        group.append(row)
        size += body_size
    yield group


def _stamped(rows: list[Row], window: Window) -> Chunk:
    size = 0
    for row in rows:
        payload = row["row_json"].encode()
        row["row_sha256"] = hashlib.sha256(payload).hexdigest()
        row["sync_id"] = window.sync_id
        row["synced_at"] = window.synced_at
        size += len(payload) + (row.get("storage_size_bytes") or 0)
    return Chunk(rows, size)
