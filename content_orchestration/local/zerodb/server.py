"""Runs the application under uvicorn, on the loopback address, with connections that a fault can cut."""

import asyncio
import socket
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from content_orchestration.local.zerodb.gate import ABORT

HOST = "127.0.0.1"
KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays open: longer than a client keeps one, so that the client is the one to close."""

_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(message)s"}},
    "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "line"}},
    "loggers": {"uvicorn": {"handlers": ["stdout"], "level": "WARNING", "propagate": False}},
}


class CuttableProtocol(H11Protocol):
    """uvicorn's HTTP protocol, which also tells the application how to close its connection without an answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Adds the extension to every request of this connection."""
        super().connection_made(transport)
        application = self.app

        async def with_abort(scope: Scope, receive: Receive, send: Send) -> None:
            extensions = {**scope.get("extensions", {}), ABORT: transport.abort}
            await application({**scope, "extensions": extensions}, receive, send)

        self.app = with_abort


def listen(port: int) -> socket.socket:
    """A socket on the loopback address; port 0 takes a free one. Raises `OSError` where the port is taken."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((HOST, port))
        # Open at once, so that a client which read the port is queued and not refused.
        found.listen(2048)
    except OSError:
        found.close()
        raise
    return found


def make_server(app: Starlette) -> uvicorn.Server:
    """A server to `run(sockets=[listen(port)])`. It ends 5 s after a stop signal at the latest."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=CuttableProtocol,
            ws="none",
            lifespan="on",
            log_config=_LOGGING,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=5,
        )
    )
