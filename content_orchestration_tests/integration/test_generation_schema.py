"""Revision 0008 beside the queue's own path: rows in the older shape, the history, the wall between tenants, views."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from psycopg.sql import SQL, Identifier

from content_orchestration.core.errors import Permanent
from content_orchestration.core.generation.model import FailureCategory, Phase
from content_orchestration.core.generation.queue import GenerationQueue
from content_orchestration.core.generation.retention import clean_up
from content_orchestration.resources.generation import GenerationQueueResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.settings import Settings
from content_orchestration_tests.e2e.environment import environment
from content_orchestration_tests.generation_books import (
    TABLES,
    assert_generation_books,
    expire_leases,
    finish_all,
    new_queue,
    row_of,
    submit,
)
from content_orchestration_tests.quota_books import add_tenant, database_of_its_own, run

WALLED = (
    "generation_lanes", "generation_queues", "generation_jobs", "generation_attempts", "generation_budgets",
    "generation_jobs_history", "generation_attempts_history",
)  # fmt: skip
VIEWS = ("active_generation_jobs", "generation_job_stats")
LEGACY = (
    "INSERT INTO generation_jobs (id, topic_id, article_id, request_data, status, phase, percentage) VALUES "
    '(%(id)s, %(topic)s, %(article)s, \'{"topic": "old", "content_type": "article"}\', %(status)s, %(phase)s, 40)'
)


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


def add_legacy(database: PostgresClient, status: str = "pending", **given: Any) -> str:
    made = str(uuid4())
    values = {"id": made, "topic": None, "article": None, "status": status, "phase": "queued", **given}
    run(database, LEGACY, values)
    return made


# --- rows in the older shape ------------------------------------------------------------------------------------------


def test_a_row_without_a_batch_is_worked_like_any_other(queue: GenerationQueue, database: PostgresClient) -> None:
    tenant, topic, article = add_tenant(database, "enterprise"), uuid4(), uuid4()
    run(database, "INSERT INTO topics (id, tenant_id, topic_title) VALUES (%s, %s, 't')", [topic, tenant])
    run(database, "INSERT INTO articles (id, tenant_id, title) VALUES (%s, %s, 'a')", [article, tenant])
    of_topic, of_article = add_legacy(database, topic=topic), add_legacy(database, "processing", article=article)
    assert queue.job_progress(of_topic)["status"] == "queued"
    claimed = {item.id: item for item in queue.claim(9, "w")}
    assert claimed.keys() == {of_topic, of_article}
    item = claimed[of_topic]
    assert (item.batch_id, item.tenant_id, item.content_type, item.params) == (None, tenant, "article", {})
    assert item.request["topic"] == "old"
    assert queue.progress(item, Phase.writing, 50, "x")
    attempt = queue.begin_attempt(item, "template", "m")
    assert attempt is not None
    queue.end_attempt(attempt, outcome="succeeded", cost_usd=Decimal("0.5"))
    assert finish_all(queue, [item]) == [of_topic]
    assert queue.fail(claimed[of_article], FailureCategory.provider, "x") == "retried"
    assert queue.cancel_item(tenant, of_article) == 1
    assert queue.budget(tenant).spent_usd == Decimal("0.5")
    assert queue.reap().closed == 0


def test_rows_without_a_batch_are_reaped_and_capped_and_counted(
    queue: GenerationQueue, database: PostgresClient
) -> None:
    tenant, topic = add_tenant(database, "enterprise"), uuid4()
    run(database, "INSERT INTO topics (id, tenant_id, topic_title) VALUES (%s, %s, 't')", [topic, tenant])
    for _ in range(12):
        add_legacy(database, topic=topic)
    claimed = queue.claim(20, "w")
    assert len(claimed) == 10
    assert queue.hold(claimed[0], "x")
    assert len(queue.claim(20, "w")) == 1
    expire_leases(database)
    assert queue.reap().retried == 11
    assert queue.stats(tenant).queued == 12
    assert not queue.recount(tenant)


def test_a_row_whose_tenant_nobody_knows_can_still_be_claimed(queue: GenerationQueue, database: PostgresClient) -> None:
    made = add_legacy(database)
    (claimed,) = queue.claim(1, "w")
    assert (claimed.id, claimed.tenant_id) == (made, None)
    assert queue.fail(claimed, FailureCategory.invalid_request, "no tenant") == "failed"


@pytest.mark.parametrize(
    ("status", "becomes", "phase"),
    [("completed", "completed", "completed"), ("error", "failed", "error"), ("canceled", "cancelled", "error"),
     ("in_progress", "queued", "queued"), ("Pending", "queued", "queued"), ("writing", "queued", "queued")],
)  # fmt: skip
def test_the_states_of_the_older_shape(
    queue: GenerationQueue, database: PostgresClient, status: str, becomes: str, phase: str
) -> None:
    made = add_legacy(database, status)
    row = row_of(database, made)
    assert (row["status"], row["phase"], row["percentage"]) == (becomes, phase, 0 if becomes == "queued" else 40)
    assert (row["completed_at"] is None) == (becomes == "queued")
    assert len(queue.claim(1, "w")) == (becomes == "queued")


def test_a_row_that_was_there_already_is_not_counted_twice(queue: GenerationQueue, database: PostgresClient) -> None:
    made = add_legacy(database)
    values = {"id": made, "topic": None, "article": None, "status": "pending", "phase": "queued"}
    run(database, f"{LEGACY} ON CONFLICT DO NOTHING", values)
    assert queue.stats().queued == 1


# --- history ----------------------------------------------------------------------------------------------------------


def age(database: PostgresClient, days: float) -> None:
    earlier = "UPDATE generation_jobs SET completed_at = completed_at - %s WHERE completed_at IS NOT NULL"
    run(database, earlier, [timedelta(days=days)])


def test_what_ended_moves_to_the_history_and_is_dropped_by_days(
    queue: GenerationQueue, database: PostgresClient
) -> None:
    tenant = add_tenant(database, "enterprise")
    closed, open_one = submit(queue, tenant, 7), submit(queue, tenant, 2)
    claimed = queue.claim(7, "w", batch_id=closed.batch_id)
    attempts = [queue.begin_attempt(item, "template", "m") for item in claimed]
    finish_all(queue, claimed)
    finish_all(queue, queue.claim(1, "w", batch_id=open_one.batch_id))
    age(database, 0.9)
    assert queue.cleanup().moved_jobs == 0, "nothing is older than 24 hours"
    age(database, 1)
    assert queue.cleanup().moved_jobs == 0, "the books of none are closed"
    queue.finish_batch(closed.batch_id)
    assert queue.cleanup().as_metadata() == {"moved_jobs": 7, "moved_attempts": 7, "dropped_partitions": 0}
    assert queue.cleanup().moved_jobs == 0
    assert [row["id"] for row in run(database, "SELECT id FROM generation_jobs WHERE completed_at IS NOT NULL")] == [
        f"{open_one.batch_id}.00000"
    ]
    in_default = "SELECT id FROM ONLY generation_jobs_history_default"
    assert run(database, in_default) == [], "each day has a partition"
    # Pollers still find it, and a call that ends as late as this is still paid.
    assert queue.job_progress(claimed[0].id)["status"] == "completed"
    assert attempts[0] is not None
    queue.end_attempt(attempts[0], outcome="succeeded", cost_usd=Decimal("0.25"))
    queue.end_attempt(attempts[0], outcome="succeeded", cost_usd=Decimal("0.25"))
    assert queue.job_progress(claimed[0].id)["cost"] == 0.25
    assert queue.budget(tenant).spent_usd == Decimal("0.25")
    assert not queue.recount(closed.batch_id)
    assert_generation_books(database)
    # Nobody waits ninety days: the same rows lie in a partition that is ninety days older.
    kept = GenerationQueue(database, queue._ledger, history_days=90)
    assert kept.cleanup().dropped_partitions == 0
    soon = GenerationQueue(database, queue._ledger, history_days=2)
    run(database, "SELECT prepare_generation_history((now() - interval '3 days')::date)")
    assert soon.cleanup().dropped_partitions == 2
    with pytest.raises(Permanent, match="history_days is 1"):
        GenerationQueue(database, queue._ledger, history_days=1).cleanup()
    run(database, "UPDATE generation_jobs_history SET completed_at = completed_at - interval '200 days'")
    run(database, "UPDATE generation_attempts_history SET job_completed_at = job_completed_at - interval '200 days'")
    assert len(run(database, in_default)) == 7
    run(database, "UPDATE generation_queues SET cost_usd = 0; UPDATE content_generation_jobs SET total_cost_usd = 0; "
                  "UPDATE generation_budgets SET spent_usd = 0")  # fmt: skip
    kept.cleanup()
    assert run(database, in_default) == [], "rows of a day without a partition go as well"
    run(database, "DELETE FROM generation_queues WHERE id = %s", [closed.batch_id])


def test_a_day_whose_rows_lie_in_the_default_partition_stays_there(database: PostgresClient) -> None:
    run(
        database,
        "INSERT INTO generation_jobs_history (id, queue_id, request_data, status, phase, percentage, cost, attempts, "
        "max_attempts, lease_token, run_after, priority, created_at, updated_at, completed_at) SELECT 'x', %s, '{}', "
        "'completed', 'completed', 100, 0, 1, 3, 1, now(), 0, now(), now(), timestamptz '2020-02-02 12:00Z'",
        [uuid4()],
    )
    run(database, "SELECT prepare_generation_history('2020-02-02'), prepare_generation_history('2020-02-03')")
    there = "SELECT to_regclass('generation_jobs_history_' || %s) AS found"
    assert run(database, there, ["20200202"]) == [{"found": None}]
    assert run(database, there, ["20200203"]) == [{"found": "generation_jobs_history_20200203"}]
    run(database, "DROP TABLE generation_jobs_history_20200203, generation_attempts_history_20200202, "
                  "generation_attempts_history_20200203; DELETE FROM generation_jobs_history")  # fmt: skip


def test_many_steps_move_everything(queue: GenerationQueue, database: PostgresClient) -> None:
    tenant = add_tenant(database, "enterprise")
    made = submit(queue, tenant, 25)
    queue.cancel_batch(tenant, made.batch_id)
    age(database, 2)
    assert clean_up(database, 90, step=10).moved_jobs == 25
    assert clean_up(database, 90, step=10).moved_jobs == 0


# --- the wall between tenants -----------------------------------------------------------------------------------------


def test_every_table_and_view_shows_a_tenant_its_own_rows_alone(
    queue: GenerationQueue, database: PostgresClient
) -> None:
    mine, theirs = add_tenant(database, "enterprise"), add_tenant(database, "enterprise")
    for tenant in (mine, theirs):
        made = submit(queue, tenant, 3)
        (claimed,) = queue.claim(1, "w", batch_id=made.batch_id)
        queue.begin_attempt(claimed, "template", "m")
        for table, moved in (("generation_jobs", ""), ("generation_attempts", ", now()")):
            run(database, OLD.format(table=table, moved=moved), {"queue": str(uuid4()), "tenant": tenant})
    items = {row["tenant_id"]: row["id"] for row in run(database, "SELECT DISTINCT tenant_id, id FROM generation_jobs")}
    seen: dict[str, set[UUID]] = {}
    for role in ("content_app", "content_readonly"):
        for name in (*WALLED, *VIEWS):
            if name == "generation_lanes":
                with pytest.raises(InsufficientPrivilege):
                    look(database, role, mine, name)
                continue
            for tenant, expected in ((mine, {mine}), (theirs, {theirs}), (None, set())):
                seen[name] = look(database, role, tenant, name)
                assert seen[name] == expected, f"{role} as {tenant} in {name}"
            for verb in ("UPDATE {} SET tenant_id = tenant_id", "DELETE FROM {}"):
                if name in WALLED:
                    with pytest.raises(InsufficientPrivilege):
                        act(database, role, mine, verb, name)
        for tenant, item, error in ((mine, items[mine], False), (mine, items[theirs], True), (None, items[mine], True)):
            with database.connection() as connection:
                connection.execute(ROLE, [role, str(tenant or "")])
                row = connection.execute("SELECT get_job_progress(%s) AS p", [item]).fetchone()
            assert row is not None
            assert ("error" in row["p"]) == error
    for name in WALLED:
        assert {mine, theirs} <= look(database, "content_worker", None, name), name
    run(database, "DELETE FROM generation_jobs_history; DELETE FROM generation_attempts_history")


# A row of the history, made from one that is at work.
OLD = """
INSERT INTO {table}_history
SELECT (jsonb_populate_record(t, jsonb_build_object(
    'completed_at', '2020-01-01', 'queue_id', %(queue)s::text))).*{moved}
