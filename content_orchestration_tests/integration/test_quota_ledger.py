"""The ledger on the real server: room in every scope or in none, keys, settling, releasing, requests that are none."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.quota.at_once import at_once, one
from content_orchestration.core.quota.decision import (
    InvalidRequest,
    KeyReused,
    QuotaExceeded,
    ReservationEnded,
    UnknownBrand,
    UnknownReservation,
    UnknownTenant,
)
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.quota.reservation import GENERATION
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.settings import Settings
from content_orchestration_tests.quota_books import (
    add_brand,
    add_tenant,
    assert_books_add_up,
    brand_counters,
    counters,
    database_of_its_own,
    emptied,
    expire,
    run,
    set_plan,
    small_ledger,
)

TABLES = ("content_quota_usage", "storage_quotas", "quota_generation_usage", "quota_reservations", "quota_notices")


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


def state(database: PostgresClient) -> dict[str, list[str]]:
    """Every row of the ledger, where it lies and who wrote it: any write shows, even one that changes no value."""
    return {
        table: [
            row["t"] for row in run(database, f"SELECT concat_ws(' ', ctid, xmin, t) AS t FROM {table} t ORDER BY 1")
        ]
        for table in TABLES
    }


def generated(database: PostgresClient, tenant: UUID) -> tuple[int, int]:
    (row,) = run(
        database, "SELECT used_items, reserved_items FROM quota_generation_usage WHERE tenant_id = %s", [tenant]
    )
    return row["used_items"], row["reserved_items"]


# --- reserving -------------------------------------------------------------------------------------------------------


def test_room_is_set_aside_and_then_used(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    brand = add_brand(database, tenant)
    reservation = ledger.reserve(tenant, brand, 300, 4, 100)
    assert (reservation.state, reservation.replayed) == ("reserved", False)
    assert (reservation.decision.used, reservation.decision.reserved, reservation.decision.limit) == (0, 400, 1_000)
    assert counters(database, tenant) == brand_counters(database, brand) == (0, 400)

    settlement = ledger.settle(reservation, 250, 3, 60, 2)
    assert (settlement.state, settlement.replayed) == ("settled", False)
    assert settlement.decision is not None
    assert settlement.decision.used == 310
    assert counters(database, tenant) == brand_counters(database, brand) == (310, 0)
    (row,) = run(database, "SELECT * FROM content_quota_usage WHERE tenant_id = %s", [tenant])
    assert (row["content_items"], row["media_files"], row["media_bytes"]) == (3, 2, 60)
    (limit,) = run(database, "SELECT limit_bytes FROM storage_quotas WHERE brand_id = %s", [brand])
    assert limit["limit_bytes"] == 5 * 1024**3
    assert_books_add_up(database)


def test_the_last_byte_fits_and_the_next_does_not(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    ledger.settle(ledger.reserve(tenant, None, 600), 600)
    ledger.reserve(tenant, None, 300, media_bytes=100)
    before = state(database)
    with pytest.raises(QuotaExceeded) as caught:
        ledger.reserve(tenant, None, 0, media_bytes=1)
    error = caught.value
    assert (error.scope, error.used, error.reserved, error.limit, error.projected) == ("tenant", 600, 400, 1_000, 1_001)
    assert (error.percent, error.plan, error.plan_that_fits, error.price) == (100.0, "free", "free", 0)
    assert state(database) == before


def test_the_plans_of_the_product() -> None:
    """The small plans of these tests are arguments; the ledger's own are the product's."""
    defaults = QuotaLedger.__init__.__kwdefaults__
    assert defaults is not None
    assert defaults["plans"]["free"].limit_bytes == 1024**3


@pytest.mark.parametrize(("of_tenant", "of_brand", "scope"), [(1_000, 400, "brand"), (300, 900, "tenant")])
def test_tenant_and_brand_together_or_not_at_all(
    database: PostgresClient, ledger: QuotaLedger, tenant: UUID, of_tenant: int, of_brand: int, scope: str
) -> None:
    brand = add_brand(database, tenant, of_brand)
    # Counters are made on first use.
    ledger.release(ledger.reserve(tenant, brand, 1, 1, 0, GENERATION))
    if of_tenant < 1_000:
        ledger.reserve(tenant, None, 1_000 - of_tenant)
    before = state(database)
    with pytest.raises(QuotaExceeded) as caught:
        ledger.reserve(tenant, brand, 401, 1, 0, GENERATION)
    assert caught.value.scope == scope
    assert caught.value.limit == (of_brand if scope == "brand" else 1_000)
    assert state(database) == before


def test_room_that_goes_between_the_look_and_the_write_is_given_back_in_every_scope(
    database: PostgresClient, ledger: QuotaLedger, tenant: UUID, url: str
) -> None:
    """Somebody else's reservation is not committed yet when ours looks, and is when ours writes."""
    brand = add_brand(database, tenant, 5_000)
    ledger.reserve(tenant, brand, 100, 1, 0, GENERATION)
    with ThreadPoolExecutor(1) as pool, psycopg.connect(url) as other:
        other.execute("UPDATE content_quota_usage SET reserved_bytes = 700 WHERE tenant_id = %s", [tenant])
        ours = pool.submit(ledger.reserve, tenant, brand, 500, 2, 0, GENERATION)
        wait_for_a_waiter(database)
        other.commit()
        with pytest.raises(QuotaExceeded) as caught:
            ours.result(20)
    assert (caught.value.scope, caught.value.reserved) == ("tenant", 700)
    assert brand_counters(database, brand) == (0, 100)
    assert generated(database, tenant) == (0, 1)
    assert run(database, "SELECT count(*) AS n FROM quota_reservations") == [{"n": 1}]


