"""The content store as a Dagster resource: its clients and their patience. The store is `core/content/store.py`.

Its ZeroDB client gives up sooner than the batch jobs' one: a caller waits, and the spill takes what ZeroDB does not.
"""

import threading
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field, PrivateAttr

from content_orchestration.resources.bigquery import BigQueryDRResource, why_unavailable
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.settings import get_settings

if TYPE_CHECKING:
    from content_orchestration.core.content.store import ContentStore
    from content_orchestration.resources.zerodb_client import ZeroDBClient


class ContentStoreResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The one door to content."""

    postgres: dg.ResourceDependency[PostgresResource]
    bigquery: dg.ResourceDependency[BigQueryDRResource]
    attempts: int = Field(
        default=3, ge=1, le=20, description="How often a ZeroDB request is tried before the spill takes the body."
    )
    patience_seconds: float = Field(
        default=3.0, gt=0, description="Seconds after which no further ZeroDB attempt begins."
    )
    _store: "ContentStore | None" = PrivateAttr(default=None)
    _zerodb: "ZeroDBClient | None" = PrivateAttr(default=None)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def store(self) -> "ContentStore":
        """The store, made with the first call and shared. It connects when it is first used."""
        from content_orchestration.core.content.store import ContentStore
        from content_orchestration.core.quota.ledger import QuotaLedger
        from content_orchestration.resources.zerodb_client import ZeroDBClient

        with self._lock:
            if self._store is None:
                settings = get_settings()
                self._zerodb = ZeroDBClient(
                    settings.zerodb_url,
                    settings.zerodb_project_id,
                    settings.zerodb_key,
                    timeout=min(settings.api_timeout, self.patience_seconds),
                    concurrency=settings.zerodb_concurrency,
                    attempts=self.attempts,
                    total_timeout=self.patience_seconds,
                )
                database = self.postgres.client()
                self._store = ContentStore(
                    database,
                    self._zerodb,
                    QuotaLedger(database),
                    # Without BigQuery a body that ZeroDB and the spill cannot give is an error that says so.
                    None if why_unavailable(settings) else self.bigquery.client(),
                    max_body_bytes=settings.content_max_body_bytes,
                )
            return self._store

    def close(self) -> None:
        """Close the client. Dagster does it after a run; whoever uses the resource outside of one does it here."""
        with self._lock:
            zerodb, self._zerodb, self._store = self._zerodb, None, None
        if zerodb is not None:
            zerodb.close()

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Close the client at the end of the run."""
        self.close()
