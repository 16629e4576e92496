"""PostgreSQL away for a moment or for good, a lease that is lost while a provider writes, a thread that breaks."""

import threading
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.generation import item_work, work, writer
from content_orchestration.core.generation.fallback import Link, ProviderChain
from content_orchestration.core.generation.model import BatchStatus, FailureCategory
from content_orchestration.core.generation.patience import patiently
from content_orchestration.core.generation.provider import GenerationRequest, ProviderFailure, Reply
from content_orchestration.core.generation.queue import GenerationQueue
from content_orchestration_tests.generation_world import Told, World, soon
from content_orchestration_tests.tiers import Tiers


class Faulty(GenerationQueue):
    """A queue whose methods raise what they are told, so often."""

    faults: dict[str, list[Exception]]

    def __getattribute__(self, name: str) -> Any:
        faults = object.__getattribute__(self, "__dict__").get("faults", {})
        found = object.__getattribute__(self, name)
        if name not in faults:
            return found

        def call(*values: Any, **named: Any) -> Any:
            if faults[name]:
                raise faults[name].pop()
            return found(*values, **named)

        return call


def broken(world: World, **faults: list[Exception]) -> None:
    queue = Faulty(
        world.tiers.database, world.ledger, lease=timedelta(seconds=30), retry_base=timedelta(milliseconds=20)
    )
    queue.faults = faults
    world.queue = queue


@pytest.fixture
def world(tiers: Tiers) -> World:
    return World(tiers)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (work, item_work, writer):
        monkeypatch.setattr(module, "patiently", partial(patiently, seconds=0.05))


def away(times: int) -> list[Exception]:
    return [Transient("PostgreSQL is away") for _ in range(times)]


def test_an_outage_of_a_moment_is_waited_out(world: World) -> None:
    batch = world.submit([f"t {n}" for n in range(5)] + ["fail content_policy"])
    broken(
        world, claim=away(2), finish_batch=away(2), progress=away(3), hold=away(2), begin_attempt=away(2),
        end_attempt=away(2), fail=away(2), complete_in=away(2),
    )  # fmt: skip
    report = world.worked(batch)
    assert (report.status, report.progress.done, report.progress.failed) == (BatchStatus.completed, 5, 1)
    world.require_whole(batch)


@pytest.mark.parametrize("call", ["claim", "finish_batch"])
def test_an_outage_that_does_not_end_ends_the_run(world: World, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    monkeypatch.setattr(work, "_OUTAGE_SECONDS", 0.3)
    monkeypatch.setattr(work, "_ENDED_SECONDS", 0.1)
    batch = world.submit(["t"])
    broken(world, **{call: away(1000)})
    with pytest.raises(Transient, match="away"):
        world.worked(batch)


@pytest.mark.parametrize("call", ["claim", "finish_batch"])
def test_a_thread_that_breaks_ends_the_run_with_its_error(world: World, call: str) -> None:
    batch = world.submit(["t"])
    broken(world, **{call: [ZeroDivisionError("a column is missing")] * 100})
    with pytest.raises(Permanent, match="ZeroDivisionError: a column is missing"):
        world.worked(batch)


def test_a_heartbeat_that_breaks_ends_the_run(world: World) -> None:
    batch = world.submit(["slow"])
    running = world.work(batch)

    def tell(progress: object) -> None:
        if world.told.open:
            running._heartbeat.error = ZeroDivisionError("the heart")

    with pytest.raises(Permanent, match="the heart"):
        running.run(tell=tell)
    assert world.statuses(batch) == {"queued": 1}


@pytest.mark.usefixtures("impatient")
def test_what_cannot_be_written_is_left_to_the_lease(world: World) -> None:
    batch = world.submit(["fail content_policy", "good", "t"])
    broken(world, fail=away(1000), complete_in=away(1000))
    stop = threading.Event()
    running = world.work(batch)
    report = running.run(stop, lambda progress: stop.set() if running._meter.lost_here >= 3 else None)
    assert (report.status, report.lost, report.completed_here) == (None, 3, 0)
    assert world.statuses(batch) == {"running": 1, "storing": 2}
    world.run("UPDATE generation_jobs SET lease_expires_at = now() WHERE lease_expires_at IS NOT NULL")
    world.queue.reap()
    broken(world)
    assert world.worked(batch).progress.done == 2
    world.require_whole(batch)


@pytest.mark.usefixtures("impatient")
def test_items_that_cannot_be_begun_or_given_back_are_left_too(world: World) -> None:
    batch = world.submit(["slow", "t"])
    broken(world, release=away(1000))
    stop = threading.Event()
    running = world.work(batch)
    report = running.run(stop, lambda progress: stop.set() if world.told.open and progress.done else None)
    assert (report.completed_here, report.lost) == (1, 1)
    other = world.submit(["t"])
    broken(world, progress=away(1000))
    stop.clear()
    running = world.work(other)
    assert running.run(stop, lambda progress: stop.set() if running._meter.lost_here else None).lost == 1


def test_an_item_that_another_thread_has_again_costs_no_thread(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails, and is claimed anew before the thread that failed it has gone on."""
    broken_threads: list[object] = []
    monkeypatch.setattr(threading, "excepthook", broken_threads.append)
    batch = world.submit(["once"])

    class Slow(GenerationQueue):
        def fail(self, *values: Any, **named: Any) -> Any:
            outcome = super().fail(*values, **named)
            soon(lambda: world.told.calls["once"] == 2)
            return outcome

    class Waits(Told):
        def _answer(self, request: GenerationRequest, seen: int, stop: threading.Event) -> Reply:
            if seen == 2:
                soon(lambda: running._working == 1)
            return super()._answer(request, seen, stop)

    world.told = Waits()
    world.queue = Slow(world.tiers.database, world.ledger, retry_base=timedelta(0))
    running = world.work(batch)
    assert running.run().completed_here == 1
    assert broken_threads == []
    assert running._halts == {}
    world.require_whole(batch)


def test_an_item_that_is_lost_while_a_provider_writes_is_let_go(tiers: Tiers) -> None:
    world = World(tiers, lease=0.6)
    batch = world.submit(["slow"])
    reports: list[Any] = []
    thread = threading.Thread(target=lambda: reports.append(world.worked(batch)), daemon=True)
    thread.start()
    soon(lambda: world.told.open == 1)
    (item,) = world.items(batch)
    assert world.queue.cancel_item(world.tenant, item["id"]) == 1
    thread.join(10)
    assert not thread.is_alive()
    assert world.statuses(batch) == {"cancelled": 1}
    world.require_whole(batch)


def test_no_other_provider_is_called_for_an_item_that_was_lost(world: World) -> None:
    class Loses:
        name = "loses"
        model = "loses-1"

        def generate(self, request: GenerationRequest, *, timeout: float, stop: object = None) -> Reply:
            (item,) = world.items(batch)
            world.queue.cancel_item(world.tenant, item["id"])
            raise ProviderFailure(FailureCategory.provider, "lost")

    batch = world.submit(["t"])
    report = world.worked(batch, chain=lambda tenant: ProviderChain([Link(Loses()), Link(world.told)]))
    assert report.lost == 1
    assert world.told.calls == {}
    assert world.statuses(batch) == {"cancelled": 1}
