"""What a database holds: rows and order-independent digests by table, sequences, and the shape of everything else.

Read once in the snapshot of a dump and once in its restored copy, these are what "restored" is proven by.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import psycopg
from psycopg import Connection, sql

from content_orchestration.core.database import Row
from content_orchestration.core.errors import Permanent
from content_orchestration.core.sql import statement

_SHOWN = 20


@dataclass(frozen=True)
class Contents:
    """Tables by name: rows and two sums of digests. Sequences by name: value. The shape by kind and name: hash."""

    tables: Mapping[str, tuple[int, str, str]]
    sequences: Mapping[str, int]
    shape: Mapping[str, str | None]

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(rows for rows, _, _ in self.tables.values())

    def as_json(self) -> dict[str, Any]:
        """For the record and the manifest."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """What `as_json` made."""
        tables = {name: (int(rows), high, low) for name, (rows, high, low) in found["tables"].items()}
        return cls(tables, found["sequences"], found["shape"])

    def differences(self, copy: "Contents") -> list[str]:
        """How a restored copy differs from this; empty when it does not. Sequences of the copy may be ahead."""
        found = []
        for name in sorted(self.tables.keys() | copy.tables.keys()):
            here, there = self.tables.get(name), copy.tables.get(name)
            if here is None or there is None:
                found.append(f"{name} is {'not in the copy' if there is None else 'in the copy alone'}")
            elif here[0] != there[0]:
                found.append(f"{name} has {there[0]} rows in the copy, not {here[0]}")
            elif here != there:
                found.append(f"{name} has {here[0]} rows in both, and not the same ones")
        for name, value in self.sequences.items():
            came = copy.sequences.get(name)
            if came is None or abs(came) < abs(value):
                found.append(f"sequence {name} is at {came} in the copy, not at {value} or beyond")
        parts = sorted(self.shape.keys() | copy.shape.keys())
        unlike = [name for name in parts if self.shape.get(name, "") != copy.shape.get(name, "")]
        return found + [f"{name} is not the same in the copy" for name in unlike]


def read_contents(connection: Connection[Row]) -> Contents:
    """Read everything, in the transaction of the connection. Takes as long as a read of the whole database.

    Raises `Permanent` where row-level security would hide rows: a copy of what one tenant sees is no backup.
    """
    connection.execute(statement("operations/contents_session"))
    tables = {}
    for row in connection.execute(statement("operations/contents_tables")).fetchall():
        table = sql.Identifier(row["schema"], row["name"])
        digest = sql.SQL(statement("operations/contents_digest")).format(table=table)
        try:
            found = connection.execute(digest).fetchone() or {}
        except psycopg.errors.InsufficientPrivilege as error:
            raise Permanent(
                f"{row['schema']}.{row['name']} cannot be read whole ({str(error).strip()}): the role that dumps needs "
                "the right to read every table and BYPASSRLS (ALTER ROLE … BYPASSRLS), or it would leave rows out"
            ) from error
        tables[f"{row['schema']}.{row['name']}"] = (int(found["rows"]), str(found["high"]), str(found["low"]))
    sequences = connection.execute(statement("operations/contents_sequences")).fetchall()
    shape = connection.execute(statement("operations/contents_shape")).fetchall()
    return Contents(tables, {r["name"]: r["value"] for r in sequences}, {r["name"]: r["hash"] for r in shape})


def shown(differences: list[str]) -> str:
    """The first of them, for a message."""
    more = f" and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
    return "; ".join(differences[:_SHOWN]) + more
