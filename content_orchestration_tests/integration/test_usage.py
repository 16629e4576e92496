"""Usage on the real server: what a plain sum over the rows says, for tenants, brands, months and what is reserved."""

import random
from collections import defaultdict
from collections.abc import Iterator
from uuid import uuid4

import pytest

from content_orchestration.core.errors import Permanent
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.quota.usage import compute_usage, tenant_ids, untrue_counters
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.usage_rows import GIB, SHA, brand, content, media, run, stored, tenant

TYPES = ("article", "post", "email", "image", "video", "document")
KINDS = ("image", "video", "document")


@pytest.fixture
def database(database_url: str) -> Iterator[PostgresClient]:
    with PostgresClient(database_url) as client:
        yield client


@pytest.mark.parametrize("seed", range(3))
def test_usage_is_the_plain_sum_of_what_is_not_deleted(database: PostgresClient, seed: int) -> None:
    dice = random.Random(seed)
    tenants = [tenant(database, name=f"T{n}") for n in range(3)]
    rows = [
        (
            dice.choice(["content", "media"]), dice.choice(tenants[:2]), dice.choice(KINDS),
            dice.choice([0, 1, dice.randrange(10**6), dice.randrange(2**40)]), dice.random() < 0.3,
        )
        for _ in range(60)
    ]  # fmt: skip
    for table, owner, kind, size, deleted in rows:
        (content if table == "content" else media)(database, owner, kind, size, deleted=deleted)

    for owner in tenants:
        mine = [row for row in rows if row[1] == owner and not row[4]]
        by_type: dict[str, dict[str, int]] = defaultdict(lambda: {"items": 0, "bytes": 0})
        for table, _, kind, size, _ in mine:
            entry = by_type[kind if table == "content" else f"media_{kind}"]
            entry["items"] += 1
            entry["bytes"] += size
        expected = {
            "used_bytes": sum(row[3] for row in mine),
            "content_items": sum(row[0] == "content" for row in mine),
            "media_files": sum(row[0] == "media" for row in mine),
            "media_bytes": sum(row[3] for row in mine if row[0] == "media"),
            "usage_by_type": dict(by_type),
        }
        usage = compute_usage(database, owner)
        written = stored(database, owner)
        for key, value in expected.items():
            assert getattr(usage, key) == value, (seed, key)
            assert written[key] == value, (seed, key)
        assert (usage.drift_bytes, usage.plan_recognised) == (expected["used_bytes"], True)
        assert compute_usage(database, owner).drift_bytes == 0
    assert untrue_counters(database) == []


def test_a_tenant_without_content_uses_nothing(database: PostgresClient) -> None:
    owner = tenant(database)
    usage = compute_usage(database, owner)
    assert (usage.used_bytes, usage.content_items, usage.media_files, usage.usage_by_type) == (0, 0, 0, {})
    assert usage.percent == 0
    assert stored(database, owner)["limit_bytes"] == 10 * GIB


def test_what_is_reserved_stays_and_what_no_reservation_explains_goes(database: PostgresClient) -> None:
    owner = tenant(database)
    content(database, owner, "post", 10)
    compute_usage(database, owner)
    QuotaLedger(database).reserve(owner, bytes=700, items=1)
    run(
        database,
        "UPDATE content_quota_usage SET reserved_bytes = reserved_bytes + 77, used_bytes = 4, "
        "last_calculated_at = '2020-01-01' WHERE tenant_id = %s",
        [owner],
    )
    usage = compute_usage(database, owner)
    assert usage.drift_bytes == 6
    assert usage.drift == {"used_bytes": 6, "reserved_bytes": -77}
    row = stored(database, owner)
    assert (row["reserved_bytes"], row["used_bytes"]) == (700, 10)
    assert row["last_calculated_at"].year > 2020
    assert untrue_counters(database) == []


def test_brands_are_counted_by_their_own_rows(database: PostgresClient) -> None:
    owner, stranger = tenant(database), tenant(database)
    tools, home, empty = (brand(database, owner) for _ in range(3))
    content(database, owner, "post", 10, of=tools)
    content(database, owner, "post", 99, of=tools, deleted=True)
    media(database, owner, "image", 5, of=tools)
    content(database, owner, "post", 7, of=home)
    content(database, owner, "post", 3)
    # A row of another tenant that names the brand is that tenant's, and not the brand's.
    content(database, stranger, "post", 1000, of=home)
    assert {row["brand_id"] for row in untrue_counters(database) if row["scope"] == "brand"} == {tools, home}

    usage = compute_usage(database, owner)
    assert (usage.used_bytes, usage.brand_drift_bytes) == (25, {tools: 15, home: 7})
    rows = run(database, "SELECT brand_id::text, tenant_id::text, used_bytes, limit_bytes FROM storage_quotas")
    assert {row["brand_id"]: row["used_bytes"] for row in rows} == {tools: 15, home: 7}, f"{empty} stores nothing"
    assert {(row["tenant_id"], row["limit_bytes"]) for row in rows} == {(owner, 5 * GIB)}

    run(database, "UPDATE storage_quotas SET used_bytes = 1 WHERE brand_id = %s", [tools])
    (found,) = [row for row in untrue_counters(database) if row["tenant_id"] == owner]
    assert (found["scope"], found["brand_id"], found["off"]) == ("brand", tools, {"used_bytes": 14})
    assert compute_usage(database, owner).brand_drift_bytes == {tools: 14}
    assert compute_usage(database, owner).brand_drift_bytes == {}
    compute_usage(database, stranger)
    assert untrue_counters(database) == []


