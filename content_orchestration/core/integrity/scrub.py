"""The scrub: reads a share of all bodies at each call, such that each is read once within a given time.

How a body is compared is in `bodies.py`. Kept here: where the walk stands, how large a share is, and what must be told
before the walk moves on.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from content_orchestration.core.database import Database
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.failpoints import reach
from content_orchestration.core.integrity.bodies import (
    BODIES,
    COLLECTION,
    LEAST_ROWS,
    START,
    Position,
    named_bodies,
    read_page,
)
from content_orchestration.core.integrity.findings import Comparison
from content_orchestration.core.integrity.looking import Clock, looking
from content_orchestration.core.integrity.pairs import Pairs
from content_orchestration.core.sql import statement

LOCK = "body_scrub"

_HOUR = timedelta(hours=1)
_GIB = 1024**3
# Rows that a call takes in any case: so few cost some tens of milliseconds, and a small store is read more often.
_LEAST_SHARE = 400
_PAGE = 2000


@dataclass
class _Progress:
    """The cycle: where it stands, since when, and what it has read."""

    position: Position
    cycle_started_at: datetime
    bodies: int = 0
    bytes: int = 0

    @classmethod
    def read(cls, database: Database, now: datetime) -> Self:
        """The cycle that is under way, or a new one."""
        with database.connection() as connection:
            row = connection.execute(statement("integrity/scrub_read"), {"scope": COLLECTION}).fetchone()
        if row is None or row["cycle_completed_at"] is not None or row["cycle_started_at"] is None:
            return cls(START, now)
        position = Position.parse(row["position"]) if row["position"] is not None else START
        return cls(position, row["cycle_started_at"], row["bodies"], row["bytes"])

    def write(self, database: Database, completed_at: datetime | None) -> None:
        values = {
            "scope": COLLECTION,
            "position": str(self.position),
            "cycle_started_at": self.cycle_started_at,
            "completed_at": completed_at,
            "bodies": self.bodies,
            "bytes": self.bytes,
        }
        with database.connection() as connection:
            connection.execute(statement("integrity/scrub_write"), values)


def scrub_bodies(
    database: Database,
    store: DocumentStore,
    *,
    share_of: timedelta,
    now: datetime,
    every: timedelta = _HOUR,
    max_rows: int = 500_000,
    max_bytes: int = 4 * _GIB,
    on_found: Callable[[Comparison], None] = lambda comparison: None,
    clock: Clock = time.monotonic,
) -> Comparison:
    """Compare the next bodies with their rows: so many that all are read within `share_of` of the cycle's beginning.

    every: between two calls; one that comes late takes more. max_rows, max_bytes: what one call reads at most, by the
    sizes that rows name; what it then lacks is in the notes as `rows_behind`. on_found: called with what differs before
    the position moves past it: who writes it down there loses nothing in a crash. After a kill the next call goes on
    where this one was. Of two calls at once, one is unknown.
    """
    with looking("bodies_scrub", clock) as comparison, database.advisory_lock(LOCK):
        progress = _Progress.read(database, now)
        rows_left = _rows_left(database, progress.position)
        share = _share(rows_left, min(share_of, progress.cycle_started_at + share_of - now), every)
        call = _Call(database, Pairs(database, store, BODIES, comparison), comparison, progress)
        finished = False
        try:
            finished = call.read(min(share, max_rows), max_bytes)
        finally:
            _tell(comparison, progress, rows_left - call.rows, 0 if finished else max(0, share - call.rows))
            if comparison.differences:
                on_found(comparison)
            progress.write(database, now if finished else None)
    return comparison


@dataclass
class _Call:
    """One call's walk."""

    database: Database
    pairs: Pairs
    comparison: Comparison
    progress: _Progress
    rows: int = 0

    def read(self, most_rows: int, most_bytes: int) -> bool:
        """Read pages until the end or a bound; True at the end. `progress` has what was compared, even on an error."""
        size = 0
        while True:
            limit = max(LEAST_ROWS, min(_PAGE, most_rows - self.rows))
            page = read_page(self.database, self.progress.position, limit)
            named = list(named_bodies(page.rows))
            self.pairs.compare(named)
            self.pairs.settle()
            read = sum(each.size for each in named)
            size += read
            self.rows += len(page.rows)
            self.progress.position = page.reached
            self.progress.bodies += len(named)
            self.progress.bytes += read
            reach("scrub_page_compared")
            if page.last or self.rows >= most_rows or size >= most_bytes:
                return page.last
            # Past what nobody has been told of the position does not move: a kill would lose it for days.
            if self.comparison.outcome == "agree":
                self.progress.write(self.database, None)
                reach("scrub_page_recorded")


def _rows_left(database: Database, position: Position) -> int:
    values = {"content_id": position.content_id, "version": position.version}
    with database.connection() as connection:
        row = connection.execute(statement("integrity/bodies_left"), values).fetchone()
    return int(row["rows_left"]) if row else 0


def _share(rows_left: int, time_left: timedelta, every: timedelta) -> int:
    """Rows that this call has to read for the rest to be read in time; all of them where this is the last call."""
    calls = max(1, time_left // every)
    return max(_LEAST_SHARE, math.ceil(rows_left / calls))


def _tell(comparison: Comparison, progress: _Progress, rows_left: int, rows_behind: int) -> None:
    comparison.notes |= {
        "cycle_started_at": progress.cycle_started_at.isoformat(),
        "bodies_in_cycle": progress.bodies,
        "bytes_in_cycle": progress.bytes,
        "rows_left": max(0, rows_left),
        "rows_behind": rows_behind,
    }
