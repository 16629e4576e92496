"""What all comparisons with the document store share: how they end when they could not look, and rows in a stream.

What is compared with what is in the module of each.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import ContentError, Permanent
from content_orchestration.core.integrity.findings import Comparison
from content_orchestration.core.sql import statement

Clock = Callable[[], float]

_ROWS_PER_FETCH = 1000


@contextmanager
def looking(name: str, clock: Clock = time.monotonic) -> Iterator[Comparison]:
    """A comparison to fill in. An error of a tier ends it as unknown; what it had found until then stays."""
    comparison = Comparison(name)
    started = clock()
    try:
        yield comparison
    except ContentError as error:
        comparison.unknown = str(error)
    finally:
        comparison.seconds = clock() - started


def tenant_uuid(tenant_id: str | None) -> UUID | None:
    """The tenant as PostgreSQL binds it; None means all. Raises `Permanent` for what is no tenant id."""
    return None if tenant_id is None else as_uuid(tenant_id, "tenant_id")


def as_uuid(text: str, field: str) -> UUID:
    """The id. Raises `Permanent`, naming the field, for what is no UUID."""
    try:
        return UUID(text)
    except ValueError:
        raise Permanent(f"{field} is {text!r}, which is not a UUID: give the id as the tables have it") from None


def stream(database: Database, name: str, values: Mapping[str, Any]) -> Generator[Row, None, None]:
    """The rows of the statement `name`, in bounded memory. The caller closes it.

    The server sets the result aside and ends the snapshot, so that a comparison of hours holds no vacuum up.
    """
    with (
        database.connection() as connection,
        connection.cursor(name="compared_rows", withhold=True) as cursor,
    ):
        cursor.execute(statement(name), values)
        connection.commit()
        while rows := cursor.fetchmany(_ROWS_PER_FETCH):
            connection.commit()
            yield from rows
