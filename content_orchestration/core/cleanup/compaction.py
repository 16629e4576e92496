"""Compacts the history in BigQuery to the horizon of each tenant's plan, partition by partition.

Promise: every moment from the horizon on restores exactly as before. At each step only states go that a later one,
proven by its hashes, replaced by the horizon (the checkpoint, which stays), and last the tombstones that hide nothing.
Which rows these are is `bigquery/compaction_doomed.sql`; how far back, `compaction_horizons.py`.
A restore of an earlier moment is refused by `core/restore/horizon.py`, which reads what is announced here first.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from content_orchestration.core.cleanup.audit import AuditEntry, record
from content_orchestration.core.cleanup.compaction_history import PASSES, Content, HistoryTable, Listed
from content_orchestration.core.cleanup.compaction_horizons import Horizons, Period, horizons, plan_period
from content_orchestration.core.cleanup.compaction_record import Compaction, Intent
from content_orchestration.core.cleanup.guards import NeverDelete, Refused, check_clock
from content_orchestration.core.cleanup.holds import HELD, held_tenants
from content_orchestration.core.cleanup.model import MOST_SAMPLES, Cleaned
from content_orchestration.core.database import Database
from content_orchestration.core.errors import AlreadyRunning, Permanent
from content_orchestration.core.failpoints import reach
from content_orchestration.core.integrity.metered import TooManyBytes
from content_orchestration.core.integrity.repair import LOCK as REPAIR
from content_orchestration.core.integrity.survey import LOCK as INTEGRITY
from content_orchestration.core.replication.engine import LOCK as REPLICATION
from content_orchestration.core.replication.payload import ParquetFile
from content_orchestration.core.replication.tables import CONTENT_MEDIA, CONTENT_STORAGE, CONTENT_VERSIONS, Entity
from content_orchestration.core.replication.window import WindowLog
from content_orchestration.core.restore.horizon import HORIZONS
from content_orchestration.core.sql import statement
from content_orchestration.core.warehouse import Warehouse

KIND = "history"
LOCK = "history_compaction"
TABLES: tuple[Entity, ...] = (CONTENT_VERSIONS, CONTENT_MEDIA, CONTENT_STORAGE)
"""Whose states are compacted. The log of syncs is small, and says which sync a moment means."""
_LONGEST_DAYS = 5.0
"""After which an open compaction is given up and begun anew: its lists expire after seven."""
_POLL_SECONDS = 5.0


def compact(
    database: Database,
    warehouse: Warehouse,
    *,
    run_id: str,
    dry_run: bool,
    limit: int,
    max_bytes: int,
    period: Period = plan_period,
    never: NeverDelete = NeverDelete(),  # noqa: B008  (frozen)
    lock_seconds: float = 300.0,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Cleaned:
    """Compact at most `limit` partitions, or tell in a dry run what all of them would lose; the next run goes on.

    max_bytes: what BigQuery's dry runs of all jobs on one table may come to; none is sent past it, and none may bill
    more. period: how far back a plan's history reaches. lock_seconds: how long a sync, comparison or repair may take.
    Raises `Refused` where a rule stops it, `AlreadyRunning` while others read or write the history, `TooManyBytes`
    where not even the first job fits, `Permanent` where a partition is not what it must be afterwards, `Transient`.
    """
    started = time.monotonic()
    if dry_run:
        found = horizons(database, warehouse, now=WindowLog(database).now(), period=period, never=never)
        return _survey(warehouse, found, max_bytes, started)
    now = check_clock(database, clock)
    with database.advisory_lock(LOCK):
        opened = Compaction.left_open(database)
        if opened is not None and (opened.days > _LONGEST_DAYS or _kept_by(database, opened, never)):
            _give_up(warehouse, opened, max_bytes)
            opened = None
        skipped: Counter[str] = Counter()
        if opened is None:
            found = horizons(database, warehouse, now=now, period=period, never=never)
            skipped = found.skipped
            if not found.pairs:
                return Cleaned(KIND, dry_run, skipped=skipped, seconds=time.monotonic() - started)
            opened = Compaction.open(database, found, run_id)
        reach("compaction_opened")
        quiet = _Quiet(database, lock_seconds, sleep)
        return _Run(database, warehouse, opened, run_id, never, quiet, max_bytes, skipped).work(limit, now, started)


def _survey(warehouse: Warehouse, found: Horizons, max_bytes: int, started: float) -> Cleaned:
    scanned = doomed = freed = parts = 0
    samples: list[dict[str, Any]] = []
    for entity in TABLES if found.pairs else ():
        table = HistoryTable(warehouse, entity, "none", max_bytes)
        listed = table.survey(found.as_values())
        scanned += table.rows()
        parts += len(listed)
        doomed += sum(part.doomed for part in listed)
        freed += sum(part.bytes for part in listed)
        samples += [_sample(entity.table.name, part) for part in listed]
    return Cleaned(
        KIND, dry_run=True, scanned=scanned, candidates=doomed, skipped=found.skipped, freed_bytes=freed, left=parts,
        samples=samples[:MOST_SAMPLES], seconds=time.monotonic() - started,
    )  # fmt: skip


def _kept_by(database: Database, opened: Compaction, never: NeverDelete) -> frozenset[UUID]:
    """Tenants of the compaction of whom nothing may go any more."""
    with database.connection() as connection:
        held = held_tenants(connection)
    return opened.tenants & (held | never.tenants)


def _give_up(warehouse: Warehouse, opened: Compaction, max_bytes: int) -> None:
    opened.end("abandoned")
    for entity in TABLES:
        HistoryTable(warehouse, entity, opened.stage(entity.name), max_bytes).forget()


@dataclass(frozen=True)
class _Quiet:
    """Nobody else reads the history as a whole, or writes it, while a partition is rewritten."""

    database: Database
    lock_seconds: float
    sleep: Callable[[float], None]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Raises `AlreadyRunning` where a sync, comparison, repair or restore is under way and does not end in time.

        Drills work in a dataset of their own.
        """
        waited = 0.0
        while True:
            with ExitStack() as locks:
                try:
                    for name in (REPLICATION, INTEGRITY, REPAIR):
                        locks.enter_context(self.database.advisory_lock(name))
                    self._refuse_open()
                except AlreadyRunning:
                    if waited >= self.lock_seconds:
                        raise
                else:
                    yield
                    return
            self.sleep(_POLL_SECONDS)
            waited += _POLL_SECONDS

    def _refuse_open(self) -> None:
        window = WindowLog(self.database).left_open()
        if window is not None:
            raise AlreadyRunning(f"sync {window.sync_id} was cut off and its window is open: sync first, then compact")
        with self.database.connection() as connection:
            row = connection.execute(statement("cleanup/compaction_restores")).fetchone()
        if row is not None:
            raise AlreadyRunning(
                f"restore {row['restore_id']} into {row['target']}, open since {row['opened_at']}, reads the history: "
                "finish it with the same plan_hash; eight days after its beginning it is not waited for"
            )


