"""Works one batch: threads that claim and write, a writer that stores, a coordinator that knows when it is over.

How an item is worked is in `item_work.py`, how it is stored in `writer.py`. The caller's thread only waits, in short
waits, so that an interrupt reaches it at once.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from content_orchestration.core.content.store import ContentStore
from content_orchestration.core.errors import ContentError, Permanent, Transient
from content_orchestration.core.failpoints import reach
from content_orchestration.core.generation.errors import BudgetExceeded
from content_orchestration.core.generation.item_work import Chain, ItemWorker, Stale
from content_orchestration.core.generation.model import MOST_RUNNING_A_BATCH, BatchStatus, Claimed, FailureCategory
from content_orchestration.core.generation.patience import patiently
from content_orchestration.core.generation.progress import Meter, Progress
from content_orchestration.core.generation.provider import ProviderFailure, Stopped
from content_orchestration.core.generation.queue import GenerationQueue
from content_orchestration.core.generation.writer import ContentWriter

# Between two looks of the waiting thread and of the coordinator.
_TICK_SECONDS = 0.2
# Between two questions whether the batch is over, while there is work.
_ENDED_SECONDS = 1.0
# Between two claims that gave nothing: short while items are on their way, longer while all wait for a retry.
_CLAIM_SECONDS = (0.05, 0.5)
# How long PostgreSQL may be away before the run gives up; Dagster's retry begins another one.
_OUTAGE_SECONDS = 120.0
# A stop ends within ten seconds: so long for providers' calls to end, then so long for what is finished to be stored.
_CALLS_SECONDS = 3.0
_STORING_SECONDS = 4.0


@dataclass(frozen=True)
class WorkReport:
    """What one run did for a batch. `status` is None where the batch is not over: the run was stopped.

    `lost` items were taken away from this run: cancelled, or their lease had ended. Seconds are this run's.
    """

    batch_id: UUID
    status: BatchStatus | None
    progress: Progress
    completed_here: int
    lost: int
    failures: Mapping[str, int]
    seconds: float

    def as_metadata(self) -> dict[str, Any]:
        """For the run's metadata."""
        return {
            "batch_id": str(self.batch_id),
            "status": "open" if self.status is None else self.status.value,
            **self.progress.as_metadata(),
            "items_per_second": round(self.completed_here / self.seconds, 2) if self.seconds else 0.0,
            "completed_here": self.completed_here,
            "lost_here": self.lost,
            "failures_here": dict(self.failures),
            "seconds": round(self.seconds, 3),
        }


