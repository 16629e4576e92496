"""What a window carries: deletes, TRUNCATE, several changes of a row, whole transactions, wrong bodies."""

from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest

from content_orchestration.core.replication import engine, extract
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.replication_fakes import FakeWorld, sync
from content_orchestration_tests.replication_model import (
    TABLES,
    add_content,
    assert_equal,
    body_of,
    content_row,
    current,
    expected,
    history,
    insert,
    media_row,
    new_version,
    put_bodies,
    version_row,
)
from content_orchestration_tests.tiers import Tiers

IDS = [UUID(int=number << 100 | 7) for number in range(1, 9)]
CONTENT = "content_storage_metadata"


@pytest.fixture
def world(database_url: str) -> Iterator[FakeWorld]:
    with PostgresClient(database_url, statement_timeout=20.0) as database:
        yield FakeWorld(database)


def run(world: FakeWorld | Tiers, *statements: str) -> None:
    """Statements in one transaction."""
    with world.database.connection() as connection:
        for each in statements:
            connection.execute(each)  # type: ignore[call-overload]


def ops(world: FakeWorld | Tiers, entity_id: UUID) -> list[str]:
    """What was loaded for an item, oldest first."""
    return [row["op"] for row in history(world, CONTENT, "entity_id, op") if row["entity_id"] == str(entity_id)]


def test_a_delete_leaves_a_tombstone_with_the_last_row(tiers: Tiers) -> None:
    with tiers.database.connection() as connection:
        add_content(connection, tiers.store, IDS[:3], metadata='{"price": 1.10}')
    sync(tiers)
    run(tiers, f"UPDATE {CONTENT} SET title = 'The last title', updated_at = 'infinity' WHERE id = '{IDS[0]}'")
    last = expected(tiers)[CONTENT][str(IDS[0])].row_json
    run(tiers, f"DELETE FROM {CONTENT} WHERE id = '{IDS[0]}'")
    report = sync(tiers)
    assert report.tombstones["content_storage_dr"] == 1
    tombstone = history(tiers, CONTENT, "entity_id, op, row_json, body, tenant_id")[-1]
    assert (tombstone["entity_id"], tombstone["op"]) == (str(IDS[0]), "delete")
    assert tombstone["row_json"] == last
    assert tombstone["body"] is None
    assert_equal(tiers)


def test_truncate(tiers: Tiers) -> None:
    with tiers.database.connection() as connection:
        add_content(connection, tiers.store, IDS[:3])
        insert(connection, "media_assets", media_row(IDS[0]))
    sync(tiers)
    run(tiers, f"TRUNCATE {CONTENT}, media_assets")
    with tiers.database.connection() as connection:
        add_content_again = content_row(IDS[1], title="After")
        insert(connection, CONTENT, add_content_again)
    sync(tiers)
    assert current(tiers)[CONTENT].keys() == {str(IDS[1])}
    assert_equal(tiers)


def test_truncate_of_rows_that_its_snapshot_cannot_see(tiers: Tiers, database_url: str) -> None:
    with tiers.database.connection() as connection:
        insert(connection, "media_assets", media_row(IDS[0]))
    with psycopg.connect(database_url) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT 1 FROM tenants")
        with tiers.database.connection() as connection:
            insert(connection, "media_assets", media_row(IDS[1]))
        sync(tiers)
        old.execute("TRUNCATE media_assets")
    sync(tiers)
    assert current(tiers)["media_assets"] == {}
    assert_equal(tiers)


def test_inserted_updated_and_deleted_inside_one_window(world: FakeWorld) -> None:
    with world.database.connection() as connection:
        add_content(connection, world.store, IDS[:2])
    run(world, f"UPDATE {CONTENT} SET title = 'x' WHERE id = '{IDS[0]}'")
    run(world, f"DELETE FROM {CONTENT} WHERE id = '{IDS[0]}'")
    report = sync(world)
    assert report.windows == 1
    assert ops(world, IDS[0]) == ["delete"]
    assert_equal(world)


