"""What the media engines say to each other: stored files, the store that keeps them, what became of one ingest.

No SQL, no network and no Dagster here. The stores are `resources/object_store_client.py`, the rules of keys `keys.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from content_orchestration.core.errors import Permanent, Transient


class SourceUnavailable(Transient):
    """The place that a file comes from did not answer, broke off or was too slow. Our own servers are not to blame."""


class DamagedObject(Permanent):
    """The store has other bytes under a key than the key says. Nothing was overwritten."""


class MissingObject(Permanent):
    """The store has nothing under the key."""


class SigningUnavailable(Permanent):
    """This store cannot sign addresses."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object as its store describes it. Sizes in bytes, times in UTC."""

    key: str
    size_bytes: int
    etag: str | None
    generation: str | None
    modified_at: datetime
    created: bool = False
    """Whether the call that answered this put it there; False where it was there already."""


class MediaStore(Protocol):
    """The objects of one tenant (or one tenant's inbox). Keys are relative to it; nothing outside can be named.

    Every method raises `Transient` where the store did not answer or is busy, `Permanent` where trying again cannot
    help: no bucket, no privilege, a malformed key.
    """

    @property
    def location(self) -> str:
        """Address of the bucket or folder with the tenant's prefix, without credentials."""
        ...

    def put_file(self, path: Path, key: str, sha256: str, mime_type: str = "application/octet-stream") -> ObjectInfo:
        """Store the file under the key, whole or not at all; an object of the same size that is there stays.

        `sha256` is the hash of the file's bytes, known to the caller. Where the key is that hash, what is there
        already has the same bytes by construction. Raises `DamagedObject` where it has another size.
        """
        ...

    def read(self, key: str) -> Iterator[bytes]:
        """The object in chunks of about 1 MiB. Raises `MissingObject` where there is none."""
        ...

    def head(self, key: str) -> ObjectInfo | None:
        """What is stored under the key, or None."""
        ...

    def exists(self, key: str) -> bool:
        """Whether something is stored under the key."""
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object whose key is below the folder `prefix`, all where it is empty. Half-written files never show.

        Raises rather than end early: a listing that stopped is not a listing.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove the object. One that is not there is no error."""
        ...

    def signed_url(self, key: str, seconds: int) -> str:
        """An address that anybody can read for 1 to 3,600 seconds. Raises `SigningUnavailable`."""
        ...


class MediaStores(Protocol):
    """The stores of all tenants."""

    def for_tenant(self, tenant_id: UUID) -> MediaStore:
        """Where the tenant's files and variants are."""
        ...

    def inbox(self, tenant_id: UUID) -> MediaStore:
        """Where the tenant drops files."""
        ...


@dataclass(frozen=True, slots=True)
class MediaObject:
    """A row of `media_objects`: one stored file of a tenant, however many rows reference it."""

    tenant_id: UUID
    key: str
    sha256: str
    location: str
    size_bytes: int
    mime_type: str
    state: str
    etag: str | None
    generation: str | None
    phash: int | None
    stored_at: datetime
    verified_at: datetime | None


@dataclass(frozen=True, slots=True)
class PendingAsset:
    """A live row of `media_assets`, as far as ingest needs it."""

    id: UUID
    tenant_id: UUID
    brand_id: UUID | None
    kind: str
    url: str
    mime_type: str | None
    size_bytes: int
    sha256: str | None
    status: str
    attempts: int
    object_key: str | None
    """Key of the file where the row names one: the hash, or the row's own key where duplicates are kept apart."""


class Outcome(StrEnum):
    """What became of one row."""

    STORED = "stored"
    """Its bytes are in the store for the first time."""
    DUPLICATE = "duplicate"
    """Its bytes were there already: the row references them."""
    ADOPTED = "adopted"
    """It was marked as stored, and the store has the bytes: the object is known again."""
    UNCHANGED = "unchanged"
    """It was stored already."""
    RETRY = "retry"
    """Its source or a server did not answer; it is tried again by itself."""
    FAILED = "failed"
    """It is marked as failed, with the reason."""
    GONE = "gone"
    """There is no such live row any more."""


@dataclass(frozen=True, slots=True)
class IngestOutcome:
    """What became of one row, in how many seconds."""

    asset_id: UUID
    outcome: Outcome
    seconds: float
    tenant_id: UUID | None = None
    stored: MediaObject | None = None
    reason: str | None = None
    detail: str | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the row references a stored file."""
        return self.stored is not None

    def as_metadata(self) -> dict[str, Any]:
        """For a sample in a report."""
        return {
            "asset_id": str(self.asset_id),
            "outcome": str(self.outcome),
            "reason": self.reason or "",
            "detail": self.detail or "",
            "sha256": self.stored.sha256 if self.stored else "",
            "seconds": round(self.seconds, 3),
        }
