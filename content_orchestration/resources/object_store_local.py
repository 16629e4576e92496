"""Objects of one tenant in a folder of this machine, with the interface of every other store.

A put is whole and on the disk under its key, or not there; symbolic links are not followed. obstore's own local store
does neither: it renames without waiting for the disk, and its listing walks through links, out of the folder.
"""

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.failpoints import reach
from content_orchestration.core.media.keys import checked_key
from content_orchestration.core.media.model import MissingObject, ObjectInfo, SigningUnavailable
from content_orchestration.resources.object_store_client import READ_BYTES, checked_lifetime, same_size

_HALF = ".part"
_STALE_SECONDS = 24 * 3600


class LocalFolder:
    """A folder; half-written files are in `.part` below it, where no listing and no key leads."""

    def __init__(self, folder: Path, *, check: Callable[[str], str] = checked_key) -> None:
        self._folder = folder
        self._check = check

    @property
    def location(self) -> str:
        """The folder as an address."""
        return self._folder.as_uri()

    def put_file(
        self,
        path: Path,
        key: str,
        sha256: str,
        mime_type: str = "application/octet-stream",
    ) -> ObjectInfo:
        """Store the file under the key; an object of the same size that is there stays."""
        target = self._path(key)
        size = path.stat().st_size
        with self._explained("put", key):
            half = self._half_written()
            try:
                with half.open("xb") as copy, path.open("rb") as source:
                    while chunk := source.read(READ_BYTES):
                        copy.write(chunk)
                        reach("media_local_half_written")
                    copy.flush()
                    os.fsync(copy.fileno())
                self._make_folder(target.parent)
                created = _linked(half, target)
            finally:
                half.unlink(missing_ok=True)
            _to_disk(target.parent)
        return same_size(self.head(key), key, size, self.location, created=created)

    def read(self, key: str) -> Iterator[bytes]:
        """The object in chunks of 1 MiB."""
        path = self._path(key)
        if self.head(key) is None:
            raise MissingObject(f"nothing is stored under {key} in {self.location}")
        with self._explained("read", key), os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            while chunk := file.read(READ_BYTES):
                yield chunk

    def head(self, key: str) -> ObjectInfo | None:
        """What is stored under the key, or None: also for a folder, a link, or what is behind one."""
        path = self._path(key)
        with self._explained("look at", key):
            try:
                found = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        behind_link = any(parent.is_symlink() for parent in path.parents if parent.is_relative_to(self._folder))
        return _info(key, found) if stat.S_ISREG(found.st_mode) and not behind_link else None

    def exists(self, key: str) -> bool:
        """Whether something is stored under the key."""
        return self.head(key) is not None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object below the folder `prefix`. A name that is no UTF-8 is told of with its bytes escaped."""
        top = self._folder / prefix
        if not top.is_dir():
            return
        with self._explained("list", prefix or "everything"):
            for folder, folders, names in os.walk(top, onerror=_raise, followlinks=False):
                if Path(folder) == self._folder and _HALF in folders:
                    folders.remove(_HALF)
                folders.sort()
                for name in sorted(names):
                    path = Path(folder) / name
                    # What goes away while others are listed is not there.
                    with suppress(FileNotFoundError):
                        found = path.lstat()
                        if stat.S_ISREG(found.st_mode):
                            yield _info(_text_of(path.relative_to(self._folder)), found)

    def delete(self, key: str) -> None:
        """Remove the object, for good when this returns."""
        path = self._path(key)
        with self._explained("delete", key), suppress(FileNotFoundError):
            path.unlink()
            _to_disk(path.parent)

    def signed_url(self, key: str, seconds: int) -> str:
        """A folder has no addresses that others could open."""
        checked_lifetime(seconds)
        raise SigningUnavailable(
            f"{self.location} is a folder of this machine and signs no addresses: read the file with `read`, or set "
            "STORAGE_URL to s3://, gs:// or az://"
        )

    def _path(self, key: str) -> Path:
        return self._folder / self._check(key)

    def _half_written(self) -> Path:
        folder = self._folder / _HALF
        self._make_folder(folder)
        limit = time.time() - _STALE_SECONDS
        for old in folder.iterdir():
            with suppress(FileNotFoundError):
                if old.stat().st_mtime < limit:
                    old.unlink()
        return folder / uuid4().hex

    def _make_folder(self, folder: Path) -> None:
        """Private: whoever else uses this machine has no business with a tenant's files."""
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for each in reversed(missing):
            each.mkdir(mode=0o700, exist_ok=True)
            _to_disk(each.parent)

    @contextmanager
    def _explained(self, verb: str, what: str) -> Iterator[None]:
        where = f"{verb} {what} in {self.location}"
        try:
            yield
        except FileNotFoundError as error:
            raise MissingObject(f"cannot {where}: it is not there any more") from error
        except PermissionError as error:
            raise Permanent(f"cannot {where}: {error.strerror}; give this user the folder") from error
        except OSError as error:
            raise Transient(f"cannot {where}: {error.strerror or error}; is the disk full?") from error


def _linked(half: Path, target: Path) -> bool:
    """Give the whole file its name; False where the name is taken. A link, unlike a rename, never replaces."""
    try:
        os.link(half, target)
    except FileExistsError:
        return False
    return True


def _info(key: str, found: os.stat_result) -> ObjectInfo:
    changed = datetime.fromtimestamp(found.st_mtime, UTC)
    return ObjectInfo(key, found.st_size, f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}", None, changed)


def _text_of(path: Path) -> str:
    """No database takes a name that is no text, and it is no key of ours either way."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def _raise(error: OSError) -> None:
    raise error


def _to_disk(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
