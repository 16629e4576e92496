"""What follows the rows: the sums of all parts for the report, and usage of the tenants that were touched."""

from collections.abc import Mapping
from typing import Any

from content_orchestration.core.database import Database
from content_orchestration.core.integrity.findings import Difference, Kind
from content_orchestration.core.quota.usage import reconcile
from content_orchestration.core.replication.tables import ENTITIES
from content_orchestration.core.restore.chunks import CHECKED
from content_orchestration.core.restore.record import RestoreRecord
from content_orchestration.core.restore.report import SAMPLES, RestoreReport, TableOutcome
from content_orchestration.core.restore.target import TABLES, TargetTable
from content_orchestration.core.sql import statement

_TENANTS = 1000


def summarize(
    record: RestoreRecord, tables: Mapping[str, TargetTable], database: Database, report: RestoreReport
) -> None:
    """Fill the report from what every part noted, whichever attempt did it."""
    done = record.done()
    counts, sample = record.set_aside(SAMPLES)
    report.count_quarantine(counts, sample)
    for entity, planned in zip(ENTITIES, record.plan.tables, strict=True):
        outcome = TableOutcome(
            quarantined=sum(
                rows for (name, reason), rows in counts.items() if name == entity.name and reason != "document_replaced"
            )
        )
        parts = done.get(entity.name, {}).values()
        for part in parts:
            _add_rows(outcome, part.get("rows", {}))
            for name, number in part.get("documents", {}).items():
                report.documents[name] = report.documents.get(name, 0) + number
        report.tables[TABLES[entity.name]] = outcome
        report.verification.attempted += planned.rows
        report.verification.compared += planned.rows - outcome.quarantined - outcome.kept
        if entity.name in tables:
            outcome.newer_not_in_history = _in_scope(record, tables[entity.name], database) - outcome.found
        report.verification.skip("kept by on_conflict", outcome.kept)
    for part in done.get(CHECKED, {}).values():
        _add_check(report, part)


def recompute_usage(database: Database, record: RestoreRecord, report: RestoreReport) -> None:
    """Count usage of every tenant that has restored rows. One that the platform does not have is named, not counted."""
    tenants = {
        tenant for parts in record.done().values() for part in parts.values() for tenant in part.get("tenants", ())
    }
    with database.connection() as connection:
        rows = connection.execute(statement("restore/unknown_tenants"), {"ids": sorted(tenants)}).fetchall()
    report.usage_tenants_unknown = [str(row["id"]) for row in rows]
    known = sorted(tenants.difference(report.usage_tenants_unknown))
    # Some at a time, so that the snapshot in which they are counted stays young.
    for at in range(0, len(known), _TENANTS):
        report.usage_tenants += sum(1 for _ in reconcile(database, known[at : at + _TENANTS]))


def _add_rows(outcome: TableOutcome, rows: Mapping[str, Any]) -> None:
    outcome.inserted += rows.get("inserted", 0)
    outcome.updated += rows.get("updated", 0)
    outcome.same += rows.get("same", 0)
    outcome.kept += rows.get("kept", 0)
    defaulted, dropped = outcome.columns_filled_with_defaults, outcome.null_columns_left_out
    outcome.columns_filled_with_defaults = sorted({*defaulted, *rows.get("defaulted", ())})
    outcome.null_columns_left_out = sorted({*dropped, *rows.get("null_dropped", ())})


def _add_check(report: RestoreReport, part: Mapping[str, Any]) -> None:
    """The integrity check of a chunk. One that could not look makes the verification unknown."""
    verification = report.verification
    verification.unknown = verification.unknown or part["unknown"]
    verification.attempted += part["attempted"]
    verification.compared += part["compared"]
    for kind, number in part["differences"].items():
        shown = [row["id"] for row in part["samples"] if row["kind"] == kind]
        verification.differences.append(
            Difference(Kind(kind), "content_items", f"{number} documents", detail={"samples": shown})
        )


def _in_scope(record: RestoreRecord, table: TargetTable, database: Database) -> int:
    scope = record.plan.request.scope
    with database.connection() as connection:
        row = connection.execute(table.in_scope(), {"scope": scope.kind, "ids": list(scope.ids)}).fetchone() or {}
    return int(row["rows"])
