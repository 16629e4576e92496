"""How reports and repairs look in the UI: tables of differences, coverage and actions, and the words of a check."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from content_orchestration.core.integrity.repair_report import RepairReport
from content_orchestration.core.integrity.report import IntegrityReport, StoredReport, report_chart

_DIFFERENCES = ("kind", "table", "id", "tenant_id", "detail")
_COVERAGE = (
    "comparison", "outcome", "attempted", "compared", "skipped", "differences", "seconds", "bytes_estimated",
    "as_of_sync_id",
)  # fmt: skip
_ACTIONS = ("kind", "table", "id", "action", "outcome", "detail")


def report_metadata(report: IntegrityReport, history: Sequence[StoredReport] | None = None) -> dict[str, Any]:
    """Outcome, exact counts, at most 20 samples a kind, coverage, time, bytes; and a chart where a history is given."""
    told = report.as_metadata()
    shown: dict[str, Any] = {
        "outcome": told["outcome"],
        "summary": told["summary"],
        "report_id": told["report_id"],
        "attempted": told["attempted"],
        "compared": told["compared"],
        "differences": dg.MetadataValue.json(told["differences"]),
        "samples": table(_DIFFERENCES, [_row(sample) for sample in told["samples"]]),
        "coverage": table(_COVERAGE, told["coverage"]),
        "seconds": told["seconds"],
        "bytes_estimated": told["bytes_estimated"],
    }
    if told["unknown"]:
        shown["unknown"] = dg.MetadataValue.json(told["unknown"])
    if history is not None:
        shown["history"] = dg.MetadataValue.md(report_chart(history))
    return shown


def report_check(report: IntegrityReport, name: str | None = None, *, why_not: str = "") -> dg.AssetCheckResult:
    """Passed only where all was looked at and agrees. *Unknown* and *different* have words and metadata of their own.

    Where BigQuery is left out by configuration and nothing else is wrong the check fails as a warning.
    """
    left_out = bool(why_not) and report.outcome == "unknown" and set(report.unknown.values()) == {why_not}
    return dg.AssetCheckResult(
        check_name=name,
        passed=report.outcome == "agree",
        severity=dg.AssetCheckSeverity.WARN if left_out else dg.AssetCheckSeverity.ERROR,
        description=report.summary,
        metadata=report_metadata(report),
    )


def repair_metadata(report: RepairReport) -> dict[str, Any]:
    """Outcomes, and at most 20 actions of each kind and outcome."""
    told = report.as_metadata()
    return {
        "outcome": "dry run" if report.dry_run else "clean" if report.clean else "not clean",
        "summary": told["summary"],
        "report_id": told["report_id"],
        "after_report_id": told["after_report_id"],
        "outcomes": dg.MetadataValue.json(told["outcomes"]),
        "left": told["left"],
        "abandoned_by_earlier_runs": told["abandoned_by_earlier_runs"],
        "problems": dg.MetadataValue.json(told["problems"]),
        "actions": table(_ACTIONS, told["actions"]),
        "seconds": told["seconds"],
    }


def table(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """A table of these columns; None is shown as nothing."""
    numbers = {name for name in names if rows and all(isinstance(row[name], int | float) for row in rows)}
    columns = [dg.TableColumn(name, "float" if name in numbers else "string") for name in names]
    records = [
        dg.TableRecord(
            {name: row[name] if name in numbers else "" if row[name] is None else str(row[name]) for name in names}
        )
        for row in rows
    ]
    return dg.MetadataValue.table(records, dg.TableSchema(columns))


def _row(sample: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: sample[name] for name in _DIFFERENCES[:-1]}
    rest = {name: value for name, value in sample.items() if name not in known}
    return known | {"detail": json.dumps(rest, default=str) if rest else ""}
