"""The record of compactions in PostgreSQL: what one may remove, and of each partition what must be left of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Self
from uuid import UUID

from psycopg import Connection

from content_orchestration.core.cleanup.compaction_history import Content, Listed, Partition
from content_orchestration.core.cleanup.compaction_horizons import Horizons
from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Permanent
from content_orchestration.core.sql import statement


@dataclass(frozen=True)
class Intent:
    """A partition whose job was begun: the rows before it, and what must be left."""

    rows_before: int
    kept: Content
    freed_bytes: int
    state: str


@dataclass(frozen=True)
class Compaction:
    """The open compaction: what it may remove is fixed. `days` is its age."""

    database: Database
    compaction_id: str
    horizons: Sequence[str]
    earliest: dict[int, datetime]
    days: float = 0.0

    @classmethod
    def left_open(cls, database: Database) -> Self | None:
        """The one that an earlier run did not finish, if any."""
        with database.connection() as connection:
            row = connection.execute(statement("cleanup/compaction_read")).fetchone()
        if row is None:
            return None
        earliest = {int(sync_id): datetime.fromisoformat(moment) for sync_id, moment in row["earliest"].items()}
        return cls(database, row["compaction_id"], row["horizons"], earliest, float(row["days"]))

    @classmethod
    def open(cls, database: Database, horizons: Horizons, run_id: str) -> Self:
        """Write one down before anything of it is done."""
        pairs = horizons.as_values()
        earliest = {str(sync_id): moment.isoformat() for sync_id, moment in horizons.earliest.items()}
        values = {"run_id": run_id, "horizons": pairs, "earliest": json.dumps(earliest)}
        with database.connection() as connection:
            row = connection.execute(statement("cleanup/compaction_open"), values).fetchone() or {}
        return cls(database, row["compaction_id"], pairs, dict(horizons.earliest))

    @property
    def syncs(self) -> dict[str, int]:
        """The horizon of each tenant."""
        return {tenant: int(sync_id) for tenant, sync_id in (pair.split(":") for pair in self.horizons)}

    @property
    def tenants(self) -> frozenset[UUID]:
        """Whose history it may compact."""
        return frozenset(UUID(tenant) for tenant in self.syncs)

    def stage(self, entity: str) -> str:
        """The table that lists the rows of one history table which go."""
        return f"compaction_{self.compaction_id.replace('-', '')}_{entity}"

    def intent(self, table: str, part: Listed) -> Intent | None:
        """What a partition was to become, where its job was begun."""
        with self.database.connection() as connection:
            row = connection.execute(statement("cleanup/compaction_part_read"), self._key(table, part)).fetchone()
        if row is None:
            return None
        kept = Content(row["rows_kept"], row["kept_digest"])
        return Intent(row["rows_before"], kept, row["freed_bytes"], row["state"])

    def intend(self, table: str, part: Listed, found: Partition, bytes_estimated: int) -> Intent:
        """Write down what the partition must become, before its job is sent."""
        before = found.kept.rows + found.doomed
        values = {
            "rows_before": before, "rows_kept": found.kept.rows, "kept_digest": found.kept.digest,
            "freed_bytes": found.freed_bytes, "bytes_estimated": bytes_estimated,
        }  # fmt: skip
        with self.database.connection() as connection:
            connection.execute(statement("cleanup/compaction_part_intend"), values | self._key(table, part))
        return Intent(before, found.kept, found.freed_bytes, "intended")

    def ended(self, connection: Connection[Row], table: str, part: Listed, state: str) -> None:
        """Note how the job ended, in the caller's transaction. Raises `Permanent` where somebody else did."""
        values = self._key(table, part) | {"state": state}
        if connection.execute(statement("cleanup/compaction_part_end"), values).rowcount != 1:
            raise Permanent(f"partition {part.day} of {table} was ended by another run: two compactions ran at once")

    def end(self, state: str) -> None:
        """Close it, or give it up."""
        with self.database.connection() as connection:
            values = {"compaction_id": self.compaction_id, "state": state}
            connection.execute(statement("cleanup/compaction_end"), values)

    def _key(self, table: str, part: Listed) -> dict[str, str | date]:
        key: dict[str, Any] = {"table": table, "pass": part.pass_, "day": part.day}
        return key | {"compaction_id": self.compaction_id}
