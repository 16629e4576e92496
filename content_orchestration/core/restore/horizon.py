"""How far back the history reaches since it was compacted. What compaction removes is decided in `core/cleanup/`.

The record lies in the dataset itself: a restore in a cluster that knows nothing must know this.
"""

from datetime import UTC
from typing import Any

from content_orchestration.core.errors import Permanent
from content_orchestration.core.replication.tables import ENTITIES, Column, TableSpec
from content_orchestration.core.restore.request import Scope
from content_orchestration.core.sql import on_table
from content_orchestration.core.warehouse import Warehouse

HORIZONS = TableSpec(
    "content_compactions",
    "Of each tenant, before which sync superseded states were removed from the history; the greatest counts.",
    (
        Column("sync_id", "INT64", "States as of this sync and every later one are whole.", True),
        Column("earliest_at", "TIMESTAMP", "The earliest moment that can be restored (UTC).", True),
        Column("tenant_id", "STRING", "The tenant.", True),
        Column("compacted_at", "TIMESTAMP", "When this was written, before a row went (UTC). Partition column.", True),
        Column("compaction_id", "STRING", "The compaction, as PostgreSQL names it.", True),
    ),
    clustering=("tenant_id",),
    partition_by="compacted_at",
)
"""Made by the first compaction: where it is not, nothing was ever removed."""


def refuse_compacted(warehouse: Warehouse, scope: Scope, sync_id: int) -> None:
    """Raise `Permanent` where the state as of `sync_id` is no longer whole for a tenant of the scope.

    The message names the earliest moment that can be restored. Raises `Transient` where nobody can say.
    """
    schema = on_table("bigquery/horizon_table", warehouse.qualified("INFORMATION_SCHEMA.TABLES"))
    if not next(iter(warehouse.query(schema, {"name": HORIZONS.name})))["present"]:
        return
    values: dict[str, Any] = {"sync_id": sync_id, "scope": "everything", "tenants": []}
    if scope.kind == "tenants":
        values |= {"scope": "tenants", "tenants": list(scope.ids)}
    elif scope.kind == "content_ids" and (tenants := _tenants_of(warehouse, scope)):
        values |= {"scope": "tenants", "tenants": tenants}
    cut = list(warehouse.query(on_table("bigquery/horizons", warehouse.qualified(HORIZONS.name)), values))
    if not cut:
        return
    last = cut[0]
    others = f" and of {len(cut) - 1} more tenants" if len(cut) > 1 else ""
    raise Permanent(
        f"as_of means sync {sync_id}, but the history of tenant {last['tenant_id']}{others} was compacted by the "
        f"retention of its plan: the earliest that can be restored for this scope is sync {last['horizon']}, or the "
        f"moment {last['earliest_at'].astimezone(UTC).isoformat()}. Take that or a later one, or leave these tenants "
        f"out of the scope ({warehouse.qualified(HORIZONS.name)} lists them)"
    )


def _tenants_of(warehouse: Warehouse, scope: Scope) -> list[str]:
    """The tenants of the items; none where an item is unknown, since nobody knows then whose it was."""
    found: dict[str, set[str]] = {}
    for entity in ENTITIES:
        query = on_table("bigquery/tenants_of", warehouse.qualified(entity.table.name))
        for row in warehouse.query(query, {"ids": list(scope.ids)}):
            found.setdefault(row["content_id"], set()).add(row["tenant_id"])
    return sorted(set().union(*found.values())) if found.keys() >= set(scope.ids) else []
