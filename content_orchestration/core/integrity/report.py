"""What a run of comparisons found, as one report: its outcome, its numbers, its words. Keeping it is `report_store.py`.

What is compared is decided in `survey.py`, how in the modules that it names.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from content_orchestration.core.integrity.findings import Comparison, Difference, samples


class Scope(StrEnum):
    """What a report covers. The value is what tables, files and charts say."""

    HOURLY = "hourly"
    FULL = "full"
    TENANT = "tenant"
    SYNC = "sync"
    SCRUB = "scrub"
    REPAIR = "repair"


@dataclass
class IntegrityReport:
    """Comparisons that were made together. `report_id` is there once it is stored."""

    scope: Scope
    run_id: str
    started_at: datetime
    comparisons: list[Comparison] = field(default_factory=list)
    seconds: float = 0.0
    tenant_id: str | None = None
    report_id: int | None = None

    @property
    def differences(self) -> list[tuple[str, Difference]]:
        """Every difference with the name of the comparison that found it, each once."""
        seen: set[tuple[str, str, str]] = set()
        found: list[tuple[str, Difference]] = []
        for comparison in self.comparisons:
            for difference in comparison.differences:
                # The cheap and the deep tier see the same row; it is one thing to repair.
                key = (difference.kind, difference.table, difference.entity_id)
                if key not in seen:
                    seen.add(key)
                    found.append((comparison.name, difference))
        return found

    @property
    def counts(self) -> dict[str, int]:
        """Differences by kind, exact."""
        counted: dict[str, int] = {}
        for _, difference in self.differences:
            counted[str(difference.kind)] = counted.get(str(difference.kind), 0) + 1
        return counted

    @property
    def unknown(self) -> dict[str, str]:
        """The comparisons that could not look, with the reason."""
        return {c.name: c.unknown for c in self.comparisons if c.unknown}

    @property
    def outcome(self) -> str:
        """`different` where anything differs, else `unknown` where anything could not be looked at, else `agree`.

        A difference that was seen is a fact, whatever could not be seen beside it; `summary` says both.
        """
        if any(comparison.differences for comparison in self.comparisons):
            return "different"
        return "unknown" if self.unknown else "agree"

    @property
    def summary(self) -> str:
        """One or two sentences for the UI. Each begins with its own word: unknown is not different."""
        compared = sum(comparison.compared for comparison in self.comparisons)
        parts = []
        if self.counts:
            listed = ", ".join(f"{kind} {number:,}" for kind, number in sorted(self.counts.items()))
            repair = f" (repair_differences takes report {self.report_id})" if self.report_id else ""
            parts.append(f"different: {listed}{repair}.")
        if self.unknown:
            names: dict[str, list[str]] = {}
            for name, reason in self.unknown.items():
                names.setdefault(reason, []).append(name)
            reasons = "; ".join(f"{', '.join(named)}: {reason}" for reason, named in names.items())
            parts.append(
                f"unknown: {len(self.unknown)} of {len(self.comparisons)} comparisons could not look. {reasons}"
            )
        if not parts:
            parts.append(f"agree: {compared:,} compared in {len(self.comparisons)} comparisons.")
        return " ".join(parts)

    def coverage(self) -> list[dict[str, Any]]:
        """A row a comparison: attempted, compared, left out and why, differences, seconds, bytes."""
        return [
            {
                "comparison": c.name,
                "outcome": c.outcome,
                "attempted": c.attempted,
                "compared": c.compared,
                "skipped": "; ".join(f"{reason}: {number:,}" for reason, number in c.skipped.items()),
                "differences": len(c.differences),
                "seconds": round(c.seconds, 3),
                "bytes_estimated": c.bytes_estimated,
                "as_of_sync_id": c.as_of_sync_id or 0,
            }
            for c in self.comparisons
        ]

    def as_metadata(self) -> dict[str, Any]:
        """Plain JSON values: for the report's file and for the UI."""
        return {
            "report_id": self.report_id or 0,
            "scope": str(self.scope),
            "tenant_id": self.tenant_id,
            "run_id": self.run_id,
            "started_at": self.started_at.isoformat(),
            "outcome": self.outcome,
            "summary": self.summary,
            "attempted": sum(c.attempted for c in self.comparisons),
            "compared": sum(c.compared for c in self.comparisons),
            "differences": self.counts,
            "unknown": self.unknown,
            "samples": samples(difference for _, difference in self.differences),
            "coverage": self.coverage(),
            "seconds": round(self.seconds, 3),
            "bytes_estimated": sum(c.bytes_estimated for c in self.comparisons),
        }


@dataclass(frozen=True)
class StoredReport:
    """A report as `integrity_reports` keeps it, without its differences."""

    report_id: int
    scope: Scope
    tenant_id: str | None
    run_id: str
    outcome: str
    started_at: datetime
    seconds: float
    attempted: int
    compared: int
    differences: int
    surplus: int
    bytes_estimated: int
    counts: dict[str, int]
    comparisons: list[dict[str, Any]]
    written_at: datetime


_BARS = "▁▂▃▄▅▆▇█"
CHARTED = 30
"""Reports in the chart."""


def report_chart(reports: Sequence[StoredReport]) -> str:
    """Differences of the last reports as a line of bars and a table, in Markdown; oldest first, given newest first.

    `?` stands for a report that could not look and saw no difference: neither high nor low.
    """
    shown = list(reversed(reports[:CHARTED]))
    if not shown:
        return "no report has been written yet"
    highest = max(report.differences for report in shown)
    bars = "".join("?" if r.outcome == "unknown" else _bar(r.differences, max(highest, 1)) for r in shown)
    lines = [
        f"`{bars}` differences of the last {len(shown)} reports, the highest {highest:,}; ? is unknown",
        "",
        "| report | written | outcome | differences | compared | took s |",
        "|---:|---|---|---:|---:|---:|",
    ]
    lines += [
        f"| {r.report_id} | {r.written_at:%Y-%m-%d %H:%M:%S} | {r.outcome} | {r.differences:,} | {r.compared:,} | "
        f"{r.seconds:.2f} |"
        for r in shown[-10:]
    ]
    return "\n".join(lines)


def _bar(number: int, top: int) -> str:
    """The lowest bar is for none at all, so that one difference among thousands shows."""
    return _BARS[0] if number == 0 else _BARS[max(1, round(number / top * (len(_BARS) - 1)))]
