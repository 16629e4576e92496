"""Which state of the history a restore means: a moment or a sync id becomes the sync whose state is restored.

What it promises. The state as of sync N holds, of every id, the newest state that the history has under a sync id up to
N. It contains every change that had been committed when N opened its window, and none that was committed after N had
read its last row: rows are read as they are at that time, which may be later than their window. So where nobody writes
while N runs, it is exactly what PostgreSQL held; otherwise each row is as it was at some time between the two, and the
syncs behind N tell the rest. A moment means the last sync that had read everything by then: nothing later is in it, and
what was changed before it is missing only if it was not replicated yet.
Rows of a tenant's snapshot (`content_dr_backfill`) belong to the sync id that the snapshot took before it began.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from content_orchestration.core.errors import Permanent
from content_orchestration.core.replication.tables import SYNC_LOG, TABLES
from content_orchestration.core.sql import on_table
from content_orchestration.core.warehouse import Warehouse

_END_OF_TIME = datetime(9999, 12, 31, tzinfo=UTC)


class NoSyncByThen(Permanent):
    """The history begins after the moment."""


@dataclass(frozen=True)
class Moment:
    """A resolved moment: the sync id and what to tell people about it."""

    sync_id: int
    described: str


@dataclass(frozen=True)
class Extent:
    """The first and last sync id in the whole dataset, and the last closed sync; None where there is none."""

    first: int | None
    last: int | None


def extent(warehouse: Warehouse) -> Extent:
    """The sync ids that the dataset holds, those of open windows and snapshots included."""
    firsts: list[int] = []
    lasts: list[int] = []
    for spec in TABLES:
        query = on_table("bigquery/sync_extent", warehouse.qualified(spec.name))
        for row in warehouse.query(query):
            if row["first_sync_id"] is not None:
                firsts.append(int(row["first_sync_id"]))
                lasts.append(int(row["last_sync_id"]))
    return Extent(min(firsts, default=None), max(lasts, default=None))


def resolve(warehouse: Warehouse, as_of: datetime | int | None) -> Moment:
    """The sync that `as_of` means. Raises `Permanent` where the history does not reach back so far, or is empty.

    Whether that state is still whole, or was compacted, is asked by `horizon.py`.
    """
    if isinstance(as_of, int):
        return _by_id(warehouse, as_of)
    moment = as_of or _END_OF_TIME
    query = on_table("bigquery/syncs_before", warehouse.qualified(SYNC_LOG.name))
    later: datetime | None = None
    for row in warehouse.query(query, {"moment": moment}):
        # The next window opens after the one before it is closed, which bounds a sync that does not say when it read.
        read_until = row["read_until"] or later
        if as_of is None or (read_until is not None and read_until <= moment):
            return Moment(int(row["sync_id"]), f"sync {row['sync_id']} of {row['synced_at']:%Y-%m-%d %H:%M:%S} UTC")
        later = row["synced_at"]
    if as_of is None:
        last = extent(warehouse).last
        if last is None:
            raise Permanent(
                f"{warehouse.qualified(SYNC_LOG.name)} is empty: nothing was ever replicated there. See that "
                "BIGQUERY_PROJECT_ID and BIGQUERY_DATASET name the dataset that replication writes"
            )
        raise Permanent(
            "no sync was ever closed in this dataset, but it holds rows of a snapshot or of a sync that was cut off: "
            f"to restore what is there, set as_of to {last}"
        )
    raise NoSyncByThen(
        f"as_of is {moment.astimezone(UTC).isoformat()}, and no sync had finished by then: the history begins later. "
        f"See sync_id and synced_at of every sync in {warehouse.qualified(SYNC_LOG.name)}"
    )


def _by_id(warehouse: Warehouse, sync_id: int) -> Moment:
    held = extent(warehouse)
    if held.first is None or held.last is None or not held.first <= sync_id <= held.last:
        raise Permanent(
            f"as_of is sync {sync_id}, but the history holds syncs {held.first} to {held.last}: take one of those "
            f"({warehouse.qualified(SYNC_LOG.name)} lists them)"
        )
    query = on_table("bigquery/sync_closed", warehouse.qualified(SYNC_LOG.name))
    closed = next(iter(warehouse.query(query, {"sync_id": sync_id})), None)
    if closed is None:
        return Moment(sync_id, f"sync id {sync_id}, which is not that of a closed sync: rows up to it, as they are")
    return Moment(sync_id, f"sync {sync_id} of {closed['synced_at']:%Y-%m-%d %H:%M:%S} UTC")
