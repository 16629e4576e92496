"""The store of dumps: a bucket or folder of its own, written as a stream. Where it is, `BACKUP_URL` says.

Files of tenants are elsewhere (`object_store.py`); the engine is `core/operations/backup.py`.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.media.model import ObjectInfo
from content_orchestration.core.operations.backup_model import BackupStore
from content_orchestration.resources.object_store import TenantStores
from content_orchestration.resources.object_store_client import ObjectFolder
from content_orchestration.resources.object_store_local import LocalFolder
from content_orchestration.settings import Settings

PART_BYTES = 32 * 1024 * 1024
"""S3 takes 10,000 parts: 312 GiB of compressed dump. Two are in flight and one is filled: 96 MiB of memory."""
_AT_ONCE = 2
_LOOPBACK = {"127.0.0.1", "localhost", "::1", None}


class _Source:
    """An iterator that remembers what went wrong in it: obstore tells only that it ended."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._chunks
        except Exception as error:
            self.error = error
            raise


class BackupBucket(ObjectFolder):
    """A prefix of a bucket, into which dumps go in parts of which the store makes the object at the end."""

    def write(self, key: str, chunks: Iterable[bytes]) -> ObjectInfo:
        """Store what comes. Where `chunks` raises nothing is stored, and the parts so far are given up."""
        import obstore

        source = _Source(chunks)
        try:
            with self._explained("put", self._check(key)):
                obstore.put(
                    self._store, key, iter(source), use_multipart=True, chunk_size=self._part_bytes,
                    max_concurrency=_AT_ONCE,
                )  # fmt: skip
        except Exception:
            if source.error is not None:
                raise source.error from None
            raise
        found = self.head(key)
        if found is None:
            raise Transient(f"{key} in {self.location} is not there though it was just put")
        return found


class BackupFolder(LocalFolder):
    """A folder of this machine."""

    def write(self, key: str, chunks: Iterable[bytes]) -> ObjectInfo:
        """Store what comes: on the disk under its key when all of it is, and not before."""
        target = self._path(key)
        half = self._half_written()
        try:
            with half.open("xb") as copy:
                for chunk in chunks:
                    with self._explained("put", key):
                        copy.write(chunk)
                with self._explained("put", key):
                    copy.flush()
                    os.fsync(copy.fileno())
            with self._explained("put", key):
                self._make_folder(target.parent)
                half.replace(target)
                descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        finally:
            half.unlink(missing_ok=True)
        found = self.head(key)
        if found is None:
            raise Transient(f"{key} in {self.location} is not there though it was just put")
        return found


class _Buckets(TenantStores):
    """The store behind `BACKUP_URL`, with the endpoint and keys of `STORAGE_URL`."""

    def backups(self, part_bytes: int) -> BackupStore:
        if self._scheme == "file":
            return BackupFolder(Path("/") / self._path)
        location = f"{self._scheme}://{self._bucket}/{self._path}".rstrip("/")
        return BackupBucket(self._open(self._bucket, self._path), location, part_bytes=part_bytes)


def why_no_backup(settings: Settings) -> str | None:
    """Why no backup can be taken, with the way out; None where one can. Sends no request."""
    if not settings.backup_url and urlsplit(settings.database_url).hostname not in _LOOPBACK:
        return (
            "BACKUP_URL is empty, but DATABASE_PUBLIC_URL names a server that is not this machine: set it to a bucket "
            "that outlives that server, such as s3://bucket/path"
        )
    parts = urlsplit(settings.backup_url)
    if settings.backup_url and parts.scheme != "file" and not parts.netloc:
        return "BACKUP_URL names no bucket: write scheme://bucket/path"
    return None


def backup_store_of(settings: Settings, part_bytes: int = PART_BYTES) -> BackupStore:
    """The store that the settings name. Raises `Permanent` where there is none. Nothing is sent yet."""
    reason = why_no_backup(settings)
    if reason:
        raise Permanent(reason)
    url = settings.backup_url or (settings.local_state_dir / "backups").as_uri()
    return _Buckets(
        unquote(url) if url.startswith("file:") else url,
        endpoint=settings.storage_endpoint,
        region=settings.storage_region,
        access_key=settings.storage_access_key_id.get_secret_value(),
        secret_key=settings.storage_secret_access_key.get_secret_value(),
    ).backups(part_bytes)
