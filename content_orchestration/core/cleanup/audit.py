"""Writes `cleanup_audit`: what cleanup did, refused or left, why, by which rule, in which run. Rows are only added."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb

from content_orchestration.core.cleanup.model import PREDICATE_VERSION
from content_orchestration.core.database import Row
from content_orchestration.core.sql import statement

_LONGEST_TEXT = 2_000


@dataclass(frozen=True)
class AuditEntry:
    """One line. `size_bytes` is what it freed or would free; `location` is `bucket/path` without any signature."""

    run_id: str
    kind: str
    action: str
    subject_id: str
    tenant_id: UUID | None = None
    location: str | None = None
    size_bytes: int | None = None
    reason: str = ""
    predicate_version: int = PREDICATE_VERSION
    quarantined_at: datetime | None = None
    detail: dict[str, Any] = field(default_factory=dict)


def record(connection: Connection[Row], entries: Sequence[AuditEntry]) -> None:
    """Add the lines in the caller's transaction, so that nothing is done without its line, or told without being done.

    Texts are cut at 2,000 characters, and what PostgreSQL cannot hold in a text is written as an escape.
    """
    if not entries:
        return
    with connection.cursor() as cursor:
        cursor.executemany(statement("cleanup/audit_insert"), [_values(entry) for entry in entries])


def _values(entry: AuditEntry) -> dict[str, Any]:
    values = {name: _told(value) if isinstance(value, str) else value for name, value in asdict(entry).items()}
    return values | {"detail": Jsonb(entry.detail)}


def _told(text: str) -> str:
    return text[:_LONGEST_TEXT].replace("\x00", "\\0").encode("utf-8", "backslashreplace").decode()
