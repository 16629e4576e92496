"""One chunk from the history into the tiers, in the order that keeps them true: check, bodies, rows, then look again.

Safe to use from several threads; each chunk is a transaction of its own.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from content_orchestration.core.database import Database
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.errors import Transient
from content_orchestration.core.failpoints import reach
from content_orchestration.core.integrity.bodies import check_ids
from content_orchestration.core.integrity.findings import samples
from content_orchestration.core.replication.load import wait_seconds
from content_orchestration.core.replication.tables import CONTENT_STORAGE, Entity
from content_orchestration.core.restore.check import checked
from content_orchestration.core.restore.documents import Documents
from content_orchestration.core.restore.history import Chunk, History
from content_orchestration.core.restore.record import RestoreRecord
from content_orchestration.core.restore.rows import write_rows
from content_orchestration.core.restore.target import TargetTable

CHECKED = "checked"
"""The stage of the integrity check, in `restore_progress`; the other stages are entities."""
_ATTEMPTS = 3


class Stopwatch:
    """Seconds by stage, added up over threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the seconds of a block."""
        started = self._clock()
        try:
            yield
        finally:
            with self._guard:
                self.seconds[name] = self.seconds.get(name, 0.0) + self._clock() - started


class ChunkWork:
    """Does the chunks of one restore that are not done yet."""

    def __init__(
        self,
        database: Database,
        store: DocumentStore,
        history: History,
        record: RestoreRecord,
        tables: Mapping[str, TargetTable],
        watch: Stopwatch,
        sleep: Callable[[float], None],
    ) -> None:
        self._database = database
        self._store = store
        self._history = history
        self._record = record
        self._tables = tables
        self._watch = watch
        self._sleep = sleep
        self._request = record.plan.request
        self._documents = Documents(store, self._request.target, self._request.on_conflict)
        self._done = record.done()
        # Entities of which the target was found to hold rows: an insert of theirs would be in vain.
        self._occupied: set[str] = set()

    def do(self, entity: Entity, chunk: Chunk) -> None:
        """Restore a chunk, then check it. The clients retry their requests; a whole chunk is tried three times."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                if chunk.number not in self._done.get(entity.name, {}):
                    self._restore(entity, chunk)
                    self._done.setdefault(entity.name, {})[chunk.number] = {}
                if self._to_check(entity) and chunk.number not in self._done.get(CHECKED, {}):
                    self._check(entity, chunk)
                return
            except Transient as error:
                if attempt == _ATTEMPTS:
                    raise
                self._sleep(wait_seconds(attempt, error))

    def _restore(self, entity: Entity, chunk: Chunk) -> None:
        with self._watch.stage("read"):
            table = self._history.read(entity, chunk)
        with self._watch.stage("hash"):
            found = checked(table, entity, documents=self._request.bodies_wanted)
        del table
        rows, aside = found.rows, found.rejected
        outcome: dict[str, Any] = {}
        if self._request.bodies_wanted:
            with self._watch.stage("documents"):
                rows, unfit, stored = self._documents.put(entity, rows)
            aside = [*aside, *unfit]
            outcome |= {"documents": stored.as_json()}
            reach("restore_bodies_put")
        with self._watch.stage("rows"), self._database.connection() as connection:
            if self._request.rows_wanted:
                written, refused = write_rows(
                    connection,
                    self._tables[entity.name],
                    rows,
                    self._request.on_conflict,
                    insert_first=entity.name not in self._occupied,
                )
                if refused or not written.plain:
                    self._occupied.add(entity.name)
                aside = [*aside, *refused]
                outcome |= {"rows": written.as_json(), "tenants": sorted({row.tenant_id for row in rows})}
            reach("restore_rows_written")
            self._record.finish(connection, entity.name, chunk.number, outcome, aside)
        reach("restore_chunk_done")

    def _to_check(self, entity: Entity) -> bool:
        """Where a part of the live content was restored, it is held against all rows that name it.

        Of everything each body was read back and each row printed while it was written, which proves the same.
        """
        request = self._request
        partial = request.scope.kind != "everything"
        return entity is CONTENT_STORAGE and partial and request.bodies_wanted and request.target.live

    def _check(self, entity: Entity, chunk: Chunk) -> None:
        with self._watch.stage("integrity"):
            found = check_ids(self._database, self._store, self._history.ids(entity, chunk))
        outcome = {
            "attempted": found.attempted,
            "compared": found.compared,
            "differences": found.counts,
            "samples": samples(found.differences)[:5],
            "unknown": found.unknown,
        }
        with self._database.connection() as connection:
            self._record.finish(connection, CHECKED, chunk.number, outcome, [])
        reach("restore_chunk_checked")
