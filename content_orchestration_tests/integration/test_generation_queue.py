"""The generation queue on a real server: what goes in, who gets it, what the fence accepts, what the books say."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from content_orchestration.core.errors import Permanent
from content_orchestration.core.generation.errors import (
    BudgetExceeded,
    InvalidBatch,
    SubmissionKeyReused,
    UnknownBatch,
)
from content_orchestration.core.generation.health import open_batches, overdue_leases, take_health
from content_orchestration.core.generation.lease import renew
from content_orchestration.core.generation.model import (
    BatchStatus,
    Claimed,
    FailureCategory,
    NewBatch,
    NewItem,
    Phase,
    Reaped,
)
from content_orchestration.core.generation.queue import GenerationQueue
from content_orchestration.core.quota.decision import QuotaExceeded, UnknownTenant
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.sql import statement
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.settings import Settings
from content_orchestration_tests.generation_books import (
    TABLES,
    assert_generation_books,
    done,
    expire_leases,
    finish_all,
    make_due,
    new_queue,
    requests,
    row_of,
    submit,
)
from content_orchestration_tests.quota_books import add_brand, add_tenant, database_of_its_own, run


@pytest.fixture(scope="module")
def url(_server: psycopg.Connection[Any], settings: Settings, _migrated_template: str) -> Iterator[str]:
    with database_of_its_own(_server, settings.local_postgres_port, _migrated_template) as made:
        yield made


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[PostgresClient]:
    with PostgresClient(url, statement_timeout=60.0) as opened:
        yield opened


@pytest.fixture
def database(client: PostgresClient) -> Iterator[PostgresClient]:
    run(client, "; ".join(f"DELETE FROM {table}" for table in TABLES))
    yield client
    assert_generation_books(client)


@pytest.fixture
def queue(database: PostgresClient) -> GenerationQueue:
    return new_queue(database)


@pytest.fixture
def tenant(database: PostgresClient) -> UUID:
    return add_tenant(database, "enterprise")


def statuses(database: PostgresClient) -> Counter[str]:
    return Counter(row["status"] for row in run(database, "SELECT status FROM generation_jobs"))


# --- submit -----------------------------------------------------------------------------------------------------------


def test_a_batch_goes_in_whole_with_its_quota(queue: GenerationQueue, database: PostgresClient, tenant: UUID) -> None:
    brand = add_brand(database, tenant)
    user, topic, article = uuid4(), uuid4(), uuid4()
    wanted = [
        NewItem(topic_id=topic, request={"topic": "ü \\u0000 is fine here", "n": 2**70}),
        NewItem(article_id=article),
        NewItem(id=f"mine-{tenant}", priority=-3),
    ]
    batch = NewBatch(
        tenant, brand, user, "campaign", "article", {"tone": "plain"}, 5, estimated_bytes_per_item=100,
        max_cost_usd=Decimal("1.5"),
    )  # fmt: skip
    made = queue.submit(batch, wanted, "a key")
    assert (made.items, made.replay) == (3, False)
    found = queue.batch(made.batch_id)
    assert found is not None
    assert (found.tenant_id, found.brand_id, found.user_id, found.job_type, found.content_type, found.params) == (
        tenant, brand, user, "campaign", "article", {"tone": "plain"},
    )  # fmt: skip
    assert (found.priority, found.status, found.target_count, found.queued_count) == (5, BatchStatus.queued, 3, 3)
    (held,) = run(database, "SELECT * FROM quota_reservations")
    assert (held["id"], held["bytes"], held["items"], held["reason"], held["brand_id"]) == (
        found.reservation_id, 300, 3, "generation", brand,
    )  # fmt: skip
    claimed = queue.claim(5, "w")
    assert [item.id for item in claimed] == [f"{made.batch_id}.00000", f"{made.batch_id}.00001", f"mine-{tenant}"]
    first = claimed[0]
    assert (first.batch_id, first.tenant_id, first.brand_id, first.user_id) == (made.batch_id, tenant, brand, user)
    assert (first.content_type, first.params, first.attempt, first.max_attempts) == ("article", {"tone": "plain"}, 1, 3)
    assert first.request == wanted[0].request
    assert timedelta(seconds=20) < first.lease_expires_at - datetime.now(UTC) < timedelta(seconds=40)
    assert (row_of(database, first.id)["topic_id"], row_of(database, claimed[1].id)["article_id"]) == (topic, article)


def test_a_key_stands_for_one_content(queue: GenerationQueue, database: PostgresClient, tenant: UUID) -> None:
    batch = NewBatch(tenant, params={"a": 1, "b": 2})
    made = queue.submit(batch, requests(3), "k")
    again = queue.submit(NewBatch(tenant, params={"b": 2, "a": 1}), requests(3), "k")
    assert (again.batch_id, again.items, again.replay) == (made.batch_id, 3, True)
    others: list[tuple[NewBatch, list[NewItem]]] = [
        (batch, requests(4)),
        (batch, requests(3)[::-1]),
        (batch, requests(3, priority=1)),
        (NewBatch(tenant, params={"a": 1, "b": 3}), requests(3)),
        (NewBatch(tenant, params={"a": 1, "b": 2}, max_cost_usd=Decimal(1)), requests(3)),
    ]
    for other, items in others:
        with pytest.raises(SubmissionKeyReused, match=str(made.batch_id)):
            queue.submit(other, items, "k")
    assert len(run(database, "SELECT id FROM generation_jobs")) == 3
    assert len(run(database, "SELECT id FROM quota_reservations")) == 1
    elsewhere = queue.submit(NewBatch(add_tenant(database, "enterprise")), requests(1), "k")
    assert not elsewhere.replay
    finish_all(queue, queue.claim(9, "w", batch_id=made.batch_id))
    assert queue.finish_batch(made.batch_id) is BatchStatus.completed
    assert queue.submit(batch, requests(3), "k").replay, "a key is known when its batch is over too"


def test_one_key_submitted_at_once_makes_one_batch(
    queue: GenerationQueue, database: PostgresClient, tenant: UUID
) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: queue.submit(NewBatch(tenant), requests(50), "k"), range(8)))
    assert len({one.batch_id for one in made}) == 1
    assert sorted(one.replay for one in made) == [False, *[True] * 7]
    assert len(run(database, "SELECT id FROM generation_jobs")) == 50
    assert len(run(database, "SELECT id FROM quota_reservations")) == 1


def test_what_is_refused_leaves_nothing(queue: GenerationQueue, database: PostgresClient) -> None:
    """Quota, budget, an unknown tenant, an id that is taken: behind 100 rows that were written already."""
    free = add_tenant(database, "free")
    with pytest.raises(QuotaExceeded) as refused:
        submit(queue, free, 101)
    assert refused.value.scope == "generation"
    with pytest.raises(UnknownTenant):
        submit(queue, uuid4(), 5)
    submit(queue, free, [NewItem(id=f"taken-{free}")])
    with pytest.raises(InvalidBatch, match="id that is taken"):
        submit(queue, free, [*requests(3), NewItem(id=f"taken-{free}")])
    queue.set_budget(free, Decimal(2))
    with pytest.raises(InvalidBatch, match="max_cost_usd is missing"):
        submit(queue, free, 2)
    with pytest.raises(BudgetExceeded, match=r"0\.000000 USD are spent"):
        submit(queue, free, 2, max_cost_usd=Decimal("2.01"))
    assert len(run(database, "SELECT id FROM content_generation_jobs")) == 1
    assert len(run(database, "SELECT id FROM generation_jobs")) == 1
    assert [row["state"] for row in run(database, "SELECT state FROM quota_reservations")] == ["reserved"]


def test_room_that_dead_batches_hold_is_found(database: PostgresClient, queue: GenerationQueue) -> None:
    free = add_tenant(database, "free")
    QuotaLedger(database).reserve(free, items=90, reason="generation", ttl=timedelta(milliseconds=1))
    run(database, "SELECT pg_sleep(0.01)")
    assert submit(queue, free, 60).items == 60


def test_ten_thousand_items_go_in_by_one_transaction(
    queue: GenerationQueue, database: PostgresClient, tenant: UUID
) -> None:
    started = datetime.now(UTC)
    made = submit(queue, tenant, 10_000)
    assert datetime.now(UTC) - started < timedelta(seconds=10)
    rows = run(database, "SELECT count(*) AS items, count(DISTINCT xmin::text) AS writers FROM generation_jobs")
    assert rows == [{"items": 10_000, "writers": 1}]
    assert queue.stats(tenant).queued == 10_000
    assert queue.cancel_batch(tenant, made.batch_id) == 10_000


# --- claim ------------------------------------------------------------------------------------------------------------


def test_priorities_of_batches_then_of_items(queue: GenerationQueue, tenant: UUID) -> None:
    low = submit(queue, tenant, [NewItem(id=f"a{tenant}"), NewItem(id=f"b{tenant}", priority=9)])
    high = submit(queue, tenant, 1, priority=1)
    assert [item.id for item in queue.claim(3, "w")] == [f"{high.batch_id}.00000", f"b{tenant}", f"a{tenant}"]
    assert queue.claim(3, "w") == []
    assert low.items == 2


def test_tenants_take_turns(queue: GenerationQueue, database: PostgresClient) -> None:
    tenants = [add_tenant(database, "enterprise") for _ in range(3)]
    for one in tenants:
        for _ in range(3):
            submit(queue, one, 4, priority=tenants.index(one))
    turns = [queue.claim(2, "w") for _ in range(6)]
    assert all(len({item.tenant_id for item in turn}) == 1 for turn in turns)
    assert len({turn[0].tenant_id for turn in turns[:3]}) == 3
    assert [turn[0].tenant_id for turn in turns[3:]] == [turn[0].tenant_id for turn in turns[:3]]


def test_a_claim_goes_on_to_the_next_tenant_when_one_has_too_little(
    queue: GenerationQueue, database: PostgresClient
) -> None:
    for _ in range(3):
        submit(queue, add_tenant(database, "enterprise"), 2)
    claimed = queue.claim(5, "w")
    assert (len(claimed), len({item.tenant_id for item in claimed})) == (5, 3)


def test_ten_of_a_batch_run_and_no_more(queue: GenerationQueue, database: PostgresClient, tenant: UUID) -> None:
    made = submit(queue, tenant, 25)
    first = queue.claim(7, "w", batch_id=made.batch_id)
    second = queue.claim(7, "w")
    assert (len(first), len(second)) == (7, 3)
    assert queue.claim(1, "w") == queue.claim(1, "w", batch_id=made.batch_id) == []
    assert queue.fail(first[0], FailureCategory.invalid_request, "no") == "failed"
    assert len(finish_all(queue, first[1:3])) == 2
    assert queue.release(second[0])
    assert len(queue.claim(20, "w")) == 4
    with pytest.raises(psycopg.errors.CheckViolation):
        run(database, "UPDATE generation_queues SET running = 11")


def test_what_waits_to_be_stored_frees_its_place_until_fifty_do(
    queue: GenerationQueue, database: PostgresClient, tenant: UUID
) -> None:
    made = submit(queue, tenant, 90)
    other = submit(queue, tenant, 1)
    storing: list[Claimed] = []

    def claim(most: int = 20) -> list[Claimed]:
        return queue.claim(most, "w", batch_id=made.batch_id)

    for _ in range(4):
        claimed = claim()
        assert len(claimed) == 10
        assert all(queue.hold(item, "x") for item in claimed)
        storing += claimed
    claimed = claim()
    assert all(queue.hold(item, "x") for item in claimed[:9])
    more = claim()
    assert len(more) == 9, "49 are storing, one runs"
    storing += [*claimed, *more]
    assert all(queue.hold(item, "x") for item in [claimed[9], *more])
    assert statuses(database) == {"storing": 59, "queued": 32}
    assert claim() == []
    assert [item.batch_id for item in queue.claim(20, "w")] == [other.batch_id], "another batch goes on"
    finish_all(queue, storing[:9])
    assert claim() == [], "fifty are storing"
    finish_all(queue, storing[9:10])
    assert len(claim()) == 10
    with pytest.raises(psycopg.errors.CheckViolation):
        run(database, "UPDATE generation_queues SET storing = 101")


def test_a_lane_without_work_closes_and_opens_again(
    queue: GenerationQueue, database: PostgresClient, tenant: UUID
) -> None:
    made = submit(queue, tenant, 1)
    finish_all(queue, queue.claim(1, "w"))
    assert queue.claim(1, "w") == []
    assert run(database, "SELECT open FROM generation_lanes") == [{"open": False}]
    again = submit(queue, tenant, 1)
    assert [item.batch_id for item in queue.claim(5, "w")] == [again.batch_id]
    assert again.batch_id != made.batch_id


def test_a_claim_is_for_at_least_one(queue: GenerationQueue, database: PostgresClient) -> None:
    with pytest.raises(Permanent, match="n is 0"):
        queue.claim(0, "w")
    with pytest.raises(Permanent, match="lease is 0"):
        GenerationQueue(database, QuotaLedger(database), lease=timedelta(0))
    assert queue.claim(1, "w", batch_id=uuid4()) == []


def test_a_claim_waits_for_a_lock_only_where_all_are_locked(
    queue: GenerationQueue, database: PostgresClient, tenant: UUID, url: str
) -> None:
    older, newer = submit(queue, tenant, 2), submit(queue, tenant, 2)
    with psycopg.connect(url) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SELECT FROM generation_queues WHERE id = %s FOR UPDATE", [older.batch_id])
        assert [item.batch_id for item in queue.claim(2, "w")] == [newer.batch_id] * 2
        # All that is left is locked: it waits for that, and does not answer that there is nothing.
        waiting = pool.submit(queue.claim, 2, "w")
        while not run(
            database, "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ):
            assert not waiting.done()
        other.rollback()
        assert [item.batch_id for item in waiting.result(20)] == [older.batch_id] * 2


# --- the fence --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storing", [False, True])
def test_every_write_of_a_worker_that_lost_its_item_is_refused(
    queue: GenerationQueue, database: PostgresClient, tenant: UUID, storing: bool
) -> None:
    """The zombie: its lease ended, another worker claimed the item, and the zombie wakes up."""
    submit(queue, tenant, 1)
    (zombie,) = queue.claim(1, "zombie")
    attempt = queue.begin_attempt(zombie, "template", "m")
    assert attempt is not None
    if storing:
        assert queue.hold(zombie, "x")
    expire_leases(database)
    assert queue.reap() == Reaped(1, 0, 0)
    for claimed_anew in (False, True):
        if claimed_anew:
            (living,) = queue.claim(1, "living")
            assert living.token > zombie.token
            assert living.attempt == 2
        before = row_of(database, zombie.id)
        assert not queue.progress(zombie, Phase.writing, 50, "x")
        assert not queue.hold(zombie, "x")
        assert queue.begin_attempt(zombie, "template", "m") is None
        assert finish_all(queue, [zombie]) == []
        assert queue.fail(zombie, FailureCategory.provider, "x") == "stale"
        assert not queue.release(zombie)
        assert queue.renew([zombie]) == {zombie.id}
        assert row_of(database, zombie.id) == before
    # The money was spent all the same.
    queue.end_attempt(attempt, outcome="succeeded", input_tokens=5, output_tokens=7, cost_usd=Decimal("0.25"))
    assert row_of(database, zombie.id)["cost"] == Decimal("0.25")
    assert finish_all(queue, [living]) == [zombie.id]
    assert finish_all(queue, [living]) == []
    assert queue.fail(living, FailureCategory.provider, "x") == "stale"


def test_an_item_that_waits_to_be_stored_is_leased_and_fenced(
    queue: GenerationQueue, database: PostgresClient, tenant: UUID
) -> None:
    made = submit(queue, tenant, 1)
    (claimed,) = queue.claim(1, "w")
    assert queue.hold(claimed, "120 words \0")
    before = row_of(database, claimed.id)
    assert queue.hold(claimed, "120 words"), "an answer that was lost is asked for again"
    assert row_of(database, claimed.id) == before
    assert before["lease_expires_at"] == claimed.lease_expires_at
    assert queue.renew([claimed]) == set()
    assert row_of(database, claimed.id)["lease_expires_at"] > claimed.lease_expires_at
    seen = queue.job_progress(claimed.id)
    assert [seen[name] for name in ("status", "phase", "percentage", "current_step")] == [
        "storing", "finalizing", 90, "120 words ",
    ]  # fmt: skip
    assert seen["estimated_time_remaining"] >= 0
    assert not queue.progress(claimed, Phase.writing, 30, "x"), "its phases are over"
    assert queue.begin_attempt(claimed, "template", "m") is None
    assert queue.finish_batch(made.batch_id) is None
    assert queue.reap() == Reaped(0, 0, 0)
    whole = queue.job_progress(str(made.batch_id))
    assert [whole[name] for name in ("queued", "running", "storing", "percentage")] == [0, 0, 1, 0]
    found = queue.batch(made.batch_id)
    assert found is not None
    assert (found.running_count, found.storing_count) == (0, 1)
    stats = queue.stats()
    assert (stats.running, stats.storing, stats.open_batches) == (0, 1, 1)
    assert stats.as_metadata()["storing"] == 1
    expire_leases(database)
    assert queue.stats().expired_leases == 1
    assert overdue_leases(database)[0] == 1
    (open_batch,) = open_batches(database)
    assert (open_batch.storing, open_batch.live, open_batch.expired, open_batch.is_over) == (1, 0, 1, False)
    assert take_health(database).as_metadata()["being_stored"] == 1


def test_each_end_counts_an_item_from_the_state_that_it_had(
    queue: GenerationQueue, database: PostgresClient, tenant: UUID
) -> None:
    made = submit(queue, tenant, 10)
    claimed = queue.claim(10, "w")
    assert all(queue.hold(item, "x") for item in claimed[::2])

    def counted() -> tuple[int, ...]:
        assert_generation_books(database)
        found = queue.batch(made.batch_id)
        assert found is not None
        return (
            found.queued_count, found.running_count, found.storing_count, found.succeeded_count, found.failed_count,
            found.cancelled_count,
        )  # fmt: skip

    assert counted() == (0, 5, 5, 0, 0, 0)
    assert len(finish_all(queue, claimed[:3])) == 3
    assert counted() == (0, 4, 3, 3, 0, 0)
    assert queue.fail(claimed[4], FailureCategory.quota, "full") == "failed"
    assert counted() == (0, 4, 2, 3, 1, 0)
    assert queue.fail(claimed[6], FailureCategory.provider, "x") == "retried"
    assert counted() == (1, 4, 1, 3, 1, 0)
    assert queue.release(claimed[8])
    assert counted() == (2, 4, 0, 3, 1, 0)
    assert all(queue.hold(item, "x") for item in claimed[3:6:2])
    assert queue.cancel_item(tenant, claimed[3].id) == 1
    assert counted() == (2, 2, 1, 3, 1, 1)
    assert not queue.hold(claimed[3], "x")
    expire_leases(database, claimed[5].id, claimed[7].id)
    assert queue.reap() == Reaped(2, 0, 0)
    assert counted() == (4, 1, 0, 3, 1, 1)
    assert queue.hold(claimed[9], "x")
    assert queue.cancel_batch(tenant, made.batch_id) == 5
    assert counted() == (0, 0, 0, 3, 1, 6)
    assert finish_all(queue, claimed) == []


def test_a_batch_is_open_while_an_item_is_stored_and_nothing_else_is(
    queue: GenerationQueue, database: PostgresClient, tenant: UUID
) -> None:
    made = submit(queue, tenant, 5)
    claimed = queue.claim(5, "w")
    assert all(queue.hold(item, "x") for item in claimed)
    for end in (
        lambda: finish_all(queue, claimed[:1]),
        lambda: queue.fail(claimed[1], FailureCategory.quota, "full"),
        lambda: queue.cancel_item(tenant, claimed[2].id),
        lambda: finish_all(queue, claimed[3:4]),
    ):
        end()
        assert_generation_books(database)
        assert queue.stats().open_batches == 1
    finish_all(queue, claimed[4:])
    assert queue.finish_batch(made.batch_id) is BatchStatus.completed


def test_content_and_completion_commit_together_or_not_at_all(
    queue: GenerationQueue, database: PostgresClient, tenant: UUID
) -> None:
    submit(queue, tenant, 3)
    claimed = queue.claim(3, "w")
    with database.connection() as connection:
        assert len(queue.complete_in(connection, [done(item) for item in claimed])) == 3
        connection.rollback()
    assert statuses(database) == {"running": 3}
    expire_leases(database, claimed[0].id)
    queue.reap()
    with database.connection() as connection:
        assert sorted(queue.complete_in(connection, [done(item) for item in claimed])) == [
            item.id for item in claimed[1:]
        ]
        assert queue.complete_in(connection, []) == []
    assert statuses(database) == {"completed": 2, "queued": 1}


def test_progress_shows_and_costs_no_index_anything(
    queue: GenerationQueue, database: PostgresClient, tenant: UUID
) -> None:
    submit(queue, tenant, 1)
    (claimed,) = queue.claim(1, "w")
    hot = "SELECT n_tup_hot_upd, n_tup_upd FROM pg_stat_xact_user_tables WHERE relname = 'generation_jobs'"
    assert queue.progress(claimed, Phase.writing, 40, "the \0 first draft")
    seen = queue.job_progress(claimed.id)
    assert (seen["phase"], seen["percentage"], seen["current_step"]) == ("writing", 40, "the  first draft")
    assert seen["estimated_time_remaining"] >= 0
    assert queue.progress(claimed, Phase.finalizing, 400, "x")
    assert queue.job_progress(claimed.id)["percentage"] == 99, "only the end is the end"
    assert queue.progress(claimed, Phase.analyzing, 0, "x")
    assert queue.job_progress(claimed.id)["estimated_time_remaining"] is None
    with database.connection() as connection:
        before = connection.execute(hot).fetchone()
        values = {"id": claimed.id, "token": claimed.token, "phase": "writing", "step": "x"}
        for percentage in range(10):
            connection.execute(statement("generation/progress"), {**values, "percentage": percentage})
        renew(connection, [(claimed.id, claimed.token)], queue.lease)
        after = connection.execute(hot).fetchone()
    assert before is not None
    assert after is not None
    assert [after[name] - before[name] for name in ("n_tup_hot_upd", "n_tup_upd")] == [11, 11]


@pytest.mark.parametrize("category", list(FailureCategory))
def test_a_failure_is_tried_again_unless_it_is_for_good(
    queue: GenerationQueue, database: PostgresClient, tenant: UUID, category: FailureCategory
) -> None:
    made = submit(queue, tenant, 1)
    permanent = category in {FailureCategory.content_policy, FailureCategory.invalid_request, FailureCategory.quota}
    outcomes = []
    for attempt in range(1, 9):
        make_due(database)
        claimed = queue.claim(1, "w")
        if not claimed:
            break
        assert claimed[0].attempt == attempt
        outcomes.append(queue.fail(claimed[0], category, "why \0 it failed"))
    assert outcomes == (["failed"] if permanent else ["retried", "retried", "failed"])
    row = row_of(database, f"{made.batch_id}.00000")
    assert (row["status"], row["phase"], row["error_category"], row["error_message"]) == (
        "failed", "error", category.value, "why  it failed",
    )  # fmt: skip
    assert queue.finish_batch(made.batch_id) is BatchStatus.failed
    found = queue.batch(made.batch_id)
    assert found is not None
    assert found.error_message == f"1 of 1 items failed: {category.value} 1"


def test_the_wait_for_a_retry_is_random_and_grows_and_heeds_the_provider(
    database: PostgresClient, tenant: UUID
) -> None:
    queue = new_queue(database, retry_base=timedelta(seconds=10), retry_longest=timedelta(seconds=30))
    made = submit(queue, tenant, 60)
    waits: dict[int, list[float]] = {1: [], 2: []}
    for attempt in (1, 2):
        for _ in range(6):
            for item in queue.claim(10, "w", batch_id=made.batch_id):
                assert queue.fail(item, FailureCategory.timeout, "slow") == "retried"
        rows = run(database, "SELECT extract(epoch FROM run_after - updated_at)::float8 AS wait FROM generation_jobs")
        waits[attempt] = sorted(row["wait"] for row in rows)
        make_due(database)
    # Full jitter: anywhere from none to the whole.
    assert waits[1][0] < 2
    assert 8 < waits[1][-1] <= 10.01
    assert waits[2][0] < 4
    assert 12 < waits[2][-1] <= 20.01
    (item,) = queue.claim(1, "w", batch_id=made.batch_id)
    assert item.attempt == 3
    other = submit(queue, tenant, 1, priority=1)
    (item,) = queue.claim(1, "w", batch_id=other.batch_id)
    queue.fail(item, FailureCategory.rate_limit, "429", retry_after=100)
    row = row_of(database, item.id)
    assert 100 <= (row["run_after"] - row["updated_at"]).total_seconds() <= 110.01
    assert queue.claim(1, "w", batch_id=other.batch_id) == [], "it is not due"


# --- leases -----------------------------------------------------------------------------------------------------------


def test_a_reaper_takes_back_what_is_silent_and_gives_up_at_the_last_attempt(
    queue: GenerationQueue, database: PostgresClient, tenant: UUID
) -> None:
    made = submit(queue, tenant, 2)
    for attempt in range(1, 4):
        claimed = queue.claim(2, "dead", batch_id=made.batch_id)
        assert queue.hold(claimed[1], "x")
        assert [item.attempt for item in claimed] == [attempt] * 2
        attempt_id = queue.begin_attempt(claimed[0], "template", "m")
        assert queue.reap().total == 0, "a lease that lives is left alone"
        expire_leases(database)
        stats = queue.stats()
        assert (stats.expired_leases, stats.longest_expired_seconds > 0.9) == (2, True)
        reaped = queue.reap()
        assert (reaped.retried, reaped.failed) == ((2, 0) if attempt < 3 else (0, 2))
        (row,) = run(database, "SELECT * FROM generation_attempts WHERE id = %s", [attempt_id])
        assert (row["outcome"], row["reported"]) == ("crash", False)
    assert reaped.closed == 1, "the run is dead, so the reaper closes the books"
    assert reaped.as_metadata() == {"retried": 0, "failed": 2, "closed": 1}
    assert queue.finish_batch(made.batch_id) is BatchStatus.failed
    row = row_of(database, claimed[0].id)
    assert (row["error_category"], row["error_message"]) == ("crash", "the lease of worker dead expired")


def test_a_stop_does_not_count_as_an_attempt(queue: GenerationQueue, tenant: UUID) -> None:
    submit(queue, tenant, 1)
    tokens = []
    for _ in range(6):
        (claimed,) = queue.claim(1, "w")
        assert claimed.attempt == 1
        tokens.append(claimed.token)
        assert queue.release(claimed)
    assert tokens == sorted(set(tokens)), "every claim has a token of its own, and they only grow"


def test_a_claim_that_a_crash_took_back_is_fenced_off_from_the_next(
    queue: GenerationQueue, database: PostgresClient, tenant: UUID
) -> None:
    """A claim does not wait for the disk. Rolled back, it is what a worker holds after the server's crash."""
    submit(queue, tenant, 1)
    with database.connection() as connection:
        values = {"most": 1, "worker": "lost", "lease": queue.lease, "queue_id": None}
        (row,) = connection.execute(statement("generation/claim"), values).fetchall()
        connection.rollback()
    lost = Claimed(**row)
    (kept,) = queue.claim(1, "w")
    assert (kept.id, kept.attempt) == (lost.id, lost.attempt)
    assert not queue.progress(lost, Phase.writing, 10, "x")
    assert queue.begin_attempt(lost, "template", "t") is None
    assert queue.fail(lost, FailureCategory.unknown, "x") == "stale"
    assert queue.progress(kept, Phase.writing, 10, "x")


