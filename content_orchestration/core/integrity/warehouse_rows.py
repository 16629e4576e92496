"""PostgreSQL against BigQuery, row by row, from ids and stored hashes: the hourly tier.

The comparison is as of the last closed window. Ids that changed behind it are left out by name, and whatever seems to
differ is looked at once more: what changed while the comparison ran is counted as skipped, never as different.
How one pair of states is named is in `naming.py`; whether stored payloads have their hashes is asked by `deep.py`.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID

from psycopg import Connection

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.integrity.buckets import Part, differing, warehouse_buckets
from content_orchestration.core.integrity.findings import Comparison
from content_orchestration.core.integrity.local_rows import LocalRows, local_rows
from content_orchestration.core.integrity.looking import as_uuid, tenant_uuid
from content_orchestration.core.integrity.metered import MeteredWarehouse
from content_orchestration.core.integrity.naming import Pair, State, named
from content_orchestration.core.integrity.resend import is_uuid
from content_orchestration.core.replication.tables import Entity
from content_orchestration.core.sql import statement
from content_orchestration.core.warehouse import Warehouse

BEHIND_THE_SYNC = "changed since the last sync"
DURING = "changed during the comparison"

# Ids in flight are sent to both sides by name; past this many a sync says more than a comparison.
_MOST_IN_FLIGHT = 100_000
# 256 buckets, 4,096 for a larger table: a bucket that differs is read row by row, and BigQuery's pages are slow.
_FEW_ROWS = 100_000
# Buckets that hold more rows than this together are divided once more before they are opened.
_LARGE = 50_000
_FURTHER_DIGITS = 2
# Divided into more than this many, the sums would be no shorter than the rows.
_MOST_DIVIDED = 400
# Rows of both sides in memory at once.
_ROWS_AT_ONCE = 100_000
_IDS_AT_ONCE = 10_000


def compare_rows(
    database: Database,
    warehouse: Warehouse,
    entity: Entity,
    *,
    max_bytes: int,
    tenant_id: str | None = None,
    ids: Sequence[str] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Comparison:
    """Compare the rows of one table as of the last closed window; of one tenant, or with these ids, where given.

    `max_bytes` bounds what BigQuery's dry runs say of all queries together. Raises `Permanent` where that is passed
    (`INTEGRITY_MAX_BYTES`), `Permanent` or `Transient` where a side cannot be read; nothing is written anywhere.
    """
    started = clock()
    comparison = Comparison(f"{entity.table.name}: rows")
    tenant = tenant_uuid(tenant_id)
    history = MeteredWarehouse(warehouse, entity, max_bytes)
    # This transaction stays open to the end: its locks on the change log keep maintenance from dropping a day of it.
    with _as_of_now(database) as connection:
        cursor, comparison.as_of_sync_id = _replicated_until(connection)
        if ids is None:
            few = warehouse.row_count(entity.table.name) <= _FEW_ROWS
            pairs = _by_bucket(connection, history, entity, Part(2 if few else 3, tenant), cursor, comparison)
        else:
            pairs = _by_id(connection, history, entity, sorted({str(as_uuid(each, "ids")) for each in ids}), tenant)
            comparison.attempted = len(set(ids))
        moved = 0
        for suspects in pairs:
            settled = _settled(database, entity, suspects, cursor)
            moved += len(suspects) - len(settled)
            for pair in settled:
                comparison.differences.extend(named(entity, pair))
    comparison.skip(DURING, moved)
    comparison.compared = comparison.attempted - sum(comparison.skipped.values())
    comparison.bytes_estimated = history.estimated
    comparison.seconds = clock() - started
    return comparison


@contextmanager
def _as_of_now(database: Database) -> Iterator[Connection[Row]]:
    """One snapshot, printed as replication prints it. Read only: no window waits for it."""
    with database.connection() as connection:
        for name in ("replication/repeatable_read", "replication/pin_settings", "integrity/long_read"):
            connection.execute(statement(name))
        yield connection


def _replicated_until(connection: Connection[Row]) -> tuple[str, int | None]:
    """The transaction id up to which changes are in BigQuery, and the last closed sync."""
    row = connection.execute(statement("integrity/state")).fetchone()
    if row is None:
        raise Transient("nothing has been replicated yet, so there is nothing to compare: sync, then compare")
    if row["system_identifier"] != row["cluster"]:
        raise Permanent(
            f"the replication cursor belongs to cluster {row['system_identifier']}, this is cluster {row['cluster']}: "
            "nobody can say what was replicated from here (docs/RUNBOOK.md, 'After a restore to another cluster')"
        )
    return row["next_xid"], row["sync_id"]


def _by_bucket(
    connection: Connection[Row],
    history: MeteredWarehouse,
    entity: Entity,
    part: Part,
    cursor: str,
    comparison: Comparison,
) -> Iterator[list[Pair]]:
    """What seems to differ, a bounded number of rows at a time."""
    values = {"entity": entity.name, "cursor": cursor, "most": _MOST_IN_FLIGHT + 1}
    in_flight = [row["entity_id"] for row in connection.execute(statement("integrity/in_flight"), values)]
    if len(in_flight) > _MOST_IN_FLIGHT:
        raise Transient(
            f"more than {_MOST_IN_FLIGHT:,} ids of {entity.table.name} changed since the last sync: sync, then compare"
        )
    left_out = set(in_flight)
    with local_rows() as rows:
        # Both sides at the same time. BigQuery is read after the snapshot was taken.
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(warehouse_buckets, history, part, in_flight)
            here = rows.read(connection, entity, part.tenant, in_flight, part.digits)
            suspicious = differing(here, asked.result())
        _prove(rows.samples, _states(connection, entity, list(rows.samples), part.tenant))
        comparison.skip(BEHIND_THE_SYNC, len(in_flight))
        comparison.attempted = sum(bucket.rows for bucket in here.values()) + len(in_flight)
        if sum(suspicious.values()) > _LARGE and len(suspicious) <= _MOST_DIVIDED:
            finer = Part(part.digits + _FURTHER_DIGITS, part.tenant, list(suspicious), part.digits)
            here = rows.divided(finer.opened, part.digits, finer.digits)
            suspicious = differing(here, warehouse_buckets(history, finer, in_flight))
            part = finer
        for names in _batches(suspicious):
            opened = Part(part.digits, part.tenant, names, part.digits)
            yield _opened(connection, history, entity, opened, rows, left_out)


def _batches(suspicious: Mapping[str, int]) -> Iterator[list[str]]:
    """Names of buckets in groups whose rows fit in memory together."""
    names: list[str] = []
    rows = 0
    for name, held in suspicious.items():
        if names and rows + held > _ROWS_AT_ONCE:
            yield names
            names, rows = [], 0
        names.append(name)
        rows += held
    if names:
        yield names


def _opened(
    connection: Connection[Row],
    history: MeteredWarehouse,
    entity: Entity,
    part: Part,
    rows: LocalRows,
    left_out: set[str],
) -> list[Pair]:
    here = rows.opened(part.opened, part.opened_digits)
    there: dict[str, State] = {}
    # What is plainly equal is forgotten at once: of two large buckets only what differs stays in memory.
    for state in history.query("bucket_rows", {"buckets": list(part.opened), "opened": part.opened_digits}):
        each = state["entity_id"]
        if each in left_out:
            continue
        live = state["op"] != "delete"
        if live and state["copies"] == 1 and here.get(each) == (state["tenant_id"], state["row_sha256"]):
            del here[each]
        elif live or each in here:
            there[each] = state
    return _printed_again(connection, entity, part.tenant, here.keys(), there)


def _printed_again(
    connection: Connection[Row], entity: Entity, tenant: UUID | None, ids: Iterable[str], there: Mapping[str, State]
) -> list[Pair]:
    """Pairs of suspects. What a difference rests on is what PostgreSQL itself prints and hashes."""
    pairs = []
    for some in _chunks(sorted({*ids, *there})):
        here = _states(connection, entity, [each for each in some if is_uuid(each)], tenant)
        pairs += _unequal(here, {each: there[each] for each in some if each in there}, tenant)
    return pairs


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _IDS_AT_ONCE):
        yield ids[start : start + _IDS_AT_ONCE]


def _prove(samples: Mapping[str, tuple[str, str]], printed: Mapping[str, Row]) -> None:
    """Hold what this process printed and hashed against what PostgreSQL does, for a few rows of every table.

    The same code writes the history of a backfill, so a mistake in it would agree with itself.
    """
    for each, said in samples.items():
        found = printed.get(each, {})
        if said != (found.get("tenant_id"), found.get("row_sha256")):
            raise Permanent(
                f"row {each} is printed otherwise by PostgreSQL than by this program, so nothing can be said of its "
                "table: report it as a defect, with the type of each column and the version of PostgreSQL"
            )


def _states(connection: Connection[Row], entity: Entity, ids: Sequence[str], tenant: UUID | None) -> dict[str, Row]:
    values = {"tenant": tenant, "ids": [UUID(each) for each in ids]}
    rows = connection.execute(statement(f"integrity/row_states_{entity.name}"), values).fetchall()
    return {row["entity_id"]: row for row in rows}


def _by_id(
    connection: Connection[Row], history: MeteredWarehouse, entity: Entity, ids: Sequence[str], tenant: UUID | None
) -> Iterator[list[Pair]]:
    for some in _chunks(ids):
        here = _states(connection, entity, some, tenant)
        there = {row["entity_id"]: row for row in history.query("rows_by_id", {"ids": some})}
        yield _unequal(here, there, tenant)


def _unequal(here: Mapping[str, State], there: Mapping[str, State], tenant: UUID | None) -> list[Pair]:
    """Pairs that are not plainly equal. With a tenant, other tenants' rows in BigQuery are not looked at."""
    pairs = [Pair(each, here.get(each), there.get(each)) for each in sorted(here.keys() | there.keys())]
    return [
        pair
        for pair in pairs
        if not pair.equal and (tenant is None or pair.here is not None or pair.of_tenant(str(tenant)))
    ]


def _settled(database: Database, entity: Entity, suspects: Sequence[Pair], cursor: str) -> list[Pair]:
    """The suspects that did not change: neither since the cursor, nor since the comparison's own snapshot.

    Whatever BigQuery may show that this snapshot did not is of a transaction behind the cursor, and that is in the
    change log by now, or has replaced the version of the row.
    """
    settled = []
    for start in range(0, len(suspects), _IDS_AT_ONCE):
        some = {pair.entity_id: pair for pair in suspects[start : start + _IDS_AT_ONCE]}
        values = {"entity": entity.name, "cursor": cursor, "ids": [each for each in some if is_uuid(each)]}
        with database.connection() as connection:
            rows = connection.execute(statement(f"integrity/suspects_{entity.name}"), values).fetchall()
        for row in rows:
            pair = some.pop(row["entity_id"])
            if not pair.moved(row):
                settled.append(pair.looked_at(row))
        # What is no UUID was never a key of PostgreSQL: only BigQuery can hold it.
        settled.extend(some.values())
    return settled
