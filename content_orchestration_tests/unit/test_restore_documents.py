"""Bodies and records on their way into a document store, moments on their way to a sync; with fakes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.replication.tables import CONTENT_STORAGE, CONTENT_VERSIONS
from content_orchestration.core.restore.check import CheckedRow, checked
from content_orchestration.core.restore.documents import Documents
from content_orchestration.core.restore.moment import extent, resolve
from content_orchestration.core.restore.request import LIVE, OnConflict
from content_orchestration.core.restore.rows import _escaped
from content_orchestration_tests.fake_warehouse import FakeStore
from content_orchestration_tests.replication_model import content_row, sha256, version_row

ONE, TWO = UUID(int=1), UUID(int=2)
START = datetime(2026, 1, 1, tzinfo=UTC)


def row(values: Mapping[str, Any], body: str | None = "text") -> CheckedRow:
    fields = {"patch": {"operations": []}, **json.loads(json.dumps(values, default=str))}
    return CheckedRow(fields["id"], fields["tenant_id"], 1, json.dumps(fields), fields, body)


def documents(store: FakeStore, policy: OnConflict = "keep_newer") -> Documents:
    return Documents(store, LIVE, policy)


def test_a_body_that_the_store_gives_back_otherwise_stops_the_chunk() -> None:
    class Forgetful(FakeStore):
        def get_many(self, collection: str, ids: Any) -> dict[str, Any]:
            return {}

    with pytest.raises(Transient, match="does not give back 1 of 1 bodies"):
        documents(Forgetful()).put(CONTENT_STORAGE, [row(content_row(ONE, 1, "text"))])


class Listening(FakeStore):
    """Notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, int]] = []

    def get_many(self, collection: str, ids: Any) -> dict[str, Any]:
        wanted = list(ids)
        self.calls.append(("get", len(wanted)))
        return super().get_many(collection, wanted)

    def put_many(self, collection: str, documents: Any, **given: Any) -> Any:
        wanted = list(documents)
        self.calls.append(("put", len(wanted)))
        return super().put_many(collection, wanted, **given)


def test_an_empty_store_is_not_looked_at_before_it_is_written_and_read_back() -> None:
    store = Listening()
    writer = documents(store)
    for each in (ONE, TWO):
        ready, aside, stored = writer.put(CONTENT_STORAGE, [row(content_row(each, 1, "text"))])
        assert (len(ready), aside, stored.inserted, stored.existing, stored.verified) == (1, [], 1, 0, 1)
    assert store.calls == [("put", 1), ("get", 1)] * 2


def test_once_bodies_are_found_no_more_are_sent_before_a_look() -> None:
    store = Listening()
    rows = [row(content_row(each, 1, "text")) for each in (ONE, TWO)]
    documents(store).put(CONTENT_STORAGE, rows)
    store.calls.clear()
    writer = documents(store)
    for _ in range(2):
        _, _, stored = writer.put(CONTENT_STORAGE, rows)
        assert (stored.inserted, stored.existing, stored.verified) == (0, 2, 2)
    assert store.calls == [("put", 2), ("get", 2), ("get", 2)]


def test_a_damaged_body_among_new_ones_is_put_right_and_each_is_counted_once() -> None:
    store = FakeStore()
    damaged, new = row(content_row(ONE, 1, "text")), row(content_row(TWO, 1, "text"))
    key = damaged.fields["zerodb_row_id"]
    store.documents["content_items"] = {key: {"id": key, "body": "bit rot", "body_sha256": sha256("text")}}
    ready, aside, stored = documents(store).put(CONTENT_STORAGE, [damaged, new])
    assert {each.entity_id for each in ready} == {str(ONE), str(TWO)}
    assert [each.reason for each in aside] == ["document_replaced"]
    assert (stored.inserted, stored.existing, stored.replaced, stored.verified) == (1, 0, 1, 2)
    assert store.documents["content_items"][key]["body"] == "text"


def test_a_body_of_somebody_else_is_looked_at_before_any_other_is_put() -> None:
    store = Listening()
    theirs, new = row(content_row(ONE, 1, "text")), row(content_row(TWO, 1, "text"))
    key = theirs.fields["zerodb_row_id"]
    store.documents["content_items"] = {key: {"id": key, "body": "theirs", "body_sha256": sha256("theirs")}}
    writer = documents(store)
    ready, aside, stored = writer.put(CONTENT_STORAGE, [theirs, new])
    assert ([each.entity_id for each in ready], stored.inserted, stored.kept) == ([str(TWO)], 1, 1)
    assert [each.reason for each in aside] == ["document_conflict"]
    assert store.documents["content_items"][key]["body"] == "theirs"
    store.calls.clear()
    writer.put(CONTENT_STORAGE, [new])
    assert store.calls == [("get", 1)]


@pytest.mark.parametrize("body", [None, "forged"])
def test_a_body_that_is_not_the_one_of_its_row_is_never_put(body: str | None) -> None:
    store = FakeStore()
    good, bad = row(content_row(TWO, 1, "text")), row(content_row(ONE, 1, "text"), body)
    ready, aside, _ = documents(store).put(CONTENT_STORAGE, [good, bad])
    assert ([each.entity_id for each in ready], len(aside)) == ([str(TWO)], 1)
    assert list(store.documents["content_items"]) == [good.fields["zerodb_row_id"]]


def test_two_rows_with_two_bodies_under_one_name_are_told_apart() -> None:
    store = FakeStore()
    first = row(content_row(ONE, 1, "text"))
    other = row(content_row(TWO, 1, "other") | {"zerodb_row_id": f"{ONE}.v1"}, "other")
    ready, aside, stored = documents(store).put(CONTENT_STORAGE, [first, other])
    assert ready == [first]
    assert [(each.entity_id, each.reason) for each in aside] == [(str(TWO), "document_conflict")]
    assert stored.inserted == 1


