"""What results look like in Dagster: reserved keys, values as metadata, reports that are whole or not there."""

import json
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from content_orchestration.presentation import table_metadata, values, write_report


def test_table_metadata_uses_the_keys_that_the_ui_knows() -> None:
    entries = dg.MaterializeResult(metadata=table_metadata("t", [("id", "uuid"), ("n", "bigint")], 3)).metadata or {}
    assert set(entries) == {"dagster/row_count", "dagster/table_name", "dagster/column_schema"}
    assert (entries["dagster/row_count"], entries["dagster/table_name"]) == (3, "t")
    schema = entries["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchema)
    assert [(column.name, column.type) for column in schema.columns] == [("id", "uuid"), ("n", "bigint")]


def test_every_kind_of_value_is_accepted_by_dagster() -> None:
    report = {"a": 1, "b": 1.5, "c": "text", "d": None, "e": [1, {"x": None}], "f": {"k": 1}, "g": True}
    event = dg.AssetMaterialization("asset", metadata=values(report))
    shown = {key: value.value for key, value in event.metadata.items()}
    assert shown == report | {"d": "none"}


def test_a_report_is_written_whole(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "reports"
    path = write_report(folder, "name", {"text": "Zoë 𝄞", "at": datetime(2026, 1, 2, tzinfo=UTC)})
    assert path == folder / "name.json"
    assert json.loads(path.read_text(encoding="utf-8")) == {"text": "Zoë 𝄞", "at": "2026-01-02 00:00:00+00:00"}
    assert [file.name for file in folder.iterdir()] == ["name.json"]


def test_a_report_that_cannot_be_written_leaves_the_former_one(tmp_path: Path) -> None:
    write_report(tmp_path, "name", {"run": 1})
    with pytest.raises(TypeError):
        write_report(tmp_path, "name", {("a", "tuple"): 2})  # type: ignore[dict-item]
    assert json.loads((tmp_path / "name.json").read_text()) == {"run": 1}
