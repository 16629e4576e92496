"""How long a pass of maintenance may take. What fits into the time is decided by those who spend it."""

import time
from collections.abc import Callable

from content_orchestration.core.errors import Permanent


class Budget:
    """Seconds that a pass has from its start."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        if seconds <= 0:
            raise Permanent(f"the time budget is {seconds} seconds: it must be more than 0")
        self._clock = clock
        self._started = clock()
        self._seconds = seconds

    @property
    def left(self) -> float:
        """Seconds that are left, 0 when none is."""
        return max(self._seconds - self.spent, 0.0)

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._started
