"""Removals in three tiers that a kill cannot leave half-done: what is left is noted with the rows' delete, then ended.

Order: one transaction removes the rows and notes their documents and files (`note`); documents go, then files are
released, then the note is closed (`finish`). Every step looks again at what rows name, and can be repeated.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb

from content_orchestration.core.cleanup.audit import AuditEntry, record
from content_orchestration.core.cleanup.files import release
from content_orchestration.core.cleanup.holds import HELD, UnderHold
from content_orchestration.core.cleanup.horizons import RETENTION_PREDICATE
from content_orchestration.core.content.breaker import Breaker
from content_orchestration.core.content.writing import Writer
from content_orchestration.core.database import Database, Row
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.errors import Transient
from content_orchestration.core.failpoints import reach
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.sql import statement

CONTENT = "content"
VERSION = "version"
MEDIA = "media"
KINDS = (CONTENT, VERSION, MEDIA)
MEDIA_DOCUMENTS = "content_media_files"
_PAGE = 200


@dataclass(frozen=True)
class Removal:
    """Rows that one transaction removes, and what they named: documents by collection, files by key."""

    run_id: str
    kind: str
    subject_id: str
    tenant_id: UUID
    size_bytes: int
    reason: str
    content_id: UUID
    """Whose lock is taken while the documents go."""
    documents: Mapping[str, Sequence[str]]
    files: Sequence[str] = ()
    detail: Mapping[str, Any] | None = None


def note(connection: Connection[Row], removal: Removal) -> bool:
    """Write down in the caller's transaction what it removes, here and in the audit.

    False where an earlier removal of the same subject is not ended yet: then the caller must roll back.
    """
    left = {
        "content_id": str(removal.content_id),
        "documents": {collection: list(ids) for collection, ids in removal.documents.items()},
        "files": list(removal.files),
    }
    values = {
        "kind": removal.kind, "subject_id": removal.subject_id, "tenant_id": removal.tenant_id,
        "run_id": removal.run_id, "size_bytes": removal.size_bytes, "reason": removal.reason,
        "predicate_version": RETENTION_PREDICATE, "left": Jsonb(left),
    }  # fmt: skip
    if connection.execute(statement("cleanup/removal_note"), values).fetchone() is None:
        return False
    counts = {"documents": sum(map(len, removal.documents.values())), "files": len(removal.files)}
    entry = AuditEntry(
        removal.run_id, removal.kind, "purged", removal.subject_id, removal.tenant_id, size_bytes=removal.size_bytes,
        reason=removal.reason, predicate_version=RETENTION_PREDICATE, detail={**(removal.detail or {}), **counts},
    )  # fmt: skip
    record(connection, [entry])
    return True


def finish(
    database: Database,
    documents: DocumentStore,
    *,
    run_id: str,
    kinds: Sequence[str] = KINDS,
    keep: frozenset[UUID] = frozenset(),
) -> Counter[str]:
    """End removals that were begun, by this pass or one that was killed; how many were `ended`, and why others wait.

    Those of a held tenant, and of `keep`, wait. A tier that does not answer leaves the rest for the next pass.
    """
    told: Counter[str] = Counter()
    writer = Writer(database, documents, QuotaLedger(database), Breaker())
    for row in _open(database, kinds):
        if row["tenant_id"] in keep:
            told["never_delete_tenant"] += 1
            continue
        try:
            _end(database, writer, row, run_id)
        except UnderHold:
            told[HELD] += 1
        except Transient:
            told["tier_unavailable"] += 1
            break
        else:
            told["ended"] += 1
    return told


def _end(database: Database, writer: Writer, row: Row, run_id: str) -> None:
    left = row["left"]
    writer.forget_documents(row["tenant_id"], UUID(left["content_id"]), left["documents"])
    reach("retention_documents_gone")
    for key in left["files"]:
        release(database, row["tenant_id"], key)
        reach("retention_file_released")
    with database.connection() as connection:
        if connection.execute(statement("cleanup/removal_close"), row).fetchone() is None:
            return
        entry = AuditEntry(
            run_id, row["kind"], "deleted", row["subject_id"], row["tenant_id"], size_bytes=row["size_bytes"],
            reason=row["reason"], predicate_version=RETENTION_PREDICATE, quarantined_at=row["quarantined_at"],
        )  # fmt: skip
        record(connection, [entry])
    reach("retention_closed")


def _open(database: Database, kinds: Sequence[str]) -> Iterator[Row]:
    after: UUID | None = None
    while True:
        values = {"kinds": list(kinds), "after": after, "limit": _PAGE}
        with database.connection() as connection:
            rows = connection.execute(statement("cleanup/removals_open"), values).fetchall()
        yield from rows
        if len(rows) < _PAGE:
            return
        after = rows[-1]["quarantine_id"]
