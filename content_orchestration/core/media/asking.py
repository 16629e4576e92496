"""Asking for files: which references are to be fetched. Migrated rows are references only, until somebody asks.

Fetching is `ingest.py`. A legacy row's address may be long gone, so nothing fetches a million of them by itself.
"""

from collections.abc import Sequence
from uuid import UUID

from content_orchestration.core.database import Database
from content_orchestration.core.errors import Permanent
from content_orchestration.core.sql import statement

MOST = 10_000


def request_ingest(database: Database, tenant_id: UUID, limit: int = 1000, *, dry_run: bool = True) -> int:
    """Ask for the files of a tenant's references, at most `limit`; how many are (dry run: would be) asked for."""
    values = {"tenant_id": tenant_id, "most": _checked(limit)}
    with database.connection() as connection:
        if dry_run:
            row = connection.execute(statement("media/ingest_requestable"), values).fetchone() or {}
            return int(row["rows"])
        return connection.execute(statement("media/ingest_request"), values).rowcount


def request_again(database: Database, tenant_id: UUID, reasons: Sequence[str] | None = None, limit: int = 1000) -> int:
    """Let rows that failed for good be tried again, all or those with these reasons; how many."""
    values = {"tenant_id": tenant_id, "most": _checked(limit), "reasons": None if reasons is None else list(reasons)}
    with database.connection() as connection:
        return connection.execute(statement("media/ingest_again"), values).rowcount


def _checked(limit: int) -> int:
    if not 1 <= limit <= MOST:
        raise Permanent(f"limit is {limit}: ask for 1 to {MOST} files at a time")
    return limit