def test_a_claim_alone_does_not_wait_for_the_disk(
    queue: GenerationQueue, database: PostgresClient, tenant: UUID
) -> None:
    submit(queue, tenant, 1)
    with database.connection() as connection:
        values = {"most": 1, "worker": "w", "lease": queue.lease, "queue_id": None}
        connection.execute(statement("generation/claim"), values)
        assert connection.execute("SHOW synchronous_commit").fetchone() == {"synchronous_commit": "off"}
        connection.commit()
        # What follows on the connection waits again.
        assert connection.execute("SHOW synchronous_commit").fetchone() == {"synchronous_commit": "on"}


# --- cancelling and closing the books ---------------------------------------------------------------------------------


def test_cancelling_a_batch_stops_all_of_it_and_settles_once(
    queue: GenerationQueue, database: PostgresClient, tenant: UUID
) -> None:
    made = submit(queue, tenant, 20)
    claimed = queue.claim(6, "w")
    finish_all(queue, claimed[:2])
    with pytest.raises(UnknownBatch, match="not a batch of tenant"):
        queue.cancel_batch(uuid4(), made.batch_id)
    attempt = queue.begin_attempt(claimed[2], "template", "m")
    assert attempt is not None
    assert queue.cancel_batch(tenant, made.batch_id) == 18
    assert statuses(database) == {"completed": 2, "cancelled": 18}
    assert not queue.progress(claimed[2], Phase.writing, 50, "x")
    assert finish_all(queue, claimed[2:]) == []
    assert queue.renew(claimed) == {item.id for item in claimed}
    assert queue.cancel_batch(tenant, made.batch_id) == 0
    assert queue.finish_batch(made.batch_id) is BatchStatus.cancelled
    # A call that was under way ends behind the close of the books, which take it in.
    queue.end_attempt(attempt, outcome="succeeded", cost_usd=Decimal("0.125"))
    queue.end_attempt(attempt, outcome="succeeded", cost_usd=Decimal("0.125"))
    found = queue.batch(made.batch_id)
    assert found is not None
    assert (found.status, found.succeeded_count, found.total_cost_usd) == (BatchStatus.cancelled, 2, Decimal("0.125"))
    assert queue.budget(tenant).spent_usd == Decimal("0.125")


