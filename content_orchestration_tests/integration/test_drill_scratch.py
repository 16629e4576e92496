"""The scratch world of a drill: made, marked, removed, and never mistaken for what is somebody else's."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest
from google.api_core import exceptions as google

from content_orchestration.core.drill.record import DrillRecord
from content_orchestration.core.drill.result import DrillResult
from content_orchestration.core.drill.scratch import MARKER, Scratch, clear, mark, require_other_database
from content_orchestration.core.drill.state import record_state
from content_orchestration.core.drill.world import LOCK, World, build, built_world
from content_orchestration.core.errors import AlreadyRunning, Permanent, Transient
from content_orchestration.core.replication.tables import CONTENT_STORAGE
from content_orchestration.core.schema.documents import ensure_collections
from content_orchestration.local.ports import free_ports
from content_orchestration.resources.drill_clients import DrillBigQuery, DrillPostgres
from content_orchestration.settings import PROJECT_ROOT, Settings
from content_orchestration_tests.drill_tiers import Names, open_scratch, scratch_names
from content_orchestration_tests.tiers import Tiers

ITEMS = 40


@pytest.fixture
def names(settings: Settings) -> Iterator[Names]:
    with scratch_names(settings) as found:
        yield found


@pytest.fixture
def scratch(settings: Settings, names: Names) -> Iterator[Scratch]:
    with open_scratch(settings, names) as opened:
        opened.database.create_if_missing()
        yield opened


def is_empty(scratch: Scratch) -> bool:
    with scratch.database.connection() as connection:
        tables = connection.execute(
            "SELECT count(*) AS n FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        ).fetchone()
    return tables == {"n": 0} and not scratch.store.collections() and not scratch.warehouse.table_names()


def run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for each in statements:
            connection.execute(each)  # type: ignore[arg-type]


def test_a_world_is_built_replicated_and_removed(scratch: Scratch) -> None:
    with built_world(scratch, ITEMS, "run") as world:
        state = world.state()
        assert len(world.tenant_ids()) == 5
        assert {place for place, _ in state.things} == {
            "content_storage_metadata", "content_versions", "media_assets", "content_quota_usage",
            "zerodb content_items", "zerodb content_versions", "zerodb content_media_files",
        }  # fmt: skip
        again = record_state(scratch.database, scratch.store)
        assert not state.differences(again).lost
        assert scratch.warehouse.row_count("content_storage_dr") > ITEMS
        with scratch.database.connection() as connection:
            syncs = connection.execute(
                "SELECT count(*) AS n FROM replication_windows WHERE status = 'closed'"
            ).fetchone()
            odd = connection.execute(
                "SELECT count(*) AS n FROM content_storage_metadata "
                "WHERE created_at IN ('infinity', '0044-03-15 12:00+00 BC')"
            ).fetchone()
        assert (syncs, odd) == ({"n": 2}, {"n": 2})
    assert is_empty(scratch)


def test_a_second_drill_does_not_enter(scratch: Scratch, settings: Settings, names: Names) -> None:
    with (
        scratch.database.advisory_lock(LOCK),
        open_scratch(settings, names) as other,
        pytest.raises(AlreadyRunning, match="dr_drill is already running"),
        built_world(other, ITEMS, "second"),
    ):
        raise AssertionError("two drills in one world")
    assert is_empty(scratch)


@pytest.mark.parametrize("leave", ["marked", "lost"])
def test_what_a_dead_drill_left_is_removed_by_the_next(scratch: Scratch, names: Names, leave: str) -> None:
    if leave == "marked":
        mark(scratch)
    else:
        build(World(scratch, ITEMS, "dead"))
        run(
            names.database_url,
            "DROP TABLE content_versions, content_orchestration_version CASCADE",
            "CREATE UNLOGGED TABLE restore_ab12_content_storage (row_json text)",
        )
        scratch.store.drop_collection("content_items")
    assert not is_empty(scratch)
    assert clear(scratch) is True
    assert is_empty(scratch)
    assert clear(scratch) is False


def test_a_drill_that_is_killed_for_real_is_cleaned_up_by_the_next(
    scratch: Scratch, settings: Settings, names: Names
) -> None:
    """SIGKILL in the middle of the second sync of the world."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from content_orchestration.core.drill.world import built_world\n"
        "from content_orchestration.settings import Settings\n"
        "from content_orchestration_tests.drill_tiers import Names, open_scratch\n"
        "settings = Settings()\n"
        f"with open_scratch(settings, {names!r}) as scratch, built_world(scratch, {ITEMS}, 'killed'):\n"
        "    raise SystemExit('it was not killed')\n"
    )
    values = {
        "LOCAL_POSTGRES_PORT": str(settings.local_postgres_port),
        "LOCAL_ZERODB_PORT": str(settings.local_zerodb_port),
        "LOCAL_BIGQUERY_PORT": str(settings.local_bigquery_port),
        "LOCAL_STATE_DIR": str(settings.local_state_dir),
        "CONTENT_FAILPOINT": "part_loaded:4",
    }
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT_ROOT,
        env=os.environ | values,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert not is_empty(scratch)
    with built_world(scratch, ITEMS, "next") as world:
        assert world.state().things
    assert is_empty(scratch)


