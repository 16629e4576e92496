"""Runs the SQL of one Alembic revision. The revisions are in `sql/migrations/versions/`."""

from typing import Any

from content_orchestration.core.sql import sql_folder


def run_sql(name: str) -> None:
    """Execute `sql/migrations/<name>.sql` in the transaction of the migration that runs.

    The driver's connection is used as it is: without parameters psycopg sends a file of several statements whole.
    """
    from alembic import op

    driver: Any = op.get_bind().connection.driver_connection
    driver.execute((sql_folder() / "migrations" / f"{name}.sql").read_text(encoding="utf-8"))
