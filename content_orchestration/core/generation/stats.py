"""What the queue looks like: depth, waits, failures, costs, and how far a batch is. Reads only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from content_orchestration.core.database import Database
from content_orchestration.core.generation.model import BatchStatus
from content_orchestration.core.quota.at_once import one
from content_orchestration.core.sql import statement


@dataclass(frozen=True)
class QueueStats:
    """The queue at one moment, of one tenant or of all. Waits are in seconds, costs in US dollars.

    `oldest_wait_seconds` says how long the next item of some queue could have been claimed; `ended` and `failures` are
    of the last hour, `cost_by_provider` of the last day.
    """

    queued: int
    running: int
    storing: int
    open_batches: int
    oldest_wait_seconds: float
    expired_leases: int
    longest_expired_seconds: float
    ended: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    cost_by_provider: Mapping[str, Decimal] = field(default_factory=dict)

    def as_metadata(self) -> dict[str, Any]:
        """For an asset's metadata."""
        return {
            "queued": self.queued,
            "running": self.running,
            "storing": self.storing,
            "open_batches": self.open_batches,
            "oldest_wait_seconds": round(self.oldest_wait_seconds, 1),
            "expired_leases": self.expired_leases,
            "longest_expired_seconds": round(self.longest_expired_seconds, 1),
            "ended_last_hour": dict(self.ended),
            "failures_last_hour": dict(self.failures),
            "cost_usd_last_day": {name: float(cost) for name, cost in self.cost_by_provider.items()},
        }


@dataclass(frozen=True)
class Batch:
    """A batch with its counters as they are now. Bytes are of stored bodies; the cost is of all reported attempts."""

    batch_id: UUID
    tenant_id: UUID
    brand_id: UUID | None
    user_id: UUID | None
    job_type: str
    content_type: str
    params: Mapping[str, Any]
    priority: int
    status: BatchStatus
    target_count: int
    queued_count: int
    running_count: int
    storing_count: int
    succeeded_count: int
    failed_count: int
    cancelled_count: int
    total_storage_bytes: int
    total_cost_usd: Decimal
    max_cost_usd: Decimal | None
    reservation_id: UUID | None
    error_message: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None


def read_batch(database: Database, batch_id: UUID) -> Batch | None:
    """The batch, or None where there is none."""
    with database.connection() as connection:
        row = connection.execute(statement("generation/batch"), {"batch_id": batch_id}).fetchone()
    return None if row is None else Batch(**{**row, "status": BatchStatus(row["status"])})


def read_stats(database: Database, tenant_id: UUID | None) -> QueueStats:
    """The queue of one tenant or of all."""
    values = {"tenant_id": tenant_id}
    with database.connection() as connection:
        depth = one(connection, "generation/depth", values)
        expired = one(connection, "generation/expired", values)
        ended = connection.execute(statement("generation/ended"), values).fetchall()
        spending = connection.execute(statement("generation/spending"), values).fetchall()
    by_status: dict[str, int] = {}
    for row in ended:
        by_status[row["status"]] = by_status.get(row["status"], 0) + row["items"]
    return QueueStats(
        **depth,
        **expired,
        ended=by_status,
        failures={row["error_category"] or "unknown": row["items"] for row in ended if row["status"] == "failed"},
        cost_by_provider={row["provider"]: row["cost_usd"] for row in spending},
    )


def read_progress(database: Database, job_id: str) -> dict[str, Any]:
    """How far an item or a batch is; for an id that nothing has, a document with the key `error`."""
    with database.connection() as connection:
        found: dict[str, Any] = one(connection, "generation/job_progress", {"id": job_id.replace("\0", "")})["progress"]
    return found
