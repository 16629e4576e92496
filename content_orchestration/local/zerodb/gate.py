"""What every request passes before the routes: the key, the counts, and the faults that stand."""

import asyncio
import hmac
import json
from collections.abc import Callable

from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from content_orchestration.local.zerodb.faults import Controls, Fault

PREFIX = "/api/v1"
ABORT = "zerodb.abort"
"""The ASGI extension by which `server.py` hands out the closing of the connection."""
_OPEN_PATHS = {f"{PREFIX}/health", "/openapi.yaml"}


class Gate:
    """ASGI middleware. Answers 401 without the key; lets a fault take the place of an answer; counts both."""

    def __init__(self, app: ASGIApp, api_key: str, controls: Controls) -> None:
        self._app = app
        self._key = api_key.encode()
        self._controls = controls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Routes match the path as it was sent: a %2F inside a project's name is not a separator.
        scope = {**scope, "path": scope["raw_path"].decode("ascii")}
        path: str = scope["path"]
        counted = path.startswith(f"{PREFIX}/projects")
        if counted:
            closing = self._controls.opened(f"{scope['method']} {_route(scope)}")
            send = self._counting(send, closing)
        try:
            if path not in _OPEN_PATHS and not self._has_key(scope):
                await _answer(send, 401, "X-API-Key is missing or wrong")
                return
            fault = self._controls.pick(scope["method"], path) if counted else None
            if fault is None:
                await self._app(scope, receive, send)
            else:
                await self._fail(fault, scope, receive, send)
        finally:
            if counted:
                closing()

    def _has_key(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"x-api-key"]
        return len(given) == 1 and hmac.compare_digest(given[0], self._key)

    def _counting(self, send: Send, closing: Callable[[], None]) -> Send:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._controls.answers[str(message["status"])] += 1
            elif not message.get("more_body"):
                # Before the last byte: a client that has its answer may send the next request at once.
                closing()
            await send(message)

        return counted

    async def _fail(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        answer: list[Message] = []
        if fault.kind in ("slow", "cut_after", "error_after"):

            async def keep(message: Message) -> None:
                answer.append(message)

            await self._app(scope, receive, keep)
        else:
            await _drain(receive)
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
            for message in answer:
                await send(message)
        elif fault.kind == "rate_limit":
            await _answer(send, 429, "too many requests", [(b"retry-after", str(fault.retry_after).encode())])
        elif fault.kind in ("error", "error_after"):
            await _answer(send, fault.status, "a fault that was asked for")
        else:
            self._controls.answers["cut"] += 1
            scope["extensions"][ABORT]()
            # The server answers 500 for an application that ends before the loss of the connection is noticed.
            await _drain(receive, until="http.disconnect")


def _route(scope: Scope) -> str:
    for route in scope["app"].routes:
        if route.matches(scope)[0] is not Match.NONE:
            return str(route.path).removeprefix(PREFIX)
    return "(no route)"


async def _drain(receive: Receive, until: str = "") -> None:
    while True:
        message = await receive()
        if message["type"] in ("http.disconnect", until) or (not until and not message.get("more_body")):
            return


async def _answer(send: Send, status: int, detail: str, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    body = json.dumps({"detail": detail}).encode()
    fixed = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": fixed + (headers or [])})
    await send({"type": "http.response.body", "body": body})
