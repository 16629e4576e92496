"""The shape of the disaster-recovery dataset: its tables and the view of what is current."""

from dataclasses import dataclass
from typing import Any

from content_orchestration.core.replication.tables import REPLICATED, TABLES, current_view, view_name
from content_orchestration.core.warehouse import Warehouse


@dataclass(frozen=True)
class WarehouseReport:
    """What was created and what is there."""

    created: tuple[str, ...]
    rows: dict[str, int]

    def as_metadata(self) -> dict[str, Any]:
        """For the asset's metadata."""
        return {"created": ", ".join(self.created) or "nothing: all there", "rows": self.rows}


def ensure_warehouse(warehouse: Warehouse) -> WarehouseReport:
    """Create the dataset, tables and views that are missing; never drop or rewrite one."""
    created = ["dataset"] if warehouse.ensure_dataset() else []
    created += [spec.name for spec in TABLES if warehouse.ensure_table(spec)]
    for entity in REPLICATED:
        name = view_name(entity.table.name)
        if warehouse.ensure_view(name, current_view(entity.table, warehouse.qualified(entity.table.name))):
            created.append(name)
    return WarehouseReport(tuple(created), {spec.name: warehouse.row_count(spec.name) for spec in TABLES})
