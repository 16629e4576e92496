"""Queued rows of the older shape, which have no batch, become batches and are worked like any."""

from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from content_orchestration.core.generation.adopt import adopt_loose_items
from content_orchestration.core.generation.health import untrue_books
from content_orchestration.core.generation.model import BatchStatus, Phase
from content_orchestration_tests.generation_world import World
from content_orchestration_tests.tiers import Tiers


@pytest.fixture
def world(tiers: Tiers) -> World:
    return World(tiers)


def add_loose(world: World, count: int, content_type: str | None = None, tenant: UUID | None = None) -> list[str]:
    ids = [str(uuid4()) for _ in range(count)]
    for each in ids:
        world.run(
            "INSERT INTO generation_jobs (id, tenant_id, status, request_data) VALUES (%s, %s, 'pending', "
            "jsonb_strip_nulls(jsonb_build_object('topic', 'old ' || %s, 'content_type', %s::text)))",
            [each, tenant or world.tenant, each, content_type],
        )
    return ids


def test_loose_items_are_worked_in_a_batch_of_their_own(world: World) -> None:
    posts, emails = add_loose(world, 12), add_loose(world, 3, "email")
    (first,) = adopt_loose_items(world.tiers.database, world.ledger)
    (second,) = adopt_loose_items(world.tiers.database, world.ledger)
    assert (first.items, second.items) == (12, 3)
    assert adopt_loose_items(world.tiers.database, world.ledger) == []
    for made, ids in ((first, posts), (second, emails)):
        assert made.batch_id is not None
        assert {item["id"] for item in world.items(made.batch_id)} == set(ids)
        assert world.worked(made.batch_id, chain=world.template).status is BatchStatus.completed
    assert untrue_books(world.tiers.database, days=1) == []
    usage = world.ledger.usage(world.tenant)
    assert (usage.content_items, usage.reserved_bytes) == (15, 0)
    assert world.queue.job_progress(posts[0])["status"] == "completed"
    kinds = world.run("SELECT content_type, count(*) AS n FROM content_storage_metadata GROUP BY 1 ORDER BY 1")
    assert [(row["content_type"], row["n"]) for row in kinds] == [("email", 3), ("post", 12)]


def test_no_more_than_a_batch_takes_and_running_ones_stay(world: World) -> None:
    add_loose(world, 7)
    (running,) = world.queue.claim(1, "w")
    (made,) = adopt_loose_items(world.tiers.database, world.ledger, most=4)
    (rest,) = adopt_loose_items(world.tiers.database, world.ledger, most=4)
    assert (made.items, rest.items) == (4, 2)
    assert world.queue.progress(running, Phase.writing, 5, "x")
    assert not world.queue.recount(world.tenant)
    assert made.batch_id is not None
    assert not world.queue.recount(made.batch_id)


def test_what_does_not_fit_stays_with_the_reason(tiers: Tiers) -> None:
    world = World(tiers, plan="free")
    add_loose(world, 200)
    (refused,) = adopt_loose_items(tiers.database, world.ledger)
    assert (refused.batch_id, refused.items) == (None, 0)
    assert "free" in refused.why
    assert world.queue.stats(world.tenant).queued == 200
    assert world.run("SELECT count(*) AS n FROM content_generation_jobs")[0]["n"] == 0


def test_a_tenant_with_a_budget_spends_what_is_left_of_it(world: World) -> None:
    world.queue.set_budget(world.tenant, Decimal("2.5"))
    add_loose(world, 2)
    (made,) = adopt_loose_items(world.tiers.database, world.ledger)
    assert made.batch_id is not None
    batch = world.queue.batch(made.batch_id)
    assert batch is not None
    assert batch.max_cost_usd == Decimal("2.5")
    assert world.queue.budget(world.tenant).reserved_usd == Decimal("2.5")


def test_rows_of_nobody_are_left_alone(world: World) -> None:
    world.run("INSERT INTO generation_jobs (id, status, request_data) VALUES ('lost', 'pending', '{}')")
    add_loose(world, 1, tenant=uuid4())
    assert adopt_loose_items(world.tiers.database, world.ledger) == []
