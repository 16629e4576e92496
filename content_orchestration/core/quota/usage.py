"""Usage of a tenant, computed from what is stored. Reservations are not touched here."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from content_orchestration.core.database import Database
from content_orchestration.core.errors import Permanent
from content_orchestration.core.quota.plans import plan_of
from content_orchestration.core.sql import statement


@dataclass(frozen=True)
class TenantUsage:
    """What a tenant stores, in bytes and counts, and by how much the counter was off before."""

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
            "content_items": self.content_items,
            "media_files": self.media_files,
            "media_bytes": self.media_bytes,
            "usage_by_type": self.usage_by_type,
            "drift_bytes": self.drift_bytes,
        }


def tenant_ids(database: Database) -> list[str]:
    """Every tenant of the platform, oldest first: the partitions of usage."""
    with database.connection() as connection:
        return [str(row["id"]) for row in connection.execute(statement("quota/tenants")).fetchall()]


def compute_usage(database: Database, tenant_id: str) -> TenantUsage:
    """Compute one tenant's usage in one statement and write it down. Raises `Permanent` for an unknown tenant."""
    values: dict[str, Any] = {"tenant_id": UUID(tenant_id)}
    with database.connection() as connection:
        tenant = connection.execute(statement("quota/tenant"), values).fetchone()
        if tenant is None:
            raise Permanent(
                f"tenant {tenant_id} is not in tenants: it was removed after this partition was made. "
                "Delete the partition in the Dagster UI, or bring the tenant back"
            )
        plan = plan_of(tenant["plan_tier"])
        row = connection.execute(
            statement("quota/compute_usage"), values | {"plan_tier": plan.tier, "limit_bytes": plan.limit_bytes}
        ).fetchone()
    if row is None:
        raise Permanent(f"usage of tenant {tenant_id} was not written: another statement removed its row")
    return TenantUsage(
        tenant_id=tenant_id,
        tenant=tenant["name"],
        plan=plan.tier,
        plan_recognised=tenant["plan_tier"] == plan.tier,
        limit_bytes=plan.limit_bytes,
        used_bytes=row["used_bytes"],
        content_items=row["content_items"],
        media_files=row["media_files"],
        media_bytes=row["media_bytes"],
        usage_by_type=row["usage_by_type"],
        drift_bytes=row["used_bytes"] - (row["before_bytes"] or 0),
    )


def untrue_counters(database: Database) -> list[dict[str, Any]]:
    """Tenants whose counters are missing or differ from what is stored; empty when all are true."""
    with database.connection() as connection:
        return connection.execute(statement("quota/untrue_counters")).fetchall()
