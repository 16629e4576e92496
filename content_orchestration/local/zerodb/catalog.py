"""Which collections there are: their names, declared indexes and counts. Their rows are in `store.py`."""

import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from content_orchestration.local.zerodb.documents import parse

SCHEMA = """
CREATE TABLE IF NOT EXISTS catalog (
    table_no INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    definition TEXT NOT NULL,
    indexes TEXT NOT NULL,
    row_count INTEGER NOT NULL DEFAULT 0,
    next_seq INTEGER NOT NULL DEFAULT 1,
    created_at TEXT NOT NULL,
    UNIQUE (project, name)
)
"""


class NoSuchTableError(LookupError):
    """The project has no table of that name."""


class TableExistsError(Exception):
    """The project has a table of that name already."""


@dataclass(frozen=True, slots=True)
class Table:
    """A collection as the catalog knows it."""

    table_no: int
    name: str
    definition: dict[str, Any]
    indexes: list[str]
    row_count: int
    next_seq: int
    created_at: str

    @property
    def rows(self) -> str:
        """The name of its SQLite table."""
        return f"rows_{self.table_no}"

    def row_id(self, seq: int) -> str:
        """The public id of a row, unique in the file and never used again."""
        return f"row-{self.table_no}-{seq}"


def find(connection: sqlite3.Connection, project: str, name: str | None = None) -> list[Table]:
    """The project's tables by name, or the one of that name."""
    found = connection.execute(
        "SELECT table_no, name, definition, indexes, row_count, next_seq, created_at FROM catalog "
        "WHERE project = ? AND (? IS NULL OR name = ?) ORDER BY name",
        (project, name, name),
    )
    return [
        Table(table_no, name, parse(definition), json.loads(indexes), *counts)
        for table_no, name, definition, indexes, *counts in found
    ]


def lookup(connection: sqlite3.Connection, project: str, name: str) -> Table:
    """One table. Raises `NoSuchTableError`."""
    found = find(connection, project, name)
    if not found:
        raise NoSuchTableError(name)
    return found[0]
