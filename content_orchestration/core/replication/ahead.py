"""Runs an iterator ahead of its consumer in a thread, by a bounded number of items. What they are is not known here."""

import queue
import threading
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Generator[T, None, None], depth: int) -> Generator[T, None, None]:
    """The items in order, at most `depth` of them waiting. An error comes out where its item would have been.

    `items` runs and is closed in the thread, which has ended when this generator is closed or at its end.
    """
    room = threading.Semaphore(depth)
    done: queue.SimpleQueue[tuple[T, None] | tuple[None, BaseException | None]] = queue.SimpleQueue()
    stopped = threading.Event()

    def work() -> None:
        failure: BaseException | None = None
        try:
            for item in items:
                room.acquire()
                if stopped.is_set():
                    break
                done.put((item, None))
        except BaseException as error:  # noqa: BLE001  (raised again by the consumer)
            failure = error
        try:
            items.close()
        finally:
            done.put((None, failure))

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, failure = done.get()
            if failure is not None:
                raise failure
            if item is None:
                return
            room.release()
            yield item
    finally:
        stopped.set()
        room.release()
        thread.join()
