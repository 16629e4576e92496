"""Every mutation of BigQuery at once, each on rows of its own: found, repaired, and clean by both tiers."""

from content_orchestration.core.integrity.repair import Repairer
from content_orchestration.core.integrity.report import IntegrityReport, Scope
from content_orchestration.core.integrity.report_store import store_report
from content_orchestration.core.integrity.survey import Sides
from content_orchestration_tests.integration.test_integrity_warehouse_mutations import World, compared, found
from content_orchestration_tests.integrity_mutations import MUTATIONS
from content_orchestration_tests.repair_world import LIMITS, told
from content_orchestration_tests.replication_fakes import sync
from content_orchestration_tests.tiers import Tiers
from content_orchestration_tests.zerodb_world import NOW


def test_every_mutation_of_bigquery_is_brought_back(tiers: Tiers) -> None:
    world = World(tiers, MUTATIONS)
    wanted = set().union(*world.mutate())
    rows, deep = compared(tiers)
    assert found(rows) | found(deep) == wanted
    number = store_report(tiers.database, IntegrityReport(Scope.FULL, "report", NOW, [*rows, *deep]))

    sides = Sides(tiers.database, tiers.store, tiers.warehouse)
    repairer = Repairer(sides, LIMITS, lambda: sync(tiers), run_id="repair")
    report = repairer.repair(number, kinds=[], max_repairs=1000, dry_run=False)

    left = {key for comparisons in compared(tiers) for _, _, key in found(comparisons)}
    reasons = {
        a.found.difference.entity_id: a.detail for a in report.actions if a.outcome in ("refused", "not_repaired")
    }
    assert {str(a.outcome) for a in report.actions} <= {"repaired", "already_clean", "refused", "not_repaired"}
    assert left == reasons.keys(), [each for each in told(report) if each[2] != "repaired"]
    # One row has no body in any tier, and one key was never PostgreSQL's: neither can be made whole.
    assert len(reasons) == 2, reasons
    assert {"body_missing_in_warehouse"} in [set(detail.get("still", ())) for detail in reasons.values()]
    assert any("the key is no UUID" in str(detail.get("reason")) for detail in reasons.values())
