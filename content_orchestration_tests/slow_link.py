"""A link to a server of this machine that answers late: a proxy that holds back each answer for a while."""

import queue
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def slow_link(port: int, seconds: float) -> Iterator[int]:
    """The port of a proxy in front of `port` that holds back whatever the server says for so many seconds."""

    class Link(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as server, suppress(OSError):
                up = threading.Thread(target=_copy, args=(self.request, server, 0.0), daemon=True)
                up.start()
                _copy(server, self.request, seconds)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Link, bind_and_activate=True) as link:
        link.daemon_threads = True
        thread = threading.Thread(target=link.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield link.server_address[1]
        finally:
            link.shutdown()
            thread.join()


def _copy(source: socket.socket, target: socket.socket, seconds: float) -> None:
    """Each piece goes on `seconds` after it came: an answer that comes in two pieces is not held back twice."""
    pieces: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
    sender = threading.Thread(target=_send, args=(pieces, target), daemon=True)
    sender.start()
    with suppress(OSError):
        while data := source.recv(65536):
            pieces.put((time.monotonic() + seconds, data))
    pieces.put((0.0, b""))
    sender.join()


def _send(pieces: "queue.SimpleQueue[tuple[float, bytes]]", target: socket.socket) -> None:
    with suppress(OSError):
        while (piece := pieces.get())[1]:
            time.sleep(max(0.0, piece[0] - time.monotonic()))
            target.sendall(piece[1])
        target.shutdown(socket.SHUT_WR)
