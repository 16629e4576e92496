"""What the health page looks with, as a Dagster resource: short timeouts, so that what is down cannot stop the look."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.settings import get_settings

if TYPE_CHECKING:
    from content_orchestration.resources.health_probes import TierProbes


@dataclass(frozen=True)
class HealthTools:
    """A client whose statements are cut off early, and the questions to the tiers."""

    database: PostgresClient
    probes: "TierProbes"


class HealthResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Short-lived clients of the three tiers. Addresses and credentials are the settings', as everywhere."""

    statement_seconds: float = Field(
        default=1.5, gt=0, le=60, description="Seconds after which a figure that is still being read is unknown."
    )

    @contextmanager
    def tools(self) -> Iterator[HealthTools]:
        """Clients for one look, closed after it."""
        from content_orchestration.resources.health_probes import TierProbes

        settings = get_settings()
        with (
            PostgresClient(
                settings.database_url,
                pool_size=8,
                statement_timeout=self.statement_seconds,
                application_name="content_orchestration_health",
            ) as database,
            TierProbes(settings) as probes,
        ):
            yield HealthTools(database, probes)
