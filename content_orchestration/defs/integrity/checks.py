"""Do the copies agree? The cheap comparison of each table after each sync; what depends on the table waits for it."""

import dagster as dg

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.integrity.survey import check_table
from content_orchestration.core.replication.tables import REPLICATED, Entity
from content_orchestration.defs.integrity.shown import report_check
from content_orchestration.defs.integrity.sides import limits, sides_of
from content_orchestration.failures import unknown
from content_orchestration.resources.bigquery import BigQueryDRResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.resources.zerodb import ZeroDBResource


def _agrees(entity: Entity) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=entity.table.name,
        name="agrees_with_postgres",
        blocking=True,
        description="Every row by its hash, and its body's, as of the last closed window; later changes left out.",
    )
    def agrees(
        context: dg.AssetCheckExecutionContext,
        postgres: PostgresResource,
        zerodb: ZeroDBResource,
        bigquery: BigQueryDRResource,
    ) -> dg.AssetCheckResult:
        try:
            report = check_table(sides_of(postgres, zerodb, bigquery), limits(), entity, run_id=context.run.run_id)
        except (Transient, Permanent) as error:
            return unknown(error)
        if report.outcome == "unknown":
            return unknown(Transient("; ".join(report.unknown.values())))
        return report_check(report)

    return agrees


content_versions_agrees, content_media_agrees, content_storage_agrees, cleanup_audit_agrees = (
    _agrees(entity) for entity in REPLICATED
)
