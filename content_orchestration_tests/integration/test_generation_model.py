"""The queue beside a model of it in Python: random transitions at random moments, and the same answer from both.

`SOAK=1` runs the full count. `QUEUE_SEED` repeats a run; the seed is printed whether it passes or not.
"""

import os
import random
import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest

from content_orchestration.core.generation.errors import BudgetExceeded
from content_orchestration.core.generation.model import BatchStatus, Claimed, FailureCategory, NewBatch, NewItem, Phase
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.settings import Settings
from content_orchestration_tests.generation_books import (
    TABLES,
    assert_generation_books,
    done,
    expire_leases,
    new_queue,
    requests,
)
from content_orchestration_tests.quota_books import add_tenant, database_of_its_own, run
from content_orchestration_tests.quota_books import assert_books_add_up as assert_quota_books

SOAK = bool(os.environ.get("SOAK"))
RUNS, STEPS = (300, 120) if SOAK else (8, 50)
HELD = ("running", "storing")
OPEN = ("queued", *HELD)


@dataclass
class Item:
    """What the model knows of an item."""

    batch: UUID
    tenant: UUID
    status: str = "queued"
    token: int = 0
    attempts: int = 0
    cost: Decimal = Decimal(0)


@dataclass
class Model:
    """Items by id, what workers hold or once held, calls that are under way, and which batches are closed."""

    items: dict[str, Item] = field(default_factory=dict)
    claims: list[Claimed] = field(default_factory=list)
    calls: list[tuple[UUID, str]] = field(default_factory=list)
    batches: dict[UUID, UUID] = field(default_factory=dict)
    stopped: set[UUID] = field(default_factory=set)

    def of(self, batch: UUID, *statuses: str) -> list[Item]:
        return [item for item in self.items.values() if item.batch == batch and item.status in statuses]

    def holds(self, claimed: Claimed) -> bool:
        item = self.items[claimed.id]
        return item.status in HELD and item.token == claimed.token


class Play:
    """One run: the queue, the model, and the moves that are made on both."""

    def __init__(self, database: PostgresClient, dice: random.Random) -> None:
        self.database = database
        self.dice = dice
        self.queue = new_queue(database, retry_base=timedelta(0))
        self.model = Model()
        self.tenants = [add_tenant(database, "enterprise") for _ in range(3)]

    def one(self) -> Claimed:
        """A claim: mostly one that still holds, or few items would ever end."""
        held = [claimed for claimed in self.model.claims if self.model.holds(claimed)]
        return self.dice.choice(held if held and self.dice.random() < 0.7 else self.model.claims)

    def submit(self) -> None:
        tenant, size = self.dice.choice(self.tenants), self.dice.choice([1, 2, 5, 14])
        made = self.queue.submit(
            NewBatch(tenant, priority=self.dice.randint(0, 2), estimated_bytes_per_item=100),
            requests(size),
            secrets.token_hex(8),
        )
        self.model.batches[made.batch_id] = tenant
        for number in range(size):
            self.model.items[f"{made.batch_id}.{number:05d}"] = Item(made.batch_id, tenant)

    def claim(self) -> None:
        wanted = self.dice.randint(1, 14)
        batch = self.dice.choice([None, *self.model.batches])
        room = sum(
            min(len(self.model.of(one, "queued")), 10 - len(self.model.of(one, "running")))
            for one in self.model.batches
            if batch in (None, one) and len(self.model.of(one, "storing")) < 50
        )
        claimed = self.queue.claim(wanted, "w", batch_id=batch)
        assert len(claimed) == min(wanted, room)
        for one in claimed:
            item = self.model.items[one.id]
            assert item.status == "queued"
            assert one.token > item.token
            item.status, item.token, item.attempts = "running", one.token, item.attempts + 1
            assert (one.token, one.attempt, one.batch_id) == (item.token, item.attempts, item.batch)
            assert batch in (None, one.batch_id)
        self.model.claims += claimed

    def hold(self) -> None:
        if self.model.claims:
            for one in {one.id: one for one in [self.one(), *self.model.claims[-8:]]}.values():
                held = self.model.holds(one)
                assert self.queue.hold(one, "x") == held
                if held:
                    self.model.items[one.id].status = "storing"

    def complete(self) -> None:
        if self.model.claims:
            # Each once: a statement that names a row twice writes it once, and says so once.
            some = {one.id: one for one in self.dice.sample(self.model.claims, min(4, len(self.model.claims)))}
            expected = sorted(one.id for one in some.values() if self.model.holds(one))
            assert sorted(self.queue.complete([done(one) for one in some.values()])) == expected
            for one in expected:
                self.model.items[one].status = "completed"

    def fail(self) -> None:
        if self.model.claims:
            one, category = self.one(), self.dice.choice(list(FailureCategory))
            item, held = self.model.items[one.id], self.model.holds(one)
            again = not category.permanent and item.attempts < 3
            expected = ("retried" if again else "failed") if held else "stale"
            assert self.queue.fail(one, category, "x") == expected
            if held:
                item.status = "queued" if again else "failed"

    def release(self) -> None:
        if self.model.claims:
            one = self.one()
            held = self.model.holds(one)
            assert self.queue.release(one) == held
            if held:
                self.model.items[one.id].status = "queued"
                self.model.items[one.id].attempts -= 1

    def speak(self) -> None:
        for one in self.dice.sample(self.model.claims, min(3, len(self.model.claims))):
            held = self.model.holds(one)
            writes = held and self.model.items[one.id].status == "running"
            assert self.queue.progress(one, self.dice.choice(list(Phase)[1:6]), 50, "x") == writes
            assert self.queue.renew([one]) == (set() if held else {one.id})
            attempt = self.queue.begin_attempt(one, "template", "m")
            assert (attempt is not None) == writes
            if attempt is not None:
                self.model.calls.append((attempt, one.id))

    def end_calls(self) -> None:
        self.dice.shuffle(self.model.calls)
        for attempt, item in self.model.calls[:2]:
            for _ in range(2):
                self.queue.end_attempt(attempt, outcome="succeeded", cost_usd=Decimal("0.01"))
            self.model.items[item].cost += Decimal("0.01")
        del self.model.calls[:2]

    def silence(self) -> None:
        leased = [name for name, item in self.model.items.items() if item.status in HELD]
        dead = self.dice.sample(leased, self.dice.randint(0, len(leased)))
        if dead:
            expire_leases(self.database, *dead)
        reaped = self.queue.reap()
        assert reaped.total == len(dead)
        for name in dead:
            item = self.model.items[name]
            item.status = "queued" if item.attempts < 3 else "failed"

    def cancel_item(self) -> None:
        if self.model.items:
            name = self.dice.choice(list(self.model.items))
            item, tenant = self.model.items[name], self.dice.choice(self.tenants)
            hit = item.tenant == tenant and item.status in OPEN
            assert self.queue.cancel_item(tenant, name) == hit
            if hit:
                self._cancelled(item)

    def cancel_batch(self) -> None:
        if self.model.batches and self.dice.random() < 0.3:
            batch = self.dice.choice(list(self.model.batches))
            hit = self.model.of(batch, *OPEN)
            assert self.queue.cancel_batch(self.model.batches[batch], batch) == len(hit)
            for item in hit:
                self._cancelled(item)
            if hit:
                self.model.stopped.add(batch)

    def _cancelled(self, item: Item) -> None:
        item.status, item.token = "cancelled", item.token + 1

    def finish(self) -> None:
        for batch in self.dice.sample(list(self.model.batches), min(2, len(self.model.batches))):
            assert self.queue.finish_batch(batch) == self._end_of(batch)

    def _end_of(self, batch: UUID) -> BatchStatus | None:
        if self.model.of(batch, *OPEN):
            return None
        if batch in self.model.stopped:
            return BatchStatus.cancelled
        if self.model.of(batch, "completed"):
            return BatchStatus.completed
        return BatchStatus.failed if self.model.of(batch, "failed") else BatchStatus.cancelled

    def age(self) -> None:
        if self.dice.random() < 0.2:
            run(
                self.database,
                "UPDATE generation_jobs SET completed_at = completed_at - interval '2 days' "
                "WHERE completed_at > clock_timestamp() - interval '1 day'",
            )
            self.queue.cleanup()

    def check(self) -> None:
        rows = run(
            self.database,
            "SELECT id, status, lease_token AS token, attempts, cost FROM generation_jobs UNION ALL "
            "SELECT id, status, lease_token, attempts, cost FROM generation_jobs_history",
        )
        assert {row["id"]: (row["status"], row["token"], row["attempts"], row["cost"]) for row in rows} == {
            name: (item.status, item.token, item.attempts, item.cost) for name, item in self.model.items.items()
        }
        assert_generation_books(self.database)
        assert_quota_books(self.database)


