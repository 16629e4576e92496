"""The record of windows: what refuses to go on, and what the report says."""

from collections.abc import Iterator
from uuid import UUID

import pytest

from content_orchestration.core.errors import AlreadyRunning, Permanent
from content_orchestration.core.replication.engine import LOCK
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.replication_fakes import FakeWorld, sync
from content_orchestration_tests.replication_model import assert_equal, insert, media_row


@pytest.fixture
def world(database_url: str) -> Iterator[FakeWorld]:
    with PostgresClient(database_url, statement_timeout=20.0) as database:
        yield FakeWorld(database)


def write(world: FakeWorld, *numbers: int) -> None:
    for number in numbers:
        with world.database.connection() as connection:
            insert(connection, "media_assets", media_row(UUID(int=number)))


def execute(world: FakeWorld, statement: str) -> None:
    with world.database.connection() as connection:
        connection.execute(statement)  # type: ignore[call-overload]


def test_another_cluster_stops_before_anything_is_loaded(world: FakeWorld) -> None:
    write(world, 1)
    sync(world)
    execute(world, "UPDATE replication_cursor SET system_identifier = '42'")
    write(world, 2)
    loads = world.warehouse.loads
    with pytest.raises(Permanent, match="fresh snapshot"):
        sync(world)
    assert world.warehouse.loads == loads


def test_two_at_once_fail_fast(world: FakeWorld) -> None:
    with world.database.advisory_lock(LOCK), pytest.raises(AlreadyRunning):
        sync(world)


def test_a_cursor_that_was_moved_meanwhile_closes_nothing(world: FakeWorld) -> None:
    write(world, 1)

    def moved(number: int) -> None:
        execute(world, "UPDATE replication_cursor SET next_xid = (next_xid::text::bigint + 1)::text::xid8")

    world.warehouse.during = moved
    with pytest.raises(Permanent, match="could not be closed"):
        sync(world)
    with world.database.connection() as connection:
        statuses = connection.execute("SELECT status FROM replication_windows").fetchall()
    assert statuses == [{"status": "open"}]


def test_a_window_cannot_be_opened_where_the_cursor_is_not(world: FakeWorld) -> None:
    write(world, 1, 2)

    def moved(report: object) -> None:
        execute(world, "UPDATE replication_cursor SET next_xid = '1'")

    with pytest.raises(Permanent, match="two syncs ran at once"):
        sync(world, batch_size=1, on_window=moved)


def test_a_part_that_somebody_else_wrote_stops_and_says_where_to_read(world: FakeWorld) -> None:
    write(world, 1, 2)
    world.warehouse.faults = {1: "after"}

    def doubled(number: int) -> None:
        if number == 1:
            world.warehouse.tables["content_media_dr"] *= 2

    world.warehouse.after = doubled
    with pytest.raises(Permanent, match="RUNBOOK"):
        sync(world)


def test_the_report_and_the_windows_tell_the_same(world: FakeWorld) -> None:
    write(world, 1, 2, 3)
    execute(world, "DELETE FROM media_assets WHERE id = '00000000-0000-0000-0000-000000000002'")
    report = sync(world, batch_size=1)
    told = report.as_metadata()
    with world.database.connection() as connection:
        windows = connection.execute(
            "SELECT count(*) AS windows, sum(changes)::int AS changes, sum(bytes_loaded)::int AS bytes, "
            "sum((rows_by_table ->> 'content_media_dr')::int)::int AS rows, max(sync_id) AS last "
            "FROM replication_windows"
        ).fetchone()
    assert windows is not None
    assert (told["windows"], told["changes"], told["bytes_loaded"], told["last_sync_id"]) == (
        windows["windows"], windows["changes"], windows["bytes"], windows["last"],
    )  # fmt: skip
    assert told["rows_loaded"]["content_media_dr"] == windows["rows"]
    assert told["tombstones"]["content_media_dr"] == 1
    assert told["changes"] == 4
    assert {"resolve", "extract", "encode", "load", "close"} <= told["seconds"].keys()
    assert told["oldest_change_at"] is not None
    assert_equal(world)
