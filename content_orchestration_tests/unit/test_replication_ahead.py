"""`ahead`: order, bounds, errors, and that nothing runs on when the consumer is gone."""

import threading
from collections.abc import Generator, Iterator
from contextlib import closing

import pytest

from content_orchestration.core.replication.ahead import ahead

_PATIENCE = 20.0


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert [thread for thread in threading.enumerate() if thread.name == "ahead"] == []


def numbers(count: int, log: list[str], error: BaseException | None = None) -> Generator[int, None, None]:
    try:
        for number in range(count):
            log.append(f"made {number}")
            yield number
        if error is not None:
            raise error
    finally:
        log.append(f"closed in {threading.current_thread().name}")


@pytest.mark.parametrize("count", [0, 1, 7])
def test_all_items_come_in_order(count: int) -> None:
    log: list[str] = []
    assert list(ahead(numbers(count, log), 2)) == list(range(count))
    assert log[-1] == "closed in ahead"


def test_it_runs_ahead_by_no_more_than_its_depth() -> None:
    log: list[str] = []
    waited = threading.Event()

    class Watched(list[str]):
        def append(self, entry: str) -> None:
            super().append(entry)
            if len(self) == 4:
                waited.set()

    log = Watched()
    with closing(ahead(numbers(50, log), 2)) as items:
        assert next(items) == 0
        # One is taken, two wait, and the fourth is made but finds no room.
        assert waited.wait(_PATIENCE)
        assert len(log) == 4
    assert len(log) == 5


def test_an_error_comes_where_its_item_would_have_been() -> None:
    items = ahead(numbers(3, [], ValueError("on purpose")), 5)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="on purpose"):
        next(items)


@pytest.mark.parametrize("taken", [1, 2, 3])
def test_a_consumer_that_stops_ends_the_thread(taken: int) -> None:
    log: list[str] = []
    items = ahead(numbers(1000, log), 1)
    for _ in range(taken):
        next(items)
    items.close()
    assert log[-1] == "closed in ahead"
    assert len(log) < 1000


def test_an_error_in_closing_is_not_swallowed() -> None:
    def faulty() -> Generator[int, None, None]:
        try:
            yield 1
            yield 2
        finally:
            raise ValueError("while closing")

    with pytest.raises(ValueError, match="while closing"):
        list(ahead(faulty(), 1))
