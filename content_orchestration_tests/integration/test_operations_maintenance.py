"""Maintenance on a real PostgreSQL: sizes and their estimate, what is vacuumed and rebuilt, and what keeps it away."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from content_orchestration.core.drill.world import LOCK as DRILL
from content_orchestration.core.errors import AlreadyRunning, Transient
from content_orchestration.core.operations.exclusion import MAINTENANCE, RESTORE, undisturbed
from content_orchestration.core.operations.maintenance import Maintenance, MaintenanceReport
from content_orchestration.core.operations.rules import Step
from content_orchestration.core.operations.sizes import latest, measure
from content_orchestration.resources.postgres_maintenance import MaintenancePostgres, drills_database

ROWS = 60_000


@pytest.fixture
def database(database_url: str) -> Iterator[MaintenancePostgres]:
    with MaintenancePostgres(database_url, pool_size=8) as client:
        yield client


@pytest.fixture
def admin(database_url: str) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


def bloated(admin: psycopg.Connection[dict[str, Any]], name: str = "heavy", rows: int = ROWS) -> None:
    """A table of which nine tenths were deleted, counted and not vacuumed."""
    admin.execute(
        f"CREATE TABLE {name} (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), made timestamptz DEFAULT now(), "
        "word text, number int)"
    )
    admin.execute(f"CREATE INDEX {name}_number ON {name} (number)")
    admin.execute(
        f"INSERT INTO {name} (word, number) SELECT repeat('x', 20 + g %% 50), g FROM generate_series(1, %s) AS g",
        [rows],
    )
    admin.execute(f"VACUUM ANALYZE {name}")
    admin.execute(f"DELETE FROM {name} WHERE number % 10 <> 0")
    admin.execute("SELECT pg_stat_force_next_flush()")
    admin.execute(f"ANALYZE {name}")


def maintenance(database: MaintenancePostgres, **given: Any) -> Maintenance:
    values: dict[str, Any] = {"drills": None, "budget_seconds": 60.0, "lock_seconds": 2.0, "run_id": "run"} | given
    return Maintenance(database, values.pop("drills"), **values)


def done(report: MaintenanceReport) -> list[tuple[str, str, str]]:
    return [(action.step.action, action.step.relation, action.outcome) for action in report.actions]


def index_names(admin: psycopg.Connection[dict[str, Any]], table: str) -> list[str]:
    rows = admin.execute("SELECT indexname AS name FROM pg_indexes WHERE tablename = %s ORDER BY 1", [table]).fetchall()
    return [row["name"] for row in rows]


def bytes_of(admin: psycopg.Connection[dict[str, Any]], name: str) -> int:
    return int((admin.execute("SELECT pg_relation_size(%s::regclass) AS n", [name]).fetchone() or {})["n"])


# --- sizes -------------------------------------------------------------------------------------------------------


def test_the_estimate_of_bloat_is_what_a_rewrite_frees(
    database: MaintenancePostgres, admin: psycopg.Connection[dict[str, Any]]
) -> None:
    bloated(admin)
    admin.execute("VACUUM ANALYZE heavy")
    by_name = {table.name: table for table in measure(database).tables}
    names = ("heavy", "heavy_pkey", "heavy_number")
    before = sum(bytes_of(admin, name) for name in names)
    estimate = by_name["heavy"].bloat_bytes
    admin.execute("VACUUM FULL heavy")
    freed = before - sum(bytes_of(admin, name) for name in names)
    assert freed > 3 * 2**20
    assert estimate is not None
    assert abs(estimate - freed) <= 0.1 * freed


def test_an_index_that_shares_equal_keys_is_no_bloat(
    database: MaintenancePostgres, admin: psycopg.Connection[dict[str, Any]]
) -> None:
    admin.execute("CREATE TABLE few (tenant int, note text)")
    admin.execute("CREATE INDEX few_tenant ON few (tenant)")
    admin.execute("CREATE INDEX few_lower ON few (lower(note))")
    admin.execute("INSERT INTO few SELECT g % 40, NULL FROM generate_series(1, 200000) AS g")
    admin.execute("DELETE FROM few WHERE tenant > 2")
    admin.execute("VACUUM ANALYZE few")
    steps = [
        action.step.relation for action in maintenance(database).run(vacuum=False, reindex=True, dry_run=True).actions
    ]
    assert "few_tenant" in steps
    admin.execute("REINDEX TABLE few")
    admin.execute("VACUUM ANALYZE few")
    assert maintenance(database).run(vacuum=False, reindex=True, dry_run=True).actions == []


def test_sizes_grow_partitions_count_with_their_table_and_unread_indexes_are_named(
    database: MaintenancePostgres, admin: psycopg.Connection[dict[str, Any]]
) -> None:
    admin.execute("CREATE TABLE parted (n int, m int) PARTITION BY RANGE (n)")
    admin.execute("CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (1000)")
    admin.execute("CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (1000) TO (100000)")
    admin.execute("CREATE INDEX parted_m ON parted (m)")
    admin.execute("CREATE UNIQUE INDEX parted_n ON parted (n)")
    admin.execute("INSERT INTO parted SELECT g, g FROM generate_series(1, 5000) AS g")
    admin.execute("SELECT pg_stat_force_next_flush()")
    never = {table.name: table for table in measure(database).tables}
    assert never["parted"].bloat_bytes is None, "before the first ANALYZE nothing is known, and that is not 0"
    assert {"parted_low", "parted_high"} & never.keys() == set()
    assert never["parted"].growth_bytes is None
    assert never["parted"].live_rows == 5000

    admin.execute("INSERT INTO parted SELECT g, g FROM generate_series(5001, 49999) AS g")
    admin.execute("ANALYZE")
    admin.execute("SELECT pg_stat_force_next_flush()")
    report = measure(database)
    grown = {table.name: table for table in report.tables}["parted"]
    assert grown.growth_bytes is not None
    assert grown.growth_bytes > 2**20
    assert grown.bloat_bytes is not None
    assert grown.bloat_bytes < 0.1 * grown.total_bytes
    unread = {index.name for index in report.unused_indexes}
    assert "parted_high_m_idx" in unread
    assert "parted_high_n_idx" not in unread, "a unique index keeps a rule"
    assert "parted_low_m_idx" not in unread, "999 rows are read whole"
    admin.execute("SET enable_seqscan = off")
    admin.execute("SELECT * FROM parted WHERE m = 40000").fetchall()
    admin.execute("SELECT pg_stat_force_next_flush()")
    assert "parted_high_m_idx" not in {index.name for index in measure(database).unused_indexes}
    assert latest(database)[0]["total_bytes"] >= latest(database)[-1]["total_bytes"]
    with database.connection() as connection:
        row = connection.execute("SELECT count(DISTINCT measured_at) AS n FROM table_sizes").fetchone()
        assert row == {"n": 3}
        connection.execute("UPDATE table_sizes SET measured_at = measured_at - %s", [timedelta(days=1200)])
    measure(database)
    with database.connection() as connection:
        assert connection.execute("SELECT count(DISTINCT measured_at) AS n FROM table_sizes").fetchone() == {"n": 1}


# --- what is done ------------------------------------------------------------------------------------------------


def test_what_calls_for_it_is_done_and_nothing_else(
    database: MaintenancePostgres, admin: psycopg.Connection[dict[str, Any]]
) -> None:
    bloated(admin)
    admin.execute("CREATE TABLE healthy AS SELECT g FROM generate_series(1, 5000) AS g")
    admin.execute("SELECT pg_stat_force_next_flush()")
    admin.execute("VACUUM ANALYZE healthy")
    before = bytes_of(admin, "heavy_pkey")

    planned = maintenance(database).run(vacuum=True, reindex=True, dry_run=True)
    wanted = [("vacuum", "heavy"), ("reindex", "heavy_pkey"), ("reindex", "heavy_number")]
    assert [(action, name) for action, name, _ in done(planned)] == wanted
    assert bytes_of(admin, "heavy_pkey") == before, "a dry run did something"

    report = maintenance(database).run(vacuum=True, reindex=True, dry_run=False)
    assert done(report) == [(action, name, "done") for action, name in wanted]
    assert report.stopped is None
    assert bytes_of(admin, "heavy_pkey") < before / 3
    assert report.as_metadata()["bytes_freed"] > 2**20
    assert index_names(admin, "heavy") == ["heavy_number", "heavy_pkey"]
    admin.execute("SELECT pg_stat_force_next_flush()")
    stat = admin.execute("SELECT n_dead_tup, vacuum_count FROM pg_stat_user_tables WHERE relname = 'heavy'").fetchone()
    assert stat == {"n_dead_tup": 0, "vacuum_count": 2}
    with database.connection() as connection:
        rows = connection.execute(
            "SELECT action, relation, outcome, run_id FROM maintenance_actions ORDER BY 1, 2"
        ).fetchall()
    assert [tuple(row.values()) for row in rows] == [
        ("reindex", "heavy_number", "done", "run"), ("reindex", "heavy_pkey", "done", "run"),
        ("vacuum", "heavy", "done", "run"),
    ]  # fmt: skip
    assert maintenance(database).run(vacuum=True, reindex=True, dry_run=False).actions == []


@pytest.mark.parametrize("who", [RESTORE, DRILL, "restore into a scratch schema", MAINTENANCE])
def test_nothing_is_done_beside_a_restore_a_drill_or_another_pass(
    who: str, database: MaintenancePostgres, database_url: str, admin: psycopg.Connection[dict[str, Any]]
) -> None:
    bloated(admin, rows=12_000)
    lock = who
    if who == "restore into a scratch schema":
        lock = "restore into scratch schema s, collections p_*"
        admin.execute(
            "INSERT INTO restore_runs (plan_hash, request, plan, as_of_sync_id, target, run_id) "
            "VALUES (repeat('a', 64), '{}', '{}', 1, 'scratch schema s, collections p_*', 'x')"
        )
    drills = drills_database(database_url)
    assert drills is not None
    with drills, MaintenancePostgres(database_url) as other:
        with other.advisory_lock(lock):
            if who == MAINTENANCE:
                with pytest.raises(AlreadyRunning, match="already running"):
                    maintenance(database, drills=drills).run(vacuum=True, reindex=True, dry_run=False)
            else:
                report = maintenance(database, drills=drills).run(vacuum=True, reindex=True, dry_run=False)
                assert report.actions == []
                assert report.left == 1
                assert "restore" in str(report.stopped) or "dr_drill" in str(report.stopped)
        again = maintenance(database, drills=drills).run(vacuum=True, reindex=True, dry_run=False)
        assert done(again) == [("vacuum", "heavy", "done")]


def test_no_restore_begins_within_a_step(database: MaintenancePostgres, database_url: str) -> None:
    with (
        MaintenancePostgres(database_url) as other,
        undisturbed(database, None),
        pytest.raises(AlreadyRunning),
        other.advisory_lock(RESTORE),
    ):
        pass
    with MaintenancePostgres(database_url) as other, other.advisory_lock(RESTORE):
        pass


def test_where_no_drill_has_a_database_there_is_none(database_url: str) -> None:
    assert drills_database(database_url.rpartition("/")[0] + "/content_drill_that_is_not_there") is None
    with pytest.raises(Transient):
        drills_database("postgresql://postgres@127.0.0.1:1/x")


# --- time and locks ----------------------------------------------------------------------------------------------


def test_a_table_that_somebody_holds_is_left_and_the_others_go_on(
    database: MaintenancePostgres, database_url: str, admin: psycopg.Connection[dict[str, Any]]
) -> None:
    bloated(admin, "held", 12_000)
    bloated(admin, "open_table", 11_000)
    with psycopg.connect(database_url) as holder:
        holder.execute("LOCK TABLE held IN ACCESS EXCLUSIVE MODE")
        # Sizes of a locked table cannot be read either; what is due was found before.
        report = _with_steps_of(database, holder, lambda m: m.run(vacuum=True, reindex=False, dry_run=False))
    assert done(report) == [("vacuum", "held", "locked"), ("vacuum", "open_table", "done")]


def _with_steps_of(
    database: MaintenancePostgres, holder: psycopg.Connection[Any], work: Callable[[Maintenance], MaintenanceReport]
) -> MaintenanceReport:
    """Let the pass find its steps while `holder` lets go for a moment, and work while it holds the table again."""
    holder.rollback()
    made = maintenance(database, lock_seconds=0.2)
    steps = made._steps(vacuum=True, reindex=False)
    made._steps = lambda vacuum, reindex: steps  # type: ignore[method-assign]
    holder.execute("LOCK TABLE held IN ACCESS EXCLUSIVE MODE")
    return work(made)


def test_the_time_is_kept_before_a_step_and_within_it(
    database: MaintenancePostgres, database_url: str, admin: psycopg.Connection[dict[str, Any]]
) -> None:
    bloated(admin)
    now = [0.0]

    def jumps() -> float:
        now[0] += 10.0
        return now[0]

    report = maintenance(database, budget_seconds=25.0, clock=jumps).run(vacuum=True, reindex=True, dry_run=False)
    assert (len(report.actions), report.left, report.stopped) == (1, 2, "the time is used up")

    bloated(admin, "second")
    before = index_names(admin, "second")
    with _old_snapshot(database_url, "second"):
        # REINDEX waits for the snapshot, and the time ends: what it had begun is taken away again at once.
        started = time.monotonic()
        cut = maintenance(database, budget_seconds=4.0, lock_seconds=60.0).run(
            vacuum=False, reindex=True, dry_run=False
        )
        took = time.monotonic() - started
        assert "out_of_time" in {outcome for _, _, outcome in done(cut)}
        assert took < 60
    finished = maintenance(database).run(vacuum=False, reindex=True, dry_run=False)
    assert {outcome for _, _, outcome in done(finished)} <= {"done"}
    assert index_names(admin, "second") == before


@contextmanager
def _old_snapshot(database_url: str, table: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute(f"SELECT count(*) FROM {table}").fetchall()
        yield reader


def test_a_step_that_would_not_fit_does_not_begin(
    database: MaintenancePostgres, admin: psycopg.Connection[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bloated(admin, rows=12_000)
    monkeypatch.setattr("content_orchestration.core.operations.rules._VACUUM_BYTES_A_SECOND", 1)
    report = maintenance(database).run(vacuum=True, reindex=False, dry_run=False)
    assert done(report) == [("vacuum", "heavy", "out_of_time")]
    assert "MAINTENANCE_BUDGET_MINUTES" in str(report.actions[0].detail)


def test_what_a_killed_reindex_left_is_dropped_by_the_next_pass(
    database: MaintenancePostgres, database_url: str, admin: psycopg.Connection[dict[str, Any]]
) -> None:
    admin.execute("CREATE TABLE small (id int PRIMARY KEY)")
    admin.execute("CREATE INDEX small_ccnew ON small (id)")
    with _old_snapshot(database_url, "small"), psycopg.connect(database_url, autocommit=True) as worker:
        work = threading.Thread(target=_ended, args=(worker, "REINDEX INDEX CONCURRENTLY small_pkey"))
        work.start()
        _until(lambda: "small_pkey_ccnew" in index_names(admin, "small"))
        assert maintenance(database).run(vacuum=False, reindex=True, dry_run=True).actions == [], "it is being made"
        admin.execute("SELECT pg_terminate_backend(%s)", [worker.info.backend_pid])
        work.join(20)
    assert index_names(admin, "small") == ["small_ccnew", "small_pkey", "small_pkey_ccnew"]
    report = maintenance(database).run(vacuum=False, reindex=True, dry_run=False)
    assert done(report) == [("drop_index", "small_pkey_ccnew", "done")]
    assert index_names(admin, "small") == ["small_ccnew", "small_pkey"], "a valid index of that name is somebody's"


def test_what_is_gone_or_refused_is_said(
    database: MaintenancePostgres, admin: psycopg.Connection[dict[str, Any]]
) -> None:
    admin.execute("CREATE TABLE ranges (r int4range, EXCLUDE USING gist (r WITH &&))")
    made = maintenance(database)
    steps = [Step("vacuum", "gone", "", 0), Step("reindex", "gone", "", 0), Step("reindex", "ranges_r_excl", "", 0)]
    made._steps = lambda vacuum, reindex: steps  # type: ignore[method-assign]
    report = made.run(vacuum=True, reindex=True, dry_run=False)
    assert [outcome for _, _, outcome in done(report)] == ["gone", "gone", "failed"]
    assert "exclusion constraint" in str(report.failed[0].detail)
    assert report.as_metadata()["outcomes"] == {"failed": 1, "gone": 2}
    assert made.run(vacuum=False, reindex=False, dry_run=True).as_metadata()["steps"] == 3


def test_a_server_that_ends_the_connection_is_an_outage(
    database: MaintenancePostgres, database_url: str, admin: psycopg.Connection[dict[str, Any]]
) -> None:
    bloated(admin)
    with _old_snapshot(database_url, "heavy"):
        failures: list[Exception] = []

        def work() -> None:
            try:
                maintenance(database, lock_seconds=60.0).run(vacuum=False, reindex=True, dry_run=False)
            except Exception as error:  # noqa: BLE001  (looked at below)
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        _until(lambda: any(name.endswith("_ccnew") for name in index_names(admin, "heavy")))
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE '%REINDEX INDEX CONCURRENTLY%' AND pid <> pg_backend_pid()"
        )
        thread.join(30)
    assert [type(error) for error in failures] == [Transient]


def _ended(connection: psycopg.Connection[Any], text: str) -> None:
    try:
        connection.execute(text)
    except psycopg.OperationalError:
        return


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
