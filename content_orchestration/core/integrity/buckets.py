"""BigQuery's side of a table in buckets, and what differs between two sides. PostgreSQL's side is in `local_rows.py`,
what a bucket is in `digests.py`. Which buckets are opened, and what their rows say, is decided in `warehouse_rows.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from content_orchestration.core.integrity.digests import EMPTY, Bucket
from content_orchestration.core.integrity.metered import MeteredWarehouse
from content_orchestration.core.warehouse import Parameter


@dataclass(frozen=True)
class Part:
    """What of a table is compared: a tenant or all, and where given only buckets of a coarser division."""

    digits: int
    tenant: UUID | None = None
    opened: Sequence[str] = ()
    opened_digits: int = 0


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
            row["present"], (row["first"], row["second"], row["third"], row["fourth"]), row["surplus"]
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
