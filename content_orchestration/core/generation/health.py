"""How generation is doing, read and never changed: open batches, throughput, failures, costs, and whether the books are
true. The queue's own counters are the queue's (`stats`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from content_orchestration.core.database import Database, Row
from content_orchestration.core.quota.history import bars
from content_orchestration.core.sql import statement

# Batches that one look takes up; the others have their turn when these are done.
MOST_BATCHES = 200
_SHOWN = 20


@dataclass(frozen=True)
class OpenBatch:
    """A batch whose books are open. `live` items are held by a living worker, `expired` ones by a dead one.

    `waiting_seconds` is how long the next item could have been claimed, None where none can be. `is_over`: nothing is
    open but the books.
    """

    batch_id: UUID
    tenant_id: UUID
    priority: int
    queued: int
    running: int
    storing: int
    ended: int
    live: int
    expired: int
    waiting_seconds: float | None
    is_over: bool
    age_seconds: float


@dataclass(frozen=True)
class Cost:
    """What a tenant's calls of one provider cost this month."""

    tenant: str
    provider: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal


@dataclass(frozen=True)
class HealthReport:
    """Open batches, the last 24 hours by the hour, why what failed did, and what this month cost."""

    batches: Sequence[OpenBatch]
    hours: Sequence[Row]
    failures: Sequence[Row]
    costs: Sequence[Cost]

    def as_metadata(self) -> dict[str, Any]:
        """For the asset's metadata, without the charts."""
        last = self.hours[-1] if self.hours else {"completed": 0, "failed": 0}
        day = {name: sum(hour[name] for hour in self.hours) for name in ("completed", "failed", "cancelled")}
        return {
            "open_batches": len(self.batches),
            "queue_depth": sum(batch.queued for batch in self.batches),
            "being_worked": sum(batch.live for batch in self.batches),
            "being_stored": sum(batch.storing for batch in self.batches),
            "held_by_the_dead": sum(batch.expired for batch in self.batches),
            "oldest_wait_seconds": round(max((batch.waiting_seconds or 0.0 for batch in self.batches), default=0.0), 1),
            "completed_this_hour": last["completed"],
            "completed_24_hours": day["completed"],
            "failed_24_hours": day["failed"],
            "cancelled_24_hours": day["cancelled"],
            "failures_24_hours": {row["category"]: row["items"] for row in self.failures if row["items"]},
            "failed_attempts_24_hours": {row["category"]: row["attempts"] for row in self.failures if row["attempts"]},
            "cost_usd_this_month": float(sum((cost.cost_usd for cost in self.costs), start=Decimal(0))),
        }


def open_batches(database: Database, *, most: int = MOST_BATCHES) -> list[OpenBatch]:
    """Batches that are not settled: those of higher priority first, tenants in turn, the oldest of each first."""
    with database.connection() as connection:
        rows = connection.execute(statement("generation_health/open_batches"), {"most": most}).fetchall()
    return [OpenBatch(**row) for row in rows]


def take_health(database: Database) -> HealthReport:
    """The report, from one connection."""
    batches = open_batches(database)
    with database.connection() as connection:
        hours = connection.execute(statement("generation_health/throughput")).fetchall()
        failures = connection.execute(statement("generation_health/failures")).fetchall()
        costs = connection.execute(statement("generation_health/costs")).fetchall()
    return HealthReport(
        batches,
        hours,
        failures,
        [
            Cost(
                row["tenant"] or str(row["tenant_id"] or "nobody known"),
                row["provider"],
                row["calls"],
                row["input_tokens"],
                row["output_tokens"],
                row["cost_usd"],
            )
            for row in costs
        ],
    )


def overdue_leases(database: Database) -> tuple[int, float]:
    """Leases that ended and were not reaped, and seconds since the oldest did."""
    with database.connection() as connection:
        row = connection.execute(statement("generation_health/overdue_leases")).fetchone() or {}
    return row["leases"], row["oldest_seconds"]


def untrue_books(database: Database, *, days: int) -> list[dict[str, Any]]:
    """Where batches, budgets and reservations of the last `days` do not say what the attempts and items do."""
    with database.connection() as connection:
        rows = connection.execute(statement("generation_health/untrue_books"), {"days": days}).fetchall()
    return [
        {"what": row["what"], "id": str(row["id"]), "tenant_id": str(row["tenant_id"]),
         "attempts": float(row["attempts"]), "books": float(row["books"])}
        for row in rows
    ]  # fmt: skip


def throughput_chart(hours: Sequence[Row]) -> str:
    """The last 24 hours as a line of bars each, and the last six as a table, in Markdown; oldest first."""
    if not any(hour["completed"] or hour["failed"] or hour["cancelled"] for hour in hours):
        return "nothing has ended within 24 hours"
    lines = []
    for name in ("completed", "failed"):
        ended = [hour[name] for hour in hours]
        lines += [f"`{bars(ended)}` {name} in each of 24 hours, at most {max(ended):,}", ""]
    lines += [
        "| hour (UTC) | completed | failed | cancelled |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| {hour['hour']:%Y-%m-%d %H:00} | {hour['completed']:,} | {hour['failed']:,} | {hour['cancelled']:,} |"
        for hour in hours[-6:]
    ]
    return "\n".join(lines)


def failures_table(failures: Sequence[Row]) -> str:
    """Failures of the last 24 hours by category, as a Markdown table with bars."""
    if not failures:
        return "nothing has failed within 24 hours"
    lines = ["| category | | items failed | attempts failed |", "|---|---|---:|---:|"]
    shares = bars([row["attempts"] or row["items"] for row in failures])
    lines += [
        f"| {row['category']} | `{share}` | {row['items']:,} | {row['attempts']:,} |"
        for share, row in zip(shares, failures, strict=True)
    ]
    return "\n".join(lines)


def costs_table(costs: Sequence[Cost]) -> str:
    """What this month cost by tenant and provider, the 20 dearest, as a Markdown table."""
    if not costs:
        return "no provider was called this month"
    lines = [
        "| tenant | provider | calls | input tokens | output tokens | US dollars |",
        "|---|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {_cell(cost.tenant)} | {_cell(cost.provider)} | {cost.calls:,} | {cost.input_tokens:,} | "
        f"{cost.output_tokens:,} | {cost.cost_usd:,.4f} |"
        for cost in costs[:_SHOWN]
    ]
    rest = costs[_SHOWN:]
    if rest:
        total = sum((cost.cost_usd for cost in rest), start=Decimal(0))
        lines.append(f"| {len(rest)} more | | {sum(cost.calls for cost in rest):,} | | | {total:,.4f} |")
    return "\n".join(lines)


def batches_table(batches: Sequence[OpenBatch]) -> str:
    """Open batches, those that wait longest first, as a Markdown table."""
    if not batches:
        return "no batch is open"
    lines = ["| batch | tenant | queued | held | of the dead | ended | waits s |", "|---|---|---:|---:|---:|---:|---:|"]
    waiting = sorted(batches, key=lambda batch: -(batch.waiting_seconds or 0.0))
    lines += [
        f"| {batch.batch_id} | {batch.tenant_id} | {batch.queued:,} | {batch.live} | {batch.expired} | "
        f"{batch.ended:,} | {'' if batch.waiting_seconds is None else f'{batch.waiting_seconds:,.0f}'} |"
        for batch in waiting[:_SHOWN]
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
