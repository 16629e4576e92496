"""BigQuery's disaster-recovery dataset as a Dagster resource. Everything of Google's is imported on first use."""

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field, PrivateAttr

from content_orchestration.core.errors import Permanent
from content_orchestration.settings import Settings, get_settings

if TYPE_CHECKING:
    from content_orchestration.resources.bigquery_client import BigQueryClient


NO_CREDENTIALS = (
    "no Google credentials: set GOOGLE_APPLICATION_CREDENTIALS to a service account's key file, or unset "
    "BIGQUERY_PROJECT_ID to use the local emulator"
)


def why_unavailable(settings: Settings) -> str | None:
    """Why replication cannot run, with the way out; None when it can. Sends no request."""
    if not settings.bigquery_sync_enabled:
        return "BIGQUERY_SYNC_ENABLED is false: set it to true to replicate"
    if settings.bigquery_url is None:
        from google.auth import default
        from google.auth.exceptions import DefaultCredentialsError

        try:
            default()
        except DefaultCredentialsError:
            return NO_CREDENTIALS
    return None


class BigQueryDRResource(dg.ConfigurableResource["BigQueryClient"]):
    """The dataset `BIGQUERY_DATASET`.

    Credentials are Google's application default ones and never pass through Dagster.
    """

    maximum_bytes_billed: int = Field(
        default=10 * 1024**3, gt=0, description="Bytes that one query may bill before BigQuery refuses it."
    )
    _client: "BigQueryClient | None" = PrivateAttr(default=None)
    _opened: ExitStack | None = PrivateAttr(default=None)

    def client(self) -> "BigQueryClient":
        """The client of this run, made on first use. Raises `Permanent` without credentials; sends no request."""
        if self._client is None:
            from google.auth.exceptions import DefaultCredentialsError

            from content_orchestration.resources.bigquery_client import BigQueryClient
            from content_orchestration.resources.bigquery_gcp import google_client

            settings = get_settings()
            self._opened = ExitStack()
            try:
                client = self._opened.enter_context(closing(google_client(settings)))
            except DefaultCredentialsError as error:
                raise Permanent(f"{NO_CREDENTIALS} ({error})") from error
            self._client = BigQueryClient(
                client,
                settings.bigquery_dataset,
                location=settings.bigquery_location,
                maximum_bytes_billed=self.maximum_bytes_billed,
                read_endpoint=settings.bigquery_read_address,
            )
        return self._client

    def close(self) -> None:
        """Close the client. Dagster does it after a run; whoever uses the resource outside of one does it here."""
        if self._opened is not None:
            self._opened.close()
        self._opened = self._client = None

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Close the client at the end of the run."""
        self.close()
