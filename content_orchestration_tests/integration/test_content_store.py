"""The content store on the real servers: failing tiers, racing writers, quota, lists, bad input, the drain."""

import base64
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from content_orchestration.core.content.breaker import Breaker
from content_orchestration.core.content.errors import (
    BodyUnavailable,
    ContentNotFound,
    InvalidContent,
    VersionConflict,
)
from content_orchestration.core.content.model import Changes, Filters, NewContent
from content_orchestration.core.content.spill import drain, spill_state
from content_orchestration.core.content.store import ContentStore
from content_orchestration.core.errors import AlreadyRunning, Transient
from content_orchestration.core.identity import sha256_hex
from content_orchestration.core.quota.decision import QuotaExceeded
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration_tests.replication_fakes import sync
from content_orchestration_tests.tiers import Tiers


@dataclass(frozen=True)
class World:
    """A tenant, the store as it should be, and a store whose ZeroDB nobody answers for."""

    tiers: Tiers
    tenant: UUID
    brand: UUID
    store: ContentStore
    dark: ContentStore
    nobody: ZeroDBClient
    ledger: QuotaLedger

    def run(self, statement: str, values: list[Any] | None = None) -> list[Any]:
        with self.tiers.database.connection() as connection:
            cursor = connection.execute(statement, values)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def state(self) -> Any:
        """Everything that a refused write must leave alone."""
        tables = ("content_storage_metadata", "content_versions", "content_body_spill", "content_changes")
        counts = [self.run(f"SELECT count(*) AS n FROM {table}")[0]["n"] for table in tables]
        usage = self.ledger.usage(self.tenant)
        return counts, usage.used_bytes, usage.reserved_bytes, self.tiers.store.collections()


@pytest.fixture
def world(tiers: Tiers) -> Iterator[World]:
    tenant, brand = uuid4(), uuid4()
    with tiers.database.connection() as connection:
        connection.execute(
            "INSERT INTO tenants (id, name, slug, plan_tier) VALUES (%s, 'Tenant', 'tenant', 'free')", [tenant]
        )
        connection.execute("INSERT INTO brands (id, tenant_id, name) VALUES (%s, %s, 'Brand')", [brand, tenant])
    ledger = QuotaLedger(tiers.database)
    with ZeroDBClient(
        "http://127.0.0.1:1/api/v1", "nowhere", "key", attempts=1, total_timeout=0.1, wait_initial=0.01
    ) as nobody:
        yield World(
            tiers, tenant, brand,
            ContentStore(tiers.database, tiers.store, ledger, tiers.warehouse),
            ContentStore(tiers.database, nobody, ledger, tiers.warehouse),
            nobody,
            ledger,
        )  # fmt: skip


def make(world: World, title: str = "Title", body: str = "a body", **fields: Any) -> UUID:
    return world.store.create(world.tenant, NewContent(title, body, **fields), created_by="test").id


def test_one_of_fifty_writers_wins_a_version(world: World) -> None:
    item = make(world)
    start = threading.Barrier(50)

    def write(number: int) -> VersionConflict | int:
        start.wait(60)
        try:
            return world.store.update(
                world.tenant, item, Changes(body=f"writer {number}"), expected_version=1, changed_by=f"w{number}"
            ).version
        except VersionConflict as conflict:
            return conflict

    with ThreadPoolExecutor(50) as pool:
        ended = list(pool.map(write, range(50)))
    conflicts = [end for end in ended if isinstance(end, VersionConflict)]
    assert {(conflict.expected, conflict.found) for conflict in conflicts} == {(1, 2)}
    assert len(conflicts) == 49
    winner = ended.index(2)
    assert world.store.get(world.tenant, item).body == f"writer {winner}"
    documents = [d for d in world.tiers.store.scan("content_items") if d["id"] == f"{item}.v2"]
    assert [document["body"] for document in documents] == [f"writer {winner}"]
    usage = world.ledger.usage(world.tenant)
    assert (usage.used_bytes, usage.reserved_bytes) == (len(f"writer {winner}"), 0)