def test_generated_items_are_counted_from_their_reservations(database: PostgresClient) -> None:
    owner = tenant(database)
    ledger = QuotaLedger(database)
    done = ledger.reserve(owner, items=5, reason="generation")
    ledger.reserve(owner, items=2, reason="generation")
    ledger.settle(done, items=4)
    run(database, "UPDATE quota_generation_usage SET used_items = 90, reserved_items = 0")
    assert [row["off"] for row in untrue_counters(database) if row["scope"] == "month"] == [
        {"used_items": -86, "reserved_items": 2}
    ]
    assert compute_usage(database, owner).generated_items == 4
    (month,) = run(database, "SELECT * FROM quota_generation_usage")
    assert (month["used_items"], month["reserved_items"], month["limit_items"]) == (4, 2, 1_000)

    run(database, "DELETE FROM quota_generation_usage")
    run(database, "UPDATE tenants SET plan_tier = 'free'")
    compute_usage(database, owner)
    (month,) = run(database, "SELECT * FROM quota_generation_usage")
    assert (month["used_items"], month["reserved_items"], month["limit_items"]) == (4, 2, 100)


def test_a_body_in_the_spill_counts_once_through_its_row(database: PostgresClient) -> None:
    owner = tenant(database)
    item = content(database, owner, "post", 10)
    spill = (
        "INSERT INTO content_body_spill (zerodb_row_id, tenant_id, content_id, version, body, body_sha256, size_bytes) "
        "SELECT %s, %s, %s, 1, 'b', %s, %s"
    )
    (row,) = run(database, "SELECT zerodb_row_id FROM content_storage_metadata")
    run(database, spill, [row["zerodb_row_id"], owner, item, SHA, 10])
    run(database, spill, ["nobody-names-this", owner, uuid4(), SHA, 55])
    usage = compute_usage(database, owner)
    assert (usage.used_bytes, usage.spilled_bytes, usage.spilled_unnamed_bytes) == (10, 10, 55)
    assert usage.as_metadata()["spilled_bytes_no_row_names"] == 55
    assert untrue_counters(database) == []


@pytest.mark.parametrize(
    ("tier", "plan", "limit", "recognised"),
    [
        ("free", "free", GIB, True),
        ("enterprise", "enterprise", None, True),
        (None, "free", GIB, False),
        ("gold", "free", GIB, False),
    ],
)
def test_an_unknown_plan_is_free_and_reported(
    database: PostgresClient, tier: str | None, plan: str, limit: int | None, recognised: bool
) -> None:
    owner = tenant(database, tier)
    usage = compute_usage(database, owner)
    assert (usage.plan, usage.limit_bytes, usage.plan_recognised) == (plan, limit, recognised)
    assert usage.as_metadata()["plan_recognised"] is recognised
    row = stored(database, owner)
    assert (row["plan_tier"], row["limit_bytes"]) == (plan, limit)


def test_a_new_plan_brings_its_limit(database: PostgresClient) -> None:
    owner = tenant(database, "free")
    compute_usage(database, owner)
    run(database, "UPDATE tenants SET plan_tier = 'business' WHERE id = %s", [owner])
    compute_usage(database, owner)
    assert stored(database, owner)["limit_bytes"] == 500 * GIB


def test_an_unknown_tenant_is_permanent_and_nothing_is_written(database: PostgresClient) -> None:
    with pytest.raises(Permanent, match=r"is not in tenants.*Delete the partition"):
        compute_usage(database, str(uuid4()))
    assert run(database, "SELECT * FROM content_quota_usage") == []


def test_tenants_come_oldest_first(database: PostgresClient) -> None:
    made = [tenant(database) for _ in range(4)]
    order = [2, 0, 3, 1]
    for position, index in enumerate(order):
        values = [f"2026-01-0{position + 1}", made[index]]
        run(database, "UPDATE tenants SET created_at = %s WHERE id = %s", values)
    assert tenant_ids(database) == [made[index] for index in order]


@pytest.mark.parametrize("column", ["used_bytes", "content_items", "media_files", "media_bytes"])
def test_a_tampered_counter_is_found(database: PostgresClient, column: str) -> None:
    true, false = tenant(database), tenant(database)
    for owner in (true, false):
        content(database, owner, "post", 10)
        media(database, owner, "image", 5)
        compute_usage(database, owner)
    assert untrue_counters(database) == []
    run(database, f"UPDATE content_quota_usage SET {column} = {column} + 1 WHERE tenant_id = %s", [false])
    (found,) = untrue_counters(database)
    assert (found["tenant_id"], found["stored_bytes"]) == (false, 15)
    assert found["counted_bytes"] == (16 if column == "used_bytes" else 15)
    compute_usage(database, false)
    assert untrue_counters(database) == []


def test_what_changes_behind_the_counters_is_found(database: PostgresClient) -> None:
    owner = tenant(database)
    item = content(database, owner, "post", 10)
    assert [row["tenant_id"] for row in untrue_counters(database)] == [owner]
    compute_usage(database, owner)
    run(database, "UPDATE content_storage_metadata SET deleted_at = now() WHERE id = %s", [item])
    assert [row["stored_bytes"] for row in untrue_counters(database)] == [0]


def test_at_most_twenty_differences_are_told(database: PostgresClient) -> None:
    for _ in range(21):
        tenant(database)
    assert len(untrue_counters(database)) == 20
