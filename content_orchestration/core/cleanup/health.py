"""How cleanup is doing, read and never changed: what waits, how passes ended, what the days freed, what is stored.

What passes do is the engines'; that each writes a line is `passes.py`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from content_orchestration.core.cleanup.passes import REFUSED
from content_orchestration.core.database import Database, Row
from content_orchestration.core.quota.history import bars
from content_orchestration.core.quota.notice_text import size
from content_orchestration.core.sql import statement

PASSES = (
    "orphaned_renders", "quarantined_renders", "deleted_renders", "saved_renders", "purged_content",
    "superseded_versions", "history_compaction", "stray_objects", "stray_objects_removed", "stray_renders",
    "cleanup_leftovers", "multipart_uploads", "emergency_orphan_cleanup", "undo_cleanup",
)  # fmt: skip
"""The kinds of passes: the names of the assets, and of the jobs that are none."""
_DAYS = 30
_WEEK = 7
_SAMPLES = 20


@dataclass(frozen=True)
class Lateness:
    """When something is late: orphans after the minimum age and two sweeps, quarantine two sweeps after its grace."""

    minimum_age: timedelta
    interval: timedelta

    def values(self) -> dict[str, float]:
        """For the statements, in seconds."""
        sweeps = 2 * self.interval.total_seconds()
        return {"orphan_seconds": self.minimum_age.total_seconds() + sweeps, "late_seconds": sweeps}


@dataclass(frozen=True)
class CleanupHealth:
    """What waits, the last pass of each part, the last 30 days (UTC), and what is stored by type."""

    waiting: Row
    passes: Sequence[Row]
    days: Sequence[Row]
    storage: Sequence[Row]

    def as_metadata(self) -> dict[str, Any]:
        """Plain values, without the charts. Bytes; `oldest_hours` is the age of the oldest orphan, 0 without one."""
        week = self.days[-_WEEK:]
        return {
            "orphans_left": self.waiting["orphans"],
            "oldest_hours": round((self.waiting["oldest_seconds"] or 0.0) / 3600, 2),
            "refused_candidates": self.waiting["refused"],
            "quarantined": self.waiting["quarantined"],
            "quarantined_bytes": self.waiting["quarantined_bytes"],
            "failed_in_quarantine": self.waiting["failed"],
            "freed_bytes_today": self.days[-1]["freed_bytes"],
            "freed_bytes_week": sum(day["freed_bytes"] for day in week),
            "orphans_week": sum(day["orphans"] for day in week),
            "restored_week": sum(day["restored"] for day in week),
            "stored_bytes": sum(row["bytes"] for row in self.storage),
            "passes_refused": [row["kind"] for row in self.passes if row["action"] == REFUSED],
        }


def take_health(database: Database, lateness: Lateness) -> CleanupHealth:
    """Everything at once. Raises `Transient` where PostgreSQL does not answer."""
    with database.connection() as connection:
        waiting = connection.execute(statement("cleanup_health/waiting"), lateness.values()).fetchone() or {}
        days = connection.execute(statement("cleanup_health/days"), {"kinds": list(PASSES), "days": _DAYS}).fetchall()
        storage = connection.execute(statement("cleanup_health/storage")).fetchall()
    return CleanupHealth(waiting, last_passes(database), days, storage)


def last_passes(database: Database) -> list[Row]:
    """How the last pass of each part that ever ran ended: kind, at, run_id, action, reason, detail."""
    with database.connection() as connection:
        return connection.execute(statement("cleanup_health/passes"), {"kinds": list(PASSES)}).fetchall()


def late(database: Database, lateness: Lateness) -> tuple[int, list[dict[str, Any]]]:
    """How many orphans and quarantined things are late, and at most 20 of them."""
    values = lateness.values()
    with database.connection() as connection:
        waiting = connection.execute(statement("cleanup_health/waiting"), values).fetchone() or {}
        rows = connection.execute(statement("cleanup_health/late"), values | {"most": _SAMPLES}).fetchall()
    samples = [
        {"what": row["what"], "id": row["id"], "since": row["at"].isoformat(), "reason": row["reason"]} for row in rows
    ]
    return waiting["orphans_late"] + waiting["quarantine_late"], samples


def audit_guards(database: Database) -> list[str]:
    """What would let somebody change the audit; empty where nothing would."""
    with database.connection() as connection:
        rows = connection.execute(statement("cleanup_health/audit_guards"), {}).fetchall()
    return [row["problem"] for row in rows]


def trend_chart(days: Sequence[Row]) -> str:
    """Bytes freed and orphans found on each of the last days as lines of bars, in Markdown; oldest first."""
    if not any(day["freed_bytes"] or day["quarantined"] or day["deleted"] for day in days):
        return f"nothing was removed within {len(days)} days"
    freed, orphans = [day["freed_bytes"] for day in days], [day["orphans"] for day in days]
    return "\n".join(
        [
            f"`{bars(freed)}` freed on each of {len(days)} days, at most {size(max(freed))}",
            "",
            f"`{bars(orphans)}` orphans on each of {len(days)} days, at most {max(orphans):,}",
        ]
    )


def week_table(days: Sequence[Row]) -> str:
    """The last seven days as a Markdown table."""
    lines = [
        "| day (UTC) | orphans | deleted | brought back | freed | refused passes |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {day['day']:%Y-%m-%d} | {day['orphans']:,} | {day['deleted']:,} | {day['restored']:,} | "
        f"{size(day['freed_bytes'])} | {day['refused']:,} |"
        for day in days[-_WEEK:]
    ]
    return "\n".join(lines)


def storage_table(storage: Sequence[Row]) -> str:
    """What is stored by type, the largest first, as a Markdown table."""
    if not storage:
        return "nothing is stored"
    lines = ["| type | | counted in | items | stored |", "|---|---|---|---:|---:|"]
    shares = bars([row["bytes"] for row in storage])
    lines += [
        f"| {_cell(row['type'])} | `{share}` | {row['source']} | {row['items']:,} | {size(row['bytes'])} |"
        for share, row in zip(shares, storage, strict=True)
    ]
    return "\n".join(lines)


def passes_table(passes: Sequence[Row], now: datetime) -> str:
    """How the last pass of each part ended, as a Markdown table. `now` is UTC."""
    if not passes:
        return "no pass has ended yet"
    lines = ["| part | ended | how | freed | left | run |", "|---|---|---|---:|---:|---|"]
    for row in passes:
        detail = row["detail"]
        ago = (now - row["at"].astimezone(UTC)).total_seconds() / 3600
        lines.append(
            f"| {row['kind']} | {ago:,.1f} h ago | {row['action']} | {size(detail.get('freed_bytes') or 0)} | "
            f"{detail.get('left') or 0:,} | {_cell(row['run_id'])} |"
        )
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
