"""Finds the copy that is right: a body with the hash that its row names, a row with the hash that it was written with.

A proof is a hash taken here, of the bytes in hand. Nothing is written in this module.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from content_orchestration.core.database import Database
from content_orchestration.core.documents import Document, DocumentStore
from content_orchestration.core.identity import sha256_hex
from content_orchestration.core.replication.tables import CONTENT_STORAGE, CONTENT_VERSIONS, Entity
from content_orchestration.core.sql import on_table, statement
from content_orchestration.core.warehouse import Warehouse

BODIES = "content_items"
# Bodies in memory at once; one larger body still goes, alone.
_BODY_BYTES = 32 * 1024 * 1024
_MOST_IDS = 500
_DECIDED_BY_ROWS = ("content_id", "tenant_id", "version", "body_sha256")


@dataclass(frozen=True)
class BodyFacts:
    """What rows say of one body document. Bytes in UTF-8; title and type only where an item is there."""

    document_id: str
    content_id: str
    tenant_id: str
    version: int
    body_sha256: str
    size_bytes: int
    title: str | None
    content_type: str | None

    def document(self, body: str) -> Document:
        """The document as it should stand."""
        named = {"title": self.title, "content_type": self.content_type}
        return {
            "id": self.document_id,
            "content_id": self.content_id,
            "tenant_id": self.tenant_id,
            "version": self.version,
            "body": body,
            "body_sha256": self.body_sha256,
            "size_bytes": len(body.encode()),
        } | {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True)
class ProvenBody:
    """A body with the hash that its row names, and where it was found.

    `zerodb` is the copy that readers get, `zerodb copy` another one under the same id; then `spill` and `bigquery`.
    """

    body: str
    source: str


def body_facts(database: Database, ids: Sequence[str]) -> tuple[dict[str, BodyFacts], dict[str, str]]:
    """What rows say of these documents, by id; and for documents of which rows say two things, what they say."""
    with database.connection() as connection:
        rows = connection.execute(statement("integrity/body_facts"), {"ids": list(ids)}).fetchall()
    facts: dict[str, BodyFacts] = {}
    torn: dict[str, str] = {}
    for row in rows:
        key = row["zerodb_row_id"]
        found = BodyFacts(
            key, row["content_id"], row["tenant_id"], row["version"], row["body_sha256"], row["storage_size_bytes"],
            row["title"], row["content_type"],
        )  # fmt: skip
        other = facts.setdefault(key, found)
        # Not the size: a proven body says what it is.
        disagree = [name for name in _DECIDED_BY_ROWS if getattr(other, name) != getattr(found, name)]
        if disagree:
            torn[key] = "rows disagree on it: " + ", ".join(
                f"{name} is {getattr(other, name)} and {getattr(found, name)}" for name in disagree
            )
    return {key: found for key, found in facts.items() if key not in torn}, torn


def bounded(facts: Sequence[BodyFacts]) -> Iterator[list[BodyFacts]]:
    """Groups whose bodies fit in memory together."""
    group: list[BodyFacts] = []
    size = 0
    for each in facts:
        if group and (size + each.size_bytes > _BODY_BYTES or len(group) == _MOST_IDS):
            yield group
            group, size = [], 0
        group.append(each)
        size += each.size_bytes
    if group:
        yield group


def has_hash(body: object, wanted: str) -> bool:
    """Whether this is text with that SHA-256. Half of a surrogate pair has no UTF-8 and so no hash."""
    try:
        return isinstance(body, str) and sha256_hex(body) == wanted
    except UnicodeEncodeError:
        return False


def copies(store: DocumentStore, collection: str, document_id: str) -> list[Document]:
    """Every stored copy of a document; more than one where it was inserted twice."""
    return list(store.scan(collection, where={"id": document_id}))


def proven_bodies(
    database: Database, store: DocumentStore, warehouse: Warehouse | None, facts: Sequence[BodyFacts]
) -> dict[str, ProvenBody]:
    """The bodies of these documents that can be proven, by document id: from ZeroDB, the spill, then BigQuery.

    Give it one group of `bounded`. Without a warehouse only the first two are asked.
    """
    proven: dict[str, ProvenBody] = {}
    documents = store.get_many(BODIES, [each.document_id for each in facts])
    for each in facts:
        document = documents.get(each.document_id)
        if document is None:
            continue
        if has_hash(document.get("body"), each.body_sha256):
            proven[each.document_id] = ProvenBody(document["body"], "zerodb")
            continue
        for other in copies(store, BODIES, each.document_id):
            if has_hash(other.get("body"), each.body_sha256):
                proven[each.document_id] = ProvenBody(other["body"], "zerodb copy")
    missing = [each for each in facts if each.document_id not in proven]
    if missing:
        proven |= _spilled(database, missing)
    missing = [each for each in missing if each.document_id not in proven]
    if missing and warehouse is not None:
        proven |= _replicated(warehouse, missing)
    return proven


def _spilled(database: Database, facts: Sequence[BodyFacts]) -> dict[str, ProvenBody]:
    wanted = {each.document_id: each.body_sha256 for each in facts}
    with database.connection() as connection:
        rows = connection.execute(statement("replication/spilled_bodies"), {"ids": list(wanted)}).fetchall()
    return {
        row["zerodb_row_id"]: ProvenBody(row["body"], "spill")
        for row in rows
        if has_hash(row["body"], wanted[row["zerodb_row_id"]])
    }


def _replicated(warehouse: Warehouse, facts: Sequence[BodyFacts]) -> dict[str, ProvenBody]:
    """From every state that the history ever held: a body that was lost since is still in an older one."""
    found: dict[str, str] = {}
    for entity in (CONTENT_STORAGE, CONTENT_VERSIONS):
        missing = [each for each in facts if each.body_sha256 not in found]
        if not missing:
            break
        parameters = {
            "tenants": sorted({each.tenant_id for each in missing}),
            "contents": sorted({each.content_id for each in missing}),
            "hashes": sorted({each.body_sha256 for each in missing}),
        }
        rows = warehouse.query(on_table("bigquery/proven_bodies", warehouse.qualified(entity.table.name)), parameters)
        found |= {row["found_sha256"]: row["body"] for row in rows if has_hash(row["body"], row["found_sha256"])}
    return {
        each.document_id: ProvenBody(found[each.body_sha256], "bigquery") for each in facts if each.body_sha256 in found
    }


def last_states(warehouse: Warehouse, entity: Entity, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The newest state of each row that its own hash proves, by key; a row of which none does is not there."""
    proven: dict[str, dict[str, Any]] = {}
    sql = on_table("bigquery/row_states", warehouse.qualified(entity.table.name))
    for row in warehouse.query(sql, {"ids": list(ids)}):
        if row["entity_id"] not in proven and has_hash(row["row_json"], row["row_sha256"]):
            proven[row["entity_id"]] = row
    return proven
