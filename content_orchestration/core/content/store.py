"""`ContentStore`: create, read, list, update, delete over three tiers, for one tenant at a time.

Every argument is checked here before any tier is asked. How versions are written is in `writing.py`, how they are read
in `reading.py`.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import UUID

from content_orchestration.core.cleanup.holds import UnderHold
from content_orchestration.core.content import validation
from content_orchestration.core.content.bodies import BodyReader
from content_orchestration.core.content.breaker import Breaker
from content_orchestration.core.content.documents import as_json
from content_orchestration.core.content.drafts import NextVersion, next_version
from content_orchestration.core.content.errors import (
    BodyUnavailable,
    ContentNotFound,
    InvalidContent,
    PermissionRefused,
    VersionConflict,
)
from content_orchestration.core.content.model import (
    PAGE_SIZE,
    Changes,
    Content,
    Difference,
    Filters,
    Item,
    NewContent,
    Page,
    Version,
)
from content_orchestration.core.content.patch import body_diff, operations
from content_orchestration.core.content.reading import Reader
from content_orchestration.core.content.search import Found, Search
from content_orchestration.core.content.writing import Admit, Writer
from content_orchestration.core.database import Database
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.errors import Transient
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.quota.reservation import Reservation
from content_orchestration.core.warehouse import Warehouse

MAX_READ = 1000


class ContentStore:
    """The one door to content. Thread-safe as far as its clients are.

    Every method names the tenant and touches nothing of another. Raises `InvalidContent` for bad input,
    `ContentNotFound`, `QuotaExceeded`, and `Transient` when PostgreSQL is down. While ZeroDB is down, `BodyUnavailable`
    comes only from what needs an old body that no tier can give: an update without one, a rollback, a diff.
    """

    def __init__(
        self,
        database: Database,
        store: DocumentStore,
        ledger: QuotaLedger,
        warehouse: Warehouse | None = None,
        *,
        max_body_bytes: int = validation.MAX_BODY_BYTES,
        breaker: Breaker | None = None,
    ) -> None:
        breaker = breaker or Breaker()
        self._max_body_bytes = max_body_bytes
        self._reader = Reader(database, BodyReader(database, store, warehouse, breaker))
        self._writer = Writer(database, store, ledger, breaker)
        self._search = Search(database, store, self._reader)

    def create(self, tenant_id: UUID | str, content: NewContent, *, created_by: str, reason: str = "created") -> Item:
        """Create one item. Content with a `source` that made an item before answers that item and writes nothing."""
        return self.create_many(tenant_id, [content], created_by=created_by, reason=reason)[0]

    def create_many(
        self,
        tenant_id: UUID | str,
        contents: Sequence[NewContent],
        *,
        created_by: str,
        reason: str = "created",
        reservation: Reservation | None = None,
    ) -> list[Item]:
        """Create up to 1,000 items of one brand, all or none, with one reservation; the items in the order given.

        A `reservation` of the caller is settled in part and stays the caller's to release.
        """
        tenant = validation.tenant(tenant_id)
        contents = [
            validation.new_content(content, self._max_body_bytes, f"items[{number}]." if len(contents) > 1 else "")
            for number, content in enumerate(contents)
        ]
        by, why = validation.words("created_by", created_by), validation.words("reason", reason)
        return self._writer.create(tenant, contents, by, why, reservation) if contents else []

    def create_admitted(
        self,
        tenant_id: UUID | str,
        contents: Sequence[NewContent],
        admit: Admit,
        *,
        created_by: str,
        reason: str = "created",
        reservation: UUID | None = None,
    ) -> list[Item]:
        """As `create_many`, for those items only that `admit` answers; these are returned.

        `admit(connection, ids)` is called once, when the bodies are in ZeroDB and no row is written, in the transaction
        that writes the rows and under the connection's own role. What it writes stands if and only if the items do. A
        `reservation` must be of the tenant and brand of the items: it is settled in part. Give each item a `source`:
        a body that was put for an item that is not admitted is then replaced by the next try.
        """
        tenant = validation.tenant(tenant_id)
        contents = [
            validation.new_content(content, self._max_body_bytes, f"items[{number}]." if len(contents) > 1 else "")
            for number, content in enumerate(contents)
        ]
        by, why = validation.words("created_by", created_by), validation.words("reason", reason)
        return self._writer.create_admitted(tenant, contents, by, why, reservation, admit) if contents else []

    def get(self, tenant_id: UUID | str, content_id: UUID | str) -> Content:
        """An item with its body. Without a body, `body_error` says why and the metadata are still right."""
        tenant, item_id = validation.tenant(tenant_id), validation.identifier("content_id", content_id)
        found = self._reader.contents(tenant, [item_id])
        if item_id not in found:
            raise ContentNotFound(item_id)
        return found[item_id]

    def get_many(self, tenant_id: UUID | str, content_ids: Sequence[UUID | str]) -> dict[UUID, Content]:
        """Items with their bodies; an id that the tenant has no live item of is left out.

        Raises `InvalidContent` for more than 1,000 ids, or 256 MiB of bodies.
        """
        tenant = validation.tenant(tenant_id)
        if len(content_ids) > MAX_READ:
            raise InvalidContent("content_ids", f"are {len(content_ids):,}", f"Ask for at most {MAX_READ:,} at once.")
        ids = [validation.identifier(f"content_ids[{n}]", one) for n, one in enumerate(content_ids)]
        return self._reader.contents(tenant, ids) if ids else {}

    def list(
        self, tenant_id: UUID | str, filters: Filters | None = None, *, limit: int = PAGE_SIZE, after: str | None = None
    ) -> Page:
        """A page of items from the newest down, with previews; `after` is the cursor of the page before."""
        return self._reader.page(validation.tenant(tenant_id), filters or Filters(), limit, after)

    def update(
        self,
        tenant_id: UUID | str,
        content_id: UUID | str,
        changes: Changes,
        *,
        expected_version: int,
        changed_by: str,
        reason: str = "updated",
    ) -> Item:
        """Write the next version, if the item is still at `expected_version`. Raises `VersionConflict` if it is not."""
        tenant, item_id = validation.tenant(tenant_id), validation.identifier("content_id", content_id)
        validation.changes(changes, self._max_body_bytes)
        by, why = validation.words("changed_by", changed_by), validation.words("reason", reason)
        current = self._expected(tenant, item_id, expected_version)
        body = changes.body if changes.body is not None else self._body_of(current)
        given = None if changes.metadata is None else as_json(changes.metadata)
        new = NextVersion(
            title=current.title if changes.title is None else changes.title,
            content_type=changes.content_type or current.content_type,
            status=changes.status or current.status,
            body=body,
            metadata=given or self._reader.metadata_text(tenant, item_id),
        )
        metadata = current.metadata if changes.metadata is None else changes.metadata
        return self._write(current, new, metadata, by, why)

    def soft_delete(self, tenant_id: UUID | str, content_id: UUID | str) -> Item:
        """Hide the item from readers and give its bytes back; body and versions stay."""
        return self._writer.delete(validation.tenant(tenant_id), validation.identifier("content_id", content_id))

    def undelete(self, tenant_id: UUID | str, content_id: UUID | str) -> Item:
        """Bring a deleted item back as it was, if the quota has room."""
        tenant, item_id = validation.tenant(tenant_id), validation.identifier("content_id", content_id)
        item = self._reader.item(tenant, item_id, deleted=True)
        if item.deleted_at is None:
            raise ContentNotFound(item_id, "has this item, and it is not deleted")
        return self._writer.undelete(item)

    def versions(self, tenant_id: UUID | str, content_id: UUID | str) -> Sequence[Version]:
        """The versions of an item, deleted or not, the newest first."""
        return self._reader.versions(validation.tenant(tenant_id), validation.identifier("content_id", content_id))

    def diff(self, tenant_id: UUID | str, content_id: UUID | str, old: int, new: int) -> Difference:
        """What lies between two versions. Raises `BodyUnavailable` where a body cannot be read."""
        tenant, item_id = validation.tenant(tenant_id), validation.identifier("content_id", content_id)
        records = self._reader.versions(tenant, item_id)
        before, after = _version(records, item_id, old), _version(records, item_id, new)
        bodies, reason = self._reader.bodies(tenant, [before, after])
        for version in (before, after):
            if version.zerodb_row_id not in bodies:
                raise BodyUnavailable(
                    f"the body of version {version.version} of {item_id} cannot be read now: {reason}"
                )
        first, second = bodies[before.zerodb_row_id], bodies[after.zerodb_row_id]
        return Difference(
            old,
            new,
            body_diff(first.body, second.body, f"version {old}", f"version {new}"),
            operations(_snapshot(first.document, before), _snapshot(second.document, after)),
        )

    def rollback_to(
        self, tenant_id: UUID | str, content_id: UUID | str, version: int, *, expected_version: int, changed_by: str
    ) -> Item:
        """Write body, title, type and metadata of an old version as the next one. The status stays as it is."""
        tenant, item_id = validation.tenant(tenant_id), validation.identifier("content_id", content_id)
        by = validation.words("changed_by", changed_by)
        current = self._expected(tenant, item_id, expected_version)
        record = _version(self._reader.versions(tenant, item_id), item_id, version)
        bodies, reason = self._reader.bodies(tenant, [record])
        found = bodies.get(record.zerodb_row_id)
        if found is None:
            raise BodyUnavailable(f"the body of version {version} of {item_id} cannot be read now: {reason}")
        # Documents of the migration carry no metadata, and BigQuery's copies neither: then the present ones stay.
        text = found.document.get("metadata")
        new = NextVersion(
            title=str(found.document.get("title", current.title)),
            content_type=str(found.document.get("content_type", current.content_type)),
            status=current.status,
            body=found.body,
            metadata=text if isinstance(text, str) else self._reader.metadata_text(tenant, item_id),
        )
        return self._write(current, new, _parsed(new.metadata), by, f"rolled back to version {version}")

    def purge(self, tenant_id: UUID | str, content_id: UUID | str, *, may_purge: bool, confirm: str) -> Item:
        """Remove an item with all of its versions for good. BigQuery keeps its history until retention ends.

        Raises `PermissionRefused` unless the caller may, and `confirm` is `purge <content_id>`; and `UnderHold` while
        the tenant is under a legal hold.
        """
        tenant, item_id = validation.tenant(tenant_id), validation.identifier("content_id", content_id)
        if not may_purge:
            raise PermissionRefused(f"content {item_id} was not purged: the caller has no permission to purge")
        if confirm != f"purge {item_id}":
            raise PermissionRefused(
                f"content {item_id} was not purged: confirm is {confirm!r}. Set it to 'purge {item_id}'"
            )
        item, documents = self._writer.purge(tenant, item_id)
        # The rows are gone; documents that cannot be removed now are named by nothing, and cleanup finds them.
        with suppress(Transient, UnderHold):
            self._writer.forget(item, documents)
        return item

    def search_titles(self, tenant_id: UUID | str, query: str, *, limit: int = PAGE_SIZE) -> Found:
        """Items by the words of their titles, the best match first."""
        return self._search.titles(validation.tenant(tenant_id), query, limit)

    def search_bodies(self, tenant_id: UUID | str, query: str, *, limit: int = PAGE_SIZE) -> Found:
        """Items whose body has all the words; the answer says how far it looked."""
        return self._search.bodies(validation.tenant(tenant_id), query, limit)

    def _expected(self, tenant: UUID, item_id: UUID, expected: int) -> Item:
        current = self._reader.item(tenant, item_id)
        if current.version != expected:
            raise VersionConflict(item_id, expected, current.version)
        return current

    def _body_of(self, item: Item) -> str:
        bodies, reason = self._reader.bodies(item.tenant_id, [item])
        if item.zerodb_row_id not in bodies:
            raise BodyUnavailable(
                f"the body of {item.zerodb_row_id} cannot be read now, so nothing was written: {reason}"
            )
        return bodies[item.zerodb_row_id].body

    def _write(self, current: Item, new: NextVersion, metadata: Mapping[str, Any], by: str, why: str) -> Item:
        number = 1 + max(current.version, self._reader.newest_version(current.tenant_id, current.id))
        draft = next_version(current, number, new, (), by, why)
        before = _fields(current.title, current.content_type, current.metadata) | {
            "status": current.status,
            "body": {"sha256": current.body_sha256, "size_bytes": current.storage_size_bytes},
        }
        after = _fields(new.title, new.content_type, metadata) | {
            "status": new.status,
            "body": {"sha256": draft.document["body_sha256"], "size_bytes": draft.size},
        }
        return self._writer.replace(current, replace(draft, operations=operations(before, after)))


def _version(versions: Sequence[Version], item_id: UUID, number: int) -> Version:
    for version in versions:
        if version.version == number:
            return version
    raise InvalidContent(
        "version",
        f"is {number!r}, and content {item_id} has versions {versions[-1].version} to {versions[0].version}",
        "Name one of these.",
    )


def _fields(title: str, content_type: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {"title": title, "content_type": content_type, "metadata": metadata}


def _snapshot(document: Mapping[str, object], version: Version) -> dict[str, Any]:
    """The fields of a version that its document tells."""
    told = {name: document[name] for name in ("title", "content_type") if name in document}
    if isinstance(document.get("metadata"), str):
        told["metadata"] = _parsed(str(document["metadata"]))
    return told | {"body": {"sha256": version.body_sha256, "size_bytes": version.storage_size_bytes}}


def _parsed(text: str) -> Mapping[str, Any]:
    parsed = json.loads(text)
    return parsed if isinstance(parsed, dict) else {}
