"""How results look in the Dagster UI: reserved metadata keys, column schemas, JSON reports. Nothing is decided here."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg


def table_metadata(table: str, columns: Sequence[tuple[str, str] | tuple[str, str, str]], rows: int) -> dict[str, Any]:
    """Row count, table name and column schema (name, type, description if any) under the keys that the UI knows."""
    return {
        "dagster/row_count": rows,
        "dagster/table_name": table,
        "dagster/column_schema": dg.TableSchema([dg.TableColumn(*column) for column in columns]),
    }


def values(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report's values as metadata; nested ones become JSON."""
    return {
        key: dg.MetadataValue.json(value) if isinstance(value, dict | list) else "none" if value is None else value
        for key, value in report.items()
    }


def write_report(folder: Path, name: str, report: Mapping[str, Any]) -> Path:
    """Write a report as JSON, whole or not at all, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.json"
    draft = target.with_suffix(".partial")
    draft.write_text(json.dumps(report, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    draft.replace(target)
    return target
