"""The PostgreSQL client on the real server: lazy, bounded, printing UTC, and honest about what it cannot reach."""

import os
import select
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from content_orchestration.core.errors import AlreadyRunning, Transient
from content_orchestration.local.ports import free_ports
from content_orchestration.resources import postgres_client
from content_orchestration.resources.postgres_client import PostgresClient

CANARY = "canary-91bd"


@pytest.fixture
def admin(empty_database: str) -> Any:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        yield connection


def backends(admin: psycopg.Connection[Any], name: str) -> list[int]:
    rows = admin.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()", [name]
    )
    return [pid for (pid,) in rows]


def wait_until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    pause = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError("it did not happen")


def one(client: PostgresClient, query: str) -> Any:
    with client.connection() as connection:
        row = connection.execute(query).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return next(iter(row.values()))


def test_nothing_is_opened_before_the_first_use_and_close_ends_it(empty_database: str, admin: Any) -> None:
    client = PostgresClient(empty_database, application_name="lazy")
    client.close()
    assert backends(admin, "lazy") == []
    assert one(client, "SELECT 1") == 1
    assert one(client, "SELECT 2") == 2
    assert len(backends(admin, "lazy")) == 1
    client.close()
    wait_until(lambda: backends(admin, "lazy") == [])
    with client:
        assert one(client, "SELECT 3") == 3
    wait_until(lambda: backends(admin, "lazy") == [])


def test_a_client_for_a_server_that_is_not_there_can_be_made() -> None:
    with PostgresClient(f"postgresql://u:{CANARY}@127.0.0.1:{free_ports(1)[0]}/d") as client:
        assert CANARY not in client.address


def test_a_transaction_is_committed_or_rolled_back(empty_database: str) -> None:
    with PostgresClient(empty_database) as client:
        with client.connection() as connection:
            connection.execute("CREATE TABLE t (n int)")
            connection.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(KeyError), client.connection() as connection:  # noqa: PT012
            connection.execute("INSERT INTO t VALUES (2)")
            raise KeyError
        assert one(client, "SELECT array_agg(n) FROM t") == [1]


def engine_says(client: PostgresClient, query: str) -> Any:
    with client.engine().connect() as connection:
        return connection.exec_driver_sql(query).scalar()


@pytest.mark.parametrize("say", [one, engine_says])
def test_every_connection_prints_utc_and_bears_our_name(
    empty_database: str, admin: Any, say: Callable[[PostgresClient, str], Any]
) -> None:
    name = empty_database.rpartition("/")[2]
    admin.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'")
    admin.execute(f"ALTER DATABASE {name} SET datestyle = 'SQL, DMY'")
    with PostgresClient(empty_database, application_name="named", statement_timeout=7.5) as client:
        assert say(client, "SELECT '2026-01-01 00:00+00'::timestamptz::text") == "2026-01-01 00:00:00+00"
        assert say(client, "SHOW application_name") == "named"
        assert say(client, "SHOW statement_timeout") == "7500ms"


@pytest.mark.parametrize("say", [one, engine_says])
def test_a_statement_is_cancelled_after_its_time(
    empty_database: str, say: Callable[[PostgresClient, str], Any]
) -> None:
    with PostgresClient(empty_database, statement_timeout=0.1) as client:
        with pytest.raises(Exception, match="statement timeout"):
            say(client, "SELECT pg_sleep(30)")
        assert say(client, "SELECT 1") == 1


def test_the_pool_has_its_size_and_says_so_when_it_is_used_up(
    empty_database: str, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_client, "_CONNECT_SECONDS", 1.0)
    with (
        PostgresClient(empty_database, pool_size=2, application_name="small") as client,
        client.connection(),
        client.connection(),
    ):
        with pytest.raises(Transient, match=r"all 2 connections .* in use for 1 s: raise DATABASE_POOL_SIZE"):
            one(client, "SELECT 1")
        # The connection that asked for the reason is closed, and the server may take a moment to see it go.
        wait_until(lambda: len(backends(admin, "small")) == 2)


