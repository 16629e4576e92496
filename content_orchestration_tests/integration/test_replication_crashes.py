"""A sync that is cut off anywhere is finished by the next one: nothing lost, nothing twice (`TRAPS.md` 4).

Processes are really killed and servers really stopped, on a stack of this module's own.
"""

import os
import re
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any
from uuid import UUID

import httpx
import psutil
import psycopg
import pytest

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.schema.postgres import upgrade
from content_orchestration.local.platform_tables import create_platform_tables
from content_orchestration.local.postgres import connect
from content_orchestration.local.stack import LocalStack
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.settings import PROJECT_ROOT
from content_orchestration_tests.conftest import scratch_settings
from content_orchestration_tests.fake_warehouse import FakeWarehouse, Killed, Kind
from content_orchestration_tests.replication_fakes import FakeWorld, sync
from content_orchestration_tests.replication_model import (
    World,
    add_content,
    assert_equal,
    history,
    insert,
    media_row,
    new_version,
)
from content_orchestration_tests.replication_process import SyncProcesses
from content_orchestration_tests.tiers import Tiers, open_tiers

SOAK = bool(os.environ.get("SOAK"))
IDS = [UUID(int=(number * 0x9E37_79B9 % 2**32) << 96 | number) for number in range(1, 25)]
SYNC_MODULES = ("engine", "extract", "load", "window")
# Every failpoint that a sync passes, and which passing of it: of several files, of several windows.
KILLS = [
    "window_opened",
    "window_opened:3",
    "part_recorded",
    "part_recorded:2",
    "part_recorded:4",
    "part_recorded:6",
    "part_loaded",
    "part_loaded:2",
    "part_loaded:5",
    "log_loaded",
    "log_loaded:2",
    "window_closed",
    "window_closed:2",
]


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Servers that may be killed. PostgreSQL waits for the disk, as in production: a crash must not undo a commit."""
    running = LocalStack(scratch_settings(tmp_path_factory.mktemp("crash") / "state"), say=lambda line: None)
    running.start()
    with connect(running.settings.local_postgres_port) as connection:
        # Its transactions hold back a window for their moment, in whatever database they are.
        connection.execute("ALTER SYSTEM SET autovacuum = off")
        connection.execute("SELECT pg_reload_conf()")
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def processes() -> Iterator[SyncProcesses]:
    with SyncProcesses() as started:
        yield started


@pytest.fixture
def mine(own_stack: LocalStack) -> Iterator[Tiers]:
    """Tiers on `own_stack`."""
    own_stack.start()
    port = own_stack.settings.local_postgres_port
    name = f"crash_{uuid.uuid4().hex}"
    with connect(port) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")  # type: ignore[arg-type]
    url = f"postgresql://postgres@127.0.0.1:{port}/{name}"
    with psycopg.connect(url) as connection:
        create_platform_tables(connection)
    with PostgresClient(url) as database:
        upgrade(database)
    with open_tiers(own_stack.settings, url, f"crash-{uuid.uuid4().hex}", f"crash_{uuid.uuid4().hex}") as opened:
        yield opened


@pytest.fixture
def world(database_url: str) -> Iterator[FakeWorld]:
    with PostgresClient(database_url, statement_timeout=20.0) as database:
        yield FakeWorld(database)


@pytest.fixture(autouse=True)
def _quick_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("content_orchestration.resources.postgres_client._CONNECT_SECONDS", 1.0)


def write(world: World, ids: list[UUID]) -> None:
    """Three transactions: items, media and a new version, an item that goes."""
    with world.database.connection() as connection:
        add_content(connection, world.store, ids)
    with world.database.connection() as connection:
        insert(connection, "media_assets", media_row(ids[0], content_id=ids[0]))
        new_version(connection, world.store, ids[0])
    with world.database.connection() as connection:
        connection.execute("DELETE FROM content_storage_metadata WHERE id = %s", (ids[1],))


def write_wide(world: World, rows: int = 2_500) -> None:
    """So many media rows in one transaction that their window has several files."""
    with world.database.connection() as connection:
        connection.execute(
            "INSERT INTO media_assets (id, tenant_id, kind, url, zerodb_row_id) "
            "SELECT gen_random_uuid(), gen_random_uuid(), 'image', 'https://files.example/' || n, 'media-' || n "
            "FROM generate_series(1, %s) n",
            (rows,),
        )


class At:
    """Delegates to a real client, and does something before or after the n-th call of a method (from 1)."""

    def __init__(self, real: Any, method: str, number: int, action: Callable[[], None], *, after: bool = False) -> None:
        self._real, self._method, self._number, self._action, self._after = real, method, number, action, after
        self.fired = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        return self._wrapped(found) if name == self._method else found

    def _wrapped(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            self._number -= 1
            due = self._number == 0
            if due and not self._after:
                self.fired = True
                self._action()
            answer = call(*given)
            if due and self._after:
                self.fired = True
                self._action()
            return answer

        return run


def with_client(tiers: World, **clients: Any) -> FakeWorld:
    return FakeWorld(**{"database": tiers.database, "store": tiers.store, "warehouse": tiers.warehouse} | clients)


# --- the run is killed -----------------------------------------------------------------------------------------------


def test_every_failpoint_is_killed_at() -> None:
    folder = PROJECT_ROOT / "content_orchestration" / "core" / "replication"
    named = {
        name
        for module in SYNC_MODULES
        for name in re.findall(r'reach\("(\w+)"\)', (folder / f"{module}.py").read_text(encoding="utf-8"))
    }
    assert named == {kill.partition(":")[0] for kill in KILLS}


@pytest.mark.parametrize("failpoint", KILLS)
def test_a_killed_run_is_finished_by_the_next(mine: Tiers, processes: SyncProcesses, failpoint: str) -> None:
    write(mine, IDS[:6])
    killed = processes.sync(mine, failpoint=failpoint, batch_size=1, max_bytes=1)
    assert killed.status == -signal.SIGKILL, killed.said
    write(mine, IDS[6:9])
    finished = processes.sync(mine)
    assert finished.status == 0, finished.said
    assert_equal(mine)


@pytest.mark.parametrize("failpoint", ["part_recorded:2", "part_loaded:2", "part_loaded:3"])
def test_a_run_killed_between_the_files_of_a_table(mine: Tiers, processes: SyncProcesses, failpoint: str) -> None:
    write_wide(mine)
    assert processes.sync(mine, failpoint=failpoint, max_bytes=1).status == -signal.SIGKILL
    # The rows behind the file that landed change under the open window.
    with mine.database.connection() as connection:
        connection.execute("DELETE FROM media_assets WHERE id > '80000000-0000-0000-0000-000000000000'")
        connection.execute("UPDATE media_assets SET status = 'stored'")
    assert processes.sync(mine, max_bytes=1).status == 0
    assert_equal(mine)


def test_a_run_that_is_killed_again_and_again(mine: Tiers, processes: SyncProcesses) -> None:
    write(mine, IDS[:4])
    for failpoint in ("part_recorded", "part_loaded", "part_loaded", "log_loaded", "log_loaded", "window_closed"):
        assert processes.sync(mine, failpoint=failpoint, max_bytes=1).status == -signal.SIGKILL
    assert processes.sync(mine).status == 0
    assert_equal(mine)


# --- servers go away -------------------------------------------------------------------------------------------------


def stop_postgres(stack: LocalStack) -> None:
    """What `pg_ctl stop -m immediate` does: SIGQUIT to the postmaster."""
    running = stack.servers[0].find()
    assert running is not None
    running.send_signal(signal.SIGQUIT)
    running.wait(20)


def kill_emulator(stack: LocalStack) -> None:
    running = stack.servers[1].find()
    assert running is not None
    running.kill()
    with suppress(psutil.NoSuchProcess):
        running.wait(20)


@pytest.mark.parametrize(
    ("method", "number", "after"),
    [("load_parquet", 1, False), ("load_parquet", 2, True), ("load_parquet", 4, True), ("get_many", 1, True)],
)
def test_postgres_is_stopped_at_once_during_a_sync(
    mine: Tiers, own_stack: LocalStack, method: str, number: int, after: bool
) -> None:
    write(mine, IDS[:6])
    tier = "store" if method == "get_many" else "warehouse"
    at = At(getattr(mine, tier), method, number, lambda: stop_postgres(own_stack), after=after)
    with pytest.raises((psycopg.OperationalError, Transient)):
        sync(with_client(mine, **{tier: at}), max_bytes=1)
    assert at.fired
    own_stack.start()
    write(mine, IDS[6:9])
    sync(mine)
    assert_equal(mine)


@pytest.mark.parametrize(("number", "after"), [(1, False), (2, True)])
def test_the_emulator_is_killed_around_a_load(mine: Tiers, own_stack: LocalStack, number: int, after: bool) -> None:
    write(mine, IDS[:6])
    at = At(mine.warehouse, "load_parquet", number, lambda: kill_emulator(own_stack), after=after)
    with pytest.raises(Transient):
        sync(with_client(mine, warehouse=at), max_bytes=1)
    assert at.fired
    own_stack.start()
    write(mine, IDS[6:9])
    sync(mine)
    assert_equal(mine)


@pytest.mark.parametrize("seconds", [0.02, 0.06] if not SOAK else [n / 100 for n in range(1, 21)])
def test_the_emulator_is_killed_while_it_loads(mine: Tiers, own_stack: LocalStack, seconds: float) -> None:
    write_wide(mine)
    timer = threading.Timer(seconds, kill_emulator, [own_stack])
    at = At(mine.warehouse, "load_parquet", 1, timer.start)
    # A load that was quicker than the timer is as good a case: then it dies between two loads.
    with suppress(Transient):
        sync(with_client(mine, warehouse=at), max_bytes=1)
    timer.join(20)
    own_stack.start()
    sync(mine)
    assert_equal(mine)


# --- ZeroDB fails ----------------------------------------------------------------------------------------------------


@contextmanager
def faulty(tiers: Tiers, **fault: Any) -> Iterator[Callable[[], int]]:
    """A standing order to fail; gives how often it fired."""
    control = f"http://127.0.0.1:{tiers.settings.local_zerodb_port}/_control/faults"
    with httpx.Client(headers={"X-API-Key": tiers.settings.zerodb_key}) as client:
        client.post(control, json={"method": "POST", "path_part": "/query", **fault}).raise_for_status()
        try:
            yield lambda: sum(each["fired"] for each in client.get(control).json()["faults"])
        finally:
            client.delete(control).raise_for_status()


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "rate_limit", "count": 2, "retry_after": 0},
        {"kind": "error", "count": 2, "status": 500},
        {"kind": "error_after", "count": 2, "status": 503},
        {"kind": "slow", "count": 1, "seconds": 1.0},
        {"kind": "cut_before", "count": 2},
        {"kind": "cut_after", "count": 2},
    ],
    ids=lambda fault: fault["kind"],
)
def test_a_stumbling_zerodb_only_delays(mine: Tiers, fault: dict[str, Any]) -> None:
    write(mine, IDS[:4])
    with faulty(mine, **fault) as fired:
        sync(mine)
        assert fired() == fault["count"]
    assert_equal(mine)


@pytest.mark.parametrize("kind", ["rate_limit", "error", "cut_before"])
def test_a_zerodb_that_stays_away_leaves_the_window_open(mine: Tiers, kind: str) -> None:
    write(mine, IDS[:4])
    wait = {"retry_after": 500} if kind == "rate_limit" else {}
    store = At(mine.store, "get_many", 0, lambda: None)
    with (
        faulty(mine, kind=kind, probability=1.0, **wait),
        quick_client(mine) as impatient,
        pytest.raises(Transient),
    ):
        sync(with_client(mine, store=impatient))
    assert not store.fired
    with mine.database.connection() as connection:
        row = connection.execute("SELECT count(*) AS n FROM replication_windows WHERE status = 'open'").fetchone()
    assert row == {"n": 1}
    sync(mine)
    assert_equal(mine)
    with mine.database.connection() as connection:
        assert connection.execute("SELECT FROM replication_quarantine").fetchall() == []


@contextmanager
def quick_client(tiers: Tiers) -> Iterator[Any]:
    """A client that gives up soon."""
    from content_orchestration.resources.zerodb_client import ZeroDBClient

    with ZeroDBClient(
        tiers.settings.zerodb_url, tiers.zerodb_project, tiers.settings.zerodb_key, timeout=5.0, attempts=2,
        total_timeout=5.0, wait_initial=0.05,
    ) as client:  # fmt: skip
        yield client


# --- BigQuery fails at an exact place --------------------------------------------------------------------------------


@pytest.mark.parametrize("refuse", [True, False], ids=["409", "no-409"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["before", "after", "killed_before", "killed_after", "permanent"])
def test_a_load_that_fails_is_done_once(world: FakeWorld, kind: Kind, number: int, refuse: bool) -> None:
    write(world, IDS[:4])
    world.warehouse = FakeWarehouse(refuse_known_jobs=refuse, faults={number: kind})
    if kind in ("before", "after"):
        assert sync(world, max_bytes=1).recovered == 0
    else:
        with pytest.raises((Killed, Permanent)):
            sync(world, max_bytes=1)
        write(world, IDS[4:7])
        assert sync(world, max_bytes=1).recovered == 1
    assert_equal(world)


def test_a_load_that_fails_every_time_leaves_the_window_for_the_next_run(world: FakeWorld) -> None:
    write(world, IDS[:4])
    world.warehouse.faults = dict.fromkeys(range(1, 100), "before")
    with pytest.raises(Transient):
        sync(world)
    assert 4 <= world.warehouse.loads < 50
    assert sum(world.warehouse.row_count(name) for name in world.warehouse.tables) == 0
    world.warehouse.faults = {}
    assert sync(world).recovered == 1
    assert_equal(world)


def test_an_answer_lost_at_every_file_of_a_table(world: FakeWorld) -> None:
    write_wide(world)
    world.warehouse = FakeWarehouse(refuse_known_jobs=False, faults=dict.fromkeys(range(1, 10), "after"))
    sync(world, max_bytes=1)
    assert len(history(world, "media_assets", "entity_id")) == 2_500
    assert_equal(world)


def test_a_load_that_takes_effect_after_its_answer_was_given_up(world: FakeWorld) -> None:
    write(world, IDS[:4])
    # The service knows the id of the load that it is late with, and refuses the same one once more.
    world.warehouse = FakeWarehouse(refuse_known_jobs=True, faults={1: "late"})
    sync(world)
    assert_equal(world)


def take_over(world: FakeWorld, *, killed: bool) -> None:
    """After the first load of a run: its lock goes with its connection, and the next run begins, to its end or not."""

    def next_run(number: int) -> None:
        if number == 1:
            with world.database.connection() as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
                    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                )
            world.warehouse.after = lambda number: None
            with pytest.raises(Killed) if killed else nullcontext():
                sync(world)

    # The file that the next run loads is in BigQuery, but not noted, and the window is its own now.
    world.warehouse.faults = {2: "killed_after"} if killed else {}
    world.warehouse.after = next_run


@pytest.mark.parametrize("killed", [False, True], ids=["finished", "half-way"])
def test_a_run_that_lost_its_lock_does_not_load_beside_the_next(world: FakeWorld, killed: bool) -> None:
    write(world, IDS[:4])
    take_over(world, killed=killed)
    with pytest.raises((Permanent, Transient, psycopg.OperationalError)):
        sync(world)
    sync(world)
    assert_equal(world)


def test_a_withheld_body_is_reported_although_the_run_was_killed(world: FakeWorld) -> None:
    write(world, IDS[:4])
    world.store.documents["content_items"].pop(f"{IDS[2]}.v1")
    # Every file landed, so that the next run reads no body any more.
    world.warehouse.faults = {3: "killed_after"}
    with pytest.raises(Killed):
        sync(world, max_bytes=1)
    sync(world)
    with world.database.connection() as connection:
        found = connection.execute("SELECT DISTINCT zerodb_row_id FROM replication_quarantine").fetchall()
    assert found == [{"zerodb_row_id": f"{IDS[2]}.v1"}]
    assert_equal(world)