@pytest.mark.parametrize(
    ("foreign", "named"),
    [
        ("CREATE TABLE notes (text text)", "notes"),
        ("CREATE TABLE content_storage_metadata (id uuid)", "content_storage_metadata"),
        ("CREATE VIEW seen AS SELECT 1 AS one", "seen"),
        ("CREATE SCHEMA theirs CREATE TABLE ledger (id int)", "theirs.ledger"),
    ],
)
def test_a_database_with_a_table_that_no_drill_made_is_refused(
    scratch: Scratch, names: Names, foreign: str, named: str
) -> None:
    run(names.database_url, foreign)
    with (
        pytest.raises(Permanent, match=rf"holds 1 tables that no drill made \({named}\)") as caught,
        built_world(scratch, ITEMS, "run"),
    ):
        raise AssertionError("it was entered")
    assert "Set DRILL_DATABASE_URL" in str(caught.value)
    with psycopg.connect(names.database_url) as connection:
        assert connection.execute("SELECT to_regclass(%s) IS NOT NULL", [named]).fetchone() == (True,)
    assert not scratch.store.collections()
    assert not scratch.warehouse.table_names()


def test_a_table_that_somebody_put_beside_the_mark_is_kept(scratch: Scratch, names: Names) -> None:
    mark(scratch)
    run(names.database_url, "CREATE TABLE precious (id int)")
    with pytest.raises(Permanent, match=r"1 tables that no drill made \(precious\)"):
        clear(scratch)
    assert MARKER in scratch.store.collections()


def test_a_copy_of_a_marked_database_is_no_drills(scratch: Scratch, names: Names, settings: Settings) -> None:
    """Somebody makes a database from the drill's: the mark comes along, and is not believed."""
    mark(scratch)
    scratch.database.close()
    with scratch_names(settings) as copy, open_scratch(settings, copy) as other:
        run(
            f"{names.database_url.rpartition('/')[0]}/postgres",
            f"CREATE DATABASE {copy.database} TEMPLATE {names.database}",
        )
        with pytest.raises(Permanent, match="bears the mark of another database's drills"):
            clear(other)
        with psycopg.connect(copy.database_url) as connection:
            assert connection.execute("SELECT to_regclass('drill_marker') IS NOT NULL").fetchone() == (True,)


def test_a_zerodb_project_that_is_not_a_drills_is_refused(scratch: Scratch) -> None:
    ensure_collections(scratch.store)
    scratch.store.put_many("content_items", [{"id": "theirs"}])
    with pytest.raises(Permanent, match="the ZeroDB project holds 3 tables that no drill made") as caught:
        clear(scratch)
    assert "DRILL_ZERODB_PROJECT_ID" in str(caught.value)
    assert scratch.store.count("content_items") == 1


