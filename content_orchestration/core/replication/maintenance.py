"""Keeps the change log small: partitions for the days to come, whole days dropped once every window has passed them."""

from content_orchestration.core.database import Database
from content_orchestration.core.errors import Transient
from content_orchestration.core.sql import statement


def maintain_change_log(database: Database) -> int:
    """Create and drop partitions; returns how many days were dropped. A busy table is left for the next sync."""
    dropped = 0
    for name in ("change_log_prepare", "change_log_drop"):
        try:
            with database.connection() as connection:
                connection.execute(statement("replication/lock_timeout"))
                row = connection.execute(statement(f"replication/{name}")).fetchone()
        except Transient:
            # The lock was not to be had within half a second: dropping a day is never worth holding up a writer.
            continue
        dropped += int((row or {}).get("dropped") or 0)
    return dropped
