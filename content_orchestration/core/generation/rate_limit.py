"""When the workers of one process may call a provider: one limiter for each provider and key, shared by all threads.

Several processes do not see each other here; each learns from the provider's own answers, which count all of them.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from content_orchestration.core.generation.model import FailureCategory
from content_orchestration.core.generation.provider import ProviderFailure, Stopped
from content_orchestration.core.generation.rate_headers import pause_seconds

# How long a sleeping thread needs at most to see that it should stop, or that another's probe came back.
_NAP_SECONDS = 0.2
_FIRST_BACKOFF = 1.0
_MOST_BACKOFF = 60.0


class RateLimiter:
    """Holds all threads back while the provider wants a pause, and spaces calls by a token bucket.

    After a refusal (429) has been waited out, one call goes ahead alone; the others follow when it was not refused.
    Without that, ten threads would spend an attempt of ten items each time a pause ends too early.
    """

    def __init__(
        self,
        name: str,
        requests_per_minute: int | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name = name
        self._rate = requests_per_minute / 60 if requests_per_minute else None
        self._most_tokens = max(1.0, self._rate or 1.0)
        self._tokens = self._most_tokens
        self._clock, self._sleep, self._now = clock, sleep, now
        self._filled_at = clock()
        self._paused_until = 0.0
        self._refusals = 0
        self._epoch = 0
        self._probing = False
        self._probe_out = False
        self._guard = threading.Lock()

    @contextmanager
    def permit(self, patience: float, stop: threading.Event | None = None) -> Iterator[None]:
        """Wait for the permission of one call and hold it while the call lasts.

        Raises `ProviderFailure` (rate_limit, with the seconds to wait) without waiting where that takes longer than
        `patience` seconds, and `Stopped` within a fraction of a second when `stop` is set.
        """
        epoch, probe = self._acquire(patience, stop)
        try:
            yield
        finally:
            with self._guard:
                if probe:
                    self._probe_out = False
                    # Not refused since: the pause was long enough for all.
                    if self._epoch == epoch:
                        self._probing = False
                        self._refusals = 0

    def observe(self, status: int, headers: Mapping[str, str]) -> float | None:
        """Take in what a response says; returns the seconds of the pause that it starts for all threads, if any."""
        told = pause_seconds(status, headers, self._now())
        with self._guard:
            if status == 429:
                self._refusals += 1
                self._epoch += 1
                self._probing = True
                if told is None:
                    told = min(_FIRST_BACKOFF * 2 ** min(self._refusals - 1, 10), _MOST_BACKOFF)
            if told is not None:
                self._paused_until = max(self._paused_until, self._clock() + told)
        return told

    def _acquire(self, patience: float, stop: threading.Event | None) -> tuple[int, bool]:
        began = self._clock()
        while True:
            if stop is not None and stop.is_set():
                raise Stopped(f"stopped while waiting for the rate limit of {self.name}")
            with self._guard:
                wait = self._wait_seconds()
                if wait <= 0:
                    if self._rate is not None:
                        self._tokens -= 1
                    self._probe_out = self._probing
                    return self._epoch, self._probing
            left = patience - (self._clock() - began)
            if wait > left:
                raise ProviderFailure(
                    FailureCategory.rate_limit,
                    f"{self.name} is at its rate limit for another {max(wait, 0.001):.3g} s: wait, raise the limit "
                    "with the provider, or name another provider in GENERATION_PROVIDERS",
                    provider=self.name,
                    retry_after=wait,
                )
            self._sleep(min(wait, _NAP_SECONDS))

    def _wait_seconds(self) -> float:
        now = self._clock()
        if now < self._paused_until:
            return self._paused_until - now
        if self._probing and self._probe_out:
            return _NAP_SECONDS
        if self._rate is None:
            return 0.0
        self._tokens = min(self._most_tokens, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) / self._rate
