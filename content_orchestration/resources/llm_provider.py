"""A real provider with one model, for one tenant's calls: the key, the deadline, what it used, and how it failed."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

from pydantic import SecretStr

from content_orchestration.core.generation.model import FailureCategory
from content_orchestration.core.generation.provider import ProviderFailure, Reply, Stopped, Usage
from content_orchestration.core.generation.rate_limit import RateLimiter
from content_orchestration.core.generation.request import GenerationRequest
from content_orchestration.resources.llm_engine import LlmEngine
from content_orchestration.resources.llm_failures import KeyNotAccepted, classified
from content_orchestration.resources.llm_http import Call, calling
from content_orchestration.resources.llm_prices import ModelPrice, Tokens
from content_orchestration.resources.llm_prompt import finished, task

if TYPE_CHECKING:
    from pydantic_ai.usage import RunUsage


@dataclass(frozen=True)
class HeldKey:
    """The key of a call. `own`: the tenant brought it; the platform's has version 0."""

    secret: SecretStr
    version: int = 0
    own: bool = False


KeyOf = Callable[[bool], HeldKey]
"""Gives the key to call with; with True, after one was refused, the one that is in use at this moment."""


class LlmProvider:
    """One model of openai or anthropic through pydantic-ai. Ten threads share it."""

    def __init__(
        self, name: str, model: str, *, engine: LlmEngine, key: KeyOf, limiter: RateLimiter, price: ModelPrice
    ) -> None:
        self._name, self._model = name, model
        self._engine, self._key, self._limiter, self._price = engine, key, limiter, price

    @property
    def name(self) -> str:
        """openai or anthropic."""
        return self._name

    @property
    def model(self) -> str:
        """The provider's name of the model."""
        return self._model

    def __repr__(self) -> str:
        return f"LlmProvider({self._name}:{self._model})"

    def generate(self, request: GenerationRequest, *, timeout: float, stop: Event | None = None) -> Reply:
        """One call, ended after `timeout` seconds however slowly the answer drips.

        Another follows only where the key was refused and one that was not tried has taken its place: a rotation fails
        no call, nor do two of them in the time of one. Raises `ProviderFailure` and `Stopped`, without a library's
        error behind them.
        """
        began = time.monotonic()
        key = self._key(False)
        reply = self._once(request, key, timeout, stop)
        tried = {(key.version, key.own)}
        while isinstance(reply, KeyNotAccepted):
            key = self._key(True)
            if (key.version, key.own) in tried:
                break
            tried.add((key.version, key.own))
            reply = self._once(request, key, max(0.0, timeout - (time.monotonic() - began)), stop)
        if isinstance(reply, Reply):
            return reply
        # Raised here and not where the library's error was caught: that one holds the request and stays behind.
        raise reply

    def _once(
        self, request: GenerationRequest, key: HeldKey, timeout: float, stop: Event | None
    ) -> Reply | ProviderFailure:
        from pydantic_ai import capture_run_messages
        from pydantic_ai.usage import RunUsage

        # The first import takes seconds, which are no part of the call's time.
        agent = self._engine.agent(self._name, self._model)
        used = RunUsage()
        paused: list[float] = []

        def heard(status: int, headers: Mapping[str, str]) -> None:
            pause = self._limiter.observe(status, headers)
            if status == 429 and pause is not None:
                paused.append(pause)

        ended: list[str | None] = []

        async def work() -> Reply | ProviderFailure:
            with calling(Call(key.secret, heard)), capture_run_messages() as messages:
                try:
                    result = await agent.run(task(request), usage=used)
                finally:
                    ended.extend(message.finish_reason for message in messages if message.kind == "response")
            generated = finished(request, result.output)
            if generated is None:
                return ProviderFailure(
                    FailureCategory.provider,
                    f"{self._name} delivered a text without a title or a body: it is tried again",
                    provider=self._name,
                    usage=self._usage(used),
                )
            return Reply(generated, self._usage(used), self._name, self._model)

        try:
            return self._engine.run(work, timeout, stop)
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001  (whatever a library raises may hold the key: none of it goes on)
            failure = classified(
                error,
                provider=self._name,
                model=self._model,
                secret=key.secret,
                own_key=key.own,
                timeout=timeout,
                usage=self._used_by(error, used),
                cut_short="length" in ended,
            )
        if paused and failure.category is FailureCategory.rate_limit and failure.retry_after is None:
            failure.retry_after = paused[-1]
        return failure

    def _used_by(self, error: Exception, used: "RunUsage") -> Usage | None:
        """What a failed call used: as counted, nothing where it was answered by an error, None where nobody knows."""
        from pydantic_ai.exceptions import ModelConnectionError, ModelHTTPError

        if used.input_tokens or used.output_tokens:
            return self._usage(used)
        never_sent = isinstance(error, ModelConnectionError) and error.phase in ("pool", "connect")
        return Usage() if never_sent or isinstance(error, ModelHTTPError) else None

    def _usage(self, used: "RunUsage") -> Usage:
        tokens = Tokens(used.input_tokens, used.output_tokens, used.cache_read_tokens, used.cache_write_tokens)
        return Usage(tokens.input, tokens.output, self._price.cost(tokens))
