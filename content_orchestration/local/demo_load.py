"""Loads the demo's rows into the platform's tables, once. Which rows they are is in `demo_data.py`."""

from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from content_orchestration.core.sql import statement
from content_orchestration.local.demo_data import DemoData, Row, generate
from content_orchestration.local.platform_tables import PLATFORM_TABLES


@dataclass(frozen=True)
class LoadReport:
    """What a load did: `rows` by table are those that it inserted, none where `loaded` is false."""

    loaded: bool
    reason: str
    rows: dict[str, int]

    def as_metadata(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {"loaded": self.loaded, "reason": self.reason, **self.rows}


def load_demo(connection: Connection[Any], data: DemoData | None = None) -> LoadReport:
    """Insert the demo, in one transaction, where tenants, campaign_assets and content_items are all empty.

    Anything in one of the three means that the data is somebody's: nothing changes, and the report says where.
    Raises psycopg's `UndefinedTable` where the tables were not created.
    """
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(statement("platform/lock_load"))
        answer = cursor.execute(statement("platform/occupied")).fetchone() or {}
        occupied = [table for table, has_rows in answer.items() if has_rows]
        if occupied:
            return LoadReport(False, f"not loaded, nothing changed: {', '.join(occupied)} already has rows", {})
        tables = (data or generate()).tables
        for table in PLATFORM_TABLES:
            _copy(connection, table, tables[table])
    return LoadReport(True, "loaded", {table: len(tables[table]) for table in PLATFORM_TABLES})


def _copy(connection: Connection[Any], table: str, rows: tuple[Row, ...]) -> None:
    columns = list(rows[0])
    command = SQL(statement("platform/copy_rows")).format(
        table=Identifier(table), columns=SQL(", ").join(map(Identifier, columns))
    )
    with connection.cursor() as cursor, cursor.copy(command) as copy:
        for row in rows:
            copy.write_row([_adapted(row[column]) for column in columns])


def _adapted(value: Any) -> Any:
    return Jsonb(value) if isinstance(value, dict) else value
