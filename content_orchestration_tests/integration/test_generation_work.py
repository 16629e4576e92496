"""A batch worked on the real tiers: the whole path, bad items, failing providers, cancellation, a stop, an outage."""

import threading
import time
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from content_orchestration.core.content.model import Filters
from content_orchestration.core.content.spill import spill_state
from content_orchestration.core.content.store import ContentStore
from content_orchestration.core.errors import Permanent
from content_orchestration.core.generation import work
from content_orchestration.core.generation.model import BatchStatus, FailureCategory
from content_orchestration.core.generation.progress import Progress
from content_orchestration.core.generation.writer import ContentWriter
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration_tests.generation_world import PRICE, World, soon
from content_orchestration_tests.tiers import Tiers


@pytest.fixture
def world(tiers: Tiers) -> World:
    return World(tiers)


def test_two_hundred_items_become_content_in_three_steps(world: World) -> None:
    batch = world.submit([f"topic number {n}" for n in range(200)])
    told: list[Progress] = []
    report = world.work(batch, chain=world.template).run(tell=told.append)
    assert report.status == BatchStatus.completed
    assert (report.progress.done, report.progress.failed, report.progress.open, report.lost) == (200, 0, 0, 0)
    assert report.completed_here == 200
    assert told[-1].done == 200
    assert report.as_metadata()["status"] == "completed"
    world.require_whole(batch)
    page = world.store.list(world.tenant, Filters(content_type="post", brand_id=world.brand), limit=1)
    item = page.items[0].item
    assert item.metadata["generated"]["provider"] == "template"
    assert item.metadata["generated"]["batch_id"] == str(batch)
    assert item.status == "draft"
    assert len(world.run("SELECT id FROM generation_attempts WHERE outcome = 'succeeded' AND reported")) == 200
    assert {row["attempts"] for row in world.items(batch)} == {1}
    assert world.worked(batch).status == BatchStatus.completed, "a batch that is over is over"


def test_one_bad_item_never_stops_a_batch(world: World) -> None:
    categories = list(FailureCategory)
    topics = [f"fail {category}" for category in categories] + ["bug", "untitled", "large 11000000", "once", "good", ""]
    batch = world.submit(topics)
    report = world.worked(batch)
    assert report.status == BatchStatus.completed
    ended = {item["request_data"]["topic"]: item for item in world.items(batch)}
    for category in categories:
        item = ended[f"fail {category}"]
        assert (item["status"], item["error_category"]) == ("failed", category.value)
        assert item["attempts"] == (1 if category.permanent else 3)
        assert "as told" in item["error_message"]
    assert ended["bug"]["error_category"] == "unknown"
    assert "ZeroDivisionError" in ended["bug"]["error_message"]
    assert not world.run(
        "SELECT job_id FROM generation_attempts WHERE message LIKE '%%sk-secret%%' UNION ALL "
        "SELECT id FROM generation_jobs WHERE error_message LIKE '%%sk-secret%%'"
    )
    assert ended["untitled"]["error_category"] == "provider"
    assert "title is empty" in ended["untitled"]["error_message"]
    assert "CONTENT_MAX_BODY_BYTES" in ended["large 11000000"]["error_message"]
    assert (ended[""]["error_category"], ended[""]["attempts"]) == ("invalid_request", 1)
    assert (ended["once"]["status"], ended["once"]["attempts"]) == ("completed", 2)
    assert ended["good"]["status"] == "completed"
    assert world.told.most_open <= 10
    assert report.failures["provider"] == 3
    assert report.progress.cost_usd == sum(world.told.calls.values()) * PRICE - 3 * PRICE, "a bug tells no cost"
    world.require_whole(batch)


def test_a_batch_of_which_all_fails_is_failed(world: World) -> None:
    batch = world.submit(["fail content_policy", "fail content_policy"])
    assert world.worked(batch).status == BatchStatus.failed
    world.require_whole(batch)


