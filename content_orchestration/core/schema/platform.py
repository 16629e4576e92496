"""The platform's own tables: what of them this project needs. Only revision 0001 adds columns to one of them."""

from collections.abc import Mapping

from psycopg import sql

from content_orchestration.core.database import Database
from content_orchestration.core.errors import Permanent
from content_orchestration.core.sql import statement

_ESTIMATE_FROM = 1_000_000

# From contracts/platform_tables.md: the columns that migration, usage and cleanup read.
PLATFORM_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "tenants": {"id": "uuid", "name": "text", "slug": "text", "plan_tier": "text", "created_at": "timestamptz"},
    "brands": {"id": "uuid", "tenant_id": "uuid", "name": "text"},
    "users": {"id": "uuid", "tenant_id": "uuid", "email": "text"},
    "topics": {"id": "uuid", "tenant_id": "uuid", "topic_title": "text", "keywords": "text[]"},
    "articles": {"id": "uuid", "tenant_id": "uuid", "title": "text", "status": "text"},
    "campaign_assets": {
        "id": "uuid", "tenant_id": "uuid", "brand_id": "uuid", "campaign_space_id": "uuid", "user_id": "uuid",
        "asset_name": "text", "asset_type": "text", "external_asset_id": "text", "headline_text": "text",
        "ad_copy_text": "text", "description": "text", "cta_text": "text", "file_url": "text", "public_url": "text",
        "file_size_bytes": "bigint", "mime_type": "text", "tags": "text[]", "created_at": "timestamptz",
        "updated_at": "timestamptz", "deleted_at": "timestamptz",
    },
    "content_items": {
        "id": "uuid", "tenant_id": "uuid", "brand_id": "uuid", "user_id": "uuid", "title": "text",
        "content_body": "text", "content_type": "text", "status": "text", "content_metadata": "jsonb",
        "created_at": "timestamptz", "updated_at": "timestamptz",
    },
    "render_jobs": {
        "id": "uuid", "user_id": "uuid", "status": "text", "output_url": "text", "created_at": "timestamptz",
        "updated_at": "timestamptz",
    },
    "user_assets": {
        "id": "uuid", "user_id": "uuid", "asset_type": "text", "metadata": "jsonb", "file_size": "bigint",
        "created_at": "timestamptz",
    },
}  # fmt: skip


# Revision 0001 adds these to content_items; where the platform has one of them already, its type must be this one.
WRITTEN_COLUMNS: Mapping[str, str] = {"zerodb_id": "text", "storage_size_bytes": "bigint", "migrated_at": "timestamptz"}


def missing_from_platform(database: Database) -> list[str]:
    """What the platform's tables lack, each as `table` or `table.column type (found type)`; empty when all is there."""
    with database.connection() as connection:
        rows = connection.execute(statement("schema/columns"), {"tables": list(PLATFORM_COLUMNS)}).fetchall()
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        found.setdefault(row["table_name"], {})[row["column_name"]] = row["type"]
    lacking: list[str] = []
    for table, columns in PLATFORM_COLUMNS.items():
        if table not in found:
            lacking.append(table)
            continue
        for column, kind in columns.items():
            actual = found[table].get(column)
            if actual != kind:
                lacking.append(f"{table}.{column} {kind}" + (f" (found {actual})" if actual else ""))
    for column, kind in WRITTEN_COLUMNS.items():
        actual = found.get("content_items", {}).get(column, kind)
        if actual != kind:
            lacking.append(f"content_items.{column} {kind} (found {actual})")
    return lacking


def platform_counts(database: Database) -> dict[str, int]:
    """Rows of each platform table: exact below about a million, the planner's estimate above."""
    with database.connection() as connection:
        estimates = connection.execute(statement("schema/estimates"), {"tables": list(PLATFORM_COLUMNS)}).fetchall()
        counts = {row["table_name"]: int(row["rows"]) for row in estimates}
        for table, estimate in counts.items():
            if estimate < _ESTIMATE_FROM:
                query = sql.SQL("SELECT count(*) AS rows FROM {}").format(sql.Identifier(table))
                counted = connection.execute(query).fetchone()
                counts[table] = int(counted["rows"]) if counted else 0
    return counts


def require_platform(database: Database) -> None:
    """Raise `Permanent`, naming every table and column that is missing."""
    lacking = missing_from_platform(database)
    if lacking:
        raise Permanent(
            f"the platform's tables lack {', '.join(lacking)}. They belong to the platform and are not created here: "
            "see that DATABASE_PUBLIC_URL names the platform's database and that its own migrations ran"
        )
