"""Counts how often the ledger says no, a tenant and day, beside the refused transaction: that one may be rolled back.

Counting must cost nobody anything: a refusal is noted in memory, and written in batches. It never raises, since a lost
count matters less than the answer that it is about. What is counted is read by `core/operations/`.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from uuid import UUID
from weakref import WeakKeyDictionary

import psycopg

from content_orchestration.core.database import Database
from content_orchestration.core.errors import ContentError
from content_orchestration.core.quota.at_once import at_once
from content_orchestration.core.sql import statement

# The alarm rings above ten a day: that far each refusal is written as it happens, beyond it once a second.
WRITTEN_AT_ONCE = 20
SECONDS_BETWEEN = 1.0
# Tenants, and (tenant or reservation, scope) that wait while PostgreSQL does not take them. More are dropped.
_MOST = 10_000

_Key = tuple[UUID | None, UUID | None, str]


class Rejections:
    """The refusals that this process has noted and not written yet, of one database. Thread-safe."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._waiting: Counter[_Key] = Counter()
        self._at_once: Counter[UUID | None] = Counter()
        self._last = clock() - SECONDS_BETWEEN

    def note(self, scope: str, *, tenant: UUID | None = None, reservation: UUID | None = None) -> None:
        """Remember one refusal of a tenant, or of the tenant that a reservation belongs to. Writes nothing."""
        key = (tenant, None if tenant else reservation, scope)
        with self._guard:
            if key in self._waiting or len(self._waiting) < _MOST:
                self._waiting[key] += 1

    def write_when_due(self, database: Database) -> None:
        """Write what waits: a tenant's first ones at once, later ones at most once a second; else it does nothing.

        It takes a connection of its own: not to be called by who holds one.
        """
        if not self._waiting:
            return
        with self._guard:
            now = self._clock()
            fresh = any(self._at_once[tenant] < WRITTEN_AT_ONCE for tenant, _, _ in self._waiting)
            if not fresh and now - self._last < SECONDS_BETWEEN:
                return
            taken, self._waiting = self._waiting, Counter()
            if len(self._at_once) > _MOST:
                self._at_once.clear()
            self._at_once.update({tenant for tenant, _, _ in taken})
            self._last = now
        try:
            with at_once(database) as connection:
                connection.execute(
                    statement("quota/count_rejections"),
                    {
                        "tenants": [tenant for tenant, _, _ in taken],
                        "reservations": [reservation for _, reservation, _ in taken],
                        "scopes": [scope for _, _, scope in taken],
                        "counts": list(taken.values()),
                    },
                )
        except (ContentError, psycopg.Error):
            # PostgreSQL is away, or its schema is older than this program: the counts wait for the next refusal.
            with self._guard:
                self._waiting.update(taken)


_of_databases: WeakKeyDictionary[Database, Rejections] = WeakKeyDictionary()
_guard = threading.Lock()


def rejections_of(database: Database) -> Rejections:
    """The counter that every ledger of this database shares in this process: ledgers are made for single calls, too."""
    with _guard:
        return _of_databases.setdefault(database, Rejections())