def test_one_source_makes_one_item_whoever_races(world: World) -> None:
    start = threading.Barrier(12)

    def create(number: int) -> UUID:
        start.wait(60)
        content = NewContent("T", f"body {number}", source="row:1")
        return world.store.create(world.tenant, content, created_by="test").id

    with ThreadPoolExecutor(12) as pool:
        made = set(pool.map(create, range(12)))
    assert len(made) == 1
    assert len(list(world.tiers.store.scan("content_items"))) == 1
    found = world.store.get(world.tenant, made.pop())
    assert sha256_hex(found.body or "") == found.item.body_sha256
    assert world.ledger.usage(world.tenant).used_bytes == found.item.storage_size_bytes


def test_while_zerodb_is_down_writes_spill_and_count(world: World) -> None:
    item = world.dark.create(world.tenant, NewContent("T", "spilled ü"), created_by="test")
    assert world.ledger.usage(world.tenant).used_bytes == 10
    found = world.dark.get(world.tenant, item.id)
    assert (found.body, found.body_source, found.is_last_copy) == ("spilled ü", "spill", False)
    assert world.store.get(world.tenant, item.id).body_source == "spill"
    page = world.dark.list(world.tenant)
    assert (page.items[0].preview, page.notice) == ("spilled ü", None)
    updated = world.dark.update(
        world.tenant, item.id, Changes(body="again"), expected_version=1, changed_by="test", reason="why not"
    )
    assert world.dark.get(world.tenant, item.id).body == "again"
    assert spill_state(world.tiers.database).bodies == 2

    report = drain(world.tiers.database, world.tiers.store)
    assert (report.moved, report.bytes, report.refused, report.replaced) == (2, 15, 0, 0)
    assert spill_state(world.tiers.database).bodies == 0
    found = world.store.get(world.tenant, item.id)
    assert (found.body, found.body_source) == ("again", "zerodb")
    record = world.tiers.store.get_many("content_versions", [updated.zerodb_row_id])[updated.zerodb_row_id]
    assert (record["changed_by"], record["change_reason"], record["version"]) == ("test", "why not", 2)
    assert record["patch"] == list(world.store.versions(world.tenant, item.id)[0].patch)
    document = world.tiers.store.get_many("content_items", [f"{item.id}.v1"])[f"{item.id}.v1"]
    assert (document["preview"], document["title"], document["tenant_id"]) == ("spilled ü", "T", str(world.tenant))
    assert drain(world.tiers.database, world.tiers.store).moved == 0


def test_the_last_copy_is_read_from_bigquery_and_marked(world: World) -> None:
    item = make(world, body="replicated")
    sync(world.tiers)
    later = make(world, body="not replicated")
    found = world.dark.get(world.tenant, item)
    assert (found.body, found.body_source, found.is_last_copy) == ("replicated", "bigquery", True)
    missing = world.dark.get(world.tenant, later)
    assert missing.body is None
    assert missing.item.title == "Title"
    assert missing.body_error is not None
    assert "ZeroDB" in missing.body_error
    assert "BigQuery has no copy of it yet" in missing.body_error
    alone = ContentStore(world.tiers.database, world.nobody, world.ledger)
    assert "BigQuery is not configured" in (alone.get(world.tenant, item).body_error or "")
    page = world.dark.list(world.tenant)
    assert [entry.preview for entry in page.items] == [None, None]
    assert "ZeroDB" in (page.notice or "")


def test_a_wrong_body_is_never_handed_out(world: World) -> None:
    item = make(world, body="right")
    stored = world.tiers.store.get_many("content_items", [f"{item}.v1"])[f"{item}.v1"]
    world.tiers.store.replace("content_items", stored | {"body": "wrong", "preview": "wrong"})
    found = world.store.get(world.tenant, item)
    assert found.body is None
    assert "no body with the hash" in (found.body_error or "")
    with pytest.raises(BodyUnavailable, match="nothing was written"):
        world.store.update(world.tenant, item, Changes(title="New"), expected_version=1, changed_by="test")
    with pytest.raises(BodyUnavailable):
        world.store.diff(world.tenant, item, 1, 1)
    with pytest.raises(BodyUnavailable):
        world.store.rollback_to(world.tenant, item, 1, expected_version=1, changed_by="test")


def test_a_write_past_the_quota_leaves_nothing(world: World) -> None:
    make(world)
    world.run("UPDATE storage_quotas SET limit_bytes = 100 WHERE brand_id = %s", [world.brand])
    make(world, brand_id=world.brand)
    world.run("UPDATE storage_quotas SET limit_bytes = 100 WHERE brand_id = %s", [world.brand])
    before = world.state()
    with pytest.raises(QuotaExceeded):
        make(world, body="x" * 101, brand_id=world.brand)
    assert world.state() == before