def test_texts_larger_than_was_reserved_fail_alone_where_nothing_is_left(tiers: Tiers) -> None:
    world = World(tiers, plan="free")
    topics = ["large 2000", "large 900000", "small"]
    batch = world.submit(topics, estimated_bytes_per_item=2000)
    usage = world.ledger.usage(world.tenant)
    assert usage.limit_bytes is not None
    world.ledger.reserve(world.tenant, bytes=usage.limit_bytes - usage.reserved_bytes - 1000, items=1)
    world.worked(batch)
    ended = {item["request_data"]["topic"]: item["error_category"] for item in world.items(batch)}
    assert ended == {"large 2000": None, "large 900000": "quota", "small": None}


def test_a_batch_stops_at_what_it_may_cost(world: World) -> None:
    world.queue.set_budget(world.tenant, Decimal(10))
    batch = world.submit([f"t {n}" for n in range(30)], max_cost_usd=Decimal("0.05"))
    report = world.worked(batch)
    counted = world.statuses(batch)
    # Ten may be called at once before the first of them is paid.
    assert 5 <= counted["completed"] <= 15
    assert report.failures == {"quota": counted["failed"]}
    assert world.queue.budget(world.tenant).spent_usd == counted["completed"] * PRICE
    assert world.queue.budget(world.tenant).reserved_usd == 0
    world.require_whole(batch)


def test_an_item_that_is_lost_while_it_is_stored_leaves_no_content(world: World) -> None:
    """Its fence moves after its body was finished: the others of its group are stored, and it is not."""
    batch = world.submit([f"t {n}" for n in range(6)])
    lost: list[str] = []

    class Late(ContentStore):
        def create_admitted(self, tenant_id: Any, contents: Any, admit: Any, **rest: Any) -> Any:
            if not lost:
                lost.append(contents[0].source.removeprefix("generation:"))
                assert world.queue.cancel_item(tenant_id, lost[0]) == 1
            return super().create_admitted(tenant_id, contents, admit, **rest)

    report = world.worked(batch, store=Late(world.tiers.database, world.tiers.store, world.ledger))
    assert (report.completed_here, report.lost) == (5, 1)
    assert world.statuses(batch) == {"completed": 5, "cancelled": 1}
    assert report.status == BatchStatus.completed
    world.require_whole(batch)


