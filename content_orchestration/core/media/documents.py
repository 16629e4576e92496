"""Keeps a media row's document in ZeroDB in step with the row: it says what the row says, never the reverse."""

from collections.abc import Iterable
from uuid import UUID

from content_orchestration.core.database import Database
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.sql import statement

COLLECTION = "content_media_files"


def keep_in_step(database: Database, documents: DocumentStore, assets: Iterable[UUID]) -> int:
    """Write the documents of these rows that say something else than their rows, or are missing; how many.

    Safe to repeat. Raises `Transient` while ZeroDB does not answer.
    """
    with database.connection() as connection:
        rows = connection.execute(statement("media/documents_of_rows"), {"ids": list(assets)}).fetchall()
    wanted = {str(row["id"]): dict(row) for row in rows}
    found = documents.get_many(COLLECTION, wanted)
    missing = [document for key, document in wanted.items() if key not in found]
    if missing:
        documents.put_many(COLLECTION, missing)
    differing = [
        document
        for key, document in wanted.items()
        if key in found and any(found[key].get(name) != value for name, value in document.items())
    ]
    for document in differing:
        documents.replace(COLLECTION, document)
    return len(missing) + len(differing)
