"""Builds the clients of the real providers, once for all tenants: HTTP client, SDK client, agent. No key is in them."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from content_orchestration.resources.llm_http import NO_KEY, EventLoop, http_client
from content_orchestration.resources.llm_prompt import INSTRUCTIONS, Draft

if TYPE_CHECKING:
    import httpx2
    from pydantic_ai import Agent
    from pydantic_ai.models import Model

T = TypeVar("T")
BASE_URLS = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}


class LlmEngine:
    """Agents by provider and model, and the loop that they run in. Everything is made with the first use."""

    def __init__(self, base_urls: dict[str, str], *, silence: float, max_tokens: int) -> None:
        self.base_urls = {name: base_urls.get(name) or url for name, url in BASE_URLS.items()}
        self._silence, self._max_tokens = silence, max_tokens
        self._loop = EventLoop()
        self._clients: dict[str, httpx2.AsyncClient] = {}
        self._agents: dict[tuple[str, str], Agent[None, Draft]] = {}
        self._guard = threading.RLock()

    def run(self, work: Callable[[], Coroutine[Any, Any, T]], timeout: float, stop: threading.Event | None = None) -> T:
        """The result of `work` on the loop, by the rules of `EventLoop.run`."""
        return self._loop.run(work, timeout, stop)

    def agent(self, provider: str, model: str) -> "Agent[None, Draft]":
        """The agent of a provider's model. It tries once: retries are the queue's, so that each is counted and paid."""
        with self._guard:
            if (provider, model) not in self._agents:
                from pydantic_ai import Agent, ToolOutput

                self._agents[provider, model] = Agent(
                    self._model(provider, model),
                    output_type=ToolOutput(Draft, name="deliver_text", description="Deliver the finished text."),
                    instructions=INSTRUCTIONS,
                    retries=0,
                    model_settings={"max_tokens": self._max_tokens},
                )
            return self._agents[provider, model]

    def client(self, provider: str) -> "httpx2.AsyncClient":
        """The HTTP client of a provider."""
        with self._guard:
            if provider not in self._clients:
                self._clients[provider] = http_client(provider, self._silence)
            return self._clients[provider]

    def close(self) -> None:
        """Close every connection and end the loop. The engine may be used again and then starts anew."""
        with self._guard:
            clients, self._clients, self._agents = list(self._clients.values()), {}, {}
        self._loop.close(lambda: _close(clients))

    def _model(self, provider: str, model: str) -> "Model":
        # Everything that these constructors would take from the environment is given, so that they look nowhere.
        if provider == "anthropic":
            from anthropic import AsyncAnthropic
            from pydantic_ai.models.anthropic import AnthropicModel
            from pydantic_ai.providers.anthropic import AnthropicProvider

            return AnthropicModel(
                model,
                provider=AnthropicProvider(
                    anthropic_client=AsyncAnthropic(
                        api_key=NO_KEY,
                        base_url=self.base_urls[provider],
                        max_retries=0,
                        timeout=self._silence,
                        http_client=self.client(provider),
                    )
                ),
            )
        from openai import AsyncOpenAI
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider

        return OpenAIChatModel(
            model,
            provider=OpenAIProvider(
                openai_client=AsyncOpenAI(
                    api_key=NO_KEY,
                    admin_api_key=NO_KEY,
                    base_url=self.base_urls[provider],
                    max_retries=0,
                    timeout=self._silence,
                    http_client=self.client(provider),
                )
            ),
        )


async def _close(clients: "list[httpx2.AsyncClient]") -> None:
    await asyncio.gather(*(client.aclose() for client in clients), return_exceptions=True)