def test_deleted_and_inserted_again_under_the_same_id(world: FakeWorld) -> None:
    with world.database.connection() as connection:
        add_content(connection, world.store, IDS[:1])
    sync(world)
    run(world, f"DELETE FROM {CONTENT}")
    with world.database.connection() as connection:
        insert(connection, CONTENT, content_row(IDS[0], title="Back"))
    sync(world)
    assert ops(world, IDS[0]) == ["upsert", "upsert"]
    assert_equal(world)
    run(world, f"DELETE FROM {CONTENT}")
    sync(world)
    with world.database.connection() as connection:
        insert(connection, CONTENT, content_row(IDS[0], title="Back again"))
    sync(world)
    assert ops(world, IDS[0])[2:] == ["delete", "upsert"]
    assert_equal(world)


def test_rolled_back_work_leaves_no_trace(world: FakeWorld, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        add_content(connection, world.store, IDS[:2])
        connection.rollback()
        add_content(connection, world.store, IDS[2:3])
        connection.execute("SAVEPOINT s")
        add_content(connection, world.store, IDS[3:4])
        connection.execute("ROLLBACK TO s")
    sync(world)
    assert current(world)[CONTENT].keys() == {str(IDS[2])}
    assert len(history(world, CONTENT, "entity_id")) == 1
    assert_equal(world)


@pytest.mark.parametrize("change", ["UPDATE {t} SET title = 'Later'", "DELETE FROM {t}"])
def test_a_row_that_changes_while_its_window_is_synced(world: FakeWorld, change: str) -> None:
    with world.database.connection() as connection:
        add_content(connection, world.store, IDS[:3])

    def meanwhile(number: int) -> None:
        if number == 1:
            run(world, change.format(t=CONTENT))

    world.warehouse.during = meanwhile
    sync(world)
    sync(world)
    assert_equal(world)


def test_a_row_that_is_deleted_before_its_window_is_read(world: FakeWorld) -> None:
    with world.database.connection() as connection:
        add_content(connection, world.store, IDS[:3])
    # Versions are read first; the items go in between.
    world.store.on_get = lambda ids: run(world, f"DELETE FROM {CONTENT}")
    sync(world)
    world.store.on_get = lambda ids: None
    sync(world)
    assert [row["op"] for row in history(world, CONTENT, "op")] == ["delete"] * 3
    assert_equal(world)


def test_a_transaction_over_several_tables_arrives_whole(tiers: Tiers) -> None:
    with tiers.database.connection() as connection:
        add_content(connection, tiers.store, IDS[:3])
        insert(connection, "media_assets", media_row(IDS[0], content_id=IDS[0]))
        new_version(connection, tiers.store, IDS[0])
    report = sync(tiers, batch_size=1)
    assert report.rows == {
        "content_storage_dr": 3, "content_versions_dr": 4, "content_media_dr": 1, "cleanup_audit_dr": 0,
    }  # fmt: skip
    synced = {row["sync_id"] for table in TABLES for row in history(tiers, table, "entity_id")}
    assert len(synced) == 1
    assert_equal(tiers)


def test_windows_end_between_transactions(world: FakeWorld) -> None:
    sizes = (3, 1, 4, 2)
    ids = iter(IDS * 2)
    for size in sizes:
        with world.database.connection() as connection:
            for each in [next(ids) for _ in range(size)]:
                insert(connection, "media_assets", media_row(each), upsert=True)
    seen: list[int] = []
    sync(world, batch_size=4, on_window=lambda report: seen.append(report.changes))
    assert [later - earlier for earlier, later in zip([0, *seen], seen, strict=False) if later > earlier] == [4, 4, 2]
    assert_equal(world)


def test_a_backlog_is_left_where_the_windows_of_a_run_are_used_up(world: FakeWorld) -> None:
    for each in IDS[:4]:
        with world.database.connection() as connection:
            insert(connection, "media_assets", media_row(each))
    report = sync(world, batch_size=1, max_windows=2)
    assert (report.windows, report.backlog) == (2, True)
    assert len(current(world)["media_assets"]) == 2
    assert sync(world, batch_size=1).backlog is False
    assert_equal(world)


def test_bodies_that_do_not_add_up_are_withheld_and_reported(tiers: Tiers) -> None:
    wrong, missing, good = IDS[:3]
    put_bodies(tiers.store, {(wrong, 1): "something else", (good, 1): body_of(good, 1)})
    with tiers.database.connection() as connection:
        for each in (wrong, missing, good):
            insert(connection, CONTENT, content_row(each))
        insert(connection, "content_versions", version_row(wrong))
    report = sync(tiers)
    shown = current(tiers)[CONTENT]
    assert {key: state.body for key, state in shown.items()} == {
        str(wrong): None,
        str(missing): None,
        str(good): body_of(good, 1),
    }
    with tiers.database.connection() as connection:
        found = connection.execute(
            "SELECT zerodb_row_id, entity, reason, found_sha256 IS NULL AS absent "
            "FROM replication_quarantine ORDER BY 1, 2"
        ).fetchall()
    assert [tuple(row.values()) for row in found] == [
        (f"{wrong}.v1", "content_storage", "body_differs", False),
        (f"{wrong}.v1", "content_versions", "body_differs", False),
        (f"{missing}.v1", "content_storage", "body_missing", True),
    ]
    assert report.bodies_withheld == 3
    assert any(f"{missing}.v1" in sample for sample in report.withheld_samples)
    assert report.as_metadata()["bodies_withheld"] == 3
    assert_equal(tiers)


def test_a_body_that_has_no_utf8_does_not_stop_replication(world: FakeWorld) -> None:
    with world.database.connection() as connection:
        add_content(connection, world.store, IDS[:2])
    world.store.documents["content_items"][f"{IDS[0]}.v1"]["body"] = "half an emoji: \ud83d"
    sync(world)
    assert current(world)[CONTENT].keys() == {str(IDS[0]), str(IDS[1])}
    assert_equal(world)


def test_bodies_that_are_kept_for_a_second_table_are_not_mistaken_for_missing(
    world: FakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Room for some of the bodies only: what was kept from the versions makes room while the items are filled.
    # Items without a version record sort first, so that they push the kept ones out.
    real = extract.BodyReader
    monkeypatch.setattr(engine, "BodyReader", lambda *given: real(*given, keep_bytes=250))
    with world.database.connection() as connection:
        add_content(connection, world.store, IDS)
        connection.execute("DELETE FROM content_versions WHERE content_id = ANY(%s)", (IDS[:4],))
    sync(world)
    assert_equal(world)
    with world.database.connection() as connection:
        assert connection.execute("SELECT * FROM replication_quarantine").fetchall() == []


def test_a_second_sync_adds_nothing_and_asks_nothing(world: FakeWorld) -> None:
    with world.database.connection() as connection:
        add_content(connection, world.store, IDS)
    sync(world)
    before = {table: len(history(world, table, "entity_id")) for table in TABLES}
    world.warehouse.calls.clear()
    world.store.gets.clear()
    report = sync(world)
    assert (report.changes, report.files, report.windows) == (0, 0, 1)
    # No query: a normal cycle costs load jobs only, and an empty one just the row of the sync log.
    assert world.warehouse.calls == [("load", "content_sync_log")]
    assert world.store.gets == []
    assert {table: len(history(world, table, "entity_id")) for table in TABLES} == before
    assert_equal(world)


def test_a_normal_cycle_is_load_jobs_only(world: FakeWorld) -> None:
    with world.database.connection() as connection:
        add_content(connection, world.store, IDS)
        insert(connection, "media_assets", media_row(IDS[0]))
    sync(world)
    loads = [("load", f"{name}_dr") for name in ("content_versions", "content_media", "content_storage")]
    assert world.warehouse.calls == [*loads, ("load", "content_sync_log")]
