"""Writes content: reserve quota, put the immutable body, then one PostgreSQL transaction with rows, pointer and quota.

A crash between leaves at most a document that no row names, and a reservation that expires. While ZeroDB is down the
body goes into the spill in that same transaction and counts as stored.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from uuid import UUID

from psycopg import Connection

from content_orchestration.core.cleanup.holds import require_free
from content_orchestration.core.content.breaker import Breaker
from content_orchestration.core.content.documents import BODIES, RECORDS, put_fresh
from content_orchestration.core.content.drafts import Draft, first_version
from content_orchestration.core.content.errors import ContentNotFound, InvalidContent, VersionConflict
from content_orchestration.core.content.model import Item, NewContent
from content_orchestration.core.content.rows import insert_items, insert_spill, insert_versions, read_rows
from content_orchestration.core.content.scope import as_tenant, enter, leave
from content_orchestration.core.database import Database, Row
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.errors import ContentError, Permanent, Transient
from content_orchestration.core.failpoints import reach
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.quota.reservation import GENERATION, Reservation
from content_orchestration.core.sql import statement

Admit = Callable[[Connection[Row], Sequence[UUID]], Collection[UUID]]
"""Which of these items may be written; whatever it writes itself is part of the transaction that writes them."""
Beside = Callable[[Connection[Row], Item, Sequence[str]], None]
"""What is written of a purged item and its documents, in the transaction that removes their rows."""

MAX_BULK_ITEMS = 1000
MAX_BULK_BYTES = 256 * 1024 * 1024
# The server has room for some thousand locks of all its sessions (max_locks_per_transaction, 64 a connection).
_MOST_LOCKS = 20
_LOCK_SECONDS = 30


class Writer:
    """Puts versions into the tiers. What a version says is decided by `store.py`."""

    def __init__(self, database: Database, store: DocumentStore, ledger: QuotaLedger, breaker: Breaker) -> None:
        self._database = database
        self._store = store
        self._ledger = ledger
        self._breaker = breaker

    def create(
        self,
        tenant_id: UUID,
        contents: Sequence[NewContent],
        created_by: str,
        reason: str,
        reservation: Reservation | None,
    ) -> list[Item]:
        """Create the items, all or none; one that its source made before is returned as it is."""
        drafts = [first_version(tenant_id, content, created_by, reason) for content in contents]
        _within_bulk(drafts)
        present = self._present(tenant_id, drafts)
        fresh = [draft for draft in drafts if draft.id not in present]
        if fresh and reservation is not None:
            _of_one_account(reservation, fresh[0])
            present |= self._write_first(tenant_id, fresh, reservation, part=True)
        elif fresh:
            size = sum(draft.size for draft in fresh)
            held = self._ledger.reserve(tenant_id, fresh[0].brand_id, bytes=size, items=len(fresh))
            with self._released(held):
                reach("content_reserved")
                present |= self._write_first(tenant_id, fresh, held, part=False)
        return [present[draft.id] for draft in drafts]

    def create_admitted(
        self,
        tenant_id: UUID,
        contents: Sequence[NewContent],
        created_by: str,
        reason: str,
        reservation: UUID | None,
        admit: Admit,
    ) -> list[Item]:
        """Create those items that `admit` lets through; without a reservation they get one of their own."""
        drafts = [first_version(tenant_id, content, created_by, reason) for content in contents]
        _within_bulk(drafts)
        if reservation is not None:
            present = self._write_first(tenant_id, drafts, reservation, part=True, admit=admit)
        else:
            held = self._ledger.reserve(
                tenant_id,
                drafts[0].brand_id,
                bytes=sum(draft.size for draft in drafts),
                items=len(drafts),
                reason=GENERATION,
            )
            with self._released(held):
                present = self._write_first(tenant_id, drafts, held, part=False, admit=admit)
        return [present[draft.id] for draft in drafts if draft.id in present]

    def replace(self, item: Item, draft: Draft) -> Item:
        """Put the next version of the item. Raises `VersionConflict` when the item is no longer at its version."""
        growth = draft.size - item.storage_size_bytes
        with self._growth(item, growth) as held, self._locked(item.tenant_id, [draft.id]) as connection:
            stored = self._require(connection, item.tenant_id, item.id)
            if stored.version != item.version:
                raise VersionConflict(item.id, item.version, stored.version)
            self._put(connection, [draft])
            values = draft.item_values() | {
                "version": draft.document["version"],
                "expected": item.version,
                "metadata": draft.metadata,
            }
            flipped = read_rows(connection, statement("content/flip"), values)
            if not flipped:
                raise VersionConflict(item.id, item.version, stored.version)
            self._record(connection, [draft])
            reach("content_rows_written")
            self._account(connection, item, growth, held)
        reach("content_committed")
        return Item.of(flipped[0])

    def delete(self, tenant_id: UUID, content_id: UUID) -> Item:
        """Mark the item as deleted and give its bytes back. Raises `ContentNotFound`."""
        with as_tenant(self._database, tenant_id) as connection:
            rows = read_rows(connection, statement("content/soft_delete"), {"tenant_id": tenant_id, "id": content_id})
            if not rows:
                raise ContentNotFound(content_id)
            item = Item.of(rows[0])
            self._ledger.give_back_in(connection, tenant_id, item.brand_id, bytes=item.storage_size_bytes, items=1)
        return item

    def undelete(self, item: Item) -> Item:
        """Bring a deleted item back, if the quota has room for it. Raises `QuotaExceeded` and `ContentNotFound`."""
        values = {"tenant_id": item.tenant_id, "id": item.id}
        held = self._ledger.reserve(
            item.tenant_id, item.brand_id, bytes=item.storage_size_bytes, items=1, reason="undelete"
        )
        with self._released(held), as_tenant(self._database, item.tenant_id) as connection:
            rows = read_rows(connection, statement("content/undelete"), values)
            if not rows:
                raise ContentNotFound(item.id, "has no deleted item of this id")
            back = Item.of(rows[0])
            self._ledger.settle_in(connection, held, bytes=back.storage_size_bytes, items=1)
        return back

    def purge(
        self, tenant_id: UUID, content_id: UUID, *, kept_days: str | None = None, beside: Beside | None = None
    ) -> tuple[Item, list[str]]:
        """Remove the item and its versions from PostgreSQL; the documents that nothing names any more are returned.

        `kept_days`, a JSON object of days by plan, narrows it to an item that was deleted longer ago than its tenant's
        plan keeps. Raises `ContentNotFound` where there is no such item, and `UnderHold`.
        """
        with self._creating(tenant_id, [content_id]) as connection:
            values = {"tenant_id": tenant_id, "id": content_id, "kept_days": kept_days}
            # Stored files and holds belong to no role that serves a tenant.
            leave(connection)
            require_free(connection, tenant_id)
            if kept_days is not None and not connection.execute(statement("cleanup/retention_lock"), values).fetchone():
                raise ContentNotFound(content_id, "has no deleted item of this id that is past its plan and not locked")
            connection.execute(statement("content/purge_lock_files"), values)
            enter(connection, tenant_id)
            rows = read_rows(connection, statement("content/purge"), values)
            if not rows:
                raise ContentNotFound(content_id, "has no such item")
            row = rows[0]
            item = Item.of(row)
            live = item.deleted_at is None
            leave(connection)
            if beside is not None:
                beside(connection, item, row["documents"])
            # Brands by id before the tenant, as everywhere.
            for brand, freed in sorted(row["brand_media_bytes"].items()):
                _free_files(connection, tenant_id, UUID(brand), freed, 0, 0)
            self._ledger.give_back_in(
                connection, tenant_id, item.brand_id, bytes=item.storage_size_bytes if live else 0, items=int(live)
            )
            _free_files(connection, tenant_id, None, 0, row["media_bytes"], row["media_files"])
        return item, row["documents"]

    def forget(self, item: Item, documents: Sequence[str]) -> None:
        """Remove documents of a purged item from ZeroDB. Raises `Transient`; cleanup then finds them.

        Its source may have made the item anew since, under the same ids: what a row names stays.
        """
        self.forget_documents(item.tenant_id, item.id, dict.fromkeys((BODIES, RECORDS), documents))

    def forget_documents(self, tenant_id: UUID, content_id: UUID, documents: Mapping[str, Sequence[str]]) -> None:
        """As `forget`, by collection. Raises `UnderHold` while the tenant is under a hold."""
        with self._creating(tenant_id, [content_id]) as connection:
            leave(connection)
            require_free(connection, tenant_id)
            for collection, ids in documents.items():
                # Of all tenants: an id that anybody's row names stays.
                rows = connection.execute(statement("content/claimed_documents"), {"ids": list(ids)}).fetchall()
                self._store.delete_many(collection, set(ids) - {row["zerodb_row_id"] for row in rows})

    def _write_first(
        self,
        tenant_id: UUID,
        drafts: Sequence[Draft],
        held: Reservation | UUID,
        *,
        part: bool,
        admit: Admit | None = None,
    ) -> dict[UUID, Item]:
        sourced = [draft.id for draft in drafts if draft.source is not None]
        with self._creating(tenant_id, sourced) as connection:
            # Somebody may have created an item from the same source while this call waited for the lock.
            present = {item.id: item for item in self._items(connection, tenant_id, sourced)} if sourced else {}
            fresh = [draft for draft in drafts if draft.id not in present]
            stored = not fresh or self._stored(connection, fresh)
            if admit is not None:
                admitted = _admitted(connection, tenant_id, drafts, admit)
                present = {known: item for known, item in present.items() if known in admitted}
                fresh = [draft for draft in fresh if draft.id in admitted]
            if fresh:
                if not stored:
                    self._spill(connection, fresh)
                insert_items(connection, [draft.item_values() for draft in fresh])
                self._record(connection, fresh)
                present |= {item.id: item for item in self._items(connection, tenant_id, [d.id for d in fresh])}
            reach("content_rows_written")
            if fresh or not part:
                settle = self._ledger.settle_part_in if part else self._ledger.settle_in
                settle(connection, held, bytes=sum(draft.size for draft in fresh), items=len(fresh))
        reach("content_committed")
        return present

    def _put(self, connection: Connection[Row], drafts: Sequence[Draft]) -> None:
        """Store the documents, or keep the bodies in the spill where ZeroDB does not take them."""
        if not self._stored(connection, drafts):
            self._spill(connection, drafts)

    def _stored(self, connection: Connection[Row], drafts: Sequence[Draft]) -> bool:
        """Whether ZeroDB took the documents."""
        if not self._breaker.is_open:
            try:
                named = [draft for draft in drafts if not draft.is_new]
                put_fresh(connection, self._store, BODIES, [draft.document for draft in named])
                put_fresh(connection, self._store, RECORDS, [draft.record() for draft in named])
                new = [draft for draft in drafts if draft.is_new]
                self._store.put_many(BODIES, [draft.document for draft in new], new=True)
                self._store.put_many(RECORDS, [draft.record() for draft in new], new=True)
                reach("content_documents_put")
            except Transient:
                self._breaker.trip()
            else:
                self._breaker.reset()
                return True
        return False

    def _spill(self, connection: Connection[Row], drafts: Sequence[Draft]) -> None:
        insert_spill(connection, [draft.spill_values() for draft in drafts])
        reach("content_spilled")

    def _record(self, connection: Connection[Row], drafts: Sequence[Draft]) -> None:
        """Insert the records of the versions. Raises `Permanent` where one stands that its item does not know."""
        if insert_versions(connection, [draft.version_values() for draft in drafts]) != len(drafts):
            raise Permanent(
                f"content {drafts[0].id}: a record of version {drafts[0].document['version']} is there already, though "
                "the item is behind it, so nothing was written: run the integrity check, which names it"
            )

    def _present(self, tenant_id: UUID, drafts: Sequence[Draft]) -> dict[UUID, Item]:
        sourced = [draft.id for draft in drafts if draft.source is not None]
        if not sourced:
            return {}
        with as_tenant(self._database, tenant_id) as connection:
            return {item.id: item for item in self._items(connection, tenant_id, sourced)}

    def _items(self, connection: Connection[Row], tenant_id: UUID, ids: Sequence[UUID]) -> Iterator[Item]:
        return map(
            Item.of, read_rows(connection, statement("content/items"), {"tenant_id": tenant_id, "ids": list(ids)})
        )

    def _require(self, connection: Connection[Row], tenant_id: UUID, content_id: UUID) -> Item:
        item = next(self._items(connection, tenant_id, [content_id]), None)
        if item is None or item.deleted_at is not None:
            raise ContentNotFound(content_id)
        return item

    @contextmanager
    def _locked(self, tenant_id: UUID, ids: Sequence[UUID]) -> Iterator[Connection[Row]]:
        with as_tenant(self._database, tenant_id) as connection:
            connection.execute(statement("content/lock_timeout"), {"timeout": f"{_LOCK_SECONDS}s"})
            connection.execute(statement("content/lock"), {"ids": [str(one) for one in ids]})
            yield connection

    @contextmanager
    def _creating(self, tenant_id: UUID, ids: Sequence[UUID]) -> Iterator[Connection[Row]]:
        """Where items of these ids may come into being or go for good: nobody else does that to them meanwhile."""
        if not ids:
            with as_tenant(self._database, tenant_id) as connection:
                yield connection
            return
        many = len(set(ids)) > _MOST_LOCKS
        with self._locked(tenant_id, [] if many else ids) as connection:
            lock = statement("content/lock_tenant") if many else statement("content/lock_tenant_shared")
            connection.execute(lock, {"tenant_id": str(tenant_id)})
            yield connection

    @contextmanager
    def _growth(self, item: Item, growth: int) -> Iterator[Reservation | None]:
        if growth <= 0:
            yield None
            return
        held = self._ledger.reserve(item.tenant_id, item.brand_id, bytes=growth, reason="update")
        with self._released(held):
            reach("content_reserved")
            yield held

    def _account(self, connection: Connection[Row], item: Item, growth: int, held: Reservation | None) -> None:
        """The hot row comes last in the transaction."""
        if held is not None:
            self._ledger.settle_in(connection, held, bytes=growth)
        elif growth:
            self._ledger.give_back_in(connection, item.tenant_id, item.brand_id, bytes=-growth)

    @contextmanager
    def _released(self, held: Reservation) -> Iterator[None]:
        """Give the room back at once if the block fails; if that fails too, the reservation expires by itself."""
        try:
            yield
        except BaseException:
            with suppress(ContentError):
                self._ledger.release(held)
            raise


def _admitted(connection: Connection[Row], tenant_id: UUID, drafts: Sequence[Draft], admit: Admit) -> Collection[UUID]:
    """Ask `admit` with the rights of the connection's own role: what it writes is not the tenant's to write."""
    leave(connection)
    admitted = set(admit(connection, [draft.id for draft in drafts]))
    enter(connection, tenant_id)
    reach("content_admitted")
    return admitted


def _free_files(
    connection: Connection[Row], tenant_id: UUID, brand_id: UUID | None, brand_bytes: int, size: int, files: int
) -> None:
    values = {
        "tenant_id": tenant_id, "brand_id": brand_id, "brand_bytes": -brand_bytes, "bytes": -size, "files": -files,
    }  # fmt: skip
    connection.execute(statement("content/purge_count_files"), values)


def _of_one_account(reservation: Reservation, draft: Draft) -> None:
    """What is settled must count where the item will: otherwise the counters drift."""
    if (reservation.tenant_id, reservation.brand_id) != (draft.tenant_id, draft.brand_id):
        raise InvalidContent(
            "reservation",
            f"is of tenant {reservation.tenant_id} and brand {reservation.brand_id}, the items of {draft.tenant_id} "
            f"and {draft.brand_id}",
            "Reserve for the tenant and brand of the items.",
        )


def _within_bulk(drafts: Sequence[Draft]) -> None:
    """All of a call is in memory and in one transaction, so both are bounded."""
    if len(drafts) > MAX_BULK_ITEMS:
        raise InvalidContent("items", f"are {len(drafts):,}, more than {MAX_BULK_ITEMS:,}", "Create them in portions.")
    size = sum(draft.size for draft in drafts)
    if size > MAX_BULK_BYTES:
        raise InvalidContent("items", f"have {size:,} bytes, more than {MAX_BULK_BYTES:,}", "Create fewer at once.")
    if len({draft.brand_id for draft in drafts}) > 1:
        raise InvalidContent("items", "belong to several brands", "Create them brand by brand: each has its own limit.")
    ids = [draft.id for draft in drafts]
    if len(set(ids)) < len(ids):
        raise InvalidContent("items", "name one source twice", "Give each source once; what it makes is one item.")
