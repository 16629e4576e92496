"""Documents that no row names: found by the integrity comparison, kept in `cleanup_quarantine`, removed, brought back.

Ids that are stored more than once are `duplicates.py`. Nothing here looks for documents: a report names them.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb

from content_orchestration.core.cleanup.audit import AuditEntry, record
from content_orchestration.core.cleanup.guards import check_ceiling
from content_orchestration.core.cleanup.holds import HELD, held_tenants
from content_orchestration.core.cleanup.horizons import RETENTION_PREDICATE, RetentionRules
from content_orchestration.core.cleanup.model import MOST_SAMPLES, Cleaned
from content_orchestration.core.cleanup.surveyed import Survey
from content_orchestration.core.database import Database, Row
from content_orchestration.core.documents import Document, DocumentStore
from content_orchestration.core.failpoints import reach
from content_orchestration.core.integrity.findings import Difference, Kind
from content_orchestration.core.sql import statement

DOCUMENT = "document"
NO_ROW = "no row names the document"
NAMED_AGAIN = "named_again"
GONE = "gone"
_PAGE = 100
# What PostgreSQL keeps of one document; the platform's largest body is 10 MB.
_LARGEST_BYTES = 64 * 1024 * 1024
_LOCK_SECONDS = 30


@dataclass(frozen=True)
class _Stray:
    """A document id of a collection, and all that is stored under it."""

    collection: str
    document_id: str
    copies: Sequence[Document]

    @property
    def subject(self) -> str:
        return f"{self.collection}/{self.document_id}"

    @property
    def text(self) -> str:
        """As JSON in ASCII: a document may hold characters that PostgreSQL's texts cannot."""
        return json.dumps(list(self.copies))

    @property
    def tenant_id(self) -> UUID | None:
        """Whose it says it is; None where its copies say nothing, or different things."""
        try:
            tenants = {UUID(copy["tenant_id"]) for copy in self.copies}
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        return tenants.pop() if len(tenants) == 1 else None


def quarantine(
    database: Database,
    documents: DocumentStore,
    survey: Survey,
    *,
    run_id: str,
    dry_run: bool,
    limit: int,
    rules: RetentionRules,
    grace: timedelta,
    clock: Callable[[], float] = time.monotonic,
) -> Cleaned:
    """Take documents without a row out of ZeroDB and keep them in PostgreSQL for `grace`; then they are gone.

    `survey` left out what was too young for the integrity check. Each is looked at again under the lock that whoever
    writes its row takes. Raises `Refused` past the ceiling.
    """
    started = clock()
    found = survey.of(Kind.DOCUMENT_WITHOUT_ROW)
    candidates = survey.counts.get(Kind.DOCUMENT_WITHOUT_ROW, 0)
    check_ceiling(candidates, survey.documents, rules.max_candidate_percent)
    skipped: Counter[str] = Counter()
    samples: list[dict[str, object]] = []
    moved = freed = deleted = looked = 0
    if survey.unknown:
        skipped[survey.unknown] += 1
    if not dry_run:
        _finish(database, documents, run_id, rules)
        deleted = _expire(database, run_id, rules)
    for difference in found:
        if looked >= limit:
            break
        stray, why = _stray(documents, difference)
        # What an earlier pass took since the report is no work of this one.
        looked += why != GONE
        if why is None:
            take = _would if dry_run else _take
            why = take(database, documents, stray, run_id, grace, rules)
        if why is not None:
            skipped[why] += 1
            continue
        size = len(stray.text)
        moved, freed = moved + 1, freed + size
        if len(samples) < MOST_SAMPLES:
            samples.append({"collection": stray.collection, "id": stray.document_id, "bytes": size})
    return Cleaned(
        DOCUMENT,
        dry_run,
        scanned=survey.documents,
        candidates=candidates,
        quarantined=0 if dry_run else moved,
        deleted=deleted,
        skipped=skipped,
        freed_bytes=freed,
        left=max(0, candidates - (0 if dry_run else moved)),
        samples=samples,
        seconds=clock() - started,
    )


