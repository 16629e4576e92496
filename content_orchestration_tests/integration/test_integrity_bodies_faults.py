"""A tier that cannot be read makes a comparison unknown: never clean, never different. And writers at work."""

import os
import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from content_orchestration.core.documents import Document
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.integrity.bodies import check_ids, scan_bodies
from content_orchestration.core.integrity.findings import Comparison
from content_orchestration.core.integrity.pairs import CHANGING, GONE, NOT_REACHED, UNREADABLE
from content_orchestration.core.integrity.scrub import scrub_bodies
from content_orchestration.local.ports import free_ports
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration.settings import Settings
from content_orchestration_tests.zerodb_world import (
    NOW,
    TENANTS,
    Altered,
    World,
    add_item,
    assert_adds_up,
    body_document,
    body_id,
    empty,
    populate,
    scratch_world,
    version_document,
)

ITEMS = "content_items"
ROUNDS = 300 if os.environ.get("SOAK") else 8
WITH_STORE = ("bodies", "documents", "versions", "media")


@pytest.fixture(scope="module")
def shared(_server: psycopg.Connection, _migrated_template: str, settings: Settings) -> Iterator[World]:
    with scratch_world(_server, _migrated_template, settings) as world:
        yield world


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    empty(shared)
    populate(shared)
    yield shared
    shared.heal()


def scrub(world: World, store: Any = None) -> Comparison:
    return scrub_bodies(world.database, store or world.store, share_of=timedelta(days=7), now=NOW)


def impatient(world: World, **given: Any) -> ZeroDBClient:
    """A client that gives up at once."""
    values: dict[str, Any] = {"attempts": 2, "wait_initial": 0.01, "wait_max": 0.02, "timeout": 2.0} | given
    url = values.pop("url", world.settings.zerodb_url)
    key = values.pop("key", world.settings.zerodb_key)
    return ZeroDBClient(url, world.project, key, **values)


def assert_unknown(comparisons: dict[str, Comparison], message: str) -> None:
    for name in WITH_STORE:
        comparison = comparisons[name]
        assert comparison.outcome == "unknown", name
        assert message in str(comparison.unknown), comparison.unknown
        assert comparison.differences == []
        assert_adds_up(comparison)
    for name in comparisons.keys() - WITH_STORE:
        assert comparisons[name].outcome == "agree", "this one does not need the store"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"kind": "rate_limit", "retry_after": 0}, "429"),
        ({"kind": "rate_limit", "retry_after": 300}, "429"),
        ({"kind": "error", "status": 503}, "503"),
        ({"kind": "cut_before"}, "RemoteProtocolError"),
    ],
)
def test_a_store_that_refuses_makes_it_unknown(world: World, fault: dict[str, Any], message: str) -> None:
    world.fault(**fault)
    with impatient(world) as store:
        comparisons = world.comparisons(store=store)
        comparisons["bodies_scrub"] = scrub(world, store)
    assert comparisons.pop("bodies_scrub").outcome == "unknown"
    assert_unknown(comparisons, message)
    assert comparisons["bodies"].skipped == {NOT_REACHED: comparisons["bodies"].attempted}


def test_a_store_that_is_down_makes_it_unknown(world: World) -> None:
    (port,) = free_ports(1)
    with impatient(world, url=f"http://127.0.0.1:{port}/api/v1") as store:
        assert_unknown(world.comparisons(store=store), "ConnectError")


def test_a_store_that_hangs_makes_it_unknown(world: World) -> None:
    world.fault("slow", seconds=1.0, count=20)
    with impatient(world, timeout=0.1, attempts=1) as store:
        assert_unknown(world.comparisons(store=store), "Timeout")


def test_a_wrong_key_makes_it_unknown_and_says_what_to_check(world: World) -> None:
    with impatient(world, key="wrong") as store:
        assert_unknown(world.comparisons(store=store), "check ZERODB_API_KEY")


def test_a_database_that_is_down_makes_it_unknown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("content_orchestration.resources.postgres_client._CONNECT_SECONDS", 0.1)
    (port,) = free_ports(1)
    with PostgresClient(f"postgresql://postgres@127.0.0.1:{port}/none") as database:
        down = World(world.settings, "", world.project, database, world.store, world.http)
        for comparison in [*down.comparisons().values(), scrub(down), check_ids(database, world.store, [str(uuid4())])]:
            assert comparison.outcome == "unknown"
            assert "refused the connection" in str(comparison.unknown)
            assert (comparison.attempted, comparison.differences) == (0, [])


