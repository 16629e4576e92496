"""Puts ZeroDB, the spill, version records and counters right, each from a copy that is proven. Never deletes one.

A body is put right only with text that has the hash its row names; documents of versions and files are what rows say.
What BigQuery lacks is `resend.py`.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from content_orchestration.core.database import Database
from content_orchestration.core.documents import MARK, Document, DocumentStore
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.failpoints import reach
from content_orchestration.core.integrity.findings import Kind
from content_orchestration.core.integrity.proof import (
    BODIES,
    BodyFacts,
    ProvenBody,
    body_facts,
    bounded,
    copies,
    proven_bodies,
)
from content_orchestration.core.integrity.repair_log import Action, Outcome
from content_orchestration.core.integrity.resend import is_uuid
from content_orchestration.core.quota.usage import compute_usage
from content_orchestration.core.replication.tables import Entity
from content_orchestration.core.sql import statement
from content_orchestration.core.warehouse import Warehouse

VERSIONS = "content_versions"
MEDIA = "content_media_files"
# Title and type of a body document are those of its own time, which a later row does not know.
_OF_ITS_TIME = ("title", "content_type")
_NO_ROW = "no row names this document, so nothing says what is right"


@dataclass(frozen=True)
class Tiers:
    """The three sides, and what marks the copies that this run leaves. `warehouse` is none where it is not set up."""

    database: Database
    store: DocumentStore
    warehouse: Warehouse | None
    mark: str


def mend_bodies(tiers: Tiers, actions: Sequence[Action]) -> None:
    """Restore bodies that are lost, wrong or there more than once. Actions that could not be done are ended here."""
    for each, body, about in _proven(tiers, actions):
        reach("repair_body_proven")
        size = len(body.body.encode())
        if each.size_bytes != size:
            _mend_size(tiers, each, size)
        _mend(tiers, BODIES, each.document(body.body), about, source=body.source)


def mend_spill(tiers: Tiers, actions: Sequence[Action]) -> None:
    """Give spilled bodies the text that their rows' hashes prove."""
    for each, body, about in _proven(tiers, actions):
        values = {
            "id": each.document_id,
            "body": body.body,
            "body_sha256": each.body_sha256,
            "size_bytes": len(body.body.encode()),
            "tenant_id": UUID(each.tenant_id),
            "content_id": UUID(each.content_id),
            "version": each.version,
        }
        with tiers.database.connection() as connection:
            connection.execute(statement("integrity/spill_mend"), values)
        for action in about:
            action.detail["source"] = body.source


def mend_versions_documents(tiers: Tiers, actions: Sequence[Action]) -> None:
    """Write documents of version records as their rows say them, where the body proves what the row says."""
    for each, _, about in _proven(tiers, actions):
        _write_from_rows(tiers, VERSIONS, "integrity/version_documents", [each.document_id], about)


def mend_media(tiers: Tiers, actions: Sequence[Action]) -> None:
    """Write documents of files as their rows say them."""
    for key in sorted({action.found.difference.entity_id for action in actions}):
        about = [action for action in actions if action.found.difference.entity_id == key]
        _write_from_rows(tiers, MEDIA, "integrity/media_documents", [key], about)


def restore_documents(tiers: Tiers, ids: Sequence[str]) -> None:
    """See that the documents of these version records are there: the bodies that can be proven, and the records'."""
    facts, _ = body_facts(tiers.database, ids)
    for group in bounded([facts[key] for key in sorted(facts)]):
        proven = proven_bodies(tiers.database, tiers.store, tiers.warehouse, group)
        for each in group:
            if each.document_id in proven:
                _put_right(tiers, BODIES, each.document(proven[each.document_id].body))
                _write_from_rows(tiers, VERSIONS, "integrity/version_documents", [each.document_id], [])


def ensure_bodies(tiers: Tiers, entity: Entity, actions: Sequence[Action]) -> None:
    """See that replication will find the bodies of these rows; end the actions of those whose body is proven nowhere.

    Sent again without its body a row would replace a state that has it, so such a row is not sent.
    """
    keys = sorted(key for key in {action.found.difference.entity_id for action in actions} if is_uuid(key))
    if not entity.has_body or not keys:
        return
    with tiers.database.connection() as connection:
        rows = connection.execute(statement("integrity/row_bodies"), {"entity": entity.name, "ids": keys}).fetchall()
    document_of = {row["entity_id"]: row["zerodb_row_id"] for row in rows}
    facts, torn = body_facts(tiers.database, sorted(set(document_of.values())))
    unproven = dict(torn)
    for group in bounded([facts[key] for key in sorted(facts)]):
        proven = proven_bodies(tiers.database, tiers.store, tiers.warehouse, group)
        for each in group:
            body = proven.get(each.document_id)
            if body is None:
                unproven[each.document_id] = _nowhere(tiers, each)
            elif body.source != "zerodb":
                about = [a for a in actions if document_of.get(a.found.difference.entity_id) == each.document_id]
                _mend(tiers, BODIES, each.document(body.body), about, source=body.source)
    for action in actions:
        difference = action.found.difference
        reason = unproven.get(document_of.get(difference.entity_id, ""))
        # Where BigQuery has nothing of the row, a row without its body is more than nothing; the look after says so.
        if reason and difference.kind != Kind.MISSING_IN_WAREHOUSE:
            action.end(Outcome.REFUSED, reason=f"its body would be withheld: {reason}")


