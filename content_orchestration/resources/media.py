"""The media engines as a Dagster resource: their clients, the decoder's child, the vision model. No rules here."""

import threading
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import PrivateAttr

from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.resources.zerodb import ZeroDBResource
from content_orchestration.settings import get_settings

if TYPE_CHECKING:
    from content_orchestration.core.media.inbox import Inbox
    from content_orchestration.core.media.ingest import Ingestor
    from content_orchestration.core.media.model import MediaStores
    from content_orchestration.core.media.processing import Processor
    from content_orchestration.core.media.variants import VariantSettings
    from content_orchestration.core.media.worker import ImageWorker
    from content_orchestration.resources.vision import VisionTagger


class MediaResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Files, variants and tags. Nothing is opened or started before it is used."""

    postgres: dg.ResourceDependency[PostgresResource]
    zerodb: dg.ResourceDependency[ZeroDBResource]
    _worker: "ImageWorker | None" = PrivateAttr(default=None)
    _vision: "VisionTagger | None" = PrivateAttr(default=None)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def stores(self) -> "MediaStores":
        """The files of all tenants."""
        from content_orchestration.resources.object_store import stores_of

        return stores_of(get_settings())

    def inbox(self) -> "Inbox":
        """What makes rows of dropped files."""
        from content_orchestration.core.media.inbox import Inbox
        from content_orchestration.core.quota.ledger import QuotaLedger

        database = self.postgres.client()
        return Inbox(database, self.stores(), QuotaLedger(database), self.zerodb.client())

    def ingestor(self) -> "Ingestor":
        """What brings the bytes of rows into the store. Only public addresses are fetched from."""
        from content_orchestration.core.media.download import Downloader
        from content_orchestration.core.media.ingest import Ingestor
        from content_orchestration.core.media.spool import Spool
        from content_orchestration.core.quota.ledger import QuotaLedger
        from content_orchestration.resources.media_images import picture_limits

        environment = get_settings()
        database = self.postgres.client()
        return Ingestor(
            database,
            self.stores(),
            QuotaLedger(database),
            self.zerodb.client(),
            Downloader(total_seconds=environment.storage_download_seconds),
            Spool(environment.local_state_dir / "spool"),
            max_file_size=environment.storage_max_file_size,
            share_duplicates=environment.enable_duplicate_detection,
            limits=picture_limits(environment),
        )

    def processor(self, settings: "VariantSettings | None" = None) -> "Processor":
        """What describes files and makes their variants, by the environment's settings or these."""
        from content_orchestration.core.media.processing import Processor
        from content_orchestration.resources.media_images import image_worker, variant_settings

        environment = get_settings()
        with self._lock:
            if self._worker is None:
                self._worker = image_worker(environment)
        return Processor(
            self.postgres.client(),
            self.stores(),
            self.zerodb.client(),
            self._worker,
            settings=settings or variant_settings(environment),
            ask_model=self.vision() is not None,
            mark_near=environment.enable_duplicate_detection,
        )

    def vision(self) -> "VisionTagger | None":
        """The vision model that the settings name; None where they name none or there is no key."""
        from content_orchestration.resources.vision import vision_tagger

        with self._lock:
            if self._vision is None:
                self._vision = vision_tagger(get_settings())
            return self._vision

    def close(self) -> None:
        """End the child process and the connections. Dagster does it after a run; whoever else uses it, here."""
        with self._lock:
            worker, self._worker = self._worker, None
            vision, self._vision = self._vision, None
        for opened in (worker, vision):
            if opened is not None:
                opened.close()

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Close at the end of the run."""
        self.close()
