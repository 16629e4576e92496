"""Orphaned renders: the passes that jobs, schedules and people run. Each says what it did as a `Cleaned`.

An orphan is what `contracts/platform_tables.md` says: a completed render with a file, older than the minimum age, that
no asset names. Scan marks, quarantine moves the file aside, delete ends it after the grace; a save undoes it till then.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from content_orchestration.core.cleanup.context import OrphanContext
from content_orchestration.core.cleanup.deleting import delete_quarantined
from content_orchestration.core.cleanup.model import Cleaned, OrphanRules
from content_orchestration.core.cleanup.quarantine import quarantine_orphans
from content_orchestration.core.cleanup.returning import bring_back_waiting, recalls_waiting
from content_orchestration.core.cleanup.scanning import scan_candidates
from content_orchestration.core.errors import AlreadyRunning, Permanent

__all__ = [
    "EMERGENCY_CONFIRMATION", "OrphanContext", "bring_back", "delete", "emergency", "quarantine", "recalls_waiting",
    "scan",
]  # fmt: skip

EMERGENCY_CONFIRMATION = "remove orphaned renders without waiting for the schedule"
EMERGENCY_AGE = timedelta(hours=1)
_MOST_IN_AN_EMERGENCY = 10_000


def scan(context: OrphanContext, *, run_id: str, dry_run: bool, limit: int | None = None) -> Cleaned:
    """Find orphans. Nothing is removed; what was saved while in quarantine is brought back first, unless dry.

    Raises `Refused` (triggers, clock, empty references) and `Transient`.
    """
    restored = 0
    if not dry_run:
        # Whoever holds the lock brings it back itself.
        with suppress(AlreadyRunning):
            restored = bring_back(context, run_id=run_id, everything=True).restored
    found = scan_candidates(context, run_id=run_id, dry_run=dry_run, limit=limit)
    return replace(found, restored=restored)


def quarantine(context: OrphanContext, *, run_id: str, dry_run: bool, limit: int | None = None) -> Cleaned:
    """Put what a scan marked into quarantine, each asked again under its lock. See `quarantine.py`."""
    return quarantine_orphans(context, run_id=run_id, dry_run=dry_run, limit=limit)


def delete(context: OrphanContext, *, run_id: str, dry_run: bool, limit: int | None = None) -> Cleaned:
    """Delete what waited out its grace, each asked again under its lock. See `deleting.py`."""
    return delete_quarantined(context, run_id=run_id, dry_run=dry_run, limit=limit)


def bring_back(context: OrphanContext, *, run_id: str, limit: int | None = None, everything: bool = False) -> Cleaned:
    """Bring back what was saved, by the notes of the saves; with `everything` by the references. For a sensor's tick.

    Raises `AlreadyRunning` while another pass moves files: it does the same before and after its own work.
    """
    with context.moving_files():
        return bring_back_waiting(context, run_id=run_id, everything=everything, limit=limit)


def emergency(
    context: OrphanContext, *, run_id: str, dry_run: bool, confirm: str, limit: int = 100
) -> dict[str, Cleaned]:
    """Scan, quarantine and delete by hand, at most `limit` each, of renders older than an hour; the same rules hold.

    Raises `Permanent` without the exact sentence (a dry run needs none), and as the passes do.
    """
    if not dry_run and confirm != EMERGENCY_CONFIRMATION:
        raise Permanent(
            f"confirm is {confirm[:80]!r}, which is not the sentence that this job asks for: nothing was removed. Set "
            f"it to {EMERGENCY_CONFIRMATION!r}"
        )
    if not 1 <= limit <= _MOST_IN_AN_EMERGENCY:
        raise Permanent(f"limit is {limit}: from 1 to {_MOST_IN_AN_EMERGENCY:,}")
    rules = OrphanRules(max(context.rules.minimum_age, EMERGENCY_AGE), context.rules.grace)
    older = replace(context, rules=rules)
    return {
        "scan": scan(older, run_id=run_id, dry_run=dry_run),
        "quarantine": quarantine(older, run_id=run_id, dry_run=dry_run, limit=limit),
        "delete": delete(older, run_id=run_id, dry_run=dry_run, limit=limit),
    }
