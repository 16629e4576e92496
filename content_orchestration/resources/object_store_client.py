"""Objects of one tenant in S3, Google Cloud Storage or Azure through obstore. Local folders: `object_store_local.py`.

What is asked of a store is `core/media/model.py`; where each tenant's is, `object_store.py` decides.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore import exceptions

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.media.keys import checked_key
from content_orchestration.core.media.model import DamagedObject, MissingObject, ObjectInfo, SigningUnavailable

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import AzureStore, GCSStore, S3Store

PART_BYTES = 8 * 1024 * 1024
"""Files above this go up in parts of this size: S3 takes 5 MiB at least, and 10,000 parts at most."""
READ_BYTES = 1024 * 1024
LONGEST_SIGNED = 3600
_AT_ONCE = 2  # parts in flight: with 8 MiB parts that is 16 MiB a file.
_SHOWN = 300
# Timeouts and "too many requests" pass; every other 4xx says the same thing again.
_REFUSED = re.compile(r"status code: 4(?!08|29)\d\d")


class ObjectFolder:
    """A bucket, or a prefix of one. A file is visible under its key when all of it is there, and not before.

    One request where it is small, and conditional (`If-None-Match: *`); in parts where it is large, of which the store
    makes the object in the last step. Parts that a kill left cost until a life-cycle rule removes them.
    """

    def __init__(
        self,
        store: "S3Store | GCSStore | AzureStore",
        location: str,
        *,
        check: Callable[[str], str] = checked_key,
        part_bytes: int = PART_BYTES,
        secrets: Sequence[str] = (),
    ) -> None:
        """`secrets` are struck out of what the store says: S3 repeats the key that it refuses."""
        self._store = store
        self._location = location
        self._check = check
        self._part_bytes = part_bytes
        self._secrets = tuple(secret for secret in secrets if secret)

    @property
    def location(self) -> str:
        """Address of the bucket with the prefix, without credentials."""
        return self._location

    def put_file(self, path: Path, key: str, sha256: str, mime_type: str = "application/octet-stream") -> ObjectInfo:
        """Store the file under the key; an object of the same size that is there stays."""
        size = path.stat().st_size
        attributes: Any = {"Content-Type": mime_type}
        with self._explained("put", self._check(key)):
            if size <= self._part_bytes:
                created = self._put_small(path, key, attributes)
            else:
                # No store makes an upload in parts conditional through obstore; the same bytes come to the same key.
                created = self.head(key) is None
                if created:
                    obstore.put(
                        self._store, key, path, attributes=attributes, use_multipart=True,
                        chunk_size=self._part_bytes, max_concurrency=_AT_ONCE,
                    )  # fmt: skip
        return same_size(self.head(key), key, size, self._location, created=created)

    def read(self, key: str) -> Iterator[bytes]:
        """The object in chunks of about 1 MiB."""
        with self._explained("read", self._check(key)):
            for chunk in obstore.get(self._store, key).stream(min_chunk_size=READ_BYTES):
                yield bytes(chunk)

    def head(self, key: str) -> ObjectInfo | None:
        """What is stored under the key, or None."""
        try:
            with self._explained("look at", self._check(key)):
                return info_of(obstore.head(self._store, key))
        except MissingObject:
            return None

    def exists(self, key: str) -> bool:
        """Whether something is stored under the key."""
        return self.head(key) is not None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object below the folder `prefix`."""
        with self._explained("list", prefix or "everything"):
            for page in obstore.list(self._store, prefix or None, chunk_size=1000):
                yield from map(info_of, page)

    def delete(self, key: str) -> None:
        """Remove the object."""
        try:
            with self._explained("delete", self._check(key)):
                obstore.delete(self._store, key)
        except MissingObject:
            return

    def signed_url(self, key: str, seconds: int) -> str:
        """An address that anybody can read for so many seconds."""
        lifetime = checked_lifetime(seconds)
        try:
            with self._explained("sign", self._check(key)):
                return obstore.sign(self._store, "GET", key, lifetime)
        except Transient as error:
            raise SigningUnavailable(
                f"{self._location} signs no address with these credentials: give a key that can sign (S3 access key, "
                f"service account with a private key, storage account key). {error}"
            ) from error

    def _put_small(self, path: Path, key: str, attributes: Any) -> bool:
        try:
            obstore.put(self._store, key, path.read_bytes(), attributes=attributes, mode="create", use_multipart=False)
        except exceptions.AlreadyExistsError:
            return False
        except (exceptions.NotSupportedError, NotImplementedError):
            # A store without conditions (some that speak S3): look, then put; the same bytes come to the same key.
            if self.head(key) is not None:
                return False
            obstore.put(self._store, key, path.read_bytes(), attributes=attributes, use_multipart=False)
        return True

    @contextmanager
    def _explained(self, verb: str, what: str) -> Iterator[None]:
        where = f"{verb} {what} in {self._location}"
        # obstore's own error quotes the whole answer, so it is never the cause of ours: Dagster stores causes.
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error) or verb in ("put", "list"):
                raise self._no_bucket(where, error) from None
            raise MissingObject(f"cannot {where}: nothing is stored under this key") from None
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise Permanent(
                f"cannot {where}: the credentials of STORAGE_ACCESS_KEY_ID may not. {self._shown(error)}"
            ) from None
        except exceptions.InvalidPathError as error:
            raise Permanent(f"cannot {where}: the store takes no such key. {self._shown(error)}") from None
        except exceptions.BaseError as error:
            if "NoSuchBucket" in str(error):
                raise self._no_bucket(where, error) from None
            if _REFUSED.search(str(error)):
                raise Permanent(f"cannot {where}: the store refuses. {self._shown(error)}") from None
            raise Transient(f"cannot {where}: {self._shown(error)}") from None

    def _no_bucket(self, where: str, error: Exception) -> Permanent:
        said = self._shown(error)
        return Permanent(f"cannot {where}: no such bucket. Create it, private, or correct STORAGE_URL. {said}")

    def _shown(self, error: Exception) -> str:
        return shown(error, self._secrets)


def info_of(found: "ObjectMeta") -> ObjectInfo:
    """What obstore says of an object."""
    return ObjectInfo(found["path"], found["size"], found["e_tag"], found["version"], found["last_modified"])


def same_size(found: ObjectInfo | None, key: str, size: int, location: str, *, created: bool) -> ObjectInfo:
    """What is stored, if it has as many bytes as the file. Raises `DamagedObject`, or `Transient` where it is gone."""
    if found is None:
        raise Transient(f"{key} in {location} is not there though it was just put: somebody removes files meanwhile")
    if found.size_bytes != size:
        raise DamagedObject(
            f"{key} in {location} has {found.size_bytes} bytes, the file {size}: somebody else wrote there. "
            "Nothing was overwritten; look at the object, remove it if it is wrong, and ingest again"
        )
    return ObjectInfo(found.key, found.size_bytes, found.etag, found.generation, found.modified_at, created)


def checked_lifetime(seconds: int) -> timedelta:
    """The life of a signed address. Raises `Permanent` for less than a second or more than an hour."""
    if not 1 <= seconds <= LONGEST_SIGNED:
        raise Permanent(
            f"seconds is {seconds}: a signed address lives from 1 to {LONGEST_SIGNED} seconds; ask for a fresh one then"
        )
    return timedelta(seconds=seconds)


def shown(error: Exception, secrets: Sequence[str] = ()) -> str:
    """The first line of an obstore error without secrets and the query of an address, which may carry a signature."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    for secret in secrets:
        line = line.replace(secret, "***")
    return " ".join(word.partition("?")[0] for word in line.split())[:_SHOWN]
