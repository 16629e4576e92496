"""Remembers that a tier just failed, so that the next callers do not each wait for it to fail again."""

import time
from collections.abc import Callable


class Breaker:
    """Open for `seconds` after each failure; while it is open the tier is not asked. Safe between threads."""

    def __init__(self, seconds: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._until = float("-inf")

    @property
    def is_open(self) -> bool:
        """Whether the tier failed so lately that it should be left alone."""
        return self._clock() < self._until

    def trip(self) -> None:
        """Note a failure."""
        self._until = self._clock() + self._seconds

    def reset(self) -> None:
        """Note a success."""
        self._until = float("-inf")
