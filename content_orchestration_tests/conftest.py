"""The real local servers for every test: one stack a session, on free ports, in a temporary folder. No Dagster here."""

import os
import random
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from content_orchestration.core.schema.postgres import upgrade
from content_orchestration.local.platform_tables import create_platform_tables
from content_orchestration.local.ports import free_ports
from content_orchestration.local.postgres import connect
from content_orchestration.local.stack import LocalStack
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.settings import Settings
from content_orchestration_tests.tiers import Tiers, open_tiers

MEMORY = Path("/dev/shm")
NEEDED = 4 * 1024**3
"""Bytes; a worker has used less than one of them, and there are several."""


# How long an example or its making takes says how busy this machine is, and nothing of what is tested.
hypothesis_settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("busy machine")


def pytest_configure() -> None:
    """Let an interrupt reach what tests start: a shell starts what it puts in the background with SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.environ.get("SOAK"):
        # Into the environment: workers must agree on it.
        os.environ.setdefault("TEST_ORDER", str(random.SystemRandom().randrange(1_000_000)))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Tell how the same order is had again."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if (seed := os.environ.get("TEST_ORDER")) and reporter:
        reporter.write_line(f"random order of the tests: TEST_ORDER={seed}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Shuffle the modules, and the tests in each, by the seed TEST_ORDER: a soak draws one. Without it nothing moves.

    Modules stay whole: their servers and definitions are made once.
    """
    seed = os.environ.get("TEST_ORDER")
    if not seed:
        return
    dice = random.Random(seed)
    modules: dict[str, list[pytest.Item]] = {}
    for item in items:
        modules.setdefault(item.nodeid.partition("::")[0], []).append(item)
    shuffled = dice.sample(list(modules.values()), len(modules))
    items[:] = [item for tests in shuffled for item in dice.sample(tests, len(tests))]


def scratch_settings(state_dir: Path, **given: Any) -> Settings:
    """Settings of a stack of its own on free ports, whatever the environment says; `given` by the variables' names."""
    postgres, zerodb, bigquery, grpc = free_ports(4)
    return Settings(
        **{
            "DATABASE_PUBLIC_URL": "",
            "DAGSTER_PG_URL": "",
            "ZERODB_API_KEY": "",
            "API_BASE_URL": "",
            "BIGQUERY_PROJECT_ID": "",
            "BIGQUERY_ENDPOINT": "",
            "LOCAL_STATE_DIR": state_dir,
            "LOCAL_POSTGRES_PORT": postgres,
            "LOCAL_ZERODB_PORT": zerodb,
            "LOCAL_BIGQUERY_PORT": bigquery,
            "LOCAL_BIGQUERY_GRPC_PORT": grpc,
            **given,
        }
    )


@pytest.fixture(scope="session")
def _state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where that has room, else on the disk: the database of one test is a thousand small files."""
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < NEEDED:
        yield tmp_path_factory.mktemp("stack")
        return
    for left in MEMORY.glob("content-tests-*-*"):
        # Of a run that was killed: memory is not given back by itself.
        if not psutil.pid_exists(int(left.name.split("-")[2])):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"content-tests-{os.getpid()}-", dir=MEMORY))
    # Run as root, PostgreSQL has an account of its own that must pass through.
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def stack(_state: Path) -> Iterator[LocalStack]:
    """The three servers, answering. PostgreSQL does not wait for the disk (fsync off)."""
    running = LocalStack(scratch_settings(_state / "state"), fsync=False)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session")
def settings(stack: LocalStack) -> Settings:
    """The settings under which `stack` runs."""
    return stack.settings


@pytest.fixture(scope="session")
def _server(stack: LocalStack) -> Iterator[psycopg.Connection]:
    with connect(stack.settings.local_postgres_port) as connection:
        connection.execute("SET file_copy_method = clone")
        yield connection


class Drops:
    """Drops databases, whoever is still connected, while the next test prepares itself."""

    def __init__(self, connection: psycopg.Connection, pool: Executor) -> None:
        self._connection = connection
        self._pool = pool
        self._last: Future[object] | None = None

    def begin(self, name: str) -> None:
        """Drop it in the background."""
        self._last = self._pool.submit(self._connection.execute, f"DROP DATABASE {name} WITH (FORCE)")

    def wait(self) -> None:
        """Let the last one end: its transaction, though in no test's database, holds back a window of replication."""
        if self._last is not None:
            wait([self._last])


@pytest.fixture(scope="session")
def _dropped(stack: LocalStack) -> Iterator[Drops]:
    with connect(stack.settings.local_postgres_port) as connection, ThreadPoolExecutor(1) as pool:
        yield Drops(connection, pool)


@pytest.fixture
def empty_database(_server: psycopg.Connection, settings: Settings, _dropped: Drops) -> Iterator[str]:
    """The URL of a database with nothing in it, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    _server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    _dropped.wait()
    try:
        yield f"postgresql://postgres@127.0.0.1:{settings.local_postgres_port}/{name}"
    finally:
        _dropped.begin(name)


@pytest.fixture
def zerodb_project(stack: LocalStack) -> str:
    """A ZeroDB project id that no other test uses."""
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second for a PostgreSQL that is not there, where production waits for ten."""
    monkeypatch.setattr("content_orchestration.resources.postgres_client._CONNECT_SECONDS", 0.5)


@pytest.fixture
def bigquery_dataset(stack: LocalStack) -> str:
    """A BigQuery dataset name that no other test uses; the dataset is not created."""
    return f"test_{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def _template_of_today(_server: psycopg.Connection, settings: Settings) -> Callable[[], str]:
    """Names a database with the platform's tables and our schema, to copy: migrating takes 0.3 s, copying a third.

    One a day: the change log begins with partitions of the day on which it was made, and a run may pass midnight.
    """

    @cache
    def of(day: date) -> str:
        name = f"template_{uuid.uuid4().hex}"
        _server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        url = f"postgresql://postgres@127.0.0.1:{settings.local_postgres_port}/{name}"
        with psycopg.connect(url) as connection:
            create_platform_tables(connection)
        with PostgresClient(url) as database:
            upgrade(database)
        return name

    return lambda: of(datetime.now(UTC).date())


@pytest.fixture(scope="session")
def _migrated_template(_template_of_today: Callable[[], str]) -> str:
    """The name of one such database."""
    return _template_of_today()


@pytest.fixture
def database_url(
    _server: psycopg.Connection,
    settings: Settings,
    _template_of_today: Callable[[], str],
    _dropped: Drops,
) -> Iterator[str]:
    """The URL of a database with the platform's tables, empty, and our schema at its newest revision."""
    name = f"test_{uuid.uuid4().hex}"
    # Copying files, in the kernel, is a third of the price of logging each block, which nobody needs here.
    _server.execute(f"CREATE DATABASE {name} TEMPLATE {_template_of_today()} STRATEGY FILE_COPY")
    _dropped.wait()
    try:
        yield f"postgresql://postgres@127.0.0.1:{settings.local_postgres_port}/{name}"
    finally:
        _dropped.begin(name)


@pytest.fixture
def tiers(settings: Settings, database_url: str, zerodb_project: str, bigquery_dataset: str) -> Iterator[Tiers]:
    """Real clients of the three tiers, each with a schema that only this test sees."""
    with open_tiers(settings, database_url, zerodb_project, bigquery_dataset) as opened:
        yield opened
