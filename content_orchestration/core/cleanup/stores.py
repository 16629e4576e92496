"""What cleanup asks of the buckets that hold renders. The clients are `resources/render_store.py`."""

from collections.abc import Iterator
from typing import Protocol

from content_orchestration.core.media.model import ObjectInfo


class RenderBucket(Protocol):
    """One bucket of the platform. Paths are checked addresses (`addresses.py`) or keys of the quarantine prefix.

    Every method raises `Transient` where the store did not answer, `Permanent` where trying again cannot help.
    """

    @property
    def location(self) -> str:
        """Address of the bucket, without credentials."""
        ...

    def head(self, key: str) -> ObjectInfo | None:
        """What is stored under the key, or None."""
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object below the folder `prefix`."""
        ...

    def copy(self, source: str, target: str) -> ObjectInfo:
        """Copy whole or not at all, and say what is there; a target of the same size that is there stays.

        Raises `MissingObject` where the source is gone, `DamagedObject` where the target has another size.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove the object. One that is not there is no error."""
        ...


class RenderStores(Protocol):
    """The buckets that hold renders."""

    def bucket(self, name: str) -> RenderBucket:
        """The client of one bucket; nothing is opened before the first request."""
        ...
