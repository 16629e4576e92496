"""What a run tells of its batch: counts, rate, time left; the terminal's bar; and patience with PostgreSQL."""

import io
import threading
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

import pytest

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.generation.model import BatchStatus
from content_orchestration.core.generation.patience import patiently
from content_orchestration.core.generation.progress import WINDOW_SECONDS, Meter, Progress
from content_orchestration.core.generation.progress_bar import progress_bar
from content_orchestration.core.generation.provider import Stopped
from content_orchestration.core.generation.stats import Batch


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def batch(total: int, done: int, failed: int, cancelled: int, cost: str) -> Batch:
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    return Batch(
        uuid4(), uuid4(), None, None, "batch", "post", {}, 0, BatchStatus.running, total, 0, 0, 0, done, failed,
        cancelled, 0, Decimal(cost), None, None, None, moment, moment, None,
    )  # fmt: skip


def test_the_rate_is_of_the_last_half_minute_and_tells_what_is_left() -> None:
    clock = Clock()
    meter = Meter(batch(100, 10, 3, 2, "1.5"), clock=clock)
    first = meter.progress()
    assert (first.done, first.failed, first.cancelled, first.open) == (10, 3, 2, 85)
    assert (first.items_per_second, first.remaining_seconds) == (0, None)
    clock.now += 10
    meter.finished(20)
    meter.failed("timeout")
    meter.spent(Decimal("0.25"))
    meter.lost()
    second = meter.progress()
    assert (second.done, second.failed, second.open, second.cost_usd) == (30, 4, 64, Decimal("1.75"))
    assert second.items_per_second == pytest.approx(2.1)
    assert second.remaining_seconds == pytest.approx(64 / 2.1)
    assert (meter.completed_here, meter.lost_here, meter.failures) == (20, 1, {"timeout": 1})
    assert "30 of 100 done, 4 failed, $1.7500, 2.1 items/s, 30 s left" in str(second)
    clock.now += WINDOW_SECONDS + 1
    later = meter.progress()
    assert (later.items_per_second, later.remaining_seconds) == (0, None)
    assert "unknown left" in str(later)
    meter.finished(64)
    assert meter.progress().remaining_seconds == 0.0
    clock.now += WINDOW_SECONDS + 1
    assert meter.progress().remaining_seconds == 0.0, "nothing is left, whatever the rate"
    meter.read(batch(100, 20, 3, 2, "9"))
    assert (meter.progress().done, meter.progress().cost_usd) == (20, Decimal(9)), "the batch's own counters stand"
    assert meter.completed_here == 84


def test_progress_as_metadata_has_plain_numbers() -> None:
    told = Progress(10, 4, 1, 2, Decimal("0.1234"), 2.345, 2.13).as_metadata()
    assert told == {
        "items": 10, "done": 4, "failed": 1, "cancelled": 2, "open": 3, "cost_usd": 0.1234, "items_per_second": 2.35,
        "remaining_seconds": 2.1,
    }  # fmt: skip
    assert Progress(1, 0, 0, 0, Decimal(0), 0.0, None).as_metadata()["remaining_seconds"] is None


def test_the_bar_follows_the_batch() -> None:
    screen = io.StringIO()
    with progress_bar("batch 1", 10, file=screen) as tell:
        tell(Progress(10, 3, 1, 0, Decimal("0.5"), 1.0, 6.0))
        tell(Progress(10, 9, 1, 0, Decimal("0.75"), 1.0, 0.0))
    last = screen.getvalue().split("\r")[-1]
    assert "10/10" in last
    assert "failed 1, $0.7500" in last


def test_patience_asks_again_until_it_is_answered() -> None:
    asked = 0

    def ask() -> str:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise Transient("away")
        return "here"

    assert patiently(ask, threading.Event()) == "here"
    assert asked == 3


def test_patience_ends_and_a_stop_ends_it_sooner() -> None:
    def ask() -> None:
        raise Transient("away")

    with pytest.raises(Transient):
        patiently(ask, threading.Event(), seconds=0.05)
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(Stopped):
        patiently(ask, stopped)

    def refuse() -> None:
        raise Permanent("never")

    with pytest.raises(Permanent):
        patiently(refuse, threading.Event())
