"""One pass of one part of cleanup: alone, never beside a restore, and with a line in the audit that says how it ended.

What a pass does is its engine's; which rules stop it is `guards.py`'s.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from content_orchestration.core.cleanup.audit import AuditEntry, record
from content_orchestration.core.cleanup.guards import Refused
from content_orchestration.core.cleanup.model import Cleaned
from content_orchestration.core.database import Database

LOCK = "cleanup"
"""Held by a pass and by a restore into the live tiers: what one removes, the other must not bring back meanwhile."""
SUBJECT = "pass"
"""`subject_id` of the lines about whole passes."""
FINISHED, REFUSED = "finished", "refused"


def run_pass(
    database: Database, kind: str, *, run_id: str, dry_run: bool, work: Callable[[], Cleaned], alone: bool = True
) -> Cleaned:
    """Run `work` and write down how it ended, which a dry run does not; under the lock unless `alone` is False.

    Raises `AlreadyRunning` beside another pass or a restore, `Refused` where a rule stops it, and what `work` raises.
    """
    with database.advisory_lock(LOCK) if alone else nullcontext():
        try:
            cleaned = work()
        except Refused as refusal:
            if not dry_run:
                _note(database, run_id, kind, REFUSED, str(refusal), {"rule": refusal.rule})
            raise
        if not dry_run:
            _note(database, run_id, kind, FINISHED, "the pass ended", _counts(cleaned))
        return cleaned


def _counts(cleaned: Cleaned) -> dict[str, Any]:
    told = cleaned.as_metadata()
    return {name: value for name, value in told.items() if name not in ("samples", "dry_run")}


def _note(database: Database, run_id: str, kind: str, action: str, reason: str, detail: dict[str, Any]) -> None:
    with database.connection() as connection:
        record(connection, [AuditEntry(run_id, kind, action, SUBJECT, reason=reason, detail=detail)])
