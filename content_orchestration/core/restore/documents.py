"""Puts bodies and their records back into ZeroDB and reads the bodies back, before any row points at them.

Bodies are immutable: one that is there with the right bytes is left alone, one that is wrong is put right only as the
request's policy says, and what it held goes into quarantine. Nothing is deleted.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from content_orchestration.core.documents import Document, DocumentConflict, DocumentStore
from content_orchestration.core.errors import Transient
from content_orchestration.core.identity import sha256_hex
from content_orchestration.core.replication.tables import CONTENT_MEDIA, CONTENT_STORAGE, CONTENT_VERSIONS, Entity
from content_orchestration.core.restore.check import CheckedRow, Rejected, body_fault, rejected
from content_orchestration.core.restore.request import OnConflict, Target

BODIES = "content_items"
VERSIONS = "content_versions"
MEDIA = "content_media_files"
_NOTHING: Document = {}


@dataclass
class Stored:
    """What became of documents. `kept` are bodies that are there with other bytes and stay by the policy."""

    inserted: int = 0
    existing: int = 0
    replaced: int = 0
    kept: int = 0
    verified: int = 0

    def as_json(self) -> dict[str, int]:
        """For `restore_progress`."""
        return asdict(self)


class Documents:
    """Writes the documents of one restore."""

    def __init__(self, store: DocumentStore, target: Target, on_conflict: OnConflict) -> None:
        self._store = store
        self._target = target
        self._on_conflict = on_conflict
        # Whether the store was found to hold bodies of the history: they are looked for first then, and not sent.
        self._occupied = False

    def put(self, entity: Entity, rows: Sequence[CheckedRow]) -> tuple[list[CheckedRow], list[Rejected], Stored]:
        """Store what the rows need; returns the rows whose body is there now, and what was set aside.

        Raises `Transient` where ZeroDB does not give back what was put, besides what the store raises.
        """
        stored = Stored()
        aside: list[Rejected] = []
        ready = list(rows)
        if entity.has_body:
            ready = self._bodies(entity, rows, stored, aside)
        if entity is CONTENT_VERSIONS:
            self._records(VERSIONS, entity, ready, _version_document, stored, aside)
        elif entity is CONTENT_MEDIA:
            self._records(MEDIA, entity, ready, _media_document, stored, aside)
        return ready, aside, stored

    def _bodies(
        self, entity: Entity, rows: Sequence[CheckedRow], stored: Stored, aside: list[Rejected]
    ) -> list[CheckedRow]:
        collection = self._target.collection(BODIES)
        if not self._occupied and self._put_first(entity, rows, collection, stored):
            return list(rows)
        held = self._store.get_many(collection, [row.fields["zerodb_row_id"] for row in rows])
        ready: list[CheckedRow] = []
        absent: dict[str, Document] = {}
        for row in rows:
            key, wanted = row.fields["zerodb_row_id"], row.fields["body_sha256"]
            if key in held and _hash(held[key].get("body")) == wanted:
                stored.existing += 1
                ready.append(row)
            elif fault := body_fault(row):
                reason, detail, found = fault
                aside.append(_unfit(entity, row, reason, detail, found))
            elif key in held:
                if self._replace(entity, row, collection, held[key], stored, aside):
                    ready.append(row)
            elif absent.setdefault(key, _body_document(entity, row))["body_sha256"] == wanted:
                ready.append(row)
            else:
                aside.append(rejected(entity, row, "document_conflict", f"another row has another body under {key}"))
        if absent:
            report = self._store.put_many(collection, absent.values())
            stored.inserted += report.inserted
            self._read_back(collection, absent)
        stored.verified += len(ready)
        return ready

    def _put_first(self, entity: Entity, rows: Sequence[CheckedRow], collection: str, stored: Stored) -> bool:
        """Put the bodies without a look at what is there, and read them back; whether all of them are right then.

        False where one of them needs a closer look. Those that were put are right, and found by it.
        """
        documents: dict[str, Document] = {}
        for row in rows:
            if body_fault(row):
                return False
            document = _body_document(entity, row)
            if documents.setdefault(document["id"], document)["body_sha256"] != document["body_sha256"]:
                return False
        try:
            report = self._store.put_many(collection, documents.values())
        except DocumentConflict:
            self._occupied = True
            return False
        self._occupied = self._occupied or report.existing > 0
        stored.inserted += report.inserted
        if self._wrong(collection, documents):
            stored.existing -= report.inserted
            return False
        stored.existing += report.existing
        stored.verified += len(rows)
        return True

    def _replace(
        self,
        entity: Entity,
        row: CheckedRow,
        collection: str,
        held: Document,
        stored: Stored,
        aside: list[Rejected],
    ) -> bool:
        """Put a wrong body right, if the policy wants it; whether it is right now.

        A body that does not even have the hash it was stored with is damaged, and nobody's work: it goes by itself. One
        that has is what somebody else wrote under this id, and only `overwrite` puts it aside.
        """
        key = row.fields["zerodb_row_id"]
        found = _hash(held.get("body"))
        damaged = found != held.get("body_sha256")
        if self._on_conflict == "keep_existing" or (self._on_conflict == "keep_newer" and not damaged):
            stored.kept += 1
            what = "is damaged" if damaged else "is another one"
            detail = f"the body under {key} {what}, and on_conflict is {self._on_conflict}"
            aside.append(_unfit(entity, row, "document_conflict", detail, found))
            return False
        aside.append(
            Rejected(
                entity.name, row.entity_id, row.tenant_id, row.sync_id, "document_replaced",
                f"the body under {key} had other bytes: it was replaced, and this is what it held",
                row.fields["body_sha256"], found, _text(held.get("body")),
            )
        )  # fmt: skip
        document = _body_document(entity, row)
        self._store.replace(collection, document)
        self._read_back(collection, {key: document})
        stored.replaced += 1
        return True

    def _read_back(self, collection: str, documents: dict[str, Document]) -> None:
        if wrong := self._wrong(collection, documents):
            raise Transient(
                f"ZeroDB does not give back {len(wrong)} of {len(documents)} bodies as they were put into "
                f"{collection}, one is {wrong[0]}: no row that points at them was written. Run this "
                "again; if it stays, launch the integrity check of bodies"
            )

    def _wrong(self, collection: str, documents: dict[str, Document]) -> list[str]:
        """Ids under which the store does not give back the very text that was put, whose hash was checked before."""
        held = self._store.get_many(collection, documents)
        return [key for key, put in documents.items() if held.get(key, _NOTHING).get("body") != put["body"]]

    def _records(
        self,
        collection: str,
        entity: Entity,
        rows: Iterable[CheckedRow],
        document_of: Callable[[dict[str, Any]], Document],
        stored: Stored,
        aside: list[Rejected],
    ) -> None:
        """Documents that say what rows say; one that is there stays as it is."""
        by_id = {row.fields["zerodb_row_id"]: row for row in rows}
        documents = {key: document_of(row.fields) for key, row in by_id.items()}
        name = self._target.collection(collection)
        try:
            report = self._store.put_many(name, documents.values())
        except DocumentConflict as conflict:
            for key in conflict.ids:
                aside.append(rejected(entity, by_id[key], "document_conflict", f"{name} has another one under {key}"))
                del documents[key]
            stored.kept += len(conflict.ids)
            report = self._store.put_many(name, documents.values())
        stored.inserted += report.inserted
        stored.existing += report.existing


def _body_document(entity: Entity, row: CheckedRow) -> Document:
    fields = row.fields
    document = {
        "id": fields["zerodb_row_id"],
        "content_id": fields["id" if entity is CONTENT_STORAGE else "content_id"],
        "tenant_id": fields["tenant_id"],
        "version": fields["version"],
        "body": row.body,
        "body_sha256": fields["body_sha256"],
        "size_bytes": fields["storage_size_bytes"],
    }
    if entity is CONTENT_STORAGE:
        document["content_type"] = fields["content_type"]
        document["title"] = fields["title"]
    return document


def _version_document(fields: dict[str, Any]) -> Document:
    return {
        "id": fields["zerodb_row_id"],
        **{name: fields[name] for name in ("content_id", "tenant_id", "version", "changed_by", "change_reason")},
        "patch": fields["patch"].get("operations"),
        "body_sha256": fields["body_sha256"],
    }


def _media_document(fields: dict[str, Any]) -> Document:
    names = ("content_id", "tenant_id", "kind", "url", "public_url", "external_id", "mime_type", "size_bytes")
    return {"id": fields["zerodb_row_id"], **{name: fields[name] for name in names}}


def _unfit(entity: Entity, row: CheckedRow, reason: str, detail: str, found: str | None) -> Rejected:
    """A row that is not written, since its body would not be there."""
    expected = row.fields["body_sha256"]
    return Rejected(
        entity.name, row.entity_id, row.tenant_id, row.sync_id, reason, detail, expected, found, row.row_json
    )  # fmt: skip


def _hash(body: object) -> str | None:
    """None for what is no body: no text, or text without UTF-8."""
    try:
        return sha256_hex(body) if isinstance(body, str) else None
    except UnicodeEncodeError:
        return None


def _text(body: object) -> str | None:
    """What PostgreSQL can keep of a damaged body."""
    if not isinstance(body, str):
        return None
    return body.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