def _proven(tiers: Tiers, actions: Sequence[Action]) -> Iterator[tuple[BodyFacts, ProvenBody, list[Action]]]:
    """The body documents that actions are about, each with its proven body; ends the actions of those without one."""
    facts, torn = body_facts(tiers.database, sorted({action.found.difference.entity_id for action in actions}))
    about: dict[str, list[Action]] = {}
    for action in actions:
        key = action.found.difference.entity_id
        if key in facts:
            about.setdefault(key, []).append(action)
        else:
            action.end(Outcome.REFUSED, reason=torn.get(key, _NO_ROW))
    for group in bounded([facts[key] for key in sorted(about)]):
        proven = proven_bodies(tiers.database, tiers.store, tiers.warehouse, group)
        for each in group:
            body = proven.get(each.document_id)
            if body is not None:
                yield each, body, about[each.document_id]
                continue
            for action in about[each.document_id]:
                action.end(Outcome.REFUSED, reason=_nowhere(tiers, each))


def _write_from_rows(tiers: Tiers, collection: str, name: str, ids: Sequence[str], about: Sequence[Action]) -> None:
    with tiers.database.connection() as connection:
        rows = connection.execute(statement(name), {"ids": list(ids)}).fetchall()
    for row in rows:
        _mend(tiers, collection, dict(row), about, source="rows")
    if not rows:
        for action in about:
            action.end(Outcome.REFUSED, reason=_NO_ROW)


def _nowhere(tiers: Tiers, facts: BodyFacts) -> str:
    asked = "ZeroDB, the spill or BigQuery's history" if tiers.warehouse else "ZeroDB or the spill (no BigQuery)"
    return f"no text with SHA-256 {facts.body_sha256} is in {asked}: take it from a back-up and store it under this id"


def _mend_size(tiers: Tiers, facts: BodyFacts, size_bytes: int) -> None:
    """The hash proves the body, and the body its size: the one column of a row that another side can prove."""
    values = {"id": facts.document_id, "body_sha256": facts.body_sha256, "size_bytes": size_bytes}
    with tiers.database.connection() as connection:
        connection.execute(statement("integrity/size_mend"), values)
    # The counters were true of the size that the row had. A tenant that is gone has none.
    with suppress(Permanent):
        compute_usage(tiers.database, facts.tenant_id)


def _mend(tiers: Tiers, collection: str, wanted: Document, about: Sequence[Action], *, source: str) -> None:
    """Put one document right. One that the server refuses or a missing answer ends these actions, not the run."""
    try:
        did = _put_right(tiers, collection, wanted)
    except Transient as error:
        for action in about:
            action.detail["error"] = str(error)
        return
    except Permanent as error:
        for action in about:
            action.end(Outcome.REFUSED, reason=str(error))
        return
    for action in about:
        action.detail |= {"did": did, "source": source}


def _put_right(tiers: Tiers, collection: str, wanted: Document) -> str:
    store, key = tiers.store, wanted["id"]
    held = copies(store, collection, key)
    if not held:
        store.put_many(collection, [wanted])
        return "inserted"
    did = []
    # Title and type of a body document are those of its own time, which a later row does not know.
    due = {
        name: value for name, value in wanted.items() if collection != BODIES or name not in ("title", "content_type")
    }
    if any(document.get(name) != value for document in held for name, value in due.items()):
        # One atomic request for all copies: a reader sees the wrong body, whose hash tells it so, or the right one.
        store.replace(collection, due)
        did.append("replaced")
    if len(held) > 1:
        held = copies(store, collection, key)
        whole = [{name: value for name, value in document.items() if name != MARK} for document in held]
        if any(document != whole[0] for document in whole):
            raise Permanent(
                f"the {len(held)} copies of {key} differ in fields that no row determines: all of them stay; see which "
                "one is right and remove the other by hand"
            )
        store.reduce_copies(collection, whole[0], tiers.mark)
        did.append(f"{len(held)} identical copies reduced to one")
    return " and ".join(did) or "found right"
