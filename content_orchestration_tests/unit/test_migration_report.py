"""What a run reports: every row in one count, samples bounded, and plain JSON values."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from content_orchestration.core.migration.legacy import CAMPAIGN_ASSETS, CONTENT_ITEMS, LegacyTable
from content_orchestration.core.migration.report import SAMPLES, MigrationReport
from content_orchestration.core.migration.truth import MigrationTruth, unaccounted_rows
from content_orchestration.core.sql import statement


def test_a_report_adds_up_or_says_that_it_does_not() -> None:
    report = MigrationReport("content_items", dry_run=False, read=6, migrated=3, already_there=2)
    assert not report.adds_up
    report.reject("unknown_tenant", "content_items:1")
    assert report.adds_up
    assert report.as_metadata()["adds_up"] is True


def test_reasons_and_notes_are_counted_with_bounded_samples() -> None:
    report = MigrationReport("content_items", dry_run=True)
    for number in range(50):
        report.reject("unknown_tenant", f"r{number}")
        report.note(["malformed_media", "malformed_media", "untitled"], f"n{number}")
    metadata = report.as_metadata()
    assert metadata["quarantined"] == 50
    assert metadata["quarantine_reasons"] == {"unknown_tenant": 50}
    assert metadata["notes"] == {"malformed_media": 100, "untitled": 50}
    assert metadata["samples"] == {
        "unknown_tenant": [f"r{number}" for number in range(SAMPLES)],
        "malformed_media": [f"n{number}" for number in range(SAMPLES)],
        "untitled": [f"n{number}" for number in range(SAMPLES)],
    }
    assert SAMPLES == 20


def test_the_metadata_is_plain_json_with_every_field() -> None:
    report = MigrationReport("campaign_assets", dry_run=False, media_bytes=2**70, seconds=1.23456)
    metadata = report.as_metadata()
    assert json.loads(json.dumps(metadata)) == metadata
    assert metadata["seconds"] == 1.235
    fields = set(MigrationReport.__dataclass_fields__) - {"reasons"}
    assert metadata.keys() == fields | {"adds_up", "quarantine_reasons"}


class _Answers:
    """A database that answers one statement with one row, or none."""

    def __init__(self, row: dict[str, Any] | None) -> None:
        self.asked: list[str] = []
        self._row = row

    @contextmanager
    def connection(self) -> Iterator[Any]:
        yield self

    def execute(self, command: str) -> Any:
        self.asked.append(command)
        return SimpleNamespace(fetchone=lambda: self._row)


@pytest.mark.parametrize("table", [CAMPAIGN_ASSETS, CONTENT_ITEMS])
def test_the_truth_is_counted_from_the_tables(table: LegacyTable) -> None:
    row = {"legacy": 9, "items": 6, "quarantined": 2, "unaccounted": 1, "reasons": "unknown_tenant"}
    database: Any = _Answers(row)
    assert unaccounted_rows(database, table) == MigrationTruth(**row)
    assert database.asked == [statement(f"migration/truth_{table.name}")]


def test_no_answer_is_no_row() -> None:
    database: Any = _Answers(None)
    assert unaccounted_rows(database, CONTENT_ITEMS) == MigrationTruth(0, 0, 0, 0, "")
