"""Connections for downloads: a name is resolved once, checked, and the checked address is the one connected to.

So a name that resolves differently a moment later (DNS rebinding) changes nothing. Every read and write ends at the
download's deadline, however slowly the other side drips.
"""

import socket
import ssl
import threading
import time
import typing
from collections.abc import Callable, Iterable

import httpcore

from content_orchestration.core.media.addresses import Address, Permits, checked_addresses
from content_orchestration.core.media.model import SourceUnavailable

Resolver = Callable[[str, int], list[str]]
"""The addresses of a name, as text."""
_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 20.0


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name by the system's resolver. Raises OSError where there are none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Deadline:
    """A moment by which everything has to be over, by a clock that only goes forward."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds
        self.seconds = seconds

    def left(self) -> float:
        """Seconds that are left. Raises `SourceUnavailable` when none are."""
        left = self._end - self._clock()
        if left <= 0:
            raise SourceUnavailable(
                f"the download took longer than {self.seconds:g} s (STORAGE_DOWNLOAD_SECONDS): cut off"
            )
        return left


class PinnedBackend(httpcore.NetworkBackend):
    """Connects to checked addresses only, whatever name is asked for."""

    def __init__(self, resolver: Resolver, permits: Permits, deadline: Deadline) -> None:
        self._resolver = resolver
        self._permits = permits
        self._deadline = deadline
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to the first checked address that answers."""
        addresses = checked_addresses(host, self._resolved(host, port), self._permits)
        error: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                return self._connected(address, port)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                error = failed
        raise error

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Never: a path of this machine is no source of files."""
        raise httpcore.UnsupportedProtocol("no download comes from a socket of this machine")

    def _connected(self, address: Address, port: int) -> httpcore.NetworkStream:
        limit = min(_CONNECT_SECONDS, self._deadline.left())
        return _TimedStream(self._backend.connect_tcp(str(address), port, timeout=limit), self._deadline)

    def _resolved(self, host: str, port: int) -> list[str]:
        """The system's resolver knows no time limit, so it runs in a thread that is left behind when it is slow."""
        answer: list[list[str]] = []
        failure: list[OSError | UnicodeError] = []

        def ask() -> None:
            try:
                answer.append(self._resolver(host, port))
            except (OSError, UnicodeError) as error:
                failure.append(error)

        asking = threading.Thread(target=ask, name="media-resolver", daemon=True)
        asking.start()
        asking.join(min(_CONNECT_SECONDS, self._deadline.left()))
        if answer:
            return answer[0]
        raise SourceUnavailable(f"{host} cannot be resolved: {failure[0] if failure else 'no answer in time'}")


class _TimedStream(httpcore.NetworkStream):
    """A connection whose every wait ends at the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Bytes as they come; at most 20 s of silence."""
        return self._stream.read(max_bytes, min(_SILENCE_SECONDS, self._deadline.left()))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send the request."""
        self._stream.write(buffer, min(_SILENCE_SECONDS, self._deadline.left()))

    def close(self) -> None:
        """End the connection."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """TLS on the checked connection; the certificate must be the name's, not the address's."""
        limit = min(_CONNECT_SECONDS, self._deadline.left())
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, limit), self._deadline)

    def get_extra_info(self, info: str) -> typing.Any:
        """What the connection below says."""
        return self._stream.get_extra_info(info)
