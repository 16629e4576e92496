"""The hourly record of usage, and what it says: use by plan, the largest tenants, and when each reaches its limit.

The arithmetic of the forecast is `forecast.py`'s; one tenant's hours are read by `reading.py`. Old months are kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Transient
from content_orchestration.core.quota.forecast import Forecast, Outlook, forecast
from content_orchestration.core.quota.notice_text import size
from content_orchestration.core.quota.plans import PLANS
from content_orchestration.core.sql import statement

_BARS = "▁▂▃▄▅▆▇█"
_TOP = 10


@dataclass(frozen=True)
class TenantForecast:
    """A tenant, what it uses (bytes), and where that is heading."""

    tenant_id: str
    tenant: str
    plan: str
    limit_bytes: int | None
    used_bytes: int
    forecast: Forecast

    @property
    def percent(self) -> float | None:
        """Used share of the limit in percent, None without a limit."""
        return 100 * self.used_bytes / self.limit_bytes if self.limit_bytes else None

    def as_report(self) -> dict[str, Any]:
        """For the JSON report."""
        reached = self.forecast.reaches_limit_at
        return {
            "tenant_id": self.tenant_id,
            "tenant": self.tenant,
            "plan": self.plan,
            "used_bytes": self.used_bytes,
            "limit_bytes": self.limit_bytes,
            "outlook": str(self.forecast.outlook),
            "points": self.forecast.points,
            "bytes_a_day": self.forecast.bytes_a_day,
            "growth_30_days_bytes": self.forecast.growth_30_days,
            "reaches_limit_at": reached.isoformat() if reached else None,
        }


@dataclass(frozen=True)
class HistoryReport:
    """One hour's record and the outlook after it. `plans` has the points of the last 30 days by plan, oldest first."""

    recorded_at: datetime | None
    tenants: int
    months_prepared: int
    plans: Mapping[str, Sequence[Row]]
    forecasts: Sequence[TenantForecast]

    def as_metadata(self) -> dict[str, Any]:
        """For the asset's metadata, without the charts."""
        counts = {outlook: sum(f.forecast.outlook is outlook for f in self.forecasts) for outlook in Outlook}
        return {
            "recorded_at": self.recorded_at.isoformat() if self.recorded_at else "no tenant to record",
            "tenants": self.tenants,
            "months_prepared": self.months_prepared,
            "used_bytes": sum(f.used_bytes for f in self.forecasts),
            "outlooks": {str(outlook): count for outlook, count in counts.items() if count},
        }


def record_hour(database: Database) -> tuple[datetime | None, int]:
    """Write this hour's row of every tenant that has counters; returns the hour and how many. Repeatable."""
    with database.connection() as connection:
        rows = connection.execute(statement("quota/history_record")).fetchall()
    return (rows[0]["recorded_at"] if rows else None), len(rows)


def prepare_months(database: Database) -> int:
    """Make the partitions of this month and the next two; returns how many. A busy table is left for the next hour."""
    try:
        with database.connection() as connection:
            connection.execute(statement("replication/lock_timeout"))
            row = connection.execute(statement("quota/history_prepare")).fetchone() or {}
    except Transient:
        return 0
    return int(row["created"])


def take_history(database: Database) -> HistoryReport:
    """Prepare months, record the hour, and look 30 days ahead."""
    months = prepare_months(database)
    recorded_at, tenants = record_hour(database)
    return HistoryReport(recorded_at, tenants, months, plan_points(database), forecasts(database))


def plan_points(database: Database) -> dict[str, list[Row]]:
    """Used bytes of each plan over the last 30 days, oldest first, in the plans' order."""
    with database.connection() as connection:
        rows = connection.execute(statement("quota/history_plans")).fetchall()
    by_plan: dict[str, list[Row]] = {tier: [] for tier in PLANS}
    for row in rows:
        by_plan.setdefault(row["plan_tier"], []).append(row)
    return {tier: points for tier, points in by_plan.items() if points}


def forecasts(database: Database) -> list[TenantForecast]:
    """The outlook of every tenant, the largest first."""
    with database.connection() as connection:
        # Bound, though without parameters, so that %% in the file means what it means everywhere else.
        rows = connection.execute(statement("quota/history_points"), {}).fetchall()
    return [
        TenantForecast(
            row["tenant_id"],
            row["name"],
            row["plan_tier"],
            row["limit_bytes"],
            row["used_now"],
            forecast(list(zip(row["recorded_at"], row["used_bytes"], strict=True)), row["limit_bytes"]),
        )
        for row in rows
    ]


def plan_chart(plans: Mapping[str, Sequence[Row]]) -> str:
    """Use by plan as a line of bars each and a table, in Markdown; oldest first, each line on its own scale."""
    if not plans:
        return "no hour is recorded yet"
    lines = ["| plan | last 30 days | tenants | used | of the limits | change |", "|---|---|---:|---:|---:|---:|"]
    for tier, points in plans.items():
        first, last = points[0], points[-1]
        share = f"{100 * last['used_bytes'] / last['limit_bytes']:.1f} %" if last["limit_bytes"] else "no limit"
        lines.append(
            f"| {tier} | `{bars([point['used_bytes'] for point in points])}` | {last['tenants']:,} | "
            f"{size(last['used_bytes'])} | {share} | {_signed(last['used_bytes'] - first['used_bytes'])} |"
        )
    return "\n".join(lines)


def top_tenants(found: Sequence[TenantForecast]) -> str:
    """The ten tenants that use most, with their growth and the day they reach the limit, as a Markdown table."""
    lines = [
        "| tenant | plan | used | of limit | growth in 30 days | reaches the limit |",
        "|---|---|---:|---:|---:|---|",
    ]
    lines += [_line(one) for one in sorted(found, key=lambda one: -one.used_bytes)[:_TOP]]
    return "\n".join(lines) if found else "no tenant has counters yet"


def next_at_limit(found: Sequence[TenantForecast]) -> str:
    """The ten tenants that are at their limit or reach it first, as a Markdown table."""
    due = sorted(
        ((one.forecast.reaches_limit_at, one.tenant_id, one) for one in found if one.forecast.reaches_limit_at),
        key=lambda entry: entry[:2],
    )
    if not due:
        return "no tenant is known to reach its limit within ten years"
    lines = [
        "| tenant | plan | used | of limit | growth in 30 days | reaches the limit |",
        "|---|---|---:|---:|---:|---|",
    ]
    return "\n".join(lines + [_line(one) for _, _, one in due[:_TOP]])


def bars(values: Sequence[int]) -> str:
    """The values as bars between nothing and their greatest."""
    top = max(*values, 1) if values else 1
    return "".join(_BARS[value * (len(_BARS) - 1) // top] for value in values)


def _line(one: TenantForecast) -> str:
    growth = one.forecast.growth_30_days
    name = " ".join(one.tenant.split()).replace("|", "\\|").replace("<", "&lt;")
    return (
        f"| {name} | {one.plan} | {size(one.used_bytes)} | "
        f"{'no limit' if one.percent is None else f'{one.percent:.1f} %'} | "
        f"{'unknown' if growth is None else _signed(growth)} | {one.forecast.text} |"
    )


def _signed(count: int) -> str:
    return f"{'-' if count < 0 else '+'}{size(abs(count))}"
