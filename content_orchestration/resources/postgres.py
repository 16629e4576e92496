"""PostgreSQL as a Dagster resource. The client is in `postgres_client.py`; this file only binds it to the settings."""

import dagster as dg
from pydantic import Field, PrivateAttr

from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.settings import get_settings


class PostgresResource(dg.ConfigurableResource[PostgresClient]):
    """The platform's PostgreSQL.

    The URL carries a password, and Dagster shows resource configuration to everyone who opens the UI: so it is read
    from the settings when the client is first used, and is no field.
    """

    application_name: str = Field(
        default="content_orchestration", description="Shown in pg_stat_activity for every connection of ours."
    )
    _client: PostgresClient | None = PrivateAttr(default=None)

    def client(self) -> PostgresClient:
        """The client of this run, made on first use."""
        if self._client is None:
            settings = get_settings()
            self._client = PostgresClient(
                settings.database_url,
                pool_size=settings.database_pool_size,
                statement_timeout=settings.database_statement_timeout,
                application_name=self.application_name,
            )
        return self._client

    def close(self) -> None:
        """Close the client. Dagster does it after a run; whoever uses the resource outside of one does it here."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Close the client at the end of the run."""
        self.close()
