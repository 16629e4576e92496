"""Whether BigQuery holds a tombstone for every id whose delete has been replicated."""

from dataclasses import dataclass

from content_orchestration.core.database import Database
from content_orchestration.core.replication.tables import Entity, view_name
from content_orchestration.core.sql import on_table, statement
from content_orchestration.core.warehouse import Warehouse

_MOST_LOOKED_AT = 10_000


@dataclass(frozen=True)
class TombstoneCheck:
    """Deletes that were looked at, and the ids that BigQuery still shows as live."""

    looked_at: int
    still_live: list[str]


def missing_tombstones(database: Database, warehouse: Warehouse, entity: Entity) -> TombstoneCheck:
    """Look for the ids deleted lately (as far back as the change log goes) in the current view."""
    with database.connection() as connection:
        deleted = [
            row["entity_id"]
            for row in connection.execute(
                statement("replication/recent_deletes"), {"entity": entity.name, "most": _MOST_LOOKED_AT}
            )
        ]
    if not deleted:
        return TombstoneCheck(0, [])
    view = warehouse.qualified(view_name(entity.table.name))
    sql = on_table("bigquery/still_live", view)
    return TombstoneCheck(len(deleted), [row["entity_id"] for row in warehouse.query(sql, {"ids": deleted})])
