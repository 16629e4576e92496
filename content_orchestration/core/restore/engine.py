"""Plans a restore and carries out the plan that was reviewed: history → checked chunks → bodies → rows → usage → check.

Every chunk is one transaction that also notes it as done, so a run that is killed anywhere is finished by the next one
that names the same plan. Nothing is ever deleted. What is written is decided in `check.py`, `documents.py`, `rows.py`.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from functools import partial

from content_orchestration.core.cleanup.passes import LOCK as CLEANUP
from content_orchestration.core.database import Database
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.errors import AlreadyRunning, Permanent
from content_orchestration.core.failpoints import reach
from content_orchestration.core.replication.engine import LOCK as REPLICATION
from content_orchestration.core.replication.tables import ENTITIES
from content_orchestration.core.restore import cluster
from content_orchestration.core.restore.aftercare import recompute_usage, summarize
from content_orchestration.core.restore.chunks import ChunkWork, Stopwatch
from content_orchestration.core.restore.history import History
from content_orchestration.core.restore.horizon import refuse_compacted
from content_orchestration.core.restore.moment import extent, resolve
from content_orchestration.core.restore.plan import RestorePlan, TablePlan
from content_orchestration.core.restore.preflight import refuse_unknown_columns
from content_orchestration.core.restore.record import RestoreRecord
from content_orchestration.core.restore.report import RestoreReport
from content_orchestration.core.restore.request import RestoreRequest
from content_orchestration.core.restore.target import (
    TABLES,
    TargetTable,
    create_scratch,
    planned_columns,
    read_tables,
)
from content_orchestration.core.schema.documents import COLLECTIONS
from content_orchestration.core.sql import statement
from content_orchestration.core.warehouse import Warehouse

CHUNK_BYTES = 8 * 1024 * 1024
"""Rows and bodies that are read and committed at once. The emulator's messages end at 11 MiB."""
WORKERS = 3
"""Two keep Python and PostgreSQL busy; the third works while they wait for each other, for 70 MiB more."""
MAX_BYTES = 1024**4
_LOCK_POLL_SECONDS = 5.0


