"""Do the copies agree? The cheap comparison after each sync."""

import dagster as dg

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.integrity.counts import compare_counts
from content_orchestration.core.replication.tables import ENTITIES, Entity
from content_orchestration.failures import unknown
from content_orchestration.resources.bigquery import BigQueryDRResource
from content_orchestration.resources.postgres import PostgresResource


def _agrees(entity: Entity) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=entity.table.name,
        name="agrees_with_postgres",
        description="As many current ids as PostgreSQL has rows, what changed since left out; no body withheld.",
    )
    def agrees(postgres: PostgresResource, bigquery: BigQueryDRResource) -> dg.AssetCheckResult:
        try:
            result = compare_counts(postgres.client(), bigquery.client(), entity)
        except (Transient, Permanent) as error:
            return unknown(error)
        return dg.AssetCheckResult(passed=result.agrees, description=result.summary, metadata=result.as_metadata())

    return agrees


content_versions_agrees, content_media_agrees, content_storage_agrees = (_agrees(entity) for entity in ENTITIES)