@dataclass
class _Run:
    database: Database
    warehouse: Warehouse
    opened: Compaction
    run_id: str
    never: NeverDelete
    quiet: _Quiet
    max_bytes: int
    skipped: Counter[str]
    done: int = 0
    deleted: int = 0
    freed: int = 0
    left: int = 0
    samples: list[dict[str, Any]] = field(default_factory=list)

    def work(self, limit: int, now: datetime, started: float) -> Cleaned:
        tables = [self._staged(entity) for entity in TABLES]
        reach("compaction_staged")
        listed = [(table, part) for table in tables for part in table.listed()]
        # Every table's first pass comes before any second one; within a table that is what counts.
        listed.sort(key=lambda each: PASSES.index(each[1].pass_))
        if listed:
            self._announce(set().union(*(table.tenants() for table in tables)), now)
        reach("compaction_announced")
        for number, (table, part) in enumerate(listed):
            if self.done >= limit or not self._partition(table, part):
                self.left = len(listed) - number
                break
        scanned = sum(table.rows() for table in tables)
        if not self.left:
            # The lists go last: without them a run that is cut off here would make them anew.
            for table in tables:
                table.forget()
            reach("compaction_forgotten")
            self.opened.end("closed")
        return Cleaned(
            KIND, dry_run=False, scanned=scanned, candidates=sum(part.doomed for _, part in listed),
            deleted=self.deleted, skipped=self.skipped, freed_bytes=self.freed, left=self.left,
            samples=self.samples, seconds=time.monotonic() - started,
        )  # fmt: skip

    def _staged(self, entity: Entity) -> HistoryTable:
        table = HistoryTable(self.warehouse, entity, self.opened.stage(entity.name), self.max_bytes)
        table.stage(list(self.opened.horizons))
        return table

    def _announce(self, tenants: set[str], now: datetime) -> None:
        """Say in the dataset how far back it will reach, before anything goes. Said twice it means the same."""
        self.warehouse.ensure_table(HORIZONS)
        file = ParquetFile(HORIZONS)
        rows = [
            {
                "sync_id": sync_id, "earliest_at": self.opened.earliest[sync_id], "tenant_id": tenant,
                "compacted_at": now.astimezone(UTC), "compaction_id": self.opened.compaction_id,
            }
            for tenant, sync_id in self.opened.syncs.items() if tenant in tenants
        ]  # fmt: skip
        file.add(rows, 0)
        job = f"content-compaction-{self.opened.compaction_id}-{int(now.timestamp() * 1e6)}"
        self.warehouse.load_parquet(HORIZONS.name, file.close(), job)

    def _partition(self, table: HistoryTable, part: Listed) -> bool:
        """Rewrite one partition, or finish its rewrite; False where the bytes of this run do not suffice for it."""
        name = table.entity.table.name
        intent = self.opened.intent(name, part)
        if intent is not None and intent.state == "done":
            return True
        with self.quiet.held(), self.database.connection() as holding:
            # Until this transaction ends nobody is put under a hold.
            if held := self.opened.tenants & held_tenants(holding):
                raise Refused(
                    HELD,
                    f"tenant {min(held)} was put under a legal hold after this compaction began: run it again, and it "
                    "begins anew without that tenant",
                )
            if intent is not None and table.left(part.day) == intent.kept:
                self._ended(name, part, intent, intent.kept)
                return True
            try:
                table.reserve(part.day, part.pass_)
            except TooManyBytes:
                if not self.done:
                    raise
                return False
            found = table.look(part.day, part.pass_)
            if intent is None:
                intent = self.opened.intend(name, part, found, table.bytes_estimated)
            elif found.kept != intent.kept:
                self._ended(name, part, intent, found.kept)
            reach("compaction_intended")
            table.delete(part.day, part.pass_)
            reach("compaction_deleted")
            self._ended(name, part, intent, table.left(part.day))
        reach("compaction_verified")
        return True

    def _ended(self, name: str, part: Listed, intent: Intent, left: Content) -> None:
        """Hold what is left against what must be left, and write it down. Raises `Permanent` where they differ."""
        same = left == intent.kept
        gone = intent.rows_before - intent.kept.rows
        entry = AuditEntry(
            self.run_id, KIND, "compacted" if same else "refused", f"{name}/{part.day}", size_bytes=intent.freed_bytes,
            reason=part.pass_ if same else "partition_differs",
            detail={
                "compaction_id": self.opened.compaction_id, "rows_before": intent.rows_before,
                "rows_kept": intent.kept.rows, "rows_left": left.rows, "kept_digest": intent.kept.digest,
            },
        )  # fmt: skip
        with self.database.connection() as connection:
            self.opened.ended(connection, name, part, "done" if same else "differs")
            record(connection, [entry])
        if not same:
            self.opened.end("abandoned")
            raise Permanent(
                f"partition {part.day} of {name} holds {left.rows} rows and must hold {intent.kept.rows}, with the "
                "digest that was written down before: somebody else wrote there. No further partition was touched; "
                "BigQuery has this one as it was for seven days (FOR SYSTEM_TIME AS OF), see docs/RUNBOOK.md"
            )
        self.done += 1
        self.deleted += gone
        self.freed += intent.freed_bytes
        if len(self.samples) < MOST_SAMPLES:
            self.samples.append(_sample(name, part))


def _sample(table: str, part: Listed) -> dict[str, Any]:
    return {
        "table": table, "day": part.day.isoformat(), "pass": part.pass_, "rows": part.doomed, "bytes": part.bytes,
    }  # fmt: skip
