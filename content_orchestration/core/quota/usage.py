"""Usage of a tenant: counted from what is stored, and its counters made true by delta, without stopping a writer.

The truth is read in one snapshot (`truth.py`). Each tenant is then corrected in a short transaction of its own by what
its counters were off by *in that snapshot*, so that whatever reserved or settled since stays. The ledger's lock order
holds: month, brands by id, tenant.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.quota.plans import plan_of
from content_orchestration.core.quota.truth import (
    BRAND_COUNTERS,
    MONTH_COUNTERS,
    TENANT_COUNTERS,
    Truth,
    off,
    read_truth,
)
from content_orchestration.core.sql import statement

_ROUNDS = 5
_SAMPLE = 20


@dataclass(frozen=True)
class TenantUsage:
    """What a tenant stores, in bytes and counts, and by how much its counters were off before they were corrected."""

    tenant_id: str
    tenant: str
    plan: str
    plan_recognised: bool
    limit_bytes: int | None
    used_bytes: int
    content_items: int
    media_files: int
    media_bytes: int
    usage_by_type: dict[str, Any]
    drift_bytes: int
    reserved_bytes: int = 0
    drift: Mapping[str, int] = field(default_factory=dict)
    brand_drift_bytes: Mapping[str, int] = field(default_factory=dict)
    generated_items: int = 0
    spilled_bytes: int = 0
    spilled_unnamed_bytes: int = 0

    @property
    def percent(self) -> float | None:
        """Used share of the limit in percent, None without a limit."""
        return None if not self.limit_bytes else 100 * self.used_bytes / self.limit_bytes

    def as_metadata(self) -> dict[str, Any]:
        """For the partition's metadata."""
        return {
            "tenant": self.tenant,
            "plan": self.plan,
            "plan_recognised": self.plan_recognised,
            "limit_bytes": self.limit_bytes if self.limit_bytes is not None else "unlimited",
            "used_bytes": self.used_bytes,
            "used_gib": round(self.used_bytes / 1024**3, 2),
            "percent_used": round(self.percent, 1) if self.percent is not None else "no limit",
            "reserved_bytes": self.reserved_bytes,
            "content_items": self.content_items,
            "media_files": self.media_files,
            "media_bytes": self.media_bytes,
            "usage_by_type": self.usage_by_type,
            "generated_items_this_month": self.generated_items,
            "spilled_bytes": self.spilled_bytes,
            "spilled_bytes_no_row_names": self.spilled_unnamed_bytes,
            "drift_bytes": self.drift_bytes,
            "drift": dict(self.drift),
            "brand_drift_bytes": dict(self.brand_drift_bytes),
        }


def tenant_ids(database: Database) -> list[str]:
    """Every tenant of the platform, oldest first: the partitions of usage."""
    with database.connection() as connection:
        return [str(row["id"]) for row in connection.execute(statement("quota/tenants")).fetchall()]


def compute_usage(database: Database, tenant_id: str) -> TenantUsage:
    """Count one tenant's usage and correct its counters. Raises `Permanent` for a tenant that is not there."""
    (usage,) = reconcile(database, [tenant_id])
    return usage


def reconcile_all(database: Database) -> Iterator[TenantUsage]:
    """Every tenant: one scan of content for all of them, then a correction each. Yields as each is committed."""
    yield from reconcile(database, tenant_ids(database))


def reconcile(database: Database, tenants: Sequence[str]) -> Iterator[TenantUsage]:
    """These tenants, from one snapshot; yields as each is committed, so a crash keeps what was done.

    A tenant that somebody else reconciled since the snapshot is read again. Raises `Permanent` at the end, naming those
    that are not in `tenants`; `Transient` when other reconciles got in the way five times.
    """
    left = list(dict.fromkeys(tenants))
    missing: list[str] = []
    for _ in range(_ROUNDS):
        truths = read_truth(database, left)
        seen = {truth.tenant["tenant_id"] for truth in truths}
        missing += [tenant for tenant in left if tenant not in seen]
        left = []
        with database.connection() as connection:
            for truth in truths:
                usage = _correct(connection, truth)
                if usage is None:
                    left.append(truth.tenant["tenant_id"])
                else:
                    yield usage
        if not left:
            break
    if missing:
        raise Permanent(
            f"tenant {', '.join(missing[:_SAMPLE])} is not in tenants: removed after the partition was made. "
            "Delete the partition in the Dagster UI, or bring the tenant back"
        )
    if left:
        raise Transient(f"other reconciles of {', '.join(left[:_SAMPLE])} got in the way {_ROUNDS} times")