FROM {table} t WHERE tenant_id = %(tenant)s LIMIT 1
"""
ROLE = "SELECT set_config('role', %s, true), set_config('app.tenant_id', %s, true)"


def look(database: PostgresClient, role: str, tenant: UUID | None, name: str) -> set[UUID]:
    with database.connection() as connection:
        connection.execute(ROLE, [role, str(tenant or "")])
        rows = connection.execute(SQL("SELECT DISTINCT tenant_id FROM {}").format(Identifier(name))).fetchall()
    return {row["tenant_id"] for row in rows}


def act(database: PostgresClient, role: str, tenant: UUID, verb: str, name: str) -> None:
    with database.connection() as connection:
        connection.execute(ROLE, [role, str(tenant)])
        connection.execute(SQL(verb).format(Identifier(name)))  # type: ignore[arg-type]


def test_a_tenant_may_run_nothing_of_the_queue(database: PostgresClient) -> None:
    rows = run(
        database,
        "SELECT p.oid::regprocedure::text AS name FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace "
        "AND p.proname ~ '^(generation_|prepare_generation|cleanup_old)' "
        "AND p.prorettype <> 'trigger'::regtype AND has_function_privilege('content_app', p.oid, 'EXECUTE')",
        [],
    )
    assert rows == []


def test_the_worker_role_works_the_whole_path(queue: GenerationQueue, database: PostgresClient, url: str) -> None:
    """Every function and table that a job touches, with the rights of content_worker and no more."""
    tenant = add_tenant(database, "enterprise")
    made = submit(queue, tenant, 4)
    role = "worker_" + url.rpartition("_")[2]
    run(database, f"CREATE ROLE {role} LOGIN IN ROLE content_worker")
    try:
        with PostgresClient(url.replace("postgres@", f"{role}@")) as as_worker:
            its = new_queue(as_worker)
            claimed = its.claim(4, "w")
            attempt = its.begin_attempt(claimed[0], "template", "m")
            assert attempt is not None
            its.end_attempt(attempt, outcome="succeeded", cost_usd=Decimal("0.1"))
            assert its.progress(claimed[0], Phase.writing, 10, "x")
            assert len(finish_all(its, claimed[:1])) == 1
            assert its.fail(claimed[1], FailureCategory.provider, "x") == "retried"
            assert its.release(claimed[2])
            assert its.hold(claimed[3], "x")
            assert its.renew(claimed[3:]) == set()
            expire_leases(database)
            assert its.reap().retried == 1
            assert its.stats().queued == 3
            assert submit(its, tenant, 2).items == 2
            assert its.cancel_batch(tenant, made.batch_id) == 3
    finally:
        run(database, f"DROP ROLE {role}")


# --- views and the resource -------------------------------------------------------------------------------------------


def test_the_views(queue: GenerationQueue, database: PostgresClient) -> None:
    tenant = add_tenant(database, "enterprise")
    submit(queue, tenant, 5)
    claimed = queue.claim(3, "w")
    finish_all(queue, claimed[:2])
    assert queue.hold(queue.claim(1, "w")[0], "x")
    active = run(database, "SELECT status FROM active_generation_jobs WHERE tenant_id = %s ORDER BY 1", [tenant])
    assert [row["status"] for row in active] == ["queued", "running", "storing"]
    stats = run(database, "SELECT * FROM generation_job_stats WHERE tenant_id = %s ORDER BY status", [tenant])
    assert [(row["status"], row["jobs"]) for row in stats] == [
        ("completed", 2), ("queued", 1), ("running", 1), ("storing", 1),
    ]  # fmt: skip
    assert (stats[0]["avg_word_count"], stats[0]["avg_seo_score"], stats[0]["avg_attempts"]) == (100, 60, 1)
    assert stats[0]["avg_seconds"] >= 0


def test_the_resource_reads_its_settings(url: str, database: PostgresClient) -> None:
    variables = {"DATABASE_PUBLIC_URL": url, "GENERATION_LEASE_SECONDS": "7.5", "GENERATION_HISTORY_DAYS": "5"}
    with environment(variables):
        postgres = PostgresResource()
        try:
            made = GenerationQueueResource(postgres=postgres).queue()
            assert made.lease == timedelta(seconds=7.5)
            assert made.stats().queued == 0
            assert made._history_days == 5
        finally:
            postgres.close()
