"""One sync: finish what was left open, then window after window until the change log is read.

Every step is written down before it is done (`replication_windows`, `replication_parts`), so a run that is killed
anywhere is finished by the next one, without a row lost or loaded twice.
"""

import json
import time
from collections.abc import Callable
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, BinaryIO
from uuid import UUID

from content_orchestration.core.database import Database
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.errors import Transient
from content_orchestration.core.failpoints import reach
from content_orchestration.core.replication.extract import BodyReader, changed_rows
from content_orchestration.core.replication.keys import reconcile_keys
from content_orchestration.core.replication.load import Loader, wait_seconds
from content_orchestration.core.replication.maintenance import maintain_change_log
from content_orchestration.core.replication.payload import ParquetFile, single_row
from content_orchestration.core.replication.tables import REPLICATED, SYNC_LOG, Entity
from content_orchestration.core.replication.window import Part, Window, WindowLog
from content_orchestration.core.sql import statement
from content_orchestration.core.warehouse import Warehouse

LOCK = "replication"
# The key of a file that has none; as a key of rows it may occur.
_NO_KEY = UUID(int=0)
_SAMPLES = 20


@dataclass
class SyncReport:
    """What a sync did, over all of its windows. Seconds are wall clock by stage, bytes are Parquet as loaded."""

    windows: int = 0
    recovered: int = 0
    changes: int = 0
    rows: dict[str, int] = field(default_factory=lambda: {e.table.name: 0 for e in REPLICATED})
    tombstones: dict[str, int] = field(default_factory=lambda: {e.table.name: 0 for e in REPLICATED})
    files: int = 0
    bytes_loaded: int = 0
    bodies_fetched: int = 0
    bodies_withheld: int = 0
    withheld_samples: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    last_sync_id: int | None = None
    oldest_change_at: datetime | None = None
    keys_reconciled: int = 0
    partitions_dropped: int = 0
    backlog: bool = False

    def as_metadata(self) -> dict[str, Any]:
        """Plain JSON values for the assets' metadata."""
        return {
            "windows": self.windows,
            "recovered": self.recovered,
            "changes": self.changes,
            "rows_loaded": self.rows,
            "tombstones": self.tombstones,
            "files": self.files,
            "bytes_loaded": self.bytes_loaded,
            "bodies_fetched": self.bodies_fetched,
            "bodies_withheld": self.bodies_withheld,
            "withheld_samples": self.withheld_samples,
            "seconds": {stage: round(value, 3) for stage, value in self.seconds.items()},
            "last_sync_id": self.last_sync_id,
            "oldest_change_at": self.oldest_change_at.isoformat() if self.oldest_change_at else None,
            "keys_reconciled": self.keys_reconciled,
            "change_log_days_dropped": self.partitions_dropped,
            "backlog_left": self.backlog,
        }