class BatchWork:
    """One run's work on one batch. Several may work on one batch: the queue keeps them apart, and within its cap."""

    def __init__(
        self,
        queue: GenerationQueue,
        store: ContentStore,
        chain_of: Callable[[UUID], Chain],
        batch_id: UUID,
        *,
        worker: str,
        workers: int = MOST_RUNNING_A_BATCH,
        timeout_seconds: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout_seconds` is what the providers' calls for one item may take together.

        Raises `Permanent` where there is no such batch, or no provider for its tenant: then no item has failed.
        """
        batch = queue.batch(batch_id)
        if batch is None:
            raise Permanent(
                f"batch_id {batch_id} is no batch: see content_generation_jobs, or submit one with the job "
                "submit_generation_batch"
            )
        self._queue = queue
        self._batch_id = batch_id
        self._name = worker
        self._clock = clock
        self.total = batch.target_count
        self.tenant_id = batch.tenant_id
        self._meter = Meter(batch, clock=clock)
        self._items = ItemWorker(queue, chain_of(batch.tenant_id), self._meter, timeout_seconds=timeout_seconds)
        self._writer = ContentWriter(
            queue, store, self._meter,
            reservation=batch.reservation_id, refuse=self._fail, settled=self._let_go, clock=clock,
        )  # fmt: skip
        self._threads = [
            threading.Thread(target=self._work, name=f"generation-{number}", daemon=True) for number in range(workers)
        ]
        self._guard = threading.Lock()
        self._claiming = threading.Lock()
        self._ready: deque[Claimed] = deque()
        self._halts: dict[str, threading.Event] = {}
        self._working = 0
        self._claim_after = 0.0
        self._away_since: dict[str, float] = {}
        self._stop = threading.Event()
        self._over = threading.Event()
        self._status: BatchStatus | None = None
        self._error: ContentError | None = None

    def run(self, stop: threading.Event | None = None, tell: Callable[[Progress], None] | None = None) -> WorkReport:
        """Work until the batch is over or `stop` is set; `tell` is called about five times a second.

        Ends within ten seconds of a stop, of the batch's cancellation, or of an interrupt, which is raised again: what
        was finished is stored, what was not goes back into the queue. Raises `Transient` when PostgreSQL stays away.
        """
        stop = stop or threading.Event()
        started = self._clock()
        with self._queue.heartbeat(self._name) as self._heartbeat:
            self._writer.start()
            for thread in [*self._threads, threading.Thread(target=self._coordinate, daemon=True)]:
                thread.start()
            try:
                while not stop.is_set() and not self._over.wait(_TICK_SECONDS):
                    if tell is not None:
                        tell(self._meter.progress())
            finally:
                self._wind_down()
        if self._error is not None:
            raise self._error
        self._count()
        if tell is not None:
            tell(self._meter.progress())
        return WorkReport(
            self._batch_id, self._status, self._meter.progress(), self._meter.completed_here, self._meter.lost_here,
            self._meter.failures, self._clock() - started,
        )  # fmt: skip

    def _wind_down(self) -> None:
        """End the threads. A provider's call that does not end is left behind: its fence refuses what it brings."""
        self._stop.set()
        with self._guard:
            for halt in self._halts.values():
                halt.set()
        ends = self._clock() + _CALLS_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, ends - self._clock()))
        self._writer.close(_STORING_SECONDS)
        with self._claiming:
            while self._ready:
                self._give_back(self._ready.popleft())

    def _coordinate(self) -> None:
        """Ask whether the batch is over, and stop the work on items that this run does not hold any more."""
        asked = self._clock()
        while not self._stop.wait(_TICK_SECONDS):
            with self._guard:
                for lost in self._heartbeat.lost & self._halts.keys():
                    self._halts[lost].set()
                quiet = not self._working and not self._ready
            if not quiet and self._clock() < asked + _ENDED_SECONDS:
                continue
            if self._heartbeat.error is not None:
                self._give_up(self._heartbeat.error)
                return
            if quiet and not self._writer.idle:
                continue
            asked = self._clock()
            try:
                status = self._queue.finish_batch(self._batch_id)
                self._count()
                self._away_since.pop("coordinator", None)
            except Transient as error:
                self._away("coordinator", error)
                continue
            except Exception as error:  # noqa: BLE001  (a thread's error must reach the caller, whatever it is)
                self._give_up(error)
                return
            if status is not None:
                self._status = status
                self._over.set()
                return

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                claimed = self._next()
            except Transient as error:
                self._away("claim", error)
                self._stop.wait(_ENDED_SECONDS)
                continue
            except Exception as error:  # noqa: BLE001  (as in the coordinator)
                self._give_up(error)
                return
            if claimed is None:
                self._stop.wait(_CLAIM_SECONDS[0])
                continue
            try:
                self._one(claimed)
            finally:
                with self._guard:
                    self._working -= 1

    def _next(self) -> Claimed | None:
        """An item to work; claims for all idle threads at once."""
        with self._claiming:
            if not self._ready:
                if self._stop.is_set() or self._clock() < self._claim_after:
                    return None
                with self._guard:
                    idle = len(self._threads) - self._working
                claimed = self._queue.claim(idle, self._name, batch_id=self._batch_id)
                self._away_since.pop("claim", None)
                reach("generation_claimed")
                if not claimed:
                    nobody = idle == len(self._threads)
                    self._claim_after = self._clock() + _CLAIM_SECONDS[nobody and self._writer.idle]
                    if nobody:
                        self._writer.hurry()
                    return None
                self._ready.extend(claimed)
                self._heartbeat.add(claimed)
            with self._guard:
                self._working += 1
            return self._ready.popleft()

    def _one(self, claimed: Claimed) -> None:
        halt = threading.Event()
        with self._guard:
            self._halts[claimed.id] = halt
            if self._stop.is_set():
                halt.set()
        try:
            finished = self._items.work(claimed, halt)
        except Stale:
            self._meter.lost()
        except Stopped:
            self._give_back(claimed)
        except ProviderFailure as failure:
            self._fail(claimed, failure.category, str(failure), failure.retry_after)
        except BudgetExceeded as error:
            self._fail(claimed, FailureCategory.quota, str(error))
        except Permanent as error:
            self._fail(claimed, FailureCategory.invalid_request, str(error))
        except Transient:
            # PostgreSQL was away for as long as the lease: the item is not this run's any more.
            self._meter.lost()
        except Exception as error:  # noqa: BLE001  (one bad item never stops a batch; what it says may hold a key)
            self._fail(claimed, FailureCategory.unknown, f"{type(error).__name__} in the provider's code")
        else:
            self._writer.put(finished)
            return
        finally:
            with self._guard:
                # An item that goes back into the queue may be another thread's before this one is through with it.
                if self._halts.get(claimed.id) is halt:
                    del self._halts[claimed.id]
        self._let_go(claimed)

    def _fail(
        self, claimed: Claimed, category: FailureCategory, message: str, retry_after: float | None = None
    ) -> None:
        """Write down that an item failed; where that cannot be written its lease ends, which says the same."""
        try:
            outcome = patiently(
                lambda: self._queue.fail(claimed, category, message, retry_after=retry_after), self._stop
            )
        except (Transient, Stopped):
            self._meter.lost()
            return
        if outcome == "failed":
            self._meter.failed(category.value)
        elif outcome == "stale":
            self._meter.lost()

    def _give_back(self, claimed: Claimed) -> None:
        """Back into the queue, as if it had not been claimed; otherwise its lease ends."""
        try:
            self._queue.release(claimed)
        except ContentError:
            self._meter.lost()

    def _count(self) -> None:
        batch = self._queue.batch(self._batch_id)
        if batch is not None:
            self._meter.read(batch)

    def _let_go(self, claimed: Claimed) -> None:
        self._heartbeat.discard(claimed)
        # It has made room.
        self._claim_after = 0.0

    def _away(self, what: str, error: Transient) -> None:
        """Give up where this has not been answered for too long, whatever else is."""
        now = self._clock()
        if now - self._away_since.setdefault(what, now) > _OUTAGE_SECONDS:
            self._give_up(error)

    def _give_up(self, error: BaseException) -> None:
        if self._error is None:
            self._error = (
                error
                if isinstance(error, ContentError)
                else Permanent(f"batch {self._batch_id} cannot be worked on: {type(error).__name__}: {error}")
            )
        self._over.set()