def test_usage_follows_every_operation(world: World) -> None:
    def used() -> tuple[int, int, int]:
        usage = world.ledger.usage(world.tenant)
        return usage.used_bytes, usage.content_items, usage.reserved_bytes

    item = make(world, body="x" * 100, brand_id=world.brand)
    assert used() == (100, 1, 0)
    world.store.update(world.tenant, item, Changes(body="x" * 150), expected_version=1, changed_by="t")
    assert used() == (150, 1, 0)
    world.store.update(world.tenant, item, Changes(body="x" * 30), expected_version=2, changed_by="t")
    assert used() == (30, 1, 0)
    world.store.update(world.tenant, item, Changes(title="Same size"), expected_version=3, changed_by="t")
    assert used() == (30, 1, 0)
    world.store.soft_delete(world.tenant, item)
    assert used() == (0, 0, 0)
    world.store.undelete(world.tenant, item)
    assert used() == (30, 1, 0)
    with pytest.raises(ContentNotFound, match="is not deleted"):
        world.store.undelete(world.tenant, item)
    world.store.purge(world.tenant, item, may_purge=True, confirm=f"purge {item}")
    assert used() == (0, 0, 0)
    assert world.run("SELECT used_bytes, reserved_bytes FROM storage_quotas") == [
        {"used_bytes": 0, "reserved_bytes": 0}
    ]
    assert list(world.tiers.store.scan("content_items")) == []
    with pytest.raises(ContentNotFound):
        world.store.versions(world.tenant, item)


def test_purge_takes_files_out_of_the_usage_and_leaves_them_to_cleanup(world: World) -> None:
    item = make(world, body="x" * 10)
    world.run(
        "INSERT INTO media_assets (id, tenant_id, content_id, kind, url, size_bytes, zerodb_row_id) "
        "VALUES (%s, %s, %s, 'image', 'u', 1000, 'm')",
        [uuid4(), world.tenant, item],
    )
    world.run(
        "UPDATE content_quota_usage SET used_bytes = used_bytes + 1000, media_bytes = 1000, media_files = 1 "
        "WHERE tenant_id = %s",
        [world.tenant],
    )
    world.store.soft_delete(world.tenant, item)
    world.dark.purge(world.tenant, item, may_purge=True, confirm=f"purge {item}")
    usage = world.ledger.usage(world.tenant)
    assert (usage.used_bytes, usage.media_bytes, usage.media_files) == (0, 0, 0)
    assert world.run("SELECT deleted_at IS NOT NULL AS gone FROM media_assets") == [{"gone": True}]
    # ZeroDB was down: the document stays, named by nothing, for cleanup to find.
    assert [document["id"] for document in world.tiers.store.scan("content_items")] == [f"{item}.v1"]


def test_purge_frees_a_shared_file_with_the_last_row_that_names_it(world: World) -> None:
    """As `core/media/references.py` counts: once a tenant, and once in each brand."""
    brands = sorted(uuid4() for _ in range(2))
    items = [make(world, body="") for _ in range(3)]
    for item, brand in zip(items, (brands[0], brands[0], brands[1]), strict=True):
        world.run(
            "INSERT INTO media_assets (id, tenant_id, brand_id, content_id, kind, url, size_bytes, sha256, status, "
            "zerodb_row_id) VALUES (gen_random_uuid(), %s, %s, %s, 'image', 'u', 700, %s, 'stored', 'm')",
            [world.tenant, brand, item, "ab" * 32],
        )
    # A row whose file is not stored counts with its recorded size.
    world.run(
        "INSERT INTO media_assets (id, tenant_id, brand_id, content_id, kind, url, size_bytes, zerodb_row_id) "
        "VALUES (gen_random_uuid(), %s, %s, %s, 'image', 'u', 30, 'n')",
        [world.tenant, brands[0], items[0]],
    )
    world.run(
        "INSERT INTO storage_quotas (brand_id, tenant_id, used_bytes) SELECT b, %s, (quota_stored(%s, b)).bytes "
        "FROM unnest(%s::uuid[]) AS b",
        [world.tenant, world.tenant, brands],
    )
    world.run(
        "UPDATE content_quota_usage u SET used_bytes = s.bytes, media_bytes = s.media_bytes, "
        "media_files = s.media_files FROM quota_stored(%s, NULL) AS s WHERE u.tenant_id = %s",
        [world.tenant, world.tenant],
    )

    def used() -> tuple[int, int, list[int]]:
        usage = world.ledger.usage(world.tenant)
        rows = world.run("SELECT used_bytes FROM storage_quotas WHERE brand_id = ANY (%s) ORDER BY brand_id", [brands])
        return usage.media_bytes, usage.media_files, [row["used_bytes"] for row in rows]

    assert used() == (730, 2, [730, 700])
    for item, left in zip(items, ((700, 1, [700, 700]), (700, 1, [0, 700]), (0, 0, [0, 0])), strict=True):
        world.store.purge(world.tenant, item, may_purge=True, confirm=f"purge {item}")
        assert used() == left


