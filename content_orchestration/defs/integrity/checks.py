"""Do the copies agree? The cheap comparison of one table, as replication asks for it after each sync."""

import dagster as dg

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.integrity.survey import Sides, check_table
from content_orchestration.core.replication.tables import Entity
from content_orchestration.defs.integrity.shown import report_check
from content_orchestration.defs.integrity.sides import limits
from content_orchestration.failures import unknown

NAME = "agrees_with_postgres"
DESCRIPTION = "Every row by its hash, and its body's, as of the last closed window; later changes left out."


def agrees(sides: Sides, entity: Entity, *, run_id: str) -> dg.AssetCheckResult:
    """Passed where the table agrees; different and unknown have words of their own."""
    try:
        report = check_table(sides, limits(), entity, run_id=run_id)
    except (Transient, Permanent) as error:
        return unknown(error)
    if report.outcome == "unknown":
        return unknown(Transient("; ".join(report.unknown.values())))
    return report_check(report)