def test_cancelling_items_one_by_one(queue: GenerationQueue, database: PostgresClient, tenant: UUID) -> None:
    made = submit(queue, tenant, 3)
    (claimed,) = queue.claim(1, "w")
    ids = [f"{made.batch_id}.0000{number}" for number in range(3)]
    assert queue.cancel_item(uuid4(), ids[1]) == 0, "another tenant's"
    assert queue.cancel_item(tenant, "unknown") == 0
    assert queue.cancel_item(tenant, claimed.id) == 1
    assert not queue.progress(claimed, Phase.writing, 1, "x")
    assert queue.cancel_item(tenant, ids[1]) == 1
    assert queue.cancel_item(tenant, ids[1]) == 0
    assert queue.finish_batch(made.batch_id) is None
    assert queue.cancel_item(tenant, ids[2]) == 1
    found = queue.batch(made.batch_id)
    assert found is not None
    assert (found.status, found.cancelled_count, found.completed_at is None) == (BatchStatus.cancelled, 3, False)


def test_the_books_of_a_batch_close_once(queue: GenerationQueue, database: PostgresClient, tenant: UUID) -> None:
    ledger = QuotaLedger(database)
    made = submit(queue, tenant, 4)
    with pytest.raises(UnknownBatch):
        queue.finish_batch(uuid4())
    claimed = queue.claim(4, "w")
    held = queue.batch(made.batch_id)
    assert held is not None
    assert held.reservation_id is not None
    with database.connection() as connection:
        queue.complete_in(connection, [done(item, 30) for item in claimed[:3]])
        ledger.settle_part_in(connection, held.reservation_id, bytes=90, items=3)
    assert queue.finish_batch(made.batch_id) is None
    queue.fail(claimed[3], FailureCategory.content_policy, "no")
    with ThreadPoolExecutor(4) as pool:
        closed = list(pool.map(queue.finish_batch, [made.batch_id] * 8))
    assert closed == [BatchStatus.completed] * 8
    usage = ledger.usage(tenant)
    assert (usage.used_bytes, usage.reserved_bytes) == (90, 0)
    assert run(database, "SELECT used_items, reserved_items FROM quota_generation_usage") == [
        {"used_items": 3, "reserved_items": 0}
    ]
    found = queue.batch(made.batch_id)
    assert found is not None
    assert (found.succeeded_count, found.failed_count, found.total_storage_bytes) == (3, 1, 90)
    assert found.error_message == "1 of 4 items failed: content_policy 1"