def untrue_counters(database: Database) -> list[dict[str, Any]]:
    """Counters that are missing or differ from what is stored, as of one snapshot: 20 at most."""
    found: list[dict[str, Any]] = []
    for truth in read_truth(database):
        tenant = truth.tenant
        if not tenant["counted"] or any(off(tenant, TENANT_COUNTERS).values()):
            found.append(_difference("tenant", tenant, TENANT_COUNTERS))
        found += [
            _difference("brand", brand, BRAND_COUNTERS) | {"brand_id": brand["brand_id"]}
            for brand in truth.brands
            if any(off(brand, BRAND_COUNTERS).values())
        ]
        month = truth.month
        if month is not None and any(off(month, MONTH_COUNTERS).values()):
            found.append({"scope": "month", "tenant_id": tenant["tenant_id"], "off": _told(month, MONTH_COUNTERS)})
        if len(found) >= _SAMPLE:
            break
    return found[:_SAMPLE]


def _correct(connection: Connection[Row], truth: Truth) -> TenantUsage | None:
    """Correct one tenant and commit. None, with nothing written, when its counters were corrected or made meanwhile."""
    tenant = truth.tenant
    plan = plan_of(tenant["tenant_plan_tier"])
    drift = off(tenant, TENANT_COUNTERS)
    values: dict[str, Any] = {
        "tenant_id": tenant["tenant_id"],
        "plan_tier": plan.tier,
        "limit_bytes": plan.limit_bytes,
        "usage_by_type": Jsonb(tenant["usage_by_type"]),
        "seen_at": tenant["last_calculated_at"],
    }
    brand_drift = {row["brand_id"]: off(row, BRAND_COUNTERS) for row in truth.brands}
    written = _month_is_written(connection, truth.month, plan.items_a_month) and all(
        _brand_is_written(connection, row, brand_drift[row["brand_id"]]) for row in truth.brands
    )
    row = None
    if written:
        name = "quota/correct_tenant" if tenant["counted"] else "quota/create_tenant"
        row = connection.execute(statement(name), values | drift).fetchone()
    if row is None:
        connection.rollback()
        return None
    connection.commit()
    return TenantUsage(
        tenant_id=tenant["tenant_id"],
        tenant=tenant["name"],
        plan=plan.tier,
        plan_recognised=tenant["tenant_plan_tier"] == plan.tier,
        limit_bytes=plan.limit_bytes,
        used_bytes=row["used_bytes"],
        reserved_bytes=row["reserved_bytes"],
        content_items=row["content_items"],
        media_files=row["media_files"],
        media_bytes=row["media_bytes"],
        usage_by_type=tenant["usage_by_type"],
        drift_bytes=drift["used_bytes"],
        drift={name: value for name, value in drift.items() if value},
        brand_drift_bytes={brand: each["used_bytes"] for brand, each in brand_drift.items() if each["used_bytes"]},
        generated_items=truth.month["used_items"] if truth.month else 0,
        spilled_bytes=tenant["spilled_bytes"],
        spilled_unnamed_bytes=tenant["spilled_unnamed_bytes"],
    )


def _brand_is_written(connection: Connection[Row], row: Row, drift: dict[str, int]) -> bool:
    """Whether the brand's counter stands; a true one is not touched, since its row is the ledger's too."""
    if row["counted"] and not any(drift.values()):
        return True
    name = "quota/correct_brand" if row["counted"] else "quota/create_brand"
    values = drift | {"brand_id": row["brand_id"], "tenant_id": row["tenant_id"]}
    return connection.execute(statement(name), values).fetchone() is not None


def _month_is_written(connection: Connection[Row], row: Row | None, limit_items: int | None) -> bool:
    if row is None:
        return True
    drift = off(row, MONTH_COUNTERS)
    if row["counted"] and not any(drift.values()) and row["limit_items"] == limit_items:
        return True
    name = "quota/correct_month" if row["counted"] else "quota/create_month"
    values = drift | {"tenant_id": row["tenant_id"], "month": row["month"], "limit_items": limit_items}
    return connection.execute(statement(name), values).fetchone() is not None


def _difference(scope: str, row: Row, counters: Sequence[str]) -> dict[str, Any]:
    return {
        "scope": scope,
        "tenant_id": row["tenant_id"],
        "counted_bytes": row["counted_used_bytes"],
        "stored_bytes": row["used_bytes"],
        "off": _told(row, counters),
    }


def _told(row: Row, counters: Sequence[str]) -> dict[str, int]:
    return {name: value for name, value in off(row, counters).items() if value}
