"""Do the copies agree? Reports over all three tiers: each hour, each night, and of one tenant when somebody asks."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import dagster as dg

from content_orchestration.core.integrity.findings import SAMPLES
from content_orchestration.core.integrity.report import IntegrityReport, Scope
from content_orchestration.core.integrity.report_store import recent_reports
from content_orchestration.core.integrity.survey import take_report
from content_orchestration.core.replication.tables import REPLICATED
from content_orchestration.core.schema.postgres import columns_of
from content_orchestration.defs.integrity.shown import report_check, report_metadata
from content_orchestration.defs.integrity.sides import limits, sides_of, unknown_where_lost
from content_orchestration.defs.quota.assets import storage_usage
from content_orchestration.failures import explained
from content_orchestration.policies import (
    KIND_BIGQUERY,
    KIND_POSTGRES,
    KIND_ZERODB,
    OWNERS,
    POOL_INTEGRITY,
    RETRY,
    TENANTS,
)
from content_orchestration.presentation import table_metadata, write_report
from content_orchestration.resources.bigquery import BigQueryDRResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.resources.zerodb import ZeroDBResource
from content_orchestration.settings import get_settings

CHECK = "copies_agree"
_TABLE = "integrity_differences"
_KINDS = {KIND_POSTGRES, KIND_ZERODB, KIND_BIGQUERY}
_DEPS = [entity.table.name for entity in REPLICATED]


def _metadata(report: IntegrityReport, postgres: PostgresResource, run_id: str) -> dict[str, Any]:
    """For the materialization; writes the report's file besides."""
    database = postgres.client()
    name = f"integrity_{report.scope}-{report.tenant_id or run_id}"
    path = write_report(get_settings().reports, name, report.as_metadata())
    shown = table_metadata(_TABLE, columns_of(database, _TABLE), len(report.differences))
    history = None if report.scope == Scope.TENANT else recent_reports(database, [report.scope])
    return shown | report_metadata(report, history) | {"report": dg.MetadataValue.path(str(path))}


def _report(name: str, scope: Scope, description: str) -> dg.AssetsDefinition:
    @dg.asset(
        name=name,
        group_name="integrity",
        deps=[*_DEPS, storage_usage],
        kinds=_KINDS,
        owners=OWNERS,
        pool=POOL_INTEGRITY,
        retry_policy=RETRY,
        check_specs=[dg.AssetCheckSpec(CHECK, asset=name, description="Nothing differs, and all of it was looked at.")],
        description=description,
    )
    def report_asset(
        context: dg.AssetExecutionContext,
        postgres: PostgresResource,
        zerodb: ZeroDBResource,
        bigquery: BigQueryDRResource,
    ) -> Iterator[dg.MaterializeResult[None]]:
        with explained(), unknown_where_lost():
            sides = sides_of(postgres, zerodb, bigquery)
            report = take_report(sides, limits(), scope, run_id=context.run.run_id)
            metadata = _metadata(report, postgres, context.run.run_id)
        yield dg.MaterializeResult(
            metadata=metadata, check_results=[report_check(report, CHECK, why_not=sides.why_not)]
        )

    return report_asset


integrity_report = _report(
    "integrity_report",
    Scope.HOURLY,
    "All three tiers each hour: rows and hashes, a share of bodies and partitions, documents, versions, spill, usage.",
)
integrity_report_full = _report(
    "integrity_report_full",
    Scope.FULL,
    "All three tiers each night: as the hourly report, with every body read and every partition of the history hashed.",
)


@dg.asset(
    group_name="integrity",
    deps=[*_DEPS, storage_usage],
    partitions_def=TENANTS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    kinds=_KINDS,
    owners=OWNERS,
    pool=POOL_INTEGRITY,
    retry_policy=RETRY,
    check_specs=[
        dg.AssetCheckSpec(
            CHECK, asset="tenant_integrity", description="Nothing differs for the tenants of the last run."
        )
    ],
)
def tenant_integrity(
    context: dg.AssetExecutionContext,
    postgres: PostgresResource,
    zerodb: ZeroDBResource,
    bigquery: BigQueryDRResource,
) -> Iterator[dg.MaterializeResult[None]]:
    """Everything of the chosen tenants, on demand: rows in all tables, every body, every document, usage."""
    outcomes: dict[str, IntegrityReport] = {}
    with explained(), unknown_where_lost():
        sides = sides_of(postgres, zerodb, bigquery)
        for tenant in context.partition_keys:
            report = take_report(sides, limits(), Scope.TENANT, run_id=context.run.run_id, tenant_id=tenant)
            outcomes[tenant] = report
            metadata = _metadata(report, postgres, context.run.run_id)
            # Recorded as each tenant finishes, so that a crash keeps what was done; and once more on the run's event.
            context.log_event(dg.AssetMaterialization(context.asset_key, partition=tenant, metadata=metadata))
            context.add_asset_metadata(metadata, partition_key=tenant)
    yield dg.MaterializeResult(check_results=[_tenants_check(outcomes)])


def _tenants_check(reports: dict[str, IntegrityReport]) -> dg.AssetCheckResult:
    """One result for the tenants of a run; it names those that are not clean with their reports."""
    counted = Counter(report.outcome for report in reports.values())
    outcome = next((each for each in ("different", "unknown") if counted[each]), "agree")
    told = ", ".join(f"{number} {each}" for each, number in sorted(counted.items()))
    open_reports = {tenant: report.summary for tenant, report in reports.items() if report.outcome != "agree"}
    return dg.AssetCheckResult(
        check_name=CHECK,
        passed=outcome == "agree",
        description=f"{outcome}: {len(reports)} tenants, {told}",
        metadata={"outcome": outcome, "tenants": dg.MetadataValue.json(dict(list(open_reports.items())[:SAMPLES]))},
    )
