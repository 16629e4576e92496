"""The HTTP side of the real providers: one event loop in a thread of its own, one client for each provider.

The SDKs never see a key. It is put into the request as it leaves and taken out of it as the answer comes, so that
no client, no repr and no exception of theirs carries one. What the environment would add to a request is taken out too.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import SecretStr

from content_orchestration.core.generation.provider import Stopped

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")

# What stands where the SDKs want a key; it is never sent.
NO_KEY = "set-when-sent"
_LOOK_SECONDS = 0.1
_GRACE_SECONDS = 5.0
# Headers that would say or pay for something in somebody else's name, were they set by the environment.
_NOT_OURS = ("authorization", "x-api-key", "openai-organization", "openai-project", "anthropic-workspace-id")


@dataclass(frozen=True)
class Call:
    """What one call needs beside its request: its key, and who hears what its answers' headers say."""

    secret: SecretStr
    heard: Callable[[int, Mapping[str, str]], object]


_call: ContextVar[Call] = ContextVar("generation_call")


@contextmanager
def calling(call: Call) -> Iterator[None]:
    """The requests of this task are made with this call's key."""
    token = _call.set(call)
    try:
        yield
    finally:
        _call.reset(token)


def key_header(provider: str, secret: SecretStr) -> tuple[str, str]:
    """Name and value of the header that a provider takes its key in."""
    if provider == "anthropic":
        return "x-api-key", secret.get_secret_value()
    return "authorization", f"Bearer {secret.get_secret_value()}"


def http_client(provider: str, timeout: float) -> "httpx2.AsyncClient":
    """A client that sends each request with its call's key, to where it was addressed and nowhere else.

    Redirects are not followed: they would take the key along. `timeout` is the longest silence in seconds; the
    deadline over the whole call is the caller's.
    """
    import httpx2

    class KeyOfTheCall(httpx2.Auth):
        async def async_auth_flow(self, request: httpx2.Request) -> Any:
            for name in _NOT_OURS:
                request.headers.pop(name, None)
            name, value = key_header(provider, _call.get().secret)
            request.headers[name] = value
            try:
                yield request
            finally:
                request.headers.pop(name, None)

    async def hear(response: httpx2.Response) -> None:
        _call.get().heard(response.status_code, dict(response.headers))

    return httpx2.AsyncClient(
        auth=KeyOfTheCall(),
        follow_redirects=False,
        timeout=httpx2.Timeout(timeout, connect=min(timeout, 15.0)),
        limits=httpx2.Limits(max_connections=100, max_keepalive_connections=20),
        event_hooks={"response": [hear]},
    )


class EventLoop:
    """An event loop in a thread, for threads that wait. It starts with the first call and ends with `close`."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Callable[[], Coroutine[Any, Any, T]], timeout: float, stop: threading.Event | None = None) -> T:
        """The result of `work`, ended after `timeout` seconds (TimeoutError) or when `stop` is set (`Stopped`)."""
        loop = self._running()

        async def bounded() -> T:
            async with asyncio.timeout(timeout):
                return await work()

        future = asyncio.run_coroutine_threadsafe(bounded(), loop)
        waited = 0.0
        while not future.done():
            concurrent.futures.wait([future], timeout=_LOOK_SECONDS)
            waited += _LOOK_SECONDS
            if stop is not None and stop.is_set() and not future.done():
                future.cancel()
                raise Stopped("stopped during a provider's call")
            if waited > timeout + _GRACE_SECONDS:
                future.cancel()
                raise TimeoutError
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise Stopped("the providers were closed during a call") from None

    def close(self, *endings: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """End every call, run the `endings`, stop the loop. It may be used again and then starts a new one."""
        with self._guard:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        for ending in (_end_calls, *endings):
            concurrent.futures.wait([asyncio.run_coroutine_threadsafe(ending(), loop)], timeout=_GRACE_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_GRACE_SECONDS)

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._guard:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_turn, args=(self._loop,), name="generation-providers", daemon=True
                )
                self._thread.start()
            return self._loop


async def _end_calls() -> None:
    calls = asyncio.all_tasks() - {asyncio.current_task()}
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
