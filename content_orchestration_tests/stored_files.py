"""A tenant's stored files over real PostgreSQL, real ZeroDB and a real store: pictures, and what is there afterwards.

How files come into the store is not needed here: rows and objects are written as ingest leaves them.
"""

import hashlib
import io
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from PIL import Image

from content_orchestration.core.media.model import MediaStore, MediaStores
from content_orchestration.core.media.processing import Processor
from content_orchestration.core.media.variants import VariantSettings
from content_orchestration.core.media.worker import Failure, ImageWorker, Processed
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration_tests.usage_rows import run, tenant

SIZES = VariantSettings(sizes=(150, 400), quality=80)


def picture(seed: int, width: int = 640, height: int = 480, form: str = "JPEG", **options: Any) -> bytes:
    """A picture of coloured patches: the same bytes for the same seed; other seeds look different."""
    draw = random.Random(seed)
    small = Image.new("RGB", (8, 6))
    small.putdata([tuple(draw.randrange(256) for _ in range(3)) for _ in range(48)])
    return encoded(small.resize((width, height), Image.Resampling.BICUBIC), form, **options)


def encoded(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


class Refusing:
    """A worker that makes nothing of any file."""

    def __init__(self, *, again: bool = False) -> None:
        self.failure = Failure("crashed" if again else "undecodable", "no decoder can read it", again)

    def process(self, path: Path, out_dir: Path, settings: VariantSettings) -> Processed:
        return Processed(self.failure)


@dataclass
class FilesWorld:
    """One tenant, its store, and an engine over them."""

    database: PostgresClient
    documents: ZeroDBClient
    stores: MediaStores
    worker: ImageWorker
    scratch: Path
    tenant_id: UUID = field(init=False)

    def __post_init__(self) -> None:
        self.tenant_id = UUID(tenant(self.database))

    @property
    def store(self) -> MediaStore:
        return self.stores.for_tenant(self.tenant_id)

    def processor(self, settings: VariantSettings = SIZES, **given: Any) -> Processor:
        parts = {"worker": self.worker, "scratch": self.scratch} | given
        return Processor(self.database, self.stores, self.documents, settings=settings, **parts)

    def stored(self, data: bytes, name: str = "photo.jpg", *, rows: int = 1, kind: str = "image") -> str:
        """A file as ingest leaves it: bytes in the store, its object, its rows. Returns its SHA-256."""
        sha256 = hashlib.sha256(data).hexdigest()
        self.put(sha256, data)
        run(
            self.database,
            "INSERT INTO media_objects (tenant_id, key, sha256, location, size_bytes, mime_type) "
            "VALUES (%s, %s, %s, %s, %s, 'application/octet-stream') ON CONFLICT DO NOTHING",
            [self.tenant_id, sha256, sha256, self.store.location, len(data)],
        )
        for _ in range(rows):
            self.row(sha256, len(data), name, kind)
        return sha256

    def put(self, key: str, data: bytes) -> None:
        """Bytes in the store, in the place of what is there."""
        source = self.scratch / uuid4().hex
        source.write_bytes(data)
        self.store.delete(key)
        self.store.put_file(source, key, hashlib.sha256(data).hexdigest())
        source.unlink()

    def row(self, sha256: str, size: int, name: str, kind: str = "image") -> UUID:
        """One more row that names a stored file."""
        asset = uuid4()
        run(
            self.database,
            "INSERT INTO media_assets (id, tenant_id, kind, url, size_bytes, sha256, status, zerodb_row_id, metadata) "
            "VALUES (%s, %s, %s, %s, %s, %s, 'stored', %s, '{\"position\": 0}')",
            [asset, self.tenant_id, kind, f"https://files.example/a/{name}", size, sha256, str(asset)],
        )
        return asset

    def rows(self, sha256: str | None = None) -> list[dict[str, Any]]:
        """The tenant's media rows, the oldest first."""
        query = (
            "SELECT * FROM media_assets WHERE tenant_id = %s AND (%s::text IS NULL OR sha256 = %s) "
            "ORDER BY created_at, id"
        )
        return run(self.database, query, [self.tenant_id, sha256, sha256])

    def variants(self, sha256: str) -> list[dict[str, Any]]:
        """The variants of a file, the narrowest first."""
        query = "SELECT * FROM media_variants WHERE tenant_id = %s AND sha256 = %s ORDER BY width"
        return run(self.database, query, [self.tenant_id, sha256])

    def superseded(self) -> list[str]:
        rows = run(self.database, "SELECT key FROM media_superseded WHERE tenant_id = %s", [self.tenant_id])
        return sorted(row["key"] for row in rows)

    def state(self, sha256: str) -> dict[str, Any]:
        """How far the file has come."""
        query = "SELECT * FROM media_processing WHERE tenant_id = %s AND sha256 = %s"
        (row,) = run(self.database, query, [self.tenant_id, sha256])
        return row

    def listed(self) -> set[str]:
        """What lies in the tenant's store."""
        return {each.key for each in self.store.list()}

    def bytes_of(self, key: str) -> bytes:
        return b"".join(self.store.read(key))
