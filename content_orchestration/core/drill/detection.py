"""The checks that find a disaster: the same engines that run after each sync, by the hour, and in the UI.

A detector says what it found, or nothing. What it found may say how to recover: a moment, a tenant.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from content_orchestration.core.database import Database, Row
from content_orchestration.core.drill.world import World
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.integrity.bodies import scan_bodies
from content_orchestration.core.integrity.counts import compare_counts
from content_orchestration.core.integrity.findings import Comparison
from content_orchestration.core.quota.usage import untrue_counters
from content_orchestration.core.replication.tables import ENTITIES
from content_orchestration.core.schema.documents import COLLECTIONS
from content_orchestration.core.schema.postgres import shape_differences
from content_orchestration.core.sql import statement

# A world is small; what bounds a comparison in life is INTEGRITY_MAX_BYTES.
_MAX_BYTES = 10 * 1024**3


@dataclass(frozen=True)
class Finding:
    """What a check says in words, and the facts by which a recovery goes."""

    said: str
    facts: Mapping[str, Any] = field(default_factory=dict)


Detector = Callable[[World], Finding | None]


def tables_have_their_shape(world: World) -> Finding | None:
    """The check of `postgres_schema`: a table of ours is not there or not as it should be."""
    differences = shape_differences(world.scratch.database)
    return Finding("; ".join(differences)) if differences else None


def a_sync_succeeds(world: World) -> Finding | None:
    """The next sync of the schedule: it fails where what it reads is gone, and leaves its window open."""
    try:
        world.sync()
    except (Permanent, psycopg.Error) as error:
        return Finding(f"the sync fails: {str(error).splitlines()[0]}")
    return None


def collections_are_there(world: World) -> Finding | None:
    """What `zerodb_collections` would create anew."""
    missing = sorted(COLLECTIONS.keys() - world.scratch.store.collections().keys())
    return Finding(f"collections that are not there: {', '.join(missing)}") if missing else None


def bodies_are_true(world: World) -> Finding | None:
    """The scrub of bodies: every document that a row names is there, with the hash and size that the row says."""
    result = scan_bodies(world.scratch.database, world.scratch.store)
    if result.unknown:
        # What could not look has neither found a disaster nor shown that there is none.
        raise Transient(f"bodies could not be read: {result.unknown}")
    if not result.differences:
        return None
    ids = tuple(sorted({str(difference.detail["content_id"]) for difference in result.differences}))
    return Finding(f"of {result.compared} bodies: {_counted(result)}", {"content_ids": ids})


def counters_equal_truth(world: World) -> Finding | None:
    """The check of `storage_usage`: a tenant's counters are not what its rows add up to."""
    untrue = untrue_counters(world.scratch.database)
    ids = tuple(row["tenant_id"] for row in untrue)
    return Finding(f"counters of {len(untrue)} tenants are not true", {"tenant_ids": ids}) if untrue else None


def no_transaction_touched_most_rows(world: World) -> Finding | None:
    """The check of the change log: one transaction changed or deleted a tenth of a table."""
    found = large_transactions(world.scratch.database)
    if not found:
        return None
    return Finding(
        large_transactions_text(found),
        {"began": found[0]["began"], "tenant_ids": tuple(sorted({r["one_tenant"] for r in found if r["one_tenant"]}))},
    )


def copies_agree(world: World) -> Finding | None:
    """The checks after each sync and by the hour: BigQuery shows the rows that PostgreSQL holds, and every body."""
    # It brings Arrow, which every process would load with the definitions.
    from content_orchestration.core.integrity.warehouse_rows import compare_rows

    differing = []
    for entity in ENTITIES:
        counts = compare_counts(world.scratch.database, world.scratch.warehouse, entity)
        if not counts.agrees:
            differing.append(f"{counts.table}: {counts.summary}")
        rows = compare_rows(world.scratch.database, world.scratch.warehouse, entity, max_bytes=_MAX_BYTES)
        if rows.differences:
            differing.append(f"{entity.table.name}: {_counted(rows)}")
    return Finding("; ".join(differing)) if differing else None


def large_transactions(database: Database) -> list[Row]:
    """Transactions of the last day that changed or deleted a tenth of a table at once, the earliest first."""
    with database.connection() as connection:
        return connection.execute(statement("validation/large_transactions")).fetchall()


def large_transactions_text(found: list[Row]) -> str:
    """One sentence a transaction and table, for the UI and the report."""
    return "; ".join(
        f"transaction {row['transaction']} did {row['action']} {row['rows']:,} rows of {row['table_name']} of "
        f"{row['tenants']} tenants at {row['began']:%Y-%m-%d %H:%M:%S.%f} UTC"
        for row in found
    )


def _counted(comparison: Comparison) -> str:
    return ", ".join(f"{kind} {number}" for kind, number in sorted(comparison.counts.items()))
