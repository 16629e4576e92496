"""Many claimers at once: ten of a batch and never more, nobody's turn lost, no deadlock, a claim whatever is queued.

`SOAK=1` runs the full counts: 100,000 samples of what runs, and 100,000 items queued before the one that must not wait.
"""

import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from content_orchestration.core.generation.model import Claimed, FailureCategory
from content_orchestration.core.generation.queue import GenerationQueue
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.settings import Settings
from content_orchestration_tests.generation_books import (
    TABLES,
    assert_generation_books,
    done,
    expire_leases,
    finish_all,
    new_queue,
    submit,
)
from content_orchestration_tests.quota_books import add_tenant, database_of_its_own, run

SOAK = bool(os.environ.get("SOAK"))
CLAIMERS = 64
SAMPLES = 100_000 if SOAK else 1_000
QUEUED_BEFORE = 100_000 if SOAK else 20_000


@pytest.fixture(scope="module")
def url(_server: psycopg.Connection[Any], settings: Settings, _migrated_template: str) -> Iterator[str]:
    with database_of_its_own(_server, settings.local_postgres_port, _migrated_template) as made:
        yield made


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[PostgresClient]:
    with PostgresClient(url, pool_size=70, statement_timeout=60.0) as opened:
        yield opened


@pytest.fixture
def database(client: PostgresClient) -> Iterator[PostgresClient]:
    run(client, "; ".join(f"DELETE FROM {table}" for table in TABLES))
    yield client
    assert_generation_books(client)


@pytest.fixture
def queue(database: PostgresClient) -> GenerationQueue:
    return new_queue(database)


FILL = (
    """INSERT INTO content_generation_jobs (id, tenant_id, job_type, content_type, target_count)
       SELECT gen_random_uuid(), %(tenant)s::uuid, 'batch', 'post', %(items)s FROM generate_series(1, %(batches)s)""",
    """INSERT INTO generation_queues (id, tenant_id, batch_id, queued)
       SELECT id, tenant_id, id, target_count FROM content_generation_jobs b
       WHERE tenant_id = %(tenant)s::uuid AND NOT EXISTS (SELECT FROM generation_queues q WHERE q.id = b.id)""",
    """INSERT INTO generation_jobs (id, batch_id, queue_id, tenant_id)
       SELECT b.id || '.' || n, b.id, b.id, b.tenant_id
       FROM content_generation_jobs b, generate_series(1, %(items)s) n
       WHERE b.tenant_id = %(tenant)s::uuid AND NOT EXISTS (SELECT FROM generation_jobs j WHERE j.batch_id = b.id)""",
    """INSERT INTO generation_lanes (tenant_id) VALUES (%(tenant)s::uuid)
       ON CONFLICT (tenant_id) DO UPDATE SET open = true""",
)


def fill(database: PostgresClient, tenant: UUID, batches: int, items: int) -> None:
    """Batches as submit makes them, by one statement a table: what is tested is what they do to claims."""
    values = {"tenant": str(tenant), "items": items, "batches": batches}
    for statement in FILL:
        run(database, statement, values)


# In the server, each with a snapshot of its own: between 64 threads a client gets its turn too seldom.
SAMPLE = """CREATE FUNCTION samples(
    p_count integer, OUT seen integer, OUT most_running integer, OUT most_storing integer, OUT full_ones integer,
    OUT many_storing integer)
LANGUAGE plpgsql AS $$
DECLARE
    now_running integer;
    now_storing integer;
BEGIN
    seen := 0; most_running := 0; most_storing := 0; full_ones := 0; many_storing := 0;
    FOR number IN 1 .. p_count LOOP
        SELECT max(b.running), max(b.storing) INTO now_running, now_storing
        FROM (SELECT count(*) FILTER (WHERE status = 'running') AS running,
                     count(*) FILTER (WHERE status = 'storing') AS storing
              FROM generation_jobs WHERE status IN ('running', 'storing') GROUP BY batch_id) AS b;
        seen := seen + (now_running IS NOT NULL)::integer;
        most_running := greatest(most_running, now_running);
        most_storing := greatest(most_storing, now_storing);
        full_ones := full_ones + coalesce(now_running = 10, false)::integer;
        many_storing := many_storing + coalesce(now_storing > 10, false)::integer;
        PERFORM pg_sleep(0.001);
    END LOOP;
END
$$"""
AT_ONCE = 250


