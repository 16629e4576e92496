"""Workers that are stopped past their lease and killed, and a server that dies: every item still ends exactly once.

On a PostgreSQL of this module's own, which waits for the disk. `SOAK=1` runs 10,000 items; `CHAOS_SEED` repeats
what is chosen.
"""

import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import psycopg
import pytest

from content_orchestration.core.errors import Transient
from content_orchestration.core.generation.model import BatchStatus, NewBatch, Phase
from content_orchestration.core.generation.queue import GenerationQueue
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.schema.postgres import upgrade
from content_orchestration.local.platform_tables import create_platform_tables
from content_orchestration.local.postgres import connect
from content_orchestration.local.stack import LocalStack
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.settings import PROJECT_ROOT
from content_orchestration_tests.conftest import scratch_settings
from content_orchestration_tests.generation_books import assert_generation_books, new_queue, requests, row_of, submit
from content_orchestration_tests.generation_process import BYTES, COST, WITNESS
from content_orchestration_tests.quota_books import add_tenant, run
from content_orchestration_tests.quota_books import assert_books_add_up as assert_quota_books

SOAK = bool(os.environ.get("SOAK"))
# Items, batches, workers, and how many workers are stopped, killed, and how often the server dies.
ITEMS, BATCHES, WORKERS, STOPS, KILLS, RESTARTS = (10_000, 20, 8, 60, 120, 10) if SOAK else (400, 5, 5, 3, 5, 1)
LEASE, WORK = 1.0, 0.06
# The bounds of a lease of 30 s, scaled to this one.
TAKEN_OVER = 45 / 30 * LEASE


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """PostgreSQL alone: the other tiers are configured elsewhere, and nothing connects to them."""
    settings = scratch_settings(
        tmp_path_factory.mktemp("chaos") / "state",
        API_BASE_URL="http://127.0.0.1:1/api/v1",
        BIGQUERY_ENDPOINT="http://127.0.0.1:1",
    )
    running = LocalStack(settings, say=lambda line: None)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def url(own_server: LocalStack) -> str:
    own_server.start()
    port = own_server.settings.local_postgres_port
    name = f"chaos_{uuid4().hex}"
    with connect(port) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")  # type: ignore[arg-type]
    made = f"postgresql://postgres@127.0.0.1:{port}/{name}"
    with psycopg.connect(made) as connection:
        create_platform_tables(connection)
    with PostgresClient(made) as database:
        upgrade(database)
    return made


@pytest.fixture
def database(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresClient]:
    monkeypatch.setattr("content_orchestration.resources.postgres_client._CONNECT_SECONDS", 1.0)
    with PostgresClient(url, statement_timeout=30.0) as client:
        run(client, WITNESS)
        yield client


class Workers:
    """Worker processes, by pid."""

    def __init__(self, url: str, seed: int, work: float = WORK, failing: float = 0.07) -> None:
        given = json.dumps({"url": url, "lease": LEASE, "seed": seed, "work": work, "failing": failing})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "content_orchestration_tests.generation_process", given],
            cwd=PROJECT_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.alive: list[int] = []
        self.names: dict[int, str] = {}

    def fork(self, count: int) -> list[int]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        made = [int(pid) for pid in self._process.stdout.readline().split()]
        assert len(made) == count
        self.alive += made
        # As the process counts them.
        self.names |= {pid: f"worker-{number}" for number, pid in enumerate(made, len(self.names))}
        return made

    def send(self, pid: int, number: signal.Signals) -> None:
        """To a worker of ours only: a pid that has ended may be somebody else's by now."""
        assert psutil.Process(pid).ppid() == self._process.pid
        os.kill(pid, number)
        if number is signal.SIGKILL:
            self.alive.remove(pid)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            assert self._process.wait(60) == 0
        finally:
            self._process.kill()
            self._process.stdout.close()


def crash_server(stack: LocalStack) -> None:
    """The postmaster ends at once, with all its processes; then it recovers from its log."""
    with connect(stack.settings.local_postgres_port) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
    assert row is not None
    pid = int((Path(row[0]) / "postmaster.pid").read_text(encoding="utf-8").split()[0])
    postmaster = psutil.Process(pid)
    os.kill(pid, signal.SIGQUIT)
    psutil.wait_procs([postmaster], timeout=30)
    stack.start()


