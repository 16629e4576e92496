"""The scrub: everything once in its time, whatever is added, killed, late or broken meanwhile. Real servers."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from content_orchestration.core.documents import Document
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.failpoints import VARIABLE
from content_orchestration.core.integrity.bodies import LEAST_ROWS, START, Position, read_page
from content_orchestration.core.integrity.findings import Comparison
from content_orchestration.core.integrity.pairs import UNREADABLE
from content_orchestration.core.integrity.scrub import LOCK, scrub_bodies
from content_orchestration.settings import PROJECT_ROOT, Settings
from content_orchestration_tests.zerodb_world import (
    NOW,
    TENANTS,
    World,
    add_items,
    assert_adds_up,
    body_id,
    empty,
    scratch_world,
)

ITEMS = "content_items"
HOUR = timedelta(hours=1)

RUN = """
from datetime import datetime, timedelta
from content_orchestration.core.integrity import scrub
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration.settings import get_settings

scrub._PAGE = 10
settings = get_settings()
with (
    PostgresClient(settings.database_url) as database,
    ZeroDBClient(settings.zerodb_url, settings.zerodb_project_id, settings.zerodb_key) as store,
):
    scrub.scrub_bodies(
        database, store, share_of=timedelta(hours=1), now=datetime.fromisoformat("2026-09-01T12:00:00+00:00"),
        on_found=lambda comparison: print("found", len(comparison.differences), flush=True),
    )
