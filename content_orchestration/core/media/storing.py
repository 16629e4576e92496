"""Puts fetched files and lets rows reference them: once per tenant, counted by the rule of `references.py`.

Bytes go up under the lock of their key (`turns.py`); object, row and quota are written in one transaction after them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from psycopg import Connection

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import ContentError, Permanent
from content_orchestration.core.failpoints import reach
from content_orchestration.core.media.fetching import FetchedFile
from content_orchestration.core.media.model import (
    DamagedObject,
    MediaObject,
    MediaStore,
    MediaStores,
    MissingObject,
    ObjectInfo,
    Outcome,
)
from content_orchestration.core.media.objects import STORED, find_object, lock_object, write_object
from content_orchestration.core.media.references import count, referencing
from content_orchestration.core.media.spool import Spool
from content_orchestration.core.media.turns import object_turn
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.quota.reservation import Reservation
from content_orchestration.core.sql import statement

Stored = tuple[Outcome, MediaObject | None]


def record(
    connection: Connection[Row],
    asset: Row,
    outcome: Outcome,
    *,
    reason: str | None = None,
    detail: str | None = None,
    wait: timedelta | None = None,
    document_due: bool = False,
) -> None:
    """Note beside the row how its last try ended, and when the next one is; without `wait` there is none."""
    values: dict[str, Any] = {
        "id": asset["id"], "tenant_id": asset["tenant_id"], "outcome": str(outcome), "reason": reason, "detail": detail,
        "wait": wait, "document_due": document_due,
    }  # fmt: skip
    connection.execute(statement("media/ingest_record"), values)


class Storing:
    """The step from a file on the local disk to a row that references a stored one."""

    def __init__(
        self,
        database: Database,
        stores: MediaStores,
        ledger: QuotaLedger,
        spool: Spool,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._database = database
        self._stores = stores
        self._ledger = ledger
        self._spool = spool
        self._clock = clock
        self._sleep = sleep

    def store(self, asset: Row, file: FetchedFile) -> Stored:
        """Store the file, or reference the equal one that is stored. `GONE` where the row went or has a file meanwhile.

        Raises `QuotaExceeded`: nothing was stored then, in any tier.
        """
        if self._is_stored(asset, file.key):
            done = self._reference(asset, file)
            if done is not None:
                return done
        with object_turn(self._database, asset["tenant_id"], file.key, clock=self._clock, sleep=self._sleep):
            # Under the lock nobody removes an object, so what is stored can be referenced.
            done = self._reference(asset, file) if self._is_stored(asset, file.key) else None
            return done or self._put(asset, file)

    def adopt(self, asset: Row) -> Stored:
        """Find the bytes of a row that is marked as stored, compare their hash, and know the object again.

        Counters stay: the row counts already. What is not there, or other, is recorded as missing, and raised as
        `MissingObject` or `DamagedObject`. Raises `Permanent` where the tenant's store has nothing at all: that is a
        wrong address or an unmounted disk before it is a lost file.
        """
        key, sha256, tenant_id = asset["object_key"], asset["sha256"], asset["tenant_id"]
        store = self._stores.for_tenant(tenant_id)
        with object_turn(self._database, tenant_id, key, clock=self._clock, sleep=self._sleep):
            found = store.head(key)
            problem: MissingObject | DamagedObject | None = None
            try:
                if found is None:
                    _require_any(store)
                    raise MissingObject(f"nothing is stored under {key} in {store.location}: restore the file there")
                with self._spool.fetch(store, key, sha256, found.size_bytes):
                    reach("media_verified")
            except (MissingObject, DamagedObject) as error:
                problem, found = error, None
            with self._database.connection() as connection:
                write_object(connection, asset, key, sha256, asset["mime_type"], found, store.location)
                outcome = Outcome.ADOPTED if problem is None else Outcome.FAILED
                reason = None if problem is None else "bytes_missing"
                record(connection, asset, outcome, reason=reason, detail=str(problem) if problem else None)
                stored = lock_object(connection, tenant_id, key)
        if problem is not None:
            raise problem
        return Outcome.ADOPTED, stored

    def _is_stored(self, asset: Row, key: str) -> bool:
        found = find_object(self._database, asset["tenant_id"], key)
        return found is not None and found.state == STORED

    def _reference(self, asset: Row, file: FetchedFile) -> Stored | None:
        """Reference the stored object; None where it went between the look and the lock."""
        with self._database.connection() as connection:
            row = self._lock(connection, asset)
            if row is None:
                return Outcome.GONE, None
            stored = lock_object(connection, asset["tenant_id"], file.key)
            if stored is None or stored.state != STORED:
                return None
            self._refer(connection, row, file, stored, Outcome.DUPLICATE, None)
        reach("media_committed")
        return Outcome.DUPLICATE, stored

    def _put(self, asset: Row, file: FetchedFile) -> Stored:
        """Put the bytes. Only what the row does not count with already is reserved."""
        with self._room(asset, file.spooled.size_bytes - int(asset["size_bytes"])) as held:
            reach("media_reserved")
            store = self._stores.for_tenant(asset["tenant_id"])
            found = store.put_file(file.spooled.path, file.key, file.spooled.sha256, file.mime_type)
            reach("media_put")
            with self._database.connection() as connection:
                row = self._lock(connection, asset)
                stored = self._known(connection, asset, file, found, store.location)
                if row is None:
                    # The object stays, for whoever brings the same bytes, or for cleanup.
                    if held is not None:
                        self._ledger.release_in(connection, held)
                    return Outcome.GONE, None
                self._refer(connection, row, file, stored, Outcome.STORED, held)
        reach("media_committed")
        return Outcome.STORED, stored

    def _lock(self, connection: Connection[Row], asset: Row) -> Row | None:
        """The row, locked; None where it was deleted, or another run gave it a file."""
        row = connection.execute(statement("media/asset_lock"), {"id": asset["id"]}).fetchone()
        return None if row is None or row["sha256"] is not None else row

    def _known(
        self, connection: Connection[Row], asset: Row, file: FetchedFile, found: ObjectInfo, location: str
    ) -> MediaObject:
        write_object(connection, asset, file.key, file.spooled.sha256, file.mime_type, found, location)
        stored = lock_object(connection, asset["tenant_id"], file.key)
        assert stored is not None  # noqa: S101  (written by the statement before, in this transaction)
        return stored

    def _refer(
        self,
        connection: Connection[Row],
        row: Row,
        file: FetchedFile,
        stored: MediaObject,
        outcome: Outcome,
        held: Reservation | None,
    ) -> None:
        change = referencing(connection, row, stored)
        values = {
            "id": row["id"], "sha256": stored.sha256, "key": stored.key, "size_bytes": stored.size_bytes,
            "kind": file.kind, "mime_type": file.mime_type,
        }  # fmt: skip
        connection.execute(statement("media/asset_stored"), values)
        record(connection, row, outcome, document_due=True)
        reach("media_rows_written")
        # The hot row comes last in the transaction.
        count(connection, self._ledger, change, held)

    @contextmanager
    def _room(self, asset: Row, growth: int) -> Iterator[Reservation | None]:
        """Room for what the file adds; given back at once if the block fails, and by expiry if the process does."""
        if growth <= 0:
            yield None
            return
        held = self._ledger.reserve(asset["tenant_id"], asset["brand_id"], media_bytes=growth, reason="media")
        try:
            yield held
        except BaseException:
            with suppress(ContentError):
                self._ledger.release(held)
            raise


def _require_any(store: MediaStore) -> None:
    if next(iter(store.list()), None) is None:
        raise Permanent(
            f"{store.location} is empty though rows say that files are stored there: see that STORAGE_URL is right and "
            "the disk is mounted. Nothing was changed"
        )
