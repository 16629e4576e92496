"""What every pass over orphaned renders works with: database, stores, rules, and who and what is never touched."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from psycopg import Connection

from content_orchestration.core.cleanup.addresses import RenderPlaces
from content_orchestration.core.cleanup.guards import NeverDelete, check_ceiling, check_clock, check_references
from content_orchestration.core.cleanup.model import OrphanRules
from content_orchestration.core.cleanup.stores import RenderStores
from content_orchestration.core.database import Database, Row
from content_orchestration.core.sql import statement

LOCK = "orphaned_renders"
"""The session lock under which files move: quarantine, delete, undo and bring_back never run beside each other."""


@dataclass(frozen=True)
class OrphanContext:
    """Given to every pass. `clock` is this machine's, compared with the database's and used for nothing else.

    `percent` is CLEANUP_MAX_CANDIDATE_PERCENT, `workers` how many files move at once.
    """

    database: Database
    stores: RenderStores
    places: RenderPlaces
    rules: OrphanRules = field(default_factory=OrphanRules)
    never: NeverDelete = field(default_factory=NeverDelete)
    percent: float = 1.0
    clock: Callable[[], float] = time.time
    workers: int = 4

    @contextmanager
    def moving_files(self) -> Iterator[None]:
        """Hold the lock. Raises `AlreadyRunning` while another pass moves files."""
        with self.database.advisory_lock(LOCK):
            yield

    def guarded(self, candidates: str) -> datetime:
        """The database's time, if no rule stops a pass over what `sql/cleanup/<candidates>.sql` counts.

        Raises `Refused`: clock, references or ceiling.
        """
        now = check_clock(self.database, self.clock)
        with self.database.connection() as connection:
            check_references(connection, remember=True)
            found = connection.execute(statement(f"cleanup/{candidates}"), {"now": now}).fetchone() or {}
            objects = connection.execute(statement("cleanup/orphan_objects")).fetchone() or {}
        check_ceiling(found["candidates"], objects["objects"], self.percent)
        return now

    def cutoff(self, now: datetime) -> datetime:
        """A render that was completed later is young."""
        return now - self.rules.minimum_age


def database_time(connection: Connection[Row]) -> datetime:
    """The time by the database, in UTC."""
    now: datetime = (connection.execute(statement("cleanup/now")).fetchone() or {})["now"]
    return now