"""


@pytest.fixture(scope="module")
def shared(_server: psycopg.Connection, _migrated_template: str, settings: Settings) -> Iterator[World]:
    with scratch_world(_server, _migrated_template, settings) as world:
        yield world


@pytest.fixture
def world(shared: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """48 bodies with two rows each, read ten rows a page, and no share is too small."""
    empty(shared)
    monkeypatch.setattr("content_orchestration.core.integrity.scrub._PAGE", 10)
    monkeypatch.setattr("content_orchestration.core.integrity.scrub._LEAST_SHARE", 1)
    shared.items = grow(shared, 24)
    return shared


def grow(world: World, count: int) -> list[UUID]:
    """Items of two versions: 4 bodies' rows but for the old version's, which has one."""
    items = [uuid4() for _ in range(count)]
    add_items(world, {content: ["one", "two"] for content in items})
    return items


class Recorded:
    """The real store; counts the bodies that are read, and fails for those in `poison` or for all."""

    def __init__(self, world: World) -> None:
        self._store = world.store
        self.read: Counter[str] = Counter()
        self.poison: set[str] = set()
        self.down_after: int | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get_many(self, collection: str, ids: list[str]) -> dict[str, Document]:
        if self.down_after is not None and sum(self.read.values()) >= self.down_after:
            raise Transient("the store is gone")
        if self.poison & set(ids):
            raise Permanent("no answer for this one")
        documents = self._store.get_many(collection, ids)
        self.read.update(documents.keys())
        return documents


def scrub(world: World, store: Any = None, **given: Any) -> Comparison:
    values = {"share_of": 12 * HOUR, "now": NOW} | given
    comparison = scrub_bodies(world.database, store or world.store, **values)
    assert_adds_up(comparison)
    return comparison


def progress(world: World) -> dict[str, Any]:
    (row,) = world.run("SELECT * FROM body_scrub_progress")
    return row


def all_bodies(items: list[UUID]) -> set[str]:
    return {body_id(content, version) for content in items for version in (1, 2)}


# --- shares ----------------------------------------------------------------------------------------------------------


def test_twelve_hourly_calls_read_everything_once_in_even_shares(world: World) -> None:
    store = Recorded(world)
    counts = []
    for hour in range(12):
        comparison = scrub(world, store, now=NOW + hour * HOUR)
        assert comparison.outcome == "agree"
        assert comparison.notes["rows_behind"] == 0
        counts.append(comparison.attempted)
        assert (progress(world)["cycle_completed_at"] is not None) == (hour == 11)
    assert store.read == Counter(all_bodies(world.items))
    assert sum(counts) == 48
    assert max(counts) - min(counts) <= 2
    assert (progress(world)["bodies"], progress(world)["bytes"]) == (48, 48 * 3)
    again = scrub(world, store, now=NOW + 12 * HOUR)
    assert again.notes["cycle_started_at"] == (NOW + 12 * HOUR).isoformat()
    assert progress(world)["cycle_completed_at"] is None


def test_a_table_that_grows_is_read_within_the_time_all_the_same(world: World) -> None:
    """As many bodies again come each hour as there were at the beginning of the cycle in a share."""
    store = Recorded(world)
    there_at_first = set(world.items)
    first_seen: dict[str, int] = {}
    hour = cycle_ends = 0
    for hour in range(24):
        scrub(world, store, now=NOW + hour * HOUR)
        for key in store.read.keys() - first_seen.keys():
            first_seen[key] = hour
        if not cycle_ends and progress(world)["cycle_completed_at"] is not None:
            cycle_ends = hour
        world.items += grow(world, 2)
    assert cycle_ends == 11
    assert max(first_seen[key] for key in all_bodies(sorted(there_at_first))) <= 11
    # Whatever came in the first cycle has been read by the end of the second.
    assert all_bodies(world.items[: 24 + 2 * 11]) <= first_seen.keys()


def test_calls_that_come_late_take_more(world: World) -> None:
    store = Recorded(world)
    for hour in (0, 1, 9, 10, 11):
        scrub(world, store, now=NOW + hour * HOUR)
    assert store.read == Counter(all_bodies(world.items))
    assert progress(world)["cycle_completed_at"] == NOW + 11 * HOUR


def test_a_call_after_the_time_takes_all_that_is_left(world: World) -> None:
    scrub(world)
    comparison = scrub(world, now=NOW + 40 * HOUR)
    assert comparison.notes["rows_left"] == 0
    assert progress(world)["cycle_completed_at"] == NOW + 40 * HOUR


def test_a_clock_that_was_set_back_takes_no_smaller_share(world: World) -> None:
    scrub(world)
    comparison = scrub(world, now=NOW - timedelta(days=30))
    assert comparison.attempted >= 3


@pytest.mark.parametrize("bound", [{"max_rows": 10}, {"max_bytes": 9}])
def test_a_bound_holds_a_call_back_and_says_so_but_never_stops_it(world: World, bound: dict[str, int]) -> None:
    store = Recorded(world)
    calls = 0
    while not calls or progress(world)["cycle_completed_at"] is None:
        comparison = scrub(world, store, share_of=HOUR, **bound)
        assert 0 < comparison.attempted <= 10
        done = progress(world)["cycle_completed_at"] is not None
        assert (comparison.notes["rows_behind"] > 0) != done
        calls += 1
    assert store.read == Counter(all_bodies(world.items))
    assert calls > 5


def test_a_small_store_is_read_whole_each_hour(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("content_orchestration.core.integrity.scrub._LEAST_SHARE", 400)
    for hour in range(2):
        assert scrub(world, now=NOW + hour * HOUR).attempted == 48


def test_an_empty_store_completes_its_cycle(world: World) -> None:
    empty(world)
    assert scrub(world).outcome == "agree"
    assert progress(world)["cycle_completed_at"] == NOW


def test_pages_hold_every_row_once_whatever_their_size(world: World) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"\npages: seed {seed}")  # noqa: T201
    dice = random.Random(seed)
    for content in dice.sample(world.items, 12):
        table, column = dice.choice([("content_storage_metadata", "id"), ("content_versions", "content_id")])
        world.run(f"DELETE FROM {table} WHERE {column} = %s", content)
    (wanted,) = world.run(
        "SELECT (SELECT count(*) FROM content_storage_metadata) + count(*) AS n FROM content_versions"
    )
    for limit in (LEAST_ROWS, 4, 5, 7, 10, 1000):
        after, rows, last = START, [], False
        while not last:
            page = read_page(world.database, after, limit)
            assert page.last or page.rows, "no way forward"
            rows += page.rows
            after, last = page.reached, page.last
        named = [(row["row_table"], row["row_id"]) for row in rows]
        assert len(named) == len(set(named)) == wanted["n"], (seed, limit)
        assert [(row["content_id"], row["version"]) for row in rows] == sorted(
            (row["content_id"], row["version"]) for row in rows
        )


# --- what is found is not lost ---------------------------------------------------------------------------------------


def spoil(world: World, number: int) -> str:
    """Change the n-th body in the order of the walk."""
    key = sorted(all_bodies(world.items))[number]
    world.change(ITEMS, key, body="wrong")
    return key


def test_the_position_moves_past_a_difference_only_when_it_has_been_told(world: World) -> None:
    key = spoil(world, 20)
    told = []

    def on_found(comparison: Comparison) -> None:
        assert [each.entity_id for each in comparison.differences] == [key]
        assert_adds_up(comparison)
        told.append(progress(world)["position"])

    comparison = scrub(world, share_of=HOUR, on_found=on_found)
    assert comparison.outcome == "different"
    content, _, version = told[0].partition("/")
    assert f"{content}.v{version}" < key
    assert progress(world)["cycle_completed_at"] == NOW


def test_where_nobody_can_be_told_the_position_stays(world: World) -> None:
    spoil(world, 20)

    def broken(comparison: Comparison) -> None:
        raise Transient("no report can be written")

    comparison = scrub(world, share_of=HOUR, on_found=broken)
    assert (comparison.outcome, comparison.unknown) == ("unknown", "no report can be written")
    before = progress(world)
    assert before["cycle_completed_at"] is None
    again = scrub(world, share_of=HOUR)
    assert again.counts == {"body_hash_differs": 1}


def test_an_outage_keeps_what_was_read_and_found(world: World) -> None:
    key = spoil(world, 3)
    store = Recorded(world)
    store.down_after = 30
    told: list[Comparison] = []
    comparison = scrub(world, store, share_of=HOUR, on_found=told.append)
    assert comparison.outcome == "unknown"
    assert [each.entity_id for each in comparison.differences] == [key]
    assert told == [comparison]
    assert 0 < progress(world)["bodies"] < 48
    assert progress(world)["cycle_completed_at"] is None
    store.down_after = None
    assert scrub(world, store, share_of=HOUR).outcome == "agree"
    assert progress(world)["bodies"] == 48
    assert progress(world)["cycle_completed_at"] == NOW
    assert store.read.keys() == all_bodies(world.items)


def test_a_body_that_cannot_be_read_does_not_stop_the_walk(world: World) -> None:
    store = Recorded(world)
    store.poison = {sorted(all_bodies(world.items))[12]}
    comparison = scrub(world, store, share_of=HOUR)
    assert (comparison.outcome, comparison.skipped) == ("unknown", {UNREADABLE: 1})
    assert store.read.keys() == all_bodies(world.items) - store.poison
    assert progress(world)["cycle_completed_at"] == NOW


@pytest.mark.parametrize("failpoint", ["scrub_page_compared", "scrub_page_compared:4", "scrub_page_recorded:3"])
def test_a_killed_scrub_goes_on_where_it_was(world: World, failpoint: str) -> None:
    killed(world, failpoint)
    pages = int(failpoint.partition(":")[2] or 1)
    recorded = pages if failpoint.startswith("scrub_page_recorded") else pages - 1
    if recorded:
        position = Position.parse(progress(world)["position"])
    else:
        assert world.run("SELECT * FROM body_scrub_progress") == []
        position = START
    before = {key for key in all_bodies(world.items) if key_of(key) <= position}
    store = Recorded(world)
    scrub(world, store, share_of=HOUR)
    assert store.read == Counter(all_bodies(world.items) - before), "something is read twice or passed over"
    assert progress(world)["bodies"] == 48
    assert bool(before) == bool(recorded)


def test_what_a_killed_scrub_had_found_is_found_again(world: World) -> None:
    key = spoil(world, 9)
    assert "found" not in killed(world, "scrub_page_compared:5")
    comparison = scrub(world, share_of=HOUR)
    assert [each.entity_id for each in comparison.differences] == [key]


def killed(world: World, failpoint: str) -> str:
    environment = os.environ | {
        VARIABLE: failpoint,
        "DATABASE_PUBLIC_URL": world.database_url,
        "ZERODB_PROJECT_ID": world.project,
        "LOCAL_ZERODB_PORT": str(world.settings.local_zerodb_port),
        "LOCAL_STATE_DIR": str(world.settings.local_state_dir),
    }
    process = subprocess.run(
        [sys.executable, "-c", RUN], cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    return process.stdout


def key_of(document_id: str) -> Position:
    content, _, version = document_id.partition(".v")
    return Position(UUID(content), int(version))


# --- the record ------------------------------------------------------------------------------------------------------


def test_of_two_at_once_one_is_unknown(world: World) -> None:
    with world.database.advisory_lock(LOCK):
        comparison = scrub(world)
    assert comparison.outcome == "unknown"
    assert "body_scrub is already running" in str(comparison.unknown)


def test_a_position_that_is_none_is_told_with_the_way_out(world: World) -> None:
    scrub(world)
    world.run("UPDATE body_scrub_progress SET position = 'here'")
    assert "set it to NULL" in str(scrub(world).unknown)
    world.run("UPDATE body_scrub_progress SET position = NULL")
    store = Recorded(world)
    scrub(world, store, share_of=HOUR)
    assert store.read == Counter(all_bodies(world.items))


def test_versions_are_walked_in_the_order_of_numbers(world: World) -> None:
    empty(world)
    content = uuid4()
    add_items(world, {content: [str(number) for number in range(12)]}, TENANTS[1])
    store = Recorded(world)
    calls = 0
    while not calls or progress(world)["cycle_completed_at"] is None:
        scrub(world, store, share_of=6 * HOUR, now=NOW + calls * HOUR)
        calls += 1
    assert store.read == Counter({body_id(content, version): 1 for version in range(1, 13)})
