"""What one drill measured, and when it counts as verified. How it is measured is `engine.py`."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class DrillResult:
    """What a drill measured. Seconds count from the moment at which the disaster was complete.

    rows_lost: rows and documents of the last closed sync that are missing or not as they were.
    rows_within_rpo: rows and documents written after that sync and lost with it, as the objective allows.
    rpo_seconds: age of the oldest change that was not replicated when the disaster struck.
    rto_seconds: until the recovery was done and the checks agreed, detection included.
    """

    scenario: str
    items: int
    detection_seconds: float | None = None
    detected_by: str | None = None
    findings: dict[str, str] = field(default_factory=dict)
    rows_lost: int | None = None
    rows_within_rpo: int = 0
    rpo_seconds: float = 0.0
    rto_seconds: float | None = None
    differences: dict[str, Any] = field(default_factory=dict)
    left_over: dict[str, str] = field(default_factory=dict)
    recovery: dict[str, Any] = field(default_factory=dict)
    things_compared: int = 0
    seconds: float = 0.0
    error: str | None = None

    @property
    def verified(self) -> bool:
        """Detected, nothing lost beyond the objective, nothing besides, and every check agrees."""
        equal = bool(self.differences) and all(kind["count"] == 0 for kind in self.differences.values())
        return self.error is None and self.detected_by is not None and equal and not self.left_over

    def detail(self) -> dict[str, Any]:
        """What `restore_drills.detail` keeps."""
        return {
            "items": self.items,
            "detected_by": self.detected_by,
            "findings": self.findings,
            "rows_within_rpo": self.rows_within_rpo,
            "things_compared": self.things_compared,
            "differences": self.differences,
            "checks_that_do_not_agree": self.left_over,
            "recovery": self.recovery,
            "seconds": round(self.seconds, 3),
            "error": self.error,
        }

    def as_metadata(self) -> dict[str, Any]:
        """Plain JSON values for the partition's metadata."""
        return {
            "verified": "yes" if self.verified else "no",
            "detection_seconds": self.detection_seconds,
            "rows_lost": self.rows_lost,
            "rpo_seconds": round(self.rpo_seconds, 3),
            "rto_seconds": self.rto_seconds,
        } | self.detail()
