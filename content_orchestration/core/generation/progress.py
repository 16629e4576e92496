"""How far the work on a batch is: counted by the run that does it, told to whoever watches. Nothing is stored here."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from content_orchestration.core.generation.stats import Batch

# Items a second are an average over this long: long enough for slow providers, short enough to show a change.
WINDOW_SECONDS = 30.0


@dataclass(frozen=True)
class Progress:
    """Where a batch stands, whoever works on it; `items_per_second` is this run's rate.

    `remaining_seconds` is None until an item has ended within the last half minute.
    """

    total: int
    done: int
    failed: int
    cancelled: int
    cost_usd: Decimal
    items_per_second: float
    remaining_seconds: float | None

    @property
    def open(self) -> int:
        """Items that have not ended."""
        return max(0, self.total - self.done - self.failed - self.cancelled)

    def as_metadata(self) -> dict[str, Any]:
        """For a run's metadata."""
        return {
            "items": self.total,
            "done": self.done,
            "failed": self.failed,
            "cancelled": self.cancelled,
            "open": self.open,
            "cost_usd": float(self.cost_usd),
            "items_per_second": round(self.items_per_second, 2),
            "remaining_seconds": None if self.remaining_seconds is None else round(self.remaining_seconds, 1),
        }

    def __str__(self) -> str:
        left = "unknown" if self.remaining_seconds is None else f"{self.remaining_seconds:.0f} s"
        return (
            f"{self.done:,} of {self.total:,} done, {self.failed:,} failed, ${self.cost_usd:.4f}, "
            f"{self.items_per_second:.1f} items/s, {left} left"
        )


class Meter:
    """Counts what this run ends, beginning anew from the batch's own counters whenever they are read. Thread-safe."""

    def __init__(self, batch: Batch, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._guard = threading.Lock()
        self._clock = clock
        self.read(batch)
        self._failures: Counter[str] = Counter()
        self._mine = 0
        self._lost = 0
        self._started = clock()
        self._ended: deque[tuple[float, int]] = deque()

    def read(self, batch: Batch) -> None:
        """Take over the batch's counters: another run may work on it too."""
        with self._guard:
            self._total, self._cancelled, self._cost = batch.target_count, batch.cancelled_count, batch.total_cost_usd
            self._done, self._failed = batch.succeeded_count, batch.failed_count

    def finished(self, items: int) -> None:
        """So many items are stored and completed."""
        with self._guard:
            self._done += items
            self._mine += items
            self._mark(items)

    def failed(self, category: str) -> None:
        """An item has failed for good."""
        with self._guard:
            self._failed += 1
            self._failures[category] += 1
            self._mark(1)

    def spent(self, cost_usd: Decimal) -> None:
        """A provider call cost this much, whatever became of it."""
        with self._guard:
            self._cost += cost_usd

    def lost(self) -> None:
        """An item was taken away from this run: its lease was lost, or it was cancelled."""
        with self._guard:
            self._lost += 1

    @property
    def completed_here(self) -> int:
        """Items that this run has completed."""
        return self._mine

    @property
    def lost_here(self) -> int:
        """Items that were taken away from this run."""
        return self._lost

    @property
    def failures(self) -> Mapping[str, int]:
        """Items that this run has failed for good, by category."""
        with self._guard:
            return dict(self._failures)

    def progress(self) -> Progress:
        """Where the batch stands now."""
        with self._guard:
            now = self._clock()
            while self._ended and self._ended[0][0] < now - WINDOW_SECONDS:
                self._ended.popleft()
            seconds = min(WINDOW_SECONDS, max(now - self._started, 0.001))
            rate = sum(items for _, items in self._ended) / seconds
            left = max(0, self._total - self._done - self._failed - self._cancelled)
            return Progress(
                self._total, self._done, self._failed, self._cancelled, self._cost, rate,
                left / rate if rate else None if left else 0.0,
            )  # fmt: skip

    def _mark(self, items: int) -> None:
        self._ended.append((self._clock(), items))
