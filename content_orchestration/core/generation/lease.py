"""The heartbeat: its own thread and its own connection, so that slow work is never taken for dead (TRAPS 13)."""

import threading
from collections.abc import Iterable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Self
from uuid import UUID

from psycopg import Connection

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Transient
from content_orchestration.core.generation.model import Claimed
from content_orchestration.core.generation.submit import RESERVATION_TTL
from content_orchestration.core.quota.at_once import at_once, one
from content_orchestration.core.sql import statement

_QUEUES_A_REAP = 100


def renew(connection: Connection[Row], held: Iterable[tuple[str, int]], lease: timedelta) -> set[str]:
    """Renew leases of (id, token); the ids whose fence has moved, which are lost for good."""
    pairs = list(held)
    values = {"ids": [one_id for one_id, _ in pairs], "tokens": [token for _, token in pairs], "lease": lease}
    return {row["id"] for row in connection.execute(statement("generation/renew"), values).fetchall()}


def renew_reservations(connection: Connection[Row], batches: Sequence[UUID] | None) -> int:
    """Let the reservations of batches live on, of all open ones where none are named; how many were near their end."""
    values = {"batches": None if batches is None else list(batches), "ttl": RESERVATION_TTL}
    return connection.execute(statement("generation/renew_reservations"), values).rowcount


class Heartbeat:
    """Renews the leases of a worker's items, and their batches' reservations, while the worker works.

    Every beat also reaps what other workers left: so a crash is noticed for as long as anybody works. An outage of
    PostgreSQL is waited out: `unreachable` says so, and whether an item was lost is not known before it ends.
    """

    def __init__(
        self, database: Database, *, lease: timedelta, every: timedelta | None = None, reap: bool = True
    ) -> None:
        """`every` is the time between two beats, a third of the lease where it is None."""
        self._database = database
        self._lease = lease
        self._every = (every or lease / 3).total_seconds()
        self._reap = reap
        self._guard = threading.Lock()
        self._held: dict[str, Claimed] = {}
        self._lost: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="generation-heartbeat", daemon=True)
        self.unreachable: str | None = None
        self.error: BaseException | None = None
        self.beats = 0

    def add(self, claimed: Claimed | Iterable[Claimed]) -> None:
        """Keep these alive. One that was lost before and claimed anew counts as held again."""
        with self._guard:
            for item in [claimed] if isinstance(claimed, Claimed) else claimed:
                self._held[item.id] = item
                self._lost.discard(item.id)

    def discard(self, claimed: Claimed | Iterable[Claimed]) -> None:
        """These have ended; their leases are nobody's concern any more."""
        with self._guard:
            for item in [claimed] if isinstance(claimed, Claimed) else claimed:
                held = self._held.get(item.id)
                if held is not None and held.token == item.token:
                    del self._held[item.id]

    @property
    def lost(self) -> set[str]:
        """Ids that somebody else holds by now, or that were cancelled: stop working on them."""
        with self._guard:
            return set(self._lost)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                with at_once(self._database) as connection:
                    while not self._ended.wait(self._every):
                        self._beat(connection)
                        self.unreachable = None
            except Transient as error:
                self.unreachable = str(error)
                self._ended.wait(min(1.0, self._every))
            except Exception as error:  # noqa: BLE001  (whatever ends the thread must be seen by the worker)
                self.error = error
                return

    def _beat(self, connection: Connection[Row]) -> None:
        with self._guard:
            held = dict(self._held)
        if held:
            gone = renew(connection, ((item.id, item.token) for item in held.values()), self._lease)
            with self._guard:
                for one_id in gone:
                    # It may have ended in good order, or have been claimed anew, since the beat began.
                    if self._held.get(one_id) is held[one_id]:
                        del self._held[one_id]
                        self._lost.add(one_id)
            batches = sorted({item.batch_id for item in held.values() if item.batch_id is not None})
            renew_reservations(connection, batches)
        if self._reap:
            one(connection, "generation/reap", {"most": _QUEUES_A_REAP})
        self.beats += 1
