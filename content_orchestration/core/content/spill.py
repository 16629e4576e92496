"""Moves bodies that waited in PostgreSQL into ZeroDB once it answers. What leaves the spill was proven there first."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection

from content_orchestration.core.content.documents import BODIES, RECORDS, says, version_document
from content_orchestration.core.database import Database, Row
from content_orchestration.core.documents import Document, DocumentConflict, DocumentStore
from content_orchestration.core.failpoints import reach
from content_orchestration.core.identity import sha256_hex
from content_orchestration.core.sql import statement

LOCK = "spill"
_PAGE_ROWS = 500
_PAGE_BYTES = 32 * 1024 * 1024
_SAMPLES = 20


@dataclass(frozen=True)
class SpillState:
    """What waits for ZeroDB. Bytes of bodies, seconds since the oldest was written."""

    bodies: int
    bytes: int
    oldest_seconds: float


@dataclass
class DrainReport:
    """What a drain moved, and what it would not: a body whose hash was not the recorded one, here, in ZeroDB or in the
    record of its version."""

    moved: int = 0
    bytes: int = 0
    replaced: int = 0
    refused: int = 0
    refused_samples: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def as_metadata(self) -> dict[str, Any]:
        """For the run's metadata."""
        return {
            "bodies_moved": self.moved,
            "bytes_moved": self.bytes,
            "documents_replaced": self.replaced,
            "bodies_refused": self.refused,
            "refused_samples": self.refused_samples,
            "seconds": round(self.seconds, 3),
        }


def spill_state(database: Database) -> SpillState:
    """How much waits, and for how long."""
    with database.connection() as connection:
        row = connection.execute(statement("content/spill_state")).fetchone() or {}
    return SpillState(row["bodies"], row["bytes"], row["oldest_seconds"])


def drain(database: Database, store: DocumentStore, *, clock: Callable[[], float] = time.monotonic) -> DrainReport:
    """Move what waits into ZeroDB, the oldest first, and forget it here once ZeroDB gave it back with the right hash.

    Safe to repeat and to kill. Raises `AlreadyRunning`, and `Transient` when ZeroDB fails again: what was moved stays
    moved, the rest waits on.
    """
    report = DrainReport()
    started = clock()
    with database.advisory_lock(LOCK):
        refused: list[str] = []
        while _page(database, store, report, refused):
            report.seconds = clock() - started
    report.seconds = clock() - started
    return report


def _page(database: Database, store: DocumentStore, report: DrainReport, refused: list[str]) -> bool:
    """Move one page; False when nothing is left that could be moved."""
    with database.connection() as connection:
        values = {"limit": _PAGE_ROWS, "bytes": _PAGE_BYTES, "refused": refused}
        rows = connection.execute(statement("content/spill_page"), values).fetchall()
        good = [row for row in rows if sha256_hex(row["body"]) == row["body_sha256"] == _recorded(row)]
        moved = _move(connection, store, good, report) if good else set()
    left = [row["zerodb_row_id"] for row in rows if row["zerodb_row_id"] not in moved]
    refused += left
    report.refused += len(left)
    report.refused_samples = [*report.refused_samples, *left][:_SAMPLES]
    return bool(rows)


def _move(connection: Connection[Row], store: DocumentStore, rows: list[Row], report: DrainReport) -> set[str]:
    """Put the documents, read them back and forget those that came back right; returns their ids."""
    documents = [_body(row) for row in rows]
    records = [
        version_document(document, row["changed_by"], row["change_reason"], row["patch"])
        for document, row in zip(documents, rows, strict=True)
        if row["changed_by"] is not None
    ]
    report.replaced += _put(store, BODIES, documents)
    report.replaced += _put(store, RECORDS, records)
    reach("spill_documents_put")
    held = store.get_many(BODIES, [document["id"] for document in documents])
    proven = [row for row in rows if _holds(held.get(row["zerodb_row_id"]), row["body_sha256"])]
    values = {
        "ids": [row["zerodb_row_id"] for row in proven],
        "hashes": [row["body_sha256"] for row in proven],
    }
    report.moved += connection.execute(statement("content/spill_delete"), values).rowcount
    report.bytes += sum(row["size_bytes"] for row in proven)
    return set(values["ids"])


def _body(row: Row) -> Document:
    told = row["document"] or {
        "id": row["zerodb_row_id"],
        "content_id": str(row["content_id"]),
        "tenant_id": str(row["tenant_id"]),
        "version": row["version"],
        "body_sha256": row["body_sha256"],
        "size_bytes": row["size_bytes"],
    }
    return told | {"body": row["body"]}


def _recorded(row: Row) -> str:
    """The hash that the version's record names: a body that it does not name must not replace the one that it does."""
    return str(row["body_sha256"] if row["recorded_sha256"] is None else row["recorded_sha256"])


def _put(store: DocumentStore, collection: str, documents: list[Document]) -> int:
    """Store the documents. One that says something else was left by a writer that was killed: it is replaced."""
    try:
        if not store.put_many(collection, documents).existing:
            return 0
    except DocumentConflict:
        pass
    # The store compares bodies only: the same body may stand under another title, or by another author.
    stored = store.get_many(collection, [document["id"] for document in documents])
    stale = [document for document in documents if not says(stored.get(document["id"]), document)]
    for document in stale:
        store.replace(collection, document)
    if stale:
        store.put_many(collection, documents)
    return len(stale)


def _holds(document: Document | None, sha256: str) -> bool:
    body = document.get("body") if document else None
    return isinstance(body, str) and sha256_hex(body) == sha256
