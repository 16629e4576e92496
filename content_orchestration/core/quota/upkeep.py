"""What keeps the ledger clean: reaping, pruning, and plans that the platform changed. Reserving is in `ledger.py`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from content_orchestration.core.database import Database
from content_orchestration.core.quota.at_once import at_once, one
from content_orchestration.core.quota.outcomes import refuse
from content_orchestration.core.quota.plans import PLANS, Plan, limits_document
from content_orchestration.core.quota.reservation import identifier
from content_orchestration.core.sql import statement

# Reservations a transaction: the tenant's row is held for some 20 ms then.
_MOST = 1_000
KEEP = timedelta(days=7)


@dataclass(frozen=True)
class Reaped:
    """Expired reservations that were ended, and what they gave back."""

    tenants: int = 0
    reservations: int = 0
    bytes: int = 0
    items: int = 0

    def as_metadata(self) -> dict[str, Any]:
        """For an asset's or a run's metadata."""
        return {
            "tenants": self.tenants,
            "reservations": self.reservations,
            "bytes": self.bytes,
            "items": self.items,
        }


@dataclass(frozen=True)
class AppliedPlan:
    """A tenant's plan after it was looked up. `recognised` is False where the platform names none that exists."""

    tenant_id: UUID
    plan: str
    before: str
    recognised: bool
    changed: bool
    limit_bytes: int | None
    used_bytes: int
    reserved_bytes: int

    @property
    def over_limit(self) -> bool:
        """Whether more is used than the plan allows: nothing is deleted, and nothing more is reserved."""
        return self.limit_bytes is not None and self.used_bytes > self.limit_bytes


def reap(database: Database, tenant: UUID | None = None) -> Reaped:
    """End the reservations that have expired by the database's clock, of one tenant or of all.

    One that somebody settles at this moment is left to them. A transaction a tenant and 1,000 reservations.
    """
    with database.connection() as connection:
        rows = connection.execute(statement("quota/expired_tenants"), {"tenant_id": tenant}).fetchall()
    reservations = freed = items = 0
    for row in rows:
        while True:
            with at_once(database) as connection:
                done = one(connection, "quota/reap", {"tenant_id": row["tenant_id"], "most": _MOST})
            reservations += done["reservations"]
            freed += done["bytes"]
            items += done["items"]
            if done["reservations"] < _MOST:
                break
    return Reaped(len(rows), reservations, freed, items)


def prune(database: Database, keep: timedelta = KEEP, most: int = 10_000) -> int:
    """Forget reservations that ended longer than `keep` ago, `most` a transaction; how many.

    A key can be used anew afterwards. Those of generated items stay until the month after theirs has ended.
    """
    forgotten = 0
    while True:
        with at_once(database) as connection:
            gone = connection.execute(statement("quota/prune"), {"keep": keep, "most": most}).rowcount
        forgotten += gone
        if gone < most:
            return forgotten


def apply_plan(database: Database, tenant: UUID | str, *, plans: Mapping[str, Plan] = PLANS) -> AppliedPlan:
    """Bring a tenant's limits to the plan in `tenants.plan_tier`; thresholds are looked at again, nothing is deleted.

    Every reservation does so too; this is for tenants that do not reserve. Raises `UnknownTenant`, `InvalidRequest`.
    """
    tenant_id = identifier("tenant", tenant)
    with at_once(database) as connection:
        row = one(connection, "quota/apply_plan", {"tenant_id": tenant_id, "plans": limits_document(plans)})
    if row["outcome"] == "unknown_tenant":
        raise refuse(row, f"tenant {tenant}")
    return AppliedPlan(
        tenant_id=tenant_id,
        plan=row["plan"],
        before=row["plan_before"],
        recognised=row["plan_recognised"],
        changed=row["outcome"] == "changed",
        limit_bytes=row["quota"],
        used_bytes=row["used"],
        reserved_bytes=row["reserved"],
    )


def apply_changed_plans(database: Database, *, plans: Mapping[str, Plan] = PLANS) -> list[AppliedPlan]:
    """`apply_plan` for every tenant whose counters carry another plan or limit than the platform's plan of today."""
    with database.connection() as connection:
        rows = connection.execute(statement("quota/plans_behind"), {"plans": limits_document(plans)}).fetchall()
    return [apply_plan(database, row["tenant_id"], plans=plans) for row in rows]
