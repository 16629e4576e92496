"""Is the promise kept? Recovery point, open windows, the horizon, and tombstones."""

import dagster as dg

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.integrity.tombstones import missing_tombstones
from content_orchestration.core.replication.status import backlog, horizon, open_window_seconds
from content_orchestration.core.replication.tables import CONTENT_STORAGE, ENTITIES
from content_orchestration.failures import unknown
from content_orchestration.policies import RPO
from content_orchestration.resources.bigquery import BigQueryDRResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.settings import get_settings

_ASSET = CONTENT_STORAGE.table.name


@dg.asset_check(asset=_ASSET, name="recovery_point_within_15_minutes")
def recovery_point(postgres: PostgresResource) -> dg.AssetCheckResult:
    """The oldest change that is not in BigQuery yet is younger than the recovery point objective."""
    try:
        waiting = backlog(postgres.client())
    except Transient as error:
        return unknown(error)
    return dg.AssetCheckResult(
        passed=waiting.oldest_seconds < RPO.total_seconds(),
        description=f"{waiting.changes} changes wait, the oldest for {waiting.oldest_seconds:.0f} s",
        metadata={"lag_seconds": waiting.oldest_seconds, "backlog_changes": waiting.changes},
    )


@dg.asset_check(asset=_ASSET, name="no_window_is_left_open")
def no_window_is_left_open(postgres: PostgresResource) -> dg.AssetCheckResult:
    """No window has been open for longer than two cycles."""
    allowed = 2 * 60 * get_settings().bigquery_sync_interval_minutes
    try:
        found = open_window_seconds(postgres.client())
    except Transient as error:
        return unknown(error)
    return dg.AssetCheckResult(
        passed=found is None or found[1] <= allowed,
        description="no window is open"
        if found is None
        else f"sync {found[0]} has been open for {found[1]:.0f} s, two cycles are {allowed} s: the next sync "
        "finishes it; if it does not, see docs/RUNBOOK.md",
    )


@dg.asset_check(asset=_ASSET, name="no_transaction_pins_the_horizon")
def no_transaction_pins_the_horizon(postgres: PostgresResource) -> dg.AssetCheckResult:
    """No transaction that can write is older than the recovery point objective: windows end before it."""
    try:
        oldest = horizon(postgres.client())
    except Transient as error:
        return unknown(error)
    passed = oldest.seconds < RPO.total_seconds()
    return dg.AssetCheckResult(
        passed=passed,
        description=f"the oldest writing transaction is {oldest.seconds:.0f} s old"
        + ("" if passed else f": {oldest.who}. Nothing after it is replicated until it ends"),
        metadata={"horizon_seconds": oldest.seconds, "held_by": oldest.who or "nobody"},
    )


@dg.asset_check(asset=_ASSET, name="deleted_ids_have_tombstones")
def deleted_ids_have_tombstones(postgres: PostgresResource, bigquery: BigQueryDRResource) -> dg.AssetCheckResult:
    """No id that was deleted and replicated shows as live in BigQuery, in any of the tables."""
    looked_at, still_live = 0, []
    try:
        for entity in ENTITIES:
            result = missing_tombstones(postgres.client(), bigquery.client(), entity)
            looked_at += result.looked_at
            still_live += [f"{entity.table.name}: {key}" for key in result.still_live]
    except (Transient, Permanent) as error:
        return unknown(error)
    return dg.AssetCheckResult(
        passed=not still_live,
        description=f"{looked_at} deletes looked at, {len(still_live)} still live in BigQuery",
        metadata={"samples": dg.MetadataValue.json(still_live[:20])},
    )
