"""Whether past drills prove the promise, and how they are shown. Values only."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from content_orchestration.core.drill.record import PastDrill
from content_orchestration.core.drill.report import drills_chart, judge

NOW = datetime(2026, 1, 10, 4, tzinfo=UTC)
NAMES = ("zerodb_emptied", "bad_update")
DAY = 86400.0


def drill(scenario: str, *, age: float = DAY, **given: Any) -> PastDrill:
    values: dict[str, Any] = {
        "finished_at": NOW, "detection_seconds": 0.5, "rows_lost": 0, "rpo_seconds": 0.0, "rto_seconds": 4.0,
        "verified": True, "run_id": "run", "detected_by": "bodies_are_true", "error": None, "items": 200,
    }  # fmt: skip
    started = NOW - timedelta(seconds=age)
    return PastDrill(uuid.uuid4(), scenario, started, age_seconds=age, **(values | given))


def test_every_scenario_proved_lately_passes() -> None:
    verdict = judge([drill(name) for name in NAMES], NAMES)
    assert verdict.passed
    assert verdict.summary == "every disaster was recovered from in the last 8 days, in time, without loss"


def test_no_drill_yet_is_not_a_failed_drill() -> None:
    verdict = judge([], NAMES)
    assert (verdict.passed, verdict.never) == (False, True)
    assert verdict.summary.startswith("no drill has run yet: launch the job run_drills")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"age": 8 * DAY + 1}, "the last drill was 8.0 days ago, at most 8 are allowed"),
        ({"finished_at": None, "verified": False}, "the drill of 2026-01-09 04:00 did not finish (run run)"),
        ({"verified": False}, "was not verified"),
        ({"verified": False, "error": "Permanent: no"}, "was not verified (Permanent: no)"),
        ({"rows_lost": 3}, "lost 3 rows and documents beyond the recovery point objective"),
        ({"rto_seconds": 3600.0}, "took 3600 s, at most 3600 are allowed"),
    ],
)
def test_each_broken_promise_is_named(bad: dict[str, Any], reason: str) -> None:
    verdict = judge([drill("bad_update", **bad), drill("zerodb_emptied")], NAMES)
    assert (verdict.passed, verdict.never) == (False, False)
    assert verdict.summary == f"bad_update: {reason}"


def test_a_scenario_that_was_left_out_is_named() -> None:
    assert judge([drill("bad_update")], NAMES).summary == "zerodb_emptied: was never drilled"


def test_the_last_drill_counts_and_no_earlier_one() -> None:
    drills = [drill("bad_update"), drill("zerodb_emptied"), drill("bad_update", age=2 * DAY, verified=False)]
    assert judge(drills, NAMES).passed
    drills[0] = drill("bad_update", verified=False)
    assert not judge(drills, NAMES).passed


def test_just_within_the_limits_passes() -> None:
    drills = [drill("bad_update", age=8 * DAY, rto_seconds=3599.9), drill("zerodb_emptied")]
    assert judge(drills, NAMES).passed


def test_the_chart_shows_old_to_new_on_one_scale_and_marks_what_was_not_verified() -> None:
    chart = drills_chart(
        [
            drill("bad_update", rto_seconds=8.0),
            drill("bad_update", age=2 * DAY, verified=False, rto_seconds=None, rows_lost=None),
            drill("bad_update", age=3 * DAY, rto_seconds=1.0),
        ],
        NAMES,
    )
    assert "| bad_update | `▁x█` | 2026-01-09 04:00 | bodies_are_true in 0.5 s | 0 | 0.0 | 8.0 | yes |" in chart
    assert "| zerodb_emptied | | never | | | | | no |" in chart
    assert "The highest bar is 8.0 s" in chart


def test_a_chart_of_what_was_never_measured() -> None:
    unmeasured = drill(
        "bad_update", verified=False, rows_lost=None, rto_seconds=None, detection_seconds=None, rpo_seconds=None,
        detected_by=None,
    )  # fmt: skip
    assert "| bad_update | `x` | 2026-01-09 04:00 | nobody in ? s | ? | ? | ? | no |" in drills_chart(
        [unmeasured], NAMES
    )
    assert drills_chart([], NAMES) == "no drill has run yet"
