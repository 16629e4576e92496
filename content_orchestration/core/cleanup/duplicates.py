"""Documents that are stored more than once under one id: the copy that the rows prove stays, and where none is, all do.

Choosing and reducing are `core/integrity/mend.py`'s. A document without a row is `documents.py`.
"""

import time
from collections import Counter
from collections.abc import Callable

from content_orchestration.core.cleanup.audit import AuditEntry, record
from content_orchestration.core.cleanup.holds import HELD, held_tenants
from content_orchestration.core.cleanup.horizons import RETENTION_PREDICATE, RetentionRules
from content_orchestration.core.cleanup.model import MOST_SAMPLES, Cleaned
from content_orchestration.core.cleanup.surveyed import Survey
from content_orchestration.core.content.documents import BODIES, RECORDS
from content_orchestration.core.database import Database
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.integrity.findings import Difference, Kind
from content_orchestration.core.integrity.mend import Tiers, mend_bodies, mend_media, mend_versions_documents
from content_orchestration.core.integrity.proof import copies
from content_orchestration.core.integrity.repair_log import Action, Outcome
from content_orchestration.core.integrity.report_store import FoundDifference

DUPLICATE = "duplicate_document"
UNPROVEN = "no_copy_is_proven"
_MEND = {BODIES: mend_bodies, RECORDS: mend_versions_documents}


def reduce(
    database: Database,
    documents: DocumentStore,
    survey: Survey,
    *,
    run_id: str,
    dry_run: bool,
    limit: int,
    rules: RetentionRules,
    clock: Callable[[], float] = time.monotonic,
) -> Cleaned:
    """Leave one copy of at most `limit` documents; counted as deleted are the copies that went.

    A copy is proven by the hash that its row names. Where none is, or copies differ in what no row determines, all stay
    and the audit says so. Raises `Transient` where a tier does not answer.
    """
    started = clock()
    skipped: Counter[str] = Counter()
    samples: list[dict[str, object]] = []
    candidates = deleted = 0
    for difference in survey.of(Kind.DUPLICATE_DOCUMENT):
        if candidates >= limit:
            break
        stored = len(copies(documents, difference.table, difference.entity_id))
        if stored < 2:
            skipped["gone"] += 1
            continue
        candidates += 1
        if not dry_run:
            why = _reduce(database, documents, difference, run_id, rules)
            if why is not None:
                skipped[why] += 1
                continue
            deleted += stored - 1
        if len(samples) < MOST_SAMPLES:
            samples.append({"collection": difference.table, "id": difference.entity_id, "copies": stored})
    return Cleaned(
        DUPLICATE,
        dry_run,
        scanned=candidates + skipped["gone"],
        candidates=candidates,
        deleted=deleted,
        skipped=skipped,
        left=max(0, survey.counts.get(Kind.DUPLICATE_DOCUMENT, 0) - (0 if dry_run else candidates)),
        samples=samples,
        seconds=clock() - started,
    )


def _reduce(
    database: Database, documents: DocumentStore, difference: Difference, run_id: str, rules: RetentionRules
) -> str | None:
    action = Action(FoundDifference(0, "documents", difference), "reduce")
    with database.connection() as connection:
        # No hold is placed until this transaction ends, and the copies are reduced within it.
        held = held_tenants(connection)
        whose = difference.tenant_id
        if held and (whose is None or whose in {str(each) for each in held}):
            return HELD
        if rules.never.tenants and (whose is None or whose in {str(each) for each in rules.never.tenants}):
            return "never_delete_tenant"
        mend = _MEND.get(difference.table, mend_media)
        mend(Tiers(database, documents, None, run_id), [action])
        done = action.outcome is None and "error" not in action.detail
        reason = str(action.detail.get("did" if done else "reason", action.detail.get("error", "")))
        entry = AuditEntry(
            run_id, DUPLICATE, "deleted" if done else "refused", f"{difference.table}/{difference.entity_id}",
            reason=reason, predicate_version=RETENTION_PREDICATE, detail={"tenant": whose},
        )  # fmt: skip
        record(connection, [entry])
    if done:
        return None
    return UNPROVEN if action.outcome == Outcome.REFUSED else "tier_unavailable"
