"""The world of `zerodb_world.py` with its copy in BigQuery, reports of it, and repairs. For tests."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from content_orchestration.core.integrity.findings import Comparison
from content_orchestration.core.integrity.repair import Repairer
from content_orchestration.core.integrity.repair_report import RepairReport
from content_orchestration.core.integrity.report import IntegrityReport, Scope
from content_orchestration.core.integrity.report_store import store_report
from content_orchestration.core.integrity.survey import Limits, Sides
from content_orchestration.core.integrity.warehouse_rows import compare_rows
from content_orchestration.core.replication.engine import Replicator, SyncReport
from content_orchestration.core.replication.tables import ENTITIES
from content_orchestration_tests.tiers import Tiers
from content_orchestration_tests.zerodb_world import GRACE, NOW, World

LIMITS = Limits(NOW, 10 * 1024**3, 7, GRACE)
REPAIRED = {"repaired", "already_clean"}


@dataclass
class RepairWorld:
    """The tiers with content in all of them; without `given` there is no BigQuery. `sides` may be exchanged."""

    zerodb: World
    given: Tiers | None = None
    sides: Sides = field(init=False)

    def __post_init__(self) -> None:
        warehouse = self.given.warehouse if self.given else None
        self.sides = Sides(self.zerodb.database, self.zerodb.store, warehouse, "" if warehouse else "BigQuery is off")

    @property
    def tiers(self) -> Tiers:
        assert self.given, "this world has no BigQuery"
        return self.given

    def sync(self) -> SyncReport:
        tiers = self.tiers
        return Replicator(
            tiers.database, tiers.store, tiers.warehouse, batch_size=10_000, max_bytes=10**8, run_id="sync",
            sleep=lambda seconds: None,
        ).sync()  # fmt: skip

    def rows(self) -> dict[str, Comparison]:
        """The cheap comparison of each table of BigQuery."""
        made = (compare_rows(self.tiers.database, self.tiers.warehouse, e, max_bytes=10**10) for e in ENTITIES)
        return {comparison.name: comparison for comparison in made}

    def report(self, comparisons: Sequence[Comparison] | None = None) -> int:
        """Store a report of these comparisons, by default those of PostgreSQL with ZeroDB; its number."""
        found = list(self.zerodb.comparisons().values()) if comparisons is None else list(comparisons)
        return store_report(self.zerodb.database, IntegrityReport(Scope.HOURLY, "report", NOW, found))

    def repair(self, report_id: int, **given: Any) -> RepairReport:
        chosen: dict[str, Any] = {"kinds": [], "max_repairs": 1000, "dry_run": False}
        repairer = Repairer(
            self.sides,
            LIMITS,
            self.sync,
            run_id=given.pop("run_id", "repair"),
            sleep=lambda seconds: None,
            sync_attempts=2,
        )
        return repairer.repair(report_id, **(chosen | given))

    def repairs(self) -> list[dict[str, Any]]:
        return self.zerodb.run("SELECT * FROM integrity_repairs ORDER BY repair_id")


def told(report: RepairReport) -> list[tuple[str, str, str, dict[str, Any]]]:
    """What each action came to, for messages."""
    return [
        (str(a.found.difference.kind), a.found.difference.entity_id, str(a.outcome), a.detail) for a in report.actions
    ]
