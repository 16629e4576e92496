"""Whatever is killed, and wherever: each item ends once, its content is there once, and the books are true."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from content_orchestration.core.generation.model import BatchStatus
from content_orchestration_tests.generation_work_process import LEASE_SECONDS, WorkProcesses
from content_orchestration_tests.generation_world import World, soon
from content_orchestration_tests.tiers import Tiers

SOAK = os.environ.get("SOAK") == "1"
ITEMS = 60 if SOAK else 24
FAILPOINTS = [
    "generation_claimed", "generation_attempt_begun", "generation_attempt_ended", "generation_replied",
    "generation_held:12", "content_documents_put", "generation_completed", "content_admitted", "content_rows_written",
    "content_committed",
]  # fmt: skip


@pytest.fixture(scope="module")
def processes() -> Iterator[WorkProcesses]:
    with WorkProcesses() as started:
        yield started


@pytest.fixture
def world(tiers: Tiers) -> World:
    return World(tiers, lease=LEASE_SECONDS)


def finish(world: World, batch: object) -> None:
    """What the sensors do: reap what the dead held, and another run."""
    soon(lambda: world.run("SELECT count(*) AS n FROM generation_jobs WHERE lease_expires_at > now()")[0]["n"] == 0)
    world.queue.reap()
    report = world.worked(batch, chain=world.template)  # type: ignore[arg-type]
    assert report.status == BatchStatus.completed


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_a_kill_between_any_two_steps_neither_doubles_nor_loses_an_item(
    world: World, processes: WorkProcesses, failpoint: str
) -> None:
    batch = world.submit([f"t {n}" for n in range(ITEMS)])
    outcome = processes.work(world.tiers, batch, failpoint=failpoint)
    assert outcome.status == -signal.SIGKILL, f"{failpoint} is never reached: {outcome.said}"
    finish(world, batch)
    assert world.statuses(batch) == {"completed": ITEMS}
    assert max(item["attempts"] for item in world.items(batch)) <= 2
    world.require_whole(batch)


def test_kills_at_random_moments(world: World, processes: WorkProcesses) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201  (for whoever has to repeat it)
    chance = random.Random(seed)
    batch = world.submit([f"t {n}" for n in range(8 * ITEMS)])
    killed = 0
    for _ in range(20 if SOAK else 2):
        outcome = processes.work(world.tiers, batch, kill_after=chance.uniform(0.1, 0.6))
        killed += outcome.status == -signal.SIGKILL
        soon(lambda: world.run("SELECT count(*) AS n FROM generation_jobs WHERE lease_expires_at > now()")[0]["n"] == 0)
        world.queue.reap()
    assert killed
    finish(world, batch)
    counted = world.statuses(batch)
    # An item that three processes died with is failed by the queue: that is what max_attempts is for.
    assert counted["completed"] + counted["failed"] == 8 * ITEMS
    assert max(item["attempts"] for item in world.items(batch)) <= 3
    world.require_whole(batch)


def test_two_runs_of_one_batch_share_it_and_its_cap(tiers: Tiers) -> None:
    # With the lease of production: on a busy machine a short one may expire, and then a second call is right.
    world = World(tiers)
    batch = world.submit([f"t {n}" for n in range(8 * ITEMS)])
    most: list[tuple[int, int]] = []
    reports: list[object] = []
    threads = [
        threading.Thread(target=lambda: reports.append(world.worked(batch)), daemon=True, name=f"run {n}")
        for n in range(2)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        counted = world.statuses(batch)
        most.append((counted["running"], counted["storing"]))
    assert max(running for running, _ in most) <= 10
    assert max(storing for _, storing in most) <= 59
    assert len(reports) == 2
    assert sum(report.completed_here for report in reports) == 8 * ITEMS  # type: ignore[attr-defined]
    assert set(world.told.calls.values()) == {1}
    world.require_whole(batch)


def test_cancellations_at_random_moments_settle_the_books_once(world: World) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201  (for whoever has to repeat it)
    chance = random.Random(seed)
    ended: Counter[str] = Counter()
    for _ in range(20 if SOAK else 4):
        batch = world.submit([f"t {n}" for n in range(ITEMS)])
        timer = threading.Timer(chance.uniform(0.0, 1.0), world.queue.cancel_batch, [world.tenant, batch])
        timer.start()
        began = time.monotonic()
        report = world.worked(batch)
        timer.join()
        assert time.monotonic() - began < 15
        assert report.status in (BatchStatus.cancelled, BatchStatus.completed)
        ended.update(world.statuses(batch))
        found = world.queue.batch(batch)
        assert found is not None
        assert (found.queued_count, found.running_count, found.storing_count) == (0, 0, 0)
        assert world.queue.budget(world.tenant).reserved_usd == 0
    rows = world.run("SELECT content_id FROM generation_jobs WHERE status = 'completed'")
    content = world.run("SELECT id FROM content_storage_metadata")
    assert {row["content_id"] for row in rows} == {row["id"] for row in content}
    usage = world.ledger.usage(world.tenant)
    assert (usage.reserved_bytes, usage.generated_reserved) == (0, 0)
    assert usage.generated_items == ended["completed"]


def test_a_signal_to_the_process_ends_it_with_everything_given_back(world: World, processes: WorkProcesses) -> None:
    batch = world.submit([f"t {n}" for n in range(20 * ITEMS)])
    outcome = processes.work(world.tiers, batch, interrupt=True)
    assert outcome.said.startswith("KeyboardInterrupt")
    counted = world.statuses(batch)
    assert set(counted) == {"queued", "completed"}
    assert {item["attempts"] for item in world.items(batch) if item["status"] == "queued"} == {0}