def test_lists_are_pages_from_the_newest_with_filters(world: World) -> None:
    campaign = uuid4()
    ids = [
        make(
            world, f"Item {n} 100%", f"body {n}", content_type=("post", "email")[n % 2],
            status=("draft", "published", "archived")[n % 3], metadata={"tags": [f"t{n % 4}", "all"]},
            campaign_space_id=campaign if n < 5 else None,
        )
        for n in range(12)
    ]  # fmt: skip
    base = datetime(2026, 1, 1, tzinfo=UTC)
    for number, item in enumerate(ids):
        # Two share a moment, so that the id has to decide.
        world.run(
            "UPDATE content_storage_metadata SET created_at = %s WHERE id = %s",
            [base + timedelta(hours=number // 2), item],
        )
    world.run("UPDATE content_storage_metadata SET created_at = 'infinity' WHERE id = %s", [ids[11]])
    world.run("UPDATE content_storage_metadata SET created_at = 'infinity' WHERE id = %s", [ids[10]])
    world.run("UPDATE content_storage_metadata SET created_at = '0044-03-15 BC' WHERE id = %s", [ids[0]])

    def listed(limit: int, **given: Any) -> list[UUID]:
        found: list[UUID] = []
        cursor = None
        while True:
            page = world.store.list(world.tenant, Filters(**given), limit=limit, after=cursor)
            assert len(page.items) <= limit
            found += [entry.item.id for entry in page.items]
            cursor = page.cursor
            if cursor is None:
                return found

    whole = listed(100)
    assert sorted(whole) == sorted(ids)
    assert set(whole[:2]) == {ids[10], ids[11]}
    assert whole[-1] == ids[0]
    assert all(listed(limit) == whole for limit in (1, 2, 5, 12, 13))
    for given, wanted in (
        ({"content_type": "email"}, {n for n in range(12) if n % 2}),
        ({"status": "archived"}, {n for n in range(12) if n % 3 == 2}),
        ({"tag": "t3"}, {3, 7, 11}),
        ({"campaign_space_id": campaign}, set(range(5))),
        ({"created_from": base + timedelta(hours=1), "created_before": base + timedelta(hours=3)}, {2, 3, 4, 5}),
        ({"title_contains": "ITEM 1"}, {1, 10, 11}),
        ({"title_contains": "0%"}, set(range(12))),
        ({"title_contains": "_tem"}, set()),
        ({"deleted": True}, set()),
    ):
        assert set(listed(3, **given)) == {ids[n] for n in wanted}, given
    assert world.store.list(world.tenant, limit=1).items[0].item.created_at.year == 9999


def cursor_of(key: list[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("limit", {"limit": 0}),
        ("limit", {"limit": 101}),
        ("content_type", {"filters": Filters(content_type="x")}),
        ("status", {"filters": Filters(status="x")}),
        ("tag", {"filters": Filters(tag="")}),
        ("title_contains", {"filters": Filters(title_contains="\0")}),
        ("brand_id", {"filters": Filters(brand_id=UUID(int=0))}),
        ("created_from", {"filters": Filters(created_from=datetime(2026, 1, 1))}),
        ("created_before", {"filters": Filters(created_before="2026-01-01")}),  # type: ignore[arg-type]
        ("limit", {"limit": "20"}),
        ("limit", {"limit": True}),
        ("cursor", {"after": "x"}),
        # The 31st of February, and a text that a parser goes down in until its stack ends.
        ("cursor", {"after": cursor_of(["2026-02-31 00:00:00+00", str(UUID(int=1))])}),
        ("cursor", {"after": base64.urlsafe_b64encode(b"[" * 100_000).decode()}),
    ],
)
def test_a_bad_list_is_refused(world: World, field: str, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidContent) as caught:
        world.store.list(world.tenant, **given)
    assert caught.value.field == field


def test_bad_input_leaves_every_tier_as_it_was(world: World) -> None:
    item = make(world)
    good = NewContent("good", "good")
    before = world.state()
    for bad in (
        NewContent("", "b"),
        NewContent("t", "\0"),
        NewContent("t", "\ud800"),
        NewContent("t", "x" * (10 * 1024 * 1024 + 1)),
        NewContent("t", "b", content_type="x"),
        NewContent("t", "b", status="x"),
        NewContent("t", "b", metadata=[]),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidContent, match=r"items\[1\]"):
            world.store.create_many(world.tenant, [good, bad], created_by="test")
    for contents in (
        [good] * 1001,
        [NewContent("a", "b", source="s"), NewContent("c", "d", source="s")],
        [good, NewContent("a", "b", brand_id=world.brand)],
    ):
        with pytest.raises(InvalidContent, match="items"):
            world.store.create_many(world.tenant, contents, created_by="test")
    for action in (
        lambda: world.store.create(world.tenant, good, created_by=" "),
        lambda: world.store.update(world.tenant, item, Changes(), expected_version=1, changed_by="t"),
        lambda: world.store.get(world.tenant, "x"),
        lambda: world.store.get_many(world.tenant, [uuid4()] * 1001),
        lambda: world.store.diff(world.tenant, item, 1, 9),
        lambda: world.store.search_titles(world.tenant, ""),
        lambda: world.store.search_bodies(world.tenant, "x", limit=0),
    ):
        with pytest.raises(InvalidContent):
            action()
    assert world.state() == before
    assert world.store.create_many(world.tenant, [], created_by="test") == []
    assert world.store.get_many(world.tenant, []) == {}


def test_a_callers_reservation_is_settled_in_part_and_stays_the_callers(world: World) -> None:
    held = world.ledger.reserve(world.tenant, None, bytes=1000, items=10, reason="generation")
    for number in range(2):
        world.store.create_many(
            world.tenant, [NewContent("T", "x" * 100, source=str(number))], created_by="t", reservation=held
        )
    usage = world.ledger.usage(world.tenant)
    assert (usage.used_bytes, usage.reserved_bytes, usage.generated_items) == (200, 800, 2)
    assert world.ledger.release(held) == "settled"
    assert world.ledger.usage(world.tenant).reserved_bytes == 0


def test_diff_and_rollback_bring_a_whole_version_back(world: World) -> None:
    item = make(world, "First", "one\ntwo\n", metadata={"n": 1, "deep": {"a": 1}})
    # Wider than a double: a round trip through Python would round it.
    world.run("""UPDATE content_storage_metadata SET metadata = metadata || '{"exact": 1.10000000000000000000001}'""")
    world.store.update(world.tenant, item, Changes(title="Second", body="one\n2\n"), expected_version=1, changed_by="t")
    world.store.update(world.tenant, item, Changes(metadata={"n": 2}), expected_version=2, changed_by="t")
    difference = world.store.diff(world.tenant, item, 1, 3)
    assert "-two\n+2\n" in difference.body
    assert {op["path"] for op in difference.patch} >= {"/title", "/metadata/n", "/metadata/deep", "/body/sha256"}
    assert world.store.diff(world.tenant, item, 2, 3).body == ""
    world.store.rollback_to(world.tenant, item, 2, expected_version=3, changed_by="t")
    rows = world.run("SELECT title, version, metadata::text AS m FROM content_storage_metadata")
    assert (rows[0]["title"], rows[0]["version"]) == ("Second", 4)
    assert '"exact": 1.10000000000000000000001' in rows[0]["m"]
    assert world.store.versions(world.tenant, item)[0].change_reason == "rolled back to version 2"


def test_search_finds_words_and_says_how_far_it_looked(world: World) -> None:
    first = make(world, "The quick brown fox", "Grüße an ALLE")
    second = make(world, "A slow fox", "nothing here")
    assert [item.id for item in world.store.search_titles(world.tenant, "quick fox").items] == [first]
    assert {item.id for item in world.store.search_titles(world.tenant, "fox").items} == {first, second}
    assert [item.id for item in world.store.search_titles(world.tenant, "fox -quick").items] == [second]
    found = world.store.search_bodies(world.tenant, "alle GRÜSSE")
    assert ([item.id for item in found.items], found.bodies_searched, found.complete) == ([first], 2, True)
    world.store.update(world.tenant, first, Changes(title="Gone", body="other"), expected_version=1, changed_by="t")
    assert world.store.search_titles(world.tenant, "quick").items == []
    assert world.store.search_bodies(world.tenant, "grüße").items == []
    for number in range(3):
        make(world, f"more {number}", "nothing here either")
    short = world.store.search_bodies(world.tenant, "nothing", limit=2)
    assert (len(short.items), short.complete) == (2, False)
    assert "stopped after" in (short.notice or "")
    dark = world.dark.search_bodies(world.tenant, "nothing")
    assert (list(dark.items), dark.complete) == ([], False)
    assert "cannot be read" in (dark.notice or "")
    world.store.soft_delete(world.tenant, second)
    assert world.store.search_titles(world.tenant, "slow").items == []
    world.run("TRUNCATE content_storage_metadata")
    assert world.run("SELECT count(*) AS n FROM content_title_words") == [{"n": 0}]


def test_a_spilled_body_that_is_not_what_was_recorded_stays_and_is_told(world: World) -> None:
    bad = world.dark.create(world.tenant, NewContent("T", "right"), created_by="test")
    good = world.dark.create(world.tenant, NewContent("T", "fine"), created_by="test")
    world.run("UPDATE content_body_spill SET body = 'wrong' WHERE content_id = %s", [bad.id])
    report = drain(world.tiers.database, world.tiers.store)
    assert (report.moved, report.refused, report.refused_samples) == (1, 1, [bad.zerodb_row_id])
    assert spill_state(world.tiers.database).bodies == 1
    assert world.store.get(world.tenant, good.id).body_source == "zerodb"
    assert world.store.get(world.tenant, bad.id).body is None


def test_a_drain_replaces_what_a_killed_writer_left(world: World) -> None:
    item = world.dark.create(world.tenant, NewContent("T", "right"), created_by="test")
    stale = {"id": item.zerodb_row_id, "tenant_id": str(world.tenant), "content_id": str(item.id), "version": 1}
    world.tiers.store.put_many("content_items", [stale | {"body": "stale", "body_sha256": sha256_hex("stale")}])
    assert drain(world.tiers.database, world.tiers.store).replaced == 1
    assert world.store.get(world.tenant, item.id).body == "right"


def test_a_body_spilled_by_another_writer_drains_without_its_document(world: World) -> None:
    world.run(
        "INSERT INTO content_body_spill (zerodb_row_id, tenant_id, content_id, version, body, body_sha256, size_bytes) "
        "VALUES ('x.v1', %s, %s, 1, 'plain', %s, 5)",
        [world.tenant, uuid4(), sha256_hex("plain")],
    )
    assert drain(world.tiers.database, world.tiers.store).moved == 1
    assert world.tiers.store.get_many("content_items", ["x.v1"])["x.v1"]["body"] == "plain"
    assert world.tiers.store.get_many("content_versions", ["x.v1"]) == {}


def test_two_drains_do_not_run_at_once_and_one_that_fails_keeps_the_bodies(world: World) -> None:
    world.dark.create(world.tenant, NewContent("T", "waits"), created_by="test")
    with world.tiers.database.advisory_lock("spill"), pytest.raises(AlreadyRunning):
        drain(world.tiers.database, world.tiers.store)
    with pytest.raises(Transient):
        drain(world.tiers.database, world.nobody)
    assert spill_state(world.tiers.database).bodies == 1


def test_the_breaker_spares_callers_the_wait(world: World) -> None:
    asked: list[str] = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            def fail(*_: Any, **__: Any) -> Any:
                asked.append(name)
                raise Transient("down")

            return fail

    store = ContentStore(world.tiers.database, Counting(), world.ledger, breaker=Breaker(60.0))  # type: ignore[arg-type]
    item = store.create(world.tenant, NewContent("T", "b"), created_by="test")
    store.create(world.tenant, NewContent("T", "b"), created_by="test")
    assert store.get(world.tenant, item.id).body_source == "spill"
    assert store.list(world.tenant).items[0].preview == "b"
    assert asked == ["put_many"]
