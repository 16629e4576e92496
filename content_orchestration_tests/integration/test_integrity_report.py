"""Reports in PostgreSQL: what is kept, what is counted, what is forgotten, and how it reads."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from content_orchestration.core.errors import Permanent
from content_orchestration.core.integrity import report_store
from content_orchestration.core.integrity.findings import Comparison, Difference, Kind
from content_orchestration.core.integrity.report import IntegrityReport, Scope, StoredReport, report_chart
from content_orchestration.core.integrity.report_store import (
    read_differences,
    read_report,
    recent_reports,
    store_report,
)
from content_orchestration.resources.postgres_client import PostgresClient

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
ALL = list(Kind)


@pytest.fixture
def database(database_url: str) -> Iterator[PostgresClient]:
    with PostgresClient(database_url) as client:
        yield client


def differences(kind: Kind, count: int, table: str = "content_items", **detail: Any) -> list[Difference]:
    return [Difference(kind, table, f"{kind}-{number:06}", str(uuid4()), detail) for number in range(count)]


def report_of(*comparisons: Comparison, scope: Scope = Scope.HOURLY, **given: Any) -> IntegrityReport:
    return IntegrityReport(scope, "run", NOW, list(comparisons), 1.5, **given)


def rows(database: PostgresClient, query: str) -> list[dict[str, Any]]:
    with database.connection() as connection:
        return connection.execute(query).fetchall()  # type: ignore[arg-type]


def test_a_report_comes_back_with_every_difference_in_order(database: PostgresClient) -> None:
    found = differences(Kind.BODY_HASH_DIFFERS, 3, found_sha256="x") + differences(Kind.DUPLICATE_DOCUMENT, 2)
    kept = report_of(
        Comparison("bodies", 10, 8, {"waits": 2}, found[:3], bytes_estimated=7, as_of_sync_id=5),
        Comparison("documents", 4, 4, differences=found[3:]),
    )
    number = store_report(database, kept)
    stored = read_report(database, number)

    assert kept.report_id == number
    assert (stored.scope, stored.outcome, stored.started_at, stored.seconds) == (Scope.HOURLY, "different", NOW, 1.5)
    assert (stored.attempted, stored.compared, stored.differences, stored.surplus) == (14, 12, 5, 0)
    assert stored.counts == {"body_hash_differs": 3, "duplicate_document": 2}
    assert [c["name"] for c in stored.comparisons] == ["bodies", "documents"]
    assert stored.comparisons[0]["skipped"] == {"waits": 2}
    again = read_differences(database, number, ALL, 100)
    assert [each.difference for each in again] == found
    assert [each.comparison for each in again] == ["bodies"] * 3 + ["documents"] * 2
    chosen = read_differences(database, number, [Kind.DUPLICATE_DOCUMENT], 1)
    assert [(each.position, each.difference) for each in chosen] == [(3, found[3])]


def test_a_difference_that_two_comparisons_found_is_one(database: PostgresClient) -> None:
    (same,) = differences(Kind.CORRUPT_PAYLOAD, 1, "content_storage_dr")
    kept = report_of(Comparison("rows", differences=[same]), Comparison("deep", differences=[same]))
    assert kept.counts == {"corrupt_payload": 1}
    number = store_report(database, kept)
    assert len(read_differences(database, number, ALL, 10)) == 1


def test_past_the_bound_differences_are_counted_and_not_kept(database: PostgresClient) -> None:
    found = differences(Kind.DOCUMENT_MISSING, 30)
    number = store_report(database, report_of(Comparison("bodies", differences=found)), most=12)
    stored = read_report(database, number)
    assert (stored.differences, stored.surplus, stored.counts) == (30, 18, {"document_missing": 30})
    assert [each.difference for each in read_differences(database, number, ALL, 100)] == found[:12]


def test_old_reports_lose_their_differences_first_and_then_go(
    database: PostgresClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_store, "MOST_IN_ALL", 10)
    monkeypatch.setattr(report_store, "REPORTS_KEPT", 3)
    other = store_report(database, report_of(Comparison("bodies"), scope=Scope.FULL))
    numbers = [
        store_report(database, report_of(Comparison("bodies", differences=differences(Kind.DOCUMENT_MISSING, 4))))
        for _ in range(5)
    ]
    assert [each.report_id for each in recent_reports(database, [Scope.HOURLY])] == numbers[:1:-1]
    assert [each.report_id for each in recent_reports(database, [Scope.FULL])] == [other], "each scope for itself"
    assert [(each.differences, each.surplus) for each in recent_reports(database, [Scope.HOURLY])] == [
        (4, 0), (4, 0), (4, 4),
    ]  # fmt: skip
    kept = rows(database, "SELECT report_id, count(*) AS n FROM integrity_differences GROUP BY 1 ORDER BY 1")
    assert [(row["report_id"], row["n"]) for row in kept] == [(numbers[3], 4), (numbers[4], 4)]
    with pytest.raises(Permanent, match=rf"report_id is {numbers[0]}, and integrity_reports has no such report"):
        read_report(database, numbers[0])


def test_the_newest_report_keeps_its_differences_however_many(
    database: PostgresClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_store, "MOST_IN_ALL", 2)
    number = store_report(database, report_of(Comparison("bodies", differences=differences(Kind.DOCUMENT_MISSING, 5))))
    assert len(read_differences(database, number, ALL, 100)) == 5


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "nan", "\U0001f5dd", "'; DROP", "\\"])
def test_whatever_a_stray_document_carries_can_be_kept(database: PostgresClient, text: str) -> None:
    detail = {"said": text, text: [float("nan"), float("inf"), 1.5, None, {"x": text}], "when": NOW}
    stray = Difference(Kind.DOCUMENT_WITHOUT_ROW, "content_items", text, text, detail)
    number = store_report(database, report_of(Comparison("documents", differences=[stray])))
    (found,) = read_differences(database, number, ALL, 10)
    shown = text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
    assert (found.difference.entity_id, found.difference.tenant_id) == (shown, shown)
    assert found.difference.detail["said"] == shown
    assert found.difference.detail[shown] == ["nan", "inf", 1.5, None, {"x": shown}]


@pytest.mark.parametrize(
    ("comparisons", "outcome", "begins"),
    [
        ([Comparison("a", 3, 3)], "agree", "agree: 3 compared in 1 comparisons."),
        ([Comparison("a", 3, 3), Comparison("b", unknown="is down")], "unknown", "unknown: 1 of 2 comparisons"),
        ([Comparison("a", differences=differences(Kind.VERSION_GAP, 2))], "different", "different: version_gap 2"),
        (
            [Comparison("a", differences=differences(Kind.VERSION_GAP, 1)), Comparison("b", unknown="is down")],
            "different",
            "different: version_gap 1. unknown: 1 of 2",
        ),
        ([Comparison("a", unknown="cut", differences=differences(Kind.VERSION_GAP, 1))], "different", "different: "),
    ],
)  # fmt: skip
def test_unknown_and_different_have_words_of_their_own(
    comparisons: list[Comparison], outcome: str, begins: str
) -> None:
    report = report_of(*comparisons)
    assert report.outcome == outcome
    assert report.summary.startswith(begins)
    assert report.as_metadata()["outcome"] == outcome


def test_samples_are_bounded_and_counts_are_not() -> None:
    found = differences(Kind.VERSION_GAP, 50) + differences(Kind.DOCUMENT_MISSING, 1)
    told = report_of(Comparison("a", 60, 51, {"young": 9}, found), report_id=7).as_metadata()
    assert told["differences"] == {"version_gap": 50, "document_missing": 1}
    assert len(told["samples"]) == 21
    assert told["coverage"][0] == {
        "comparison": "a", "outcome": "different", "attempted": 60, "compared": 51, "skipped": "young: 9",
        "differences": 51, "seconds": 0.0, "bytes_estimated": 0, "as_of_sync_id": 0,
    }  # fmt: skip
    assert "repair_differences takes report 7" in told["summary"]


def stored(number: int, outcome: str, count: int) -> StoredReport:
    return StoredReport(
        number, Scope.HOURLY, None, "run", outcome, NOW, 2.0, 10, 10, count, 0, 0, {}, [], NOW
    )  # fmt: skip


def test_the_chart_shows_one_among_thousands_and_tells_unknown_apart() -> None:
    assert report_chart([]) == "no report has been written yet"
    newest_first = [
        stored(4, "different", 5000),
        stored(3, "unknown", 0),
        stored(2, "different", 1),
        stored(1, "agree", 0),
    ]
    chart = report_chart(newest_first)
    assert chart.startswith("`▁▂?█` differences of the last 4 reports, the highest 5,000; ? is unknown")
    assert chart.splitlines()[-1] == "| 4 | 2026-05-01 12:00:00 | different | 5,000 | 10 | 2.00 |"
    many = report_chart([stored(number, "agree", 0) for number in range(40, 0, -1)])
    assert many.startswith(f"`{'▁' * 30}` differences of the last 30 reports")
    assert len(many.splitlines()) == 14
