"""What a check of stored files found: counts, samples, and whether it could look at all. Nothing looks here."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

SAMPLES = 20
"""Findings that are shown; all of them are counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One file that is not as its row says, or that has no row. `kind` is a word that reports count by."""

    kind: str
    tenant_id: str
    key: str
    detail: str = ""

    def as_metadata(self) -> dict[str, str]:
        """For a sample."""
        return {"kind": self.kind, "tenant_id": self.tenant_id, "file": self.key, "detail": self.detail}


@dataclass
class FileReport:
    """One look at stored files: attempted = compared + skipped. What could not be looked at raises and is not here."""

    attempted: int = 0
    compared: int = 0
    bytes_read: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    samples: list[Finding] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def skip(self, reason: str) -> None:
        """Count a file that was left out."""
        self.skipped[reason] += 1

    def found(self, finding: Finding, count: int = 1) -> None:
        """Count a finding; the first 20 are shown."""
        self.kinds[finding.kind] += count
        if len(self.samples) < SAMPLES:
            self.samples.append(finding)

    @property
    def findings(self) -> int:
        """How many files are not as they should be."""
        return sum(self.kinds.values())

    def as_metadata(self) -> dict[str, Any]:
        """Counts, samples and coverage for a check's metadata."""
        return {
            "attempted": self.attempted,
            "compared": self.compared,
            "skipped": {reason: number for reason, number in sorted(self.skipped.items()) if number},
            "bytes_read": self.bytes_read,
            "found": dict(sorted(self.kinds.items())),
            "samples": [each.as_metadata() for each in self.samples],
            **self.notes,
        }
