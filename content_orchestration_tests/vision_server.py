"""A local server that speaks as much of OpenAI's chat protocol as tagging a picture takes, and fails as it is told."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Reply = tuple[int, dict[str, Any], dict[str, str]]


class VisionServer:
    """Answers each request by the next of `replies`, the last one again and again; keeps what it was asked."""

    def __init__(self, *replies: Reply | None) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._replies = list(replies)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                server.asked.append(json.loads(body) | {"path": self.path})
                server.headers.append({name.lower(): value for name, value in self.headers.items()})
                reply = server._replies.pop(0) if len(server._replies) > 1 else server._replies[0]
                if reply is None:
                    self.close_connection = True
                    return
                status, answer, headers = reply
                data = json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                pass

        return Handler


def delivers(arguments: object) -> Reply:
    """An answer in which the model delivers its tags."""
    call = {
        "id": "call-1",
        "type": "function",
        "function": {"name": "deliver_tags", "arguments": json.dumps(arguments)},
    }
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    return 200, completion(message, "tool_calls"), {}


def completion(message: dict[str, Any], why: str = "stop") -> dict[str, Any]:
    """A whole answer around a message."""
    return {
        "id": "chat-1", "object": "chat.completion", "created": 1, "model": "eyes-1",
        "choices": [{"index": 0, "message": message, "finish_reason": why}],
        "usage": {"prompt_tokens": 900, "completion_tokens": 30, "total_tokens": 930},
    }  # fmt: skip


def fails(status: int, code: str = "", message: str = "it failed", **headers: str) -> Reply:
    """An error as OpenAI words it."""
    return status, {"error": {"message": message, "type": code, "code": code}}, headers
