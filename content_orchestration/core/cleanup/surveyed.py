"""What the newest integrity report says of documents: which no row names, and which are stored more than once.

The comparison itself is `core/integrity/documents.py`; it reads every document, so cleanup does not repeat it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from content_orchestration.core.database import Database
from content_orchestration.core.integrity.findings import Difference, Kind
from content_orchestration.core.integrity.report import Scope
from content_orchestration.core.integrity.report_store import read_differences, recent_reports

OLDEST_REPORT = timedelta(hours=26)
"""An hourly report fails for a day before what it said is too old to act on."""
MOST_FINDINGS = 10_000
"""Findings of each kind that are read of a report: what is left comes with the next one."""
_COMPARISON = "documents"
_KINDS = (Kind.DOCUMENT_WITHOUT_ROW, Kind.DUPLICATE_DOCUMENT)


@dataclass(frozen=True)
class Survey:
    """Findings about documents, at most so many of each, and how many there were. `unknown` says why there are none."""

    differences: Sequence[Difference] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    documents: int = 0
    unknown: str | None = None

    def of(self, kind: Kind) -> list[Difference]:
        """The findings of one kind."""
        return [each for each in self.differences if each.kind == kind]


def newest_survey(database: Database, *, now: datetime, most: int = MOST_FINDINGS) -> Survey:
    """The newest report over all tenants, if it is young enough and could look. `now` is the database's time in UTC."""
    reports = recent_reports(database, [Scope.HOURLY, Scope.FULL], 1)
    if not reports:
        return Survey(unknown="no_integrity_report")
    report = reports[0]
    if now - report.started_at > OLDEST_REPORT:
        return Survey(unknown="integrity_report_too_old")
    compared = next((each for each in report.comparisons if each["name"] == _COMPARISON), None)
    if compared is None or compared["outcome"] == "unknown":
        return Survey(unknown="integrity_could_not_look")
    found = [
        each.difference
        for kind in _KINDS
        for each in read_differences(database, report.report_id, [kind], most)
        if each.comparison == _COMPARISON
    ]
    return Survey(found, compared["differences"], compared["attempted"])
