"""A restore beside replication: the next sync neither loses nor doubles anything, whatever window was open, whichever
cluster PostgreSQL is.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest

from content_orchestration.core.errors import Transient
from content_orchestration.core.restore.request import RestoreRequest
from content_orchestration.core.schema.postgres import upgrade
from content_orchestration.local.platform_tables import create_platform_tables
from content_orchestration.local.postgres import connect
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.replication_fakes import sync
from content_orchestration_tests.replication_model import (
    add_content,
    assert_equal,
    current,
    expected,
    insert,
    media_row,
    new_version,
)
from content_orchestration_tests.restore_model import IDS, empty, restore, restorer, state
from content_orchestration_tests.tiers import Tiers, open_tiers

FEW = IDS[:6]
ITEMS = "content_storage_metadata"


def written(tiers: Tiers) -> int:
    with tiers.database.connection() as connection:
        add_content(connection, tiers.store, FEW)
        new_version(connection, tiers.store, FEW[0])
        insert(connection, "media_assets", media_row(FEW[0], content_id=FEW[0]))
    found = sync(tiers).last_sync_id
    assert found is not None
    return found


def cut_off(tiers: Tiers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync that loads versions and media, and no items: its window stays open."""
    original = tiers.warehouse.load_parquet

    def load(table: str, *given: Any) -> Any:
        if table == "content_storage_dr":
            raise Transient("cut off, on purpose")
        return original(table, *given)

    with monkeypatch.context() as patch, suppress(Transient):
        patch.setattr(tiers.warehouse, "load_parquet", load)
        sync(tiers)
    with tiers.database.connection() as connection:
        row = connection.execute("SELECT count(*) AS n FROM replication_windows WHERE status = 'open'").fetchone()
    assert row == {"n": 1}


def windows_differ_only_by_age(tiers: Tiers) -> None:
    """What `assert_equal` asks for, where cursors and windows were begun anew."""
    assert current(tiers) == expected(tiers)


def test_a_window_that_was_open_when_the_restore_began(tiers: Tiers, monkeypatch: pytest.MonkeyPatch) -> None:
    sync_id = written(tiers)
    with tiers.database.connection() as connection:
        connection.execute(f"UPDATE {ITEMS} SET title = 'in the window' WHERE id = %s", [FEW[1]])  # type: ignore[arg-type]
        connection.execute(f"DELETE FROM {ITEMS} WHERE id = %s", [FEW[2]])  # type: ignore[arg-type]
        add_content(connection, tiers.store, [IDS[20]])
    cut_off(tiers, monkeypatch)
    report = restore(tiers, RestoreRequest(as_of=sync_id, on_conflict="overwrite"))
    assert report.tables[ITEMS].newer_not_in_history == 1
    with tiers.database.connection() as connection:
        connection.execute(f"UPDATE {ITEMS} SET title = 'behind it' WHERE id = %s", [FEW[3]])  # type: ignore[arg-type]
    sync(tiers)
    assert_equal(tiers)
    rows = state(tiers)[ITEMS]
    assert str(FEW[2]) in rows
    assert str(IDS[20]) in rows
    assert "in the window" not in rows[str(FEW[1])][0]


@contextmanager
def new_server(tiers: Tiers) -> Iterator[Tiers]:
    """PostgreSQL and ZeroDB are lost: a database that was migrated anew, empty collections, the same dataset."""
    name = f"new_{uuid.uuid4().hex}"
    url = f"postgresql://postgres@127.0.0.1:{tiers.settings.local_postgres_port}/{name}"
    with connect(tiers.settings.local_postgres_port) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")  # type: ignore[arg-type]
    try:
        with psycopg.connect(url) as plain:
            create_platform_tables(plain)
        with PostgresClient(url) as database:
            upgrade(database)
        with open_tiers(tiers.settings, url, f"new-{name}", tiers.bigquery_dataset) as opened:
            yield opened
    finally:
        with connect(tiers.settings.local_postgres_port) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]


