"""Late commits, rollbacks, savepoints and deletes in random order: no row is lost, none is there twice (`TRAPS.md` 1).

`SOAK=1` runs the full count. `INTERLEAVINGS_SEED` repeats a run; the seed is printed whether it passes or not.
"""

import os
import secrets
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import psycopg
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from content_orchestration.core.schema.warehouse import ensure_warehouse
from content_orchestration.resources.bigquery_client import BigQueryClient
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.replication_fakes import FakeWorld, sync
from content_orchestration_tests.replication_machine import (
    CONTENT,
    FastInterleavings,
    Interleavings,
    NaiveCursor,
    NaiveInterleavings,
    RealInterleavings,
    Session,
)
from content_orchestration_tests.replication_model import add_content, assert_equal
from content_orchestration_tests.tiers import Tiers

SOAK = bool(os.environ.get("SOAK"))
FAST, REAL = (2_000, 60) if SOAK else (40, 3)


@pytest.fixture
def world(database_url: str) -> Iterator[FakeWorld]:
    with PostgresClient(database_url, statement_timeout=20.0) as database:
        yield FakeWorld(database)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows a file, so that a window of a few rows has several files."""
    monkeypatch.setattr("content_orchestration.core.replication.extract._ROWS_PER_FETCH", 2)


def run(machine: type[Interleavings], count: int, steps: int, *, shrink: bool = True) -> int:
    """Run that many interleavings and return the seed that they came from."""
    number = int(os.environ.get("INTERLEAVINGS_SEED") or secrets.randbits(32))
    print(f"\n{machine.__name__}: INTERLEAVINGS_SEED={number}, {count} interleavings of up to {steps} steps")  # noqa: T201
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    given = settings(
        max_examples=count,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        print_blob=True,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(number)(machine), settings=given)
    print(f"{machine.__name__}: {machine.runs} runs, {machine.syncs} syncs, {machine.rows_compared} rows compared")  # noqa: T201
    return number


@contextmanager
def prepared(machine: type[Interleavings], world: FakeWorld | Tiers, url: str) -> Iterator[type[Interleavings]]:
    """A class of its own for this test, so that counts and sessions are not shared."""
    with ExitStack() as opened:
        shared = [Session(url, world) for _ in range(4)]
        for session in shared:
            opened.enter_context(closing(session.connection))
        yield type(machine.__name__, (machine,), {"world": world, "shared": shared})


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.timeout(3600)
def test_no_interleaving_loses_or_doubles_a_row(world: FakeWorld, database_url: str) -> None:
    with prepared(FastInterleavings, world, database_url) as machine:
        run(machine, FAST, 25, shrink=SOAK)
    assert machine.runs >= FAST
    assert machine.syncs > FAST
    assert machine.rows_compared > FAST, "hardly a row was left to compare: the machine proves nothing"


@pytest.mark.timeout(3600)
def test_no_interleaving_loses_or_doubles_a_row_on_the_real_servers(tiers: Tiers, database_url: str) -> None:
    google = bigquery.Client(
        project=tiers.settings.bigquery_project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": tiers.settings.bigquery_url},
    )
    datasets: list[str] = []

    def fresh() -> None:
        name = f"interleavings_{uuid.uuid4().hex}"
        datasets.append(name)
        client = BigQueryClient(google, name, attempts=3, retry_seconds=20.0)
        ensure_warehouse(client)
        machine.world.google = client  # type: ignore[attr-defined]

    try:
        with prepared(RealInterleavings, tiers, database_url) as machine:
            machine.fresh = staticmethod(fresh)  # type: ignore[attr-defined]
            run(machine, REAL, 25)
            assert machine.runs >= REAL
    finally:
        for name in datasets:
            google.delete_dataset(name, delete_contents=True, not_found_ok=True)


def late_commit(world: FakeWorld, url: str, replicate: Callable[[], object]) -> None:
    """A transaction that begins before the cursor and commits behind it."""
    first, second = Session(url, world), Session(url, world)
    first.begin("READ COMMITTED")
    add_content(first.connection, world.store, [CONTENT[0]])
    second.begin("READ COMMITTED")
    add_content(second.connection, world.store, [CONTENT[1]])
    second.end("COMMIT")
    replicate()
    first.end("COMMIT")
    replicate()


def test_the_naive_cursor_loses_a_late_commit(world: FakeWorld, database_url: str) -> None:
    naive = NaiveCursor(world)
    late_commit(world, database_url, naive.sync)
    assert naive.lost() == [str(CONTENT[0])]


def test_a_late_commit_arrives(world: FakeWorld, database_url: str) -> None:
    late_commit(world, database_url, lambda: sync(world))
    assert_equal(world)


@pytest.mark.timeout(600)
def test_random_interleavings_find_the_loss_of_the_naive_cursor(world: FakeWorld, database_url: str) -> None:
    with (
        prepared(NaiveInterleavings, world, database_url) as machine,
        pytest.raises(AssertionError, match="the naive cursor lost"),
    ):
        run(machine, 500, 25, shrink=False)


def test_a_long_transaction_holds_the_horizon_but_loses_nothing(world: FakeWorld, database_url: str) -> None:
    with psycopg.connect(database_url) as long:
        long.execute("SELECT pg_current_xact_id()")
        with world.database.connection() as connection:
            add_content(connection, world.store, CONTENT)
        assert sync(world).changes == 0
    assert sync(world).changes == 2 * len(CONTENT)
    assert_equal(world)
