"""The record of windows and the cursor, in PostgreSQL. What is in a window is read by `extract.py`.

A window is `[low, high)` in transaction ids, `high` being at most the xmin of a snapshot: every transaction below it
has ended, so nothing can still appear in it. `TRAPS.md` 1; `DESIGN.md`, decision 2.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Permanent
from content_orchestration.core.sql import statement


@dataclass(frozen=True)
class Window:
    """One sync: its bounds, its id, and the moment (UTC) that all of its rows carry."""

    sync_id: int
    system_identifier: str
    low_xid: str
    high_xid: str
    changes: int
    oldest_change_at: datetime | None
    heartbeat_at: datetime | None
    truncated: list[str]
    synced_at: datetime
    attempts: int


@dataclass(frozen=True)
class Bounds:
    """What the next window would take. `more` says that the change log goes on behind it."""

    high_xid: str
    changes: int
    oldest_change_at: datetime | None
    heartbeat_at: datetime | None
    truncated: list[str]
    more: bool


@dataclass(frozen=True)
class Part:
    """One load file: the last key that it covers, and whether its load is known to have landed."""

    table: str
    number: int
    last_id: UUID
    rows: int
    tombstones: int
    bytes: int
    job_id: str
    loaded: bool = False


class WindowLog:
    """Reads and writes `replication_cursor`, `replication_windows` and `replication_parts`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self) -> str:
        """Create the cursor where it is missing and return the transaction id at which the next window begins.

        Raises `Permanent` when the cursor was written in another cluster: its transaction ids mean nothing here.
        """
        with self._database.connection() as connection:
            cluster = _one(connection.execute(statement("replication/cluster")).fetchone())["system_identifier"]
            connection.execute(statement("replication/cursor_create"), {"system_identifier": cluster})
            cursor = _one(connection.execute(statement("replication/cursor_read")).fetchone())
        if cursor["system_identifier"] != cluster:
            raise Permanent(
                f"the replication cursor belongs to cluster {cursor['system_identifier']}, this is cluster {cluster}: "
                "the database was restored elsewhere, and transaction ids start again there. Nothing was replicated. "
                "Take a fresh snapshot (docs/RUNBOOK.md, 'After a restore to another cluster')"
            )
        return str(cursor["next_xid"])

    def bounds(self, low: str, batch_size: int) -> Bounds:
        """How far the next window reaches: at most about `batch_size` changes, and never past a running transaction."""
        with self._database.connection() as connection:
            row = _one(
                connection.execute(
                    statement("replication/window_bounds"), {"low": low, "batch_size": batch_size}
                ).fetchone()
            )
        return Bounds(**row)

    def left_open(self) -> Window | None:
        """The window that an earlier run did not close, if any."""
        with self._database.connection() as connection:
            row = connection.execute(statement("replication/window_open_read")).fetchone()
        return Window(**row) if row else None

    def open(self, low: str, bounds: Bounds, run_id: str) -> Window:
        """Write the window down. Raises `Permanent` when the cursor is no longer at `low`."""
        values = {
            "low": low,
            "high": bounds.high_xid,
            "changes": bounds.changes,
            "oldest_change_at": bounds.oldest_change_at,
            "heartbeat_at": bounds.heartbeat_at,
            "truncated": bounds.truncated,
            "run_id": run_id,
        }
        with self._database.connection() as connection:
            row = connection.execute(statement("replication/window_open"), values).fetchone()
        if row is None:
            raise Permanent(f"the replication cursor moved away from {low}: two syncs ran at once; run this one again")
        return Window(**row)

    def again(self, window: Window, run_id: str) -> Window:
        """Take over a window that was left open. Raises `Permanent` when somebody else did so first."""
        values = {"sync_id": window.sync_id, "attempts": window.attempts, "run_id": run_id}
        with self._database.connection() as connection:
            row = connection.execute(statement("replication/window_again"), values).fetchone()
        if row is None:
            raise Permanent(f"sync {window.sync_id} was taken over by another run; this one did nothing")
        return Window(**row)

    def now(self) -> datetime:
        """The database's time, UTC: the clock that `synced_at` is of."""
        with self._database.connection() as connection:
            found: datetime = _one(connection.execute(statement("replication/now")).fetchone())["now"]
        return found

    def beat(self) -> None:
        """Write the heartbeat that this sync will carry."""
        with self._database.connection() as connection:
            connection.execute(statement("replication/heartbeat"))

    def parts(self, window: Window) -> list[Part]:
        """The load files of the window, in order."""
        with self._database.connection() as connection:
            rows = connection.execute(statement("replication/parts_read"), {"sync_id": window.sync_id}).fetchall()
        return [
            Part(
                row["table_name"], row["part"], row["last_id"], row["rows"], row["tombstones"], row["bytes"],
                row["job_id"], row["loaded_at"] is not None,
            )
            for row in rows
        ]  # fmt: skip

    def record(self, window: Window, part: Part) -> None:
        """Write a load file down before its load. Raises `Permanent` when another run has taken the window over."""
        values = {
            "sync_id": window.sync_id,
            "attempts": window.attempts,
            "table": part.table,
            "part": part.number,
            "last_id": part.last_id,
            "rows": part.rows,
            "tombstones": part.tombstones,
            "bytes": part.bytes,
            "job_id": part.job_id,
        }
        with self._database.connection() as connection:
            recorded = connection.execute(statement("replication/part_record"), values).rowcount
        if recorded != 1:
            raise Permanent(
                f"file {part.number} of {part.table} in sync {window.sync_id} was not recorded: another run took the "
                "window over, or the file has landed already. Nothing more was loaded by this one"
            )

    def loaded(self, window: Window, part: Part) -> None:
        """Note that a load file landed."""
        with self._database.connection() as connection:
            connection.execute(
                statement("replication/part_loaded"),
                {"sync_id": window.sync_id, "table": part.table, "part": part.number},
            )

    def close(self, window: Window, rows: Mapping[str, int], bytes_loaded: int, seconds: Mapping[str, float]) -> None:
        """Close the window and move the cursor, both or neither. Raises `Permanent` when it was closed elsewhere."""
        values: dict[str, Any] = {
            "sync_id": window.sync_id,
            "attempts": window.attempts,
            "low": window.low_xid,
            "high": window.high_xid,
            "system_identifier": window.system_identifier,
            "rows_by_table": json.dumps(rows),
            "bytes_loaded": bytes_loaded,
            "seconds_by_stage": json.dumps({stage: round(value, 4) for stage, value in seconds.items()}),
        }
        with self._database.connection() as connection:
            closed = connection.execute(statement("replication/window_close"), values).rowcount
            moved = connection.execute(statement("replication/cursor_move"), values).rowcount
            if (closed, moved) != (1, 1):
                raise Permanent(
                    f"sync {window.sync_id} could not be closed: its window is no longer open or the cursor is not at "
                    f"{window.low_xid}. Another sync took over; nothing of this one was recorded"
                )


def _one(row: Row | None) -> Row:
    if row is None:
        raise Permanent("a statement that always answers one row answered none: see that the schema is current")
    return row
