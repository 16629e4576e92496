"""What the health page is made of, read from PostgreSQL, one function a group; each reads what its own domain offers.

A group that cannot be read is unknown and leaves the others alone. What is red is decided in `thresholds.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from content_orchestration.core.content.spill import spill_state
from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.generation.health import open_batches
from content_orchestration.core.operations.backup_record import last_verified
from content_orchestration.core.operations.thresholds import BY_NAME, DAY, State, shown
from content_orchestration.core.quota.history import bars
from content_orchestration.core.quota.outbox import waiting as waiting_notices
from content_orchestration.core.replication.status import backlog, lag_chart, recent_windows
from content_orchestration.core.sql import statement

_MOST_CHANGES = 100_000
_NAMED = 5
REJECTIONS_KEPT_DAYS = 90


@dataclass(frozen=True)
class Reading:
    """One rule's figure. `value` in the rule's unit, None where there is none; `text` says it for people."""

    rule: str
    value: float | None
    text: str
    state: State

    @classmethod
    def of(cls, rule: str, value: float, text: str = "") -> "Reading":
        """Judge a value that was read."""
        known = BY_NAME[rule]
        state = State.RED if known.is_red(value) else State.OK
        return cls(rule, value, shown(value, known.unit) + (f": {text}" if text else ""), state)

    @classmethod
    def unknown(cls, rule: str, why: str) -> "Reading":
        """What could not be looked at, with the reason."""
        return cls(rule, None, why, State.UNKNOWN)


@dataclass
class Facts:
    """What one group found: judged figures, plain numbers, charts in Markdown."""

    readings: list[Reading] = field(default_factory=list)
    numbers: dict[str, float | int] = field(default_factory=dict)
    charts: dict[str, str] = field(default_factory=dict)


Reader = Callable[[Database], Facts]


def replication(database: Database) -> Facts:
    """How far BigQuery is behind, what has waited for an hour, since when no sync has closed."""
    waiting = backlog(database, _MOST_CHANGES)
    windows = recent_windows(database)
    syncs, unsynced = _row(database, "health_syncs"), _row(database, "health_unsynced")
    never = syncs["since_closed"] is None
    since = waiting.oldest_seconds if never else syncs["since_closed"]
    return Facts(
        [
            Reading.of("replication_lag", waiting.oldest_seconds, f"{waiting.changes:,} changes wait"),
            Reading.of("unsynced_items", unsynced["items"]),
            Reading.of("sync_failing", since, "no sync has closed yet" if never else ""),
        ],
        {"backlog_changes": waiting.changes, "backlog_bytes": waiting.bytes},
        {"Replication": lag_chart(windows)},
    )


def content(database: Database) -> Facts:
    """Bodies that wait for ZeroDB, and orphans that wait for cleanup."""
    spill, orphans = spill_state(database), _row(database, "health_orphans")
    return Facts(
        [
            Reading.of("spill_oldest", spill.oldest_seconds, f"{spill.bodies:,} bodies wait"),
            Reading.of("orphans_oldest", orphans["oldest_seconds"], f"{orphans['orphans']:,} orphans"),
        ],
        {"spill_bodies": spill.bodies, "spill_bytes": spill.bytes, "orphans": orphans["orphans"]},
    )


def quota(database: Database) -> Facts:
    """Who is refused, and who is near the limit."""
    near = BY_NAME["tenant_usage"].limit
    with database.connection() as connection:
        refused = connection.execute(statement("operations/health_rejections"), {"most": 1000}).fetchall()
        days = connection.execute(statement("operations/health_rejection_days"), {}).fetchall()
        tenants = connection.execute(
            statement("operations/health_tenants"), {"percent": near, "most": _NAMED}
        ).fetchall()
    often = [row for row in refused if BY_NAME["quota_rejections"].is_red(row["rejections"])]
    full = [row for row in tenants if BY_NAME["tenant_usage"].is_red(row["percent"])]
    beyond = tenants[0]["near"] if tenants else 0
    return Facts(
        [
            Reading.of(
                "quota_rejections",
                refused[0]["rejections"] if refused else 0,
                _named(often, len(often), lambda row: f"{row['tenant']} ({row['scopes']})"),
            ),
            Reading.of(
                "tenant_usage",
                tenants[0]["percent"] if tenants else 0.0,
                _named(full, beyond, lambda row: f"{row['tenant']} {row['percent']:.1f} % of {row['plan_tier']}"),
            ),
        ],
        {
            "rejections_today": sum(row["rejections"] for row in refused),
            "tenants_refused_today": len(refused),
            "tenants_near_their_limit": beyond,
        },
        {"Refusals of the last 14 days": _days(days)},
    )


def generation(database: Database) -> Facts:
    """What waits in the queue, and whether somebody works it."""
    batches = open_batches(database)
    alone = [batch for batch in batches if not batch.live]
    longest = max((batch.waiting_seconds or 0.0 for batch in alone), default=0.0)
    return Facts(
        [Reading.of("queue_unattended", longest, f"{len(alone)} of {len(batches)} open batches have nobody")],
        {
            "queue_depth": sum(batch.queued for batch in batches),
            "queue_being_worked": sum(batch.live for batch in batches),
            "queue_oldest_wait_seconds": round(max((b.waiting_seconds or 0.0 for b in batches), default=0.0), 1),
        },
    )


def proof(database: Database) -> Facts:
    """When the copies were last seen to agree, and when a recovery and a backup were last proven."""
    age = _row(database, "health_syncs")["age_seconds"] or 0.0
    seen, drills, backup = _row(database, "health_verified"), _row(database, "health_drills"), last_verified(database)
    since_backup = backup["age_days"] * DAY if backup else None
    said = f"report {seen['last_report']} said {seen['last_outcome']}"
    return Facts(
        [
            _since("last_verified", seen["since_agreed"], age, said if seen["last_report"] else "nothing was compared"),
            _since("last_drill", drills["since_verified"], age, drills["last_scenario"] or "no drill has run"),
            _since("last_backup", since_backup, age, backup["key"] if backup else "there is none"),
        ]
    )


def outboxes(database: Database) -> Facts:
    """What people should have been told by now, and what is open."""
    alerts, notices = _row(database, "alerts_waiting"), waiting_notices(database)
    counted = _row(database, "alerts_counted")
    oldest = max(alerts["oldest_seconds"], notices.oldest_seconds)
    why = alerts["last_error"] or notices.last_error
    text = f"{alerts['waiting']} alerts and {notices.waiting} notices wait" + (f", {why}" if why else "")
    return Facts(
        [Reading.of("undelivered", oldest, text)],
        {"alerts_open": counted["open"], "alerts_muted": counted["muted"], "alerts_last_day": counted["last_day"]},
    )


READERS: Mapping[str, tuple[Reader, tuple[str, ...]]] = {
    "replication": (replication, ("replication_lag", "unsynced_items", "sync_failing")),
    "content": (content, ("spill_oldest", "orphans_oldest")),
    "quota": (quota, ("quota_rejections", "tenant_usage")),
    "generation": (generation, ("queue_unattended",)),
    "proof": (proof, ("last_verified", "last_drill", "last_backup")),
    "outboxes": (outboxes, ("undelivered",)),
}


def read(database: Database, name: str) -> Facts:
    """The facts of one group; all of its rules are unknown where it cannot be read."""
    reader, rules = READERS[name]
    try:
        return reader(database)
    except (Transient, Permanent, psycopg.Error) as error:
        return Facts([Reading.unknown(rule, " ".join(str(error).split())[:300]) for rule in rules])


def forget_rejections(database: Database) -> None:
    """Forget refusals that are older than three months."""
    with database.connection() as connection:
        connection.execute(statement("operations/health_rejections_forget"), {"days": REJECTIONS_KEPT_DAYS})


def _row(database: Database, name: str) -> Row:
    with database.connection() as connection:
        # Bound, though without parameters, so that %% in a file means what it means everywhere else.
        return connection.execute(statement(f"operations/{name}"), {}).fetchone() or {}


def _since(rule: str, seconds: float | None, age: float, text: str) -> Reading:
    """A time since something that has to happen: never is late once the platform is older than the limit."""
    if seconds is not None:
        return Reading.of(rule, seconds, text)
    if BY_NAME[rule].is_red(age):
        return Reading(rule, None, f"never, in {age / DAY:.1f} days: {text}", State.RED)
    return Reading(rule, None, f"not yet: {text}", State.NOT_YET)


def _named(rows: Sequence[Row], count: int, text: Callable[[Row], str]) -> str:
    """At most five of them in words, and how many more."""
    named = "; ".join(text(row) for row in rows[:_NAMED])
    more = count - min(len(rows), _NAMED)
    return named + (f" and {more:,} more" if more > 0 else "")


def _days(rows: Sequence[dict[str, Any]]) -> str:
    counted = [row["rejections"] for row in rows]
    return f"`{bars(counted)}` a day each, today {counted[-1]:,}, at most {max(counted):,}"