def restore(
    database: Database,
    documents: DocumentStore,
    *,
    run_id: str,
    of_run: str | None,
    prefix: str | None,
    dry_run: bool,
    limit: int,
    clock: Callable[[], float] = time.monotonic,
) -> Cleaned:
    """Bring quarantined documents back: those that `of_run` took, those whose `collection/id` begins with `prefix`.

    An id that is stored again is left as it is there. Raises `Transient` where a tier does not answer.
    """
    started = clock()
    scanned = restored = 0
    skipped: Counter[str] = Counter()
    for row in _kept(database, ("quarantined", "moving"), of_run=of_run, prefix=prefix):
        if scanned >= limit:
            break
        scanned += 1
        if dry_run:
            continue
        with database.connection() as connection:
            _lock(connection, row["row_json"]["document_id"])
            if connection.execute(statement("cleanup/document_kept_lock"), row).fetchone() is None:
                skipped["changed"] += 1
                continue
            collection, document_id = row["row_json"]["collection"], row["row_json"]["document_id"]
            copies: list[Document] = json.loads(row["row_json"]["text"])
            if document_id in documents.get_many(collection, [document_id]):
                skipped["stored_already"] += 1
            else:
                documents.put_many(collection, copies[:1])
                restored += 1
            reach("document_put_back")
            _state(connection, row, "restored", run_id)
    return Cleaned(
        DOCUMENT, dry_run, scanned=scanned, candidates=scanned, restored=restored, skipped=skipped,
        seconds=clock() - started,
    )  # fmt: skip