def test_a_reservation_that_was_pruned_does_not_keep_the_books_open(
    queue: GenerationQueue, database: PostgresClient, tenant: UUID
) -> None:
    made = submit(queue, tenant, 1)
    finish_all(queue, queue.claim(1, "w"))
    run(database, "DELETE FROM quota_reservations")
    assert queue.finish_batch(made.batch_id) is BatchStatus.completed


def test_what_failed_can_be_submitted_again(queue: GenerationQueue, tenant: UUID) -> None:
    made = submit(queue, tenant, 3, params={"tone": "dry"})
    claimed = queue.claim(3, "w")
    finish_all(queue, claimed[:1])
    queue.fail(claimed[1], FailureCategory.quota, "no")
    queue.cancel_item(tenant, claimed[2].id)
    again = queue.resubmit(made.batch_id, "again")
    assert (again.items, again.replay) == (2, False)
    assert queue.resubmit(made.batch_id, "again").replay
    assert [(item.request, item.params) for item in queue.claim(9, "w")] == [
        (item.request, {"tone": "dry"}) for item in claimed[1:]
    ]
    with pytest.raises(UnknownBatch, match="nothing to do again"):
        queue.resubmit(uuid4(), "k")


# --- money ------------------------------------------------------------------------------------------------------------


def test_a_budget_is_reserved_spent_and_given_back(
    queue: GenerationQueue, database: PostgresClient, tenant: UUID
) -> None:
    assert queue.budget(tenant).as_metadata()["limit_usd"] == "unlimited"
    queue.set_budget(tenant, Decimal(3))
    made = submit(queue, tenant, 2, max_cost_usd=Decimal(2))
    with pytest.raises(BudgetExceeded):
        submit(queue, tenant, 1, max_cost_usd=Decimal("1.000001"))
    other = submit(queue, tenant, 1, max_cost_usd=Decimal(1))
    assert queue.budget(tenant).reserved_usd == 3
    claimed = queue.claim(2, "w", batch_id=made.batch_id)
    for cost, outcome in (("0.5", "provider"), ("1.6", "succeeded")):
        attempt = queue.begin_attempt(claimed[0], "openai", "m")
        assert attempt is not None
        queue.end_attempt(attempt, outcome=outcome, input_tokens=9, output_tokens=9, cost_usd=Decimal(cost))
    # The batch has spent more than its most: nothing more is begun, and what was spent is told as it is.
    with pytest.raises(BudgetExceeded, match=r"2\.100000 of 2\.000000"):
        queue.begin_attempt(claimed[1], "openai", "m")
    finish_all(queue, claimed[:1])
    queue.fail(claimed[1], FailureCategory.quota, "no money")
    queue.finish_batch(made.batch_id)
    found = queue.budget(tenant)
    assert (found.reserved_usd, found.spent_usd, found.limit_usd) == (1, Decimal("2.1"), 3)
    queue.cancel_batch(tenant, other.batch_id)
    assert queue.budget(tenant).reserved_usd == 0
    assert queue.stats(tenant).cost_by_provider == {"openai": Decimal("2.1")}
    queue.set_budget(tenant, None)
    submit(queue, tenant, 1)