class Restorer:
    """Restores into one PostgreSQL and one document store from one dataset.

    max_bytes: most bytes that the queries of one restore may scan in BigQuery, and each of them may bill.
    workers: chunks in work at once, each with a connection; memory grows by about four chunks each.
    lock_seconds: how long a sync that is running may take to end before the restore gives up.
    """

    def __init__(
        self,
        database: Database,
        store: DocumentStore,
        warehouse: Warehouse,
        *,
        run_id: str,
        max_bytes: int = MAX_BYTES,
        workers: int = WORKERS,
        chunk_bytes: int = CHUNK_BYTES,
        lock_seconds: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database
        self._store = store
        self._warehouse = warehouse
        self._run_id = run_id
        self._max_bytes = max_bytes
        self._workers = workers
        self._chunk_bytes = chunk_bytes
        self._lock_seconds = lock_seconds
        self._clock = clock
        self._sleep = sleep

    def plan(self, request: RestoreRequest) -> RestorePlan:
        """Tell what the restore would do; writes nothing. Raises `Permanent` or `Transient`."""
        columns = planned_columns(self._database, request.target, ENTITIES) if request.rows_wanted else {}
        self._refuse_unknown_tenants(request)
        moment = resolve(self._warehouse, request.as_of)
        refuse_compacted(self._warehouse, request.scope, moment.sync_id)
        history = History(self._warehouse, request, moment.sync_id, "plan", max_bytes=self._max_bytes)
        tables = []
        billed = 0
        for entity in ENTITIES:
            counts = history.counts(entity)
            tables.append(TablePlan(TABLES[entity.name], counts.rows, counts.body_bytes, counts.state_sum))
            billed += history.bytes_billed(entity)
        step = None
        if request.target.live and request.rows_wanted:
            step = cluster.needed(self._database, extent(self._warehouse).last)
        plan = RestorePlan(request, moment.sync_id, moment.described, tables, columns, self._chunk_bytes, billed, step)
        self._refuse_unfit(plan)
        return plan

    def run(self, request: RestoreRequest, plan_hash: str) -> RestoreReport:
        """Carry out the plan with this hash, or finish it where an earlier run was cut off.

        Raises `Permanent` where the plan is not (any more) the one that was reviewed, `AlreadyRunning`, `Transient`;
        what was committed until then stands, and the same call goes on behind it.
        """
        with self._locked(request):
            record = RestoreRecord.again(self._database, request, plan_hash, self._run_id)
            if record is None:
                plan = self.plan(request)
                if plan.plan_hash != plan_hash:
                    raise Permanent(
                        f"plan_hash is {plan_hash!r}, but this request means {plan.plan_hash}: nothing was "
                        "written. The history, the tables or the request changed since the plan was reviewed; look at "
                        "the plan of a dry run, then name its hash"
                    )
                record = RestoreRecord.open(self._database, plan, self._run_id)
            reach("restore_opened")
            return self._carry_out(record)

    def _carry_out(self, record: RestoreRecord) -> RestoreReport:
        plan, request = record.plan, record.plan.request
        watch = Stopwatch(self._clock)
        # Behind the record that a compaction looks for: of the two, at least one sees the other.
        refuse_compacted(self._warehouse, request.scope, plan.as_of_sync_id)
        history = History(
            self._warehouse, request, plan.as_of_sync_id, record.restore_id.replace("-", ""), max_bytes=self._max_bytes
        )
        with watch.stage("history"):
            for entity, planned in zip(ENTITIES, plan.tables, strict=True):
                history.prepare(entity, planned.rows)
        reach("restore_history_ready")
        with watch.stage("target"):
            tables = self._target(plan, history)
        reach("restore_target_ready")
        work = ChunkWork(self._database, self._store, history, record, tables, watch, self._sleep)
        for entity in ENTITIES:
            chunks = history.chunks(entity, plan.chunk_bytes)
            self._all(partial(work.do, entity, chunk) for chunk in chunks)
        report = RestoreReport(
            record.restore_id, plan.plan_hash, plan.as_of_sync_id, plan.as_of, record.attempts, cluster=plan.cluster
        )
        summarize(record, tables, self._database, report)
        if request.target.live and request.rows_wanted:
            with watch.stage("usage"):
                recompute_usage(self._database, record, report)
            if request.scope.kind == "everything" and not report.quarantined:
                cluster.ask_for_keys(self._database, ENTITIES)
                report.keys_compared_by_next_sync = True
        reach("restore_usage_done")
        report.seconds = watch.seconds
        record.close(report.as_metadata())
        reach("restore_closed")
        history.drop(ENTITIES)
        return report

    def _target(self, plan: RestorePlan, history: History) -> dict[str, TargetTable]:
        request = plan.request
        if request.bodies_wanted:
            for name, indexes in COLLECTIONS.items():
                self._store.ensure_collection(request.target.collection(name), indexes)
        if not request.rows_wanted:
            return {}
        create_scratch(self._database, request.target, ENTITIES)
        tables = read_tables(self._database, request.target, ENTITIES)
        refuse_unknown_columns(history, tables, plan.chunk_bytes)
        if request.target.live:
            cluster.adopt(self._database, extent(self._warehouse).last)
        return tables

    def _all(self, works: Iterator[Callable[[], None]]) -> None:
        """Do all, `workers` at once; after an error no further one begins."""
        with ThreadPoolExecutor(self._workers, thread_name_prefix="restore") as pool:
            futures = [pool.submit(work) for work in works]
            try:
                for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                    future.result()
            finally:
                # Also when the run is interrupted here: the pool would do all that is left before it ends.
                for future in futures:
                    future.cancel()

    @contextmanager
    def _locked(self, request: RestoreRequest) -> Iterator[None]:
        """One restore of a target at a time; into the live tiers, none beside cleanup, and into live rows none while a
        sync runs. Both are waited for.
        """
        needed = [CLEANUP] if request.target.live else []
        needed += [REPLICATION] if request.target.live and request.rows_wanted else []
        with ExitStack() as held:
            held.enter_context(self._database.advisory_lock(f"restore into {request.target}"))
            waited = 0.0
            while needed:
                try:
                    held.enter_context(self._database.advisory_lock(needed[0]))
                    needed.pop(0)
                except AlreadyRunning:
                    if waited >= self._lock_seconds:
                        raise
                    self._sleep(_LOCK_POLL_SECONDS)
                    waited += _LOCK_POLL_SECONDS
            yield

    def _refuse_unknown_tenants(self, request: RestoreRequest) -> None:
        if request.scope.kind != "tenants" or not request.target.live:
            return
        with self._database.connection() as connection:
            rows = connection.execute(statement("restore/unknown_tenants"), {"ids": list(request.scope.ids)}).fetchall()
        if rows:
            raise Permanent(
                f"scope.tenants names {', '.join(str(row['id']) for row in rows[:5])}, {len(rows)} in all, which "
                "tenants does not have: restore the platform's own tables first, correct the ids, or restore into a "
                "scratch schema"
            )

    def _refuse_unfit(self, plan: RestorePlan) -> None:
        request = plan.request
        if plan.rows == 0:
            raise Permanent(
                f"the history has no row of {request.scope} as of {plan.as_of}: see that the ids are right, and that "
                "they existed at that moment"
            )
        if request.max_rows is not None and plan.rows > request.max_rows:
            raise Permanent(
                f"the plan has {plan.rows} rows and max_rows is {request.max_rows}: nothing was written. Raise "
                "max_rows, or make the scope smaller"
            )
        if plan.bytes_billed > self._max_bytes:
            raise Permanent(
                f"the restore would scan {plan.bytes_billed} bytes in BigQuery and may scan {self._max_bytes}: raise "
                "max_bytes. A smaller scope does not help, since the whole history is read"
            )
