"""The scratch tiers of a drill: what they must be able to do, the marks that make them the drill's own, and clearing.

A drill destroys what it works on. So each tier bears a mark that the drill put there before anything else; a tier that
holds something and bears no mark, or holds a table that no drill makes, is refused. What goes into it is `world.py`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from psycopg import Connection

from content_orchestration.core.database import Database, Row
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.errors import Permanent
from content_orchestration.core.replication.tables import REPLICATED, TABLES, Column, TableSpec, view_name
from content_orchestration.core.schema.documents import COLLECTIONS
from content_orchestration.core.schema.platform import PLATFORM_COLUMNS
from content_orchestration.core.schema.postgres import MigratableDatabase
from content_orchestration.core.sql import sql_folder, statement
from content_orchestration.core.warehouse import Warehouse

MARKER = "drill_marker"
_MARKER_SPEC = TableSpec(
    MARKER,
    "Marks the dataset of disaster drills: everything in it may be destroyed.",
    (Column("marked_at", "TIMESTAMP", "Never set: this table is a mark and holds no row."),),
    partition_by="marked_at",
)
_CREATED = re.compile(r"^CREATE (?:UNLOGGED )?(?:TABLE|VIEW|MATERIALIZED VIEW) (?:IF NOT EXISTS )?(\w+)", re.MULTILINE)
# A killed restore leaves staging tables, named after it, in PostgreSQL and in BigQuery: no list has their names.
_STAGING = "restore_"
_SHOWN = 10


class ScratchDatabase(MigratableDatabase, Protocol):
    """A database that a drill may empty."""

    @property
    def address(self) -> str:
        """Host, port and database, without the secret."""
        ...

    def create_if_missing(self) -> bool:
        """Create the database unless it is there; True if this call did. Raises `Permanent` without the right to."""
        ...


class ScratchStore(DocumentStore, Protocol):
    """A document store whose collections a drill may drop."""

    def drop_collection(self, name: str) -> None:
        """Drop a collection with its documents; one that is not there is no error."""
        ...


class ScratchWarehouse(Warehouse, Protocol):
    """A dataset that a drill may drop."""

    def table_names(self) -> list[str]:
        """Tables and views of the dataset; none where the dataset is not there."""
        ...

    def drop_table(self, name: str) -> None:
        """Drop a table or view; one that is not there is no error."""
        ...

    def drop_dataset(self) -> None:
        """Drop the dataset, which must be empty; one that is not there is no error."""
        ...


@dataclass(frozen=True)
class Scratch:
    """The three tiers of a drill."""

    database: ScratchDatabase
    store: ScratchStore
    warehouse: ScratchWarehouse


def require_other_database(live: Database, scratch: Scratch) -> None:
    """Raise `Permanent` where both are one database, whatever names lead there. Asks the servers who they are."""
    if _identity(live) == _identity(scratch.database):
        raise Permanent(
            f"DRILL_DATABASE_URL ({scratch.database.address}) leads to the live database under another name: a drill "
            "destroys what it works on, and nothing was done. Set it to a database that is for drills alone"
        )


def clear(scratch: Scratch) -> bool:
    """Remove what an earlier drill left in the three tiers; True if there was anything.

    Looks at all of them before it touches one. Raises `Permanent`, naming what it found, where a tier holds something
    that no drill made.
    """
    collections = scratch.store.collections()
    tables = scratch.warehouse.table_names()
    _require_marked("ZeroDB project", "DRILL_ZERODB_PROJECT_ID", collections, COLLECTIONS)
    known = [*(spec.name for spec in TABLES), *(view_name(entity.table.name) for entity in REPLICATED)]
    _require_marked("BigQuery dataset", "DRILL_BIGQUERY_DATASET", tables, known)
    with scratch.database.connection() as connection:
        held = _require_marked_database(connection, scratch.database.address)
        if held:
            connection.execute(statement("drill/drop_schema"))
            connection.execute(statement("drill/create_schema"))
    # The mark goes last: whoever is killed on the way leaves a tier that the next drill still knows as its own.
    for name in _marker_last(collections):
        scratch.store.drop_collection(name)
    for name in _marker_last(tables):
        scratch.warehouse.drop_table(name)
    scratch.warehouse.drop_dataset()
    return bool(held or collections or tables)


def mark(scratch: Scratch) -> None:
    """Mark the three tiers, which `clear` has left empty, before anything else is made in them."""
    with scratch.database.connection() as connection:
        mark_database(connection)
    scratch.store.ensure_collection(MARKER, ("id",))
    scratch.warehouse.ensure_dataset()
    scratch.warehouse.ensure_table(_MARKER_SPEC)


def mark_database(connection: Connection[Row]) -> None:
    """Mark the database of this connection, in its transaction."""
    connection.execute(statement("drill/mark"))


def _require_marked_database(connection: Connection[Row], address: str) -> list[str]:
    """The tables and views that the drill's database holds. Raises `Permanent` where one is not the drill's."""
    found = connection.execute(statement("drill/relations")).fetchall()
    names = [r["name"] if r["schema"] == "public" else f"{r['schema']}.{r['name']}" for r in found]
    known = {*PLATFORM_COLUMNS, *_created_by_migrations(), "content_orchestration_version"}
    _require_marked(f"database {address}", "DRILL_DATABASE_URL", names, known)
    if names:
        marked = connection.execute(statement("drill/mark_read")).fetchone()
        if not marked or not marked["genuine"]:
            raise Permanent(
                f"database {address} bears the mark of another database's drills: it is a copy, and nothing was done. "
                f"If it is for drills, drop its table {MARKER} and all others; else correct DRILL_DATABASE_URL"
            )
    return names


def _require_marked(what: str, variable: str, held: Iterable[str], known: Iterable[str]) -> None:
    names = sorted(held)
    if not names:
        return
    ours = {MARKER, *known}
    foreign = [name for name in names if name not in ours and not name.startswith(_STAGING)]
    if MARKER not in names:
        foreign = names
    if foreign:
        shown = ", ".join(foreign[:_SHOWN]) + (" ..." if len(foreign) > _SHOWN else "")
        raise Permanent(
            f"the {what} holds {len(foreign)} tables that no drill made ({shown}): a drill destroys what it works on. "
            f"Nothing was done. Set {variable} to one that is empty and for drills alone"
        )


def _created_by_migrations() -> set[str]:
    """The tables and views of our schema, as its revisions create them."""
    files = (sql_folder() / "migrations").glob("*.up.sql")
    return {name for file in files for name in _CREATED.findall(file.read_text(encoding="utf-8"))}


def _marker_last(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (name == MARKER, name))


def _identity(database: Database) -> dict[str, Any] | None:
    with database.connection() as connection:
        return connection.execute(statement("drill/identity")).fetchone()
