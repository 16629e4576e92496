"""Where a tenant's usage is heading: a robust trend over hourly points, and the day on which it meets the limit.

Pure arithmetic. Reading the points and showing the result do not belong here; `history.py` does both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import combinations
from statistics import median

LEAST_POINTS = 24
"""Fewer hourly points than these are the noise of one day."""
HORIZON = timedelta(days=3650)
"""A date further away than this says no more than that the tenant has room."""
_MOST_POINTS = 60  # 1,770 pairs take 0.5 ms; all 720 hours of a month would be 258,840 pairs a tenant.
_DAY = 86_400.0


class Outlook(StrEnum):
    """What a forecast can say."""

    NOT_ENOUGH_HISTORY = "not enough history"
    NO_LIMIT = "no limit"
    AT_LIMIT = "at the limit"
    NOT_GROWING = "not growing"
    FAR = "not within ten years"
    REACHES = "reaches its limit"


@dataclass(frozen=True)
class Forecast:
    """A trend. Bytes a day and the growth of 30 days are None where there is not enough history."""

    outlook: Outlook
    points: int
    bytes_a_day: float | None = None
    reaches_limit_at: datetime | None = None

    @property
    def growth_30_days(self) -> int | None:
        """Bytes that 30 days add, rounded; negative where usage shrinks."""
        return None if self.bytes_a_day is None else round(30 * self.bytes_a_day)

    @property
    def text(self) -> str:
        """The outlook in words, with the date or the number of points where there is one."""
        if self.outlook is Outlook.REACHES and self.reaches_limit_at is not None:
            return f"{self.reaches_limit_at:%Y-%m-%d}"
        if self.outlook is Outlook.NOT_ENOUGH_HISTORY:
            return f"{self.outlook} ({self.points} of {LEAST_POINTS} hours)"
        return str(self.outlook)


def trend(points: Sequence[tuple[datetime, int]]) -> float:
    """Bytes a day by Theil and Sen: the median slope of all pairs, which up to 29 % of wrong points do not move far.

    The points have different times; at least two of them are needed.
    """
    thinned = _thinned(points)
    return median(
        (later[1] - earlier[1]) / ((later[0] - earlier[0]).total_seconds() / _DAY)
        for earlier, later in combinations(thinned, 2)
    )


def forecast(points: Sequence[tuple[datetime, int]], limit_bytes: int | None) -> Forecast:
    """The trend of hourly points (UTC, used bytes), oldest first, and when it meets the limit from the newest one on.

    The newest point is what the tenant uses; a None limit means that there is none.
    """
    count = len(points)
    if count < LEAST_POINTS:
        return Forecast(Outlook.NOT_ENOUGH_HISTORY, count)
    slope = trend(points)
    latest, used = points[-1]
    if limit_bytes is None:
        return Forecast(Outlook.NO_LIMIT, count, slope)
    if used >= limit_bytes:
        return Forecast(Outlook.AT_LIMIT, count, slope, latest)
    if slope <= 0:
        return Forecast(Outlook.NOT_GROWING, count, slope)
    days = (limit_bytes - used) / slope
    if days > HORIZON / timedelta(days=1):
        return Forecast(Outlook.FAR, count, slope)
    return Forecast(Outlook.REACHES, count, slope, latest + timedelta(days=days))


def _thinned(points: Sequence[tuple[datetime, int]]) -> Sequence[tuple[datetime, int]]:
    """At most `_MOST_POINTS` of them, evenly spread, the first and the last among them."""
    count = len(points)
    if count <= _MOST_POINTS:
        return points
    return [points[round(index * (count - 1) / (_MOST_POINTS - 1))] for index in range(_MOST_POINTS)]
