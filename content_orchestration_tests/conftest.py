"""The real local servers for every test: one stack a session, on free ports, in a temporary folder. No Dagster here."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from content_orchestration.core.schema.postgres import upgrade
from content_orchestration.local.platform_tables import create_platform_tables
from content_orchestration.local.ports import free_ports
from content_orchestration.local.postgres import connect
from content_orchestration.local.stack import LocalStack
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.settings import Settings
from content_orchestration_tests.tiers import Tiers, open_tiers


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
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """The three servers, answering. PostgreSQL does not wait for the disk (fsync off)."""
    running = LocalStack(scratch_settings(tmp_path_factory.mktemp("stack") / "state"), fsync=False)
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
        yield connection


@pytest.fixture
def empty_database(_server: psycopg.Connection, settings: Settings) -> Iterator[str]:
    """The URL of a database with nothing in it, dropped afterwards whoever is still connected."""
    name = f"test_{uuid.uuid4().hex}"
    _server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        yield f"postgresql://postgres@127.0.0.1:{settings.local_postgres_port}/{name}"
    finally:
        _server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def zerodb_project(stack: LocalStack) -> str:
    """A ZeroDB project id that no other test uses."""
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture
def bigquery_dataset(stack: LocalStack) -> str:
    """A BigQuery dataset name that no other test uses; the dataset is not created."""
    return f"test_{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def _migrated_template(_server: psycopg.Connection, settings: Settings) -> str:
    """A database with the platform's tables and our schema, to copy: migrating takes 0.3 s, copying a tenth of it."""
    name = f"template_{uuid.uuid4().hex}"
    _server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    url = f"postgresql://postgres@127.0.0.1:{settings.local_postgres_port}/{name}"
    with psycopg.connect(url) as connection:
        create_platform_tables(connection)
    with PostgresClient(url) as database:
        upgrade(database)
    return name


@pytest.fixture
def database_url(_server: psycopg.Connection, settings: Settings, _migrated_template: str) -> Iterator[str]:
    """The URL of a database with the platform's tables, empty, and our schema at its newest revision."""
    name = f"test_{uuid.uuid4().hex}"
    # Copying files is half the price of logging each block, which nobody needs here.
    _server.execute(f"CREATE DATABASE {name} TEMPLATE {_migrated_template} STRATEGY FILE_COPY")
    try:
        yield f"postgresql://postgres@127.0.0.1:{settings.local_postgres_port}/{name}"
    finally:
        _server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def tiers(settings: Settings, database_url: str, zerodb_project: str, bigquery_dataset: str) -> Iterator[Tiers]:
    """Real clients of the three tiers, each with a schema that only this test sees."""
    with open_tiers(settings, database_url, zerodb_project, bigquery_dataset) as opened:
        yield opened
