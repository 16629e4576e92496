"""Notices come once a crossing, whoever writes and however many at once; they are armed again two points below."""

import random
import secrets
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import psycopg
import pytest

from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.settings import Settings
from content_orchestration_tests.quota_books import (
    add_brand,
    add_tenant,
    assert_books_add_up,
    counters,
    database_of_its_own,
    emptied,
    notices,
    run,
    set_plan,
    small_ledger,
)

WRITERS = 64


@pytest.fixture(scope="module")
def url(_server: psycopg.Connection[Any], settings: Settings, _migrated_template: str) -> Iterator[str]:
    with database_of_its_own(_server, settings.local_postgres_port, _migrated_template) as made:
        yield made


@pytest.fixture
def database(url: str) -> Iterator[PostgresClient]:
    with emptied(url, pool_size=WRITERS + 2) as client:
        yield client


@pytest.fixture
def ledger(database: PostgresClient) -> QuotaLedger:
    return small_ledger(database)


@pytest.fixture
def tenant(database: PostgresClient) -> UUID:
    return add_tenant(database)


def use(ledger: QuotaLedger, tenant: UUID, amount: int, brand: UUID | None = None) -> None:
    ledger.settle(ledger.reserve(tenant, brand, amount), amount)


def give_back(
    database: PostgresClient, ledger: QuotaLedger, tenant: UUID, amount: int, brand: UUID | None = None
) -> None:
    with database.connection() as connection:
        ledger.give_back_in(connection, tenant, brand, amount)


def told(database: PostgresClient, subject: UUID) -> list[int]:
    """The levels that are to be delivered, in order."""
    return [level for level, _, suppressed, _ in notices(database, subject) if suppressed is None]


def armed(database: PostgresClient, tenant: UUID) -> int:
    (row,) = run(database, "SELECT notified_percent FROM content_quota_usage WHERE tenant_id = %s", [tenant])
    return row["notified_percent"]


# --- racing writers --------------------------------------------------------------------------------------------------


def at_once(writers: ThreadPoolExecutor, act: Any, amounts: list[int]) -> None:
    for future in [writers.submit(act, amount) for amount in amounts]:
        future.result(60)


def shares(dice: random.Random, total: int) -> list[int]:
    """`total` as a share for each writer, none of them nothing."""
    cuts = sorted(dice.sample(range(1, total), WRITERS - 1))
    return [after - before for before, after in zip([0, *cuts], [*cuts, total], strict=True)]


def test_sixty_four_writers_cross_each_threshold_once(
    database: PostgresClient, ledger: QuotaLedger, tenant: UUID
) -> None:
    seed = secrets.randbits(32)
    print(f"\nTHRESHOLDS_SEED={seed}")  # noqa: T201
    dice = random.Random(seed)
    brand = add_brand(database, tenant, 1_000)
    with ThreadPoolExecutor(WRITERS) as writers:
        for crossing in (1, 2, 3):
            at_once(writers, lambda amount: use(ledger, tenant, amount, brand), shares(dice, 1_000))
            assert counters(database, tenant) == (1_000, 0)
            for subject, levels in ((tenant, [70, 85, 95, 100]), (brand, [80, 95])):
                # One writer may cross two thresholds with one change: both are written down, the higher one is told.
                crossed = Counter((level, number) for level, number, _, _ in notices(database, subject))
                assert crossed == {(level, number): 1 for level in levels for number in range(1, crossing + 1)}, seed
            assert armed(database, tenant) == 100
            at_once(writers, lambda amount: give_back(database, ledger, tenant, amount, brand), shares(dice, 1_000))
            assert counters(database, tenant) == (0, 0)
            assert armed(database, tenant) == 0


def test_use_that_swings_around_a_threshold_is_told_once(
    database: PostgresClient, ledger: QuotaLedger, tenant: UUID
) -> None:
    use(ledger, tenant, 695)

    def swing(_: int) -> None:
        use(ledger, tenant, 7)
        give_back(database, ledger, tenant, 7)

    # Two at most are up at the same time: 69.5 to 70.9 %, far from 85 and never two points below 70.
    with ThreadPoolExecutor(2) as writers:
        at_once(writers, swing, list(range(40)))
    assert notices(database, tenant) == [(70, 1, None, "use")]


