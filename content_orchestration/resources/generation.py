"""The generation queue as a Dagster resource. The queue is `core/generation/queue.py`; here it gets its PostgreSQL."""

from datetime import timedelta

import dagster as dg

from content_orchestration.core.generation.queue import GenerationQueue
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.settings import get_settings


class GenerationQueueResource(dg.ConfigurableResource[GenerationQueue]):
    """Batches of generated content in PostgreSQL. What each call does and raises: the queue's."""

    postgres: dg.ResourceDependency[PostgresResource]

    def queue(self) -> GenerationQueue:
        """The queue of the platform's database. It connects when it is first used."""
        settings = get_settings()
        database = self.postgres.client()
        return GenerationQueue(
            database,
            QuotaLedger(database),
            lease=timedelta(seconds=settings.generation_lease_seconds),
            history_days=settings.generation_history_days,
        )
