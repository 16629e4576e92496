"""Our PostgreSQL schema: bring it to the newest revision, check its shape, take it back.

The SQL is in `sql/migrations/`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from psycopg.errors import InsufficientPrivilege

from content_orchestration.core.database import Database
from content_orchestration.core.errors import Permanent
from content_orchestration.core.schema.platform import require_platform
from content_orchestration.core.sql import sql_folder, statement

if TYPE_CHECKING:
    from sqlalchemy import Engine

# (columns, indexes) from DESIGN.md; the indexes behind constraints count.
SHAPES: Mapping[str, tuple[int, int]] = {
    "content_storage_metadata": (17, 6),
    "content_quota_usage": (12, 2),
    "content_generation_jobs": (19, 6),
}
ROLLBACK_CONFIRMATION = "drop every content_orchestration table"
_LOCK = "postgres_schema"


class MigratableDatabase(Database, Protocol):
    """A database that Alembic can work on."""

    def engine(self) -> "Engine":
        """An SQLAlchemy engine on the same database."""
        ...


@dataclass(frozen=True)
class SchemaReport:
    """What a migration did."""

    before: str | None
    after: str | None
    applied: tuple[str, ...]

    def as_metadata(self) -> dict[str, Any]:
        """For the asset's metadata."""
        return {
            "revision": self.after or "none",
            "revision_before": self.before or "none",
            "applied": ", ".join(self.applied) or "nothing: up to date",
        }


def upgrade(database: MigratableDatabase) -> SchemaReport:
    """Bring the schema to the newest revision, each revision in its own transaction.

    Raises `Permanent` when the platform's tables are not what the contract says, when the role may not change the
    schema or when a newer release migrated before; `AlreadyRunning` when somebody else migrates.
    """
    require_platform(database)
    return _run(database, "upgrade", "head")


def rollback(database: MigratableDatabase, confirm: str) -> SchemaReport:
    """Take every revision back. The platform's tables stay as they were; content rows, usage and the change log go.

    Raises `Permanent` unless `confirm` is the exact sentence, so that no default and no slip can do it.
    """
    if confirm != ROLLBACK_CONFIRMATION:
        raise Permanent(
            f"confirm is {confirm!r}, which is not the sentence that this job asks for: nothing was changed. "
            f"To drop our tables and their rows, set confirm to {ROLLBACK_CONFIRMATION!r}"
        )
    return _run(database, "downgrade", "base")


def shape_differences(database: Database) -> list[str]:
    """How the named tables differ from their column and index counts; empty when they do not."""
    tables = list(SHAPES)
    with database.connection() as connection:
        columns = connection.execute(statement("schema/columns"), {"tables": tables}).fetchall()
        indexes = connection.execute(statement("schema/indexes"), {"tables": tables}).fetchall()
    index_counts = {row["table_name"]: row["indexes"] for row in indexes}
    differences = []
    for table, (wanted_columns, wanted_indexes) in SHAPES.items():
        has_columns = sum(row["table_name"] == table for row in columns)
        has_indexes = index_counts.get(table, 0)
        if (has_columns, has_indexes) != (wanted_columns, wanted_indexes):
            differences.append(
                f"{table} has {has_columns} columns and {has_indexes} indexes, "
                f"not {wanted_columns} columns and {wanted_indexes} indexes"
            )
    return differences


def table_counts(database: Database) -> dict[str, int]:
    """Rows in each of our tables."""
    with database.connection() as connection:
        rows = connection.execute(statement("schema/row_counts")).fetchall()
    return {row["table_name"]: row["rows"] for row in rows}


def columns_of(database: Database, table: str) -> list[tuple[str, str]]:
    """Name and type of each column of a table, in order."""
    with database.connection() as connection:
        rows = connection.execute(statement("schema/columns"), {"tables": [table]}).fetchall()
    return [(row["column_name"], row["type"]) for row in rows]


def _migrations() -> Path:
    return sql_folder() / "migrations"


def _run(database: MigratableDatabase, direction: str, target: str) -> SchemaReport:
    # Alembic costs 0.3 s to import, and most processes never migrate.
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_migrations()).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    known = [script.revision for script in scripts.walk_revisions()]
    with database.advisory_lock(_LOCK), database.engine().connect() as connection, _privileges_named():
        options = {"version_table": "content_orchestration_version"}
        before = MigrationContext.configure(connection, opts=options).get_current_revision()
        connection.rollback()
        if before is not None and before not in known:
            raise Permanent(
                f"the schema is at revision {before}, which this release does not know (its newest is {known[0]}): "
                "nothing was changed. Install the release that migrated this database, or a newer one"
            )
        config.attributes["connection"] = connection
        getattr(command, direction)(config, target)
        after = MigrationContext.configure(connection, opts=options).get_current_revision()
        if after is None:
            connection.exec_driver_sql(statement("schema/drop_version"))
        connection.commit()
    crossed = [r for r in reversed(known) if (before or "") < r <= (after or "") or (after or "") < r <= (before or "")]
    return SchemaReport(before, after, tuple(crossed if direction == "upgrade" else reversed(crossed)))


@contextmanager
def _privileges_named() -> Iterator[None]:
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except (InsufficientPrivilege, DBAPIError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if not isinstance(cause, InsufficientPrivilege):
            raise
        raise Permanent(
            f"the role of DATABASE_PUBLIC_URL may not change the schema ({str(cause).strip()}): grant it CREATE on the "
            "schema and make it a member of the role that owns content_items, then run again"
        ) from error
