"""BigQuery against itself: stored payloads and bodies are hashed again, a rolling share of partitions at a time.

Rot inside the copy shows here; whether the copy agrees with PostgreSQL is the question of `warehouse_rows.py`. The
history is append-only, so nothing that happens meanwhile can raise a false alarm.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from typing import Any

from content_orchestration.core.database import Database
from content_orchestration.core.integrity.findings import Comparison, Difference, Kind
from content_orchestration.core.integrity.metered import MeteredWarehouse
from content_orchestration.core.replication.tables import Entity
from content_orchestration.core.sql import on_table, statement
from content_orchestration.core.warehouse import Warehouse

HEALED = "superseded states whose content a later state holds"
WITHOUT_BODY = "superseded states without their body"

_FIRST_DAY, _LAST_DAY = date(1970, 1, 1), date(9999, 1, 1)
_IDS_AT_ONCE = 10_000


def deep_compare(
    database: Database,
    warehouse: Warehouse,
    entity: Entity,
    *,
    max_bytes: int,
    days: Sequence[date] | None,
    clock: Callable[[], float] = time.monotonic,
) -> Comparison:
    """Hash the stored payloads and bodies of these partitions again (UTC days of `synced_at`; None means all).

    A state that a later one has replaced is a difference only where no later state holds the same content: what a
    repair sent again is there. Raises `Permanent` where the dry runs say more than `max_bytes`
    (`INTEGRITY_MAX_BYTES`), `Permanent` or `Transient` where a side cannot be read.
    """
    started = clock()
    comparison = Comparison(f"{entity.table.name}: stored hashes")
    with database.connection() as connection:
        row = connection.execute(statement("integrity/state")).fetchone()
        comparison.as_of_sync_id = row["sync_id"] if row else None
    history = MeteredWarehouse(warehouse, entity, max_bytes)
    name = "rehash_with_bodies" if entity.has_body else "rehash"
    spans = list(_spans(days))
    history.reserve("partition_rows", spans)
    history.reserve(name, spans)
    for span in spans:
        comparison.attempted += sum(row["present"] for row in history.reserved("partition_rows", span))
        broken = list(history.reserved(name, span))
        for start in range(0, len(broken), _IDS_AT_ONCE):
            _name_all(history, entity, broken[start : start + _IDS_AT_ONCE], comparison)
    comparison.compared = comparison.attempted
    comparison.bytes_estimated = history.estimated
    comparison.seconds = clock() - started
    return comparison


def scrub_partitions(
    database: Database, warehouse: Warehouse, entity: Entity, *, scrub_days: int, now: datetime
) -> list[date]:
    """The partitions that are due for a deep comparison at `now` (UTC), oldest first.

    A partition is due on the day after its own and every `scrub_days` days from then, so that each day takes about the
    same share; and whenever its last scrub is that long ago, because runs were missed. One that was read before its day
    was over counts as never read. With `scrub_days` 0 all of them are due.
    """
    today = now.astimezone(UTC).date()
    with database.connection() as connection:
        rows = connection.execute(statement("integrity/partitions_scrubbed"), {"table": entity.table.name}).fetchall()
    done = {row["partition_day"]: row["scrubbed_at"] for row in rows}
    began = min(done.values(), default=None)
    sql = on_table("bigquery/partition_rows", warehouse.qualified(entity.table.name))
    present = [date.fromisoformat(row["day"]) for row in warehouse.query(sql, next(_spans(None)))]
    if scrub_days == 0:
        return present
    due = []
    for day in present:
        last = done.get(day)
        if last is not None and last < _start_of(day + timedelta(days=1)) and day < today:
            last = None
        # Never read since scrubs began: its turn was missed.
        waiting_since = last or (max(began, _start_of(day + timedelta(days=1))) if began else None)
        overdue = waiting_since is not None and now - waiting_since >= timedelta(days=scrub_days)
        its_turn = (today - day).days % scrub_days == 1 % scrub_days and (last is None or last < _start_of(today))
        if overdue or its_turn:
            due.append(day)
    return due


def record_scrub(database: Database, entity: Entity, days: Sequence[date], now: datetime) -> None:
    """Note that these partitions were read in full at `now`. Call it only when the deep comparison was not unknown."""
    values = [{"table": entity.table.name, "day": day, "now": now} for day in days]
    if values:
        with database.connection() as connection, connection.cursor() as cursor:
            cursor.executemany(statement("integrity/partition_scrubbed"), values)


def _name_all(
    history: MeteredWarehouse, entity: Entity, broken: Sequence[dict[str, Any]], comparison: Comparison
) -> None:
    """Tell what each broken state is, by the states of the same ids."""
    name = "history_of_with_bodies" if entity.has_body else "history_of"
    states: dict[str, list[dict[str, Any]]] = {}
    for state in history.query(name, {"ids": sorted({row["entity_id"] for row in broken})}):
        states.setdefault(state["entity_id"], []).append(state)
    seen: set[tuple[str, int, Kind]] = set()
    for row in broken:
        later = [state for state in states.get(row["entity_id"], ()) if state["sync_id"] > row["sync_id"]]
        for kind in _kinds(row):
            if later and _held_later(row, kind, later):
                comparison.skip(HEALED)
            elif later and kind is Kind.BODY_MISSING_IN_WAREHOUSE:
                comparison.skip(WITHOUT_BODY)
            elif (key := (row["entity_id"], row["sync_id"], kind)) not in seen:
                # A state that is there twice is one difference here; that it is there twice is the hourly tier's.
                seen.add(key)
                comparison.differences.append(_difference(entity, row, kind, superseded=bool(later)))


def _kinds(row: dict[str, Any]) -> Iterator[Kind]:
    if row["payload_sha256"] != row["row_sha256"]:
        yield Kind.CORRUPT_PAYLOAD
        told = True  # a payload that is broken itself says nothing of the body
    else:
        told = row.get("told", True)
    if "found_sha256" not in row or row["op"] == "delete":
        return
    if row["found_sha256"] is None:
        yield Kind.BODY_MISSING_IN_WAREHOUSE
    elif row["found_sha256"] != row["body_sha256"] or not told:
        yield Kind.CORRUPT_BODY_IN_WAREHOUSE


def _held_later(row: dict[str, Any], kind: Kind, later: Sequence[dict[str, Any]]) -> bool:
    """Whether a later state says that it holds the same content; its own partition is read in its own turn."""
    if kind is Kind.CORRUPT_PAYLOAD:
        return any(state["row_sha256"] in (row["row_sha256"], row["payload_sha256"]) for state in later)
    # The payload names its body: a later state with the same payload has that body, whatever was put beside this one.
    return any(
        state["row_sha256"] == row["row_sha256"] or state["body_sha256"] in (row["body_sha256"], row["found_sha256"])
        for state in later
    )


def _difference(entity: Entity, row: dict[str, Any], kind: Kind, *, superseded: bool) -> Difference:
    detail: dict[str, Any] = {"sync_id": row["sync_id"], "superseded": superseded}
    if kind is Kind.CORRUPT_PAYLOAD:
        detail |= {"stored_sha256": row["row_sha256"], "found_sha256": row["payload_sha256"]}
    else:
        detail |= {"stored_sha256": row["body_sha256"] or None, "found_sha256": row["found_sha256"]}
    return Difference(kind, entity.table.name, row["entity_id"], row["tenant_id"], detail)


def _spans(days: Sequence[date] | None) -> Iterator[dict[str, datetime]]:
    """Days as ranges of `synced_at`, neighbours together: a range lets BigQuery skip every other partition."""
    if days is None:
        yield {"low": _start_of(_FIRST_DAY), "high": _start_of(_LAST_DAY)}
        return
    wanted = sorted(set(days))
    while wanted:
        first = last = wanted.pop(0)
        while wanted and wanted[0] == last + timedelta(days=1):
            last = wanted.pop(0)
        yield {"low": _start_of(first), "high": _start_of(last + timedelta(days=1))}


def _start_of(day: date) -> datetime:
    return datetime.combine(day, clock_time(), UTC)
