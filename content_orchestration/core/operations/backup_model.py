"""What the engine of backups asks of its world: a store of dumps, PostgreSQL's programs, a server of scratch copies."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Permanent
from content_orchestration.core.media.model import ObjectInfo


class DamagedBackup(Permanent):
    """The stored dump is not what was stored, or restoring it did not give back what was dumped."""


class BackupStore(Protocol):
    """The bucket or folder of dumps. Every method raises `Transient` or `Permanent` as `MediaStore` does."""

    @property
    def location(self) -> str:
        """Its address, without credentials."""
        ...

    def write(self, key: str, chunks: Iterable[bytes]) -> ObjectInfo:
        """Store what comes, in bounded memory: whole under the key, or not at all, also where `chunks` raises."""
        ...

    def read(self, key: str) -> Iterator[bytes]:
        """The object in chunks. Raises `MissingObject` where there is none."""
        ...

    def head(self, key: str) -> ObjectInfo | None:
        """What is stored under the key, or None."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object. One that is not there is no error."""
        ...


class Programs(Protocol):
    """pg_dump and pg_restore. Passwords never appear on a command line."""

    def dump(self, url: str, snapshot: str) -> Generator[bytes, None, None]:
        """A dump in the custom format, of an exported snapshot. Raises `Permanent` or `Transient`; close it early."""
        ...

    def restore(self, url: str, chunks: Iterable[bytes]) -> None:
        """Restore a dump into an empty database. Raises `Permanent` or `Transient` with what pg_restore said."""
        ...


class ScratchServer(Protocol):
    """Where dumps are restored to be looked at."""

    def databases(self) -> Sequence[Row]:
        """Scratch databases of this or other platforms there: name, sessions."""
        ...

    def create(self, name: str) -> None:
        """Create a database. Raises `Permanent` without the right to."""
        ...

    def drop(self, name: str) -> None:
        """Drop a database with whoever is connected; one that is not there is no error."""
        ...

    def url(self, name: str) -> str:
        """Where that database is. Carries the password."""
        ...

    def opened(self, name: str) -> AbstractContextManager[Database]:
        """A client of that database."""
        ...
