"""The PostgreSQL client: a lazy psycopg pool, advisory locks, and an SQLAlchemy engine for Alembic.

Statements do not belong here; they are in `sql/`.
"""

import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import psycopg
from psycopg import Connection
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from content_orchestration.core.database import Row
from content_orchestration.core.errors import AlreadyRunning, Transient
from content_orchestration.core.sql import statement

if TYPE_CHECKING:
    from sqlalchemy import Engine

_CONNECT_SECONDS = 10.0
# Lent so lately, a connection is not asked whether it lives: that costs a round trip, and a closed one is heard.
_FRESH_SECONDS = 5.0


class _Lent(Connection[Row]):
    """A pooled connection that knows when it was last given back (monotonic clock, in seconds)."""

    back_at = float("-inf")


class PostgresClient:
    """Connections to one database. Nothing is opened before the first use; `close` ends what was opened."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 20,
        statement_timeout: float = 300.0,
        application_name: str = "content_orchestration",
    ) -> None:
        self._url = url
        self._pool_size = pool_size
        self._application_name = application_name
        # UTC and ISO, so that what PostgreSQL prints does not depend on the settings of role or server. Commits are
        # synchronous: one flushes the log of all that came before, so replication never copies what a crash takes back.
        self._options = (
            f"-c statement_timeout={int(statement_timeout * 1000)} -c timezone=UTC -c datestyle=ISO,YMD "
            "-c synchronous_commit=on -c default_transaction_isolation=read\\ committed"
        )
        self._pool: ConnectionPool[_Lent] | None = None
        self._lent = 0
        self._engine: Engine | None = None
        self._guard = threading.Lock()

    @property
    def address(self) -> str:
        """Host, port and database, without the secret: for messages."""
        parts = urlsplit(self._url)
        return f"{parts.hostname}:{parts.port or 5432}{parts.path}"

    @contextmanager
    def connection(self) -> Iterator[Connection[Row]]:
        """A pooled connection in a transaction. Raises `Transient` when the server cannot be reached or breaks off.

        A commit that was cut off may have happened: whoever tries again must look first.
        """
        pool, connection = self._borrowed()
        with self._guard:
            self._lent += 1
        try:
            with connection:
                yield connection
        except psycopg.OperationalError as error:
            raise Transient(f"PostgreSQL at {self.address} broke off: {error}") from error
        finally:
            connection.back_at = time.monotonic()
            pool.putconn(connection)
            with self._guard:
                self._lent -= 1

    @contextmanager
    def advisory_lock(self, name: str) -> Iterator[None]:
        """Hold the session lock `name` on a connection of its own; raises `AlreadyRunning` when it is taken.

        It fails and does not wait: a queue of schedules behind a stuck run hides the stuck run.
        """
        with self._connect() as connection:
            taken = connection.execute(statement("locks/try"), {"name": name}).fetchone()
            if not taken or not taken["locked"]:
                holder = connection.execute(statement("locks/holder"), {"name": name}).fetchone()
                who = (
                    f"pid {holder['pid']} ({holder['application_name']}) since {holder['since']}"
                    if holder
                    else "another"
                )
                raise AlreadyRunning(f"{name} is already running: its lock is held by {who}; wait for it or end it")
            try:
                yield
            finally:
                # A connection that broke has lost the lock already.
                with suppress(psycopg.OperationalError):
                    connection.execute(statement("locks/release"), {"name": name})

    def engine(self) -> "Engine":
        """An SQLAlchemy engine on the same database, for Alembic. One connection, not pooled."""
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        if self._engine is None:
            self._engine = create_engine("postgresql+psycopg://", creator=self._connect_plain, poolclass=NullPool)
        return self._engine

    def close(self) -> None:
        """Close the pool. The client may be used again and then opens a new one."""
        with self._guard:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _borrowed(self) -> tuple[ConnectionPool[_Lent], _Lent]:
        pool = self._opened()
        try:
            return pool, pool.getconn(timeout=_CONNECT_SECONDS)
        except (PoolTimeout, psycopg.OperationalError) as error:
            self._see_why(error)
        # The server is back, but after an outage the pool waits ever longer, up to minutes, before it asks again.
        with self._guard:
            if self._pool is pool:
                self._pool = None
        pool.close()
        try:
            pool = self._opened()
            return pool, pool.getconn(timeout=_CONNECT_SECONDS)
        except (PoolTimeout, psycopg.OperationalError) as error:
            raise Transient(f"PostgreSQL at {self.address} answers, but no connection came within time") from error

    def _opened(self) -> ConnectionPool[_Lent]:
        with self._guard:
            if self._pool is None:
                self._pool = ConnectionPool(
                    self._url,
                    connection_class=_Lent,
                    kwargs=self._arguments(),
                    min_size=0,
                    max_size=self._pool_size,
                    # A server that was restarted leaves dead connections behind; the check replaces them.
                    check=_check,
                    open=True,
                    name=self._application_name,
                )
            return self._pool

    def _see_why(self, error: Exception) -> None:
        """The pool says only that it waited; one connection beside it says why. Returns when the server answers."""
        try:
            self._connect().close()
        except Transient as reason:
            raise Transient(f"{reason}: see that the server runs and that DATABASE_PUBLIC_URL is right") from error
        with self._guard:
            used_up = self._lent >= self._pool_size
        if used_up:
            raise Transient(
                f"all {self._pool_size} connections to PostgreSQL at {self.address} were in use for "
                f"{_CONNECT_SECONDS:.0f} s: raise DATABASE_POOL_SIZE, or run less at once"
            ) from error

    def _arguments(self) -> dict[str, object]:
        return {
            "row_factory": dict_row,
            "options": self._options,
            "application_name": self._application_name,
            "connect_timeout": int(_CONNECT_SECONDS),
            "keepalives_idle": 30,
        }

    def _connect(self) -> Connection[Row]:
        try:
            return Connection[Row].connect(self._url, autocommit=True, **self._arguments())  # type: ignore[arg-type]
        except psycopg.OperationalError as error:
            raise Transient(f"PostgreSQL at {self.address} refused the connection ({error})") from error

    def _connect_plain(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(self._url, options=self._options, application_name=self._application_name)


def _check(connection: _Lent) -> None:
    """Raise `psycopg.OperationalError` for a connection that is dead; the pool then gives another.

    A server that stops, or ends a session, closes the socket or says so on it: both make it readable. What a firewall
    drops in silence is found by asking, where the connection has rested for a while.
    """
    if time.monotonic() - connection.back_at < _FRESH_SECONDS:
        said = select.poll()
        said.register(connection.fileno(), select.POLLIN)
        if not said.poll(0):
            return
    ConnectionPool.check_connection(connection)
