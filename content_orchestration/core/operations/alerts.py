"""Alerts: told once when a cause shows, and once more when it is over. What they say is `alert_text.py`'s.

A sign opens an alert or adds to the open one of its cause; a sign of health ends it. Both may be repeated, come late or
come from several ticks at once: the database decides. Delivering is `core/quota/outbox.py`, under its leases.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum

from psycopg import Connection

from content_orchestration.core.database import Database, Row
from content_orchestration.core.failpoints import reach
from content_orchestration.core.operations.alert_text import message_of
from content_orchestration.core.quota.outbox import Outbox, Waiting
from content_orchestration.core.sql import statement

QUIET_DAYS = 7
KEPT_DAYS = 90
# Partitions that one alert names. A job that fails for more is not well until a run without a partition succeeds.
_MOST_SCOPES = 500
_QUIET = f"nothing more of it was seen for {QUIET_DAYS} days; nothing proves that it is over"
_UNDEFINED = "it is not defined any more"


class Kind(StrEnum):
    """What an alert is about."""

    RUN = "run"
    CHECK = "check"
    THRESHOLD = "threshold"


@dataclass(frozen=True)
class Sign:
    """One sign that something is wrong. `event` is Dagster's event id, 0 where it is no event.

    `subject` is the job, the check (`asset: name`) or the rule; `scope` the partition of a run, empty for none.
    """

    kind: Kind
    subject: str
    error_class: str
    summary: str
    reason: str
    next_step: str
    link: str
    scope: str = ""
    event: int = 0

    @property
    def cause(self) -> str:
        """What makes two signs the same."""
        return f"{self.kind}|{self.subject}|{self.error_class}"


@dataclass(frozen=True)
class OpenAlert:
    """An alert that is not over."""

    id: int
    kind: Kind
    subject: str
    cause: str
    scopes: Sequence[str]
    summary: str
    reason: str
    occurrences: int
    opened_at: datetime
    last_seen_at: datetime
    suppressed: str | None
    delivered_at: datetime | None


def raise_alert(database: Database, sign: Sign) -> bool:
    """Write a sign down; True where it opened an alert. Repeating it, or showing it late, adds nothing."""
    values = {name: _clean(value) if isinstance(value, str) else value for name, value in asdict(sign).items()} | {
        "cause": _clean(sign.cause),
        "scopes": [_clean(sign.scope)],
        "most_scopes": _MOST_SCOPES,
    }
    with _writing(database) as connection:
        row = connection.execute(statement("operations/alerts_raise"), values).fetchone()
    reach("alert_raised")
    return bool(row and row["opened"])


def resolve(database: Database, kind: Kind, subject: str, ended_by: str, *, scope: str = "", event: int = 0) -> int:
    """End the alerts of a subject that is well again; how many ended. Those of other partitions than `scope` go on."""
    values = {"kind": kind, "subject": subject, "scope": scope, "event": event, "ended_by": ended_by}
    with _writing(database) as connection:
        ended = len(connection.execute(statement("operations/alerts_resolve"), values).fetchall())
    reach("alert_resolved")
    return ended


def close_forgotten(database: Database, kind: Kind, subjects: Sequence[str]) -> int:
    """End alerts of checks or rules that are not among `subjects` any more, and of runs that were quiet for a week.

    The message says that nothing proves them over.
    """
    values = {
        "kind": kind, "subjects": list(subjects), "days": QUIET_DAYS, "quiet": _QUIET, "undefined": _UNDEFINED,
    }  # fmt: skip
    with _writing(database) as connection:
        return len(connection.execute(statement("operations/alerts_close"), values).fetchall())


def forget_old(database: Database) -> int:
    """Remove alerts that ended and were told three months ago."""
    with database.connection() as connection:
        return connection.execute(statement("operations/alerts_forget"), {"days": KEPT_DAYS}).rowcount


def open_alerts(database: Database) -> list[OpenAlert]:
    """What is open, the oldest first."""
    with database.connection() as connection:
        rows = connection.execute(statement("operations/alerts_open")).fetchall()
    return [OpenAlert(**row | {"kind": Kind(row["kind"])}) for row in rows]


def waiting(database: Database) -> Waiting:
    """What targets lack."""
    with database.connection() as connection:
        row = connection.execute(statement("operations/alerts_waiting")).fetchone() or {}
    return Waiting(row["waiting"], row["due"], row["oldest_seconds"], row["attempts"], row["last_error"])


ALERTS = Outbox("platform_alerts", lambda connection, row: message_of(row), lambda connection, row: True)
"""The outbox of alerts, for `deliver`."""


@contextmanager
def _writing(database: Database) -> Iterator[Connection[Row]]:
    with database.connection() as connection:
        connection.execute(statement("operations/alerts_lock"))
        yield connection


def _clean(text: str) -> str:
    """What PostgreSQL can hold: an error may quote a zero byte or half a surrogate pair."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
