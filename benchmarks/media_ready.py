"""Seconds from a dropped file to ready: stored, with variants and tags, and in BigQuery. Part of `benchmarks.media`."""

import shutil
import time
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from uuid import UUID, uuid4

from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from benchmarks.scratch import say
from content_orchestration.core.media.download import Downloader
from content_orchestration.core.media.inbox import Inbox
from content_orchestration.core.media.ingest import Ingestor
from content_orchestration.core.media.pipeline import process_waiting, store_waiting
from content_orchestration.core.media.processing import Processor
from content_orchestration.core.media.spool import Spool
from content_orchestration.core.media.worker import ImageWorker
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.replication.engine import Replicator
from content_orchestration.core.schema.documents import ensure_collections
from content_orchestration.core.schema.warehouse import ensure_warehouse
from content_orchestration.resources.bigquery_client import BigQueryClient
from content_orchestration.resources.media_images import image_worker, variant_settings
from content_orchestration.resources.object_store import stores_of
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration.settings import Settings

_TABLE = "content_media_dr"


def upload_to_ready(settings: Settings, sources: list[Path], folder: Path) -> list[float]:
    """Seconds of each upload, one after another; the first, which opens connections and starts the child, is left out.

    The quiet time for which a drop must not change, and the minutes until a sensor or a schedule looks, come on top.
    """
    google = bigquery.Client(
        project=settings.bigquery_project,
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
        client_options={"api_endpoint": settings.bigquery_url},
    )
    warehouse = BigQueryClient(google, settings.bigquery_dataset)
    with (
        closing(warehouse),
        PostgresClient(settings.database_url) as database,
        ZeroDBClient(settings.zerodb_url, settings.zerodb_project_id, settings.zerodb_key) as documents,
        image_worker(settings) as images,
    ):
        ensure_collections(documents)
        ensure_warehouse(warehouse)
        tenant = uuid4()
        with database.connection() as connection:
            connection.execute(
                "INSERT INTO tenants (id, name, slug, plan_tier) VALUES (%s, 'Media', 'media', 'enterprise')", [tenant]
            )
        path = _Path(settings, database, documents, warehouse, images, tenant, folder)
        seconds = []
        for number, source in enumerate(sources):
            drop = folder / f"{number}.jpg"
            # A comment makes each upload another file.
            data = source.read_bytes()
            drop.write_bytes(data[:2] + b"\xff\xfe\0\x06%04d" % number + data[2:])
            began = time.perf_counter()
            path.take(drop)
            seconds.append(time.perf_counter() - began)
        shutil.rmtree(folder, ignore_errors=True)
    return seconds[1:]


class _Path:
    """The way of one upload through every engine."""

    def __init__(
        self,
        settings: Settings,
        database: PostgresClient,
        documents: ZeroDBClient,
        warehouse: BigQueryClient,
        images: ImageWorker,
        tenant: UUID,
        folder: Path,
    ) -> None:
        stores, ledger = stores_of(settings), QuotaLedger(database)
        ledger.apply_plan(tenant)
        self._drops = stores.inbox(tenant)
        # An hour ahead, so that no drop is waited for to keep still.
        self._inbox = Inbox(database, stores, ledger, documents, now=lambda: time.time() + 3_600)
        self._ingestor = Ingestor(database, stores, ledger, documents, Downloader(), Spool(folder / "spool"))
        self._processor = Processor(database, stores, documents, images, settings=variant_settings(settings))
        self._replicator = Replicator(
            database,
            documents,
            warehouse,
            batch_size=settings.bigquery_sync_batch_size,
            max_bytes=settings.sync_max_bytes,
            run_id="benchmark",
        )
        self._database, self._tenant = database, tenant

    def take(self, drop: Path) -> None:
        """From the drop to BigQuery. Raises RuntimeError where a step did not do its work."""
        self._drops.put_file(drop, drop.name, sha256(drop.read_bytes()).hexdigest(), "image/jpeg")
        registered = self._inbox.register(self._tenant).registered
        stored = store_waiting(self._database, self._ingestor, self._tenant, most=10)
        processed = process_waiting(self._database, self._processor, self._tenant, most=10)
        replicated = self._replicator.sync().rows[_TABLE]
        with self._database.connection() as connection:
            row = connection.execute(
                "SELECT status, jsonb_array_length(metadata -> 'tags') AS tags, "
                "jsonb_array_length(metadata -> 'variants') AS variants "
                "FROM media_assets WHERE tenant_id = %s ORDER BY created_at DESC LIMIT 1",
                [self._tenant],
            ).fetchone()
        if registered != 1 or row is None or row["status"] != "stored" or row["variants"] != 4 or not row["tags"]:
            raise RuntimeError(f"{drop.name}: {registered} registered, {stored}, {processed}, {row}")
        if not replicated:
            raise RuntimeError(f"{drop.name} is not in BigQuery")


def p95(seconds: list[float]) -> float:
    """The 95th percentile."""
    ordered = sorted(seconds)
    say(f"upload to ready: median {ordered[len(ordered) // 2]:.2f} s, slowest {ordered[-1]:.2f} s of {len(ordered)}")
    return round(ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)], 2)
