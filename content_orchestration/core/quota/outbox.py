"""Delivers what waits in an outbox: notices of the ledger, and alerts. What they say is not this module's.

An outbox is a table whose rows carry a lease and the record of their deliveries. A notice is claimed under the lease,
sent to each target that lacks it, and each success is written down before the next send. A process that dies between a
send and that mark leaves the notice claimed; after the lease it goes once more to that one target, with the same id. A
file recognises the id and keeps one line; mail and chat cannot, so a crash in that moment (one database round trip)
tells one notice twice there. The other order would lose it instead.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection
from psycopg.sql import SQL, Composed, Identifier

from content_orchestration.core import failpoints
from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.quota.notice_text import Message, Notice, Target, message_of
from content_orchestration.core.sql import statement

LEASE_SECONDS = 300.0
"""Five times what a send may take. A notice whose deliverer died waits for the rest of it."""
_FIRST_WAIT = 30.0
_LONGEST_WAIT = 3600.0
# A target that failed this often in a pass is left out of the rest of it: each try would cost its timeout.
_GIVE_UP_AFTER = 3
_SAMPLE = 20


@dataclass
class DeliveryReport:
    """What one pass did. `delivered` reached every target, `failed` wait for their next attempt, `lost` a lease."""

    delivered: int = 0
    throttled: int = 0
    failed: int = 0
    lost: int = 0
    sends: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    def as_metadata(self) -> dict[str, Any]:
        """For the asset's metadata."""
        return {
            "delivered": self.delivered,
            "throttled": self.throttled,
            "failed": self.failed,
            "lost_leases": self.lost,
            "sends_by_target": dict(self.sends),
            "errors": self.errors[:_SAMPLE],
        }


@dataclass(frozen=True)
class Outbox:
    """A table to deliver from: how a claimed row reads as a message, and which rows are not to be told after all.

    The table has the columns of revision 0006's lease: id, suppressed, attempts, next_attempt_at, claim_token,
    claimed_until, delivered_to, delivered_at, last_error.
    """

    table: str
    message: Callable[[Connection[Row], Row], Message]
    let_through: Callable[[Connection[Row], Row], bool]


def _notice(connection: Connection[Row], row: Row) -> Message:
    names = connection.execute(statement("quota/notice_names"), row).fetchone() or {}
    texts = {name: None if row[name] is None else str(row[name]) for name in ("tenant_id", "brand_id")}
    known = row | texts | names
    return message_of(Notice(**{name: known[name] for name in Notice.__dataclass_fields__}))


def _first_today(connection: Connection[Row], row: Row) -> bool:
    """Whether the notice does not repeat what was told today; one that does is kept, and never sent."""
    if connection.execute(statement("quota/notice_let_through"), row).fetchone() is not None:
        return True
    connection.execute(statement("quota/notice_throttle"), row)
    return False


NOTICES = Outbox("quota_notices", _notice, _first_today)


@dataclass(frozen=True)
class Waiting:
    """What is in the outbox and not delivered: how many, how many of them due, the oldest's age, the worst case."""

    waiting: int
    due: int
    oldest_seconds: float
    attempts: int
    last_error: str | None

    def as_metadata(self) -> dict[str, Any]:
        """For the metadata of asset and check."""
        return {
            "waiting": self.waiting,
            "due": self.due,
            "oldest_seconds": round(self.oldest_seconds, 1),
            "most_attempts": self.attempts,
            "last_error": self.last_error or "none",
        }


def waiting(database: Database) -> Waiting:
    """What waits in the outbox."""
    with database.connection() as connection:
        row = connection.execute(statement("quota/notices_waiting")).fetchone() or {}
    return Waiting(row["waiting"], row["due"], row["oldest_seconds"], row["attempts"], row["last_error"])


def deliver(
    database: Database,
    targets: Sequence[Target],
    *,
    outbox: Outbox = NOTICES,
    most: int = 500,
    most_seconds: float = 3600.0,
    lease_seconds: float = LEASE_SECONDS,
    jitter: Callable[[], float] = random.random,
    clock: Callable[[], float] = time.monotonic,
) -> DeliveryReport:
    """Send what is due, at most `most` notices, none begun after `most_seconds`. Any number may deliver at once.

    A failure is written to the notice and tried again after 30 s, doubling up to an hour, jittered; it raises nothing.
    """
    report = DeliveryReport()
    failures: Counter[str] = Counter()
    ends = clock() + most_seconds
    for _ in range(most):
        if clock() >= ends:
            break
        claimed = _claim(database, outbox, lease_seconds)
        if claimed is None:
            break
        if claimed.message is None:
            report.throttled += 1
            continue
        _send(claimed, claimed.message, targets, failures, report, jitter)
    return report


class _Claim:
    """One claimed row; every write names its token, and says whether the claim still held.

    `message` is None for a row that is not to be told after all.
    """

    def __init__(
        self, database: Database, outbox: Outbox, row: Row, message: Message | None, lease_seconds: float
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._values = {"id": row["id"], "claim_token": row["claim_token"], "lease_seconds": lease_seconds}
        self.delivered_to = set(row["delivered_to"])
        self.attempts: int = row["attempts"]
        self.message = message

    def write(self, name: str, **values: Any) -> bool:
        with self._database.connection() as connection:
            cursor = connection.execute(_on(self._outbox, f"quota/{name}"), self._values | values)
            return cursor.fetchone() is not None


def _claim(database: Database, outbox: Outbox, lease_seconds: float) -> _Claim | None:
    """The next row that is due, claimed."""
    with database.connection() as connection:
        row = connection.execute(_on(outbox, "quota/outbox_claim"), {"lease_seconds": lease_seconds}).fetchone()
        if row is None:
            return None
        message = outbox.message(connection, row) if outbox.let_through(connection, row) else None
    return _Claim(database, outbox, row, message, lease_seconds)


def _on(outbox: Outbox, name: str) -> Composed:
    """The statement on the outbox's table: PostgreSQL binds no identifiers."""
    return SQL(statement(name)).format(outbox=Identifier(outbox.table))


def _send(
    claim: _Claim,
    message: Message,
    targets: Sequence[Target],
    failures: Counter[str],
    report: DeliveryReport,
    jitter: Callable[[], float],
) -> None:
    errors: list[str] = []
    for target in targets:
        if target.name in claim.delivered_to:
            continue
        if failures[target.name] >= _GIVE_UP_AFTER:
            errors.append(f"{target.name} failed {_GIVE_UP_AFTER} times in this pass and was not asked again")
            continue
        if not claim.write("outbox_hold"):
            report.lost += 1
            return
        error = _attempt(target, message)
        if error is not None:
            failures[target.name] += 1
            errors.append(error)
            continue
        failures[target.name] = 0
        report.sends[target.name] += 1
        failpoints.reach("notice_sent")
        if not claim.write("outbox_sent", target=target.name):
            report.lost += 1
            return
    if errors:
        report.errors += errors
        wait = backoff(claim.attempts) * (0.5 + jitter() / 2)
        report.failed += claim.write("outbox_failed", wait_seconds=wait, error="; ".join(errors))
    else:
        report.delivered += claim.write("outbox_done")


def _attempt(target: Target, message: Message) -> str | None:
    """Why the target did not take the message, None when it did."""
    try:
        target.send(message)
    except (Transient, Permanent) as error:
        return str(error)
    return None


def backoff(attempts: int) -> float:
    """Seconds until the next attempt after so many: 30, 60, 120 … 3,600. Never given up."""
    return min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(attempts - 1, 10))