def test_ten_of_a_batch_and_never_more(queue: GenerationQueue, database: PostgresClient, url: str) -> None:
    """64 claimers on three batches, one of them asked for by name; the table itself is asked what runs."""
    tenants = [add_tenant(database, "enterprise") for _ in range(2)]
    named: list[UUID] = []

    def fill_up() -> None:
        """More batches before the others run out, so that every sample sees work."""
        if run(database, "SELECT coalesce(sum(queued), 0) AS queued FROM generation_queues")[0]["queued"] < 6_000:
            for tenant, batches in zip(tenants, (2, 1), strict=True):
                fill(database, tenant, batches, 5_000)
            newest = run(database, "SELECT id FROM generation_queues WHERE open ORDER BY created_at DESC LIMIT 1")
            named[:] = [newest[0]["id"]]

    fill_up()
    # For the samples alone, of which thousands would read all that is queued.
    run(database, "CREATE INDEX samples ON generation_jobs (batch_id) WHERE status IN ('running', 'storing')")
    run(database, SAMPLE)
    ended = threading.Event()

    def claim(number: int) -> int:
        worked = 0
        storing: list[Claimed] = []
        while not ended.is_set():
            claimed = queue.claim(1 + number % 10, f"w{number}", batch_id=named[0] if number % 3 == 0 else None)
            worked += len(claimed)
            if number % 4 == 1:
                storing += [item for item in claimed if queue.hold(item, "x")]
                if len(storing) > 8 or not claimed:
                    finish_all(queue, storing)
                    storing = []
                continue
            for item in claimed[1:2]:
                queue.fail(item, FailureCategory.provider, "x") if number % 2 else queue.release(item)
            finish_all(queue, claimed[:1] + claimed[2:])
            if not claimed:
                time.sleep(0.002)
        return worked

    with ThreadPoolExecutor(CLAIMERS) as pool, psycopg.connect(url, autocommit=True) as connection:
        working = [pool.submit(claim, number) for number in range(CLAIMERS)]
        seen, running, storing, full, many = 0, 0, 0, 0, 0
        try:
            for number in range(SAMPLES // AT_ONCE):
                fill_up()
                # What autovacuum would do, which is off here: the index of the samples fills with dead entries.
                connection.execute("VACUUM generation_jobs, generation_queues")
                found = connection.execute("SELECT * FROM samples(%s)", [AT_ONCE]).fetchone()
                assert found is not None
                seen, full, many = seen + found[0], full + found[3], many + found[4]
                running, storing = max(running, found[1]), max(storing, found[2])
                if number % 40 == 0:
                    print(f"{number * AT_ONCE} samples, at most {running} run and {storing} are stored")  # noqa: T201
        finally:
            ended.set()
        worked = sum(one.result(60) for one in working)
    run(database, "DROP INDEX samples")
    run(database, "DROP FUNCTION samples")
    print(f"{worked} claims; of {SAMPLES} samples {seen} saw work, full: {full}, ten storing: {many}")  # noqa: T201
    assert running == 10
    assert storing <= 59
    assert seen == SAMPLES
    assert full > SAMPLES / 20, "the cap was hardly ever met: the run proves nothing"
    assert many > SAMPLES / 20, "hardly ever were more than ten storing: the run proves nothing"


def test_a_tenant_with_one_job_does_not_wait_behind_a_tenant_with_many(
    queue: GenerationQueue, database: PostgresClient
) -> None:
    many, one = add_tenant(database, "enterprise"), add_tenant(database, "enterprise")
    fill(database, many, QUEUED_BEFORE // 5_000, 5_000)
    ended, begun = threading.Event(), threading.Event()
    at = [0.0]

    def work(number: int) -> None:
        while not ended.is_set():
            claimed = queue.claim(5, f"w{number}")
            if any(item.tenant_id == one for item in claimed):
                at[0] = time.monotonic()
                begun.set()
            finish_all(queue, claimed)

    with ThreadPoolExecutor(4) as pool:
        working = [pool.submit(work, number) for number in range(4)]
        try:
            time.sleep(0.5)
            for _ in range(5):
                begun.clear()
                submitted = time.monotonic()
                submit(queue, one, 1)
                assert begun.wait(30)
                waited = at[0] - submitted
                print(f"started {waited * 1000:.0f} ms after submit began, behind {QUEUED_BEFORE}")  # noqa: T201
                assert waited < (1 if SOAK else 5), "1 s where nothing else runs"
        finally:
            ended.set()
        for each in working:
            each.result(30)


def test_a_claim_reads_as_much_whatever_is_queued(database: PostgresClient, queue: GenerationQueue) -> None:
    """In buffers, which do not depend on the machine: ten items of 20,000 cost what ten of 1,000 do."""
    touched = {}
    for size in (1_000, QUEUED_BEFORE):
        run(database, "; ".join(f"DELETE FROM {table}" for table in TABLES))
        # A batch for the first claim, which plans and is not counted, and one for the second.
        fill(database, add_tenant(database, "enterprise"), max(2, size // 5_000), min(size // 2, 5_000))
        with database.connection() as connection:
            connection.autocommit = True
            connection.execute("VACUUM (ANALYZE) generation_jobs, generation_queues, generation_lanes")
            connection.autocommit = False
        queue.claim(10, "warm")
        with database.connection() as connection:
            rows = connection.execute(
                "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM generation_claim(10, 'w', '30 s', NULL)"
            ).fetchone()
            assert rows is not None
            plan = rows["QUERY PLAN"][0]["Plan"]
            assert plan["Actual Rows"] == 10
            touched[size] = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    print(touched)  # noqa: T201
    small, large = touched.values()
    # Larger trees have a level more; a scan or a sort would touch hundreds of pages more.
    assert large <= 1.5 * small, touched


def test_transitions_at_once_never_wait_for_each_other_in_a_circle(
    queue: GenerationQueue, database: PostgresClient
) -> None:
    """Every kind of write on the same items by 16 threads; a deadlock would be raised in one of them."""
    tenant = add_tenant(database, "enterprise")
    made = [submit(queue, tenant, 60) for _ in range(3)]
    ended = threading.Event()

    def work(number: int) -> None:
        turn = number
        while not ended.is_set():
            turn += 1
            claimed = queue.claim(10, f"w{number}")
            queue.renew(claimed)
            for item in claimed[:2]:
                attempt = queue.begin_attempt(item, "template", "m")
                if attempt is not None:
                    queue.end_attempt(attempt, outcome="succeeded")
            queue.renew(claimed[::-1])
            mixed = sorted(claimed, key=lambda item: item.id, reverse=bool(turn % 2))
            for item in mixed[::2]:
                queue.hold(item, "x")
            with database.connection() as connection:
                queue.complete_in(connection, [done(item) for item in mixed[: turn % 4]])
            for item in mixed[turn % 4 :]:
                queue.release(item) if turn % 3 else queue.fail(item, FailureCategory.timeout, "x")
            queue.reap()
            if not claimed and not queue.stats().queued:
                return

    def cancel() -> None:
        for number in range(60):
            queue.cancel_item(tenant, f"{made[0].batch_id}.000{number:02d}")
        queue.cancel_batch(tenant, made[1].batch_id)

    with ThreadPoolExecutor(17) as pool:
        working = [pool.submit(work, number) for number in range(16)]
        working.append(pool.submit(cancel))
        try:
            for one in working:
                one.result(60)
        finally:
            ended.set()
    assert run(database, "SELECT id FROM generation_jobs WHERE completed_at IS NULL") == []
    for one_batch in made:
        assert queue.finish_batch(one_batch.batch_id) is not None


def test_whoever_takes_several_queues_takes_them_in_the_order_of_their_ids(
    queue: GenerationQueue, database: PostgresClient
) -> None:
    """SKIP LOCKED waits at times, once in 150,000 claims. Here it always does, and a wrong order is soon a deadlock."""
    tenants = [add_tenant(database, "enterprise") for _ in range(3)]
    for tenant in tenants:
        fill(database, tenant, 3, 2_000)
    names = ("generation_claim", "generation_reap")
    before = [run(database, f"SELECT pg_get_functiondef('{name}'::regproc) AS text")[0]["text"] for name in names]
    ended = threading.Event()

    def work(number: int) -> int:
        dice, spans = random.Random(number), 0
        for _ in range(40):
            if ended.is_set():
                break
            # Odd counts leave the queues partly full, so that the next claim goes over several.
            claimed = queue.claim(dice.choice([7, 13, 25]), f"w{number}")
            spans += len({item.batch_id for item in claimed}) > 1
            for item in claimed[: len(claimed) // 3]:
                queue.release(item)
            queue.renew(claimed[::-1])
            if claimed:
                expire_leases(database, claimed[-1].id)
            queue.reap()
            finish_all(queue, claimed[len(claimed) // 3 : -1])
        return spans

    try:
        for text in before:
            assert " SKIP LOCKED" in text
            run(database, text.replace(" SKIP LOCKED", ""))
        with ThreadPoolExecutor(8) as pool:
            working = [pool.submit(work, number) for number in range(8)]
            try:
                spans = sum(one.result(60) for one in working)
            finally:
                ended.set()
    finally:
        for text in before:
            run(database, text)
    assert spans > 20, "hardly a claim went over several queues: the run proves nothing"


def test_a_heartbeat_keeps_what_is_held_and_tells_what_is_lost(database: PostgresClient) -> None:
    queue = GenerationQueue(database, QuotaLedger(database), lease=timedelta(seconds=0.9))
    tenant = add_tenant(database, "enterprise")
    made = submit(queue, tenant, 4)
    run(database, "UPDATE quota_reservations SET expires_at = clock_timestamp() + interval '5 minutes'")
    with queue.heartbeat("w") as beat:
        held = queue.claim(3, "w")
        beat.add(held)
        silent = queue.claim(1, "dead")[0]
        finish_all(queue, held[:1])
        beat.discard(held[0])
        queue.cancel_item(tenant, held[1].id)
        assert queue.hold(held[2], "waits to be stored")
        until = time.monotonic() + 30
        while held[1].id not in beat.lost or beat.beats < 6:
            assert time.monotonic() < until
            assert beat.error is None
            time.sleep(0.02)
        assert beat.lost == {held[1].id}
        # It reaps for the dead as well, and keeps the living one far beyond its first lease.
        assert {item.id for item in queue.claim(9, "other")} == {silent.id}
        assert queue.renew([held[2]]) == set()
    (held_on,) = run(
        database, "SELECT expires_at > clock_timestamp() + interval '20 hours' AS lives FROM quota_reservations"
    )
    assert held_on["lives"], "the batch's reservation lives on"
    assert made.items == 4


def test_a_heartbeat_waits_an_outage_out_and_shows_what_is_wrong(database: PostgresClient, url: str) -> None:
    queue = GenerationQueue(database, QuotaLedger(database), lease=timedelta(seconds=0.6))
    submit(queue, add_tenant(database, "enterprise"), 1)
    with PostgresClient(url, pool_size=4, application_name="beaten") as beaten:
        own = GenerationQueue(beaten, QuotaLedger(beaten), lease=timedelta(seconds=0.6))
        with own.heartbeat("w", reap=False) as beat:
            (item,) = own.claim(1, "w")
            beat.add(item)
            until = time.monotonic() + 30
            while beat.beats < 2:
                assert time.monotonic() < until
                time.sleep(0.02)
            end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'beaten'"
            # Again and again: the next beat that comes through forgets the outage, which a busy machine could miss.
            while beat.unreachable is None:
                assert time.monotonic() < until
                run(database, end)
                time.sleep(0.005)
            before = beat.beats
            while beat.beats < before + 2:
                assert time.monotonic() < until
                time.sleep(0.02)
            assert beat.unreachable is None
            assert beat.error is None
        with own.heartbeat("w") as broken:
            broken.add(item)
            run(database, "ALTER FUNCTION generation_reap(integer) RENAME TO gone")
            try:
                while broken.error is None:
                    assert time.monotonic() < until
                    time.sleep(0.02)
            finally:
                run(database, "ALTER FUNCTION gone(integer) RENAME TO generation_reap")
            assert isinstance(broken.error, psycopg.errors.UndefinedFunction)


def test_an_item_that_is_claimed_anew_is_held_again(database: PostgresClient, queue: GenerationQueue) -> None:
    submit(queue, add_tenant(database, "enterprise"), 1)
    beat = queue.heartbeat("w")
    (first,) = queue.claim(1, "w")
    beat.add(first)
    queue.release(first)
    with database.connection() as connection:
        beat._beat(connection)
    assert beat.lost == {first.id}
    (second,) = queue.claim(1, "w")
    beat.add([second])
    assert beat.lost == set()
    beat.discard(first)
    assert beat._held == {second.id: second}, "an older claim does not let go of a newer one"
    beat.discard([second])
    assert beat._held == {}
    assert uuid4() not in beat.lost
