"""Scratch tiers for tests of drills: names of their own on the session's servers, gone afterwards."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from content_orchestration.core.drill.scratch import Scratch
from content_orchestration.resources.drill_clients import DrillBigQuery, DrillPostgres, DrillZeroDB
from content_orchestration.settings import Settings


@dataclass(frozen=True)
class Names:
    """Where the scratch tiers are."""

    database: str
    database_url: str
    project: str
    dataset: str

    def environment(self) -> dict[str, str]:
        """The variables that lead a drill there."""
        return {
            "DRILL_DATABASE_URL": self.database_url,
            "DRILL_ZERODB_PROJECT_ID": self.project,
            "DRILL_BIGQUERY_DATASET": self.dataset,
        }


@contextmanager
def scratch_names(settings: Settings) -> Iterator[Names]:
    """Names that nobody else uses; nothing is created, and what was created under them is removed."""
    token = uuid.uuid4().hex
    name = f"drill_{token}"
    server = f"postgresql://postgres@127.0.0.1:{settings.local_postgres_port}"
    try:
        yield Names(name, f"{server}/{name}", f"drill-{token}", name)
    finally:
        google_client(settings).delete_dataset(name, delete_contents=True, not_found_ok=True)
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")  # type: ignore[arg-type]


def google_client(settings: Settings) -> bigquery.Client:
    """A client of the emulator."""
    return bigquery.Client(
        project=settings.bigquery_project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": settings.bigquery_url},
    )


@contextmanager
def open_scratch(settings: Settings, names: Names) -> Iterator[Scratch]:
    """Real clients of the scratch tiers, as the resource makes them."""
    warehouse = DrillBigQuery(
        google_client(settings),
        names.dataset,
        attempts=3,
        retry_seconds=20.0,
        read_endpoint=settings.bigquery_read_address,
    )
    with (
        DrillPostgres(names.database_url) as database,
        DrillZeroDB(settings.zerodb_url, names.project, settings.zerodb_key, timeout=10.0, concurrency=4) as store,
    ):
        try:
            yield Scratch(database, store, warehouse)
        finally:
            warehouse.close()
