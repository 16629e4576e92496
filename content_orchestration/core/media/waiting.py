"""Which tenants have media work to do, which files failed, how much is stored. For sensors, checks and metadata."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from content_orchestration.core.database import Database, Row
from content_orchestration.core.sql import statement

SAMPLES = 20


def waiting_tenants(database: Database, *, tags: bool) -> Mapping[str, int]:
    """Files that wait, by tenant id. `tags`: whether those whose tags are due count, too: there is whom to ask."""
    with database.connection() as connection:
        rows = connection.execute(statement("media/waiting_tenants"), {"tags": tags}).fetchall()
    return {row["tenant_id"]: row["files"] for row in rows}


def failed_files(database: Database) -> tuple[int, list[dict[str, Any]]]:
    """How many files failed or wait for another try, and the latest 20 with their reasons."""
    with database.connection() as connection:
        rows: list[Row] = connection.execute(statement("media/failed_files"), {"most": SAMPLES}).fetchall()
    samples = [
        {"tenant_id": str(row["tenant_id"]), "file": row["file"], "reason": row["reason"], "tried_again": row["waits"]}
        for row in rows
    ]
    return (rows[0]["found"] if rows else 0), samples


def stored_of(database: Database, tenant_id: UUID) -> Row:
    """Files and variants of a tenant in the store, and their bytes."""
    with database.connection() as connection:
        return connection.execute(statement("media/tenant_counts"), {"tenant_id": tenant_id}).fetchall()[0]
