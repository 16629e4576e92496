"""Batches to work on, and whether the generation queue's books add up. For the tests of the queue."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from content_orchestration.core.generation.model import Claimed, Done, NewBatch, NewItem, Submitted
from content_orchestration.core.generation.queue import GenerationQueue
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.quota_books import run

TABLES = (
    "generation_jobs", "generation_attempts", "generation_queues", "generation_lanes", "generation_budgets",
    "generation_jobs_history", "generation_attempts_history", "content_generation_jobs", "quota_reservations",
    "quota_generation_usage", "content_quota_usage", "storage_quotas", "quota_notices",
)  # fmt: skip

# Counters and sums beside the rows that they are of; a row for each that differs.
_UNTRUE = """
WITH jobs AS (
    SELECT queue_id, status, attempts, max_attempts, cost, id FROM generation_jobs
    UNION ALL SELECT queue_id, status, attempts, max_attempts, cost, id FROM generation_jobs_history
), calls AS (
    SELECT queue_id, job_id, cost_usd FROM generation_attempts
    UNION ALL SELECT queue_id, job_id, cost_usd FROM generation_attempts_history
), counted AS (
    SELECT queue_id, count(*) FILTER (WHERE status = 'queued') AS queued,
           count(*) FILTER (WHERE status = 'running') AS running,
           count(*) FILTER (WHERE status = 'storing') AS storing,
           count(*) FILTER (WHERE status = 'completed') AS succeeded,
           count(*) FILTER (WHERE status = 'failed') AS failed,
           count(*) FILTER (WHERE status = 'cancelled') AS cancelled
    FROM jobs GROUP BY queue_id
), spent AS (
    SELECT queue_id, sum(cost_usd) AS cost FROM calls GROUP BY queue_id
), months AS (
    SELECT tenant_id, budget_month, sum(held_usd) AS held, sum(cost_usd) FILTER (WHERE settled_at IS NOT NULL) AS spent
    FROM generation_queues WHERE batch_id IS NOT NULL GROUP BY 1, 2
)
SELECT 'counters' AS what, q.id::text AS id, to_jsonb(q)::text AS said, to_jsonb(c)::text AS found
FROM generation_queues q LEFT JOIN counted c ON c.queue_id = q.id
WHERE q.open <> (q.queued + q.running + q.storing > 0)
   OR (q.queued, q.running, q.storing, q.succeeded, q.failed, q.cancelled) IS DISTINCT FROM (
       c.queued::integer, c.running::integer, c.storing::integer, c.succeeded::integer, c.failed::integer,
       c.cancelled::integer)
UNION ALL
SELECT 'lane', q.tenant_id::text, 'closed', 'has an open queue'
FROM generation_queues q LEFT JOIN generation_lanes l ON l.tenant_id = q.tenant_id
WHERE q.open AND l.open IS NOT TRUE
UNION ALL
SELECT 'more than ten', queue_id::text, '10', running::text FROM counted WHERE running > 10
UNION ALL
SELECT 'storing', queue_id::text, '59', storing::text FROM counted WHERE storing > 59
UNION ALL
SELECT 'attempts', id, max_attempts::text, attempts::text FROM jobs WHERE attempts > max_attempts
UNION ALL
SELECT 'cost of an item', j.id, j.cost::text, c.cost::text
FROM jobs j JOIN (SELECT job_id, sum(cost_usd) AS cost FROM calls GROUP BY job_id) c ON c.job_id = j.id
WHERE c.cost <> j.cost
UNION ALL
SELECT 'cost of a queue', q.id::text, q.cost_usd::text, s.cost::text
FROM generation_queues q LEFT JOIN spent s ON s.queue_id = q.id WHERE q.cost_usd <> coalesce(s.cost, 0)
UNION ALL
SELECT 'totals of a batch', q.id::text, to_jsonb(b)::text, to_jsonb(q)::text
FROM generation_queues q JOIN content_generation_jobs b ON b.id = q.id
WHERE b.target_count <> q.queued + q.running + q.storing + q.succeeded + q.failed + q.cancelled
   OR (q.settled_at IS NULL) <> (b.status IN ('queued', 'running'))
   OR (q.settled_at IS NULL) <> (b.completed_at IS NULL)
   OR (q.settled_at IS NOT NULL AND (b.succeeded_count, b.failed_count, b.total_cost_usd, b.total_storage_bytes)
                                    IS DISTINCT FROM (q.succeeded, q.failed, q.cost_usd, q.stored_bytes))
UNION ALL
SELECT 'budget', m.tenant_id::text, to_jsonb(m)::text, to_jsonb(s)::text
FROM generation_budgets m LEFT JOIN months s ON s.tenant_id = m.tenant_id AND s.budget_month = m.month
WHERE m.reserved_usd <> coalesce(s.held, 0)
   OR m.spent_usd <> coalesce(s.spent, 0) + coalesce((
       SELECT sum(l.cost_usd) FROM generation_queues l WHERE l.tenant_id = m.tenant_id AND l.batch_id IS NULL), 0)
UNION ALL
SELECT 'reservation', q.id::text, coalesce(q.settled_at::text, 'open'), r.state
FROM generation_queues q JOIN quota_reservations r ON r.id = q.reservation_id
WHERE (q.settled_at IS NULL) <> (r.state = 'reserved')
"""


def new_queue(database: PostgresClient, **given: Any) -> GenerationQueue:
    """A queue whose retries come soon."""
    return GenerationQueue(
        database,
        QuotaLedger(database),
        **{"retry_base": timedelta(milliseconds=1), "retry_longest": timedelta(milliseconds=10), **given},
    )


def requests(count: int, **given: Any) -> list[NewItem]:
    return [NewItem(request={"topic": f"how to {number}"}, **given) for number in range(count)]


def submit(queue: GenerationQueue, tenant: UUID, items: int | Sequence[NewItem], **given: Any) -> Submitted:
    """A batch under a key of its own."""
    wanted = requests(items) if isinstance(items, int) else items
    return queue.submit(NewBatch(tenant, estimated_bytes_per_item=100, **given), wanted, uuid4().hex)


def done(claimed: Claimed, size: int = 90) -> tuple[Claimed, Done]:
    """A result for an item."""
    return claimed, Done(uuid4(), 100, 60, "template", Decimal(0), size)


def finish_all(queue: GenerationQueue, claimed: Iterable[Claimed]) -> list[str]:
    """Complete all of them."""
    return queue.complete([done(item) for item in claimed])


def expire_leases(database: PostgresClient, *ids: str) -> None:
    """Let the time of these leases pass, or of all."""
    run(
        database,
        "UPDATE generation_jobs SET lease_expires_at = clock_timestamp() - interval '1 second' "
        "WHERE status IN ('running', 'storing') AND (cardinality(%(ids)s::text[]) = 0 OR id = ANY (%(ids)s::text[]))",
        {"ids": list(ids)},
    )


def make_due(database: PostgresClient) -> None:
    """Let the time of all waits for a retry pass."""
    run(database, "UPDATE generation_jobs SET run_after = clock_timestamp() WHERE status = 'queued' AND attempts > 0")


def row_of(database: PostgresClient, item: str) -> dict[str, Any]:
    (row,) = run(database, "SELECT * FROM generation_jobs WHERE id = %s", [item])
    return row


def assert_generation_books(database: PostgresClient) -> None:
    """Counters are what the rows say, money is what the attempts say, and nothing is held for what has ended."""
    assert run(database, _UNTRUE) == []