class Failing:
    """The real store, which fails from the n-th look-up of a collection on."""

    def __init__(self, store: ZeroDBClient, collection: str, good: int) -> None:
        self._store, self._collection, self._good = store, collection, good

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get_many(self, collection: str, ids: list[str]) -> dict[str, Document]:
        if collection == self._collection:
            self._good -= 1
            if self._good < 0:
                raise Transient("the store is gone")
        return self._store.get_many(collection, ids)


@pytest.mark.parametrize("good", [0, 1, 2, 3])
def test_what_was_found_before_the_outage_stays_and_the_rest_is_counted(
    world: World, monkeypatch: pytest.MonkeyPatch, good: int
) -> None:
    monkeypatch.setattr("content_orchestration.core.integrity.pairs._GROUP", 10)
    monkeypatch.setattr("content_orchestration.core.integrity.pairs._MOST_DOUBTFUL", 2)
    for content in world.items:
        world.change(ITEMS, body_id(content), body="wrong")
    comparison = scan_bodies(world.database, Failing(world.store, ITEMS, good))  # type: ignore[arg-type]
    assert comparison.outcome == "unknown"
    assert_adds_up(comparison)
    # Look-ups alternate: a group, then what was doubtful in it.
    assert comparison.skipped[NOT_REACHED] > 0
    assert bool(comparison.differences) == (good >= 2)


def test_one_document_that_cannot_be_read_does_not_hide_the_others(world: World) -> None:
    poison = body_id(world.items[4], 1)
    world.change(ITEMS, body_id(world.items[7], 1), body="wrong")

    class Poisoned(Altered):
        def get_many(self, collection: str, ids: Any) -> dict[str, Document]:
            if collection == ITEMS and poison in ids:
                raise Permanent("no answer for this one")
            return super().get_many(collection, ids)

    comparison = scan_bodies(world.database, Poisoned(world.store, lambda _, documents: documents))  # type: ignore[arg-type]
    assert_adds_up(comparison)
    assert [each.entity_id for each in comparison.differences] == [body_id(world.items[7], 1)]
    assert comparison.skipped[UNREADABLE] == 1
    assert comparison.outcome == "unknown"
    assert f"{poison}: no answer for this one" in str(comparison.unknown)


def test_a_document_that_cannot_be_read_at_the_second_look_is_unknown(world: World) -> None:
    poison = body_id(world.items[4], 1)
    world.change(ITEMS, poison, body="wrong")

    class Poisoned(Altered):
        looks = 0

        def get_many(self, collection: str, ids: Any) -> dict[str, Document]:
            self.looks += poison in ids
            if poison in ids and self.looks > 1:
                raise Transient("no answer for this one")
            return super().get_many(collection, ids)

    comparison = scan_bodies(world.database, Poisoned(world.store, lambda _, documents: documents))  # type: ignore[arg-type]
    assert_adds_up(comparison)
    assert (comparison.outcome, comparison.differences, comparison.skipped[UNREADABLE]) == ("unknown", [], 1)


# --- while it changes ------------------------------------------------------------------------------------------------


def settled_while(world: World, act: Callable[[int], None]) -> Comparison:
    """A scan in which something happens at each look-up, told by its number from 0."""
    looked: list[int] = []

    def alter(collection: str, documents: dict[str, Document]) -> dict[str, Document]:
        if collection == ITEMS:
            act(len(looked))
            looked.append(0)
        return documents

    comparison = scan_bodies(world.database, Altered(world.store, alter))  # type: ignore[arg-type]
    assert comparison.unknown is None
    assert_adds_up(comparison)
    return comparison


def purge(world: World, content: UUID) -> None:
    world.run("DELETE FROM content_storage_metadata WHERE id = %s", content)
    world.run("DELETE FROM content_versions WHERE content_id = %s", content)


def test_a_row_that_is_deleted_meanwhile_is_left_out(world: World) -> None:
    content = world.items[2]
    world.remove(ITEMS, body_id(content, 1))
    comparison = settled_while(world, lambda look: purge(world, content) if look == 0 else None)
    assert (comparison.differences, comparison.skipped[GONE]) == ([], 1)


def test_a_row_that_changes_at_each_look_is_left_out(world: World) -> None:
    content = world.items[3]
    world.remove(ITEMS, body_id(content))

    def grow(look: int) -> None:
        for table, column in (("content_storage_metadata", "id"), ("content_versions", "content_id")):
            world.run(f"UPDATE {table} SET storage_size_bytes = storage_size_bytes + 1 WHERE {column} = %s", content)

    comparison = settled_while(world, grow)
    assert (comparison.differences, comparison.skipped[CHANGING]) == ([], 1)


