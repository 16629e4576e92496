"""Looks once more at what a report named: before a repair, since much may have changed, and after it, to say the truth.

Only what the differences are about is compared again, with the comparison that found it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from content_orchestration.core.integrity.bodies import check_ids
from content_orchestration.core.integrity.documents import compare_documents
from content_orchestration.core.integrity.findings import Comparison, Difference, Kind
from content_orchestration.core.integrity.media import compare_media
from content_orchestration.core.integrity.outcome import looked
from content_orchestration.core.integrity.repair_log import Action
from content_orchestration.core.integrity.resend import is_uuid
from content_orchestration.core.integrity.spill import compare_spill
from content_orchestration.core.integrity.survey import Limits, Sides
from content_orchestration.core.integrity.usage import compare_usage
from content_orchestration.core.integrity.versions import compare_versions
from content_orchestration.core.integrity.warehouse_rows import compare_rows
from content_orchestration.core.replication.tables import REPLICATED, Entity, view_name
from content_orchestration.core.sql import on_table, statement
from content_orchestration.core.warehouse import Warehouse

_WAITS = (
    "the row changed since the last closed window, and BigQuery is not to have it yet: after the next sync it can be "
    "compared; where that does not come, no_transaction_pins_the_horizon names who holds it back"
)
ENTITY_OF = {entity.table.name: entity for entity in REPLICATED}


@dataclass
class Look:
    """What still differs, by table and id, and why some of it could not be looked at."""

    comparisons: list[Comparison] = field(default_factory=list)
    differences: dict[tuple[str, str], list[Difference]] = field(default_factory=dict)
    unknown: dict[tuple[str, str], str] = field(default_factory=dict)


def look_again(
    sides: Sides, limits: Limits, actions: Sequence[Action], clock: Callable[[], float] = time.monotonic
) -> Look:
    """Compare again what these actions are about. Never raises what a tier raises: what it could not see is unknown."""
    look = Look()
    groups: dict[str, list[Action]] = {}
    for action in actions:
        groups.setdefault(_group(action), []).append(action)
    for name, group in groups.items():
        for comparison in _compare(name, group, sides, limits, clock):
            look.comparisons.append(comparison)
            for difference in comparison.differences:
                look.differences.setdefault((difference.table, difference.entity_id), []).append(difference)
            if comparison.unknown:
                look.unknown |= {action.key: comparison.unknown for action in group}
        if name in ENTITY_OF:
            waiting = _pending(sides, ENTITY_OF[name], group)
            for action in group:
                if action.found.difference.entity_id in waiting:
                    look.unknown.setdefault(action.key, _WAITS)
    return look


def _group(action: Action) -> str:
    """The comparison that can see whether this is still so. A scrub walks on, so its findings are looked up by id."""
    table = action.found.difference.table
    if table in ENTITY_OF:
        return table
    return "bodies" if action.found.comparison == "bodies_scrub" else action.found.comparison


def _compare(
    name: str, group: Sequence[Action], sides: Sides, limits: Limits, clock: Callable[[], float]
) -> list[Comparison]:
    if name in ENTITY_OF:
        ids = sorted({action.found.difference.entity_id for action in group})
        return _history(sides, limits, ENTITY_OF[name], ids, clock)
    database, store = sides.database, sides.store
    if name == "bodies":
        contents = {str(action.found.difference.detail.get("content_id")) for action in group}
        return [looked(name, partial(check_ids, database, store, sorted(contents), clock=clock), clock)]
    whole: dict[str, Callable[..., Comparison]] = {
        "documents": partial(compare_documents, database, store, grace=limits.grace, now=limits.now),
        "versions": partial(compare_versions, database, store),
        "media": partial(compare_media, database, store),
        "spill": partial(compare_spill, database, grace=limits.grace, now=limits.now),
        "usage": partial(compare_usage, database),
    }
    if name not in whole:
        return [Comparison(name, unknown=f"no comparison is called {name!r}: another release wrote this report")]
    # By tenant, so that a repair of one item does not read everybody's; where nobody knows whose it is, all are read.
    tenants = {action.found.difference.tenant_id or "" for action in group}
    wanted = sorted(tenants) if all(map(is_uuid, tenants)) else [None]
    return [looked(name, partial(whole[name], tenant_id=tenant, clock=clock), clock) for tenant in wanted]


def _history(
    sides: Sides, limits: Limits, entity: Entity, ids: Sequence[str], clock: Callable[[], float]
) -> list[Comparison]:
    warehouse = sides.warehouse
    table = entity.table.name
    if warehouse is None:
        return [Comparison(f"{table}: rows", unknown=sides.why_not)]
    keys = [key for key in ids if is_uuid(key)]
    rows = partial(compare_rows, sides.database, warehouse, entity, max_bytes=limits.max_bytes, ids=keys, clock=clock)
    return [
        looked(f"{table}: rows", rows, clock),
        looked(f"{table}: hashes", partial(_hashes, warehouse, entity, ids, clock), clock),
    ]


def _pending(sides: Sides, entity: Entity, group: Sequence[Action]) -> set[str]:
    """Ids whose changes no closed window has carried. A comparison leaves them out, so it says nothing of them."""
    ids = [key for key in {action.found.difference.entity_id for action in group} if is_uuid(key)]
    with sides.database.connection() as connection:
        rows = connection.execute(statement("integrity/pending"), {"entity": entity.name, "ids": ids}).fetchall()
    return {row["entity_id"] for row in rows}


def _hashes(warehouse: Warehouse, entity: Entity, ids: Sequence[str], clock: Callable[[], float]) -> Comparison:
    """Whether payload and body of the current states have the hashes that they carry.

    A current state under a key that is no UUID was never PostgreSQL's, and no comparison of rows asks for it by id.
    """
    table = entity.table.name
    comparison = Comparison(f"{table}: hashes", attempted=len(ids))
    started = clock()
    view = warehouse.qualified(view_name(table))
    for row in warehouse.query(on_table("bigquery/payload_hashes", view), {"ids": list(ids)}):
        comparison.compared += 1
        if not is_uuid(row["entity_id"]):
            comparison.differences.append(_found(Kind.EXTRA_IN_WAREHOUSE, table, row))
        elif row["said"] != row["found"]:
            comparison.differences.append(_found(Kind.CORRUPT_PAYLOAD, table, row))
    if entity.has_body:
        for row in warehouse.query(on_table("bigquery/body_hashes", view), {"ids": list(ids)}):
            if row["found"] is None:
                comparison.differences.append(_found(Kind.BODY_MISSING_IN_WAREHOUSE, table, row))
            elif row["said"] != row["found"] or not row["told"]:
                comparison.differences.append(_found(Kind.CORRUPT_BODY_IN_WAREHOUSE, table, row))
    comparison.seconds = clock() - started
    return comparison


def _found(kind: Kind, table: str, row: Mapping[str, Any]) -> Difference:
    return Difference(kind, table, row["entity_id"], row["tenant_id"])
