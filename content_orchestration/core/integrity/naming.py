"""One id as PostgreSQL and BigQuery have it: whether that is a difference, and which. Nothing is read here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from content_orchestration.core.integrity.findings import Difference, Kind
from content_orchestration.core.replication.tables import Entity

State = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pair:
    """The row of an id in PostgreSQL and its latest state in BigQuery, tombstones too; None where there is none."""

    entity_id: str
    here: State | None
    there: State | None
    deleted: bool = False
    """Whether the change log's last word on the id is a delete that was replicated."""
    tenant_here: str | None = None
    """The tenant of a row that the comparison of one tenant did not read."""

    @property
    def live(self) -> bool:
        """Whether BigQuery shows the id as current."""
        return self.there is not None and self.there["op"] != "delete"

    @property
    def equal(self) -> bool:
        """Whether both sides say the same, BigQuery once."""
        if self.here is None or not self.live:
            return self.here is None and not self.live
        return self.there is not None and self.there["copies"] == 1 and not self._differ()

    def of_tenant(self, tenant: str) -> bool:
        """Whether BigQuery holds the id under this tenant."""
        return self.there is not None and self.there["tenant_id"] == tenant

    def moved(self, now: State) -> bool:
        """Whether the id changed behind the cursor, by what PostgreSQL says of it `now`."""
        if now["changed"] or (self.here is None and now["truncated"]):
            return True
        if self.here is None:
            # Absent from the snapshot and there now is a change, unless the snapshot was read for another tenant.
            return now["row_version"] is not None and not self._elsewhere(now)
        return bool(now["row_version"] != self.here["row_version"])

    def looked_at(self, now: State) -> "Pair":
        """This pair with what the second look says."""
        return replace(self, deleted=now["deleted"], tenant_here=now["tenant_id"])

    def _elsewhere(self, now: State) -> bool:
        return self.there is not None and now["tenant_id"] != self.there["tenant_id"]

    def _differ(self) -> bool:
        return any((self.here or {}).get(name) != (self.there or {}).get(name) for name in ("tenant_id", "row_sha256"))

    def kinds(self) -> Iterator[Kind]:
        """What is wrong with the id."""
        if self.here is None:
            if self.live and self.tenant_here is not None:
                yield Kind.DIFFERENT_IN_WAREHOUSE
            elif self.live:
                yield Kind.TOMBSTONE_MISSING if self.deleted else Kind.EXTRA_IN_WAREHOUSE
        elif not self.live:
            yield Kind.MISSING_IN_WAREHOUSE
        elif self._differ():
            yield Kind.DIFFERENT_IN_WAREHOUSE
        if self.live and self.there is not None and self.there["copies"] > 1:
            yield Kind.DUPLICATE_IN_WAREHOUSE


def named(entity: Entity, pair: Pair) -> Iterator[Difference]:
    """The differences of one id, with what each side says.

    A delete that the change log no longer remembers cannot be told from a row that PostgreSQL never had: both are
    `extra_in_warehouse` then. What only the copy of an append-only table has is no difference: it is what the copy is
    for, once the table was lost or restored to an older state.
    """
    here, there = pair.here or {}, pair.there or {}
    tenant = here.get("tenant_id") or pair.tenant_here or there.get("tenant_id")
    detail = {
        "postgres_sha256": here.get("row_sha256"),
        "warehouse_sha256": there.get("row_sha256"),
        "postgres_tenant_id": here.get("tenant_id") or pair.tenant_here,
        "warehouse_tenant_id": there.get("tenant_id"),
        "warehouse_op": there.get("op"),
        "sync_id": there.get("sync_id"),
        "copies": there.get("copies"),
    }
    shown = {name: value for name, value in detail.items() if value is not None}
    for kind in pair.kinds():
        if entity.append_only and kind == Kind.EXTRA_IN_WAREHOUSE:
            continue
        yield Difference(kind, entity.table.name, pair.entity_id, tenant, shown)
