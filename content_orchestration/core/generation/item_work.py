"""Works one claimed item up to a text that can be stored. How it is stored is in `writer.py`, how it ends in the queue.

Each step is written to the item first, and the queue's fence may refuse it: then the item is somebody else's.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from content_orchestration.core.errors import ContentError
from content_orchestration.core.failpoints import reach
from content_orchestration.core.generation.fallback import Attempt
from content_orchestration.core.generation.model import Claimed, FailureCategory, Phase
from content_orchestration.core.generation.patience import patiently
from content_orchestration.core.generation.progress import Meter
from content_orchestration.core.generation.provider import GenerationRequest, ProviderFailure, Reply, Stopped, Usage
from content_orchestration.core.generation.queue import GenerationQueue


class Chain(Protocol):
    """The providers of one tenant in their order: what `ProviderChain` does."""

    def generate(
        self, request: GenerationRequest, *, timeout: float, attempt: Attempt, stop: threading.Event | None = None
    ) -> Reply:
        """The reply of the first provider that gives one; each call within `attempt(provider, model)`."""
        ...


# A phase that ends sooner is nothing that anybody could watch, and each costs a commit.
_UNSEEN_SECONDS = 0.1


class Stale(ContentError):
    """The item is no longer this worker's: its lease was lost, or it was cancelled. Not a failure."""


@dataclass(frozen=True)
class Finished:
    """A text that waits to be stored. `cost_usd` is what all calls for it cost under this claim."""

    claimed: Claimed
    request: GenerationRequest
    reply: Reply
    cost_usd: Decimal


class _Steps:
    """Writes the phases of one item, each behind the fence."""

    def __init__(
        self, queue: GenerationQueue, claimed: Claimed, halt: threading.Event, clock: Callable[[], float]
    ) -> None:
        self._queue = queue
        self._claimed = claimed
        self._halt = halt
        self._clock = clock
        self._written = -_UNSEEN_SECONDS

    def begin(self, phase: Phase, percentage: int, step: str, *, brief: bool = False) -> None:
        """Say that the item is in this phase. A `brief` one is left out where the last was written just before.

        Raises `Stale` where the fence refuses, and `Stopped`.
        """
        self._go_on()
        if brief and self._clock() < self._written + _UNSEEN_SECONDS:
            return
        self._written = self._clock()
        self._require(lambda: self._queue.progress(self._claimed, phase, percentage, step))

    def hold(self, step: str) -> None:
        """Say that the item waits to be stored, which frees its place. Raises as `begin`."""
        self._go_on()
        self._require(lambda: self._queue.hold(self._claimed, step))

    def _go_on(self) -> None:
        if self._halt.is_set():
            raise Stopped("the run was stopped")

    def _require(self, write: Callable[[], bool]) -> None:
        if not patiently(write, self._halt):
            raise Stale(f"item {self._claimed.id} is no longer this worker's")


class ItemWorker:
    """Takes items through their phases. One a run; its threads share it."""

    def __init__(
        self,
        queue: GenerationQueue,
        chain: Chain,
        meter: Meter,
        *,
        timeout_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._chain = chain
        self._meter = meter
        self._timeout = timeout_seconds
        self._clock = clock

    def work(self, claimed: Claimed, halt: threading.Event) -> Finished:
        """The item's text.

        Raises `Permanent` for a request that cannot be worked, `ProviderFailure`, `Stale`, and `Stopped` once `halt`
        is set.
        """
        steps = _Steps(self._queue, claimed, halt, self._clock)
        steps.begin(Phase.analyzing, 5, "reading the request")
        request = GenerationRequest.from_item(claimed)
        steps.begin(Phase.structuring, 15, f"{request.target_words} words on {request.topic[:100]}", brief=True)
        steps.begin(Phase.writing, 30, "a provider is writing")
        spent = [Decimal(0)]
        reply = self._chain.generate(
            request, timeout=self._timeout, attempt=self._attempts_of(claimed, halt, spent), stop=halt
        )
        reach("generation_replied")
        text = reply.generated
        score = f"{text.word_count} words, SEO score {text.seo_score} of 100"
        steps.begin(Phase.optimizing, 80, score, brief=True)
        steps.hold(f"{score}; waiting to be stored")
        reach("generation_held")
        return Finished(claimed, request, reply, spent[0])

    def _attempts_of(self, claimed: Claimed, halt: threading.Event, spent: list[Decimal]) -> Attempt:
        @contextmanager
        def attempt(provider: str, model: str) -> Iterator[Callable[[Reply], None]]:
            attempt_id = patiently(lambda: self._queue.begin_attempt(claimed, provider, model), halt)
            if attempt_id is None:
                raise Stale(f"item {claimed.id} is no longer this worker's")
            reach("generation_attempt_begun")
            used, outcome, message = Usage(), FailureCategory.unknown.value, ""

            def record(reply: Reply) -> None:
                nonlocal used
                used = reply.usage

            try:
                yield record
                outcome = "succeeded"
            except ProviderFailure as failure:
                used, outcome, message = failure.usage or used, failure.category.value, str(failure)
                raise
            except Stopped:
                outcome, message = FailureCategory.crash.value, "the run was stopped while the provider wrote"
                raise
            except BaseException as error:
                # By its type alone: what an unknown error says may hold a key.
                message = f"{type(error).__name__} in the provider's code"
                raise
            finally:
                self._end(attempt_id, used, outcome, message)
                spent[0] += used.cost_usd
            reach("generation_attempt_ended")

        return attempt

    def _end(self, attempt_id: UUID, used: Usage, outcome: str, message: str) -> None:
        """Money that was spent is recorded whatever else happens, so the wait for PostgreSQL heeds no stop."""
        self._meter.spent(used.cost_usd)
        patiently(
            lambda: self._queue.end_attempt(
                attempt_id,
                outcome=outcome,
                input_tokens=used.input_tokens,
                output_tokens=used.output_tokens,
                cost_usd=used.cost_usd,
                message=message,
            ),
            threading.Event(),
        )
