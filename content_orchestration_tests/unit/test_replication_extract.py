"""`BodyReader` and the groups that bound memory, without servers."""

from typing import Any
from unittest.mock import MagicMock

import pytest

from content_orchestration.core.replication import extract
from content_orchestration.core.replication.extract import BodyReader
from content_orchestration.core.replication.tables import CONTENT_MEDIA, CONTENT_STORAGE
from content_orchestration_tests.fake_warehouse import FakeStore
from content_orchestration_tests.replication_model import sha256
from content_orchestration_tests.unit.test_replication_load import window


@pytest.fixture
def store() -> FakeStore:
    held = FakeStore()
    held.put_many("content_items", [{"id": f"d{n}", "body": str(n) * 10, "body_sha256": "x"} for n in range(6)])
    return held


def row(number: int, **changes: Any) -> dict[str, Any]:
    values = {"op": "upsert", "zerodb_row_id": f"d{number}", "body_sha256": sha256(str(number) * 10), "tenant_id": "t"}
    return values | {"storage_size_bytes": 10} | changes


def reader(store: FakeStore, **given: Any) -> BodyReader:
    return BodyReader(MagicMock(), store, **given)


def bodies(rows: list[dict[str, Any]]) -> list[str | None]:
    return [each.get("body") for each in rows]


def test_a_body_is_asked_for_once(store: FakeStore) -> None:
    read = reader(store)
    first, second = [row(1), row(2), row(1)], [row(1), row(3)]
    read.fill(first, CONTENT_STORAGE, window())
    read.fill(second, CONTENT_STORAGE, window())
    assert bodies(first + second) == ["1" * 10, "2" * 10, "1" * 10, "1" * 10, "3" * 10]
    assert [sorted(asked) for asked in store.gets] == [["d1", "d2"], ["d3"]]
    assert (read.report.fetched, read.report.withheld) == (3, [])


def test_a_tombstone_has_no_body(store: FakeStore) -> None:
    rows = [row(1, op="delete")]
    reader(store).fill(rows, CONTENT_STORAGE, window())
    assert (bodies(rows), store.gets) == ([None], [])


@pytest.mark.parametrize("keep_bytes", [0, 10, 20, 30])
def test_bodies_are_right_however_few_are_kept(store: FakeStore, keep_bytes: int) -> None:
    read = reader(store, keep_bytes=keep_bytes)
    for numbers in ([0, 1], [2, 3, 0, 1], [1, 0, 4], [5, 4, 3, 2, 1, 0]):
        rows = [row(number) for number in numbers]
        read.fill(rows, CONTENT_STORAGE, window())
        assert bodies(rows) == [str(number) * 10 for number in numbers]
    assert read.report.withheld == []


@pytest.mark.parametrize(("body", "reason"), [("other", "body_differs"), (None, "body_missing"), (7, "body_missing")])
def test_a_body_that_is_not_the_one_is_withheld(store: FakeStore, body: Any, reason: str) -> None:
    store.documents["content_items"]["d1"]["body"] = body
    read = reader(store)
    rows = [row(1), row(2)]
    read.fill(rows, CONTENT_STORAGE, window())
    assert bodies(rows) == [None, "2" * 10]
    assert [(each["zerodb_row_id"], each["reason"]) for each in read.report.withheld] == [("d1", reason)]


def test_groups_bound_the_bodies_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "_BODY_BYTES", 25)
    sizes = [10, 10, 10, 100, 10, None, 10, 10]
    rows = [row(number, storage_size_bytes=size) for number, size in enumerate(sizes)]
    grouped = [[each["storage_size_bytes"] for each in group] for group in extract.bounded(rows, CONTENT_STORAGE)]
    assert grouped == [[10, 10], [10], [100], [10, None, 10], [10]]
    assert [len(group) for group in extract.bounded(rows, CONTENT_MEDIA)] == [len(rows)]
