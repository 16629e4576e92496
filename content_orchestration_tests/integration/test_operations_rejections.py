"""Refusals of the ledger are counted a tenant and day, beside what is refused, and never in the way of an answer."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import pytest

from content_orchestration.core.quota.decision import QuotaExceeded, UnknownTenant
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.quota.rejections import WRITTEN_AT_ONCE, Rejections, rejections_of
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.usage_rows import GIB, brand, run, tenant


@pytest.fixture
def database(database_url: str) -> Iterator[PostgresClient]:
    with PostgresClient(database_url) as client:
        yield client


def counted(database: PostgresClient) -> dict[tuple[str, str], int]:
    rows = run(database, "SELECT tenant_id::text AS tenant, scope, rejections FROM quota_rejections")
    return {(row["tenant"], row["scope"]): row["rejections"] for row in rows}


def asked(ledger: QuotaLedger, owner: str, times: int = 1, **given: Any) -> None:
    for _ in range(times):
        with suppress(QuotaExceeded):
            ledger.reserve(owner, **{"bytes": 2 * GIB} | given)
            raise AssertionError("it was not refused")


def test_each_refusal_is_counted_by_tenant_and_scope_and_a_yes_is_not(database: PostgresClient) -> None:
    mine, theirs = tenant(database, "free"), tenant(database, "free")
    of = brand(database, mine)
    run(database, "INSERT INTO storage_quotas (brand_id, tenant_id, limit_bytes) VALUES (%s, %s, 10)", [of, mine])
    ledger = QuotaLedger(database)
    asked(ledger, mine, 3)
    asked(ledger, mine, 2, brand=of, bytes=11)
    asked(ledger, mine, bytes=0, items=101, reason="generation")
    asked(ledger, theirs, WRITTEN_AT_ONCE)
    ledger.reserve(mine, bytes=10)
    with pytest.raises(UnknownTenant):
        ledger.reserve(uuid4(), bytes=10)
    assert counted(database) == {
        (mine, "tenant"): 3, (mine, "brand"): 2, (mine, "generation"): 1, (theirs, "tenant"): WRITTEN_AT_ONCE,
    }  # fmt: skip


def test_a_refusal_inside_of_a_transaction_is_counted_though_it_is_rolled_back(database: PostgresClient) -> None:
    owner = tenant(database, "free")
    ledger = QuotaLedger(database)
    held = ledger.reserve(owner, bytes=10)
    with pytest.raises(QuotaExceeded), database.connection() as connection:
        ledger.reserve_in(connection, owner, bytes=2 * GIB)
    with pytest.raises(QuotaExceeded), database.connection() as connection:
        ledger.settle_in(connection, held, bytes=2 * GIB)
    assert counted(database) == {}, "nobody has a second connection at that moment"
    ledger.release(held)
    assert counted(database) == {(owner, "tenant"): 2}, "a settlement names its reservation only"


def test_a_burst_is_written_once_a_second_and_none_of_it_is_lost_meanwhile(database: PostgresClient) -> None:
    owner, now = UUID(tenant(database, "free")), [100.0]
    rejections = Rejections(clock=lambda: now[0])

    def refuse(times: int) -> None:
        for _ in range(times):
            rejections.note("tenant", tenant=owner)
            rejections.write_when_due(database)

    refuse(WRITTEN_AT_ONCE)
    assert sum(counted(database).values()) == WRITTEN_AT_ONCE
    refuse(500)
    assert sum(counted(database).values()) == WRITTEN_AT_ONCE
    now[0] += 1.0
    refuse(1)
    assert sum(counted(database).values()) == WRITTEN_AT_ONCE + 501
    other = UUID(tenant(database, "free"))
    rejections.note("tenant", tenant=other)
    rejections.write_when_due(database)
    assert counted(database)[(str(other), "tenant")] == 1, "another tenant's first refusal does not wait"


def test_counting_never_stands_in_the_way_of_the_answer(database: PostgresClient) -> None:
    owner = tenant(database, "free")
    ledger = QuotaLedger(database)
    run(database, "ALTER TABLE quota_rejections RENAME TO away")
    asked(ledger, owner, 3)
    run(database, "ALTER TABLE away RENAME TO quota_rejections")
    asked(ledger, owner)
    assert counted(database) == {(owner, "tenant"): 4}


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("content_orchestration.core.quota.rejections._MOST", 2)
    rejections = Rejections()
    for _ in range(5):
        rejections.note("tenant", tenant=uuid4())
    assert len(rejections._waiting) == 2


def test_processes_and_threads_that_count_at_once_add_up(database_url: str) -> None:
    with PostgresClient(database_url) as database:
        owners = [tenant(database, "free", f"T{n}") for n in range(3)]

        def work() -> None:
            with PostgresClient(database_url) as mine:
                ledger = QuotaLedger(mine)
                for owner in owners * 5:
                    asked(ledger, owner)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert counted(database) == {(owner, "tenant"): 20 for owner in owners}


def test_ledgers_of_one_database_share_a_counter_and_it_goes_with_the_database(database_url: str) -> None:
    client = PostgresClient(database_url)
    assert rejections_of(client) is rejections_of(client)
    assert rejections_of(client) is not rejections_of(PostgresClient(database_url))


def test_a_role_that_may_only_reserve_is_counted_too(database: PostgresClient) -> None:
    owner = tenant(database, "free")
    with database.connection() as connection:
        connection.execute(
            "SELECT set_config('role', 'content_app', true), set_config('app.tenant_id', %s, true)", [owner]
        )
        connection.execute(
            "SELECT quota_count_rejections(ARRAY[%s]::uuid[], ARRAY[NULL]::uuid[], ARRAY['tenant'], ARRAY[2::bigint])",
            [owner],
        )
    assert counted(database) == {(owner, "tenant"): 2}