def test_fifty_are_stored_at_a_time_while_ten_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is slow: fifty are with it, up to nine more wait, and nothing is claimed before it is through."""
    batch = world.submit([f"t {n}" for n in range(109)])
    sizes: list[int] = []
    hurried: list[int] = []
    late = [0.0]

    class Hurried(ContentWriter):
        def hurry(self) -> None:
            hurried.append(1)
            super().hurry()

    class Slow(ContentStore):
        def create_admitted(self, tenant_id: Any, contents: Any, admit: Any, **rest: Any) -> Any:
            sizes.append(len(contents))
            if len(sizes) == 1:
                soon(lambda: set(world.statuses(batch)) == {"storing", "queued"})
                assert 50 <= world.statuses(batch)["storing"] <= 59
                before = len(hurried)
                soon(lambda: len(hurried) > before)
                # The others have waited for far longer than a group may take to fill.
                late[0] = 100.0
            return super().create_admitted(tenant_id, contents, admit, **rest)

    monkeypatch.setattr(work, "ContentWriter", partial(Hurried, seconds=10.0))
    slow = Slow(world.tiers.database, world.tiers.store, world.ledger)
    report = world.worked(batch, store=slow, clock=lambda: time.monotonic() + late[0])
    assert sizes == [50, 50, 9]
    assert (report.status, report.completed_here, report.lost) == (BatchStatus.completed, 109, 0)
    world.require_whole(batch)


def test_what_is_finished_waits_for_no_more_than_half_a_second(world: World) -> None:
    """Others of its batch are with a slow provider."""
    batch = world.submit(["quick", "deaf"])
    thread = threading.Thread(target=world.worked, args=[batch], daemon=True)
    thread.start()
    soon(lambda: world.statuses(batch) == {"completed": 1, "running": 1}, 10)
    world.told.hold.set()
    thread.join(20)
    world.require_whole(batch)


def test_a_batch_that_is_cancelled_while_it_is_stored_leaves_no_content(world: World) -> None:
    batch = world.submit([f"t {n}" for n in range(15)])

    class Late(ContentStore):
        def create_admitted(self, tenant_id: Any, contents: Any, admit: Any, **rest: Any) -> Any:
            soon(lambda: world.statuses(batch) == {"storing": 15})
            assert world.queue.cancel_batch(tenant_id, batch) == 15
            return super().create_admitted(tenant_id, contents, admit, **rest)

    report = world.worked(batch, store=Late(world.tiers.database, world.tiers.store, world.ledger))
    assert (report.status, report.completed_here, report.lost) == (BatchStatus.cancelled, 0, 15)
    assert world.statuses(batch) == {"cancelled": 15}
    world.require_whole(batch)


def test_while_zerodb_is_down_bodies_spill_and_items_complete(world: World) -> None:
    batch = world.submit([f"t {n}" for n in range(20)])
    with ZeroDBClient(
        "http://127.0.0.1:1/api/v1", "nowhere", "key", attempts=1, total_timeout=0.1, wait_initial=0.01
    ) as nobody:
        dark = ContentStore(world.tiers.database, nobody, world.ledger)
        assert world.worked(batch, store=dark).status == BatchStatus.completed
    assert spill_state(world.tiers.database).bodies == 20
    world.require_whole(batch)


def test_a_batch_that_is_cancelled_ends_within_ten_seconds(world: World) -> None:
    batch = world.submit(["deaf"] + ["slow"] * 15)
    ended: list[object] = []
    thread = threading.Thread(target=lambda: ended.append(world.worked(batch)), daemon=True)
    thread.start()
    soon(lambda: world.told.open == 10)
    began = time.monotonic()
    assert world.queue.cancel_batch(world.tenant, batch) == 16
    thread.join(10)
    assert not thread.is_alive()
    assert time.monotonic() - began < 10
    world.told.hold.set()
    (report,) = ended
    assert report.status == BatchStatus.cancelled  # type: ignore[attr-defined]
    assert world.statuses(batch) == {"cancelled": 16}
    soon(lambda: not world.run("SELECT id FROM generation_attempts WHERE NOT reported"))
    world.require_whole(batch)


def test_a_run_that_is_stopped_gives_back_what_it_has_not_finished(world: World) -> None:
    batch = world.submit(["slow"] * 12 + ["quick"] * 3)
    stop = threading.Event()
    reports: list[object] = []
    thread = threading.Thread(target=lambda: reports.append(world.work(batch).run(stop)), daemon=True)
    thread.start()
    soon(lambda: world.told.open == 10)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    (report,) = reports
    assert report.status is None  # type: ignore[attr-defined]
    assert report.as_metadata()["status"] == "open"  # type: ignore[attr-defined]
    counted = world.statuses(batch)
    assert set(counted) <= {"queued", "completed"}
    assert {item["attempts"] for item in world.items(batch) if item["status"] == "queued"} == {0}
    world.queue.cancel_batch(world.tenant, batch)
    world.require_whole(batch)


def test_an_interrupt_of_the_waiting_thread_ends_the_run_and_goes_on(world: World) -> None:
    class Interrupt(BaseException):
        pass

    batch = world.submit(["slow"] * 3)

    def tell(progress: Progress) -> None:
        if world.told.open == 3:
            raise Interrupt

    began = time.monotonic()
    with pytest.raises(Interrupt):
        world.work(batch).run(tell=tell)
    assert time.monotonic() - began < 10
    assert world.statuses(batch) == {"queued": 3}


def test_a_provider_that_is_not_there_fails_the_run_and_no_item(world: World) -> None:
    def nobody(tenant: object) -> object:
        raise Permanent("no provider is left for this tenant")

    batch = world.submit(["t"])
    with pytest.raises(Permanent, match="no provider"):
        world.work(batch, chain=nobody)
    with pytest.raises(Permanent, match="is no batch"):
        world.work(uuid4())
    assert world.statuses(batch) == {"queued": 1}
