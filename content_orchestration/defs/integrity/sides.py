"""What the definitions of integrity share: the tiers as the engines want them, and the bounds from the settings."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import dagster as dg

from content_orchestration.core.errors import Transient
from content_orchestration.core.integrity.survey import Limits, Sides
from content_orchestration.resources.bigquery import BigQueryDRResource, why_unavailable
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.resources.zerodb import ZeroDBResource
from content_orchestration.settings import get_settings


def sides_of(postgres: PostgresResource, zerodb: ZeroDBResource, bigquery: BigQueryDRResource) -> Sides:
    """The clients of this run. Without BigQuery's configuration the other tiers are compared all the same."""
    reason = why_unavailable(get_settings())
    warehouse = None if reason else bigquery.client()
    return Sides(postgres.client(), zerodb.client(), warehouse, reason or "")


def limits() -> Limits:
    """The bounds of a survey that begins now."""
    settings = get_settings()
    return Limits(datetime.now(UTC), settings.integrity_max_bytes, settings.scrub_days)


@contextmanager
def unknown_where_lost() -> Iterator[None]:
    """Where PostgreSQL, which keeps the reports, cannot be reached, the run fails as unknown and may be retried."""
    try:
        yield
    except Transient as error:
        raise dg.Failure(
            description=f"unknown: nothing was compared or kept. {error}", metadata={"outcome": "unknown"}
        ) from error