def look(database: PostgresClient, query: str) -> list[dict[str, Any]]:
    """Whatever the server goes through."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return run(database, query)
        except Transient:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def at_work(database: PostgresClient, workers: Workers, running: list[int]) -> list[int]:
    """Those of the running that hold an item: only their death leaves one behind. All of them where none does."""
    for _ in range(100):
        rows = look(database, "SELECT DISTINCT worker FROM generation_jobs WHERE status = 'running'")
        names = {row["worker"] for row in rows}
        if found := [pid for pid in running if workers.names[pid] in names]:
            return found
        time.sleep(0.02)
    return running


def until_done(database: PostgresClient, queue: GenerationQueue, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while look(database, "SELECT id FROM generation_jobs WHERE completed_at IS NULL LIMIT 1"):
        assert time.monotonic() < deadline, queue.stats()
        time.sleep(0.05)


@pytest.mark.timeout(3600)
def test_every_item_ends_exactly_once(database: PostgresClient, url: str, own_server: LocalStack) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or secrets.randbits(32))
    print(f"\nCHAOS_SEED={seed}, {ITEMS} items, {WORKERS} workers")  # noqa: T201
    dice = random.Random(seed)
    queue = new_queue(database)
    tenants = [add_tenant(database, "enterprise") for _ in range(2)]
    made = [submit(queue, tenants[number % 2], ITEMS // BATCHES) for number in range(BATCHES)]
    assert sum(one.items for one in made) == ITEMS
    faults = ["stop"] * STOPS + ["kill"] * KILLS + ["crash"] * RESTARTS
    dice.shuffle(faults)
    stopped: list[tuple[float, int]] = []
    storing = 0
    with Workers(url, seed) as workers:
        workers.fork(WORKERS)
        for fault in faults:
            time.sleep(dice.uniform(0.1, 0.4))
            for since, pid in list(stopped):
                if time.monotonic() > since + 1.5 * LEASE:
                    workers.send(pid, signal.SIGCONT)
                    stopped.remove((since, pid))
            running = [pid for pid in workers.alive if pid not in {one for _, one in stopped}]
            if fault == "crash":
                crash_server(own_server)
            elif fault == "kill":
                workers.send(dice.choice(at_work(database, workers, running)), signal.SIGKILL)
                workers.fork(1)
            elif len(running) > 2:
                pid = dice.choice(running)
                workers.send(pid, signal.SIGSTOP)
                stopped.append((time.monotonic(), pid))
            most = look(
                database,
                "SELECT count(*) FILTER (WHERE status = 'running') AS running, "
                "count(*) FILTER (WHERE status = 'storing') AS storing FROM generation_jobs GROUP BY batch_id",
            )
            assert all(row["running"] <= 10 and row["storing"] <= 59 for row in most)
            storing += sum(row["storing"] for row in most)
        # The zombies wake when all is taken over, and try to write.
        time.sleep(max(0.0, max((since for since, _ in stopped), default=0.0) + 1.5 * LEASE - time.monotonic()))
        for _, pid in stopped:
            workers.send(pid, signal.SIGCONT)
        until_done(database, queue, 120 + ITEMS / 10)

    queue.reap()
    assert run(database, "SELECT * FROM stale_writes") == []
    ended = run(database, "SELECT item, count(*) AS times FROM ends GROUP BY item")
    assert len(ended) == ITEMS
    assert {row["times"] for row in ended} == {1}
    (jobs,) = run(
        database,
        "SELECT count(*) FILTER (WHERE status = 'completed') AS completed, max(attempts) AS most, "
        "count(*) FILTER (WHERE attempts > 1) AS again "
        "FROM generation_jobs",
    )
    print(jobs)  # noqa: T201
    assert jobs["most"] <= 3
    (calls,) = run(
        database,
        "SELECT count(*) FILTER (WHERE reported) AS reported, count(*) FILTER (WHERE NOT reported) AS silent, "
        "count(*) FILTER (WHERE NOT reported AND outcome = 'crash') AS reaped, sum(cost_usd) AS cost "
        "FROM generation_attempts",
    )
    print(calls)  # noqa: T201
    # The run proves something only where workers died over their items, and some were held as storing.
    assert storing > 0
    assert calls["reaped"] > 0
    assert calls["cost"] == calls["reported"] * COST
    assert calls["reported"] >= jobs["completed"]
    assert [queue.finish_batch(one.batch_id) for one in made] == [BatchStatus.completed] * BATCHES
    assert_generation_books(database)
    assert_quota_books(database)
    (quota,) = run(
        database,
        "SELECT sum(used_bytes) AS used, sum(u.reserved_bytes) AS reserved, sum(content_items) AS items "
        "FROM content_quota_usage u",
    )
    assert (quota["used"], quota["reserved"], quota["items"]) == (jobs["completed"] * BYTES, 0, jobs["completed"])
    (month,) = run(
        database, "SELECT sum(used_items) AS used, sum(reserved_items) AS reserved FROM quota_generation_usage"
    )
    assert (month["used"], month["reserved"]) == (jobs["completed"], 0)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_what_a_dead_worker_held_runs_elsewhere_in_time(
    database: PostgresClient, url: str, how: signal.Signals
) -> None:
    """45 s with a lease of 30 s; here the same with a lease of one, and the machine's own slowness on top."""
    queue = new_queue(database)
    tenant = add_tenant(database, "enterprise")
    with Workers(url, 1, work=0.0, failing=0.0) as workers:
        workers.fork(2)
        # Sure of the living one: it has worked an item.
        submit(queue, tenant, 20)
        until_done(database, queue, 60)
        queue.submit(NewBatch(tenant, priority=1), requests(1), "slow")
        until_done(database, queue, 60)
        holder = GenerationQueue(database, QuotaLedger(database), lease=timedelta(seconds=LEASE))
        with holder.heartbeat("victim") as beat:
            item = None
            while item is None:
                made = submit(queue, tenant, 1)
                for claimed in holder.claim(1, "victim", batch_id=made.batch_id):
                    item = claimed
                    beat.add(item)
            time.sleep(2 * LEASE)
            assert row_of(database, item.id)["worker"] == "victim", "a heartbeat keeps it"
        # From here on nobody beats for it: to the others that is a kill as well as a stop.
        died = time.monotonic()
        with suppress(psutil.NoSuchProcess):
            workers.send(workers.alive[0], how)
        until_done(database, queue, 30)
        elapsed = time.monotonic() - died
        print(f"{elapsed:.2f} s with a lease of {LEASE} s")  # noqa: T201
        assert elapsed < TAKEN_OVER + 5
        row = row_of(database, item.id)
        assert (row["status"], row["attempts"]) == ("completed", 2)
        assert not holder.progress(item, Phase.writing, 1, "x")
        if how is signal.SIGSTOP:
            workers.send(workers.alive[0], signal.SIGCONT)
