"""What the ledger knows, read without a lock: a tenant's usage and its history. Nothing is counted from rows here."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from content_orchestration.core.database import Database, Row
from content_orchestration.core.quota.decision import InvalidRequest, QuotaDecision
from content_orchestration.core.quota.outcomes import refuse
from content_orchestration.core.quota.plans import PLANS, Plan, plan_of
from content_orchestration.core.quota.reservation import identifier
from content_orchestration.core.quota.upkeep import apply_plan
from content_orchestration.core.sql import statement


@dataclass(frozen=True)
class BrandUsage:
    """A brand's limit and counters, in bytes."""

    brand_id: UUID
    limit_bytes: int
    used_bytes: int
    reserved_bytes: int


@dataclass(frozen=True)
class Usage:
    """A tenant's limits and counters. `plan_recognised` is False where the platform names no plan that exists.

    The generated items are those of this month in UTC. `usage_by_type` is as of `last_calculated_at`.
    """

    tenant_id: UUID
    tenant: str | None
    plan: str
    plan_recognised: bool
    limit_bytes: int | None
    used_bytes: int
    reserved_bytes: int
    content_items: int
    media_files: int
    media_bytes: int
    usage_by_type: Mapping[str, Any]
    items_a_month: int | None
    generated_items: int
    generated_reserved: int
    brands: tuple[BrandUsage, ...]
    last_calculated_at: datetime | None

    @property
    def storage(self) -> QuotaDecision:
        """The limit of storage, for `as_headers()`."""
        return QuotaDecision(
            "tenant", self.used_bytes, self.reserved_bytes, self.limit_bytes, 0, self.plan, self.plan_recognised
        )

    @property
    def generation(self) -> QuotaDecision:
        """The limit of generated items this month."""
        return QuotaDecision(
            "generation", self.generated_items, self.generated_reserved, self.items_a_month, 0, self.plan,
            self.plan_recognised,
        )  # fmt: skip


@dataclass(frozen=True)
class UsagePoint:
    """A tenant's usage as it was recorded."""

    recorded_at: datetime
    plan_tier: str
    limit_bytes: int | None
    used_bytes: int
    reserved_bytes: int
    content_items: int
    media_files: int
    media_bytes: int


def read_usage(database: Database, tenant: UUID | str, *, plans: Mapping[str, Plan] = PLANS) -> Usage:
    """A tenant's usage under the platform's plan of this moment. A tenant without counters gets them.

    Raises `UnknownTenant` and `InvalidRequest`.
    """
    values = {"tenant_id": identifier("tenant", tenant)}
    row = _usage_row(database, values)
    if row is None:
        raise refuse({"outcome": "unknown_tenant"}, f"tenant {tenant}")
    plan = plan_of(row["platform_plan"], plans)
    if not row["counted"] or (row["plan_tier"], row["limit_bytes"]) != (plan.tier, plan.limit_bytes):
        apply_plan(database, values["tenant_id"], plans=plans)
        row = _usage_row(database, values) or row
    return Usage(
        tenant_id=values["tenant_id"],
        tenant=row["name"],
        plan=plan.tier,
        plan_recognised=row["platform_plan"] == plan.tier,
        limit_bytes=plan.limit_bytes,
        used_bytes=row["used_bytes"],
        reserved_bytes=row["reserved_bytes"],
        content_items=row["content_items"],
        media_files=row["media_files"],
        media_bytes=row["media_bytes"],
        usage_by_type=row["usage_by_type"],
        items_a_month=plan.items_a_month,
        generated_items=row["generated_items"],
        generated_reserved=row["generated_reserved"],
        brands=tuple(
            BrandUsage(UUID(b["brand_id"]), b["limit_bytes"], b["used_bytes"], b["reserved_bytes"])
            for b in row["brands"]
        ),
        last_calculated_at=row["last_calculated_at"],
    )


def read_history(database: Database, tenant: UUID | str, start: datetime, end: datetime) -> list[UsagePoint]:
    """What was recorded of a tenant from `start` to before `end`, oldest first; both with a time zone.

    Raises `InvalidRequest`. A tenant that nothing was recorded of has an empty history.
    """
    for name, moment in (("start", start), ("end", end)):
        if moment.tzinfo is None:
            raise InvalidRequest(f"{name} is {moment}: it must carry a time zone. Nothing was read")
    if start > end:
        raise InvalidRequest(f"start {start} is after end {end}: nothing lies between. Nothing was read")
    values = {"tenant_id": identifier("tenant", tenant), "start": start, "end": end}
    with database.connection() as connection:
        return [UsagePoint(**row) for row in connection.execute(statement("quota/history"), values)]


def _usage_row(database: Database, values: Mapping[str, Any]) -> Row | None:
    with database.connection() as connection:
        return connection.execute(statement("quota/usage"), values).fetchone()