@pytest.fixture
def database(_server: psycopg.Connection[Any], settings: Settings, _migrated_template: str) -> Iterator[PostgresClient]:
    with (
        database_of_its_own(_server, settings.local_postgres_port, _migrated_template) as url,
        PostgresClient(url, statement_timeout=60.0) as client,
    ):
        yield client


@pytest.mark.timeout(3600)
def test_the_queue_does_what_its_model_does(database: PostgresClient) -> None:
    seed = int(os.environ.get("QUEUE_SEED") or secrets.randbits(32))
    print(f"\nQUEUE_SEED={seed}, {RUNS} runs of {STEPS} steps")  # noqa: T201
    ends: Counter[str] = Counter()
    for number in range(RUNS):
        dice = random.Random(f"{seed}:{number}")
        run(database, "; ".join(f"DELETE FROM {table}" for table in TABLES))
        play = Play(database, dice)
        moves = [
            play.submit, play.submit, play.claim, play.claim, play.claim, play.hold, play.hold, play.complete,
            play.complete, play.fail, play.fail, play.release, play.speak, play.speak, play.end_calls,
            play.silence, play.silence, play.cancel_item, play.cancel_batch, play.finish, play.age,
        ]  # fmt: skip
        for _ in range(STEPS):
            dice.choice(moves)()
            play.check()
        ends.update(item.status for item in play.model.items.values())
    print(dict(ends))  # noqa: T201
    assert min(ends[status] for status in ("completed", "failed", "cancelled")) >= RUNS / 6


def test_a_budget_holds_while_calls_are_made(database: PostgresClient) -> None:
    queue = new_queue(database)
    tenant = add_tenant(database, "enterprise")
    made = queue.submit(NewBatch(tenant, max_cost_usd=Decimal("0.05")), [NewItem() for _ in range(30)], "k")
    refused = 0
    while claimed := queue.claim(10, "w", batch_id=made.batch_id):
        for one in claimed:
            try:
                attempt = queue.begin_attempt(one, "openai", "m")
            except BudgetExceeded as error:
                refused += 1
                queue.fail(one, FailureCategory.quota, str(error))
                continue
            assert attempt is not None
            queue.end_attempt(attempt, outcome="succeeded", cost_usd=Decimal("0.01"))
            queue.complete([done(one)])
    assert refused == 25
    assert queue.finish_batch(made.batch_id) is BatchStatus.completed
    assert queue.budget(tenant).spent_usd == Decimal("0.05")
