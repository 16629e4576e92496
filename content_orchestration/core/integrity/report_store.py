"""Reports in `integrity_reports` and their differences in `integrity_differences`. What is in them is `report.py`."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from content_orchestration.core.database import Database
from content_orchestration.core.errors import Permanent
from content_orchestration.core.integrity.findings import Difference, Kind
from content_orchestration.core.integrity.report import CHARTED, IntegrityReport, Scope, StoredReport
from content_orchestration.core.sql import statement

# Differences kept one by one: of one report, and of all of them together. What is beyond is counted by kind.
MOST_IN_REPORT = 100_000
MOST_IN_ALL = 1_000_000
_PORTION = 10_000
REPORTS_KEPT = 1000
"""Reports of each scope; hourly ones reach back 41 days."""


@dataclass(frozen=True)
class FoundDifference:
    """A difference as a report keeps it. `position` names it within its report."""

    position: int
    comparison: str
    difference: Difference


def store_report(database: Database, report: IntegrityReport, *, most: int = MOST_IN_REPORT) -> int:
    """Write the report with at most `most` of its differences, all or nothing; sets and returns its id.

    Raises `Transient` when PostgreSQL cannot be reached.
    """
    found = report.differences
    values = {
        "scope": str(report.scope),
        "tenant_id": UUID(report.tenant_id) if report.tenant_id else None,
        "run_id": report.run_id,
        "outcome": report.outcome,
        "started_at": report.started_at,
        "seconds": report.seconds,
        "attempted": sum(c.attempted for c in report.comparisons),
        "compared": sum(c.compared for c in report.comparisons),
        "differences": len(found),
        "surplus": max(0, len(found) - most),
        "bytes_estimated": sum(c.bytes_estimated for c in report.comparisons),
        "counts": json.dumps(report.counts),
        "comparisons": _json([{"name": c.name} | c.as_metadata() for c in report.comparisons]),
    }
    with database.connection() as connection, connection.cursor() as cursor:
        row = cursor.execute(statement("integrity/report_insert"), values).fetchone() or {}
        report_id = int(row["report_id"])
        for start in range(0, min(len(found), most), _PORTION):
            portion = found[start : min(start + _PORTION, most)]
            columns = {
                "report_id": report_id,
                "position": list(range(start, start + len(portion))),
                "comparison": [comparison for comparison, _ in portion],
                "kind": [str(each.kind) for _, each in portion],
                "table_name": [each.table for _, each in portion],
                "entity_id": [_text(each.entity_id) for _, each in portion],
                "tenant_id": [_text(each.tenant_id) for _, each in portion],
                "detail": [_json(dict(each.detail)) for _, each in portion],
            }
            cursor.execute(statement("integrity/differences_insert"), columns)
        kept = {"scope": str(report.scope), "keep": REPORTS_KEPT, "most": MOST_IN_ALL, "report_id": report_id}
        cursor.execute(statement("integrity/differences_forget"), kept)
        cursor.execute(statement("integrity/reports_forget"), kept)
    report.report_id = report_id
    return report_id


def read_report(database: Database, report_id: int) -> StoredReport:
    """A stored report. Raises `Permanent` where there is none under this id."""
    with database.connection() as connection:
        row = connection.execute(statement("integrity/report_read"), {"report_id": report_id}).fetchone()
    if row is None:
        raise Permanent(
            f"report_id is {report_id}, and integrity_reports has no such report: take the number from the metadata of "
            "integrity_report or of a failed check; the newest 1,000 of each scope are kept"
        )
    return _stored(row)


def recent_reports(database: Database, scopes: Sequence[Scope], most: int = CHARTED) -> list[StoredReport]:
    """The newest reports of these scopes, newest first."""
    with database.connection() as connection:
        rows = connection.execute(
            statement("integrity/reports_recent"), {"scopes": [str(scope) for scope in scopes], "most": most}
        ).fetchall()
    return [_stored(row) for row in rows]


def read_differences(database: Database, report_id: int, kinds: Sequence[Kind], most: int) -> list[FoundDifference]:
    """At most `most` differences of these kinds, those first that no repair has settled."""
    with database.connection() as connection:
        rows = connection.execute(
            statement("integrity/differences_read"),
            {"report_id": report_id, "kinds": [str(kind) for kind in kinds], "most": most},
        ).fetchall()
    return [
        FoundDifference(
            row["position"],
            row["comparison"],
            Difference(Kind(row["kind"]), row["table_name"], row["entity_id"], row["tenant_id"], row["detail"]),
        )
        for row in rows
    ]


def _stored(row: dict[str, Any]) -> StoredReport:
    return StoredReport(**{**row, "scope": Scope(row["scope"])})


def _text(value: str | None) -> str | None:
    """What PostgreSQL can hold: a stray document may carry a zero byte or half a surrogate pair in its id."""
    return None if value is None else value.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def _json(value: Any) -> str:
    """JSON that jsonb takes: it has no zero byte and no half of a surrogate pair, so both go as visible text."""
    return json.dumps(_clean(value), default=str)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return {str(_clean(str(key))): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    # jsonb has no NaN and no infinity.
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
