"""Whose turn it is with a stored file: one puts or removes it at a time, in all processes.

A session lock of PostgreSQL, so that it ends with the process that held it; a lease would make the next one wait.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from content_orchestration.core.database import Database
from content_orchestration.core.errors import AlreadyRunning, Transient

_PATIENCE_SECONDS = 600.0
_FIRST_WAIT = 0.02
_LONGEST_WAIT = 0.5


class _Threads:
    """Threads of this process take turns among themselves first: one connection a file asks, not one a thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._users: Counter[str] = Counter()

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
            self._users[name] += 1
        try:
            with lock:
                yield
        finally:
            with self._guard:
                self._users[name] -= 1
                if not self._users[name]:
                    del self._users[name], self._locks[name]


_THREADS = _Threads()


@contextmanager
def object_turn(
    database: Database,
    tenant_id: UUID,
    key: str,
    *,
    patience: float = _PATIENCE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Nobody else puts, adopts or removes this file of the tenant meanwhile. Raises `Transient` after `patience` s.

    Ingest holds it from the look for the object to the commit of its row. Who removes a file holds it too, sees under
    the row lock of `media_objects` that no live row references it, deletes that row, commits, and then the bytes.
    """
    name = f"media:{tenant_id}:{key}"
    end = clock() + patience
    with _THREADS.turn(name):
        wait = _FIRST_WAIT
        while True:
            lock = database.advisory_lock(name)
            try:
                lock.__enter__()
            except AlreadyRunning as error:
                if clock() >= end:
                    raise Transient(f"{key} is being stored by somebody else for more than {patience:.0f} s") from error
                sleep(random.uniform(wait / 2, wait))  # noqa: S311  (jitter)
                wait = min(2 * wait, _LONGEST_WAIT)
                continue
            break
        try:
            yield
        finally:
            lock.__exit__(None, None, None)
