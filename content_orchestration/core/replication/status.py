"""What replication looks like from outside: lag, backlog, horizon, recent windows. It reads PostgreSQL only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from content_orchestration.core.database import Database, Row
from content_orchestration.core.sql import statement

_BARS = "▁▂▃▄▅▆▇█"
# Past this many waiting changes the number is a lower bound: counting a whole backlog would cost more than it tells.
_MOST_COUNTED = 1_000_000
_CHARTED = 30


@dataclass(frozen=True)
class Backlog:
    """What waits: changes, bytes of bodies, and the age in seconds of the oldest change."""

    changes: int
    bytes: int
    oldest_seconds: float


@dataclass(frozen=True)
class Horizon:
    """The oldest transaction that can still write, in seconds, and who it is."""

    seconds: float
    who: str | None


@dataclass(frozen=True)
class ReplicationStatus:
    """The answer to: is BigQuery up to date?"""

    enabled: bool
    why_not: str | None
    last_sync_id: int | None
    last_closed_at: datetime | None
    last_heartbeat_at: datetime | None
    backlog: Backlog
    horizon: Horizon
    windows_last_day: int
    troubled_last_day: int
    windows: Sequence[Row]

    @property
    def error_rate(self) -> float:
        """Share of the last day's windows that needed more than one attempt or hang open."""
        return self.troubled_last_day / self.windows_last_day if self.windows_last_day else 0.0

    def as_metadata(self) -> dict[str, Any]:
        """For the asset's metadata."""
        return {
            "enabled": self.enabled,
            "why_not": self.why_not or "none",
            "last_sync_id": self.last_sync_id or 0,
            "last_closed_at": self.last_closed_at.isoformat() if self.last_closed_at else "never",
            "last_heartbeat_at": self.last_heartbeat_at.isoformat() if self.last_heartbeat_at else "never",
            "lag_seconds": round(self.backlog.oldest_seconds, 1),
            "backlog_changes": self.backlog.changes,
            "backlog_bytes": self.backlog.bytes,
            "horizon_seconds": round(self.horizon.seconds, 1),
            "horizon_held_by": self.horizon.who or "nobody",
            "windows_last_day": self.windows_last_day,
            "error_rate_last_day": round(self.error_rate, 4),
        }


def backlog(database: Database, most: int = _MOST_COUNTED) -> Backlog:
    """What waits for replication, counted up to `most` changes."""
    with database.connection() as connection:
        row = connection.execute(statement("replication/backlog"), {"most": most}).fetchone() or {}
    return Backlog(row["changes"], row["bytes"], row["oldest_seconds"])


def horizon(database: Database) -> Horizon:
    """The oldest transaction that can still write; windows end before it."""
    with database.connection() as connection:
        # Bound, though without parameters, so that %% in the file means what it means everywhere else.
        row = connection.execute(statement("replication/horizon"), {}).fetchone() or {}
    return Horizon(row["seconds"], row["who"])


def recent_windows(database: Database, most: int = _CHARTED) -> list[Row]:
    """The last windows, newest first."""
    with database.connection() as connection:
        return connection.execute(statement("replication/recent_windows"), {"most": most}).fetchall()


def open_window_seconds(database: Database) -> tuple[int, float] | None:
    """Sync id and age in seconds of the window that is open, if one is."""
    with database.connection() as connection:
        row = connection.execute(statement("replication/open_window_age")).fetchone()
    return (row["sync_id"], row["seconds"]) if row else None


def replication_status(database: Database, why_not: str | None) -> ReplicationStatus:
    """Everything at once. `why_not` is why replication is switched off, None where it is on."""
    windows = recent_windows(database)
    closed = [window for window in windows if window["status"] == "closed"]
    beats = [window["heartbeat_at"] for window in closed if window["heartbeat_at"]]
    with database.connection() as connection:
        errors = connection.execute(statement("replication/window_errors")).fetchone() or {}
    return ReplicationStatus(
        enabled=why_not is None,
        why_not=why_not,
        last_sync_id=closed[0]["sync_id"] if closed else None,
        last_closed_at=closed[0]["closed_at"] if closed else None,
        last_heartbeat_at=max(beats) if beats else None,
        backlog=backlog(database),
        horizon=horizon(database),
        windows_last_day=errors["windows"],
        troubled_last_day=errors["troubled"],
        windows=windows,
    )


def lag_chart(windows: Sequence[Row]) -> str:
    """The lag of the last windows as a line of bars and a table, in Markdown; oldest first."""
    closed = [window for window in reversed(windows) if window["status"] == "closed"]
    if not closed:
        return "no window has closed yet"
    lags = [float(window["lag_seconds"] or 0.0) for window in closed]
    top = max(max(lags), 1.0)
    bars = "".join(_BARS[min(len(_BARS) - 1, int(lag / top * (len(_BARS) - 1)))] for lag in lags)
    lines = [
        f"`{bars}` lag of the last {len(closed)} windows, the highest {max(lags):.1f} s",
        "",
        "| closed | changes | lag s | took s | attempts |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {w['closed_at']:%Y-%m-%d %H:%M:%S} | {w['changes']:,} | {w['lag_seconds'] or 0:.1f} | {w['seconds']:.2f} | "
        f"{w['attempts']} |"
        for w in closed[-10:]
    ]
    return "\n".join(lines)
