"""The forecast: exact on lines, unmoved by outliers, silent without history, never a date in the past."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from content_orchestration.core.quota.forecast import HORIZON, LEAST_POINTS, Forecast, Outlook, forecast, trend

GIB = 1024**3
START = datetime(2026, 3, 1, tzinfo=UTC)
Points = list[tuple[datetime, int]]


def hourly(values: list[int]) -> Points:
    return [(START + timedelta(hours=hour), value) for hour, value in enumerate(values)]


def line(first: int, step: int, count: int) -> Points:
    return hourly([first + step * hour for hour in range(count)])


counts = st.integers(LEAST_POINTS, 720)
sizes = st.integers(0, 2**45)
steps = st.integers(-(2**30), 2**30)


@given(st.integers(0, LEAST_POINTS - 1), sizes, st.none() | sizes)
def test_few_points_are_no_history(count: int, first: int, limit: int | None) -> None:
    found = forecast(line(first, 1, count), limit)
    assert found == Forecast(Outlook.NOT_ENOUGH_HISTORY, count)
    assert found.growth_30_days is None
    assert found.text == f"not enough history ({count} of 24 hours)"


@given(sizes, steps, counts)
def test_a_line_is_its_own_trend(first: int, step: int, count: int) -> None:
    assert trend(line(first, step, count)) == pytest.approx(24 * step, rel=1e-9)


@given(st.integers(0, 2**40), st.integers(1, 2**30), counts, st.integers(0, 2**32))
def test_one_wrong_point_in_five_does_not_turn_the_trend(first: int, step: int, count: int, seed: int) -> None:
    """Wrong by any amount, at places that thinning may or may not look at; the slope stays that of the other points."""
    dice = random.Random(seed)
    points = line(first, step, count)
    wrong = dice.sample(range(count), count // 5)
    for index in wrong:
        points[index] = (points[index][0], dice.choice([0, 2**60, dice.randrange(2**50)]))
    kept = [points[index] for index in range(count) if index not in set(wrong)]
    assume(len(kept) >= 2)
    # Thinning may pick more wrong points than a fifth; within the breakdown point the median pair is a true one.
    looked_at = {round(index * (count - 1) / 59) for index in range(60)} if count > 60 else set(range(count))
    assume(len(looked_at & set(wrong)) / len(looked_at) < 0.25)
    assert trend(points) == pytest.approx(24 * step, rel=0.5)


@given(st.lists(sizes, min_size=LEAST_POINTS, max_size=200), st.none() | sizes)
def test_what_a_forecast_promises(values: list[int], limit: int | None) -> None:
    points = hourly(values)
    found = forecast(points, limit)
    latest, used = points[-1]
    assert found.points == len(points)
    assert found.bytes_a_day is not None
    assert (found.outlook is Outlook.NO_LIMIT) == (limit is None)
    assert (found.outlook is Outlook.AT_LIMIT) == (limit is not None and used >= limit)
    assert (found.reaches_limit_at is not None) == (found.outlook in (Outlook.AT_LIMIT, Outlook.REACHES))
    if found.outlook is Outlook.REACHES:
        assert limit is not None
        assert found.reaches_limit_at is not None
        assert latest <= found.reaches_limit_at <= latest + HORIZON
        days = (found.reaches_limit_at - latest) / timedelta(days=1)
        assert used + days * found.bytes_a_day == pytest.approx(limit, rel=1e-6, abs=found.bytes_a_day / 86_400)
    if found.outlook in (Outlook.NOT_GROWING, Outlook.FAR):
        assert limit is not None
        assert found.bytes_a_day <= (limit - used) / 3649


@given(st.lists(sizes, min_size=LEAST_POINTS, max_size=100), sizes, st.integers(1, 9))
def test_a_larger_limit_is_never_met_sooner(values: list[int], limit: int, factor: int) -> None:
    near, far = forecast(hourly(values), limit), forecast(hourly(values), limit * factor)
    if near.reaches_limit_at is None:
        assert far.reaches_limit_at is None
    elif far.reaches_limit_at is not None:
        assert far.reaches_limit_at >= near.reaches_limit_at


@pytest.mark.parametrize(
    ("points", "limit", "outlook", "text"),
    [
        (line(0, GIB // 24, 48), 100 * GIB, Outlook.REACHES, "2026-06-09"),
        (line(0, GIB // 24, 48), None, Outlook.NO_LIMIT, "no limit"),
        (line(5 * GIB, 0, 48), 10 * GIB, Outlook.NOT_GROWING, "not growing"),
        (line(5 * GIB, -1, 48), 10 * GIB, Outlook.NOT_GROWING, "not growing"),
        (line(5 * GIB, 1, 48), 10 * GIB, Outlook.FAR, "not within ten years"),
        (line(9 * GIB, GIB, 48), 10 * GIB, Outlook.AT_LIMIT, "at the limit"),
    ],
)
def test_each_outlook(points: Points, limit: int | None, outlook: Outlook, text: str) -> None:
    found = forecast(points, limit)
    assert (found.outlook, found.text) == (outlook, text)


def test_growth_of_thirty_days() -> None:
    assert forecast(line(0, 1_000, 100), None).growth_30_days == 720_000