def test_a_row_that_is_put_right_meanwhile_is_right(world: World) -> None:
    content = world.items[3]
    world.run("UPDATE content_storage_metadata SET storage_size_bytes = 77 WHERE id = %s", content)
    right = "UPDATE content_storage_metadata SET storage_size_bytes = 4 WHERE id = %s"

    def put_right(look: int) -> None:
        if look == 1:
            world.run(right, content)

    comparison = settled_while(world, put_right)
    assert (comparison.outcome, comparison.skipped.get(CHANGING)) == ("agree", None)


def test_writers_at_work_cause_no_false_alarm(world: World) -> None:
    """Creates, new versions, spills, drains and purges in the order that writers keep: documents first in, last out."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"\nwriters: seed {seed}")  # noqa: T201
    stop = threading.Event()
    failed: list[BaseException] = []
    done = {"create": 0, "version": 0, "spill": 0, "drain": 0, "purge": 0}

    def write(number: int) -> None:
        dice = random.Random(seed + number)
        mine: list[UUID] = []
        waiting: list[UUID] = []
        while not stop.is_set():
            what = dice.choice(list(done))
            if what in ("create", "spill"):
                content = uuid4()
                add_item(world, content, TENANTS[number], ["one", "two"], spilled=what == "spill")
                (waiting if what == "spill" else mine).append(content)
            elif what == "drain" and waiting:
                drain(world, content := waiting.pop(), TENANTS[number])
                mine.append(content)
            elif what == "version" and mine:
                new_version(world, dice.choice(mine), TENANTS[number])
            elif what == "purge" and mine:
                content = mine.pop(dice.randrange(len(mine)))
                with world.database.connection() as connection:
                    connection.execute("DELETE FROM content_storage_metadata WHERE id = %s", [content])
                    connection.execute("DELETE FROM content_versions WHERE content_id = %s", [content])
                world.api("DELETE", ITEMS, {"filter": {"content_id": str(content)}})
                world.api("DELETE", "content_versions", {"filter": {"content_id": str(content)}})
            else:
                continue
            done[what] += 1

    def guarded(number: int) -> None:
        try:
            write(number)
        except BaseException as error:  # noqa: BLE001  (told by the test)
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=[number]) for number in range(2)]
    for thread in threads:
        thread.start()
    rounds = 0
    try:
        while not failed and (rounds < ROUNDS or min(done.values()) < 3):
            comparisons = world.comparisons(now=datetime.now(UTC))
            comparisons["bodies_scrub"] = scrub(world)
            comparisons.pop("usage")  # counted by its own statement, which no writer here runs
            for comparison in comparisons.values():
                assert comparison.outcome == "agree", (seed, comparison.name, comparison.as_metadata())
                assert_adds_up(comparison)
            rounds += 1
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed
    print(f"writers: {done}, {rounds} rounds of comparisons")  # noqa: T201


def drain(world: World, content: UUID, tenant: UUID) -> None:
    """Bring what waits into the store, then take it out of the spill."""
    for version, body in enumerate(["one", "two"], 1):
        world.put(ITEMS, body_document(content, tenant, version, body, created_at=datetime.now(UTC).isoformat()))
        world.put("content_versions", version_document(content, tenant, version, body))
        world.run("DELETE FROM content_body_spill WHERE zerodb_row_id = %s", body_id(content, version))


def new_version(world: World, content: UUID, tenant: UUID) -> None:
    """The next body first, then record and pointer in one transaction."""
    (row,) = world.run("SELECT version FROM content_storage_metadata WHERE id = %s", content)
    version, body = row["version"] + 1, f"version {row['version'] + 1}"
    document = body_document(content, tenant, version, body)
    world.put(ITEMS, document)
    world.put("content_versions", version_document(content, tenant, version, body))
    named = [document["id"], document["body_sha256"], document["size_bytes"], version]
    with world.database.connection() as connection:
        connection.execute(
            "INSERT INTO content_versions (id, content_id, tenant_id, version, zerodb_row_id, body_sha256, "
            "storage_size_bytes, changed_by, change_reason, patch) SELECT gen_random_uuid(), content_id, tenant_id, "
            "%s, %s, %s, %s, changed_by, change_reason, "
            """'{"operations": [{"op": "replace", "path": "/1", "value": "x"}]}' """
            "FROM content_versions WHERE content_id = %s AND version = 1",
            [version, *named[:3], content],
        )
        connection.execute(
            "UPDATE content_storage_metadata SET zerodb_row_id = %s, body_sha256 = %s, storage_size_bytes = %s, "
            "version = %s WHERE id = %s",
            [*named, content],
        )
