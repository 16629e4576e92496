"""Who asks: every statement of the content store runs in the role `content_app` and for one tenant.

Row-level security then hides all other tenants' rows from it, whatever the statement says (migration 0007).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from psycopg import Connection

from content_orchestration.core.database import Database, Row
from content_orchestration.core.sql import statement


@contextmanager
def as_tenant(database: Database, tenant_id: UUID) -> Iterator[Connection[Row]]:
    """A connection in a transaction that can see and write this tenant's rows only. Both end with the transaction."""
    with database.connection() as connection:
        enter(connection, tenant_id)
        yield connection


def enter(connection: Connection[Row], tenant_id: UUID) -> None:
    """Make the rest of the connection's transaction the tenant's."""
    connection.execute(statement("content/enter_tenant"), {"tenant_id": str(tenant_id)})


def leave(connection: Connection[Row]) -> None:
    """Give the rest of the transaction back to the connection's own role, which is no tenant's."""
    connection.execute(statement("content/leave_tenant"))