def test_rows_that_share_a_body_write_it_once() -> None:
    store = FakeStore()
    first, other = row(version_row(ONE, 1, "text")), row(version_row(ONE, 1, "text", id=TWO))
    ready, aside, stored = documents(store).put(CONTENT_VERSIONS, [first, other])
    assert (len(ready), aside, stored.inserted) == (2, [], 2), "one body, one record"


def test_a_record_that_says_otherwise_stays_and_is_told() -> None:
    key = f"{ONE}.v1"
    store = FakeStore({"content_versions": {key: {"id": key, "body_sha256": "another"}}})
    ready, aside, stored = documents(store).put(CONTENT_VERSIONS, [row(version_row(ONE, 1, "text"))])
    assert len(ready) == 1, "the row does not point at the record"
    assert [each.reason for each in aside] == ["document_conflict"]
    assert store.documents["content_versions"][key]["body_sha256"] == "another"
    assert (stored.inserted, stored.kept) == (1, 1)


@pytest.mark.parametrize("held", [None, 7, "half \ud800"])
def test_what_is_no_body_is_replaced(held: Any) -> None:
    key = f"{ONE}.v1"
    store = FakeStore({"content_items": {key: {"id": key, "body": held, "body_sha256": sha256("text")}}})
    ready, aside, stored = documents(store).put(CONTENT_STORAGE, [row(content_row(ONE, 1, "text"))])
    assert (len(ready), stored.replaced) == (1, 1)
    assert store.documents["content_items"][key]["body"] == "text"
    assert aside[0].payload == ("half \\ud800" if isinstance(held, str) else None)


def test_rows_are_taken_as_they_were_hashed() -> None:
    texts = ['{"id": "a"}', "nonsense", "[]", '{"id": "other"}']
    table = pa.table(
        {
            "entity_id": ["a"] * 4,
            "tenant_id": ["t"] * 4,
            "sync_id": [1] * 4,
            "row_json": texts,
            "row_sha256": [sha256(text) for text in texts],
        }
    )
    plain = checked(table, CONTENT_STORAGE, documents=False)
    assert [each.row_json for each in plain.rows] == texts
    taken = checked(table, CONTENT_STORAGE, documents=True)
    assert [each.reason for each in taken.rejected] == ["row_refused"] * 4, "no row has all that a document needs"
    forged = checked(table.set_column(4, "row_sha256", pa.array(["0" * 64] * 4)), CONTENT_STORAGE, documents=False)
    assert [(each.reason, each.found_sha256) for each in forged.rejected] == [("row_sha256", sha256(t)) for t in texts]


def test_copy_text_is_escaped() -> None:
    assert _escaped('{"a": "\\n"}') == '{"a": "\\\\n"}'
    assert _escaped("a\tb\nc\rd\\") == "a\\tb\\nc\\rd\\\\"


@dataclass
class Log:
    """A warehouse that answers with the syncs that opened at START + n hours."""

    syncs: list[dict[str, Any]]
    extents: list[dict[str, Any]] = field(default_factory=list)

    def qualified(self, table: str) -> str:
        return table

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        if "first_sync_id" in sql:
            return iter(self.extents)
        given = parameters or {}
        if "sync_id = @sync_id" in sql:
            return iter([each for each in self.syncs if each["sync_id"] == given["sync_id"]])
        found = [each for each in self.syncs if each["synced_at"] <= given["moment"]]
        return iter(sorted(found, key=lambda each: -each["sync_id"])[:3])


def opened(sync_id: int, hours: float, read_until: float | None) -> dict[str, Any]:
    read = None if read_until is None else START + timedelta(hours=read_until)
    return {"sync_id": sync_id, "synced_at": START + timedelta(hours=hours), "read_until": read}


@pytest.mark.parametrize(("hours", "wanted"), [(0.5, None), (1.2, 1), (2.1, 1), (2.6, 2), (3.1, 2), (4.5, 3), (9.0, 4)])
def test_a_moment_is_the_last_sync_that_had_read_by_then(hours: float, wanted: int | None) -> None:
    """Sync 3 does not say when it had read; it had when sync 4 opened."""
    log: Any = Log([opened(1, 1, 1.1), opened(2, 2, 2.5), opened(3, 3, None), opened(4, 4, 8.0)])
    if wanted is None:
        with pytest.raises(Permanent, match="no sync had finished by then"):
            resolve(log, START + timedelta(hours=hours))
    else:
        assert resolve(log, START + timedelta(hours=hours)).sync_id == wanted
    assert resolve(log, None).sync_id == 4


def test_a_sync_id_is_taken_as_it_is_named() -> None:
    log: Any = Log([opened(5, 1, 1.1)], [{"first_sync_id": 3, "last_sync_id": 7}, {"first_sync_id": None}])
    assert resolve(log, 5).described == "sync 5 of 2026-01-01 01:00:00 UTC"
    assert "not that of a closed sync" in resolve(log, 6).described
    for outside in (2, 8):
        with pytest.raises(Permanent, match="the history holds syncs 3 to 7"):
            resolve(log, outside)
    assert (extent(log).first, extent(log).last) == (3, 7)
    nothing: Any = Log([], [{"first_sync_id": None}])
    with pytest.raises(Permanent, match="holds syncs None to None"):
        resolve(nothing, 1)
    with pytest.raises(Permanent, match="nothing was ever replicated"):
        resolve(nothing, None)
