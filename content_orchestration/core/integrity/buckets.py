"""Both sides of a table as a few hundred buckets by hash of id: a count and two 60-bit sums over SHA-256 each.

Equal buckets hold equal rows, but for a chance of 2^-120. A digest binds id, tenant and payload hash, so that two rows
that swapped payloads differ. Which buckets are opened, and what their rows say, is decided in `warehouse_rows.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection

from content_orchestration.core.database import Row
from content_orchestration.core.integrity.metered import MeteredWarehouse
from content_orchestration.core.replication.tables import Entity
from content_orchestration.core.sql import statement
from content_orchestration.core.warehouse import Parameter

_LOW_BITS = 28


@dataclass(frozen=True, slots=True)
class Bucket:
    """The rows of one bucket. `surplus` counts copies of a current state beyond its first."""

    rows: int = 0
    first: int = 0
    second: int = 0
    surplus: int = 0

    def without(self, other: "Bucket") -> "Bucket":
        """This bucket less rows that are in it."""
        return Bucket(self.rows - other.rows, self.first - other.first, self.second - other.second)


@dataclass(frozen=True)
class Part:
    """What of a table is compared: a tenant or all, and where given only some buckets of a coarser division."""

    digits: int
    tenant: UUID | None = None
    opened: Sequence[str] = ()

    @property
    def opened_digits(self) -> int:
        """Hexadecimal digits of the named buckets."""
        return len(self.opened[0]) if self.opened else 0


EMPTY = Bucket()


def local_buckets(
    connection: Connection[Row], entity: Entity, part: Part, in_flight: Sequence[str]
) -> dict[str, Bucket]:
    """PostgreSQL's buckets without the ids in flight: those are taken out afterwards, so the scan stays parallel."""
    every = _local(connection, entity, part, None)
    moving = _local(connection, entity, part, [UUID(each) for each in in_flight]) if in_flight else {}
    left = {name: bucket.without(moving.get(name, EMPTY)) for name, bucket in every.items()}
    return {name: bucket for name, bucket in left.items() if bucket != EMPTY}


def warehouse_buckets(history: MeteredWarehouse, part: Part, in_flight: Sequence[str]) -> dict[str, Bucket]:
    """BigQuery's buckets over the current states, without the ids in flight."""
    values: dict[str, Parameter | Sequence[str]] = {
        "digits": part.digits,
        "tenant": str(part.tenant or ""),
        "left_out": list(in_flight),
        "buckets": list(part.opened),
        "opened": part.opened_digits,
    }
    return {
        row["bucket"]: Bucket(
            row["present"],
            (row["first_high"] << _LOW_BITS) + row["first_low"],
            (row["second_high"] << _LOW_BITS) + row["second_low"],
            row["surplus"],
        )
        for row in history.query("bucket_digests", values)
    }


def differing(here: Mapping[str, Bucket], there: Mapping[str, Bucket]) -> dict[str, int]:
    """The buckets that differ or hold a state twice, with the rows that opening each brings, by name."""
    found = {
        name: max(here.get(name, EMPTY).rows, there.get(name, EMPTY).rows)
        for name in here.keys() | there.keys()
        if here.get(name, EMPTY) != there.get(name, EMPTY)
    }
    return dict(sorted(found.items()))


def _local(connection: Connection[Row], entity: Entity, part: Part, ids: list[UUID] | None) -> dict[str, Bucket]:
    values: dict[str, Any] = {
        "digits": part.digits,
        "tenant": part.tenant,
        "ids": ids,
        "buckets": list(part.opened) or None,
        "opened": part.opened_digits,
    }
    rows = connection.execute(statement(f"integrity/bucket_digests_{entity.name}"), values).fetchall()
    return {row["bucket"]: Bucket(row["present"], int(row["first_sum"]), int(row["second_sum"])) for row in rows}