def wait_for_a_waiter(database: PostgresClient) -> None:
    """Until some connection of this database waits for a lock."""
    waiting = (
        "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    pause = threading.Event()
    for _ in range(1_000):
        if run(database, waiting) != [{"n": 0}]:
            return
        pause.wait(0.02)
    raise AssertionError("nobody waits")


def test_no_limit_is_no_limit(database: PostgresClient, ledger: QuotaLedger) -> None:
    tenant = add_tenant(database, "enterprise")
    reservation = ledger.reserve(tenant, None, 2**50, 10**9, 2**50, GENERATION)
    assert (reservation.decision.limit, reservation.decision.percent) == (None, None)
    assert ledger.settle(reservation, 2**50, 10**9, 2**50).state == "settled"
    assert counters(database, tenant) == (2**51, 0)
    assert generated(database, tenant) == (10**9, 0)


def test_a_brand_of_an_unlimited_tenant_has_its_limit(database: PostgresClient, ledger: QuotaLedger) -> None:
    tenant = add_tenant(database, "enterprise")
    brand = add_brand(database, tenant, 10)
    with pytest.raises(QuotaExceeded) as caught:
        ledger.reserve(tenant, brand, 11)
    assert (caught.value.scope, caught.value.plan_that_fits, caught.value.price) == ("brand", None, None)


# --- generated items -------------------------------------------------------------------------------------------------


def test_generated_items_have_a_limit_a_month(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    first = ledger.reserve(tenant, None, 0, 6, 0, GENERATION)
    ledger.reserve(tenant, None, 0, 4, 0, GENERATION)
    assert generated(database, tenant) == (0, 10)
    with pytest.raises(QuotaExceeded) as caught:
        ledger.reserve(tenant, None, 1, 1, 0, GENERATION)
    assert (caught.value.scope, caught.value.limit, caught.value.projected) == ("generation", 10, 11)
    ledger.settle(first, 0, 5)
    assert generated(database, tenant) == (5, 4)
    ledger.reserve(tenant, None, 0, 1, 0, GENERATION)
    assert_books_add_up(database)


def test_items_that_nobody_generated_are_not_counted(
    database: PostgresClient, ledger: QuotaLedger, tenant: UUID
) -> None:
    ledger.settle(ledger.reserve(tenant, None, 1, 500, 0, "upload"), 1, 500)
    assert run(database, "SELECT FROM quota_generation_usage") == []
    ledger.reserve(tenant, None, 1, 0, 0, GENERATION)
    assert run(database, "SELECT FROM quota_generation_usage") == []


def test_another_month_has_its_own_count(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    old = ledger.reserve(tenant, None, 0, 10, 0, GENERATION)
    run(database, "UPDATE quota_generation_usage SET month = month - interval '1 month'")
    run(database, "UPDATE quota_reservations SET month = month - interval '1 month'")
    ledger.reserve(tenant, None, 0, 10, 0, GENERATION)
    ledger.settle(old, 0, 9)
    rows = run(database, "SELECT used_items, reserved_items FROM quota_generation_usage ORDER BY month")
    assert [(row["used_items"], row["reserved_items"]) for row in rows] == [(9, 0), (0, 10)]


# --- keys ------------------------------------------------------------------------------------------------------------


def test_a_key_makes_a_replay_add_nothing(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    brand = add_brand(database, tenant)
    first = ledger.reserve(tenant, brand, 900, 1, 50, "import", key="batch-1")
    before = state(database)
    # The tenant is nearly full: a replay asks for nothing.
    again = ledger.reserve(tenant, brand, 900, 1, 50, "import", timedelta(hours=9), "batch-1")
    assert (again.id, again.state, again.replayed, again.expires_at) == (first.id, "reserved", True, first.expires_at)
    assert again.decision == first.decision
    assert state(database) == before
    ledger.settle(again, 900, 1, 50)
    settled = ledger.reserve(tenant, brand, 900, 1, 50, "import", key="batch-1")
    assert (settled.id, settled.state, settled.replayed) == (first.id, "settled", True)


@pytest.mark.parametrize(
    "other",
    [{"bytes": 11}, {"items": 2}, {"media_bytes": 1}, {"reason": "upload"}, {"brand": "another"}],
    ids=lambda other: next(iter(other)),
)
def test_a_key_with_other_amounts_is_refused(
    database: PostgresClient, ledger: QuotaLedger, tenant: UUID, other: dict[str, Any]
) -> None:
    request: dict[str, Any] = {"brand": None, "bytes": 10, "items": 1, "media_bytes": 0, "reason": "import"}
    if "brand" in other:
        other = {"brand": add_brand(database, tenant)}
    ledger.reserve(tenant, **request, key="batch-1")
    before = state(database)
    with pytest.raises(KeyReused, match="use a key once"):
        ledger.reserve(tenant, **(request | other), key="batch-1")
    assert state(database) == before


def test_tenants_do_not_share_keys(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    other = add_tenant(database)
    assert ledger.reserve(tenant, None, 1, key="k").id != ledger.reserve(other, None, 2, key="k").id


def test_of_racing_requests_with_one_key_one_reserves(
    database: PostgresClient, ledger: QuotaLedger, tenant: UUID
) -> None:
    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(ledger.reserve, tenant, None, 700, 1, 0, "import", key="k") for _ in range(16)]
        made = [future.result(30) for future in futures]
    assert len({reservation.id for reservation in made}) == 1
    assert sum(not reservation.replayed for reservation in made) == 1
    assert counters(database, tenant) == (0, 700)


def test_a_request_that_the_same_request_left_no_room_for_is_answered_and_not_refused(
    database: PostgresClient, url: str, ledger: QuotaLedger, tenant: UUID
) -> None:
    """The second one has looked for the key in vain, and looks for room when the first one has taken it."""
    (row,) = run(database, "SELECT pg_get_functiondef('quota_reserve'::regproc) AS text")
    look = "-- A look without a lock"
    assert look in row["text"]
    gate = "IF current_setting('application_name') = 'second' THEN PERFORM pg_advisory_xact_lock(4711); END IF;\n"

    def second() -> bool:
        with database.connection() as connection:
            connection.execute("SET LOCAL application_name = 'second'")
            return ledger.reserve_in(connection, tenant, None, 700, 1, 0, "import", key="k").replayed

    run(database, row["text"].replace(look, gate + look))
    try:
        # The gate opens when the holder's connection ends, also where something fails here.
        with ThreadPoolExecutor(1) as pool:
            with psycopg.connect(url) as holder:
                holder.execute("SELECT pg_advisory_lock(4711)")
                asked = pool.submit(second)
                end = time.monotonic() + 30
                while not run(database, "SELECT 1 AS there FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
                    assert time.monotonic() < end, "it did not come to its second look"
                    time.sleep(0.01)
                assert not ledger.reserve(tenant, None, 700, 1, 0, "import", key="k").replayed
            assert asked.result(30)
    finally:
        run(database, row["text"])
    assert counters(database, tenant) == (0, 700)


# --- settling --------------------------------------------------------------------------------------------------------


def test_more_than_was_reserved_is_granted_where_it_fits(
    database: PostgresClient, ledger: QuotaLedger, tenant: UUID
) -> None:
    brand = add_brand(database, tenant, 1_000)
    reservation = ledger.reserve(tenant, brand, 100, 1, 0, GENERATION)
    ledger.settle(reservation, 700, 3, 300)
    assert counters(database, tenant) == brand_counters(database, brand) == (1_000, 0)
    assert generated(database, tenant) == (3, 0)


@pytest.mark.parametrize(
    ("scope", "actual"),
    [("tenant", (901, 1, 0)), ("tenant", (0, 1, 901)), ("brand", (501, 1, 0)), ("generation", (1, 11, 0))],
)
def test_more_than_fits_is_refused_and_the_reservation_stays(
    database: PostgresClient, ledger: QuotaLedger, tenant: UUID, scope: str, actual: tuple[int, int, int]
) -> None:
    brand = add_brand(database, tenant, 500 if scope == "brand" else 5_000)
    ledger.settle(ledger.reserve(tenant, None, 100), 100)
    reservation = ledger.reserve(tenant, brand, 100, 1, 0, GENERATION)
    before = state(database)
    with pytest.raises(QuotaExceeded) as caught:
        ledger.settle(reservation, *actual)
    assert caught.value.scope == scope
    assert caught.value.limit is not None
    assert caught.value.projected == caught.value.limit + 1
    assert state(database) == before
    assert ledger.settle(reservation, 90, 1).state == "settled"
    assert_books_add_up(database)


def test_settling_the_same_again_changes_nothing(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    reservation = ledger.reserve(tenant, None, 100, 2, 50)
    ledger.settle(reservation, 90, 2, 10, 1)
    before = state(database)
    again = ledger.settle(str(reservation.id), 90, 2, 10, 1)
    assert (again.state, again.replayed, again.decision) == ("settled", True, None)
    for other in [(91, 2, 10, 1), (90, 1, 10, 1), (90, 2, 11, 1), (90, 2, 10, 0)]:
        with pytest.raises(ReservationEnded, match="other amounts already"):
            ledger.settle(reservation, *other)
    assert ledger.release(reservation) == "settled"
    assert state(database) == before


def test_a_released_reservation_is_over(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    brand = add_brand(database, tenant)
    reservation = ledger.reserve(tenant, brand, 100, 2, 50, GENERATION)
    assert ledger.release(reservation) == "released"
    assert counters(database, tenant) == brand_counters(database, brand) == (0, 0)
    assert generated(database, tenant) == (0, 0)
    before = state(database)
    assert ledger.release(reservation) == "released"
    with pytest.raises(ReservationEnded, match="reserve again"):
        ledger.settle(reservation, 1)
    with database.connection() as connection, pytest.raises(ReservationEnded):
        ledger.settle_part_in(connection, reservation, 1)
    assert state(database) == before


def test_of_racing_settles_and_releases_one_counts(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    for _ in range(5):
        reservation = ledger.reserve(tenant, None, 10)

        def settle(reservation: Any = reservation) -> str:
            try:
                return ledger.settle(reservation, 10).state
            except ReservationEnded:
                return "released"

        def release(reservation: Any = reservation) -> str:
            return ledger.release(reservation)

        with ThreadPoolExecutor(8) as pool:
            ends = {future.result(30) for future in [pool.submit(act) for act in (settle, release) * 4]}
        assert len(ends) == 1
    assert_books_add_up(database)
    assert counters(database, tenant)[1] == 0


@pytest.mark.parametrize("method", ["settle", "release", "renew"])
def test_an_unknown_reservation_is_named(ledger: QuotaLedger, method: str) -> None:
    missing = uuid4()
    with pytest.raises(UnknownReservation, match=str(missing)):
        getattr(ledger, method)(missing)
    with pytest.raises(InvalidRequest, match="reservation is 'x'"):
        getattr(ledger, method)("x")


@pytest.mark.parametrize("table", ["content_quota_usage", "storage_quotas", "quota_generation_usage"])
def test_counters_that_somebody_removed(
    database: PostgresClient, ledger: QuotaLedger, tenant: UUID, table: str
) -> None:
    brand = add_brand(database, tenant)
    reservation = ledger.reserve(tenant, brand, 10, 1, 0, GENERATION)
    run(database, f"DELETE FROM {table}")
    with pytest.raises(Permanent, match="counters of its tenant or brand were removed"):
        ledger.settle(reservation, 10, 1)
    assert ledger.release(reservation) == "released"
    ledger.reserve(tenant, brand, 10, 1, 0, GENERATION)


def test_a_tenant_that_was_removed_can_still_settle(
    database: PostgresClient, ledger: QuotaLedger, tenant: UUID
) -> None:
    reservation = ledger.reserve(tenant, None, 10)
    run(database, "DELETE FROM tenants")
    assert ledger.settle(reservation, 10).state == "settled"


# --- parts -----------------------------------------------------------------------------------------------------------


def part(database: PostgresClient, ledger: QuotaLedger, reservation: Any, *amounts: int) -> str:
    with database.connection() as connection:
        return ledger.settle_part_in(connection, reservation, *amounts).state


def test_a_batch_settles_in_parts(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    brand = add_brand(database, tenant)
    reservation = ledger.reserve(tenant, brand, 400, 8, 100, GENERATION)
    assert part(database, ledger, reservation, 150, 3, 50, 1) == "reserved"
    assert counters(database, tenant) == brand_counters(database, brand) == (200, 300)
    assert generated(database, tenant) == (3, 5)
    assert part(database, ledger, reservation, 150, 3) == "reserved"
    assert_books_add_up(database)
    assert ledger.release(reservation) == "settled"
    assert counters(database, tenant) == brand_counters(database, brand) == (350, 0)
    assert generated(database, tenant) == (6, 0)
    assert_books_add_up(database)
    with pytest.raises(ReservationEnded):
        part(database, ledger, reservation, 1)


def test_the_last_settle_names_the_whole(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    reservation = ledger.reserve(tenant, None, 400, 8)
    part(database, ledger, reservation, 150, 3, 7, 1)
    with pytest.raises(InvalidRequest, match="less than what its parts have settled"):
        ledger.settle(reservation, 149, 8, 7, 1)
    ledger.settle(reservation, 300, 8, 7, 1)
    assert counters(database, tenant) == (307, 0)
    assert ledger.settle(reservation, 300, 8, 7, 1).replayed
    assert_books_add_up(database)


def test_a_part_beyond_the_reservation_must_fit(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    reservation = ledger.reserve(tenant, None, 400)
    part(database, ledger, reservation, 350)
    part(database, ledger, reservation, 150)
    assert counters(database, tenant) == (500, 0)
    ledger.reserve(tenant, None, 450)
    with pytest.raises(QuotaExceeded) as caught:
        part(database, ledger, reservation, 51)
    assert (caught.value.used, caught.value.reserved, caught.value.projected) == (500, 450, 1_001)
    assert_books_add_up(database)


def test_a_part_of_an_expired_batch_must_fit(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    reservation = ledger.reserve(tenant, None, 400)
    part(database, ledger, reservation, 100)
    expire(database)
    ledger.reap()
    assert counters(database, tenant) == (100, 0)
    assert part(database, ledger, reservation, 100) == "expired"
    assert counters(database, tenant) == (200, 0)
    assert ledger.settle(reservation, 300).state == "settled"
    assert counters(database, tenant) == (300, 0)
    assert_books_add_up(database)


# --- in the caller's transaction -------------------------------------------------------------------------------------


def test_settling_and_the_rows_happen_together_or_not_at_all(
    database: PostgresClient, ledger: QuotaLedger, tenant: UUID
) -> None:
    reservation = ledger.reserve(tenant, None, 100)
    with database.connection() as connection:
        ledger.settle_in(connection, reservation, 80)
        connection.rollback()
    assert counters(database, tenant) == (0, 100)
    with database.connection() as connection:
        connection.execute("UPDATE tenants SET name = 'Written' WHERE id = %s", [tenant])
        ledger.settle_in(connection, reservation, 80)
    assert counters(database, tenant) == (80, 0)
    assert run(database, "SELECT name FROM tenants") == [{"name": "Written"}]


def test_a_refusal_leaves_the_callers_transaction_usable(
    database: PostgresClient, ledger: QuotaLedger, tenant: UUID
) -> None:
    brand = add_brand(database, tenant, 2_000)
    with database.connection() as connection:
        kept = ledger.reserve_in(connection, tenant, brand, 100, key="k")
        with pytest.raises(QuotaExceeded):
            ledger.reserve_in(connection, tenant, brand, 1_000)
        with pytest.raises(QuotaExceeded):
            ledger.settle_in(connection, kept, 1_001)
        assert ledger.reserve_in(connection, tenant, brand, 100, key="k").replayed
        gone = ledger.reserve_in(connection, tenant, brand, 50)
        assert ledger.release_in(connection, gone) == "released"
    assert counters(database, tenant) == brand_counters(database, brand) == (0, 100)
    assert_books_add_up(database)


def test_reserving_in_a_snapshot_that_is_too_old_is_transient(
    database: PostgresClient, ledger: QuotaLedger, tenant: UUID
) -> None:
    ledger.reserve(tenant, None, 1)

    def in_an_old_snapshot() -> None:
        with database.connection() as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            connection.execute("SELECT FROM tenants")
            ledger.reserve(tenant, None, 1)
            ledger.reserve_in(connection, tenant, None, 1)

    with pytest.raises(Transient):
        in_an_old_snapshot()
    assert counters(database, tenant) == (0, 2)


def test_deleted_content_is_given_back(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    brand = add_brand(database, tenant)
    ledger.settle(ledger.reserve(tenant, brand, 100, 3, 50, GENERATION), 100, 3, 50, 2)
    with database.connection() as connection:
        ledger.give_back_in(connection, tenant, brand, 40, 1, 20, 1)
    assert counters(database, tenant) == brand_counters(database, brand) == (90, 0)
    (row,) = run(database, "SELECT content_items, media_files, media_bytes FROM content_quota_usage")
    assert row == {"content_items": 2, "media_files": 1, "media_bytes": 30}
    # What was generated was generated.
    assert generated(database, tenant) == (3, 0)
    with database.connection() as connection:
        ledger.give_back_in(connection, tenant, brand, 1_000, 9, 1_000, 9)
    assert counters(database, tenant) == brand_counters(database, brand) == (0, 0)


def test_giving_back_for_a_tenant_without_counters_does_nothing(
    database: PostgresClient, ledger: QuotaLedger, tenant: UUID
) -> None:
    before = state(database)
    with database.connection() as connection:
        ledger.give_back_in(connection, tenant, uuid4(), 10)
        with pytest.raises(InvalidRequest):
            ledger.give_back_in(connection, tenant, None, -10)
    assert state(database) == before


# --- what is no request ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"bytes": -1}, InvalidRequest),
        ({"bytes": float("nan")}, InvalidRequest),
        ({"items": 10**10}, InvalidRequest),
        ({"media_bytes": True}, InvalidRequest),
        ({"bytes": 0}, InvalidRequest),
        ({"ttl": timedelta(0)}, InvalidRequest),
        ({"reason": ""}, InvalidRequest),
        ({"key": "a\0b"}, InvalidRequest),
        ({"tenant": "acme"}, InvalidRequest),
        ({"tenant": uuid4()}, UnknownTenant),
        ({"brand": uuid4()}, UnknownBrand),
        ({"brand": "of another"}, UnknownBrand),
    ],
    ids=lambda value: str(next(iter(value))) if isinstance(value, dict) else value.__name__,
)
def test_what_is_no_request_writes_nothing(
    database: PostgresClient, ledger: QuotaLedger, tenant: UUID, given: dict[str, Any], error: type[Permanent]
) -> None:
    if given.get("brand") == "of another":
        given = {"brand": add_brand(database, add_tenant(database))}
    before = state(database)
    with pytest.raises(error):
        ledger.reserve(**({"tenant": tenant, "brand": None, "bytes": 10} | given))
    assert state(database) == before


def test_first_use_begins_with_what_is_stored(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    brand = add_brand(database, tenant)
    for size, of, gone in [(300, brand, False), (200, None, False), (4_000, brand, True)]:
        run(
            database,
            "INSERT INTO content_storage_metadata (tenant_id, brand_id, title, content_type, status, zerodb_row_id, "
            "body_sha256, storage_size_bytes, deleted_at) VALUES (%s, %s, 't', 'post', 'draft', 'd', repeat('0', 64), "
            "%s, CASE WHEN %s THEN now() END)",
            [tenant, of, size, gone],
        )
    run(
        database,
        "INSERT INTO media_assets (id, tenant_id, brand_id, kind, url, zerodb_row_id, size_bytes) "
        "VALUES (gen_random_uuid(), %s, %s, 'image', 'u', 'd', 250)",
        [tenant, brand],
    )
    with pytest.raises(QuotaExceeded) as caught:
        ledger.reserve(tenant, brand, 251)
    assert caught.value.used == 750
    ledger.reserve(tenant, brand, 250)
    assert counters(database, tenant) == (750, 250)
    assert brand_counters(database, brand) == (550, 250)
    (row,) = run(database, "SELECT content_items, media_files, media_bytes FROM content_quota_usage")
    assert row == {"content_items": 2, "media_files": 1, "media_bytes": 250}


def test_first_uses_at_once_make_one_row_each(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    brand = add_brand(database, tenant)
    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(ledger.reserve, tenant, brand, 10, 1, 0, "upload") for _ in range(32)]
        for future in futures:
            future.result(30)
    assert counters(database, tenant) == brand_counters(database, brand) == (0, 320)
    assert_books_add_up(database)


# --- the connection --------------------------------------------------------------------------------------------------


def test_the_statement_is_its_own_transaction(database: PostgresClient) -> None:
    with at_once(database) as connection:
        first = one(connection, "quota/release", {"reservation_id": uuid4()})
        assert first == {"outcome": "unknown"}
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    with database.connection() as connection:
        assert not connection.autocommit


def test_a_statement_that_fails_leaves_the_connection_as_it_was(database: PostgresClient) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero), at_once(database) as connection:
        connection.execute("SELECT 1 / 0")
    with database.connection() as connection:
        assert not connection.autocommit


def test_a_connection_that_breaks_is_transient(database: PostgresClient, ledger: QuotaLedger, tenant: UUID) -> None:
    with pytest.raises(Transient), at_once(database) as connection:
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert ledger.reserve(tenant, None, 1).state == "reserved"


def test_a_row_that_is_always_there_and_is_not(database: PostgresClient) -> None:
    with at_once(database) as connection, pytest.raises(Permanent, match="quota/usage answered no row"):
        one(connection, "quota/usage", {"tenant_id": uuid4()})


def test_a_plan_that_the_platform_lowered_is_met_at_once(database: PostgresClient, ledger: QuotaLedger) -> None:
    tenant = add_tenant(database, "starter")
    brand = add_brand(database, tenant)
    open_one = ledger.reserve(tenant, brand, 700)
    ledger.settle(ledger.reserve(tenant, brand, 1_200), 1_200)
    set_plan(database, tenant, "free")
    with pytest.raises(QuotaExceeded) as caught:
        ledger.reserve(tenant, brand, 1)
    assert (caught.value.limit, caught.value.plan, caught.value.plan_that_fits) == (1_000, "free", "free")
    # What was promised before is kept; what goes beyond is not.
    with pytest.raises(QuotaExceeded):
        ledger.settle(open_one, 701)
    ledger.settle(open_one, 700)
    assert counters(database, tenant) == (1_900, 0)
