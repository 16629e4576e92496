"""One request to ZeroDB, and the retries around it: which errors are worth another attempt, and what the rest mean.

Knows status codes, timeouts and Retry-After; knows nothing of documents (`zerodb_client.py` does).
"""

import logging
import queue
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, NamedTuple, NoReturn, TypeVar

import httpx
import stamina
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.resources import zerodb_json

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

_RETRIED_STATUS = frozenset({429, 500, 502, 503, 504})
# The request never reached the server: repeating it cannot do its work twice.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout)
_CUT_SHORT = (httpx.TimeoutException, httpx.ReadError, httpx.WriteError, httpx.CloseError, httpx.RemoteProtocolError)
_DETAIL = 300
_KEEP_ALIVE = 30.0
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

_ADVICE = {
    401: "check ZERODB_API_KEY",
    403: "the key has no right to this: check ZERODB_API_KEY and ZERODB_PROJECT_ID",
    404: "no such table, project or path: materialize zerodb_collections, check ZERODB_PROJECT_ID and API_BASE_URL",
    413: "the request is larger than the server takes: store a smaller document",
    422: "the server finds the request malformed: the document, name or filter breaks its rules",
}


def _log_retry(details: RetryDetails) -> None:
    _log.warning("attempt %d failed, next in %.1f s: %s", details.retry_num, details.wait_for, details.caused_by)


# stamina's own hook prints to stdout wherever structlog happens to be installed.
set_on_retry_hooks([_log_retry])


class AttemptError(Exception):
    """One attempt failed in a way that another may not. `executed`: the server may have done the work all the same."""

    def __init__(self, cause: str, *, executed: bool, retry_after: float | None = None) -> None:
        super().__init__(cause)
        self.executed = executed
        self.retry_after = retry_after


class AnswerTooLargeError(Exception):
    """The answer to a bounded call is larger than `max_answer_bytes`: ask for less at once."""


