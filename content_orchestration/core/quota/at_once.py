"""A statement that is a transaction of its own, for the ledger's hot rows. No statement is named here."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from psycopg import Connection

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Permanent
from content_orchestration.core.sql import statement


@contextmanager
def at_once(database: Database) -> Iterator[Connection[Row]]:
    """A connection in autocommit: the server commits with the statement itself.

    With BEGIN and COMMIT apart, the tenant's row stays locked while the answer travels and the client wakes up.
    """
    with database.connection() as connection:
        connection.autocommit = True
        try:
            yield connection
        finally:
            # A connection that broke cannot be set, and the pool throws it away.
            if not connection.closed:
                connection.autocommit = False


def one(connection: Connection[Row], name: str, values: Mapping[str, Any]) -> Row:
    """The one row that `sql/<name>.sql` answers. Raises `Permanent` where there is none."""
    row = connection.execute(statement(name), values).fetchone()
    if row is None:
        raise Permanent(f"{name} answered no row although it always has one: see that the schema is current")
    return row
