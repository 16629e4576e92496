"""Takes files in: fetched to the local disk, inspected, put once, referenced, counted. One row at a time.

Order: fetch, inspect, reserve what the file adds, put under its hash, then one transaction with object, row and quota;
the document in ZeroDB follows. A kill leaves at most an object that no row names (the next try finds it) and a
reservation that expires. A bad file is marked with its reason and never stops a run; a silent source is tried again.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from content_orchestration.core.database import Database, Row
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.failpoints import reach
from content_orchestration.core.media.documents import keep_in_step
from content_orchestration.core.media.fetching import Fetcher, Fetches
from content_orchestration.core.media.limits import Limits, Refused
from content_orchestration.core.media.model import (
    DamagedObject,
    IngestOutcome,
    MediaObject,
    MediaStores,
    MissingObject,
    Outcome,
    SourceUnavailable,
)
from content_orchestration.core.media.objects import find_object
from content_orchestration.core.media.spool import Spool
from content_orchestration.core.media.storing import Storing, record
from content_orchestration.core.quota.decision import QuotaExceeded
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.sql import statement

MOST_ATTEMPTS = 8
"""Tries of a source that does not answer; the waits between them add up to two hours."""
_FIRST_WAIT = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(hours=12)
# Somebody may delete content or take a larger plan; until then a file is fetched in vain four times a day.
_QUOTA_WAIT = timedelta(hours=6)
_LONGEST_DETAIL = 500
_NO_LIMITS_GIVEN = Limits()


class Ingestor:
    """Stores the files of rows of `media_assets`. Safe to repeat, to run many at once and to kill at any moment."""

    def __init__(
        self,
        database: Database,
        stores: MediaStores,
        ledger: QuotaLedger,
        documents: DocumentStore,
        downloader: Fetches,
        spool: Spool,
        *,
        max_file_size: int = 100 * 1024 * 1024,
        share_duplicates: bool = True,
        limits: Limits = _NO_LIMITS_GIVEN,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database
        self._documents = documents
        self._clock = clock
        self._fetcher = Fetcher(
            stores, downloader, spool,
            max_file_size=max_file_size, share_duplicates=share_duplicates, limits=limits,
        )  # fmt: skip
        self._storing = Storing(database, stores, ledger, spool, clock=clock, sleep=sleep)

    def pending(self, tenant_id: UUID, limit: int = 1000) -> list[UUID]:
        """Rows whose file is to be fetched, longest waiting first: those asked for, and an application's new ones."""
        return self._ids("media/pending", tenant_id, limit)

    def unknown(self, tenant_id: UUID, limit: int = 1000) -> list[UUID]:
        """Rows that are marked as stored although no object is known: after a restore. `ingest_asset` adopts them."""
        return self._ids("media/unknown", tenant_id, limit)

    def ingest_asset(self, asset_id: UUID) -> IngestOutcome:
        """Fetch and store the file of one row, or reference the equal one that is stored.

        What is wrong with the file or its source is an outcome, noted beside the row. Raises `Transient` where our own
        servers do not answer, and `Permanent` where they refuse (no bucket, no privilege): no row is to blame then.
        """
        began = self._clock()
        asset = self._read(asset_id)
        if asset is None:
            return IngestOutcome(asset_id, Outcome.GONE, self._clock() - began)
        outcome, stored, reason, detail = self._taken_in(asset) if asset["sha256"] is None else self._known(asset)
        return IngestOutcome(
            asset_id, outcome, self._clock() - began, asset["tenant_id"], stored, reason, detail
        )  # fmt: skip

    def _taken_in(self, asset: Row) -> "_Result":
        try:
            with self._fetcher.file(asset) as file:
                reach("media_fetched_whole")
                outcome, stored = self._storing.store(asset, file)
        except Refused as refused:
            return self._failed(asset, refused.code, str(refused))
        except QuotaExceeded as full:
            return self._failed(asset, "quota_exceeded", str(full), _QUOTA_WAIT)
        except SourceUnavailable as silent:
            return self._later(asset, silent)
        if stored is not None:
            self._follow(asset)
        return outcome, stored, None, None

    def _known(self, asset: Row) -> "_Result":
        """A row with a file: nothing to do, or its document to write, or its object to find again."""
        stored = find_object(self._database, asset["tenant_id"], asset["object_key"])
        outcome = Outcome.UNCHANGED
        if stored is None:
            try:
                outcome, stored = self._storing.adopt(asset)
            except (MissingObject, DamagedObject) as error:
                return Outcome.FAILED, None, "bytes_missing", str(error)
        if asset["document_due"]:
            self._follow(asset)
        return outcome, stored, None, None

    def _follow(self, asset: Row) -> None:
        """The document says what the row says. A kill before it leaves the row among the pending."""
        keep_in_step(self._database, self._documents, [asset["id"]])
        reach("media_document_written")
        with self._database.connection() as connection:
            connection.execute(statement("media/ingest_document_done"), {"id": asset["id"]})

    def _later(self, asset: Row, error: SourceUnavailable) -> "_Result":
        tried = int(asset["attempts"]) + 1
        if tried >= MOST_ATTEMPTS:
            return self._failed(asset, "unavailable", f"{error} ({tried} tries)")
        wait = min(_FIRST_WAIT * 2 ** (tried - 1), _LONGEST_WAIT)
        if error.retry_after is not None:
            wait = max(wait, timedelta(seconds=error.retry_after))
        detail = str(error)[:_LONGEST_DETAIL]
        with self._database.connection() as connection:
            record(connection, asset, Outcome.RETRY, reason="unavailable", detail=detail, wait=wait)
        return Outcome.RETRY, None, "unavailable", detail

    def _failed(self, asset: Row, reason: str, message: str, wait: timedelta | None = None) -> "_Result":
        detail = message[:_LONGEST_DETAIL]
        with self._database.connection() as connection:
            record(connection, asset, Outcome.FAILED, reason=reason, detail=detail, wait=wait)
            connection.execute(statement("media/asset_failed"), {"id": asset["id"]})
        return Outcome.FAILED, None, reason, detail

    def _ids(self, name: str, tenant_id: UUID, limit: int) -> list[UUID]:
        with self._database.connection() as connection:
            rows = connection.execute(statement(name), {"tenant_id": tenant_id, "most": limit}).fetchall()
        return [row["id"] for row in rows]

    def _read(self, asset_id: UUID) -> Row | None:
        with self._database.connection() as connection:
            return connection.execute(statement("media/asset_read"), {"id": asset_id}).fetchone()


_Result = tuple[Outcome, MediaObject | None, str | None, str | None]
