"""Is the promise kept? Recovery point, open windows, the horizon, tombstones, and whether the copies agree.

All of them after each sync, in one step.
"""

from collections.abc import Callable, Iterator
from functools import partial

import dagster as dg

from content_orchestration.checks import Look, side_by_side
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.integrity.survey import Sides
from content_orchestration.core.integrity.tombstones import missing_tombstones
from content_orchestration.core.replication.status import backlog, horizon, open_window_seconds
from content_orchestration.core.replication.tables import CONTENT_STORAGE, ENTITIES, REPLICATED
from content_orchestration.defs.integrity import checks as integrity
from content_orchestration.defs.integrity.sides import sides_of
from content_orchestration.defs.restore import checks as restore
from content_orchestration.failures import unknown
from content_orchestration.policies import RPO
from content_orchestration.resources.bigquery import BigQueryDRResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.resources.zerodb import ZeroDBResource
from content_orchestration.settings import get_settings

_ASSET = CONTENT_STORAGE.table.name


def _recovery_point(sides: Sides) -> dg.AssetCheckResult:
    waiting = backlog(sides.database)
    return dg.AssetCheckResult(
        passed=waiting.oldest_seconds < RPO.total_seconds(),
        description=f"{waiting.changes} changes wait, the oldest for {waiting.oldest_seconds:.0f} s",
        metadata={"lag_seconds": waiting.oldest_seconds, "backlog_changes": waiting.changes},
    )


def _open_windows(sides: Sides) -> dg.AssetCheckResult:
    allowed = 2 * 60 * get_settings().bigquery_sync_interval_minutes
    found = open_window_seconds(sides.database)
    return dg.AssetCheckResult(
        passed=found is None or found[1] <= allowed,
        description="no window is open"
        if found is None
        else f"sync {found[0]} has been open for {found[1]:.0f} s, two cycles are {allowed} s: the next sync "
        "finishes it; if it does not, see docs/RUNBOOK.md",
    )


def _horizon(sides: Sides) -> dg.AssetCheckResult:
    oldest = horizon(sides.database)
    passed = oldest.seconds < RPO.total_seconds()
    return dg.AssetCheckResult(
        passed=passed,
        description=f"the oldest writing transaction is {oldest.seconds:.0f} s old"
        + ("" if passed else f": {oldest.who}. Nothing after it is replicated until it ends"),
        metadata={"horizon_seconds": oldest.seconds, "held_by": oldest.who or "nobody"},
    )


def _tombstones(sides: Sides) -> dg.AssetCheckResult:
    if sides.warehouse is None:
        raise Transient(sides.why_not)
    looked_at, still_live = 0, []
    for entity in ENTITIES:
        result = missing_tombstones(sides.database, sides.warehouse, entity)
        looked_at += result.looked_at
        still_live += [f"{entity.table.name}: {key}" for key in result.still_live]
    return dg.AssetCheckResult(
        passed=not still_live,
        description=f"{looked_at} deletes looked at, {len(still_live)} still live in BigQuery",
        metadata={"samples": dg.MetadataValue.json(still_live[:20])},
    )


_OF_THE_HISTORY: dict[str, tuple[str, Callable[[Sides], dg.AssetCheckResult]]] = {
    "recovery_point_within_15_minutes": (
        "The oldest change that is not in BigQuery yet is younger than the recovery point objective.", _recovery_point,
    ),
    "no_window_is_left_open": ("No window has been open for longer than two cycles.", _open_windows),
    "no_transaction_pins_the_horizon": (
        "No transaction that can write is older than the recovery point objective: windows end before it.", _horizon,
    ),
    "deleted_ids_have_tombstones": (
        "No id that was deleted and replicated shows as live in BigQuery, in any of the tables.", _tombstones,
    ),
}  # fmt: skip


@dg.multi_asset_check(
    name="replication_checks",
    specs=[
        *(
            dg.AssetCheckSpec(name, asset=_ASSET, description=description)
            for name, (description, _) in _OF_THE_HISTORY.items()
        ),
        *(
            dg.AssetCheckSpec(integrity.NAME, asset=entity.table.name, blocking=True, description=integrity.DESCRIPTION)
            for entity in REPLICATED
        ),
        dg.AssetCheckSpec(restore.NAME, asset=_ASSET, description=restore.DESCRIPTION),
    ],
    can_subset=True,
)
def replication_checks(
    context: dg.AssetCheckExecutionContext,
    postgres: PostgresResource,
    zerodb: ZeroDBResource,
    bigquery: BigQueryDRResource,
) -> Iterator[dg.AssetCheckResult]:
    """Everything that is asked after each sync."""
    try:
        looks = _looks(sides_of(postgres, zerodb, bigquery), context.run.run_id)
    except (Transient, Permanent) as error:
        looks = {key: partial(unknown, error) for key in context.selected_asset_check_keys}
    yield from side_by_side(context, looks)


def _looks(sides: Sides, run_id: str) -> dict[dg.AssetCheckKey, Look]:
    looks: dict[dg.AssetCheckKey, Look] = {
        _key(_ASSET, name): partial(_known, look, sides) for name, (_, look) in _OF_THE_HISTORY.items()
    }
    for entity in REPLICATED:
        looks[_key(entity.table.name, integrity.NAME)] = partial(integrity.agrees, sides, entity, run_id=run_id)
    looks[_key(_ASSET, restore.NAME)] = partial(restore.no_transaction_touched_most_rows, sides.database)
    return looks


def _known(look: Callable[[Sides], dg.AssetCheckResult], sides: Sides) -> dg.AssetCheckResult:
    try:
        return look(sides)
    except (Transient, Permanent) as error:
        return unknown(error)


def _key(asset: str, name: str) -> dg.AssetCheckKey:
    return dg.AssetCheckKey(dg.AssetKey(asset), name)
