"""What an engine may ask of PostgreSQL. The client is `resources/postgres_client.py`."""

from contextlib import AbstractContextManager
from typing import Any, Protocol

from psycopg import Connection

Row = dict[str, Any]


class Database(Protocol):
    """A source of connections. Every connection prints and reads UTC and obeys the statement timeout."""

    def connection(self) -> AbstractContextManager[Connection[Row]]:
        """A pooled connection in a transaction: committed on a clean exit, rolled back on an error. Rows are dicts."""
        ...

    def advisory_lock(self, name: str) -> AbstractContextManager[None]:
        """Hold the session lock `name`; raises `AlreadyRunning` at once when somebody else holds it."""
        ...
