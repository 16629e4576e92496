"""The platform's own tables for local and test runs: creating and counting them.

The platform owns these tables; production has them and only checks them. What fills them is in `demo_data.py`.
"""

from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row, scalar_row

from content_orchestration.core.sql import statement

PLATFORM_TABLES = (
    "tenants",
    "brands",
    "users",
    "topics",
    "articles",
    "campaign_assets",
    "content_items",
    "render_jobs",
    "user_assets",
)
"""Every table of the platform, each after those that it refers to."""


def create_platform_tables(connection: Connection[Any]) -> tuple[str, ...]:
    """Create the tables that are missing, in one transaction, and return their names. Existing ones are not touched.

    Raises psycopg's `InsufficientPrivilege` where the role may not create tables in its schema.
    """
    with connection.transaction(), connection.cursor(row_factory=scalar_row) as cursor:
        cursor.execute(statement("platform/lock_create"))
        existing = set(cursor.execute(statement("platform/existing"), {"names": list(PLATFORM_TABLES)}))
        for table in PLATFORM_TABLES:
            cursor.execute(statement(f"platform/create_{table}"))
    return tuple(table for table in PLATFORM_TABLES if table not in existing)


def platform_counts(connection: Connection[Any]) -> dict[str, int]:
    """Rows of each platform table, and `named_media`: the media files that the legacy rows name. Reads every row."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement("platform/counts")).fetchone() or {}
