"""One history table as a compaction reads and rewrites it: which rows are listed, what a partition holds, its one job.

A job is a DELETE bounded to one partition: atomic, and to be sent again at will. The service bills it for that
partition, which it writes anew. A query into a partition decorator would do the same; the emulator ignores those.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

from content_orchestration.core.integrity.metered import Bound, MeteredWarehouse
from content_orchestration.core.replication.tables import Entity
from content_orchestration.core.sql import on_table
from content_orchestration.core.warehouse import Warehouse

Pass = Literal["superseded", "ended"]
PASSES: tuple[Pass, ...] = ("superseded", "ended")
"""In this order: a tombstone hides older states until they are gone."""
_BOUND = Bound(
    "compacting", "COMPACTION_MAX_BYTES", "lower the partitions of one run: what is left is done by the next one"
)


@dataclass(frozen=True)
class Content:
    """Rows of a partition, with four sums over the 32-bit words of their digests."""

    rows: int
    digest: str


@dataclass(frozen=True)
class Partition:
    """A partition (UTC day of `synced_at`) before its job: what stays, and what goes."""

    kept: Content
    doomed: int
    freed_bytes: int


@dataclass(frozen=True)
class Listed:
    """How many rows of a partition go in a pass, and the bytes of their payloads and bodies."""

    day: date
    pass_: Pass
    doomed: int
    bytes: int


class HistoryTable:
    """One history table under one compaction. Raises `TooManyBytes` where its jobs would read more than `max_bytes`."""

    def __init__(self, warehouse: Warehouse, entity: Entity, stage: str, max_bytes: int) -> None:
        self.entity = entity
        self._warehouse = warehouse
        self._stage = warehouse.qualified(stage)
        null = "CAST(NULL AS STRING)"
        names = {
            "doomed": on_table("bigquery/compaction_doomed", warehouse.qualified(entity.table.name)),
            "stage": self._stage,
            "has_body": "TRUE" if entity.has_body else "FALSE",
            "body": "h.body" if entity.has_body else null,
            "body_sha256": "h.body_sha256" if entity.has_body else null,
        }
        self._metered = MeteredWarehouse(warehouse, entity, max_bytes, names=names, bound=_BOUND)

    @property
    def bytes_estimated(self) -> int:
        """What the dry runs of the jobs so far came to."""
        return self._metered.estimated

    def rows(self) -> int:
        """Rows of the table."""
        return self._warehouse.row_count(self.entity.table.name)

    def survey(self, horizons: list[str]) -> list[Listed]:
        """What a compaction to these horizons would remove, oldest partition first. Writes nothing."""
        return _listed(self._metered.query("compaction_survey", {"horizons": horizons}))

    def stage(self, horizons: list[str]) -> None:
        """List the rows that go, unless an earlier run did."""
        list(self._metered.query("compaction_stage", {"horizons": horizons}))

    def listed(self) -> list[Listed]:
        """What is listed, pass after pass, oldest partition first."""
        return _listed(self._warehouse.query(on_table("bigquery/compaction_days", self._stage)))

    def tenants(self) -> set[str]:
        """Of whom something is listed."""
        query = on_table("bigquery/compaction_tenants", self._stage)
        return {row["tenant_id"] for row in self._warehouse.query(query)}

    def reserve(self, day: date, pass_: Pass) -> None:
        """Estimate the job of a partition. Raises `TooManyBytes` before anything of it is sent."""
        self._metered.reserve("compaction_delete", [self._job(day, pass_)])

    def look(self, day: date, pass_: Pass) -> Partition:
        """The partition as it is: what stays when the listed rows go."""
        found = {row["doomed"]: row for row in self._metered.query("compaction_part", self._job(day, pass_))}
        gone = found.get(1)
        kept = _content(found[0]) if 0 in found else Content(0, _digest({}))
        return Partition(kept, int(gone["present"]) if gone else 0, int(gone["bytes"]) if gone else 0)

    def delete(self, day: date, pass_: Pass) -> None:
        """Remove the listed rows of the partition, all or none; `reserve` comes before."""
        list(self._metered.reserved("compaction_delete", self._job(day, pass_)))

    def left(self, day: date) -> Content:
        """What the partition holds."""
        return _content(next(iter(self._metered.query("compaction_left", _span(day)))))

    def forget(self) -> None:
        """Remove the list."""
        list(self._warehouse.query(on_table("bigquery/compaction_drop", self._stage)))

    def _job(self, day: date, pass_: Pass) -> dict[str, Any]:
        return {**_span(day), "day": day.isoformat(), "pass": pass_}


def _span(day: date) -> dict[str, datetime]:
    low = datetime.combine(day, time(), UTC)
    return {"low": low, "high": low + timedelta(days=1)}


def _listed(rows: Iterator[dict[str, Any]]) -> list[Listed]:
    found = [
        Listed(date.fromisoformat(row["day"]), row["pass"], int(row["doomed"]), int(row["bytes"] or 0)) for row in rows
    ]
    return sorted(found, key=lambda each: (PASSES.index(each.pass_), each.day))


def _content(row: Mapping[str, Any]) -> Content:
    return Content(int(row["present"]), _digest(row))


def _digest(row: Mapping[str, Any]) -> str:
    return " ".join(str(int(row.get(word, 0))) for word in ("first", "second", "third", "fourth"))