class Replicator:
    """Replicates the change log into BigQuery. One at a time: `sync` takes the lock and fails fast when it is held."""

    def __init__(
        self,
        database: Database,
        store: DocumentStore,
        warehouse: Warehouse,
        *,
        batch_size: int,
        max_bytes: int,
        run_id: str,
        max_windows: int = 1000,
        attempts: int = 3,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._store = store
        self._warehouse = warehouse
        self._batch_size = batch_size
        self._max_bytes = max_bytes
        self._run_id = run_id
        self._max_windows = max_windows
        self._attempts = attempts
        self._sleep = sleep
        self._clock = clock
        self._log = WindowLog(database)
        self._loader = Loader(warehouse, self._log, sleep)

    def sync(self, on_window: Callable[[SyncReport], None] = lambda report: None) -> SyncReport:
        """Replicate until the change log is read or `max_windows` are done; `on_window` is called after each.

        The clients retry their own requests; when one gives up (a server that restarts), the sync is tried again from
        what is recorded. Raises `AlreadyRunning`, `Permanent` or `Transient`; what was done until then stands.
        """
        report = SyncReport()
        for attempt in range(1, self._attempts + 1):
            try:
                with self._database.advisory_lock(LOCK):
                    self._work(report, on_window)
                return report
            except Transient as error:
                if attempt == self._attempts:
                    raise
                self._sleep(wait_seconds(attempt, error))
        raise AssertionError("unreachable: the loop returns or raises")

    def _work(self, report: SyncReport, on_window: Callable[[SyncReport], None]) -> None:
        with _timed(report, "resolve", self._clock):
            self._log.beat()
            low = self._log.start()
            window = self._log.left_open()
        if window is not None:
            report.recovered += 1
            low = self._run_window(self._log.again(window, self._run_id), report)
            on_window(report)
        more = True
        while more and report.windows < self._max_windows:
            with _timed(report, "resolve", self._clock):
                bounds = self._log.bounds(low, self._batch_size)
                window = self._log.open(low, bounds, self._run_id)
            reach("window_opened")
            low = self._run_window(window, report)
            more = bounds.more or bool(window.truncated)
            on_window(report)
        report.backlog = more
        with _timed(report, "maintain", self._clock):
            report.partitions_dropped += maintain_change_log(self._database)

    def _run_window(self, window: Window, report: SyncReport) -> str:
        """Load one window, close it and count it; returns where the next one begins."""
        # A window that is cut off is done again and must not count twice; only the time that it took is real.
        whole = deepcopy(report)
        try:
            self._load_window(window, report)
        except Transient:
            whole.seconds = report.seconds
            report.__dict__.update(whole.__dict__)
            raise
        return window.high_xid

    def _load_window(self, window: Window, report: SyncReport) -> None:
        started = dict(report.seconds)
        done = self._log.parts(window) if window.attempts > 1 else []
        rows: dict[str, int] = {}
        bytes_before = report.bytes_loaded
        tombstones_before = sum(report.tombstones.values())
        bodies = BodyReader(self._database, self._store)
        for entity in REPLICATED if window.changes else ():
            before = report.rows[entity.table.name]
            self._load_entity(entity, window, bodies, [p for p in done if p.table == entity.table.name], report)
            rows[entity.table.name] = report.rows[entity.table.name] - before
        # Written into the change log, so that the next window carries them with everything that holds for windows.
        for entity in (e for e in REPLICATED if e.name in window.truncated and not e.append_only):
            report.keys_reconciled += reconcile_keys(self._database, self._warehouse, entity)
        loaded = report.bytes_loaded - bytes_before
        with _timed(report, "load", self._clock):
            log_row = [part for part in done if part.table == SYNC_LOG.name]
            if not (log_row and self._loader.recover(window, log_row[0])):
                self._load_log_row(window, rows, sum(report.tombstones.values()) - tombstones_before, loaded)
        reach("log_loaded")
        with _timed(report, "close", self._clock):
            seconds = {stage: value - started.get(stage, 0.0) for stage, value in report.seconds.items()}
            self._log.close(window, rows, loaded, seconds)
        reach("window_closed")
        report.windows += 1
        report.changes += window.changes
        report.bodies_fetched += bodies.report.fetched
        report.last_sync_id = window.sync_id
        report.oldest_change_at = report.oldest_change_at or window.oldest_change_at

    def _load_entity(
        self, entity: Entity, window: Window, bodies: BodyReader, done: list[Part], report: SyncReport
    ) -> None:
        """Load the files of one table, going on behind those that landed in an earlier attempt."""
        after: UUID | None = None
        number = 0
        for part in done:
            if not self._loader.recover(window, part):
                break
            after, number = part.last_id, part.number + 1
            self._account(entity, part, report)
        file = ParquetFile(entity.table)
        tombstones = 0
        # The generator holds a connection and a server-side cursor: they must not wait for the garbage collector.
        with closing(changed_rows(self._database, entity, window, bodies, after)) as chunks:
            while True:
                with _timed(report, "extract", self._clock):
                    chunk = next(chunks, None)
                if chunk is None:
                    break
                with _timed(report, "encode", self._clock):
                    file.add([{**row, "sync_part": number} for row in chunk.rows], chunk.size)
                tombstones += chunk.tombstones
                after = chunk.last_id
                # Before the file lands: a run that is killed behind it reads these bodies no more.
                self._quarantine(bodies, report)
                if file.bytes_added >= self._max_bytes:
                    self._load_file(entity, window, file, number, after, tombstones, report)
                    file, number, tombstones = ParquetFile(entity.table), number + 1, 0
        if file.rows and after is not None:
            self._load_file(entity, window, file, number, after, tombstones, report)

    def _load_file(
        self, entity: Entity, window: Window, file: ParquetFile, number: int, last_id: UUID, tombstones: int,
        report: SyncReport,
    ) -> None:  # fmt: skip
        table = entity.table.name
        with _timed(report, "encode", self._clock):
            content = file.close()
            size = content.seek(0, 2)
        part = Part(table, number, last_id, file.rows, tombstones, size, job_id="")
        with _timed(report, "load", self._clock):
            self._load_part(window, part, content)
        self._account(entity, part, report)

    def _load_part(self, window: Window, part: Part, content: BinaryIO) -> None:
        """Write the file down, load it, note that it landed."""
        self._loader.load(
            window, part.table, part.number, part.rows, content,
            lambda job_id: self._log.record(window, replace(part, job_id=job_id)),
        )  # fmt: skip
        self._log.loaded(window, part)

    def _account(self, entity: Entity, part: Part, report: SyncReport) -> None:
        report.rows[entity.table.name] += part.rows
        report.tombstones[entity.table.name] += part.tombstones
        report.files += 1
        report.bytes_loaded += part.bytes

    def _load_log_row(self, window: Window, rows: dict[str, int], tombstones: int, loaded: int) -> None:
        row = {
            "sync_id": window.sync_id,
            "sync_part": 0,
            "synced_at": window.synced_at,
            "system_identifier": window.system_identifier,
            "low_xid": int(window.low_xid),
            "high_xid": int(window.high_xid),
            "changes": window.changes,
            "rows_by_table": json.dumps(rows),
            "tombstones": tombstones,
            "bytes_loaded": loaded,
            "oldest_change_at": window.oldest_change_at,
            "heartbeat_at": window.heartbeat_at,
            "run_id": self._run_id,
            "read_until": self._log.now(),
        }
        file = single_row(SYNC_LOG, row)
        part = Part(SYNC_LOG.name, 0, _NO_KEY, 1, 0, file.seek(0, 2), job_id="")
        self._load_part(window, part, file)

    def _quarantine(self, bodies: BodyReader, report: SyncReport) -> None:
        withheld = bodies.report.withheld
        if not withheld:
            return
        with self._database.connection() as connection, connection.cursor() as cursor:
            cursor.executemany(statement("replication/quarantine_body"), withheld)
        bodies.report.withheld = []
        report.bodies_withheld += len(withheld)
        room = _SAMPLES - len(report.withheld_samples)
        report.withheld_samples += [f"{w['zerodb_row_id']}: {w['reason']}" for w in withheld[:room]]


class _timed:  # noqa: N801  (reads as a statement where it is used)
    """Adds the seconds of a block to a stage of the report."""

    def __init__(self, report: SyncReport, stage: str, clock: Callable[[], float]) -> None:
        self._report, self._stage, self._clock = report, stage, clock

    def __enter__(self) -> None:
        self._started = self._clock()

    def __exit__(self, *_: object) -> None:
        spent = self._clock() - self._started
        self._report.seconds[self._stage] = self._report.seconds.get(self._stage, 0.0) + spent
