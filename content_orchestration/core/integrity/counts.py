"""The cheap comparison after a sync: how many rows PostgreSQL has, and how many current ids BigQuery has."""

from dataclasses import dataclass
from typing import Any

from content_orchestration.core.database import Database
from content_orchestration.core.errors import Transient
from content_orchestration.core.replication.tables import Entity, view_name
from content_orchestration.core.sql import on_table, statement
from content_orchestration.core.warehouse import Warehouse

# Ids that changed since the last sync are left out by name; past this many the comparison says nothing useful.
_MOST_IN_FLIGHT = 10_000


@dataclass(frozen=True)
class CountComparison:
    """Rows on both sides as of the last closed sync, and current rows whose body was withheld."""

    table: str
    postgres_rows: int
    bigquery_rows: int
    bodies_missing: int
    in_flight: int

    @property
    def agrees(self) -> bool:
        """Whether both sides have the same number and every body is there."""
        return self.postgres_rows == self.bigquery_rows and self.bodies_missing == 0

    @property
    def summary(self) -> str:
        """One sentence for the UI."""
        return (
            f"PostgreSQL {self.postgres_rows} rows, BigQuery {self.bigquery_rows}, "
            f"bodies missing {self.bodies_missing}, left out as changed since the sync {self.in_flight}"
        )

    def as_metadata(self) -> dict[str, Any]:
        """For the check's metadata."""
        return {
            "outcome": "agree" if self.agrees else "different",
            "postgres_rows": self.postgres_rows,
            "bigquery_rows": self.bigquery_rows,
            "bodies_missing": self.bodies_missing,
            "in_flight": self.in_flight,
        }


def compare_counts(database: Database, warehouse: Warehouse, entity: Entity) -> CountComparison:
    """Compare one table as of the last closed sync. Raises `Transient` when a side cannot be read or is too busy."""
    with database.connection() as connection:
        row = connection.execute(
            statement(f"integrity/rows_{entity.name}"), {"entity": entity.name, "most": _MOST_IN_FLIGHT + 1}
        ).fetchone()
    changed = row["changed"] if row else []
    if row is None or len(changed) > _MOST_IN_FLIGHT:
        raise Transient(
            f"more than {_MOST_IN_FLIGHT:,} ids of {entity.table.name} changed since the last sync: sync, then check"
        )
    view = warehouse.qualified(view_name(entity.table.name))
    sql = on_table("bigquery/count_rows_with_bodies" if entity.has_body else "bigquery/count_rows", view)
    there = next(warehouse.query(sql, {"ids": changed}))
    return CountComparison(
        entity.table.name, row["unchanged_rows"], there["present"], there["bodies_missing"], len(changed)
    )