def test_many_threads_share_the_pool(empty_database: str, admin: Any) -> None:
    most = 0
    with (
        PostgresClient(empty_database, pool_size=3, application_name="shared") as client,
        ThreadPoolExecutor(8) as pool,
    ):
        for _ in pool.map(lambda n: one(client, "SELECT pg_sleep(0.005)"), range(40)):
            most = max(most, len(backends(admin, "shared")))
    assert 1 <= most <= 3


def test_a_connection_that_the_server_ended_is_replaced(empty_database: str, admin: Any) -> None:
    with PostgresClient(empty_database, application_name="ended") as client:
        assert one(client, "SELECT 1") == 1
        (pid,) = backends(admin, "ended")
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        assert one(client, "SELECT 2") == 2
        assert backends(admin, "ended") != [pid]


def test_a_connection_just_given_back_is_not_asked_and_a_rested_one_is(
    empty_database: str, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    check = postgres_client.ConnectionPool.check_connection
    monkeypatch.setattr(
        postgres_client.ConnectionPool, "check_connection", lambda held: (asked.append(held), check(held))[1]
    )
    with PostgresClient(empty_database, pool_size=4, application_name="fresh") as client:
        for _ in range(5):
            assert one(client, "SELECT 1") == 1
        (pid,) = backends(admin, "fresh")
        before = len(asked)
        assert one(client, "SELECT 1") == 1
        assert len(asked) == before, "a round trip for nothing"
        monkeypatch.setattr(postgres_client, "_FRESH_SECONDS", 0.0)
        assert one(client, "SELECT 1") == 1
        assert len(asked) == before + 1
        # The end of a session is heard on the socket, however lately the connection was used.
        monkeypatch.setattr(postgres_client, "_FRESH_SECONDS", 3600.0)
        admin.execute("SELECT pg_terminate_backend(%s)", [pid])
        wait_until(lambda: backends(admin, "fresh") == [])
        assert one(client, "SELECT 1") == 1
        assert len(asked) == before + 3, "the dead one, and the one that took its place"


def test_a_transaction_that_the_server_ends_fails_and_the_next_one_works(empty_database: str, admin: Any) -> None:
    with PostgresClient(empty_database, application_name="cut") as client:
        with pytest.raises(Transient, match=r"127\.0\.0\.1:\d+/\w+ broke off"), client.connection() as connection:  # noqa: PT012
            connection.execute("CREATE TABLE lost (n int)")
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])
            connection.execute("SELECT 1")
        assert one(client, "SELECT to_regclass('lost')") is None


class _Relay(socketserver.BaseRequestHandler):
    """Passes bytes to the PostgreSQL that its server names, and back."""

    def handle(self) -> None:
        with socket.create_connection(self.server.behind) as behind:  # type: ignore[attr-defined]
            ends = {self.request: behind, behind: self.request}
            while True:
                for ready in select.select(list(ends), [], [])[0]:
                    if not (data := ready.recv(65536)):
                        return
                    ends[ready].sendall(data)


