"""The rules that stop a pass of cleanup before it removes anything: fail closed, name the rule, name the way out.

What makes one row an orphan is `sql/cleanup/orphan_lock.sql`; legal holds are kept in `holds.py`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self
from uuid import UUID

from psycopg import Connection

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Permanent
from content_orchestration.core.sql import statement

CEILING_FLOOR = 1_000
"""Candidates that are never too many: below this a percentage says nothing."""
MOST_DRIFT = timedelta(minutes=5)
"""How far the clocks of the database and of this machine may be apart, and either may move against the other."""
LONGEST_PAUSE = timedelta(days=7)
"""A pass that finds the last one longer ago than this asks whether the clock jumped; the next one goes on."""
_CLOCK = "clock"
_SAVES = "saves"


class Refused(Permanent):
    """A rule stops the pass, and nothing was removed. `rule` is its short name, for checks and alerts."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(f"{rule}: {message}. Nothing was removed")
        self.rule = rule


@dataclass(frozen=True)
class NeverDelete:
    """Tenants and `bucket/path` prefixes of which nothing is removed. A prefix ends at a `/` or with the whole path."""

    tenants: frozenset[UUID] = frozenset()
    prefixes: tuple[str, ...] = ()

    @classmethod
    def of(cls, tenants: str, prefixes: str) -> Self:
        """From texts with blanks between, as the settings hold them. Raises `ValueError` for what is no tenant's id."""
        return cls(frozenset(map(UUID, tenants.split())), tuple(prefixes.split()))

    def forbids(self, tenant_id: UUID | None, location: str | None = None) -> str | None:
        """Why nothing of this tenant, or at this `bucket/path`, may go; None where it may."""
        if tenant_id in self.tenants:
            return "never_delete_tenant"
        for prefix in self.prefixes:
            kept = prefix.strip("/")
            if location is not None and (location == kept or location.startswith(f"{kept}/")):
                return "never_delete_prefix"
        return None


def ceiling(objects: int, percent: float) -> int:
    """How many candidates of so many objects are believed."""
    return max(CEILING_FLOOR, int(objects * percent / 100))


def check_ceiling(candidates: int, objects: int, percent: float) -> None:
    """Raise `Refused` where more than `percent` of all objects, and more than the floor, are candidates."""
    most = ceiling(objects, percent)
    if candidates > most:
        raise Refused(
            "ceiling",
            f"{candidates:,} of about {objects:,} objects are candidates, more than {most:,} "
            f"(CLEANUP_MAX_CANDIDATE_PERCENT is {percent:g}, the floor {CEILING_FLOOR:,}): see whether references were "
            "lost, and where they are not, raise CLEANUP_MAX_CANDIDATE_PERCENT for this run",
        )


def check_references(connection: Connection[Row], *, remember: bool) -> None:
    """Raise `Refused` where no asset names a render though some did at an earlier pass.

    `remember` writes down that there are some. An error while looking is the caller's, and ends its pass as well.
    """
    connection.execute(statement("cleanup/by_index"))
    found = connection.execute(statement("cleanup/references_there")).fetchone() or {}
    known = connection.execute(statement("cleanup/memory_read"), {"name": _SAVES}).fetchone()
    if found["present"]:
        if remember and known is None:
            connection.execute(statement("cleanup/memory_write"), _memory(_SAVES, counted=1))
    elif known is not None:
        raise Refused(
            "empty_references",
            "user_assets names no render at all, but it did at an earlier pass: restore it; where every save was "
            "really taken back, say so with accept_empty_references",
        )


def accept_empty_references(database: Database) -> None:
    """Let passes go on though nothing is saved any more; for people who looked."""
    with database.connection() as connection:
        connection.execute(statement("cleanup/memory_forget"), {"name": _SAVES})


def check_clock(database: Database, clock: Callable[[], float] = time.time) -> datetime:
    """The database's time in UTC, by which all ages are measured. Raises `Refused` where a clock jumped.

    `clock` is this machine's, in seconds since 1970. The times are written down for the next pass, also by the one
    that found it too long since the last: a pause of weeks stops one pass, and a jump stops every one that sees it.
    """
    machine = datetime.fromtimestamp(clock(), UTC)
    with database.connection() as connection:
        now: datetime = (connection.execute(statement("cleanup/now")).fetchone() or {})["now"]
        known = connection.execute(statement("cleanup/memory_read"), {"name": _CLOCK}).fetchone()
        if abs(now - machine) > MOST_DRIFT:
            raise Refused(
                "clock",
                f"the database says {now.isoformat()}, this machine {machine.isoformat()}: more than {MOST_DRIFT} "
                "apart; set the clock that is wrong",
            )
        if known is not None and now < known["at"] - MOST_DRIFT:
            raise Refused(
                "clock",
                f"the database says {now.isoformat()}, but an earlier pass ran at {known['at'].isoformat()}: its clock "
                "went back; set it right, or wait until it has passed that moment",
            )
        connection.execute(statement("cleanup/memory_write"), _memory(_CLOCK, counted=0))
    if known is not None and now - known["at"] > LONGEST_PAUSE:
        raise Refused(
            "clock",
            f"the last pass ran at {known['at'].isoformat()}, the database says {now.isoformat()}: more than "
            f"{LONGEST_PAUSE.days} days. If its clock did not jump, the next pass goes on",
        )
    return now


def _memory(name: str, *, counted: int) -> dict[str, object]:
    return {"name": name, "counted": counted, "position": None, "finished": False}
