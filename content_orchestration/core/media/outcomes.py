"""What a run over files did: counts by outcome, bytes, and a sample of what failed. Nothing is decided here."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from content_orchestration.core.media.thumbnails import MOST_PICTURES, Thumbnail

SAMPLES = 20
"""Failures that are shown; all of them are counted."""


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one file. `outcome` is a word that reports count by; bytes are those that were put."""

    subject: str
    """Id of the media row, or SHA-256 of the file."""
    outcome: str
    detail: str = ""
    bytes_put: int = 0
    files_put: int = 0
    failed: bool = False
    """Whether a person has to look, or a later run has to try again."""
    thumbnail: Thumbnail | None = None


@dataclass
class RunReport:
    """The files of one tenant in one run. `left` is what waits for another run; it is at least 0."""

    tenant_id: str
    attempted: int = 0
    left: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    bytes_put: int = 0
    files_put: int = 0
    failures: list[Step] = field(default_factory=list)
    thumbnails: list[Thumbnail] = field(default_factory=list)

    def add(self, step: Step) -> None:
        """Count a file."""
        self.attempted += 1
        self.outcomes[step.outcome] += 1
        self.bytes_put += step.bytes_put
        self.files_put += step.files_put
        if step.failed and len(self.failures) < SAMPLES:
            self.failures.append(step)
        if step.thumbnail is not None and len(self.thumbnails) < MOST_PICTURES:
            self.thumbnails.append(step.thumbnail)

    @property
    def failed(self) -> int:
        """Files that were not done, whatever the reason."""
        return sum(self.outcomes[name] for name in FAILED)

    def as_metadata(self) -> dict[str, Any]:
        """For the asset's metadata."""
        return {
            "attempted": self.attempted,
            "outcomes": dict(sorted(self.outcomes.items())),
            "failed": self.failed,
            "files_put": self.files_put,
            "bytes_put": self.bytes_put,
            "left_for_another_run": self.left,
            "failures": [
                {"file": step.subject, "outcome": step.outcome, "reason": step.detail} for step in self.failures
            ],
        }


FAILED = frozenset({"failed", "over_quota", "retry_later"})
"""Outcomes of files that are not done: for good, for want of room, or until a later run."""
