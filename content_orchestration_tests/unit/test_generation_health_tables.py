"""How health looks in the UI: charts and tables as Markdown, from nothing and from much."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from content_orchestration.core.generation.health import (
    Cost,
    HealthReport,
    OpenBatch,
    batches_table,
    costs_table,
    failures_table,
    throughput_chart,
)


def hours(*completed: int) -> list[dict[str, Any]]:
    start = datetime(2026, 5, 1, tzinfo=UTC)
    return [
        {"hour": start + timedelta(hours=n), "completed": count, "failed": n % 2, "cancelled": 0}
        for n, count in enumerate(completed)
    ]


def batch(**fields: Any) -> OpenBatch:
    given: dict[str, Any] = {
        "batch_id": uuid4(), "tenant_id": uuid4(), "priority": 0, "queued": 5, "running": 2, "storing": 3, "ended": 3,
        "live": 1, "expired": 1, "waiting_seconds": 4.2, "is_over": False, "age_seconds": 60.0,
    }  # fmt: skip
    return OpenBatch(**given | fields)


def test_nothing_is_said_in_words() -> None:
    assert throughput_chart([]) == throughput_chart(hours(0)) == "nothing has ended within 24 hours"
    assert failures_table([]) == "nothing has failed within 24 hours"
    assert costs_table([]) == "no provider was called this month"
    assert batches_table([]) == "no batch is open"
    told = HealthReport([], [], [], []).as_metadata()
    assert (told["queue_depth"], told["oldest_wait_seconds"], told["completed_this_hour"]) == (0, 0.0, 0)


def test_the_chart_has_a_bar_an_hour() -> None:
    chart = throughput_chart(hours(*range(24)))
    assert "completed in each of 24 hours, at most 23" in chart
    assert "failed in each of 24 hours, at most 1" in chart
    assert chart.count("| 2026-05-01 ") == 6


def test_failures_by_category() -> None:
    rows = [{"category": "timeout", "items": 2, "attempts": 6}, {"category": "quota", "items": 1, "attempts": 0}]
    table = failures_table(rows)
    assert "| timeout | `█` | 2 | 6 |" in table
    assert "| quota |" in table


def test_costs_name_the_dearest_and_add_up_the_rest() -> None:
    costs = [Cost(f"T|{n}", "openai", 1, 10, 20, Decimal("0.5")) for n in range(23)]
    table = costs_table(costs)
    assert "| T\\|0 | openai | 1 | 10 | 20 | 0.5000 |" in table
    assert "| 3 more | | 3 | | | 1.5000 |" in table
    assert "more |" not in costs_table(costs[:20])


def test_open_batches_those_that_wait_longest_first() -> None:
    first, second = batch(waiting_seconds=None), batch(waiting_seconds=1234.0)
    lines = batches_table([first, second]).splitlines()
    assert str(second.batch_id) in lines[2]
    assert lines[2].endswith("| 1,234 |")
    assert lines[3].endswith("|  |")
    told = HealthReport(
        [first, second], hours(1, 2), [{"category": "quota", "items": 1, "attempts": 0}], []
    ).as_metadata()
    assert (told["queue_depth"], told["being_worked"], told["held_by_the_dead"]) == (10, 2, 2)
    assert (told["oldest_wait_seconds"], told["completed_24_hours"]) == (1234.0, 3)
    assert (told["failures_24_hours"], told["failed_attempts_24_hours"]) == ({"quota": 1}, {})
