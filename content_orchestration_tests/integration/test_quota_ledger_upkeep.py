"""Expiry by the database's clock, reaping, pruning, plans that the platform changes, and what can be read."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import dagster as dg
import psycopg
import pytest

from content_orchestration.core.quota import upkeep
from content_orchestration.core.quota.decision import InvalidRequest, QuotaExceeded, UnknownTenant
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.quota.reservation import GENERATION
from content_orchestration.core.quota.upkeep import Reaped, apply_changed_plans, prune
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.quota import QuotaResource
from content_orchestration.settings import Settings, get_settings
from content_orchestration_tests.quota_books import (
    SMALL,
    add_brand,
    add_tenant,
    assert_books_add_up,
    brand_counters,
    counters,
    database_of_its_own,
    emptied,
    expire,
    notices,
    run,
    set_plan,
    small_ledger,
)


@pytest.fixture(scope="module")
def url(_server: psycopg.Connection[Any], settings: Settings, _migrated_template: str) -> Iterator[str]:
    with database_of_its_own(_server, settings.local_postgres_port, _migrated_template) as made:
        yield made


@pytest.fixture
def database(url: str) -> Iterator[PostgresClient]:
    with emptied(url) as client:
        yield client


@pytest.fixture
def ledger(database: PostgresClient) -> QuotaLedger:
    return small_ledger(database)


@pytest.fixture
def tenant(database: PostgresClient) -> UUID:
    return add_tenant(database)


def states(database: PostgresClient) -> list[str]:
    return [row["state"] for row in run(database, "SELECT state FROM quota_reservations ORDER BY created_at")]


# --- expiry ----------------------------------------------------------------------------------------------------------


def test_a_reservation_lives_as_long_as_it_was_given(
    ledger: QuotaLedger, database: PostgresClient, tenant: UUID
) -> None:
    reservation = ledger.reserve(tenant, None, 1, ttl=timedelta(hours=2))
    (row,) = run(database, "SELECT expires_at, expires_at - created_at AS life FROM quota_reservations")
    assert row["expires_at"] == reservation.expires_at
    assert timedelta(hours=2) <= row["life"] < timedelta(hours=2, seconds=5)


def test_what_expired_is_reaped_and_nothing_else(ledger: QuotaLedger, database: PostgresClient, tenant: UUID) -> None:
    other = add_tenant(database)
    brands = [add_brand(database, tenant) for _ in range(2)]
    dead = [ledger.reserve(tenant, brand, 100, 2, 10, GENERATION) for brand in (brands[0], brands[0], brands[1], None)]
    dead.append(ledger.reserve(other, None, 7))
    live = ledger.reserve(tenant, brands[0], 50, 1, 0, GENERATION)
    done = ledger.reserve(tenant, brands[1], 20)
    ledger.settle(done, 20)
    assert ledger.reap() == Reaped()
    expire(database, *[reservation.id for reservation in dead], done.id)

    reaped = ledger.reap()
    assert reaped == Reaped(tenants=2, reservations=5, bytes=447, items=8)
    assert reaped.as_metadata() == {"tenants": 2, "reservations": 5, "bytes": 447, "items": 8}
    assert counters(database, tenant) == (20, 50)
    assert [brand_counters(database, brand) for brand in brands] == [(0, 50), (20, 0)]
    assert counters(database, other) == (0, 0)
    assert states(database) == ["expired"] * 5 + ["reserved", "settled"]
    assert_books_add_up(database)
    assert ledger.reap() == Reaped()
    assert ledger.settle(live, 50, 1).state == "settled"


def test_one_tenant_is_reaped_alone(ledger: QuotaLedger, database: PostgresClient, tenant: UUID) -> None:
    other = add_tenant(database)
    ledger.reserve(tenant, None, 5)
    ledger.reserve(other, None, 7)
    expire(database)
    assert ledger.reap(str(other)).bytes == 7
    assert counters(database, tenant) == (0, 5)
    with pytest.raises(InvalidRequest):
        ledger.reap("acme")


def test_many_are_reaped_in_several_transactions(
    ledger: QuotaLedger, database: PostgresClient, tenant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_MOST", 2)
    for _ in range(5):
        ledger.reserve(tenant, None, 10)
    expire(database)
    assert ledger.reap() == Reaped(tenants=1, reservations=5, bytes=50)
    assert counters(database, tenant) == (0, 0)


def test_a_reservation_that_somebody_settles_is_left_to_them(
    ledger: QuotaLedger, database: PostgresClient, tenant: UUID
) -> None:
    first, second = ledger.reserve(tenant, None, 10), ledger.reserve(tenant, None, 20)
    expire(database)
    with database.connection() as connection:
        connection.execute("SELECT FROM quota_reservations WHERE id = %s FOR UPDATE", [first.id])
        assert ledger.reap() == Reaped(tenants=1, reservations=1, bytes=20)
        ledger.settle_in(connection, first, 10)
    assert counters(database, tenant) == (10, 0)
    assert ledger.release(second) == "expired"


def test_reapers_beside_each_other_give_back_once(ledger: QuotaLedger, database: PostgresClient, tenant: UUID) -> None:
    brands = [add_brand(database, tenant) for _ in range(3)]
    for number in range(30):
        ledger.reserve(tenant, brands[number % 3], 10, key=str(number))
    expire(database)
    with ThreadPoolExecutor(8) as pool:
        reaped = [future.result(30) for future in [pool.submit(ledger.reap) for _ in range(8)]]
    assert sum(each.reservations for each in reaped) == 30
    assert_books_add_up(database)
    assert counters(database, tenant) == (0, 0)


def test_an_expired_reservation_that_nobody_reaped_is_as_good_as_new(
    ledger: QuotaLedger, database: PostgresClient, tenant: UUID
) -> None:
    reservation = ledger.reserve(tenant, None, 1_000)
    expire(database)
    assert ledger.settle(reservation, 1_000).state == "settled"
    assert ledger.reap() == Reaped()


def test_a_reaped_reservation_settles_if_there_is_room(
    ledger: QuotaLedger, database: PostgresClient, tenant: UUID
) -> None:
    brand = add_brand(database, tenant)
    late, later = (ledger.reserve(tenant, brand, 400, 2, 0, GENERATION) for _ in range(2))
    expire(database)
    ledger.reap()
    other = ledger.reserve(tenant, brand, 500)
    assert ledger.settle(late, 400, 2).state == "settled"
    with pytest.raises(QuotaExceeded) as caught:
        ledger.settle(later, 400, 2)
    assert (caught.value.used, caught.value.reserved, caught.value.projected) == (400, 500, 1_300)
    assert ledger.release(later) == "expired"
    ledger.release(other)
    assert ledger.settle(later, 400, 2).state == "settled"
    assert_books_add_up(database)


def test_a_full_tenant_is_not_full_of_the_dead(ledger: QuotaLedger, database: PostgresClient, tenant: UUID) -> None:
    dead = ledger.reserve(tenant, None, 1_000)
    expire(database)
    with database.connection() as connection, pytest.raises(QuotaExceeded):
        ledger.reserve_in(connection, tenant, None, 1)
    assert ledger.reserve(tenant, None, 1_000).state == "reserved"
    assert ledger.release(dead) == "expired"
    with pytest.raises(QuotaExceeded):
        ledger.reserve(tenant, None, 1)


def test_a_reservation_can_be_renewed(ledger: QuotaLedger, database: PostgresClient, tenant: UUID) -> None:
    reservation = ledger.reserve(tenant, None, 1, ttl=timedelta(hours=2))
    ledger.renew(reservation, timedelta(minutes=1))
    (row,) = run(database, "SELECT expires_at FROM quota_reservations")
    assert row["expires_at"] == reservation.expires_at
    assert ledger.renew(reservation.id, timedelta(days=1)) == "reserved"
    (row,) = run(database, "SELECT expires_at - clock_timestamp() AS left FROM quota_reservations")
    assert timedelta(hours=23) < row["left"] <= timedelta(days=1)
    expire(database)
    ledger.reap()
    assert ledger.renew(reservation) == "expired"
    assert ledger.reap() == Reaped()


def test_what_ended_long_ago_is_forgotten(ledger: QuotaLedger, database: PostgresClient, tenant: UUID) -> None:
    kinds = [("content", 0), ("content", 8), (GENERATION, 8), (GENERATION, 80), ("content", 8)]
    made = [ledger.reserve(tenant, None, 1, 1, 0, reason) for reason, _ in kinds]
    for reservation in made[:-1]:
        ledger.settle(reservation, 1, 1)
    for reservation, (_, days) in zip(made, kinds, strict=True):
        run(
            database,
            "UPDATE quota_reservations SET created_at = created_at - make_interval(days => %(days)s), "
            "settled_at = settled_at - make_interval(days => %(days)s), "
            "month = date_trunc('month', month - make_interval(days => %(days)s))::date WHERE id = %(id)s",
            {"days": days, "id": reservation.id},
        )
    # Long gone: the second and the fourth. The third is still counted in its month, the last is still open.
    assert prune(database, most=1) == 2
    left = {row["id"] for row in run(database, "SELECT id FROM quota_reservations")}
    assert left == {made[0].id, made[2].id, made[4].id}
    assert counters(database, tenant) == (4, 1)


# --- plans -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [None, "", "gold", "FREE"])
def test_an_unknown_plan_means_free_and_is_reported(
    database: PostgresClient, ledger: QuotaLedger, plan: str | None
) -> None:
    tenant = add_tenant(database, plan)
    decision = ledger.reserve(tenant, None, 1).decision
    assert (decision.plan, decision.plan_recognised, decision.limit) == ("free", False, 1_000)
    with pytest.raises(QuotaExceeded, match="plan free, by default"):
        ledger.reserve(tenant, None, 1_000)
    applied = ledger.apply_plan(tenant)
    assert (applied.plan, applied.recognised, applied.changed) == ("free", False, False)
    usage = ledger.usage(tenant)
    assert (usage.plan, usage.plan_recognised, usage.limit_bytes) == ("free", False, 1_000)


def test_a_plan_lowered_below_use(database: PostgresClient, ledger: QuotaLedger) -> None:
    tenant = add_tenant(database, "starter")
    ledger.settle(ledger.reserve(tenant, None, 1_300, 15, 0, GENERATION), 1_300, 15)
    set_plan(database, tenant, "free")
    assert notices(database, tenant) == []
    applied = ledger.apply_plan(tenant)
    assert (applied.before, applied.plan, applied.changed, applied.over_limit) == ("starter", "free", True, True)
    # Nothing is deleted, nothing more is reserved, and whoever pays is told once.
    assert counters(database, tenant) == (1_300, 0)
    for given in [{"bytes": 1}, {"items": 1}, {"items": 1, "reason": GENERATION}]:
        with pytest.raises(QuotaExceeded):
            ledger.reserve(tenant, None, **given)  # type: ignore[arg-type]
    told = [notice for notice in notices(database, tenant) if notice[2] is None]
    assert told == [(100, 1, None, "limit")]
    assert run(database, "SELECT limit_items FROM quota_generation_usage") == [{"limit_items": 10}]
    again = ledger.apply_plan(tenant)
    assert (again.changed, again.before) == (False, "free")
    assert len([notice for notice in notices(database, tenant) if notice[2] is None]) == 1


def test_a_refusal_is_enough_to_notice_that_the_plan_was_lowered(database: PostgresClient, ledger: QuotaLedger) -> None:
    tenant = add_tenant(database, "starter")
    ledger.settle(ledger.reserve(tenant, None, 1_300), 1_300)
    set_plan(database, tenant, "free")
    with pytest.raises(QuotaExceeded):
        ledger.reserve(tenant, None, 1)
    assert [notice[0] for notice in notices(database, tenant) if notice[2] is None] == [100]
    assert run(database, "SELECT plan_tier, limit_bytes FROM content_quota_usage") == [
        {"plan_tier": "free", "limit_bytes": 1_000}
    ]


def test_a_raised_plan_has_room_at_once(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    ledger.settle(ledger.reserve(tenant, None, 1_000, 10, 0, GENERATION), 1_000, 10)
    set_plan(database, tenant, "starter")
    ledger.reserve(tenant, None, 1_000, 10, 0, GENERATION)
    assert run(database, "SELECT plan_tier, limit_bytes FROM content_quota_usage") == [
        {"plan_tier": "starter", "limit_bytes": 2_000}
    ]
    assert run(database, "SELECT limit_items FROM quota_generation_usage") == [{"limit_items": 20}]


def test_changed_plans_are_found_and_applied(database: PostgresClient, ledger: QuotaLedger) -> None:
    same, up, down, odd = (add_tenant(database, plan) for plan in ("free", "free", "starter", "starter"))
    for each in (same, up, down, odd):
        ledger.reserve(each, None, 1)
    # A tenant without counters has nothing to be changed.
    add_tenant(database, "starter")
    set_plan(database, up, "enterprise")
    set_plan(database, down, "free")
    set_plan(database, odd, "gold")
    applied = {each.tenant_id: each for each in apply_changed_plans(database, plans=SMALL)}
    assert set(applied) == {up, down, odd}
    assert (applied[up].limit_bytes, applied[up].over_limit) == (None, False)
    assert (applied[odd].plan, applied[odd].recognised, applied[odd].over_limit) == ("free", False, False)
    assert apply_changed_plans(database, plans=SMALL) == []


def test_the_plan_of_an_unknown_tenant(ledger: QuotaLedger) -> None:
    with pytest.raises(UnknownTenant):
        ledger.apply_plan(uuid4())
    with pytest.raises(UnknownTenant):
        ledger.usage(uuid4())


# --- reading ---------------------------------------------------------------------------------------------------------


def test_usage(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    brand = add_brand(database, tenant)
    fresh = ledger.usage(tenant)
    assert (fresh.tenant, fresh.used_bytes, fresh.reserved_bytes, fresh.brands) == ("Acme", 0, 0, ())
    assert fresh.usage_by_type == {}
    ledger.settle(ledger.reserve(tenant, brand, 100, 3, 20, GENERATION), 100, 3, 20, 1)
    ledger.reserve(tenant, brand, 50, 2, 0, GENERATION)
    usage = ledger.usage(str(tenant))
    assert (usage.used_bytes, usage.reserved_bytes, usage.limit_bytes, usage.plan) == (120, 50, 1_000, "free")
    assert (usage.content_items, usage.media_files, usage.media_bytes) == (3, 1, 20)
    assert [(b.brand_id, b.used_bytes, b.reserved_bytes, b.limit_bytes) for b in usage.brands] == [
        (brand, 120, 50, 5 * 1024**3)
    ]
    assert usage.storage.as_headers()["X-Quota-Remaining"] == "830"
    assert (usage.generation.used, usage.generation.reserved, usage.generation.remaining) == (3, 2, 5)
    set_plan(database, tenant, "starter")
    assert ledger.usage(tenant).limit_bytes == 2_000
    assert run(database, "SELECT limit_bytes FROM content_quota_usage") == [{"limit_bytes": 2_000}]


def test_history(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    start = datetime(2026, 1, 31, 22, tzinfo=UTC)
    hours = [start + timedelta(hours=n) for n in range(4)]
    for number, hour in enumerate(hours):
        for of in (tenant, uuid4()):
            run(
                database,
                "INSERT INTO usage_history VALUES (%s, %s, 'free', 1000, %s, 1, 2, 3, 4)",
                [of, hour, number],
            )
    points = ledger.history(tenant, hours[1], hours[3])
    assert [(point.recorded_at, point.used_bytes) for point in points] == [(hours[1], 1), (hours[2], 2)]
    assert (points[0].plan_tier, points[0].limit_bytes, points[0].media_bytes) == ("free", 1_000, 4)
    assert ledger.history(uuid4(), hours[0], hours[3]) == []
    with pytest.raises(InvalidRequest, match="time zone"):
        ledger.history(tenant, hours[0].replace(tzinfo=None), hours[3])
    with pytest.raises(InvalidRequest, match="is after end"):
        ledger.history(tenant, hours[3], hours[0])


def test_history_goes_into_the_partition_of_its_month(database: PostgresClient, tenant: UUID) -> None:
    assert run(database, "SELECT prepare_usage_history(3) AS n")[0]["n"] in (0, 1)
    assert run(database, "SELECT prepare_usage_history(3) AS n") == [{"n": 0}]
    query = (
        "INSERT INTO usage_history VALUES (%s, %s, 'free', 1000, 0, 1, 2, 3, 4) RETURNING tableoid::regclass::text AS t"
    )
    now = datetime.now(UTC)
    assert run(database, query, [tenant, now]) == [{"t": f"usage_history_{now:%Y%m}"}]
    assert run(database, query, [tenant, datetime(2020, 1, 1, tzinfo=UTC)]) == [{"t": "usage_history_default"}]


def test_a_month_that_began_in_the_default_partition_stays_there(database: PostgresClient, tenant: UUID) -> None:
    run(
        database,
        "INSERT INTO usage_history VALUES (%s, now() + interval '7 months', 'free', 1000, 0, 1, 2, 3, 4)",
        [tenant],
    )
    with database.connection() as connection:
        made = connection.execute("SELECT prepare_usage_history(8) AS n").fetchone()
        again = connection.execute("SELECT prepare_usage_history(8) AS n").fetchone()
        connection.rollback()
    assert made is not None
    assert again == {"n": 0}
    # Of the months ahead, one is left out.
    assert made["n"] in (4, 5)


# --- the resource ----------------------------------------------------------------------------------------------------


@pytest.fixture
def in_this_database(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DATABASE_PUBLIC_URL", url)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.mark.usefixtures("in_this_database")
def test_the_resource_is_the_ledger(database: PostgresClient, tenant: UUID) -> None:
    postgres = PostgresResource()
    quota = QuotaResource(postgres=postgres)
    reservation = quota.reserve(tenant, None, 100, 1, 20, "upload", timedelta(minutes=5), "k")
    assert quota.reserve(tenant, None, 100, 1, 20, "upload", key="k").replayed
    assert quota.settle(reservation, 90, 1, 20, 1).state == "settled"
    assert quota.release(reservation) == "settled"
    assert quota.usage(tenant).used_bytes == 110
    assert quota.usage(tenant).limit_bytes == 1024**3
    now = datetime.now(UTC)
    assert quota.history(tenant, now - timedelta(days=1), now) == []
    postgres.close()


@pytest.mark.usefixtures("in_this_database")
def test_an_asset_reserves_through_the_resource(database: PostgresClient, tenant: UUID) -> None:
    opened: list[PostgresClient] = []

    @dg.asset
    def writes(quota: QuotaResource) -> None:
        quota.reserve(tenant, None, 10)
        opened.append(quota.postgres.client())

    result = dg.materialize([writes], resources={"quota": QuotaResource(postgres=PostgresResource())})
    assert result.success
    assert counters(database, tenant) == (0, 10)
    # The run has closed what it opened.
    assert opened[0]._pool is None
