"""Runs over the files of one tenant: which wait, one after another, in pages. What is done to each is elsewhere.

One bad file is an outcome and stops nothing. A server that does not answer ends the run as `Transient`, and what was
done is kept: the next run goes on behind it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar
from uuid import UUID

from content_orchestration.core.database import Database
from content_orchestration.core.failpoints import reach
from content_orchestration.core.media.model import IngestOutcome, Outcome
from content_orchestration.core.media.outcomes import RunReport, Step
from content_orchestration.core.media.processing import Processor
from content_orchestration.core.sql import statement

LOCK = "media"
_PAGE = 1000

T = TypeVar("T")
OnStep = Callable[[Step], None]


class Ingests(Protocol):
    """What brings the bytes of rows into the store; `ingest.Ingestor` does."""

    def pending(self, tenant_id: UUID, limit: int) -> Sequence[UUID]:
        """Rows whose bytes are wanted and not stored yet, at most `limit`."""
        ...

    def unknown(self, tenant_id: UUID, limit: int) -> Sequence[UUID]:
        """Rows that say stored, of whose bytes no object is known, as after a restore; at most `limit`."""
        ...

    def ingest_asset(self, asset_id: UUID) -> IngestOutcome:
        """Store the bytes of one row. Never raises for a bad file."""
        ...


def store_waiting(
    database: Database,
    ingestor: Ingests,
    tenant_id: UUID,
    *,
    most: int,
    on_step: OnStep = lambda step: None,
) -> RunReport:
    """Bring the bytes of a tenant's waiting rows into the store, at most `most` of them.

    Raises `AlreadyRunning` while another run does so for this tenant, `Transient` where a server does not answer.
    """
    report = RunReport(str(tenant_id))

    def page() -> Sequence[UUID]:
        waiting = [*ingestor.pending(tenant_id, _PAGE), *ingestor.unknown(tenant_id, _PAGE)]
        report.left = len(waiting)
        return waiting

    with database.advisory_lock(f"{LOCK}_files:{tenant_id}"):
        for asset_id in one_after_another(page, most):
            outcome = ingestor.ingest_asset(asset_id)
            reach("media_ingested")
            step = _ingested(outcome)
            report.add(step)
            on_step(step)
    return report


def process_waiting(
    database: Database,
    processor: Processor,
    tenant_id: UUID,
    *,
    most: int,
    remake: bool = False,
    on_step: OnStep = lambda step: None,
) -> RunReport:
    """Describe a tenant's stored files and make their variants, at most `most` of them.

    remake: files whose variants were made with other sizes or quality get new ones, too.
    Raises `AlreadyRunning` while another run does so for this tenant, `Transient` where a server does not answer.
    """
    report = RunReport(str(tenant_id))
    values = {"tenant_id": tenant_id, "remake": remake, "made_with": processor.settings.key, "most": _PAGE}

    def page() -> Sequence[str]:
        with database.connection() as connection:
            rows = connection.execute(statement("media/process_pending"), values).fetchall()
        report.left = rows[0]["waiting"] if rows else 0
        return [row["sha256"] for row in rows]

    with database.advisory_lock(f"{LOCK}_variants:{tenant_id}"):
        for sha256 in one_after_another(page, most):
            step = processor.process(tenant_id, sha256)
            report.add(step)
            on_step(step)
    return report


def one_after_another(page: Callable[[], Sequence[T]], most: int) -> Iterator[T]:
    """What waits, page after page, at most `most` and each once: what still waits after it was tried waits on.

    The last page is asked for when all is done, so that whoever counts it knows what is left.
    """
    seen: set[T] = set()
    while fresh := [each for each in page() if each not in seen]:
        if len(seen) >= most:
            return
        for each in fresh[: most - len(seen)]:
            seen.add(each)
            yield each


def _ingested(outcome: IngestOutcome) -> Step:
    subject, detail = str(outcome.asset_id), ": ".join(filter(None, (outcome.reason, outcome.detail)))
    if outcome.outcome == Outcome.RETRY:
        return Step(subject, "retry_later", detail, failed=True)
    if outcome.outcome == Outcome.FAILED:
        return Step(subject, "failed", detail, failed=True)
    fresh = outcome.outcome == Outcome.STORED and outcome.stored is not None
    return Step(
        subject, str(outcome.outcome), detail,
        bytes_put=outcome.stored.size_bytes if fresh and outcome.stored else 0, files_put=int(fresh),
    )  # fmt: skip
