"""What the engines of cleanup work with, as a Dagster resource: clients, and what the environment sets. No rules here.

Engines load when they are first asked for: importing this module costs nothing beyond Dagster.
"""

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import dagster as dg

from content_orchestration.resources.bigquery import BigQueryDRResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.resources.zerodb import ZeroDBResource
from content_orchestration.settings import get_settings

if TYPE_CHECKING:
    from content_orchestration.core.cleanup.context import OrphanContext
    from content_orchestration.core.cleanup.guards import NeverDelete
    from content_orchestration.core.cleanup.horizons import RetentionRules
    from content_orchestration.core.cleanup.multipart import Uploads
    from content_orchestration.core.media.model import MediaStores


class CleanupResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """What the parts of cleanup work on. Nothing is opened before it is used."""

    postgres: dg.ResourceDependency[PostgresResource]
    zerodb: dg.ResourceDependency[ZeroDBResource]
    bigquery: dg.ResourceDependency[BigQueryDRResource]

    def never(self) -> "NeverDelete":
        """Tenants and places in which nothing is removed."""
        from content_orchestration.core.cleanup.guards import NeverDelete

        settings = get_settings()
        return NeverDelete(
            frozenset(UUID(each) for each in settings.cleanup_never_delete_tenants.split()),
            tuple(settings.cleanup_never_delete_prefixes.split()),
        )

    def orphans(self) -> "OrphanContext":
        """What the parts of orphaned renders take: the platform's buckets, the rules, and what bounds them."""
        from content_orchestration.core.cleanup.context import OrphanContext
        from content_orchestration.core.cleanup.model import OrphanRules
        from content_orchestration.resources.render_store import render_buckets_of, render_places_of

        settings = get_settings()
        return OrphanContext(
            database=self.postgres.client(),
            stores=render_buckets_of(settings),
            places=render_places_of(settings),
            rules=OrphanRules(settings.orphan_minimum_age, settings.orphan_grace),
            never=self.never(),
            percent=settings.cleanup_max_candidate_percent,
        )

    def retention_rules(self) -> "RetentionRules":
        """What retention by plan and the sweep of leftovers go by."""
        from content_orchestration.core.cleanup.horizons import RetentionRules

        return RetentionRules(never=self.never(), max_candidate_percent=self.most_percent(), file_grace=self.grace())

    def files(self) -> "MediaStores":
        """The files of all tenants."""
        from content_orchestration.resources.object_store import stores_of

        return stores_of(get_settings())

    def uploads(self) -> "Uploads":
        """Uploads to the stores that were begun and not finished."""
        from content_orchestration.resources.object_store_uploads import uploads_of

        return uploads_of(get_settings())

    def most_percent(self) -> float:
        """CLEANUP_MAX_CANDIDATE_PERCENT."""
        return get_settings().cleanup_max_candidate_percent

    def grace(self) -> timedelta:
        """How long what was taken waits in quarantine: ORPHAN_QUARANTINE_HOURS."""
        return get_settings().orphan_grace

    def generation_history_days(self) -> int:
        """GENERATION_HISTORY_DAYS."""
        return get_settings().generation_history_days

    def compaction_max_bytes(self) -> int:
        """Bytes that one compaction may have BigQuery read and write."""
        return get_settings().compaction_max_bytes