def test_a_limit_holds_in_the_next_month_too(queue: GenerationQueue, database: PostgresClient, tenant: UUID) -> None:
    queue.set_budget(tenant, Decimal(1))
    run(database, "UPDATE generation_budgets SET month = month - interval '2 months', spent_usd = 0.75")
    assert (queue.budget(tenant).limit_usd, queue.budget(tenant).spent_usd) == (1, 0)
    with pytest.raises(BudgetExceeded):
        submit(queue, tenant, 1, max_cost_usd=Decimal("1.1"))
    submit(queue, tenant, 1, max_cost_usd=Decimal("0.9"))
    assert queue.budget(tenant).reserved_usd == Decimal("0.9")
    run(database, "DELETE FROM generation_budgets WHERE month < quota_month()")


def test_many_reserve_no_more_than_the_budget(queue: GenerationQueue, database: PostgresClient, tenant: UUID) -> None:
    queue.set_budget(tenant, Decimal(10))

    def one(_: int) -> bool:
        try:
            submit(queue, tenant, 1, max_cost_usd=Decimal("1.5"))
        except BudgetExceeded:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(one, range(24))) == 6
    assert queue.budget(tenant).reserved_usd == 9


# --- reading ----------------------------------------------------------------------------------------------------------


def test_stats_tell_depth_waits_and_failures(queue: GenerationQueue, database: PostgresClient, tenant: UUID) -> None:
    other = add_tenant(database, "enterprise")
    submit(queue, tenant, 5)
    submit(queue, other, 2)
    run(
        database,
        "UPDATE generation_jobs SET run_after = run_after - interval '1 minute' WHERE tenant_id = %s",
        [tenant],
    )
    claimed = [item for item in queue.claim(5, "w") if item.tenant_id == tenant][:2]
    queue.fail(claimed[0], FailureCategory.content_policy, "no")
    finish_all(queue, claimed[1:2])
    stats = queue.stats(tenant)
    assert (stats.open_batches, stats.ended, stats.failures) == (
        1, {"completed": 1, "failed": 1}, {"content_policy": 1},
    )  # fmt: skip
    everybody = queue.stats()
    assert (everybody.queued + everybody.running, everybody.open_batches) == (5, 2)
    assert queue.stats(other).oldest_wait_seconds < 30
    assert everybody.as_metadata()["failures_last_hour"] == {"content_policy": 1}