def test_a_dataset_that_is_not_a_drills_is_refused(scratch: Scratch) -> None:
    scratch.warehouse.ensure_dataset()
    scratch.warehouse.ensure_table(CONTENT_STORAGE.table)
    with pytest.raises(Permanent, match=r"the BigQuery dataset holds 1 tables .*content_storage_dr") as caught:
        clear(scratch)
    assert "DRILL_BIGQUERY_DATASET" in str(caught.value)
    assert scratch.warehouse.table_names() == ["content_storage_dr"]


def test_the_live_database_under_another_name_is_found_by_asking_it(tiers: Tiers, scratch: Scratch) -> None:
    require_other_database(tiers.database, scratch)
    with DrillPostgres(tiers.database_url.replace("127.0.0.1", "localhost")) as alias:
        with pytest.raises(Permanent, match="leads to the live database under another name"):
            require_other_database(tiers.database, Scratch(alias, scratch.store, scratch.warehouse))
        # And without asking: what is live bears no mark.
        with pytest.raises(Permanent, match="tables that no drill made"):
            clear(Scratch(alias, scratch.store, scratch.warehouse))


def test_a_database_is_created_once_and_only_by_who_may(settings: Settings, names: Names) -> None:
    with DrillPostgres(names.database_url) as database:
        assert database.create_if_missing() is True
        assert database.create_if_missing() is False
    role = names.database + "_role"
    server = f"127.0.0.1:{settings.local_postgres_port}"
    run(names.database_url, f"CREATE ROLE {role} LOGIN")
    try:
        with (
            DrillPostgres(f"postgresql://{role}@{server}/{names.database}_more") as other,
            pytest.raises(Permanent, match=r"the role may not create it .*CREATE DATABASE"),
        ):
            other.create_if_missing()
    finally:
        run(names.database_url, f"DROP ROLE {role}")


def test_a_server_that_is_down_is_no_missing_database() -> None:
    with (
        DrillPostgres(f"postgresql://postgres@127.0.0.1:{free_ports(1)[0]}/content_drill") as database,
        pytest.raises(Transient, match="DRILL_DATABASE_URL is right"),
    ):
        database.create_if_missing()


def test_a_database_that_is_there_but_refuses_is_not_created(settings: Settings, names: Names) -> None:
    with DrillPostgres(names.database_url) as database:
        database.create_if_missing()
    run(f"{names.database_url.rpartition('/')[0]}/postgres", f"ALTER DATABASE {names.database} ALLOW_CONNECTIONS false")
    with DrillPostgres(names.database_url) as database, pytest.raises(Transient, match="refused the connection"):
        database.create_if_missing()


def test_a_dataset_that_is_not_there_holds_no_table_whatever_the_server_answers(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Google's service says not found where the emulator says nothing; a refusal is no empty dataset."""
    for error, expected in ((google.NotFound("no dataset"), []), (google.Forbidden("no right"), None)):

        def fail(self: DrillBigQuery, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(DrillBigQuery, "_list", fail)
        if expected is None:
            with pytest.raises(Permanent, match="permission denied"):
                scratch.warehouse.table_names()
        else:
            assert scratch.warehouse.table_names() == expected


def test_a_drill_is_finished_once(tiers: Tiers) -> None:
    record = DrillRecord(tiers.database)
    drill_id = record.start("bad_update", ITEMS, "run")
    (running,) = record.recent(1)
    assert (running.finished_at, running.verified, running.items) == (None, False, ITEMS)
    record.finish(drill_id, DrillResult("bad_update", ITEMS, error="no"))
    (finished,) = record.recent(1)
    assert (finished.finished_at is not None, finished.error) == (True, "no")
    with pytest.raises(Permanent, match="is not on record as running"):
        record.finish(drill_id, DrillResult("bad_update", ITEMS))