# --- one writer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "below"), [(70, 699), (85, 849), (95, 949), (100, 999)])
def test_a_threshold_is_reached_at_its_percent(
    database: PostgresClient, ledger: QuotaLedger, tenant: UUID, level: int, below: int
) -> None:
    use(ledger, tenant, below)
    assert level not in told(database, tenant)
    use(ledger, tenant, 1)
    assert told(database, tenant)[-1] == level
    (notice,) = run(database, "SELECT * FROM quota_notices ORDER BY id DESC LIMIT 1")
    assert (notice["used_bytes"], notice["limit_bytes"], notice["plan_tier"]) == (below + 1, 1_000, "free")
    assert (notice["tenant_id"], notice["brand_id"], notice["scope"]) == (tenant, None, "tenant")
    assert notice["severity"] == {70: "info", 85: "warning", 95: "critical", 100: "full"}[level]
    assert (notice["attempts"], notice["delivered_at"], notice["delivered_to"]) == (0, None, [])


def test_it_is_armed_again_two_points_below(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    use(ledger, tenant, 850)
    give_back(database, ledger, tenant, 19)
    assert armed(database, tenant) == 85
    use(ledger, tenant, 19)
    assert told(database, tenant) == [85]
    give_back(database, ledger, tenant, 20)
    assert armed(database, tenant) == 70
    use(ledger, tenant, 20)
    assert told(database, tenant) == [85, 85]
    assert notices(database, tenant) == [
        (70, 1, "superseded", "use"), (85, 1, None, "use"), (85, 2, None, "use"),
    ]  # fmt: skip


def test_one_change_over_all_thresholds_is_told_once(
    database: PostgresClient, ledger: QuotaLedger, tenant: UUID
) -> None:
    use(ledger, tenant, 1_000)
    assert notices(database, tenant) == [
        (70, 1, "superseded", "use"), (85, 1, "superseded", "use"), (95, 1, "superseded", "use"), (100, 1, None, "use"),
    ]  # fmt: skip


def test_a_reservation_alarms_nobody(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    brand = add_brand(database, tenant, 1_000)
    ledger.release(ledger.reserve(tenant, brand, 1_000))
    assert run(database, "SELECT FROM quota_notices") == []
    assert armed(database, tenant) == 0


def test_what_is_rolled_back_is_not_told(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    reservation = ledger.reserve(tenant, None, 1_000)
    with database.connection() as connection:
        ledger.settle_in(connection, reservation, 1_000)
        connection.rollback()
    assert notices(database, tenant) == []
    assert armed(database, tenant) == 0


def test_an_unlimited_tenant_is_never_near_its_limit(database: PostgresClient, ledger: QuotaLedger) -> None:
    tenant = add_tenant(database, "enterprise")
    use(ledger, tenant, 2**50)
    assert notices(database, tenant) == []


def test_a_brand_warns_at_its_own_thresholds(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    brand = add_brand(database, tenant, 100)
    use(ledger, tenant, 79, brand)
    assert notices(database, brand) == []
    use(ledger, tenant, 1, brand)
    use(ledger, tenant, 15, brand)
    rows = run(
        database, "SELECT scope, severity, level, tenant_id, brand_id, limit_bytes FROM quota_notices ORDER BY id"
    )
    assert rows == [
        {"scope": "brand", "severity": name, "level": level, "tenant_id": tenant, "brand_id": brand, "limit_bytes": 100}
        for name, level in (("warning", 80), ("critical", 95))
    ]
    give_back(database, ledger, tenant, 17, brand)
    use(ledger, tenant, 2, brand)
    use(ledger, tenant, 20, brand)
    assert notices(database, brand)[2:] == [(80, 2, None, "use"), (95, 2, None, "use")]


def test_a_brand_whose_thresholds_or_limit_change_is_looked_at_afresh(
    database: PostgresClient, ledger: QuotaLedger, tenant: UUID
) -> None:
    brand = add_brand(database, tenant, 100)
    use(ledger, tenant, 60, brand)
    run(database, "UPDATE storage_quotas SET warning_threshold_percent = 50")
    assert notices(database, brand) == [(50, 1, None, "limit")]
    run(database, "UPDATE storage_quotas SET limit_bytes = 60")
    assert notices(database, brand)[1:] == [(50, 2, "superseded", "limit"), (95, 1, None, "limit")]
    run(database, "UPDATE storage_quotas SET limit_bytes = 1000")
    assert run(database, "SELECT notified_percent FROM storage_quotas") == [{"notified_percent": 0}]
    run(database, "UPDATE storage_quotas SET warning_threshold_percent = 90, critical_threshold_percent = 90")
    run(database, "UPDATE storage_quotas SET limit_bytes = 60")
    assert notices(database, brand)[3:] == [(90, 1, None, "limit")]
    assert run(database, "SELECT severity FROM quota_notices WHERE level = 90") == [{"severity": "critical"}]


# --- the limit moves -------------------------------------------------------------------------------------------------


def test_a_lowered_plan_tells_even_what_was_told_before(database: PostgresClient, ledger: QuotaLedger) -> None:
    tenant = add_tenant(database, "starter")
    use(ledger, tenant, 2_000)
    assert told(database, tenant) == [100]
    set_plan(database, tenant, "free")
    ledger.apply_plan(tenant)
    assert notices(database, tenant)[-1] == (100, 2, None, "limit")


def test_a_raised_plan_arms_everything_again(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    use(ledger, tenant, 1_000)
    set_plan(database, tenant, "starter")
    ledger.apply_plan(tenant)
    assert (armed(database, tenant), told(database, tenant)) == (0, [100])
    use(ledger, tenant, 400)
    assert notices(database, tenant)[-1] == (70, 2, None, "use")
    set_plan(database, tenant, "enterprise")
    ledger.apply_plan(tenant)
    assert armed(database, tenant) == 0
    set_plan(database, tenant, "starter")
    ledger.apply_plan(tenant)
    assert notices(database, tenant)[-1] == (70, 3, None, "limit")


def test_racing_plan_changes_are_told_once(database: PostgresClient, ledger: QuotaLedger) -> None:
    tenant = add_tenant(database, "starter")
    use(ledger, tenant, 1_500)
    set_plan(database, tenant, "free")
    with ThreadPoolExecutor(16) as writers:
        at_once(writers, lambda _: ledger.apply_plan(tenant), list(range(32)))
    assert told(database, tenant) == [70, 100]


# --- other writers ---------------------------------------------------------------------------------------------------


def test_whoever_corrects_the_counters_is_noticed_too(
    database: PostgresClient, ledger: QuotaLedger, tenant: UUID
) -> None:
    use(ledger, tenant, 10)
    run(database, "UPDATE content_quota_usage SET used_bytes = used_bytes + 900")
    assert told(database, tenant) == [85]
    upsert = (
        "INSERT INTO content_quota_usage (tenant_id, plan_tier, limit_bytes, used_bytes) "
        "VALUES (%s, 'free', 1000, 960) ON CONFLICT (tenant_id) DO UPDATE SET used_bytes = excluded.used_bytes"
    )
    run(database, upsert, [tenant])
    assert told(database, tenant) == [85, 95]
    run(database, upsert, [tenant])
    assert told(database, tenant) == [85, 95]


def test_counters_that_begin_above_a_threshold_are_told_at_once(
    database: PostgresClient, ledger: QuotaLedger, tenant: UUID
) -> None:
    brand = add_brand(database, tenant)
    run(
        database,
        "INSERT INTO media_assets (id, tenant_id, brand_id, kind, url, zerodb_row_id, size_bytes) "
        "VALUES (gen_random_uuid(), %s, %s, 'image', 'u', 'd', 900)",
        [tenant, brand],
    )
    ledger.reserve(tenant, brand, 1)
    assert told(database, tenant) == [85]
    assert armed(database, tenant) == 85
    ledger.reserve(tenant, brand, 1)
    assert told(database, tenant) == [85]
    run(database, "DELETE FROM storage_quotas")
    run(database, "INSERT INTO storage_quotas (brand_id, tenant_id, used_bytes, limit_bytes) VALUES (%s, %s, 9, 10)", [
        brand, tenant,
    ])  # fmt: skip
    assert notices(database, brand) == [(80, 1, None, "use")]


def test_a_limit_of_nothing(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    brand = add_brand(database, tenant, 0)
    assert notices(database, brand) == []
    run(database, "UPDATE storage_quotas SET used_bytes = 1")
    assert [level for level, _, suppressed, _ in notices(database, brand) if suppressed is None] == [95]
    run(database, "UPDATE storage_quotas SET used_bytes = 0")
    assert run(database, "SELECT notified_percent FROM storage_quotas") == [{"notified_percent": 0}]
    ledger.reserve(tenant, None, 1)
    assert_books_add_up(database)
