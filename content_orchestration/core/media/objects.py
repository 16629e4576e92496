"""Rows of `media_objects`: which files of a tenant are stored, and whether their bytes are still there."""

from typing import Any
from uuid import UUID

from psycopg import Connection

from content_orchestration.core.database import Database, Row
from content_orchestration.core.media.model import MediaObject, ObjectInfo
from content_orchestration.core.sql import statement

STORED = "stored"
MISSING = "missing"


def find_object(database: Database, tenant_id: UUID, key: str) -> MediaObject | None:
    """The object, whatever its state, or None where none is known."""
    with database.connection() as connection:
        row = connection.execute(statement("media/object_read"), {"tenant_id": tenant_id, "key": key}).fetchone()
    return MediaObject(**row) if row else None


def lock_object(connection: Connection[Row], tenant_id: UUID, key: str) -> MediaObject | None:
    """The object, locked until the transaction ends."""
    row = connection.execute(statement("media/object_lock"), {"tenant_id": tenant_id, "key": key}).fetchone()
    return MediaObject(**row) if row else None


def write_object(
    connection: Connection[Row],
    asset: Row,
    key: str,
    sha256: str,
    mime_type: str | None,
    found: ObjectInfo | None,
    location: str,
) -> None:
    """Record the object of a row as stored, or as missing where nothing was found."""
    values: dict[str, Any] = {
        "tenant_id": asset["tenant_id"],
        "key": key,
        "sha256": sha256,
        "location": location,
        "size_bytes": found.size_bytes if found else asset["size_bytes"],
        "mime_type": mime_type or "application/octet-stream",
        "state": STORED if found else MISSING,
        "etag": found.etag if found else None,
        "generation": found.generation if found else None,
    }
    connection.execute(statement("media/object_write"), values)


def mark_missing(database: Database, tenant_id: UUID, key: str) -> bool:
    """Note that the store lacks an object's bytes, or has others; False where that is known. Rows are left alone."""
    with database.connection() as connection:
        return bool(
            connection.execute(statement("media/object_missing"), {"tenant_id": tenant_id, "key": key}).rowcount
        )
