"""What a restore did, summed over the parts of all its attempts, and whether what it wrote was proven right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from content_orchestration.core.integrity.findings import Comparison, Difference, Kind

SAMPLES = 20
_KINDS = {
    "row_sha256": Kind.CORRUPT_PAYLOAD,
    "row_refused": Kind.DIFFERENT_IN_WAREHOUSE,
    "row_differs": Kind.DIFFERENT_IN_WAREHOUSE,
    "body_sha256": Kind.CORRUPT_BODY_IN_WAREHOUSE,
    "body_missing": Kind.BODY_MISSING_IN_WAREHOUSE,
    "document_conflict": Kind.DOCUMENT_DIFFERS,
}


@dataclass
class TableOutcome:
    """One table. `same` were there as in the history, `kept` differ and stay by the policy, `quarantined` were not fit.

    `newer_not_in_history` are rows of the scope that exist and did not at that sync: nothing is deleted.
    """

    inserted: int = 0
    updated: int = 0
    same: int = 0
    kept: int = 0
    quarantined: int = 0
    newer_not_in_history: int | None = None
    columns_filled_with_defaults: list[str] = field(default_factory=list)
    null_columns_left_out: list[str] = field(default_factory=list)

    @property
    def found(self) -> int:
        """Rows of the history that the target has now."""
        return self.inserted + self.updated + self.same + self.kept


@dataclass
class RestoreReport:
    """A finished restore. Seconds are wall clock of this attempt, by stage; workers' seconds are added up."""

    restore_id: str
    plan_hash: str
    as_of_sync_id: int
    as_of: str
    attempts: int
    tables: dict[str, TableOutcome] = field(default_factory=dict)
    documents: dict[str, int] = field(default_factory=dict)
    quarantined: dict[str, int] = field(default_factory=dict)
    quarantine_samples: Sequence[Mapping[str, Any]] = ()
    verification: Comparison = field(default_factory=lambda: Comparison("restored"))
    usage_tenants: int = 0
    usage_tenants_unknown: list[str] = field(default_factory=list)
    cluster: str | None = None
    keys_compared_by_next_sync: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows that were inserted or updated."""
        return sum(table.inserted + table.updated for table in self.tables.values())

    @property
    def verified(self) -> bool:
        """Whether everything that the history holds is there now and was read back right, or was kept by the policy."""
        return self.verification.outcome == "agree"

    def as_metadata(self) -> dict[str, Any]:
        """Plain JSON values for the UI."""
        return {
            "restore_id": self.restore_id,
            "plan_hash": self.plan_hash,
            "as_of_sync_id": self.as_of_sync_id,
            "as_of": self.as_of,
            "attempts": self.attempts,
            "rows": {
                name: {
                    "inserted": table.inserted,
                    "updated": table.updated,
                    "same": table.same,
                    "kept": table.kept,
                    "quarantined": table.quarantined,
                    "newer_not_in_history": table.newer_not_in_history,
                }
                for name, table in self.tables.items()
            },
            "columns_filled_with_defaults": _named(self.tables, "columns_filled_with_defaults"),
            "null_columns_left_out": _named(self.tables, "null_columns_left_out"),
            "documents": self.documents,
            "quarantined": self.quarantined,
            "quarantine_samples": [dict(row) for row in self.quarantine_samples],
            "verification": self.verification.as_metadata(),
            "usage_recomputed_tenants": self.usage_tenants,
            "usage_unknown_tenants": self.usage_tenants_unknown[:SAMPLES],
            "cluster": self.cluster or "the one that replication knew",
            "keys_compared_by_next_sync": self.keys_compared_by_next_sync,
            "seconds": {stage: round(value, 3) for stage, value in self.seconds.items()},
        }

    def count_quarantine(self, counts: Mapping[tuple[str, str], int], samples: Sequence[Mapping[str, Any]]) -> None:
        """Take in what was set aside; a document that was replaced is no loss, all else is a difference."""
        for (_, reason), rows in counts.items():
            self.quarantined[reason] = self.quarantined.get(reason, 0) + rows
        self.quarantine_samples = samples
        self.verification.differences = [
            Difference(_KINDS[reason], entity, f"{rows} rows in restore_quarantine", detail={"reason": reason})
            for (entity, reason), rows in counts.items()
            if reason in _KINDS
        ]


def _named(tables: Mapping[str, TableOutcome], attribute: str) -> dict[str, list[str]]:
    return {name: getattr(table, attribute) for name, table in tables.items() if getattr(table, attribute)}
