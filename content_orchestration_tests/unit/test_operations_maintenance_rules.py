"""When a table calls for VACUUM and an index for REINDEX, how sizes read, and how long a pass may take."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from content_orchestration.core.errors import Permanent
from content_orchestration.core.operations.budget import Budget
from content_orchestration.core.operations.maintenance import Action, MaintenanceReport
from content_orchestration.core.operations.rules import (
    BLOATED_BYTES,
    OLD_TRANSACTIONS,
    Step,
    reindex_due,
    vacuum_due,
    why_vacuum,
)
from content_orchestration.core.operations.sizes import Index, SizeReport, Table, size, sizes_table, unused_table

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def table(**given: Any) -> dict[str, Any]:
    return {
        "name": "t", "ours": True, "live_rows": 100_000, "dead_rows": 0, "changed_rows": 0, "transaction_age": 1000,
        "table_bytes": 2**24,
    } | given  # fmt: skip


def index(**given: Any) -> dict[str, Any]:
    return {
        "name": "i", "table_of": "t", "bytes": 4 * BLOATED_BYTES, "needed_bytes": 4 * BLOATED_BYTES, "scans": 5,
        "bound_to_rule": False, "ours": True, "valid": True, "exclusion": False,
    } | given  # fmt: skip


@pytest.mark.parametrize(
    ("given", "calls"),
    [
        ({}, False),
        ({"dead_rows": 9_999}, False),
        ({"dead_rows": 10_000}, True),
        ({"live_rows": 50, "dead_rows": 999}, False),
        ({"live_rows": 50, "dead_rows": 1_000}, True),
        ({"changed_rows": 9_999}, False),
        ({"changed_rows": 10_000}, True),
        ({"transaction_age": OLD_TRANSACTIONS - 1}, False),
        ({"transaction_age": OLD_TRANSACTIONS}, True),
    ],
)
def test_what_calls_for_vacuum(given: dict[str, Any], calls: bool) -> None:
    assert bool(why_vacuum(table(**given))) is calls
    assert bool(vacuum_due([table(**given)])) is calls
    assert not vacuum_due([table(**given, ours=False)])


def test_the_oldest_transactions_come_first_and_then_the_most_dead_rows() -> None:
    rows = [
        table(name="some", dead_rows=20_000),
        table(name="more", dead_rows=50_000),
        table(name="old", transaction_age=OLD_TRANSACTIONS),
    ]
    assert [step.relation for step in vacuum_due(rows)] == ["old", "more", "some"]


@pytest.mark.parametrize(
    ("given", "calls"),
    [
        ({}, False),
        ({"needed_bytes": 2 * BLOATED_BYTES + 1}, False),
        ({"needed_bytes": 2 * BLOATED_BYTES}, True),
        ({"bytes": BLOATED_BYTES - 1, "needed_bytes": 0}, False),
        ({"bytes": BLOATED_BYTES, "needed_bytes": 0}, True),
        ({"needed_bytes": None}, False),
        ({"needed_bytes": 0, "valid": False}, False),
        ({"needed_bytes": 0, "ours": False}, False),
        ({"needed_bytes": 0, "exclusion": True}, False),
        ({"needed_bytes": 0, "bound_to_rule": True}, True),
    ],
)
def test_what_calls_for_reindex(given: dict[str, Any], calls: bool) -> None:
    assert bool(reindex_due([index(**given)])) is calls


def test_the_most_wasteful_index_comes_first() -> None:
    rows = [index(name="a", needed_bytes=2**20), index(name="b", needed_bytes=0)]
    assert [step.relation for step in reindex_due(rows)] == ["b", "a"]


def test_a_budget_counts_down_to_nothing() -> None:
    now = [10.0]
    budget = Budget(5, lambda: now[0])
    now[0] = 13.0
    assert (budget.spent, budget.left) == (3.0, 2.0)
    now[0] = 100.0
    assert budget.left == 0.0
    with pytest.raises(Permanent, match="more than 0"):
        Budget(0)


def report(count: int = 1, **given: Any) -> SizeReport:
    earlier = [(NOW - timedelta(days=7), 2**20), (NOW, 2**21)]
    rows = [Table(f"t{number}", 2**20, 2**19, 1234, 5, None, earlier) for number in range(count)]
    return SizeReport(NOW, **({"tables": rows, "unused_indexes": [], "counted_since": None} | given))


def test_the_report_reads() -> None:
    text = sizes_table(report())
    assert "| t0 | 1,234 | 5 | 1.0 MiB | 512.0 KiB | unknown | -512.0 KiB | `" in text
    assert "and 5 smaller ones" in sizes_table(report(45))
    first = Table("t", 10, 0, 1, 0, 2048, [])
    assert "| 2.0 KiB | first report |" in sizes_table(report(tables=[first]))
    assert "was read" in unused_table(report())
    unread = [Index("i", "t", 2**20, None, 0, False)]
    assert "since the database was made" in unused_table(report(unused_indexes=unread))
    young = unused_table(report(unused_indexes=unread, counted_since=NOW - timedelta(days=3)))
    assert "too short to judge by" in young
    assert "| i | t | 1.0 MiB |" in young
    old = unused_table(report(unused_indexes=unread, counted_since=NOW - timedelta(days=300)))
    assert "too short" not in old


def test_sizes_read() -> None:
    assert [size(n) for n in (0, 1023, 1024, 5 * 2**20, 3 * 2**30, 2**41, -2048)] == [
        "0 B", "1023 B", "1.0 KiB", "5.0 MiB", "3.0 GiB", "2.0 TiB", "-2.0 KiB",
    ]  # fmt: skip


def test_a_pass_reads() -> None:
    step = Step("reindex", "i", "3.0 MiB of 4.0 MiB is bloat", 4 * 2**20)
    told = MaintenanceReport(False, [Action(step, "done", None, 1.5, 2**20), Action(step, "failed", "disk full")])
    assert told.failed[0].detail == "disk full"
    assert told.as_metadata()["bytes_freed"] == 3 * 2**20
    assert "| reindex | i | 3.0 MiB of 4.0 MiB is bloat | done | 4.0 MiB | 1.0 MiB | 1.5 |" in told.as_markdown()
    assert "failed: disk full" in told.as_markdown()
    assert MaintenanceReport(True).as_markdown() == "Nothing calls for maintenance."
