"""What is left over in the three tiers, a part after another: each part's rules are its own module's.

Deleted files past their plan, files that nothing names, documents without a row, documents stored twice, generation
jobs that ended, reservations that expired. The last two are cleaned by their own engines, which are only called here.
"""

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from content_orchestration.core.cleanup import documents as stray_documents
from content_orchestration.core.cleanup import duplicates, files, media_rows
from content_orchestration.core.cleanup.holds import HELD, held_tenants
from content_orchestration.core.cleanup.horizons import RetentionRules, check_pass
from content_orchestration.core.cleanup.model import Cleaned
from content_orchestration.core.cleanup.surveyed import newest_survey
from content_orchestration.core.database import Database
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.generation.retention import clean_up
from content_orchestration.core.media.model import MediaStores
from content_orchestration.core.quota.upkeep import reap
from content_orchestration.core.sql import statement

LOCK = "cleanup_leftovers"
GENERATION_JOB = "generation_job"
RESERVATION = "reservation"
FOR_EVER_DAYS = 36_500
"""Longer than any history: while a hold stands no day of it is dropped."""


def sweep(
    database: Database,
    documents: DocumentStore,
    stores: MediaStores,
    *,
    run_id: str,
    dry_run: bool,
    limit: int,
    history_days: int,
    rules: RetentionRules | None = None,
    quarantine: timedelta = timedelta(hours=24),
    clock: Callable[[], float] = time.time,
) -> list[Cleaned]:
    """Sweep every part, at most `limit` of each; an outcome a part.

    `quarantine` is how long a document without a row can be brought back, `history_days` how long ended generation jobs
    are kept. Raises `Refused` where a guard stops the pass, `AlreadyRunning` beside another one, `Transient`. A dry run
    removes and writes nothing.
    """
    rules = rules or RetentionRules()
    with database.advisory_lock(LOCK):
        check_pass(database, rules, dry_run=dry_run, clock=clock)
        now = datetime.fromtimestamp(clock(), UTC)
        survey = newest_survey(database, now=now)
        return [
            media_rows.purge_rows(database, documents, run_id=run_id, dry_run=dry_run, limit=limit, rules=rules),
            files.remove_files(database, stores, run_id=run_id, dry_run=dry_run, limit=limit, rules=rules),
            stray_documents.quarantine(
                database, documents, survey, run_id=run_id, dry_run=dry_run, limit=limit, rules=rules, grace=quarantine
            ),
            duplicates.reduce(database, documents, survey, run_id=run_id, dry_run=dry_run, limit=limit, rules=rules),
            _generation(database, history_days, dry_run=dry_run),
            _reservations(database, dry_run=dry_run),
        ]


def _generation(database: Database, history_days: int, *, dry_run: bool) -> Cleaned:
    """Ended jobs leave the hot tables for the history, and days that are too old leave that."""
    started = time.monotonic()
    with database.connection() as connection:
        waiting = connection.execute(statement("cleanup/generation_waiting")).fetchone() or {}
    jobs = waiting["jobs"]
    if dry_run:
        return Cleaned(GENERATION_JOB, dry_run, scanned=jobs, candidates=jobs, left=jobs)
    skipped: Counter[str] = Counter()
    with database.connection() as connection:
        # A day of the history is dropped whole, and no hold is placed until this transaction ends.
        if held_tenants(connection):
            skipped["days_kept_for_" + HELD] += 1
            history_days = FOR_EVER_DAYS
        done = clean_up(database, history_days)
    return Cleaned(
        GENERATION_JOB, dry_run, scanned=jobs, candidates=jobs, deleted=done.moved_jobs, skipped=skipped,
        left=max(0, jobs - done.moved_jobs), samples=[done.as_metadata()], seconds=time.monotonic() - started,
    )  # fmt: skip


def _reservations(database: Database, *, dry_run: bool) -> Cleaned:
    """Expired reservations give back what they hold."""
    started = time.monotonic()
    with database.connection() as connection:
        overdue = connection.execute(statement("quota/overdue_reservations")).fetchone() or {}
    waiting, oldest = overdue["reservations"], overdue["oldest_seconds"] or None
    if dry_run:
        return Cleaned(
            RESERVATION, dry_run, scanned=waiting, candidates=waiting, freed_bytes=overdue["bytes"],
            oldest_seconds=oldest, left=waiting,
        )  # fmt: skip
    reaped = reap(database)
    return Cleaned(
        RESERVATION, dry_run, scanned=waiting, candidates=waiting, deleted=reaped.reservations,
        freed_bytes=reaped.bytes, left=max(0, waiting - reaped.reservations), samples=[reaped.as_metadata()],
        seconds=time.monotonic() - started,
    )  # fmt: skip
