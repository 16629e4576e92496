"""A tenant with a batch in the real queue and the real tiers, and providers that a test can tell how to behave."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from content_orchestration.core.content.store import ContentStore
from content_orchestration.core.generation.fallback import Link, ProviderChain
from content_orchestration.core.generation.health import untrue_books
from content_orchestration.core.generation.model import FailureCategory, NewBatch, NewItem
from content_orchestration.core.generation.provider import (
    Generated,
    GenerationRequest,
    ProviderFailure,
    Reply,
    Stopped,
    Usage,
)
from content_orchestration.core.generation.queue import GenerationQueue
from content_orchestration.core.generation.template import TemplateProvider
from content_orchestration.core.generation.work import BatchWork, WorkReport
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration_tests.tiers import Tiers

PRICE = Decimal("0.01")


class Told:
    """A provider that does what the topic of a request says. It costs a cent a call."""

    name = "told"
    model = "told-1"

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.open = 0
        self.most_open = 0
        self.hold = threading.Event()
        self._guard = threading.Lock()

    def generate(self, request: GenerationRequest, *, timeout: float, stop: threading.Event | None = None) -> Reply:
        with self._guard:
            self.calls[request.topic] += 1
            seen = self.calls[request.topic]
            self.open += 1
            self.most_open = max(self.most_open, self.open)
        try:
            return self._answer(request, seen, stop or threading.Event())
        finally:
            with self._guard:
                self.open -= 1

    def _answer(self, request: GenerationRequest, seen: int, stop: threading.Event) -> Reply:
        word, _, value = request.topic.partition(" ")
        if word == "fail":
            raise ProviderFailure(
                FailureCategory(value), f"as told: {value}", provider=self.name, usage=Usage(1, 0, PRICE)
            )
        if word == "once" and seen == 1:
            raise ProviderFailure(
                FailureCategory.provider, "as told, once", provider=self.name, usage=Usage(1, 0, PRICE)
            )
        if word == "bug":
            raise ZeroDivisionError("sk-secret-in-an-error")
        if word == "deaf":
            # A call that heeds no stop, as one that is blocked in a socket.
            self.hold.wait(30)
        if word == "slow":
            for _ in range(600):
                if stop.is_set():
                    raise Stopped("as told")
                time.sleep(0.05)
        title, body = f"About {request.topic}"[:200], f"A text about {request.topic}."
        if word == "untitled":
            title = " "
        if word == "large":
            body = "x" * int(value)
        text = Generated(title=title, body=body, tags=["told"], word_count=4, seo_score=50)
        return Reply(text, Usage(10, 20, PRICE), self.name, self.model)


class World:
    """Everything that a batch needs, and what is true of it afterwards."""

    def __init__(self, tiers: Tiers, *, lease: float = 30.0, plan: str = "business") -> None:
        self.tiers = tiers
        self.tenant, self.brand = uuid4(), uuid4()
        self.ledger = QuotaLedger(tiers.database)
        self.store = ContentStore(tiers.database, tiers.store, self.ledger)
        self.queue = GenerationQueue(
            tiers.database,
            self.ledger,
            lease=timedelta(seconds=lease),
            retry_base=timedelta(milliseconds=20),
            retry_longest=timedelta(milliseconds=50),
        )
        self.told = Told()
        self.run(
            "INSERT INTO tenants (id, name, slug, plan_tier) VALUES (%s, 'Tenant', %s, %s)",
            [self.tenant, str(self.tenant), plan],
        )
        self.run("INSERT INTO brands (id, tenant_id, name) VALUES (%s, %s, 'Brand')", [self.brand, self.tenant])

    def run(self, statement: str, values: list[Any] | None = None) -> list[Any]:
        with self.tiers.database.connection() as connection:
            cursor = connection.execute(statement, values)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def submit(self, topics: list[str], **fields: Any) -> UUID:
        batch = NewBatch(self.tenant, **{"brand_id": self.brand, "estimated_bytes_per_item": 4096, **fields})
        items = [NewItem(request={"topic": topic, "target_words": 20}) for topic in topics]
        return self.queue.submit(batch, items, str(uuid4())).batch_id

    def chain(self, tenant: UUID) -> ProviderChain:
        return ProviderChain([Link(self.told)])

    def work(self, batch: UUID, **fields: Any) -> BatchWork:
        options: dict[str, Any] = {"worker": "test", "timeout_seconds": 10.0, **fields}
        return BatchWork(
            self.queue, options.pop("store", self.store), options.pop("chain", self.chain), batch, **options
        )

    def worked(self, batch: UUID, **fields: Any) -> WorkReport:
        return self.work(batch, **fields).run()

    def template(self, tenant: UUID) -> ProviderChain:
        return ProviderChain([Link(TemplateProvider())])

    def items(self, batch: UUID) -> list[dict[str, Any]]:
        return self.run("SELECT * FROM generation_jobs WHERE batch_id = %s ORDER BY id", [batch])

    def statuses(self, batch: UUID) -> Counter[str]:
        return Counter(item["status"] for item in self.items(batch))

    def require_whole(self, batch: UUID) -> None:
        """Each completed item has its content once, in both tiers; nothing else has any; the books are true."""
        items = self.items(batch)
        completed = {item["content_id"]: item for item in items if item["status"] == "completed"}
        assert len(completed) == self.statuses(batch)["completed"]
        rows = self.run("SELECT * FROM content_storage_metadata WHERE tenant_id = %s", [self.tenant])
        assert {row["id"] for row in rows} == set(completed)
        sources = {f"{self.tenant}/generation:{item['id']}" for item in completed.values()}
        assert {row["source"] for row in rows} == sources
        for start in range(0, len(rows), 500):
            found = self.store.get_many(self.tenant, [row["id"] for row in rows[start : start + 500]])
            assert [content for content in found.values() if content.body is None] == []
        spilled = {row["zerodb_row_id"] for row in self.run("SELECT zerodb_row_id FROM content_body_spill")}
        documents = Counter(document["id"] for document in self.tiers.store.scan("content_items", fields=["id"]))
        assert all(count == 1 for count in documents.values())
        assert {row["zerodb_row_id"] for row in rows} <= set(documents) | spilled
        stored = sum(row["storage_size_bytes"] for row in rows)
        usage = self.ledger.usage(self.tenant)
        assert (usage.used_bytes, usage.reserved_bytes) == (stored, 0)
        assert (usage.generated_items, usage.generated_reserved) == (len(rows), 0)
        assert untrue_books(self.tiers.database, days=30) == []
        found_batch = self.queue.batch(batch)
        assert found_batch is not None
        assert found_batch.total_storage_bytes == stored


def soon(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    """Wait until it holds; fail when it does not within `seconds`."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not come true in time"
        time.sleep(0.02)
