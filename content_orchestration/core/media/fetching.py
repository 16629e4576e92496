"""Gets the file of a row onto the local disk, and looks at it before anything else does. Nothing is stored here.

Sources: `http(s)://` through the downloader, and `inbox:<name>` in the drop folder of the row's own tenant. No other
scheme: a row must not be able to name a file of this machine or another tenant's object.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote
from uuid import UUID

from content_orchestration.core.database import Row
from content_orchestration.core.errors import Permanent
from content_orchestration.core.media.inspection import inspect
from content_orchestration.core.media.keys import object_key
from content_orchestration.core.media.limits import Limits, Refused
from content_orchestration.core.media.model import MediaStores, MissingObject
from content_orchestration.core.media.spool import Spool, Spooled

INBOX = "inbox:"


class Fetches(Protocol):
    """What opens addresses; `download.Downloader` does."""

    def open(self, url: str, max_bytes: int) -> AbstractContextManager[Iterator[bytes]]:
        """The bytes of the file in chunks. Raises `Refused` and `SourceUnavailable`."""
        ...


@dataclass(frozen=True)
class FetchedFile:
    """A whole file on the local disk, what it is by its bytes, and the key under which it will be stored."""

    spooled: Spooled
    kind: str
    mime_type: str
    key: str


class Fetcher:
    """Fetches the files of rows."""

    def __init__(
        self,
        stores: MediaStores,
        downloader: Fetches,
        spool: Spool,
        *,
        max_file_size: int,
        share_duplicates: bool,
        limits: Limits,
    ) -> None:
        self._stores = stores
        self._downloader = downloader
        self._spool = spool
        self._max_file_size = max_file_size
        self._share_duplicates = share_duplicates
        self._limits = limits

    @contextmanager
    def file(self, asset: Row) -> Iterator[FetchedFile]:
        """The row's file, there as long as the block. Raises `Refused` and `SourceUnavailable` before the block only.

        `Transient` is the local disk's or the drop folder's.
        """
        with self._spooled(asset) as spooled:
            found = inspect(spooled.path, self._limits)
            # A dropped file has the kind of its bytes: nobody else said what it is.
            if found.kind != asset["kind"] and not asset["url"].startswith(INBOX):
                raise Refused(
                    "kind",
                    f"the row says {asset['kind']}, the bytes are {found.format}, which is {found.kind}: correct the "
                    "row's kind, or the file",
                )
            owner = None if self._share_duplicates else asset["id"]
            yield FetchedFile(spooled, found.kind, found.mime_type, object_key(spooled.sha256, owner))

    @contextmanager
    def _spooled(self, asset: Row) -> Iterator[Spooled]:
        url = asset["url"]
        if url.startswith(INBOX):
            with self._spool.take(self._dropped(asset["tenant_id"], url), self._max_file_size) as spooled:
                yield spooled
            return
        with self._downloader.open(url, self._max_file_size) as chunks:
            taken = self._spool.take(chunks, self._max_file_size)
            spooled = taken.__enter__()
        # The connection is closed here: storing takes its time, and the source's deadline does not run meanwhile.
        try:
            yield spooled
        finally:
            taken.__exit__(None, None, None)

    def _dropped(self, tenant_id: UUID, url: str) -> Iterator[bytes]:
        name = unquote(url.removeprefix(INBOX))
        try:
            yield from self._stores.inbox(tenant_id).read(name)
        except MissingObject as error:
            raise Refused("missing", f"{name!r} is not in the inbox any more: drop it again") from error
        except Permanent as error:
            raise Refused("url_malformed", str(error)) from error
