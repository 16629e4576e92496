"""The providers of one tenant in their order: each is tried once, until one gives a text or the request is refused.

Trying an item again later is the queue's work, not this file's.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from threading import Event

from content_orchestration.core.errors import Permanent
from content_orchestration.core.generation.model import FailureCategory
from content_orchestration.core.generation.provider import Provider, ProviderFailure, Reply, Usage
from content_orchestration.core.generation.rate_limit import RateLimiter
from content_orchestration.core.generation.request import GenerationRequest

# Seconds to wait for a provider's rate limit: little where another can take the item, long where none can.
SHORT_PATIENCE = 5.0
LONG_PATIENCE = 120.0

Attempt = Callable[[str, str], AbstractContextManager[Callable[[Reply], None]]]
"""Called with provider and model before each call. Its context is entered before the call and left after it, with the
call's error where it failed; the function that it gives is called with the reply where it did not."""


@dataclass(frozen=True)
class Link:
    """A provider of a chain, with the limiter that it shares with every other user of the same key."""

    provider: Provider
    limiter: RateLimiter | None = None


@contextmanager
def unrecorded(provider: str, model: str) -> Iterator[Callable[[Reply], None]]:
    """An attempt that nobody writes down."""
    yield lambda reply: None


class ProviderChain:
    """Providers in the order of preference."""

    def __init__(
        self,
        links: Sequence[Link],
        *,
        short_patience: float = SHORT_PATIENCE,
        long_patience: float = LONG_PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not links:
            raise Permanent(
                "no provider is left for this tenant: name one in GENERATION_PROVIDERS and set its key "
                "(OPENAI_API_KEY, ANTHROPIC_API_KEY, or the tenant's own)"
            )
        self._links = tuple(links)
        self._short, self._long, self._clock = short_patience, long_patience, clock

    @property
    def providers(self) -> tuple[Provider, ...]:
        """The providers, the preferred one first."""
        return tuple(link.provider for link in self._links)

    def generate(
        self,
        request: GenerationRequest,
        *,
        timeout: float,
        attempt: Attempt = unrecorded,
        stop: Event | None = None,
    ) -> Reply:
        """The first text that a provider gives.

        `timeout` is in seconds and covers the calls of all providers together; each gets an equal share of what is
        left, so that one that hangs leaves time for those behind it. Waiting for a rate limit does not count, and has
        the chain's own bounds. A content policy's refusal ends the chain: no other provider is asked to overlook it.
        Raises `ProviderFailure` that names every provider's reason, and `Stopped`.
        """
        left = timeout
        failures: list[ProviderFailure] = []
        for at, link in enumerate(self._links):
            behind = len(self._links) - at
            try:
                with self._permit(link, last=behind == 1, stop=stop):
                    began = self._clock()
                    try:
                        return self._call(link.provider, request, left / behind, attempt, stop)
                    finally:
                        left = max(0.0, left - (self._clock() - began))
            except ProviderFailure as failure:
                if failure.category is FailureCategory.content_policy:
                    raise
                failures.append(failure)
        raise _together(failures)

    def _call(
        self, provider: Provider, request: GenerationRequest, timeout: float, attempt: Attempt, stop: Event | None
    ) -> Reply:
        with attempt(provider.name, provider.model) as replied:
            reply = provider.generate(request, timeout=timeout, stop=stop)
            replied(reply)
            return reply

    @contextmanager
    def _permit(self, link: Link, *, last: bool, stop: Event | None) -> Iterator[None]:
        if link.limiter is None:
            yield
            return
        with link.limiter.permit(self._long if last else self._short, stop):
            yield


def _together(failures: Sequence[ProviderFailure]) -> ProviderFailure:
    """One failure for all: worth a retry where one of them is, and then as soon as the first provider allows."""
    if len(failures) == 1:
        return failures[0]
    passing = [failure for failure in failures if not failure.permanent]
    chosen = passing[0] if passing else failures[0]
    waits = [failure.retry_after for failure in passing if failure.retry_after is not None]
    known = [failure.usage for failure in failures if failure.usage is not None]
    return ProviderFailure(
        chosen.category,
        f"all {len(failures)} providers failed: " + "; ".join(f"{failure.provider}: {failure}" for failure in failures),
        provider=chosen.provider,
        # A provider that named no time may be tried at once.
        retry_after=min(waits) if len(waits) == len(passing) and waits else None,
        usage=Usage(
            sum(usage.input_tokens for usage in known),
            sum(usage.output_tokens for usage in known),
            sum((usage.cost_usd for usage in known), start=Usage().cost_usd),
        )
        if known
        else None,
    )
