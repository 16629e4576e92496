"""A local server that speaks the protocols of OpenAI's chat completions and Anthropic's messages, and their faults.

Each answer is taken from `script`, first in first out; where it is empty, a good text is delivered.
"""

import asyncio
import json
import socket
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

Provider = Literal["openai", "anthropic"]
DRAFT = {
    "title": "Restore drills that small teams keep up",
    "body": "## Why\n\nRestore drills show whether backups work.\n\n## How\n\n" + "They take an hour each month. " * 20,
    "tags": ["backups", "drills"],
}
INPUT_TOKENS, OUTPUT_TOKENS = 321, 654


@dataclass(frozen=True)
class Fault:
    """What the server does instead of delivering a text."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    error_type: str = "server_error"
    error_code: str | None = None
    message: str = "The server had an error"
    kind: Literal[
        "status", "not_json", "wrong_fields", "no_tool", "arguments_cut", "empty", "drip", "cut", "hang",
        "filtered", "refused", "length", "text_body",
    ] = "status"  # fmt: skip


@dataclass
class LlmServer:
    """A running server. `calls` are the requests that it got: path, headers in lower case, JSON."""

    url: str
    calls: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    script: deque[Fault | Mapping[str, str] | None] = field(default_factory=deque)
    keys: set[str] | None = None
    """The keys that are accepted; None accepts all. The refusal echoes the key, as a careless proxy would."""
    delay: float = 0.0
    open_streams: int = 0
    most_at_once: int = 0
    now_running: int = 0

    def base_url(self, provider: Provider) -> str:
        return f"{self.url}/v1" if provider == "openai" else self.url

    def sent_keys(self) -> list[str]:
        return [
            headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
            for _, headers, _ in self.calls
        ]


def reply(provider: Provider, fault: Fault | None) -> dict[str, Any]:
    kind = fault.kind if fault else "status"
    arguments: Any = DRAFT
    if kind == "wrong_fields":
        arguments = {"headline": "x", "text": 3}
    elif kind == "empty":
        arguments = {"title": "  ", "body": "", "tags": []}
    if provider == "openai":
        text = json.dumps(arguments)
        call = {
            "id": "call_1",
            "type": "function",
            "function": {"name": "deliver_text", "arguments": text[:25] if kind == "arguments_cut" else text},
        }
        message: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [call]}
        finish = "tool_calls"
        if kind == "no_tool":
            message, finish = {"role": "assistant", "content": "Here is your text."}, "stop"
        elif kind == "refused":
            message, finish = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}, "stop"
        elif kind == "filtered":
            message, finish = {"role": "assistant", "content": ""}, "content_filter"
        elif kind == "length":
            call["function"]["arguments"] = text[:25]  # type: ignore[index]
            finish = "length"
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_790_000_000,
            "model": "gpt-4.1-mini",
            "choices": [{"index": 0, "finish_reason": finish, "message": message}],
            "usage": {
                "prompt_tokens": INPUT_TOKENS,
                "completion_tokens": OUTPUT_TOKENS,
                "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
            },
        }
    content: list[dict[str, Any]] = [{"type": "tool_use", "id": "toolu_1", "name": "deliver_text", "input": arguments}]
    stop = "tool_use"
    if kind == "no_tool":
        content, stop = [{"type": "text", "text": "Here is your text."}], "end_turn"
    elif kind in ("refused", "filtered"):
        content, stop = [], "refusal"
    elif kind in ("length", "arguments_cut"):
        content, stop = (
            [{"type": "tool_use", "id": "toolu_1", "name": "deliver_text", "input": {"title": "R"}}],
            "max_tokens",
        )
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5",
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS},
    }


def error_body(provider: Provider, fault: Fault) -> dict[str, Any]:
    error = {"type": fault.error_type, "message": fault.message}
    if provider == "openai":
        return {"error": error | {"code": fault.error_code, "param": None}}
    return {"type": "error", "error": error}


class Cut(Exception):
    """Ends the connection in the middle of an answer."""


def application(server: LlmServer) -> Starlette:
    async def answer(request: Request) -> Response:
        provider: Provider = "anthropic" if request.url.path.endswith("/messages") else "openai"
        sent = await request.json() if request.method == "POST" else {}
        server.calls.append((request.url.path, dict(request.headers), sent))
        server.now_running += 1
        server.most_at_once = max(server.most_at_once, server.now_running)
        try:
            return await respond(provider, request)
        finally:
            server.now_running -= 1

    async def respond(provider: Provider, request: Request) -> Response:
        planned = server.script.popleft() if server.script else None
        headers = dict(planned) if isinstance(planned, Mapping) else {}
        fault = planned if isinstance(planned, Fault) else None
        key = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        if server.keys is not None and key not in server.keys:
            kind = "authentication_error" if provider == "anthropic" else "invalid_request_error"
            fault = Fault(401, {}, kind, "invalid_api_key", f"Incorrect API key provided: {key}")
        if server.delay:
            await asyncio.sleep(server.delay)
        if request.method == "GET" and (fault is None or (fault.kind == "status" and fault.status == 200)):
            return JSONResponse({"object": "list", "data": [], "has_more": False})
        if fault is None or (fault.kind == "status" and fault.status == 200):
            return JSONResponse(reply(provider, fault), headers=headers | dict(fault.headers if fault else {}))
        if fault.kind == "status":
            return JSONResponse(error_body(provider, fault), fault.status, dict(fault.headers))
        if fault.kind == "not_json":
            return PlainTextResponse("<html>upstream timed out", media_type="application/json")
        if fault.kind == "text_body":
            return PlainTextResponse("all is well")
        if fault.kind in ("drip", "cut", "hang"):
            body = json.dumps(reply(provider, None)).encode()
            return StreamingResponse(
                dripping(server, body, fault.kind), media_type="application/json",
                headers={"content-length": str(len(body))},
            )  # fmt: skip
        return JSONResponse(reply(provider, fault), headers=dict(fault.headers))

    return Starlette(
        routes=[
            Route("/v1/chat/completions", answer, methods=["POST"]),
            Route("/v1/messages", answer, methods=["POST"]),
            Route("/v1/models", answer, methods=["GET"]),
        ]
    )


async def dripping(server: LlmServer, body: bytes, kind: str) -> AsyncIterator[bytes]:
    server.open_streams += 1
    try:
        for at in range(len(body)):
            if kind == "cut" and at == 40:
                raise Cut
            yield body[at : at + 1]
            await asyncio.sleep(0 if kind == "cut" else 30 if kind == "hang" and at == 3 else 0.02)
    finally:
        server.open_streams -= 1


@contextmanager
def serving() -> Iterator[LlmServer]:
    """A server on a free port, in a thread of its own."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = LlmServer(f"http://127.0.0.1:{listener.getsockname()[1]}")
    running = uvicorn.Server(
        uvicorn.Config(application(server), log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=lambda: running.run(sockets=[listener]), daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not running.started:
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.01)
    try:
        yield server
    finally:
        running.should_exit = True
        thread.join(15)
        listener.close()
