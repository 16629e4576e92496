"""`dagster_gcp.BigQueryResource` with an endpoint. Imported on first use of BigQuery: dagster_gcp costs 1 s or more."""

from collections.abc import Iterator
from contextlib import contextmanager

from dagster_gcp import BigQueryResource
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from pydantic import Field


class BigQueryEndpointResource(BigQueryResource):
    """Google's BigQuery, or an emulator that speaks its API."""

    endpoint: str | None = Field(default=None, description="REST address of an emulator; none means Google's service.")

    @contextmanager
    def get_client(self) -> Iterator[bigquery.Client]:
        """A client with application default credentials, or an anonymous one for an emulator."""
        if self.endpoint is None:
            with super().get_client() as client:
                yield client
            return
        client = bigquery.Client(
            project=self.project,
            location=self.location,
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": self.endpoint},
        )
        try:
            yield client
        finally:
            client.close()  # type: ignore[no-untyped-call]
