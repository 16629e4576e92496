"""Connections for maintenance and the server of scratch databases: what the platform's own client may not do.

Only the engines of `core/operations/` use them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import Connection, sql

from content_orchestration.core.database import Row
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.sql import statement
from content_orchestration.resources.postgres_client import PostgresClient

_MAINTENANCE = "postgres"


class MaintenancePostgres(PostgresClient):
    """A client that also opens connections in autocommit, for statements that no transaction can hold."""

    @contextmanager
    def session(self) -> Iterator[Connection[Row]]:
        """A connection of its own in autocommit. Raises `Transient` where the server is away or breaks off."""
        with self._connect() as connection:
            try:
                yield connection
            except psycopg.OperationalError as error:
                raise Transient(f"PostgreSQL at {self.address} broke off: {error}") from error


class ScratchPostgres:
    """Databases that are made and dropped on the server of `url`, whose own database is never touched."""

    def __init__(self, url: str, application_name: str = "content_orchestration_backup") -> None:
        self._url = url
        self._application_name = application_name

    def databases(self) -> Sequence[Row]:
        """Databases that checks of backups made, and how many are connected to each."""
        with self.opened(_MAINTENANCE) as client, client.connection() as connection:
            return connection.execute(statement("operations/scratch_list")).fetchall()

    def create(self, name: str) -> None:
        """Create an empty database. Raises `Permanent` without the right to."""
        try:
            with self._client(_MAINTENANCE) as client, client.session() as connection:
                connection.execute(sql.SQL(statement("drill/create_database")).format(name=sql.Identifier(name)))
        except psycopg.errors.InsufficientPrivilege as error:
            raise Permanent(
                f"the role may not create databases on {urlsplit(self._url).hostname} ({str(error).strip()}), and a "
                "backup is proven by restoring it into one: ALTER ROLE … CREATEDB, or set DRILL_DATABASE_URL to a "
                "server where it may"
            ) from error

    def drop(self, name: str) -> None:
        """Drop a database with whoever is connected; one that is not there is no error."""
        with self._client(_MAINTENANCE) as client, client.session() as connection:
            connection.execute(sql.SQL(statement("operations/scratch_drop")).format(name=sql.Identifier(name)))

    def url(self, name: str) -> str:
        """Where that database is. Carries the password: never log it."""
        return urlunsplit(urlsplit(self._url)._replace(path="/" + quote(name)))

    @contextmanager
    def opened(self, name: str) -> Iterator[PostgresClient]:
        """A client of that database, closed at the end."""
        with self._client(name) as client:
            yield client

    def _client(self, name: str) -> MaintenancePostgres:
        return MaintenancePostgres(self.url(name), pool_size=4, application_name=self._application_name)


def drills_database(url: str) -> PostgresClient | None:
    """A client of the database in which drills take their lock; None where it is not there, so that no drill can run.

    Raises `Transient` where its server is away.
    """
    parts = urlsplit(url)
    name = parts.path.lstrip("/")
    # Not through a pool, which waits for its time to pass before it says that nobody answers.
    with MaintenancePostgres(urlunsplit(parts._replace(path="/" + _MAINTENANCE))).session() as connection:
        found = connection.execute(statement("drill/database_exists"), {"name": name}).fetchone()
    if not found or not found["present"]:
        return None
    return PostgresClient(url, pool_size=4, application_name="content_orchestration_maintenance")
