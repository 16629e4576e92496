"""Brings back tables of ours that were dropped, empty, without touching those that are there.

A migration does not: its record says that it ran. So the revisions run once more in a schema of their own, and what
public lacks is moved over, with its indexes, triggers and foreign keys. Filling the tables is `core/restore/`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import Connection, sql

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Permanent
from content_orchestration.core.schema.platform import require_platform
from content_orchestration.core.sql import sql_folder, statement

_LOCK = "postgres_schema"


@dataclass(frozen=True)
class RecreateReport:
    """What was missing and is there again: tables, and triggers, foreign keys and views by `table.name`."""

    tables: tuple[str, ...]
    parts: tuple[str, ...]

    def as_metadata(self) -> dict[str, Any]:
        """For the run's metadata."""
        return {"tables_recreated": list(self.tables), "parts_recreated": list(self.parts)}


def recreate_missing(database: Database) -> RecreateReport:
    """Create the tables, triggers, foreign keys and views of ours that are missing; all of it or nothing.

    Raises `Permanent` where our schema was never migrated here or the platform's tables are not what they should be,
    and `AlreadyRunning` while somebody migrates.
    """
    require_platform(database)
    with database.advisory_lock(_LOCK), database.connection() as connection:
        files = _revisions(connection)
        connection.execute(statement("schema/rebuild_begin"))
        connection.execute(statement("schema/rebuild_platform"))
        connection.execute(statement("schema/rebuild_path"))
        for file in files:
            # Without parameters psycopg sends a file of several statements whole.
            connection.execute(file.read_text(encoding="utf-8"))
        connection.execute(statement("schema/rebuild_qualify"))
        tables = [row["name"] for row in connection.execute(statement("schema/rebuild_missing")).fetchall()]
        parts = connection.execute(statement("schema/rebuild_parts"), {}).fetchall()
        for name in tables:
            connection.execute(sql.SQL(statement("schema/rebuild_move")).format(name=sql.Identifier(name)))
        connection.execute(statement("schema/rebuild_end"))
        present = {_key(row) for row in connection.execute(statement("schema/rebuild_present")).fetchall()}
        lacking = [part for part in parts if _key(part) not in present]
        for part in lacking:
            connection.execute(part["definition"].replace("content_rebuild.", "public."))
    return RecreateReport(tuple(tables), tuple(f"{part['owner']}.{part['name']}" for part in lacking))


def _revisions(connection: Connection[Row]) -> list[Path]:
    """The files of the revisions up to the recorded one, in order."""
    found = connection.execute(statement("schema/version_table")).fetchone()
    row = connection.execute(statement("schema/revision")).fetchone() if found and found["present"] else None
    if row is None:
        raise Permanent(
            "our schema was never migrated here, or its record is gone. Nothing was changed: materialize "
            "postgres_schema instead; where it fails because some of our tables are there, roll_back_schema comes first"
        )
    files = sorted((sql_folder() / "migrations").glob("*.up.sql"))
    return [file for file in files if file.name.split("_")[0] <= row["version_num"]]


def _key(row: Row) -> tuple[int, str, str]:
    return row["place"], row["owner"], row["name"]
