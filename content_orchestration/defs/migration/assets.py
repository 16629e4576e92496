"""Are legacy rows in? One asset a legacy table; both run the same engine."""

import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

import dagster as dg
from pydantic import Field
from tqdm import tqdm

from content_orchestration.core.migration.engine import legacy_rows, migrate
from content_orchestration.core.migration.legacy import CAMPAIGN_ASSETS, CONTENT_ITEMS, LegacyTable
from content_orchestration.core.migration.report import MigrationReport
from content_orchestration.core.migration.truth import unaccounted_rows
from content_orchestration.core.schema.postgres import columns_of, table_counts
from content_orchestration.defs.platform.assets import PLATFORM_KEYS
from content_orchestration.defs.schema.assets import postgres_schema, zerodb_collections
from content_orchestration.failures import explained
from content_orchestration.policies import KIND_POSTGRES, KIND_ZERODB, OWNERS, POOL_MIGRATION, RETRY
from content_orchestration.presentation import table_metadata, values, write_report
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.resources.zerodb import ZeroDBResource
from content_orchestration.settings import get_settings


class MigrationConfig(dg.Config):
    """How to migrate."""

    dry_run: bool = Field(
        default=True, description="True reads and converts every row and reports, but writes nothing in any tier."
    )
    batch_size: int = Field(
        default_factory=lambda: get_settings().migration_batch_size,
        ge=1,
        le=1000,
        description="Legacy rows in one batch (MIGRATION_BATCH_SIZE). A kill repeats at most one batch.",
    )


def _migrated(table: LegacyTable) -> dg.AssetsDefinition:
    @dg.asset(
        name=f"{table.name}_migrated",
        group_name="migration",
        deps=[PLATFORM_KEYS[table.name], PLATFORM_KEYS["tenants"], postgres_schema, zerodb_collections],
        kinds={KIND_POSTGRES, KIND_ZERODB},
        owners=OWNERS,
        pool=POOL_MIGRATION,
        retry_policy=RETRY,
        description=f"Every row of {table.name} as a content item: body in ZeroDB, row in PostgreSQL, or quarantined.",
    )
    def migrated(
        context: dg.AssetExecutionContext, config: MigrationConfig, postgres: PostgresResource, zerodb: ZeroDBResource
    ) -> dg.MaterializeResult[None]:
        database = postgres.client()
        with explained(), tqdm(total=legacy_rows(database, table), desc=table.name, unit="row", file=sys.stderr) as bar:
            report = migrate(
                table,
                database,
                zerodb.client(),
                batch_size=config.batch_size,
                dry_run=config.dry_run,
                on_batch=_progress(bar),
            )
        path = write_report(get_settings().reports, f"{table.name}_migrated-{context.run.run_id}", report.as_metadata())
        content = "content_storage_metadata"
        return dg.MaterializeResult(
            metadata=table_metadata(content, columns_of(database, content), table_counts(database)[content])
            | values(report.as_metadata())
            | {"report": dg.MetadataValue.path(str(path))}
        )

    return migrated


def _progress(bar: "tqdm[NoReturn]") -> Callable[[MigrationReport], None]:
    def advance(report: MigrationReport) -> None:
        bar.update(report.read - bar.n)

    return advance


def _checks(table: LegacyTable, asset: dg.AssetsDefinition) -> dg.AssetChecksDefinition:
    @dg.multi_asset_check(
        name=f"{table.name}_migration_checks",
        specs=[
            dg.AssetCheckSpec("every_row_is_accounted_for", asset=asset.key, blocking=True),
            dg.AssetCheckSpec("nothing_is_quarantined", asset=asset.key),
        ],
    )
    def checks(postgres: PostgresResource) -> Iterator[dg.AssetCheckResult]:
        """Counted from the tables, not from the run's own report."""
        truth = unaccounted_rows(postgres.client(), table)
        yield dg.AssetCheckResult(
            asset_key=asset.key,
            check_name="every_row_is_accounted_for",
            passed=truth.unaccounted == 0,
            description=f"{truth.legacy} legacy rows: {truth.items} items, {truth.quarantined} quarantined, "
            f"{truth.unaccounted} neither"
            + (" (not migrated yet: run with dry_run false)" if truth.unaccounted else ""),
        )
        yield dg.AssetCheckResult(
            asset_key=asset.key,
            check_name="nothing_is_quarantined",
            passed=truth.quarantined == 0,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{truth.quarantined} rows in migration_quarantine"
            + (f": {truth.reasons}. Each names its reason and the way out" if truth.quarantined else ""),
        )

    return checks


campaign_assets_migrated = _migrated(CAMPAIGN_ASSETS)
content_items_migrated = _migrated(CONTENT_ITEMS)
campaign_assets_checks = _checks(CAMPAIGN_ASSETS, campaign_assets_migrated)
content_items_checks = _checks(CONTENT_ITEMS, content_items_migrated)
