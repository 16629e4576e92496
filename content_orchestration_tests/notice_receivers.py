"""Real receivers of notices on this machine: an HTTP endpoint and a mail server that count what they accept."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_string, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """What arrived, and what the next requests are answered: each entry of `answers` is used once, then 200 or 250."""

    port: int = 0
    received: list[Any] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    refused: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, usual: int, what: Any) -> int:
        """The code for this request; what is accepted is kept."""
        with self._guard:
            code = self.answers.pop(0) if self.answers else usual
            if code == usual:
                self.received.append(what)
            else:
                self.refused += 1
            return code


@contextmanager
def http_receiver() -> Iterator[Receiver]:
    """An endpoint for `json://127.0.0.1:<port>/…`."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(receiver.answer(200, body))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing: the test looks at what arrived."""

    with _serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        receiver.port = port
        yield receiver


@contextmanager
def mail_receiver() -> Iterator[Receiver]:
    """A mail server that speaks as much SMTP as a client needs; `answers` are codes for RCPT."""
    receiver = Receiver()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 test")
            while line := self.rfile.readline().decode().strip():
                verb = line[:4].upper()
                if verb == "RCPT" and receiver.answers:
                    self.say(f"{receiver.answer(250, None)} no such mailbox here")
                elif verb == "DATA":
                    self.say("354 go on")
                    lines = []
                    while (part := self.rfile.readline().decode()) != ".\r\n":
                        lines.append(part)
                    parsed: EmailMessage = message_from_string("".join(lines), policy=policy.default)  # type: ignore[assignment]
                    self.say(f"{receiver.answer(250, parsed)} ok")
                else:
                    self.say("221 bye" if verb == "QUIT" else "250 ok")

        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

    with _serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        receiver.port = port
        yield receiver


@contextmanager
def _serving(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
