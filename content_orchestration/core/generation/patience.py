"""Asks PostgreSQL again while it is away, for as long as that can help. What is asked is the caller's."""

import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

from content_orchestration.core.errors import Transient
from content_orchestration.core.generation.provider import Stopped

T = TypeVar("T")

# A lease of 30 s is gone by then, and somebody else may have the item.
PATIENCE_SECONDS = 30.0
_FIRST_WAIT = 0.1
_LONGEST_WAIT = 2.0


def patiently(
    ask: Callable[[], T],
    halt: Event,
    *,
    seconds: float = PATIENCE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """The answer of `ask`, which is called again after a `Transient`, with growing waits, for `seconds`.

    Raises the last `Transient` then, and `Stopped` where `halt` is set meanwhile. A call whose answer was lost may have
    been carried out: `ask` must bear that.
    """
    ends, wait = clock() + seconds, _FIRST_WAIT
    while True:
        try:
            return ask()
        except Transient:
            if clock() + wait > ends:
                raise
        if halt.wait(wait):
            raise Stopped("the run ended while PostgreSQL was away")
        wait = min(2 * wait, _LONGEST_WAIT)
