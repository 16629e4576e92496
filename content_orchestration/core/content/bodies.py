"""Reads bodies, from the nearest tier that can give them: ZeroDB, the spill, BigQuery's last copy.

A body is handed out only when it has the hash that its row names, whichever tier it came from.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from content_orchestration.core.content.breaker import Breaker
from content_orchestration.core.content.documents import BODIES
from content_orchestration.core.content.model import BodySource
from content_orchestration.core.content.scope import as_tenant
from content_orchestration.core.database import Database
from content_orchestration.core.documents import Document, DocumentStore
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.identity import sha256_hex
from content_orchestration.core.replication.tables import CONTENT_VERSIONS
from content_orchestration.core.sql import on_table, statement
from content_orchestration.core.warehouse import Warehouse

# More than this is a restore, not a read: BigQuery answers a query in seconds and bills it.
_MOST_FROM_WAREHOUSE = 100


class Wanted(Protocol):
    """A body as its row names it: an item or a version."""

    @property
    def zerodb_row_id(self) -> str:
        """Id of the body's document."""
        ...

    @property
    def body_sha256(self) -> str:
        """Hash that the body must have."""
        ...


@dataclass(frozen=True)
class Found:
    """A body that has the right hash, the tier that gave it, and the rest of its document where there is one."""

    body: str
    source: BodySource
    document: Mapping[str, object]


class BodyReader:
    """Bodies of one tenant at a time. `warehouse` is None where BigQuery is not configured."""

    def __init__(self, database: Database, store: DocumentStore, warehouse: Warehouse | None, breaker: Breaker) -> None:
        self._database = database
        self._store = store
        self._warehouse = warehouse
        self._breaker = breaker

    def read(self, tenant_id: UUID, wanted: Sequence[Wanted], *, nearby: bool = False) -> tuple[dict[str, Found], str]:
        """The bodies that some tier could give, by document id, and why others are missing, in words ('' if none).

        `nearby` leaves BigQuery out: it answers in seconds, and bills.
        """
        found, reason = self._from_store(tenant_id, wanted)
        missing = [one for one in wanted if one.zerodb_row_id not in found]
        if missing:
            found |= self._from_spill(tenant_id, missing)
            missing = [one for one in missing if one.zerodb_row_id not in found]
        if missing and not self._breaker.is_open:
            # A drain may have moved them from the spill to ZeroDB between the two looks.
            again, reason = self._from_store(tenant_id, missing)
            found |= again
            missing = [one for one in missing if one.zerodb_row_id not in found]
        if missing and not nearby:
            given, why = self._from_warehouse(tenant_id, missing)
            found |= given
            reason = f"{reason}; {why}"
        return found, reason if any(one.zerodb_row_id not in found for one in wanted) else ""

    def previews(self, tenant_id: UUID, ids: Iterable[str]) -> tuple[dict[str, Document], str]:
        """The documents of these ids without their bodies, and why there are none, in words ('' where all is well)."""
        listed = sorted(ids)
        if not listed:
            return {}, ""
        if self._breaker.is_open:
            return {}, "ZeroDB failed a moment ago and is left alone for some seconds"
        try:
            # By id alone: with the tenant in the filter a store may go through all of the tenant's documents for these.
            fields = ["preview", "body_sha256", "tenant_id"]
            documents = {
                document["id"]: document
                for document in self._store.scan(BODIES, where={"id": {"$in": listed}}, fields=fields)
                if document.get("tenant_id") == str(tenant_id)
            }
        except Transient as error:
            self._breaker.trip()
            return {}, f"ZeroDB cannot be read: {error}"
        self._breaker.reset()
        return documents, ""

    def _from_store(self, tenant_id: UUID, wanted: Sequence[Wanted]) -> tuple[dict[str, Found], str]:
        if self._breaker.is_open:
            return {}, "ZeroDB failed a moment ago and is left alone for some seconds"
        try:
            documents = self._store.get_many(BODIES, [one.zerodb_row_id for one in wanted])
        except Transient as error:
            self._breaker.trip()
            return {}, f"ZeroDB cannot be read: {error}"
        self._breaker.reset()
        found = {}
        for one in wanted:
            document = documents.get(one.zerodb_row_id)
            body = document.get("body") if document else None
            # A document of another tenant under this id would be a fault of ours; it must not become a leak.
            if document and document.get("tenant_id") == str(tenant_id) and _proven(body, one.body_sha256):
                found[one.zerodb_row_id] = Found(str(body), "zerodb", document)
        return found, "ZeroDB has no body with the hash that the row names"

    def _from_spill(self, tenant_id: UUID, wanted: Sequence[Wanted]) -> dict[str, Found]:
        ids = [one.zerodb_row_id for one in wanted]
        with as_tenant(self._database, tenant_id) as connection:
            rows = connection.execute(statement("content/spill_read"), {"tenant_id": tenant_id, "ids": ids}).fetchall()
        bodies = {row["zerodb_row_id"]: row for row in rows}
        return {
            one.zerodb_row_id: Found(
                bodies[one.zerodb_row_id]["body"], "spill", bodies[one.zerodb_row_id]["document"] or {}
            )
            for one in wanted
            if one.zerodb_row_id in bodies and _proven(bodies[one.zerodb_row_id]["body"], one.body_sha256)
        }

    def _from_warehouse(self, tenant_id: UUID, wanted: Sequence[Wanted]) -> tuple[dict[str, Found], str]:
        if self._warehouse is None:
            return {}, "BigQuery is not configured"
        if len(wanted) > _MOST_FROM_WAREHOUSE:
            return {}, f"{len(wanted)} bodies are too many to read from BigQuery: restore them"
        sql = on_table("bigquery/last_bodies", self._warehouse.qualified(CONTENT_VERSIONS.table.name))
        values: dict[str, str | Sequence[str]] = {
            "tenant": str(tenant_id),
            "ids": [one.zerodb_row_id for one in wanted],
        }
        try:
            rows = list(self._warehouse.query(sql, values))
        except (Transient, Permanent) as error:
            return {}, f"BigQuery cannot be read: {error}"
        hashes = {one.zerodb_row_id: one.body_sha256 for one in wanted}
        found = {
            row["zerodb_row_id"]: Found(row["body"], "bigquery", {})
            for row in rows
            if _proven(row["body"], hashes.get(row["zerodb_row_id"], ""))
        }
        return found, "BigQuery has no copy of it yet"


def _proven(body: object, sha256: str) -> bool:
    """Whether this is the text with that hash. A lone surrogate can come out of a document store, and is no body."""
    try:
        return isinstance(body, str) and sha256_hex(body) == sha256
    except UnicodeEncodeError:
        return False
