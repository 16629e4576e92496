"""Rows of items and versions: written in bulk, one statement whatever their number, and read whatever their times are.

Migration and store both write through these.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, LiteralString

from psycopg import Connection, DataError
from psycopg.abc import Buffer
from psycopg.types.datetime import TimestamptzLoader

from content_orchestration.core.database import Row
from content_orchestration.core.sql import statement

_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)
_ITEM = (
    "id", "tenant_id", "brand_id", "campaign_space_id", "user_id", "title", "content_type", "status", "zerodb_row_id",
    "body_sha256", "size_bytes", "source", "metadata_base", "metadata_extra", "created_at", "updated_at", "deleted_at",
)  # fmt: skip
_VERSION = (
    "id", "content_id", "tenant_id", "version", "zerodb_row_id", "body_sha256", "size_bytes", "changed_by",
    "change_reason", "operations", "created_at",
)  # fmt: skip
_SPILL = ("zerodb_row_id", "tenant_id", "content_id", "version", "body", "body_sha256", "size_bytes", "document")


class _WithinPython(TimestamptzLoader):
    """Timestamps, those that Python cannot hold as the nearest that it can: legacy rows reach from BC to infinity."""

    def load(self, data: Buffer) -> datetime:
        try:
            return super().load(data)
        except DataError:
            text = bytes(data)
            return _EARLIEST if text.startswith(b"-") or text.endswith(b"BC") else _LATEST


def read_rows(connection: Connection[Row], query: LiteralString, values: Mapping[str, Any]) -> list[Row]:
    """The rows of a query; a time beyond the years 1 to 9999 comes as the first or last moment of them."""
    with connection.cursor() as cursor:
        cursor.adapters.register_loader("timestamptz", _WithinPython)
        return cursor.execute(query, values).fetchall()


def insert_items(connection: Connection[Row], items: Sequence[Mapping[str, Any]]) -> int:
    """Insert items at their first version; returns how many were not there yet, by `source`.

    `metadata_base` and `metadata_extra` are JSON texts, merged by PostgreSQL, which rounds no number. Times are
    PostgreSQL's own text or None for now.
    """
    return connection.execute(statement("content/insert_items"), _columns(_ITEM, items)).rowcount


def insert_versions(connection: Connection[Row], versions: Sequence[Mapping[str, Any]]) -> int:
    """Insert version records; returns how many were not there yet. `operations` is a JSON text."""
    return connection.execute(statement("content/insert_versions"), _columns(_VERSION, versions)).rowcount


def insert_spill(connection: Connection[Row], bodies: Sequence[Mapping[str, Any]]) -> None:
    """Keep bodies in PostgreSQL until ZeroDB takes them."""
    connection.execute(statement("content/spill_insert"), _columns(_SPILL, bodies))


def _columns(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in names}