def test_both_lost_while_a_sync_was_open(tiers: Tiers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything of the last closed sync is there; what only the torn sync had goes from BigQuery's current state."""
    written(tiers)
    recorded = state(tiers)
    with tiers.database.connection() as connection:
        connection.execute("UPDATE media_assets SET url = 'torn'")
        add_content(connection, tiers.store, [IDS[20]])
    cut_off(tiers, monkeypatch)
    with new_server(tiers) as fresh:
        plan = restorer(fresh).plan(RestoreRequest())
        assert plan.cluster is not None
        assert "Before the rows: replication begins in this database" in plan.as_markdown()
        report = restore(fresh, RestoreRequest())
        assert report.verified
        assert state(fresh) == recorded
        sync(fresh)
        # The keys that only the torn sync had are noted as gone by the sync after the comparison.
        sync(fresh)
        windows_differ_only_by_age(fresh)
        with fresh.database.connection() as connection:
            connection.execute(f"UPDATE {ITEMS} SET title = 'life goes on'")  # type: ignore[arg-type]
        sync(fresh)
        windows_differ_only_by_age(fresh)


def test_sync_ids_go_on_above_the_history_even_where_the_clock_is_behind(tiers: Tiers) -> None:
    written(tiers)
    ahead = 4_000_000_000_000_000
    with tiers.database.connection() as connection:
        connection.execute("UPDATE replication_cursor SET last_sync_id = %s", [ahead])
        connection.execute(f"UPDATE {ITEMS} SET title = 'from the future'")  # type: ignore[arg-type]
    last = sync(tiers).last_sync_id
    assert last is not None
    assert last > ahead
    recorded = state(tiers)
    # Replication has begun already, under ids that the history is above.
    with tiers.database.connection() as connection:
        connection.execute("UPDATE replication_cursor SET last_sync_id = 5")
    assert "go on above those of the history" in (restorer(tiers).plan(RestoreRequest()).cluster or "")
    restore(tiers, RestoreRequest(on_conflict="overwrite"))
    after = sync(tiers).last_sync_id
    assert after is not None
    assert after > last
    with new_server(tiers) as fresh:
        restore(fresh, RestoreRequest())
        assert state(fresh) == recorded
        with fresh.database.connection() as connection:
            connection.execute(f"UPDATE {ITEMS} SET title = 'newest'")  # type: ignore[arg-type]
        sync(fresh)
        windows_differ_only_by_age(fresh)


def test_a_copy_that_was_restored_into_another_cluster(tiers: Tiers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor came along and names the old cluster, with a window open; transaction ids mean nothing here."""
    written(tiers)
    recorded = state(tiers)
    with tiers.database.connection() as connection:
        connection.execute(f"UPDATE {ITEMS} SET title = 'x' WHERE id = %s", [FEW[0]])  # type: ignore[arg-type]
    cut_off(tiers, monkeypatch)
    with tiers.database.connection() as connection:
        connection.execute("UPDATE replication_cursor SET system_identifier = 'elsewhere', next_xid = '9000000000'")
        connection.execute("UPDATE replication_windows SET system_identifier = 'elsewhere'")
    empty(tiers)
    plan = restorer(tiers).plan(RestoreRequest())
    assert "moves from cluster elsewhere" in (plan.cluster or "")
    report = restore(tiers, RestoreRequest())
    assert report.cluster == plan.cluster
    assert state(tiers) == recorded
    sync(tiers)
    sync(tiers)
    windows_differ_only_by_age(tiers)


def test_a_restore_into_empty_tables_after_their_deletes_were_replicated(tiers: Tiers) -> None:
    """Tombstones are the newest history; the restored rows come behind them."""
    sync_id = written(tiers)
    recorded = state(tiers)
    empty(tiers)
    sync(tiers)
    assert not any(current(tiers).values())
    restore(tiers, RestoreRequest(as_of=sync_id))
    assert state(tiers) == recorded
    sync(tiers)
    assert_equal(tiers)
