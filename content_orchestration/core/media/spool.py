"""Files on their way: streamed to the local disk with their SHA-256, never held in memory, removed afterwards.

A file that is left by a kill goes with the next use of the folder a day later.
"""

import hashlib
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from content_orchestration.core.errors import Transient
from content_orchestration.core.media.limits import too_large
from content_orchestration.core.media.model import DamagedObject, MediaStore

_STALE_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Spooled:
    """A whole file on the local disk, with its size in bytes and SHA-256."""

    path: Path
    size_bytes: int
    sha256: str


class Spool:
    """A folder of temporary files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def take(self, chunks: Iterable[bytes], max_bytes: int) -> Iterator[Spooled]:
        """The chunks as a file, which is there as long as the block. Raises `Refused` (`too_large`) past `max_bytes`.

        Raises `Transient` where the disk takes no more.
        """
        path = self._new_path()
        try:
            yield _written(path, chunks, max_bytes)
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def fetch(self, store: MediaStore, key: str, sha256: str, size_bytes: int) -> Iterator[Path]:
        """A stored object as a local file. Raises `DamagedObject` where its bytes are not those of the hash."""
        with self.take(store.read(key), size_bytes + 1) as file:
            if file.sha256 != sha256:
                raise DamagedObject(
                    f"{key} in {store.location} has {file.size_bytes} bytes with SHA-256 {file.sha256}, not {sha256}"
                )
            yield file.path

    def _new_path(self) -> Path:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        limit = time.time() - _STALE_SECONDS
        for old in self._folder.iterdir():
            with suppress(OSError):
                if old.stat().st_mtime < limit:
                    old.unlink()
        return self._folder / uuid4().hex


def _written(path: Path, chunks: Iterable[bytes], max_bytes: int) -> Spooled:
    digest = hashlib.sha256()
    size = 0
    with path.open("xb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > max_bytes:
                raise too_large(size, max_bytes)
            digest.update(chunk)
            try:
                file.write(chunk)
            except OSError as error:
                raise Transient(f"{path.parent} takes no more ({error.strerror}): make room") from error
    return Spooled(path, size, digest.hexdigest())
