"""What a cycle costs, what it leaves behind, and what is seen of it from outside."""

import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from content_orchestration.core.errors import Permanent
from content_orchestration.core.integrity.tombstones import missing_tombstones
from content_orchestration.core.replication.engine import Replicator, SyncReport
from content_orchestration.core.replication.maintenance import maintain_change_log
from content_orchestration.core.replication.status import (
    backlog,
    horizon,
    lag_chart,
    open_window_seconds,
    recent_windows,
    replication_status,
)
from content_orchestration.core.replication.tables import CONTENT_STORAGE, ENTITIES
from content_orchestration.core.replication.window import Part, WindowLog
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.replication_model import add_content, assert_equal
from content_orchestration_tests.tiers import Tiers


class Counting:
    """A warehouse that counts what is asked of it."""

    def __init__(self, warehouse: Any) -> None:
        self._warehouse = warehouse
        self.calls: Counter[str] = Counter()
        self.loads: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            self.calls[name] += 1
            if name == "load_parquet":
                self.loads[given[0]] += 1
            return getattr(self._warehouse, name)(*given, **named)

        return call if callable(getattr(self._warehouse, name)) else getattr(self._warehouse, name)


def sync(tiers: Tiers, warehouse: Any = None) -> SyncReport:
    return Replicator(
        tiers.database,
        tiers.store,
        warehouse or tiers.warehouse,
        batch_size=10_000,
        max_bytes=10**8,
        run_id="sync",
        sleep=lambda seconds: None,
    ).sync()


def add_items(tiers: Tiers, count: int) -> list[uuid.UUID]:
    ids = [uuid.uuid4() for _ in range(count)]
    with tiers.database.connection() as connection:
        add_content(connection, tiers.store, ids)
    return ids


def test_a_cycle_makes_load_jobs_and_no_query_that_scans_history(tiers: Tiers) -> None:
    counting = Counting(tiers.warehouse)
    sync(tiers, counting)
    assert counting.calls == {"load_parquet": 1}, "an empty cycle loads its log row and nothing else"

    add_items(tiers, 3)
    counting = Counting(tiers.warehouse)
    sync(tiers, counting)
    assert counting.calls == {"load_parquet": 3}
    assert counting.loads == {"content_storage_dr": 1, "content_versions_dr": 1, "content_sync_log": 1}


def test_96_cycles_each_loaded_twice_stay_within_a_tenth_of_the_partition_limit(tiers: Tiers) -> None:
    add_items(tiers, 1)
    counting = Counting(tiers.warehouse)
    sync(tiers, counting)
    # cloud.google.com/bigquery/quotas: 30,000 modifications a day of a column-partitioned table, in place of the 1,500
    # of a table without partitions; each load of a cycle touches the partition of its own day only.
    assert max(counting.loads.values()) * 96 * 2 <= 30_000 * 0.1
    table = tiers.warehouse._get_table("content_storage_dr")
    assert table.time_partitioning.field == "synced_at"


def test_the_heartbeat_travels_the_whole_path_each_cycle(tiers: Tiers) -> None:
    started = datetime.now(UTC)
    for _ in range(2):
        sync(tiers)
    log = tiers.warehouse.qualified("content_sync_log")
    beats = [row["heartbeat_at"] for row in tiers.warehouse.query(f"SELECT heartbeat_at FROM `{log}` ORDER BY sync_id")]
    assert len(beats) == 2
    assert started - timedelta(seconds=5) < beats[0] < beats[1]
    assert [row["heartbeat_at"] for row in recent_windows(tiers.database)] == beats[::-1]


def test_a_transaction_that_pins_the_horizon_is_named_and_holds_the_heartbeat_back(tiers: Tiers) -> None:
    sync(tiers)
    with PostgresClient(tiers.database_url, application_name="nightly import") as other, other.connection() as pinning:
        pinning.execute("SELECT pg_current_xact_id()")
        add_items(tiers, 2)
        report = sync(tiers)
        oldest = horizon(tiers.database)
        waiting = backlog(tiers.database)

    assert report.changes == 0
    assert oldest.seconds > 0
    assert "nightly import" in (oldest.who or "")
    assert waiting.changes == 4
    assert waiting.bytes > 0
    assert waiting.oldest_seconds > 0
    assert recent_windows(tiers.database)[0]["heartbeat_at"] is None
    assert sync(tiers).changes == 4
    assert backlog(tiers.database).changes == 0
    assert_equal(tiers)


def test_status_and_chart_tell_what_happened(tiers: Tiers) -> None:
    before = replication_status(tiers.database, "BIGQUERY_SYNC_ENABLED is false")
    assert (before.enabled, before.last_sync_id, lag_chart(before.windows)) == (False, None, "no window has closed yet")
    assert before.error_rate == 0.0
    assert before.as_metadata()["last_closed_at"] == "never"

    add_items(tiers, 2)
    report = sync(tiers)
    status = replication_status(tiers.database, None)

    assert status.enabled
    assert status.last_sync_id == report.last_sync_id
    assert status.backlog.changes == 0
    assert status.as_metadata()["windows_last_day"] == 1
    chart = lag_chart(status.windows)
    assert "lag of the last 1 windows" in chart
    assert "| 4 |" in chart


