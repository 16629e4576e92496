"""Fetches a file from a public http(s) address: bounded in size, time and redirects, and never from an inside host.

Where connections may go is decided in `network.py` and `addresses.py`, on each hop anew. Nothing is decompressed: a
server that compresses anyway is refused, so a small answer cannot become a large file.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from urllib.parse import urljoin

import httpcore

from content_orchestration.core.media.addresses import Permits, Target, is_public, parse_target
from content_orchestration.core.media.limits import Refused, too_large
from content_orchestration.core.media.model import SourceUnavailable
from content_orchestration.core.media.network import Deadline, PinnedBackend, Resolver, resolve

MOST_REDIRECTS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_LONGEST_RETRY_AFTER = 24 * 3600.0


class Downloader:
    """Opens addresses. One call is one download with connections of its own; nothing is kept between two.

    `permits` says which addresses may be reached. It is an argument of code, with the public internet as its default,
    and no setting: no environment can open the inside, and a test that serves from the loopback says so where it does.
    """

    def __init__(
        self,
        *,
        total_seconds: float = 120.0,
        permits: Permits = is_public,
        resolver: Resolver = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._total_seconds = total_seconds
        self._permits = permits
        self._resolver = resolver
        self._given_tls = tls

    @contextmanager
    def open(self, url: str, max_bytes: int) -> Iterator[Iterator[bytes]]:
        """The bytes of the file in chunks, as the server sends them; more than `max_bytes` are announced and refused.

        Raises `Refused` (`url_...`, `address_private`, `redirect_...`, `http_<status>`, `too_large`, `encoded`), and
        `Transient` where another try may help: no answer, cut off, too slow, busy. The caller counts what it reads.
        """
        deadline = Deadline(self._total_seconds)
        backend = PinnedBackend(self._resolver, self._permits, deadline)
        target = parse_target(url)
        for _ in range(MOST_REDIRECTS + 1):
            tls = self._tls if target.scheme == "https" else None
            pool = httpcore.ConnectionPool(ssl_context=tls, network_backend=backend, retries=0)
            with pool, _explained(target), pool.stream("GET", _url(target), headers=_headers(target)) as response:
                if response.status not in _REDIRECTS:
                    _check(response, target, max_bytes)
                    yield _chunks(response, deadline)
                    return
                target = _next(response, target)
        raise Refused(
            "redirect_loop", f"{url[:200]!r} redirects more than {MOST_REDIRECTS} times: give the last address"
        )

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given_tls or ssl.create_default_context()


def _chunks(response: httpcore.Response, deadline: Deadline) -> Iterator[bytes]:
    for chunk in response.iter_stream():
        deadline.left()
        yield chunk


def _url(target: Target) -> httpcore.URL:
    return httpcore.URL(
        scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path.encode()
    )


def _headers(target: Target) -> list[tuple[str, str]]:
    return [
        ("Host", target.host_header),
        ("User-Agent", "content-orchestration"),
        ("Accept", "*/*"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]


def _header(response: httpcore.Response, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), "")


def _next(response: httpcore.Response, target: Target) -> Target:
    location = _header(response, b"location")
    if not location:
        raise Refused("redirect_nowhere", f"{target.host} redirects without saying where to")
    following = parse_target(urljoin(target.url, location))
    if target.scheme == "https" and following.scheme == "http":
        raise Refused("redirect_downgrade", f"{target.host} redirects from https to http: give an https address")
    return following


def _check(response: httpcore.Response, target: Target, max_bytes: int) -> None:
    status = response.status
    if status in _AGAIN:
        raise SourceUnavailable(f"{target.host} answered {status}", _retry_after(_header(response, b"retry-after")))
    if status != 200:
        raise Refused(f"http_{status}", f"{target.host} answered {status}: see that the address is right and public")
    encoding = _header(response, b"content-encoding").strip().lower()
    if encoding not in ("", "identity"):
        raise Refused("encoded", f"{target.host} sends the file as {encoding[:40]!r} though asked not to")
    announced = _header(response, b"content-length").strip()
    if announced.isdigit() and int(announced) > max_bytes:
        raise too_large(int(announced), max_bytes)


def _retry_after(value: str) -> float | None:
    return min(float(value), _LONGEST_RETRY_AFTER) if value.strip().isdigit() else None


@contextmanager
def _explained(target: Target) -> Iterator[None]:
    """What httpcore raises, in our words. Reading the body happens inside, so it holds for that as well."""
    try:
        yield
    except httpcore.UnsupportedProtocol as error:
        raise Refused("url_scheme", f"{target.host}: {error}") from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
        raise SourceUnavailable(f"{target.host} broke off: {error or type(error).__name__}") from error
