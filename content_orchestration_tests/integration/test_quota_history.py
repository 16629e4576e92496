"""The hourly record on the real server: repeatable, by month, old months kept; charts and outlooks from it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from content_orchestration.core.quota.forecast import Outlook
from content_orchestration.core.quota.history import (
    bars,
    forecasts,
    next_at_limit,
    plan_chart,
    plan_points,
    prepare_months,
    take_history,
    top_tenants,
)
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.quota.limits import over_limit, overdue, plans_behind, who
from content_orchestration.core.quota.usage import compute_usage
from content_orchestration.core.sql import statement
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.usage_rows import GIB, brand, content, run, tenant

HOUR = timedelta(hours=1)


@pytest.fixture
def database(database_url: str) -> Iterator[PostgresClient]:
    with PostgresClient(database_url) as client:
        yield client


def this_hour() -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def months(database: PostgresClient) -> list[str]:
    query = "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'usage_history'::regclass"
    return sorted(row["name"] for row in run(database, query))


def grown(database: PostgresClient, owner: str, first: int, step: int, hours: int) -> None:
    """`hours` hourly rows of a tenant that grew by `step` bytes an hour, the newest an hour ago."""
    run(
        database,
        "INSERT INTO usage_history (tenant_id, recorded_at, plan_tier, limit_bytes, used_bytes, reserved_bytes, "
        "content_items, media_files, media_bytes) SELECT tenant_id, %(now)s - n * interval '1 hour', plan_tier, "
        "limit_bytes, %(first)s + (%(hours)s - n)::bigint * %(step)s, 0, 0, 0, 0 FROM content_quota_usage, "
        "generate_series(1, %(hours)s) AS n WHERE tenant_id = %(owner)s",
        {"now": this_hour(), "hours": hours, "owner": owner, "first": first, "step": step},
    )


def test_an_hour_is_recorded_once_and_its_last_state_stands(database: PostgresClient) -> None:
    owner = tenant(database, "starter")
    assert take_history(database).as_metadata()["recorded_at"] == "no tenant to record"
    compute_usage(database, owner)
    before = this_hour()
    first = take_history(database)
    content(database, owner, "post", 700)
    compute_usage(database, owner)
    second = take_history(database)
    assert second.recorded_at in (before, before + HOUR)
    assert (first.tenants, second.tenants) == (1, 1)
    points = QuotaLedger(database).history(owner, before, before + 3 * HOUR)
    assert [(p.used_bytes, p.content_items, p.plan_tier) for p in points[-1:]] == [(700, 1, "starter")]
    assert len(points) == len({first.recorded_at, second.recorded_at})
    assert second.as_metadata()["used_bytes"] == 700


def test_months_are_made_ahead_and_kept(database: PostgresClient, database_url: str) -> None:
    made = months(database)
    assert len(made) == 4, "the default, this month and the next two"
    assert prepare_months(database) == 0
    run(database, f"DROP TABLE {made[-1] if made[-1] != 'usage_history_default' else made[-2]}")
    run(
        database,
        "CREATE TABLE usage_history_202001 PARTITION OF usage_history FOR VALUES FROM ('2020-01-01') TO ('2020-02-01')",
    )
    assert prepare_months(database) == 1
    assert set(months(database)) == {*made, "usage_history_202001"}
    run(database, f"DROP TABLE {made[-2]}")
    with psycopg.connect(database_url) as reader:
        # Attaching a partition needs the parent for itself: a long reader makes it wait for the next hour.
        reader.execute("LOCK TABLE usage_history IN ACCESS EXCLUSIVE MODE")
        assert prepare_months(database) == 0
    assert prepare_months(database) == 1


def test_forecasts_come_from_thirty_days_of_hours(database: PostgresClient) -> None:
    fast, flat, young, gone = (tenant(database, plan, name) for plan, name in (
        ("starter", "Fast | <b>"), ("free", "Flat"), ("enterprise", "Young"), ("free", "Gone")))  # fmt: skip
    for owner in (fast, flat, young, gone):
        content(database, owner, "post", 5)
        compute_usage(database, owner)
    grown(database, fast, GIB, GIB // 240, 720)
    grown(database, flat, 5, 0, 200)
    grown(database, young, 5, 1, 10)
    grown(database, gone, 5, 1, 100)
    run(database, "DELETE FROM tenants WHERE id = %s", [gone])
    run(database, "UPDATE content_quota_usage SET used_bytes = %s WHERE tenant_id = %s", [4 * GIB, fast])
    found = {one.tenant_id: one for one in forecasts(database)}
    assert set(found) == {fast, flat, young}
    assert found[fast].forecast.outlook is Outlook.REACHES
    assert found[fast].forecast.bytes_a_day == pytest.approx(GIB / 10, rel=1e-6)
    assert found[fast].forecast.growth_30_days == pytest.approx(3 * GIB, rel=1e-6)
    reached = found[fast].forecast.reaches_limit_at
    assert reached is not None
    # At a tenth of a GiB a day from 4 GiB of 10: 60 days.
    assert abs(reached - this_hour() - timedelta(days=60)) < timedelta(days=1)
    assert found[flat].forecast.outlook is Outlook.NOT_GROWING
    assert found[young].forecast.text == "not enough history (10 of 24 hours)"
    assert found[young].as_report()["reaches_limit_at"] is None
    assert found[fast].as_report()["reaches_limit_at"] == reached.isoformat()

    top = top_tenants(list(found.values()))
    assert "| Fast \\| &lt;b> | starter | 4 GiB | 40.0 % | +3 GiB |" in top
    assert "| Young | enterprise | 5 bytes | no limit | unknown | not enough history (10 of 24 hours) |" in top
    soon = next_at_limit(list(found.values()))
    assert "Fast" in soon
    assert "Flat" not in soon
    metadata = take_history(database).as_metadata()
    assert metadata["outlooks"] == {"reaches its limit": 1, "not growing": 1, "not enough history": 1}


def test_a_month_of_hours_is_thinned_from_the_newest_on(database: PostgresClient) -> None:
    owner = tenant(database)
    compute_usage(database, owner)
    grown(database, owner, GIB, -1000, 719)
    (row,) = run(database, statement("quota/history_points"), {})
    assert row["recorded_at"] == [this_hour() - (1 + 12 * n) * HOUR for n in reversed(range(60))]
    assert row["used_bytes"] == [GIB - 1000 * (719 - 1 - 12 * n) for n in reversed(range(60))]
    (found,) = forecasts(database)
    assert (found.forecast.outlook, found.forecast.growth_30_days) == (Outlook.NOT_GROWING, -720_000)


def test_the_chart_has_a_line_a_plan(database: PostgresClient) -> None:
    assert plan_chart(plan_points(database)) == "no hour is recorded yet"
    assert top_tenants([]) == "no tenant has counters yet"
    assert next_at_limit([]) == "no tenant is known to reach its limit within ten years"
    first, second, large = tenant(database, "free"), tenant(database, "free"), tenant(database, "enterprise")
    for owner in (first, second, large):
        compute_usage(database, owner)
    grown(database, first, 0, 1024**2, 101)
    grown(database, second, 0, 1024**2, 101)
    grown(database, large, 1000, 0, 101)
    points = plan_points(database)
    assert list(points) == ["free", "enterprise"]
    assert 4 <= len(points["free"]) <= 6, "a point a day once there are two days"
    chart = plan_chart(points)
    assert "| 2 | 200 MiB | 9.8 % |" in chart
    assert "| 1 | 1,000 bytes | no limit | +0 bytes |" in chart
    run(database, "DELETE FROM usage_history WHERE recorded_at < now() - interval '20 hours'")
    assert len(plan_points(database)["free"]) in (18, 19), "a point an hour before that"


def test_bars_stand_on_nothing() -> None:
    assert bars([0, 50, 100]) == "▁▄█"
    assert bars([0, 0]) == "▁▁"
    assert bars([]) == ""


def test_who_is_above_a_limit_and_why(database: PostgresClient) -> None:
    grew, lowered, fine = (tenant(database, plan, name) for plan, name in (
        ("free", "Grew"), ("starter", "Lowered"), ("enterprise", "Fine")))  # fmt: skip
    of = brand(database, fine)
    content(database, grew, "video", 2 * GIB)
    content(database, lowered, "video", 3 * GIB)
    content(database, fine, "video", 8 * GIB, of=of)
    for owner in (grew, lowered, fine):
        compute_usage(database, owner)
    assert plans_behind(database) == 0
    run(database, "UPDATE tenants SET plan_tier = 'free' WHERE id = %s", [lowered])
    assert plans_behind(database) == 1
    compute_usage(database, lowered)
    assert plans_behind(database) == 0
    found = over_limit(database)
    assert [(row["tenant"], row["brand_id"], row["over_bytes"] // GIB, row["lowered"]) for row in found] == [
        ("Fine", of, 3, False), ("Lowered", None, 2, True), ("Grew", None, 1, False),
    ]  # fmt: skip
    assert who(found[0]).startswith(f"brand {of} of Fine by 3 GiB")
    assert who(found[1]).startswith("Lowered by 2 GiB (")
    assert who(found[1]).endswith("plan free, its limit was lowered)")
    levels = run(
        database, "SELECT level, cause FROM quota_notices WHERE tenant_id = %s AND suppressed IS NULL", [lowered]
    )
    assert levels == [{"level": 100, "cause": "limit"}], "a lowered plan is told of"


def test_overdue_reservations_are_seen_until_they_are_reaped(database: PostgresClient) -> None:
    owner = tenant(database)
    ledger = QuotaLedger(database)
    ledger.reserve(owner, bytes=10, items=1)
    ledger.reserve(owner, bytes=20, items=1)
    assert overdue(database).reservations == 0
    run(database, "UPDATE quota_reservations SET expires_at = now() - interval '1 hour' WHERE bytes = 20")
    found = overdue(database)
    assert (found.reservations, found.bytes) == (1, 20)
    assert 3_600 <= found.oldest_seconds < 3_700
    ledger.reap()
    assert overdue(database).reservations == 0