def test_progress_of_items_batches_and_strangers(queue: GenerationQueue, tenant: UUID) -> None:
    made = submit(queue, tenant, 4)
    finish_all(queue, queue.claim(1, "w"))
    seen = queue.job_progress(str(made.batch_id))
    assert (seen["status"], seen["percentage"], seen["succeeded"], seen["target_count"]) == ("running", 25, 1, 4)
    for stranger in ("nope", str(uuid4()), "", "x\0y"):
        assert queue.job_progress(stranger)["error"] == "not_found"


def test_counters_that_somebody_upset_are_counted_anew(
    queue: GenerationQueue, database: PostgresClient, tenant: UUID
) -> None:
    made = submit(queue, tenant, 4)
    run(database, "DELETE FROM generation_jobs WHERE id LIKE '%%.00003'", [])
    run(database, "UPDATE content_generation_jobs SET target_count = 3")
    assert queue.hold(queue.claim(1, "w")[0], "x")
    run(database, "UPDATE generation_queues SET queued = 0, running = 3, storing = 0, open = false")
    run(database, "UPDATE generation_lanes SET open = false")
    assert queue.claim(9, "w") == []
    assert queue.recount(made.batch_id)
    assert not queue.recount(made.batch_id)
    assert len(queue.claim(9, "w")) == 2
    run(database, "UPDATE generation_jobs SET status = 'storing' WHERE status = 'running'")
    assert queue.recount(made.batch_id), "open for what is storing alone"
    with pytest.raises(UnknownBatch):
        queue.recount(uuid4())
