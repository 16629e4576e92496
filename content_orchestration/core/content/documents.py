"""The documents of the store: what the body and the record of a version look like in ZeroDB, and how they get there.

A body document is the whole version: body, title and metadata, so that an old version can be brought back from it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from psycopg import Connection

from content_orchestration.core.content.model import PREVIEW_CHARACTERS
from content_orchestration.core.database import Row
from content_orchestration.core.documents import Document, DocumentConflict, DocumentStore
from content_orchestration.core.identity import document_id, sha256_hex
from content_orchestration.core.sql import statement

BODIES = "content_items"
RECORDS = "content_versions"


def body_document(
    content_id: UUID, tenant_id: UUID, version: int, *, content_type: str, title: str, body: str, metadata: str
) -> Document:
    """The immutable document of one version. `metadata` is JSON text, kept as text so that no number is rounded."""
    return {
        "id": document_id(content_id, version),
        "content_id": str(content_id),
        "tenant_id": str(tenant_id),
        "version": version,
        "content_type": content_type,
        "title": title,
        "metadata": metadata,
        "preview": body[:PREVIEW_CHARACTERS],
        "body": body,
        "body_sha256": sha256_hex(body),
        "size_bytes": len(body.encode()),
    }


def version_document(
    body: Document, changed_by: str, change_reason: str, operations: Sequence[Mapping[str, Any]]
) -> Document:
    """Who made the version of this body document, and why."""
    return {
        "id": body["id"],
        "content_id": body["content_id"],
        "tenant_id": body["tenant_id"],
        "version": body["version"],
        "changed_by": changed_by,
        "change_reason": change_reason,
        "patch": list(operations),
        "body_sha256": body["body_sha256"],
    }


def put_fresh(connection: Connection[Row], store: DocumentStore, collection: str, wanted: Sequence[Document]) -> int:
    """Store the documents and replace stale ones, left by a writer that was killed; returns how many were stale.

    The caller holds the lock of every item, so nobody else writes these ids. Raises `DocumentConflict` for a stale
    document that a row names: it is never touched.
    """
    stale: set[str] = set()
    try:
        if not store.put_many(collection, wanted).existing:
            return 0
    except DocumentConflict as conflict:
        stale.update(conflict.ids)
    # The store compares bodies only, and files have none: what was there already is compared whole.
    stored = store.get_many(collection, [document["id"] for document in wanted])
    stale.update(document["id"] for document in wanted if not says(stored.get(document["id"]), document))
    if not stale:
        return 0
    claimed = connection.execute(statement("content/claimed_documents"), {"ids": list(stale)}).fetchall()
    if claimed:
        raise DocumentConflict(collection, (row["zerodb_row_id"] for row in claimed))
    # In place: a deletion whose answer was lost could come late, after the document that it made room for.
    for document in wanted:
        if document["id"] in stale:
            store.replace(collection, document)
    store.put_many(collection, wanted)
    return len(stale)


def says(stored: Document | None, wanted: Document) -> bool:
    """Whether the stored document says all that the wanted one does; one that is not stored yet is not stale."""
    return stored is None or all(stored.get(name) == value for name, value in wanted.items())


def as_json(metadata: Mapping[str, Any]) -> str:
    """Metadata as JSON text. Mappings that are no dictionaries are objects too."""
    return json.dumps(metadata, ensure_ascii=False, allow_nan=False, default=dict)
