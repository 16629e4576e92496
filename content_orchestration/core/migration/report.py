"""What a migration run did, row by row accounted for: read = migrated + already there + quarantined."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

SAMPLES = 20


@dataclass
class MigrationReport:
    """Counts of one run over one legacy table. Grows while the run works; complete when the engine returns it."""

    table: str
    dry_run: bool
    read: int = 0
    migrated: int = 0
    already_there: int = 0
    quarantined: int = 0
    media_files: int = 0
    body_bytes: int = 0
    media_bytes: int = 0
    batches: int = 0
    documents_replaced: int = 0
    seconds: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def adds_up(self) -> bool:
        """Whether every row that was read is accounted for."""
        return self.read == self.migrated + self.already_there + self.quarantined

    def note(self, kinds: Iterable[str], source: str) -> None:
        """Count what was repaired on a row that migrated."""
        for kind in kinds:
            self.notes[kind] += 1
            self._sample(kind, source)

    def reject(self, reason: str, source: str) -> None:
        """Count a quarantined row."""
        self.quarantined += 1
        self.reasons[reason] += 1
        self._sample(reason, source)

    def as_metadata(self) -> dict[str, Any]:
        """Plain JSON values, for the report file and the asset's metadata."""
        return {
            "table": self.table,
            "dry_run": self.dry_run,
            "read": self.read,
            "migrated": self.migrated,
            "already_there": self.already_there,
            "quarantined": self.quarantined,
            "adds_up": self.adds_up,
            "quarantine_reasons": dict(self.reasons),
            "notes": dict(self.notes),
            "samples": self.samples,
            "media_files": self.media_files,
            "body_bytes": self.body_bytes,
            "media_bytes": self.media_bytes,
            "batches": self.batches,
            "documents_replaced": self.documents_replaced,
            "seconds": round(self.seconds, 3),
        }

    def _sample(self, kind: str, source: str) -> None:
        kept = self.samples.setdefault(kind, [])
        if len(kept) < SAMPLES and source not in kept:
            kept.append(source)
