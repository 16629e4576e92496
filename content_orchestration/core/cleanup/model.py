"""What the parts of cleanup say to each other: the outcome of a pass, and the settings of orphaned renders.

No SQL and no store here. The rules that stop a pass are `guards.py`, what is written down about it `audit.py`.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

ORPHANED_RENDER = "orphaned_render"
"""The kind of quarantined renders in `cleanup_quarantine` and `cleanup_audit`."""
PREDICATE_VERSION = 1
"""Which rules made a row an orphan: raised with every change of `sql/cleanup/orphan_*.sql`, kept in the audit."""
MOST_SAMPLES = 20


@dataclass(frozen=True)
class Cleaned:
    """What a pass of one part of cleanup did, or in a dry run would do. Bytes; seconds."""

    kind: str
    dry_run: bool
    scanned: int = 0
    candidates: int = 0
    quarantined: int = 0
    restored: int = 0
    deleted: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """Reasons why something was left alone, with how often."""
    freed_bytes: int = 0
    oldest_seconds: float | None = None
    """Age of the oldest thing that still waits; None where nothing does."""
    left: int = 0
    """How many still wait for this pass."""
    samples: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def as_metadata(self) -> dict[str, Any]:
        """For the asset's metadata."""
        return {
            "dry_run": self.dry_run,
            "scanned": self.scanned,
            "candidates": self.candidates,
            "quarantined": self.quarantined,
            "restored": self.restored,
            "deleted": self.deleted,
            "skipped": dict(sorted(self.skipped.items())),
            "freed_bytes": self.freed_bytes,
            "oldest_hours": None if self.oldest_seconds is None else round(self.oldest_seconds / 3600, 2),
            "left": self.left,
            "samples": self.samples[:MOST_SAMPLES],
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class OrphanRules:
    """When a render is an orphan, and how long it can be brought back.

    `minimum_age` counts from the latest of creation, completion and the last unsave. `grace` is the time in quarantine.
    """

    minimum_age: timedelta = timedelta(minutes=60)
    grace: timedelta = timedelta(hours=24)
