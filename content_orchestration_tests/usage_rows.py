"""Tenants, brands, content and media for tests of usage, written as the platform and its writers do. No engine here."""

import hashlib
from typing import Any
from uuid import UUID, uuid4

from content_orchestration.resources.postgres_client import PostgresClient

GIB = 1024**3
SHA = hashlib.sha256(b"").hexdigest()
CONTENT = (
    "INSERT INTO content_storage_metadata (tenant_id, brand_id, title, content_type, status, zerodb_row_id, "
    "body_sha256, storage_size_bytes, deleted_at) VALUES (%s, %s, 't', %s, 'draft', gen_random_uuid()::text, %s, %s, "
    "CASE WHEN %s THEN now() END) RETURNING id"
)


def run(database: PostgresClient, query: str, values: Any = None) -> list[dict[str, Any]]:
    """One statement in a transaction of its own, and its rows."""
    with database.connection() as connection:
        cursor = connection.execute(query, values)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


def tenant(database: PostgresClient, plan: str | None = "starter", name: str = "Acme") -> str:
    """A tenant of the platform."""
    made = str(uuid4())
    values = [made, name, made, plan]
    run(database, "INSERT INTO tenants (id, name, slug, plan_tier, created_at) VALUES (%s, %s, %s, %s, now())", values)
    return made


def brand(database: PostgresClient, owner: str, name: str = "Acme Tools") -> str:
    """A brand of a tenant."""
    made = str(uuid4())
    run(database, "INSERT INTO brands (id, tenant_id, name) VALUES (%s, %s, %s)", [made, owner, name])
    return made


def content(
    database: PostgresClient, owner: str, kind: str, size: int, *, deleted: bool = False, of: str | None = None
) -> UUID:
    """A content row; `of` is its brand."""
    return run(database, CONTENT, [owner, of, kind, SHA, size, deleted])[0]["id"]


def media(
    database: PostgresClient, owner: str, kind: str, size: int, *, deleted: bool = False, of: str | None = None
) -> None:
    """A media row; `of` is its brand."""
    run(
        database,
        "INSERT INTO media_assets (id, tenant_id, brand_id, kind, url, zerodb_row_id, size_bytes, deleted_at) "
        "VALUES (gen_random_uuid(), %s, %s, %s, 'u', 'd', %s, CASE WHEN %s THEN now() END)",
        [owner, of, kind, size, deleted],
    )


def stored(database: PostgresClient, owner: str) -> dict[str, Any]:
    """The tenant's counters."""
    (row,) = run(database, "SELECT * FROM content_quota_usage WHERE tenant_id = %s", [owner])
    return row