class Tally:
    """Counts requests over threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = 0

    def add(self) -> None:
        """One more request was sent."""
        with self._lock:
            self.requests += 1


@dataclass(frozen=True, slots=True)
class Call:
    """A request, and what its messages call it (`operation`, such as "insert into content_items")."""

    operation: str
    method: str
    path: str
    payload: bytes | None = field(default=None, repr=False)
    accept: tuple[int, ...] = (200,)
    parse: bool = True
    bounded: bool = False
    tally: Tally | None = None


class Answer(NamedTuple):
    """Status and parsed JSON object; empty where the call does not parse."""

    status: int
    content: dict[str, Any]


class ZeroDBHttp:
    """Sends calls. Thread-safe, connects with the first call; `close` ends it, and a later call connects again."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        timeout: float,
        connections: int,
        attempts: int,
        total_timeout: float,
        wait_initial: float,
        wait_max: float,
        max_answer_bytes: int,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        # The HTTP library would quote a malformed key in its error message.
        if not api_key.isascii() or not api_key.isprintable() or not api_key or " " in api_key:
            raise Permanent("ZERODB_API_KEY is empty, or holds a blank, a line end or a character that is not ASCII")
        try:
            url = httpx.URL(base_url)
        except httpx.InvalidURL as error:
            raise Permanent(f"API_BASE_URL is not an address: {error}") from None
        if url.scheme not in {"http", "https"} or not url.host or url.userinfo:
            raise Permanent("API_BASE_URL must be http:// or https://, a host and a path, without user or password")
        self.server = url.netloc.decode("ascii")
        self._base = str(url).rstrip("/")
        self._local = url.host in _LOOPBACK
        self._key = api_key
        self._timeout = timeout
        self._connections = connections
        self._attempts = attempts
        self._total_timeout = total_timeout
        self._wait_initial = wait_initial
        self._wait_max = wait_max
        self._max_answer_bytes = max_answer_bytes
        self._transport = transport
        # A client for each connection: one that several threads share may close a connection under its user (httpcore
        # 1.0.9 takes the answer's first byte for a disconnect), which then hangs until the timeout.
        self._idle: queue.LifoQueue[httpx.Client | None] = queue.LifoQueue()
        for _ in range(connections):
            self._idle.put(None)
        self._closing = threading.Lock()

    def close(self) -> None:
        """Close the connections, each when the request on it has ended."""
        with self._closing:
            clients = [self._idle.get() for _ in range(self._connections)]
            for client in clients:
                if client is not None:
                    client.close()
                self._idle.put(None)

    def call(self, call: Call) -> Answer:
        """Send until it is answered. Raises `Transient` when the attempts or the time run out."""
        return self.retrying(call.operation, lambda: self.send(call))

    def retrying(self, operation: str, work: Callable[[], _T]) -> _T:
        """Run `work` again while it raises `AttemptError`, within `attempts` and `total_timeout` seconds."""
        started = time.monotonic()
        done = 0

        def again(error: Exception) -> bool | float:
            if not isinstance(error, AttemptError):
                return False
            if not error.retry_after:
                return True
            # A wait that outlasts the budget is the caller's to take: the error carries it.
            if time.monotonic() - started + error.retry_after > self._total_timeout:
                return False
            return error.retry_after + random.uniform(0, self._wait_initial)  # noqa: S311  (jitter, not a secret)

        try:
            for attempt in stamina.retry_context(
                again,
                attempts=self._attempts,
                timeout=self._total_timeout,
                wait_initial=self._wait_initial,
                wait_max=self._wait_max,
                wait_jitter=self._wait_initial,
            ):
                with attempt:
                    done += 1
                    return work()
        except AttemptError as last:
            raise Transient(
                f"ZeroDB at {self.server}: {operation} failed {done} times in {time.monotonic() - started:.1f} s; "
                f"last: {last}",
                retry_after=last.retry_after,
            ) from last
        raise AssertionError("stamina ends with a result or an error")

    def send(self, call: Call) -> Answer:
        """Send once. Raises `AttemptError` where another attempt may help, `Permanent` where not."""
        headers = {"Content-Type": "application/json"} if call.payload is not None else None
        if call.tally is not None:
            call.tally.add()
        try:
            with self._borrowed() as client:
                url = self._base + call.path
                with client.stream(call.method, url, content=call.payload, headers=headers) as response:
                    body = self._read(call, response)
        except _NOT_SENT as error:
            raise AttemptError(self._cause(error), executed=False) from error
        except _CUT_SHORT as error:
            raise AttemptError(self._cause(error), executed=True) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Permanent(f"ZeroDB at {self.server}: {call.operation}: {self._cause(error)}") from error
        if response.status_code not in call.accept:
            self._refuse(call, response, body)
        return Answer(response.status_code, self._parse(call, body) if call.parse else {})

    @contextmanager
    def _borrowed(self) -> Iterator[httpx.Client]:
        """A client for this thread alone, the last used one first; waits while all are in use."""
        client = self._idle.get()
        try:
            if client is None:
                client = httpx.Client(
                    headers={"X-API-Key": self._key, "Accept": "application/json"},
                    timeout=self._timeout,
                    limits=httpx.Limits(keepalive_expiry=_KEEP_ALIVE),
                    verify=_tls(),
                    # A proxy from the environment cannot reach this machine's own servers.
                    trust_env=not self._local,
                    transport=self._transport,
                )
            yield client
        finally:
            self._idle.put(client)

    def _read(self, call: Call, response: httpx.Response) -> bytes:
        """The body. httpx bounds the wait for each piece only, so the whole is bounded here."""
        limit = self._max_answer_bytes if call.bounded and response.status_code == 200 else None
        if limit is not None and int(response.headers.get("Content-Length", 0)) > limit:
            raise AnswerTooLargeError
        ends = time.monotonic() + self._timeout
        pieces: list[bytes] = []
        size = 0
        for piece in response.iter_bytes():
            pieces.append(piece)
            size += len(piece)
            if limit is not None and size > limit:
                raise AnswerTooLargeError
            if time.monotonic() > ends:
                raise httpx.ReadTimeout(f"the answer was not complete after {self._timeout:g} s")
        return b"".join(pieces)

    def _parse(self, call: Call, body: bytes) -> dict[str, Any]:
        try:
            content = zerodb_json.decode(body)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise Permanent(
                f"ZeroDB at {self.server}: {call.operation} was answered with something that is not a JSON object: "
                "check API_BASE_URL"
            )
        return content

    def _refuse(self, call: Call, response: httpx.Response, body: bytes) -> NoReturn:
        status = response.status_code
        said = f"{status} {response.reason_phrase}: {self._detail(body)}".rstrip(": ")
        if status in _RETRIED_STATUS:
            retry_after = _seconds(response.headers.get("Retry-After"))
            # A rate limit turns the request away; any other may have failed after the work was done.
            raise AttemptError(said, executed=status != 429, retry_after=retry_after)
        advice = _ADVICE.get(status, "check API_BASE_URL")
        raise Permanent(f"ZeroDB at {self.server}: {call.operation} was refused ({said}): {advice}")

    def _detail(self, body: bytes) -> str:
        try:
            content = zerodb_json.decode(body)
        except (ValueError, RecursionError):
            return ""
        detail = content.get("detail", "") if isinstance(content, dict) else ""
        return str(detail).replace(self._key, "***")[:_DETAIL]

    def _cause(self, error: Exception) -> str:
        return f"{type(error).__name__}: {error}".replace(self._key, "***").rstrip(": ")


@cache
def _tls() -> ssl.SSLContext:
    """One for all connections: reading the certificates takes tens of milliseconds."""
    return httpx.create_ssl_context()


def _seconds(retry_after: str | None) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date; None where there is none or it cannot be read."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(int(retry_after)))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
