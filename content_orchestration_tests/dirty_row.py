"""What a dirty legacy row is, what is expected of it, and how it gets into the platform's tables.

The kinds of dirt are in `dirty_data.py`. Timestamps and JSON are PostgreSQL's own text, since Python's types hold
neither 'infinity' nor 44 BC nor 1e400. A field of `Expectation` that is `UNCHECKED` is one that the rules leave open.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from uuid import NAMESPACE_URL, uuid5

from psycopg import Connection
from psycopg.sql import SQL, Identifier

Table = Literal["campaign_assets", "content_items"]
UNCHECKED: Final = "(unchecked)"
DIRTY_TENANTS = (uuid5(NAMESPACE_URL, "dirty/tenant/1"), uuid5(NAMESPACE_URL, "dirty/tenant/2"))

CREATED = "2024-05-06 07:08:09.123456+00"
UPDATED = "2024-06-07 08:09:10.654321+00"
BODY = "A plain body, long enough to be told from another."

TYPES: dict[Table, dict[str, str]] = {
    "content_items": {
        "id": "uuid",
        "tenant_id": "uuid",
        "brand_id": "uuid",
        "user_id": "uuid",
        "title": "text",
        "content_body": "text",
        "content_type": "text",
        "status": "text",
        "content_metadata": "jsonb",
        "created_at": "timestamptz",
        "updated_at": "timestamptz",
    },
    "campaign_assets": {
        "id": "uuid",
        "tenant_id": "uuid",
        "brand_id": "uuid",
        "campaign_space_id": "uuid",
        "user_id": "uuid",
        "asset_name": "text",
        "asset_type": "text",
        "external_asset_id": "text",
        "headline_text": "text",
        "ad_copy_text": "text",
        "description": "text",
        "cta_text": "text",
        "file_url": "text",
        "public_url": "text",
        "file_size_bytes": "bigint",
        "mime_type": "text",
        "tags": "text[]",
        "created_at": "timestamptz",
        "updated_at": "timestamptz",
        "deleted_at": "timestamptz",
    },
}


@dataclass(frozen=True)
class Expectation:
    """What becomes of a row. `metadata` holds keys whose value `metadata.get(key)` must equal, absent being None.

    `metadata_json` is JSON text that the stored metadata must contain (`metadata @> text::jsonb`, exact for numbers).
    `created_at` is PostgreSQL's text of the stored value in UTC. `media_files` counts the well-formed entries,
    `malformed_media` those that are skipped.
    """

    outcome: Literal["migrated", "quarantined"] = "migrated"
    reason: str | None = None
    title: str = UNCHECKED
    body: str = UNCHECKED
    content_type: str = UNCHECKED
    status: str = UNCHECKED
    created_at: str = UNCHECKED
    metadata: dict[str, Any] = field(default_factory=dict)
    metadata_json: str | None = None
    media_files: int | None = None
    malformed_media: int | None = None


@dataclass(frozen=True)
class DirtyRow:
    """One legacy row: its kind (the name of the dirt), table, values by column, and the expectation."""

    kind: str
    table: Table
    values: dict[str, Any]
    expect: Expectation

    @property
    def source(self) -> str:
        """The row's name in the migrated tables, `<table>:<id>`."""
        return f"{self.table}:{self.values['id']}"


def quarantined(reason: str) -> Expectation:
    """The expectation that a row cannot be stored truthfully, for `reason`."""
    return Expectation(outcome="quarantined", reason=reason)


def item(kind: str, expect: Expectation | None = None, **values: Any) -> DirtyRow:
    """A content item that is clean but for `values`. Without `expect`, every value is expected to stay."""
    clean: dict[str, Any] = {
        "id": uuid5(NAMESPACE_URL, f"dirty/content_items/{kind}"),
        "tenant_id": DIRTY_TENANTS[0],
        "brand_id": uuid5(NAMESPACE_URL, "dirty/brand/unknown"),
        "user_id": None,
        "title": f"Title of {kind}",
        "content_body": BODY,
        "content_type": "article",
        "status": "published",
        "content_metadata": '{"language": "en"}',
        "created_at": CREATED,
        "updated_at": UPDATED,
    }
    row = clean | values
    return DirtyRow(kind, "content_items", row, expect or _unchanged(row))


def _unchanged(row: dict[str, Any]) -> Expectation:
    return Expectation(
        title=row["title"],
        body=row["content_body"],
        content_type=row["content_type"],
        status=row["status"],
        created_at=row["created_at"],
    )


def asset(kind: str, expect: Expectation | None = None, **values: Any) -> DirtyRow:
    """A campaign asset that is clean but for `values`; by default it is expected to migrate under its name."""
    clean: dict[str, Any] = dict.fromkeys(TYPES["campaign_assets"]) | {
        "id": uuid5(NAMESPACE_URL, f"dirty/campaign_assets/{kind}"),
        "tenant_id": DIRTY_TENANTS[1],
        "brand_id": uuid5(NAMESPACE_URL, "dirty/brand/unknown"),
        "campaign_space_id": uuid5(NAMESPACE_URL, "dirty/space"),
        "asset_name": f"Asset of {kind}",
        "asset_type": "image",
        "headline_text": "A headline",
        "tags": "{spring,sale}",
        "created_at": CREATED,
        "updated_at": UPDATED,
    }
    row = clean | values
    kept = Expectation(title=row["asset_name"], content_type=row["asset_type"], created_at=row["created_at"])
    return DirtyRow(kind, "campaign_assets", row, expect or kept)


def insert_dirty_rows(connection: Connection[Any], rows: Iterable[DirtyRow]) -> list[DirtyRow]:
    """Insert `rows` and the tenants that they count on, in one transaction; returns the rows as a list."""
    inserted = list(rows)
    with connection.transaction(), connection.cursor() as cursor:
        for number, tenant in enumerate(DIRTY_TENANTS):
            cursor.execute(
                "INSERT INTO tenants (id, name, slug) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                [tenant, f"Dirty {number}", f"dirty-{number}"],
            )
        for row in inserted:
            columns = TYPES[row.table]
            command = SQL("INSERT INTO {} ({}) VALUES ({})").format(
                Identifier(row.table),
                SQL(", ").join(map(Identifier, columns)),
                SQL(", ").join(SQL("%s::") + SQL(kind) for kind in columns.values()),
            )
            cursor.execute(command, [row.values[column] for column in columns])
    return inserted