def test_after_an_outage_the_next_one_who_asks_gets_a_connection(
    empty_database: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(postgres_client, "_CONNECT_SECONDS", 1.0)
    real = urlsplit(empty_database)
    (port,) = free_ports(1)
    with PostgresClient(f"postgresql://{real.username}@127.0.0.1:{port}{real.path}") as client:
        # Each failure doubles the time that the pool waits: after the third it is four seconds.
        while sum("error connecting" in line for line in caplog.messages) < 3:
            with pytest.raises(Transient, match="refused the connection"):
                one(client, "SELECT 1")
        with socketserver.ThreadingTCPServer(("127.0.0.1", port), _Relay) as relay:
            relay.daemon_threads, relay.behind = True, (real.hostname, real.port)  # type: ignore[attr-defined]
            threading.Thread(target=relay.serve_forever, args=(0.05,), daemon=True).start()
            try:
                with ThreadPoolExecutor(4) as pool:
                    assert list(pool.map(lambda n: one(client, f"SELECT {n}"), range(4))) == [0, 1, 2, 3]
            finally:
                client.close()
                relay.shutdown()


@pytest.mark.parametrize(
    ("place", "reason"),
    [("127.0.0.1:{closed}/content", "refused"), ("127.0.0.1:{port}/no_such_database", "does not exist")],
)
def test_an_unreachable_database_is_transient_and_named_without_the_password(
    empty_database: str, monkeypatch: pytest.MonkeyPatch, place: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(postgres_client, "_CONNECT_SECONDS", 1.0)
    port = empty_database.rpartition(":")[2].partition("/")[0]
    address = place.format(closed=free_ports(1)[0], port=port)
    with PostgresClient(f"postgresql://postgres:{CANARY}@{address}") as client:
        with pytest.raises(Transient) as pooled, client.connection():
            pass
        with pytest.raises(Transient) as locked, client.advisory_lock("x"):
            pass
    for caught in (pooled, locked):
        message = str(caught.value)
        assert address in message
        assert reason in message
    assert "DATABASE_PUBLIC_URL" in str(pooled.value)
    chain: BaseException | None = pooled.value
    while chain is not None:
        assert CANARY not in repr(chain)
        chain = chain.__cause__ or chain.__context__
    assert CANARY not in caplog.text


def test_a_taken_lock_fails_at_once_and_names_who_has_it(empty_database: str, admin: Any) -> None:
    with PostgresClient(empty_database, application_name="first") as first, PostgresClient(empty_database) as second:
        with first.advisory_lock("sync"):
            (pid,) = backends(admin, "first")
            with (
                pytest.raises(AlreadyRunning, match=rf"sync is already running: .* pid {pid} \(first\) since 20"),
                second.advisory_lock("sync"),
            ):
                raise AssertionError("two hold the lock")
            with second.advisory_lock("another name"):
                pass
        with second.advisory_lock("sync"):
            pass


def test_a_lock_is_released_after_an_error_and_closes_its_connection(empty_database: str, admin: Any) -> None:
    with PostgresClient(empty_database, application_name="failed") as client:
        with pytest.raises(KeyError), client.advisory_lock("sync"):
            raise KeyError
        with client.advisory_lock("sync"):
            pass
    wait_until(lambda: backends(admin, "failed") == [])


def test_a_lock_holds_in_its_own_database_alone(empty_database: str, database_url: str) -> None:
    """The same name in another database is another lock, and its holder is not blamed for this one."""
    with (
        PostgresClient(empty_database, application_name="here") as here,
        PostgresClient(database_url, application_name="there") as there,
        there.advisory_lock("sync"),
        here.advisory_lock("sync"),
    ):
        for client, holder in ((here, "here"), (there, "there")):
            with pytest.raises(AlreadyRunning, match=rf"\({holder}\)"), client.advisory_lock("sync"):
                raise AssertionError("two hold the lock")


def test_a_killed_holder_leaves_no_lock_behind(empty_database: str) -> None:
    code = (
        "import sys; from content_orchestration.resources.postgres_client import PostgresClient\n"
        "with PostgresClient(sys.argv[1]).advisory_lock('sync'):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, empty_database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "held"
        with PostgresClient(empty_database) as client:
            assert not is_free(client)
            os.kill(holder.pid, signal.SIGKILL)
            wait_until(lambda: is_free(client))
    finally:
        holder.kill()
        holder.communicate()


def is_free(client: PostgresClient) -> bool:
    try:
        with client.advisory_lock("sync"):
            return True
    except AlreadyRunning:
        return False


def test_work_under_a_lock_whose_connection_was_cut_can_still_end(empty_database: str, admin: Any) -> None:
    with PostgresClient(empty_database, application_name="severed") as client:
        with client.advisory_lock("sync"):
            (pid,) = backends(admin, "severed")
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        assert is_free(client)
