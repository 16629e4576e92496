"""Who is above a limit, which reservations outlived their expiry, whose plan changed: read, and nothing is changed."""

from dataclasses import dataclass
from typing import Any

from content_orchestration.core.database import Database, Row
from content_orchestration.core.quota.notice_text import size
from content_orchestration.core.quota.plans import limits_document
from content_orchestration.core.sql import statement


@dataclass(frozen=True)
class Overdue:
    """Reservations that hold room past their expiry; `oldest_seconds` is how late the oldest is."""

    reservations: int
    bytes: int
    oldest_seconds: float


def over_limit(database: Database) -> list[Row]:
    """Tenants and brands above their limit, the furthest first; `lowered` where the limit came down to them."""
    with database.connection() as connection:
        return connection.execute(statement("quota/over_limit")).fetchall()


def overdue(database: Database) -> Overdue:
    """Reservations that should have been reaped, by the database's clock."""
    with database.connection() as connection:
        row = connection.execute(statement("quota/overdue_reservations")).fetchone() or {}
    return Overdue(row["reservations"], row["bytes"], row["oldest_seconds"])


def plans_behind(database: Database) -> int:
    """Tenants whose counters carry another plan than the platform gives them."""
    with database.connection() as connection:
        return len(connection.execute(statement("quota/plans_behind"), {"plans": limits_document()}).fetchall())


def who(row: dict[str, Any]) -> str:
    """One row of `over_limit` in words."""
    name = row["tenant"] or row["tenant_id"]
    subject = name if row["brand_id"] is None else f"brand {row['brand_id']} of {name}"
    return (
        f"{subject} by {size(row['over_bytes'])} ({row['used_bytes']} of {row['limit_bytes']} bytes"
        + (f", plan {row['plan_tier']}" if row["plan_tier"] else "")
        + (", its limit was lowered)" if row["lowered"] else ")")
    )
