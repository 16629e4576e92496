"""Can it be brought back? Disasters made and recovered from in scratch tiers, and what that proved."""

from typing import Any

import dagster as dg

from content_orchestration.core.drill.engine import Drill
from content_orchestration.core.drill.record import DrillRecord, PastDrill
from content_orchestration.core.drill.report import CHARTED, drills_chart, judge
from content_orchestration.core.drill.result import DrillResult
from content_orchestration.core.drill.scenarios import BY_NAME, SCENARIOS, Scenario
from content_orchestration.core.drill.scratch import require_other_database
from content_orchestration.core.errors import ContentError, Transient
from content_orchestration.core.schema.postgres import columns_of
from content_orchestration.failures import explained, unknown
from content_orchestration.policies import KIND_BIGQUERY, KIND_POSTGRES, OWNERS, POOL_DRILL, RETRY
from content_orchestration.presentation import table_metadata, values
from content_orchestration.resources.drill import DrillResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.settings import get_settings

_TABLE = "restore_drills"
DISASTERS = dg.StaticPartitionsDefinition([scenario.name for scenario in SCENARIOS])


@dg.asset(
    group_name="restore",
    partitions_def=DISASTERS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    kinds={KIND_POSTGRES, KIND_BIGQUERY},
    owners=OWNERS,
    pool=POOL_DRILL,
    retry_policy=RETRY,
)
def dr_drill(context: dg.AssetExecutionContext, postgres: PostgresResource, drill: DrillResource) -> None:
    """One disaster a partition: made in scratch tiers, detected, recovered from, measured. What is live is not touched.

    Of the live database only `restore_drills` is written. A recovery that fails is recorded as not verified.
    """
    items = get_settings().drill_items
    with explained():
        scratch = drill.scratch()
        scratch.database.create_if_missing()
        require_other_database(postgres.client(), scratch)
        record = DrillRecord(postgres.client())
        engine = Drill(scratch, items=items, run_id=context.run.run_id)
        for name in context.partition_keys:
            result = _drilled(engine, record, BY_NAME[name], items, context.run.run_id)
            metadata = {"disaster": BY_NAME[name].title} | values(result.as_metadata())
            # Recorded as each finishes, so that a crash keeps what was done; and once more on the run's own event.
            context.log_event(dg.AssetMaterialization(context.asset_key, partition=name, metadata=metadata))
            context.add_asset_metadata(metadata, partition_key=name)


def _drilled(engine: Drill, record: DrillRecord, scenario: Scenario, items: int, run_id: str) -> DrillResult:
    """One drill between its two entries in the record."""
    drill_id = record.start(scenario.name, items, run_id)
    try:
        result = engine.run(scenario)
    except ContentError as error:
        record.finish(drill_id, DrillResult(scenario.name, items, error=f"no disaster was made: {error}"))
        raise
    record.finish(drill_id, result)
    return result


@dg.asset(group_name="restore", deps=[dr_drill], kinds={KIND_POSTGRES}, owners=OWNERS)
def drills_report(postgres: PostgresResource) -> dg.MaterializeResult[None]:
    """Past drills, disaster by disaster: what was lost, how long it took, and how that changed over time."""
    with explained():
        drills = DrillRecord(postgres.client()).recent(CHARTED)
        columns = columns_of(postgres.client(), _TABLE)
    verdict = judge(drills, list(BY_NAME))
    return dg.MaterializeResult(
        metadata=table_metadata(_TABLE, columns, len(drills))
        | {
            "proved": verdict.summary,
            "drills": dg.MetadataValue.md(drills_chart(drills, list(BY_NAME))),
            "last_drills": dg.MetadataValue.table(
                [dg.TableRecord(_shown(drill)) for drill in drills[: 2 * len(BY_NAME)]]
            )
            if drills
            else "none",
        }
    )


@dg.asset_check(asset=drills_report, name="every_disaster_was_recovered_from_lately")
def every_disaster_was_recovered_from_lately(postgres: PostgresResource) -> dg.AssetCheckResult:
    """The last drill of each disaster is verified, at most 8 days old, took less than an hour and lost nothing."""
    try:
        drills = DrillRecord(postgres.client()).recent(1)
    except Transient as error:
        return unknown(error)
    verdict = judge(drills, list(BY_NAME))
    return dg.AssetCheckResult(
        passed=verdict.passed,
        # Never drilled is not the same as drilled and failed.
        severity=dg.AssetCheckSeverity.WARN if verdict.never else dg.AssetCheckSeverity.ERROR,
        description=verdict.summary,
        metadata={"outcome": "never" if verdict.never else "proved" if verdict.passed else "not proved"},
    )


def _shown(drill: PastDrill) -> dict[str, Any]:
    """A row of the table; a table of the UI holds no None."""
    return {
        "disaster": drill.scenario,
        "started": f"{drill.started_at:%Y-%m-%d %H:%M:%S}",
        "found_by": drill.detected_by or "nobody",
        "detection_s": _rounded(drill.detection_seconds),
        "lost": "?" if drill.rows_lost is None else str(drill.rows_lost),
        "rpo_s": _rounded(drill.rpo_seconds),
        "rto_s": _rounded(drill.rto_seconds),
        "verified": "yes" if drill.verified else "no",
        "error": drill.error or "",
    }


def _rounded(seconds: float | None) -> str:
    return "?" if seconds is None else f"{seconds:.2f}"
