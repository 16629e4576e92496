"""What a comparison found: kinds of difference, one difference, a comparison with its coverage. Nothing looks here."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

SAMPLES = 20
"""Differences of a kind that are shown; all of them are counted, and kept in `integrity_differences`."""


class Kind(StrEnum):
    """The ways in which two copies differ. The value is what reports, tables and repairs say."""

    MISSING_IN_WAREHOUSE = "missing_in_warehouse"
    EXTRA_IN_WAREHOUSE = "extra_in_warehouse"
    DIFFERENT_IN_WAREHOUSE = "different_in_warehouse"
    CORRUPT_PAYLOAD = "corrupt_payload"
    DUPLICATE_IN_WAREHOUSE = "duplicate_in_warehouse"
    TOMBSTONE_MISSING = "tombstone_missing"
    BODY_MISSING_IN_WAREHOUSE = "body_missing_in_warehouse"
    CORRUPT_BODY_IN_WAREHOUSE = "corrupt_body_in_warehouse"
    DOCUMENT_MISSING = "document_missing"
    DOCUMENT_WITHOUT_ROW = "document_without_row"
    DUPLICATE_DOCUMENT = "duplicate_document"
    BODY_HASH_DIFFERS = "body_hash_differs"
    BODY_SIZE_DIFFERS = "body_size_differs"
    DOCUMENT_DIFFERS = "document_differs"
    VERSION_GAP = "version_gap"
    VERSION_DIFFERS = "version_differs"
    SPILL_WITHOUT_ROW = "spill_without_row"
    SPILL_DIFFERS = "spill_differs"
    USAGE_DIFFERS = "usage_differs"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it should be. `entity_id` is a row's key, a document's id or a tenant, by the kind."""

    kind: Kind
    table: str
    entity_id: str
    tenant_id: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Comparison:
    """One comparison: what it attempted, compared and left out and why, and what differs.

    Unknown is not zero: a comparison that could not look has `unknown`, the reason in words, and is not clean.
    """

    name: str
    attempted: int = 0
    compared: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    unknown: str | None = None
    seconds: float = 0.0
    bytes_estimated: int = 0
    as_of_sync_id: int | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> str:
        """`unknown` where it could not look, else `different` or `agree`."""
        return "unknown" if self.unknown else "different" if self.differences else "agree"

    @property
    def counts(self) -> dict[str, int]:
        """Differences by kind, exact."""
        return dict(Counter(str(difference.kind) for difference in self.differences))

    def skip(self, reason: str, number: int = 1) -> None:
        """Count what was left out on purpose."""
        if number:
            self.skipped[reason] = self.skipped.get(reason, 0) + number

    def as_metadata(self) -> dict[str, Any]:
        """Plain JSON values for the UI."""
        return (
            {
                "outcome": self.outcome,
                "attempted": self.attempted,
                "compared": self.compared,
                "skipped": self.skipped,
                "differences": self.counts,
                "samples": samples(self.differences),
                "seconds": round(self.seconds, 3),
                "bytes_estimated": self.bytes_estimated,
                "as_of_sync_id": self.as_of_sync_id,
            }
            | ({"notes": self.notes} if self.notes else {})
            | ({"unknown": self.unknown} if self.unknown else {})
        )


def samples(differences: Iterable[Difference]) -> list[dict[str, Any]]:
    """At most `SAMPLES` differences of each kind, as rows of a table."""
    shown: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    for difference in differences:
        shown[difference.kind] += 1
        if shown[difference.kind] <= SAMPLES:
            rows.append(
                {
                    "kind": str(difference.kind),
                    "table": difference.table,
                    "id": difference.entity_id,
                    "tenant_id": difference.tenant_id,
                }
                | dict(difference.detail)
            )
    return rows
