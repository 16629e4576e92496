"""Usage on the real server: what a plain sum over the rows says, and nothing of the ledger's own columns touched."""

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from content_orchestration.core.errors import Permanent
from content_orchestration.core.quota.usage import compute_usage, tenant_ids, untrue_counters
from content_orchestration.resources.postgres_client import PostgresClient

GIB = 1024**3
SHA = hashlib.sha256(b"").hexdigest()
TYPES = ("article", "post", "email", "image", "video", "document")
KINDS = ("image", "video", "document")


@pytest.fixture
def database(database_url: str) -> Iterator[PostgresClient]:
    with PostgresClient(database_url) as client:
        yield client


def run(database: PostgresClient, query: str, values: Any = None) -> list[dict[str, Any]]:
    with database.connection() as connection:
        cursor = connection.execute(query, values)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


def tenant(database: PostgresClient, plan: str | None = "starter", name: str = "Acme") -> str:
    made = str(uuid4())
    values = [made, name, made, plan]
    run(database, "INSERT INTO tenants (id, name, slug, plan_tier, created_at) VALUES (%s, %s, %s, %s, now())", values)
    return made


def content(database: PostgresClient, owner: str, kind: str, size: int, *, deleted: bool = False) -> UUID:
    return run(
        database,
        "INSERT INTO content_storage_metadata (tenant_id, title, content_type, status, zerodb_row_id, body_sha256, "
        "storage_size_bytes, deleted_at) VALUES (%s, 't', %s, 'draft', 'd', %s, %s, CASE WHEN %s THEN now() END) "
        "RETURNING id",
        [owner, kind, SHA, size, deleted],
    )[0]["id"]


def media(database: PostgresClient, owner: str, kind: str, size: int, *, deleted: bool = False) -> None:
    run(
        database,
        "INSERT INTO media_assets (id, tenant_id, kind, url, zerodb_row_id, size_bytes, deleted_at) "
        "VALUES (gen_random_uuid(), %s, %s, 'u', 'd', %s, CASE WHEN %s THEN now() END)",
        [owner, kind, size, deleted],
    )


def stored(database: PostgresClient, owner: str) -> dict[str, Any]:
    (row,) = run(database, "SELECT * FROM content_quota_usage WHERE tenant_id = %s", [owner])
    return row


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


def test_the_ledgers_own_columns_stay(database: PostgresClient) -> None:
    owner = tenant(database)
    content(database, owner, "post", 10)
    compute_usage(database, owner)
    run(
        database,
        "UPDATE content_quota_usage SET reserved_bytes = 777, notified_percent = 80, used_bytes = 4, "
        "last_calculated_at = '2020-01-01' WHERE tenant_id = %s",
        [owner],
    )
    assert compute_usage(database, owner).drift_bytes == 6
    row = stored(database, owner)
    assert (row["reserved_bytes"], row["notified_percent"], row["used_bytes"]) == (777, 80, 10)
    assert row["last_calculated_at"].year > 2020
    assert row["updated_at"] == row["last_calculated_at"]


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