def test_an_open_window_shows_its_age_and_counts_as_trouble(tiers: Tiers) -> None:
    assert open_window_seconds(tiers.database) is None
    log = WindowLog(tiers.database)
    low = log.start()
    window = log.open(low, log.bounds(low, 10), "left")
    with tiers.database.connection() as connection:
        connection.execute("UPDATE replication_windows SET opened_at = opened_at - interval '2 hours'")
    found = open_window_seconds(tiers.database)
    assert found is not None
    assert found[0] == window.sync_id
    assert found[1] > 7000
    assert replication_status(tiers.database, None).error_rate == 1.0


def test_a_run_whose_window_was_taken_over_can_record_and_close_nothing(tiers: Tiers) -> None:
    log = WindowLog(tiers.database)
    low = log.start()
    mine = log.open(low, log.bounds(low, 10), "slow run")
    theirs = log.again(mine, "other run")
    part = Part("content_storage_dr", 0, uuid.uuid4(), 1, 0, 10, "job")

    with pytest.raises(Permanent, match="another run took the window over"):
        log.record(mine, part)
    with pytest.raises(Permanent, match="could not be closed"):
        log.close(mine, {}, 0, {})
    with pytest.raises(Permanent, match="taken over by another run"):
        log.again(mine, "slow run")
    log.record(theirs, part)
    log.close(theirs, {}, 0, {})
    with pytest.raises(Permanent, match="was not recorded"):
        log.record(theirs, replace(part, number=1))


@pytest.fixture
def change_log_days(tiers: Tiers) -> None:
    """Partitions for two days that are over: the first holds changes, as the default partition does."""
    with tiers.database.connection() as connection:
        for days in (2, 3):
            row = connection.execute(
                "SELECT format('CREATE TABLE %%I PARTITION OF content_changes FOR VALUES FROM (%%L) TO (%%L)', "
                "'content_changes_' || to_char(d, 'YYYYMMDD'), d::timestamp AT TIME ZONE 'UTC', "
                "(d + 1)::timestamp AT TIME ZONE 'UTC') AS command "
                "FROM (SELECT (now() AT TIME ZONE 'UTC')::date - %s AS d) AS days",
                (days,),
            ).fetchone()
            assert row is not None
            connection.execute(row["command"])


def partitions(tiers: Tiers) -> int:
    with tiers.database.connection() as connection:
        row = connection.execute(
            "SELECT count(*) AS n FROM pg_inherits WHERE inhparent = 'content_changes'::regclass"
        ).fetchone()
    return int(row["n"]) if row else 0


@pytest.mark.usefixtures("change_log_days")
def test_days_of_the_change_log_go_whole_once_every_window_has_passed(tiers: Tiers) -> None:
    WindowLog(tiers.database).start()
    with tiers.database.connection() as connection:
        for age in ("2 days", "5 days"):
            connection.execute(
                "INSERT INTO content_changes (entity, entity_id, tenant_id, op, changed_at) "
                "VALUES ('content_storage', gen_random_uuid(), gen_random_uuid(), 'U', now() - %s::interval)",
                (age,),
            )
    before = partitions(tiers)
    assert maintain_change_log(tiers.database) == 1, "the day without changes; the other one is not replicated yet"
    report = sync(tiers)
    assert report.partitions_dropped == 1
    assert partitions(tiers) == before - 2
    with tiers.database.connection() as connection:
        left = connection.execute(
            "SELECT count(*) AS n FROM content_changes WHERE changed_at < now() - interval '1 day'"
        )
        assert left.fetchone() == {"n": 0}, "the default partition is emptied of what was passed"


@pytest.mark.usefixtures("change_log_days")
def test_maintenance_gives_way_to_whoever_uses_the_change_log(tiers: Tiers) -> None:
    before = partitions(tiers)
    with tiers.database.connection() as reader:
        reader.execute("SELECT count(*) FROM content_changes")
        assert sync(tiers).partitions_dropped == 0
        assert partitions(tiers) == before
    assert sync(tiers).partitions_dropped == 2


def test_a_lost_tombstone_is_found(tiers: Tiers) -> None:
    ids = add_items(tiers, 3)
    sync(tiers)
    with tiers.database.connection() as connection:
        connection.execute("DELETE FROM content_storage_metadata WHERE id = ANY (%s)", (ids[:2],))
    sync(tiers)
    clean = missing_tombstones(tiers.database, tiers.warehouse, CONTENT_STORAGE)
    assert (clean.looked_at, clean.still_live) == (2, [])
    assert [missing_tombstones(tiers.database, tiers.warehouse, entity).looked_at for entity in ENTITIES[:2]] == [0, 0]

    table = tiers.warehouse.qualified("content_storage_dr")
    list(tiers.warehouse.query(f"DELETE FROM `{table}` WHERE op = 'delete' AND entity_id = '{ids[0]}'"))
    found = missing_tombstones(tiers.database, tiers.warehouse, CONTENT_STORAGE)
    assert (found.looked_at, found.still_live) == (2, [str(ids[0])])
