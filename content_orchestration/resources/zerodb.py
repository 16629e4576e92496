"""The Dagster resource of ZeroDB: configuration and life of the client. What the client does: `zerodb_client.py`.

Importing this module costs nothing beyond Dagster; the HTTP library loads with the first client.
"""

import threading
from typing import TYPE_CHECKING, Self

import dagster as dg
from pydantic import Field, PrivateAttr

from content_orchestration.settings import Settings, get_settings

if TYPE_CHECKING:
    from content_orchestration.resources.zerodb_client import ZeroDBClient


class ZeroDBResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """ZeroDB, the document store that holds the bodies.

    The key is not configuration: Dagster shows the values of a resource in its UI and stores them with its snapshots.
    It is read from `ZERODB_API_KEY` when the client is made.
    """

    base_url: str = Field(description="Base URL of the API, version included (`API_BASE_URL`).")
    project_id: str = Field(description="The ZeroDB project (`ZERODB_PROJECT_ID`).")
    timeout: float = Field(default=30.0, gt=0, description="Seconds that one request may take (`API_TIMEOUT`).")
    concurrency: int = Field(default=8, ge=1, le=64, description="Requests in flight at once (`ZERODB_CONCURRENCY`).")

    _client: "ZeroDBClient | None" = PrivateAttr(default=None)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The resource that the environment describes."""
        return cls(
            base_url=settings.zerodb_url,
            project_id=settings.zerodb_project_id,
            timeout=settings.api_timeout,
            concurrency=settings.zerodb_concurrency,
        )

    def client(self) -> "ZeroDBClient":
        """The client, made with the first call and shared by every user of this resource. Raises `Permanent`."""
        from content_orchestration.resources.zerodb_client import ZeroDBClient

        with self._lock:
            if self._client is None:
                self._client = ZeroDBClient(
                    self.base_url,
                    self.project_id,
                    get_settings().zerodb_key,
                    timeout=self.timeout,
                    concurrency=self.concurrency,
                )
            return self._client

    def close(self) -> None:
        """Close the client. Dagster does it after a run; whoever uses the resource outside of one does it here."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Close the client at the end of the run."""
        self.close()
