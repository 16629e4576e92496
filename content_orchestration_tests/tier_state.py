"""What is in PostgreSQL and ZeroDB, read without the engines: rows as text, documents counted by id. For tests."""

from collections import Counter
from typing import Any

from psycopg import Connection
from psycopg.sql import SQL, Identifier

from content_orchestration.core.schema.documents import COLLECTIONS
from content_orchestration_tests.tiers import Tiers

OURS = ("content_storage_metadata", "content_versions", "media_assets", "migration_quarantine", "content_changes")
LEGACY = ("tenants", "campaign_assets", "content_items")
WRITTEN = ["zerodb_id", "storage_size_bytes", "migrated_at"]
"""The columns of `content_items` that the migration writes."""


def rows_as_text(connection: Connection[Any], table: str, *, without: list[str] | None = None) -> dict[str, str]:
    """Each row as PostgreSQL prints it, less some columns, by the transaction that wrote it last and where it lies."""
    query = SQL(
        "SELECT xmin::text || ' ' || ctid::text AS place, (to_jsonb(t) - %s::text[])::text AS row FROM {} t"
    ).format(Identifier(table))
    return {row["place"]: row["row"] for row in connection.execute(query, [without or []])}


def postgres_state(tiers: Tiers, *tables: str) -> dict[str, dict[str, str]]:
    """Every row of the tables, such that any write to one shows, even one that changes no value."""
    with tiers.database.connection() as connection:
        return {table: rows_as_text(connection, table) for table in tables or (*OURS, *LEGACY)}


def document_counts(tiers: Tiers) -> dict[str, Counter[str]]:
    """How many rows each collection of ZeroDB holds under each id."""
    return {
        collection: Counter(document["id"] for document in tiers.store.scan(collection, fields=["id"]))
        for collection in COLLECTIONS
    }


def ids_in_postgres(tiers: Tiers) -> dict[str, Counter[str]]:
    """The documents that rows name, by collection, as `document_counts` gives them where all is well."""
    named = {
        "content_items": "content_storage_metadata",
        "content_versions": "content_versions",
        "content_media_files": "media_assets",
    }
    with tiers.database.connection() as connection:
        return {
            collection: Counter(
                row["zerodb_row_id"]
                for row in connection.execute(SQL("SELECT zerodb_row_id FROM {}").format(Identifier(table)))
            )
            for collection, table in named.items()
        }
