"""Documents without a row and documents that are there twice: ages, grace, and what is gone by the second look."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from content_orchestration.core.documents import Document
from content_orchestration.core.integrity.documents import ROW_DELETED, YOUNG, compare_documents, written_at
from content_orchestration.core.integrity.findings import Comparison
from content_orchestration.core.integrity.pairs import GONE
from content_orchestration.core.integrity.spill import compare_spill
from content_orchestration.core.integrity.usage import compare_usage
from content_orchestration.core.quota.usage import compute_usage
from content_orchestration.settings import Settings
from content_orchestration_tests.zerodb_world import (
    GRACE,
    NOW,
    TENANTS,
    World,
    add_item,
    add_items,
    assert_adds_up,
    body_document,
    body_id,
    empty,
    found,
    scratch_world,
)

ITEMS = "content_items"
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def shared(_server: psycopg.Connection, _migrated_template: str, settings: Settings) -> Iterator[World]:
    with scratch_world(_server, _migrated_template, settings) as world:
        yield world


@pytest.fixture
def world(shared: World) -> World:
    empty(shared)
    shared.items = [uuid4() for _ in range(3)]
    add_items(shared, {content: ["one", "two"] for content in shared.items})
    return shared


def compare(
    world: World, *, at: datetime = NOW, grace: timedelta = GRACE, store: Any = None, **more: Any
) -> Comparison:
    comparison = compare_documents(world.database, store or world.store, grace=grace, now=at, **more)
    assert comparison.unknown is None
    assert_adds_up(comparison)
    return comparison


def strays(comparison: Comparison) -> list[str]:
    assert {each.kind for each in comparison.differences} <= {"document_without_row"}
    return sorted(each.entity_id for each in comparison.differences)


def stray(world: World, **fields: Any) -> str:
    document = body_document(uuid4(), TENANTS[0], 1, "stray", **fields)
    world.put(ITEMS, document)
    return str(document["id"])


@pytest.mark.parametrize(
    "written",
    [
        NOW - GRACE + SECOND,
        NOW,
        NOW + timedelta(days=1),
    ],
)
def test_a_young_document_without_a_row_is_left_out(world: World, written: datetime) -> None:
    stray(world, created_at=written.isoformat())
    comparison = compare(world)
    assert (strays(comparison), comparison.skipped) == ([], {YOUNG: 1})


@pytest.mark.parametrize(
    "text",
    [
        "2026-09-01T11:00:00Z",
        "2026-09-01T11:00:00+00:00",
        "2026-09-01T13:00:00+02:00",
        "2026-09-01T11:00:00",
        "2020-01-01",
    ],
)
def test_an_old_one_counts_whatever_form_its_date_has(world: World, text: str) -> None:
    key = stray(world, created_at=text)
    assert strays(compare(world)) == [key]


@pytest.mark.parametrize("date", [{}, {"created_at": None}, {"created_at": "yesterday"}, {"created_at": 1693560000}])
def test_one_without_a_date_counts_when_it_was_seen_so_a_grace_period_before(world: World, date: Document) -> None:
    key = stray(world, **date)
    first = compare(world)
    assert (strays(first), first.skipped) == ([], {YOUNG: 1})
    assert strays(compare(world, at=NOW + GRACE - SECOND)) == []
    last = compare(world, at=NOW + GRACE)
    assert strays(last) == [key]
    assert last.differences[0].detail == {"without_row_since": NOW.isoformat()}


def test_without_a_grace_period_it_counts_at_once(world: World) -> None:
    key = stray(world)
    assert strays(compare(world, grace=timedelta(0))) == [key]


def test_one_that_got_its_row_is_forgotten(world: World) -> None:
    """Otherwise the next time that it has none it would have no grace period."""
    content = uuid4()
    world.put(ITEMS, body_document(content, TENANTS[0], 1, "late"))
    assert compare(world).skipped == {YOUNG: 1}
    add_items(world, {content: ["late"]})
    world.api("DELETE", ITEMS, {"filter": {"id": body_id(content)}, "limit": 1})
    assert compare(world, at=NOW + SECOND).skipped == {}
    assert world.run("SELECT * FROM unclaimed_documents") == []


def test_a_look_at_one_tenant_forgets_nothing_of_the_others(world: World) -> None:
    key = stray(world)
    compare(world)
    compare(world, at=NOW + SECOND, tenant_id=str(TENANTS[1]))
    assert [row["document_id"] for row in world.run("SELECT document_id FROM unclaimed_documents")] == [key]


@pytest.mark.parametrize("late", [True, False])
def test_a_document_whose_row_was_deleted_within_the_grace_period_is_left_out(world: World, late: bool) -> None:
    """Whoever deletes a row deletes its documents afterwards."""
    content = world.items[1]
    for name in (ITEMS, "content_versions"):
        for version in (1, 2):
            world.change(name, body_id(content, version), created_at="2020-01-01")
    world.run("DELETE FROM content_storage_metadata WHERE id = %s", content)
    world.run("DELETE FROM content_versions WHERE content_id = %s", content)
    deleted = NOW - GRACE + (SECOND if late else -SECOND)
    world.run("UPDATE content_changes SET changed_at = %s WHERE op = 'D'", deleted)
    comparison = compare(world)
    if late:
        assert (strays(comparison), comparison.skipped) == ([], {ROW_DELETED: 4})
    else:
        assert strays(comparison) == sorted([body_id(content, 1), body_id(content, 2)] * 2)


def test_a_document_of_another_tenant_that_a_row_names_has_a_row(world: World) -> None:
    key = body_id(world.items[0])
    world.change(ITEMS, key, tenant_id=str(TENANTS[1]), created_at="2020-01-01")
    assert compare(world, tenant_id=str(TENANTS[1])).differences == []
    assert compare(world, tenant_id=str(TENANTS[0])).attempted == 11


@pytest.mark.parametrize("identical", [True, False])
def test_copies_are_told_to_be_the_same_or_not(world: World, identical: bool) -> None:
    key = body_id(world.items[0])
    world.put(ITEMS, world.document(ITEMS, key) | ({} if identical else {"title": "another"}))
    (difference,) = compare(world).differences
    assert (difference.kind, difference.table, difference.entity_id, difference.tenant_id) == (
        "duplicate_document", ITEMS, key, str(TENANTS[0]),
    )  # fmt: skip
    assert difference.detail == {"copies": 2, "identical": identical}


def test_copies_of_a_stray_document_are_two_differences_when_it_is_old(world: World) -> None:
    key = stray(world, created_at="2020-01-01")
    world.put(ITEMS, world.document(ITEMS, key) | {"tenant_id": 17})
    comparison = compare(world)
    assert found({"documents": comparison}) == {
        ("duplicate_document", ITEMS, key),
        ("document_without_row", ITEMS, key),
    }
    for each in comparison.differences:
        assert each.tenant_id in (None, str(TENANTS[0]))


@pytest.mark.parametrize("other", [NOW, NOW - timedelta(days=9)])
def test_copies_of_a_stray_document_are_as_young_as_the_youngest(world: World, other: datetime) -> None:
    key = stray(world, created_at=NOW.isoformat())
    world.put(ITEMS, world.document(ITEMS, key) | {"created_at": other.isoformat()})
    assert found({"documents": compare(world)}) == {("duplicate_document", ITEMS, key)}


class Racing:
    """The real store, with something done when a scan of all has ended."""

    def __init__(self, store: Any, act: Any) -> None:
        self._store, self._act = store, act

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def scan(self, collection: str, **given: Any) -> Iterator[Document]:
        yield from self._store.scan(collection, **given)
        if collection == ITEMS and not given.get("where"):
            self._act()


def test_what_is_gone_by_the_second_look_is_left_out(world: World) -> None:
    key = stray(world, created_at="2020-01-01")
    comparison = compare(world, store=Racing(world.store, lambda: world.remove(ITEMS, key)))
    assert (strays(comparison), comparison.skipped) == ([], {GONE: 1})


def test_what_has_a_row_by_the_second_look_is_right(world: World) -> None:
    content = uuid4()
    world.put(ITEMS, body_document(content, TENANTS[0], 1, "late", created_at="2020-01-01"))

    def arrive() -> None:
        add_items(world, {content: ["late"]})
        world.api("DELETE", ITEMS, {"filter": {"id": body_id(content)}, "limit": 1})

    comparison = compare(world, store=Racing(world.store, arrive))
    assert (strays(comparison), comparison.skipped) == ([], {})


def test_many_strays_are_all_counted(world: World) -> None:
    keys = [body_id(uuid4()) for _ in range(1203)]
    for at in range(0, len(keys), 1000):
        world.put(ITEMS, *[{"id": key, "created_at": "2020-01-01"} for key in keys[at : at + 1000]])
    assert strays(compare(world)) == sorted(keys)


def test_a_spilled_body_without_a_row_has_a_grace_period_too(world: World) -> None:
    add_item(world, content := uuid4(), TENANTS[0], ["waits"], spilled=True)
    for table, column in (("content_storage_metadata", "id"), ("content_versions", "content_id")):
        world.run(f"DELETE FROM {table} WHERE {column} = %s", content)
    for written, differs in ((NOW - GRACE + SECOND, 0), (NOW - GRACE, 1)):
        world.run("UPDATE content_body_spill SET created_at = %s", written)
        comparison = compare_spill(world.database, grace=GRACE, now=NOW)
        assert_adds_up(comparison)
        assert len(comparison.differences) == differs
        assert comparison.skipped == ({} if differs else {YOUNG: 1})
    world.run("UPDATE content_body_spill SET created_at = %s, size_bytes = 1", NOW)
    (difference,) = compare_spill(world.database, grace=GRACE, now=NOW).differences
    assert (difference.kind, difference.detail["body_and_its_record"]) == ("spill_differs", ["size_bytes"])


def test_the_date_of_a_document() -> None:
    assert written_at({"created_at": "2026-09-01T12:00:00"}) == NOW
    assert written_at({"created_at": ""}) is None
    assert written_at({}) is None


def test_untrue_counters_are_told_once_a_tenant_and_a_long_list_as_cut(world: World) -> None:
    tenants = sorted(str(uuid4()) for _ in range(22))
    for tenant in tenants:
        world.run("INSERT INTO tenants (id, name, slug, created_at) VALUES (%s, 'T', %s, now())", tenant, tenant)
    comparison = compare_usage(world.database)
    assert_adds_up(comparison)
    assert comparison.attempted == 22
    assert len({each.entity_id for each in comparison.differences}) == len(comparison.differences) <= 20
    assert "there may be more" in comparison.notes["truncated"]
    for tenant in tenants:
        compute_usage(world.database, tenant)
    world.run("UPDATE content_quota_usage SET used_bytes = 3, media_files = 1 WHERE tenant_id = %s", tenants[4])
    (difference,) = compare_usage(world.database, tenant_id=tenants[4]).differences
    assert (difference.kind, difference.entity_id, difference.tenant_id) == ("usage_differs", tenants[4], tenants[4])
    assert "used_bytes" in str(difference.detail["counters"])
    assert compare_usage(world.database, tenant_id=tenants[5]).outcome == "agree"
