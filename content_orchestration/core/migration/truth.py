"""Whether every legacy row is an item or quarantined, counted from the tables themselves."""

from dataclasses import dataclass

from content_orchestration.core.database import Database
from content_orchestration.core.migration.legacy import LegacyTable
from content_orchestration.core.sql import statement


@dataclass(frozen=True)
class MigrationTruth:
    """Legacy rows by what became of them; `unaccounted` ones are neither items nor quarantined."""

    legacy: int
    items: int
    quarantined: int
    unaccounted: int
    reasons: str


def unaccounted_rows(database: Database, table: LegacyTable) -> MigrationTruth:
    """Count them."""
    with database.connection() as connection:
        row = connection.execute(statement(f"migration/truth_{table.name}")).fetchone()
    return MigrationTruth(**row) if row else MigrationTruth(0, 0, 0, 0, "")
