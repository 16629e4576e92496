"""A batch as a person asks for it: checked item by item, with what it would do to quota and budget, before it is
submitted. Submitting is the queue's."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from content_orchestration.core.database import Database
from content_orchestration.core.errors import Permanent
from content_orchestration.core.generation.budget import Budget
from content_orchestration.core.generation.model import MOST_ITEMS_A_BATCH, NewBatch, NewItem
from content_orchestration.core.generation.queue import GenerationQueue
from content_orchestration.core.generation.request import GenerationRequest
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.quota.reading import Usage
from content_orchestration.core.sql import statement


@dataclass(frozen=True)
class Proposal:
    """A batch with its items, and how the tenant's limits stand before it."""

    batch: NewBatch
    items: Sequence[NewItem]
    usage: Usage
    budget: Budget

    @property
    def bytes(self) -> int:
        """Bytes that the batch reserves."""
        return len(self.items) * self.batch.estimated_bytes_per_item

    @property
    def budget_left(self) -> Decimal | None:
        """US dollars that batches may still reserve this month; None where spending is only counted."""
        budget = self.budget
        return None if budget.limit_usd is None else budget.limit_usd - budget.reserved_usd - budget.spent_usd

    @property
    def refusals(self) -> list[str]:
        """Why the batch would be refused now, one sentence a limit; none where it fits."""
        found = []
        items, storage = self.usage.generation, self.usage.storage
        if items.remaining is not None and len(self.items) > items.remaining:
            found.append(f"{len(self.items):,} items, and the plan has {items.remaining:,} left this month")
        if storage.remaining is not None and self.bytes > storage.remaining:
            found.append(f"{self.bytes:,} bytes are to be reserved, and {storage.remaining:,} are free")
        brand = next((one for one in self.usage.brands if one.brand_id == self.batch.brand_id), None)
        if brand is not None and self.bytes > (free := brand.limit_bytes - brand.used_bytes - brand.reserved_bytes):
            found.append(f"{self.bytes:,} bytes are to be reserved, and the brand has {max(0, free):,} free")
        cost, left = self.batch.max_cost_usd, self.budget_left
        if left is not None and cost is None:
            found.append(f"max_cost_usd is missing: the month's budget has {left} USD left")
        elif left is not None and cost is not None and cost > left:
            found.append(f"max_cost_usd is {cost}, and the month's budget has {left} USD left")
        return found

    def as_metadata(self) -> dict[str, Any]:
        """For the run's metadata: the effect on each limit, and the first items."""
        items, storage = self.usage.generation, self.usage.storage
        return {
            "tenant": self.usage.tenant or str(self.usage.tenant_id),
            "plan": self.usage.plan,
            "items": len(self.items),
            "items_left_this_month": items.remaining,
            "items_left_after": None if items.remaining is None else items.remaining - len(self.items),
            "bytes_reserved": self.bytes,
            "bytes_free": storage.remaining,
            "bytes_free_after": None if storage.remaining is None else storage.remaining - self.bytes,
            "max_cost_usd": None if self.batch.max_cost_usd is None else float(self.batch.max_cost_usd),
            "budget_left_usd": None if self.budget_left is None else float(self.budget_left),
            "budget_spent_usd": float(self.budget.spent_usd),
            "would_be_refused": self.refusals,
            "first_items": [str(item.request.get("topic")) for item in self.items[:20]],
        }


def propose(database: Database, queue: GenerationQueue, batch: NewBatch, topics: Sequence[str], count: int) -> Proposal:
    """A batch of `count` items on these topics in turn, or on as many of the tenant's rows of `topics` where none is
    named; `count` 0 means one item a topic.

    Raises `Permanent`, naming the field, for what no provider would write and where there are not enough topics.
    """
    wanted = count or len(topics)
    if not 1 <= wanted <= MOST_ITEMS_A_BATCH:
        raise Permanent(
            f"count is {wanted:,}: name topics, or a count, of 1 to {MOST_ITEMS_A_BATCH:,} items; submit more as "
            "several batches"
        )
    named = [NewItem(request={"topic": topics[number % len(topics)]}) for number in range(wanted)] if topics else None
    items = named or _from_platform(database, batch.tenant_id, wanted)
    for number, item in enumerate(items):
        try:
            GenerationRequest.of(batch.tenant_id, batch.content_type, {**batch.params, **item.request})
        except Permanent as error:
            raise Permanent(f"item {number + 1}: {error}") from None
    ledger = QuotaLedger(database)
    return Proposal(batch, items, ledger.usage(batch.tenant_id), queue.budget(batch.tenant_id))


def _from_platform(database: Database, tenant_id: UUID, count: int) -> list[NewItem]:
    """Items on the tenant's topics that no item has been made for."""
    with database.connection() as connection:
        rows = connection.execute(
            statement("generation_health/unused_topics"), {"tenant_id": tenant_id, "count": count}
        ).fetchall()
    if len(rows) < count:
        raise Permanent(
            f"count is {count:,}, and tenant {tenant_id} has {len(rows):,} unused rows in topics: name the topics, or "
            "ask for fewer"
        )
    return [
        NewItem(topic_id=row["id"], request={"topic": row["topic_title"], "keywords": row["keywords"] or []})
        for row in rows
    ]