def _stray(documents: DocumentStore, difference: Difference) -> tuple[_Stray, str | None]:
    where = {"id": difference.entity_id}
    copies = tuple(documents.scan(difference.table, where=where))
    stray = _Stray(difference.table, difference.entity_id, copies)
    if not copies:
        return stray, GONE
    if len({json.dumps(copy, sort_keys=True) for copy in copies}) > 1:
        return stray, "copies_differ"
    try:
        json.dumps(copies[0], ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair can be read and not put back, and what cannot be undone is not done.
        return stray, "cannot_be_put_back"
    return stray, "too_large" if len(stray.text) > _LARGEST_BYTES else None


def _would(
    database: Database, documents: DocumentStore, stray: _Stray, run_id: str, grace: timedelta, rules: RetentionRules
) -> str | None:
    del documents, run_id, grace
    with database.connection() as connection:
        return _why_not(connection, stray.collection, stray.document_id, stray.tenant_id, rules)


def _take(
    database: Database, documents: DocumentStore, stray: _Stray, run_id: str, grace: timedelta, rules: RetentionRules
) -> str | None:
    """Keep the document in PostgreSQL, commit, and only then take it out of ZeroDB; why not, where it stays."""
    values = {
        "subject_id": stray.subject, "tenant_id": stray.tenant_id, "run_id": run_id, "size_bytes": len(stray.text),
        "reason": NO_ROW, "predicate_version": RETENTION_PREDICATE, "grace": grace,
        "row_json": Jsonb({"collection": stray.collection, "document_id": stray.document_id, "text": stray.text}),
    }  # fmt: skip
    with database.connection() as connection:
        why = _why_not(connection, stray.collection, stray.document_id, stray.tenant_id, rules)
        if why is not None:
            return why
        row = connection.execute(statement("cleanup/document_keep"), values).fetchone()
    reach("document_kept")
    return "in_quarantine_already" if row is None else _remove(database, documents, row, run_id, rules)


def _remove(database: Database, documents: DocumentStore, row: Row, run_id: str, rules: RetentionRules) -> str | None:
    collection, document_id = row["row_json"]["collection"], row["row_json"]["document_id"]
    with database.connection() as connection:
        _lock(connection, document_id)
        if connection.execute(statement("cleanup/document_kept_lock"), row).fetchone() is None:
            return "changed"
        why = _why_not(connection, collection, document_id, row["tenant_id"], rules)
        stored = list(documents.scan(collection, where={"id": document_id}))
        if why is None and json.dumps(stored) != row["row_json"]["text"] and stored:
            # Another document than the one that was kept: whoever wrote it will name it.
            why = "changed"
        if why is not None:
            _state(connection, row, "restored", run_id, why)
            return why
        documents.delete_many(collection, [document_id])
        reach("document_removed")
        if stored and connection.execute(statement("content/claimed_documents"), {"ids": [document_id]}).fetchone():
            # Its row came while it went, from a writer that takes no lock: it goes back before anybody misses it.
            documents.put_many(collection, stored[:1])
            _state(connection, row, "restored", run_id, NAMED_AGAIN)
            return NAMED_AGAIN
        _state(connection, row, "quarantined", run_id)
    return None


def _finish(database: Database, documents: DocumentStore, run_id: str, rules: RetentionRules) -> None:
    """End what a killed pass began: kept in PostgreSQL, and perhaps still in ZeroDB."""
    for row in _kept(database, ("moving",)):
        _remove(database, documents, row, run_id, rules)


def _expire(database: Database, run_id: str, rules: RetentionRules) -> int:
    """Forget documents that were kept for long enough; how many."""
    gone = 0
    for row in _kept(database, ("quarantined",), due=True):
        with database.connection() as connection:
            held = held_tenants(connection)
            if _held(row["tenant_id"], held) or rules.never.forbids(row["tenant_id"]):
                continue
            if connection.execute(statement("cleanup/document_kept_lock"), row).fetchone() is None:
                continue
            _state(connection, row, "deleted", run_id)
            gone += 1
    return gone


def _why_not(
    connection: Connection[Row], collection: str, document_id: str, tenant_id: UUID | None, rules: RetentionRules
) -> str | None:
    if _held(tenant_id, held_tenants(connection)):
        return HELD
    forbidden = rules.never.forbids(tenant_id, f"{collection}/{document_id}")
    if forbidden is not None:
        return forbidden
    if rules.never.tenants and tenant_id is None:
        return "tenant_unknown"
    claimed = connection.execute(statement("content/claimed_documents"), {"ids": [document_id]}).fetchall()
    return NAMED_AGAIN if claimed else None


def _held(tenant_id: UUID | None, held: frozenset[UUID]) -> bool:
    """A document that does not say whose it is may be a held tenant's."""
    return bool(held) if tenant_id is None else tenant_id in held


def _lock(connection: Connection[Row], document_id: str) -> None:
    """The lock of whoever writes this document's item: the id of a body is that of its item and a version."""
    connection.execute(statement("content/lock_timeout"), {"timeout": f"{_LOCK_SECONDS}s"})
    connection.execute(statement("content/lock"), {"ids": [document_id.partition(".v")[0]]})


def _state(connection: Connection[Row], row: Row, state: str, run_id: str, why: str = NO_ROW) -> None:
    connection.execute(statement("cleanup/document_state"), {"quarantine_id": row["quarantine_id"], "state": state})
    entry = AuditEntry(
        run_id, DOCUMENT, state, row["subject_id"], row["tenant_id"], size_bytes=row["size_bytes"], reason=why,
        predicate_version=RETENTION_PREDICATE, quarantined_at=row["quarantined_at"],
    )  # fmt: skip
    record(connection, [entry])


def _kept(
    database: Database,
    states: Sequence[str],
    *,
    of_run: str | None = None,
    prefix: str | None = None,
    due: bool = False,
) -> Iterator[Row]:
    after: UUID | None = None
    while True:
        values = {
            "states": list(states), "run_id": of_run, "prefix": prefix, "due": due, "after": after, "limit": _PAGE,
        }  # fmt: skip
        with database.connection() as connection:
            rows = connection.execute(statement("cleanup/documents_kept"), values).fetchall()
        yield from rows
        if len(rows) < _PAGE:
            return
        after = rows[-1]["quarantine_id"]
