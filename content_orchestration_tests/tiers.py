"""The three tiers as engines see them: real clients on the session's servers, a schema of their own for each test."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from content_orchestration.core.schema.documents import ensure_collections
from content_orchestration.core.schema.warehouse import ensure_warehouse
from content_orchestration.resources.bigquery_client import BigQueryClient
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration.settings import Settings


@dataclass
class Tiers:
    """Clients of the three tiers, and where they point: a killed subprocess connects with the same names.

    The dataset has its tables from the first moment that anybody asks for it: most of a second, which half of the tests
    need not wait for.
    """

    settings: Settings
    database_url: str
    zerodb_project: str
    dataset: str
    database: PostgresClient
    store: ZeroDBClient
    google: BigQueryClient
    ready: bool = False

    @property
    def warehouse(self) -> BigQueryClient:
        """The client of BigQuery's dataset."""
        if not self.ready:
            ensure_warehouse(self.google)
            self.ready = True
        return self.google

    @property
    def bigquery_dataset(self) -> str:
        """The dataset's name."""
        return self.dataset if self.warehouse else ""

    def environment(self) -> dict[str, str]:
        """The variables under which a subprocess sees the same tiers."""
        return {
            "DATABASE_PUBLIC_URL": self.database_url,
            "ZERODB_PROJECT_ID": self.zerodb_project,
            "BIGQUERY_DATASET": self.bigquery_dataset,
            "LOCAL_ZERODB_PORT": str(self.settings.local_zerodb_port),
            "LOCAL_BIGQUERY_PORT": str(self.settings.local_bigquery_port),
            "LOCAL_BIGQUERY_GRPC_PORT": str(self.settings.local_bigquery_grpc_port),
            "LOCAL_POSTGRES_PORT": str(self.settings.local_postgres_port),
            "LOCAL_STATE_DIR": str(self.settings.local_state_dir),
            "REPORT_DIR": str(self.settings.local_state_dir / "reports"),
        }


@contextmanager
def open_tiers(settings: Settings, database_url: str, project: str, dataset: str) -> Iterator[Tiers]:
    """Clients on the given names; collections and dataset are created, the PostgreSQL schema is taken as it is."""
    google = bigquery.Client(
        project=settings.bigquery_project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": settings.bigquery_url},
    )
    warehouse = BigQueryClient(
        google, dataset, attempts=3, retry_seconds=20.0, read_endpoint=settings.bigquery_read_address
    )
    with (
        PostgresClient(database_url) as database,
        ZeroDBClient(settings.zerodb_url, project, settings.zerodb_key, timeout=10.0, concurrency=4) as store,
    ):
        ensure_collections(store)
        try:
            yield Tiers(settings, database_url, project, dataset, database, store, warehouse)
        finally:
            google.delete_dataset(dataset, delete_contents=True, not_found_ok=True)
            warehouse.close()
