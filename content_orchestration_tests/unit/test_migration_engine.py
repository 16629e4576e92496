"""The engine with an in-memory database and store: batches, order of writes, memory, stale documents, failpoints.

What PostgreSQL and ZeroDB make of it is in the integration tests.
"""

import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from content_orchestration.core.documents import DocumentConflict, PutReport
from content_orchestration.core.failpoints import VARIABLE, reach
from content_orchestration.core.identity import content_id
from content_orchestration.core.migration.engine import legacy_rows, migrate
from content_orchestration.core.migration.items import Item, Media, Rejected
from content_orchestration.core.migration.legacy import LegacyTable
from content_orchestration.core.migration.report import MigrationReport
from content_orchestration.core.sql import statement

MIB = 1024 * 1024
LAST = UUID(int=2**128 - 1)
_BULK = ("insert_items", "insert_versions", "claimed_documents")
_STATEMENTS = {statement(f"content/{name}"): name for name in _BULK} | {
    statement(f"migration/{name}"): name
    for name in (
        "lock_batch",
        "content_items_batch",
        "content_items_rows",
        "content_items_done",
        "insert_media",
        "resolve_quarantine",
        "quarantine",
        "total",
    )
}


class FakeDatabase:
    """Legacy rows by id with their sizes, and every statement that was executed on them, `commit` included."""

    def __init__(self, sizes: dict[UUID, int], present: Iterable[UUID] = (), claimed: Iterable[str] = ()) -> None:
        self.sizes = dict(sorted(sizes.items()))
        self.present = set(present)
        self.claimed = set(claimed)
        self.total: dict[str, int] | None = {"content_items": len(sizes)}
        self.executed: list[tuple[str, Any]] = []

    @contextmanager
    def connection(self) -> Iterator[Any]:
        yield self
        self.executed.append(("commit", None))

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        yield self

    def execute(self, command: str, values: Any = None) -> Any:
        name = _STATEMENTS[command]
        if name in ("insert_items", "insert_versions"):
            values = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
        self.executed.append((name, values))
        if name == "insert_items":
            self.present.update(UUID(row["source"].partition(":")[2]) for row in values)
        rows = self._rows(name, values)
        return SimpleNamespace(
            fetchall=lambda: rows, fetchone=lambda: rows[0] if rows else None, rowcount=len(values or ())
        )

    def executemany(self, command: str, values: Sequence[Any]) -> None:
        self.executed.append((_STATEMENTS[command], list(values)))

    def names(self) -> list[str]:
        return [name for name, _ in self.executed]

    def values(self, wanted: str) -> list[Any]:
        return [values for name, values in self.executed if name == wanted]

    def _rows(self, name: str, values: Any) -> list[dict[str, Any]]:
        if name == "content_items_batch":
            found = [key for key in self.sizes if key >= values["first"]][: values["limit"]]
            return [{"id": key, "present": key in self.present, "bytes": self.sizes[key]} for key in found]
        if name == "content_items_rows":
            return [{"id": key} for key in values["ids"]]
        if name == "claimed_documents":
            return [{"zerodb_row_id": key} for key in values["ids"] if key in self.claimed]
        return [self.total] if name == "total" and self.total is not None else []


class FakeStore:
    """Documents by collection and id, with the same rule on conflicts as the real client's."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, dict[str, Any]]] = {}
        self.replaced: list[str] = []

    def put_many(self, collection: str, documents: Iterable[dict[str, Any]]) -> PutReport:
        there = self.stored.setdefault(collection, {})
        wanted = {document["id"]: document for document in documents}
        known = wanted.keys() & there.keys()
        differing = [key for key in known if there[key].get("body_sha256") != wanted[key].get("body_sha256")]
        if differing:
            raise DocumentConflict(collection, differing)
        there.update({key: document for key, document in wanted.items() if key not in known})
        return PutReport(len(wanted) - len(known), len(known), 1)

    def get_many(self, collection: str, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        return {key: self.stored[collection][key] for key in ids if key in self.stored[collection]}

    def replace(self, collection: str, document: dict[str, Any]) -> int:
        self.stored[collection][document["id"]] |= document
        self.replaced.append(document["id"])
        return 1


def _item(key: UUID, **changes: Any) -> Item:
    values: dict[str, Any] = {
        "source": f"content_items:{key}",
        "tenant_id": UUID(int=1),
        "brand_id": None,
        "campaign_space_id": None,
        "user_id": None,
        "title": "Title",
        "content_type": "post",
        "status": "draft",
        "body": f"body {key.int}",
        "metadata_base": '{"kept": 1.10}',
        "metadata_extra": {"note": "ü"},
        "created_at": "c",
        "updated_at": "u",
        "deleted_at": None,
    }
    return Item(**(values | changes))


def _table(convert: Any = None, done: str | None = "migration/content_items_done") -> LegacyTable:
    return LegacyTable(
        "content_items",
        "migration/content_items_batch",
        "migration/content_items_rows",
        done,
        convert or (lambda row: _item(row["id"])),
    )


def _run(
    database: FakeDatabase, store: FakeStore | None = None, table: LegacyTable | None = None, **options: Any
) -> MigrationReport:
    given: Any = database, store or FakeStore()
    return migrate(table or _table(), *given, **({"batch_size": 100, "dry_run": False} | options))


def _keys(count: int) -> list[UUID]:
    return [UUID(int=number) for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 6, 7])
def test_every_row_is_read_once_and_the_lowest_id_is_a_row_too(count: int) -> None:
    database = FakeDatabase(dict.fromkeys(_keys(count), 10), present=_keys(count)[1:2])
    report = _run(database, batch_size=3)
    assert (report.read, report.already_there) == (count, min(1, max(0, count - 1)))
    assert report.migrated == count - report.already_there
    assert report.adds_up
    assert database.present == set(_keys(count))
    assert report.batches == -(-count // 3)
    again = _run(database, batch_size=3)
    assert (again.migrated, again.already_there) == (0, count)


def test_the_highest_id_ends_the_table() -> None:
    before = UUID(int=LAST.int - 1)
    database = FakeDatabase({before: 1, LAST: 1})
    assert _run(database, batch_size=1).migrated == 2
    assert [values["first"] for values in database.values("content_items_batch")] == [UUID(int=0), LAST]


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [
        ([], []),
        ([1, 2, 3], [3]),
        ([32 * MIB, 1], [1, 1]),
        ([16 * MIB, 16 * MIB, 1], [2, 1]),
        ([100 * MIB, 1, 1], [1, 2]),
        ([1, 100 * MIB, 1], [1, 1, 1]),
        ([10 * MIB] * 10, [3, 3, 3, 1]),
    ],
)
def test_rows_are_in_memory_within_the_bound(sizes: list[int], groups: list[int]) -> None:
    keys = _keys(len(sizes))
    database = FakeDatabase(dict(zip(keys, sizes, strict=True)))
    report = _run(database)
    asked = [values["ids"] for values in database.values("content_items_rows")]
    assert [len(ids) for ids in asked] == groups
    assert [key for ids in asked for key in ids] == keys
    assert (report.migrated, report.batches) == (len(keys), min(1, len(keys)))


def test_a_batch_is_one_transaction_under_a_lock_with_documents_first() -> None:
    database, store = FakeDatabase(dict.fromkeys(_keys(2), 1)), FakeStore()
    seen_at_insert: list[int] = []
    execute = database.execute

    def watched(command: str, values: Any = None) -> Any:
        if _STATEMENTS[command] in _BULK:
            seen_at_insert.append(len(store.stored["content_items"]))
        return execute(command, values)

    database.execute = watched  # type: ignore[method-assign]
    _run(database, store)
    assert database.names() == [
        "lock_batch",
        "content_items_batch",
        "content_items_rows",
        "insert_items",
        "insert_versions",
        "content_items_done",
        "resolve_quarantine",
        "commit",
    ]
    assert set(seen_at_insert) == {2}


def test_what_is_inserted() -> None:
    key = UUID(int=5)
    media = (Media("m:0", "image", "u0"), Media("m:1", "video", "u1", "p", "e", "video/mp4", 9, 1))
    database, store = FakeDatabase({key: 1}), FakeStore()
    report = _run(database, store, _table(lambda row: _item(row["id"], media=media, notes=("untitled",))))
    (values,) = database.values("insert_items")[0]
    (version,) = database.values("insert_versions")[0]
    (done,) = database.values("content_items_done")[0]
    item = _item(key)
    assert values["id"] == item.id
    assert (done["legacy_id"], values["source"]) == (str(key), f"content_items:{key}")
    assert version["id"] == content_id(f"content_items:{key}:version:1")
    assert (version["content_id"], version["version"], version["changed_by"]) == (item.id, 1, "migration")
    assert (values["metadata_base"], values["metadata_extra"]) == ('{"kept": 1.10}', '{"note": "ü"}')
    assert (values["body_sha256"], values["size_bytes"]) == (item.body_sha256, 6)
    first, second = database.values("insert_media")[0]
    assert (first["source"], first["position"], first["content_id"]) == ("m:0", 0, item.id)
    assert (second["id"], second["public_url"], second["external_id"]) == (content_id("m:1"), "p", "e")
    assert (second["mime_type"], second["size_bytes"], second["position"], second["kind"]) == (
        "video/mp4",
        9,
        1,
        "video",
    )
    assert {name: len(found) for name, found in store.stored.items()} == {
        "content_items": 1,
        "content_versions": 1,
        "content_media_files": 2,
    }
    assert (report.body_bytes, report.media_files, report.media_bytes) == (6, 2, 9)
    assert report.notes == {"untitled": 1}


def test_rejected_rows_are_quarantined_whole_and_reported_without_their_content() -> None:
    def reject(row: dict[str, Any]) -> Rejected:
        return Rejected(f"content_items:{row['id']}", "unknown_tenant", "add it", "the whole row")

    database, store = FakeDatabase(dict.fromkeys(_keys(3), 1)), FakeStore()
    report = _run(database, store, _table(reject))
    (values,) = database.values("quarantine")
    assert values == [
        {
            "source": f"content_items:{key}",
            "reason": "unknown_tenant",
            "detail": "add it",
            "original": "the whole row",
        }
        for key in _keys(3)
    ]
    assert "insert_items" not in database.names()
    assert not any(store.stored.values())
    assert (report.quarantined, report.migrated, report.adds_up) == (3, 0, True)
    assert report.samples == {"unknown_tenant": [f"content_items:{key}" for key in _keys(3)]}


def test_a_table_without_columns_of_ours_is_left_as_it_is() -> None:
    database = FakeDatabase({UUID(int=1): 1})
    assert _run(database, table=_table(done=None)).migrated == 1
    assert "content_items_done" not in database.names()


def test_a_dry_run_takes_no_lock_and_writes_nothing() -> None:
    database, store = FakeDatabase(dict.fromkeys(_keys(5), 1)), FakeStore()
    report = _run(database, store, batch_size=2, dry_run=True)
    assert (report.dry_run, report.read, report.migrated, report.batches) == (True, 5, 5, 3)
    assert set(database.names()) == {"content_items_batch", "content_items_rows", "commit"}
    assert store.stored == {}


def test_progress_is_told_after_each_committed_batch() -> None:
    database = FakeDatabase(dict.fromkeys(_keys(5), 1))
    told: list[tuple[int, int, float]] = []

    def on_batch(report: MigrationReport) -> None:
        told.append((report.read, database.names().count("commit"), report.seconds))

    ticks = iter(range(100))
    _run(database, batch_size=2, on_batch=on_batch, clock=lambda: float(next(ticks)))
    assert told == [(2, 1, 1.0), (4, 2, 2.0), (5, 3, 3.0)]


def test_a_failed_batch_is_not_counted() -> None:
    database, store = FakeDatabase(dict.fromkeys(_keys(5), 1)), FakeStore()
    reports: list[MigrationReport] = []

    def fail_at_three(row: dict[str, Any]) -> Item:
        if row["id"] == UUID(int=3):
            raise DocumentConflict("content_items", ["x"])
        return _item(row["id"])

    with pytest.raises(DocumentConflict):
        _run(database, store, _table(fail_at_three), batch_size=2, on_batch=reports.append)
    assert (reports[-1].read, reports[-1].migrated, reports[-1].adds_up) == (2, 2, True)


def _left_behind(**changes: Any) -> FakeStore:
    """A store with the documents of row 1 as a killed run left them."""
    store = FakeStore()
    old = _item(UUID(int=1), **changes)
    store.put_many("content_items", [old.body_document()])
    store.put_many("content_versions", [old.version_document()])
    store.put_many("content_media_files", old.media_documents())
    return store


FILES = (Media("m:0", "image", "u0"),)


@pytest.mark.parametrize(
    ("old", "replaced"),
    [
        ({}, 0),
        ({"body": "an older body"}, 2),
        ({"title": "An older title"}, 1),
        ({"tenant_id": UUID(int=7)}, 3),
        ({"media": (Media("m:0", "image", "an older url"),)}, 1),
        ({"media": ()}, 0),
    ],
)
def test_what_a_killed_run_left_is_kept_where_equal_and_else_replaced(old: dict[str, Any], replaced: int) -> None:
    store = _left_behind(**({"media": FILES} | old))
    database = FakeDatabase(dict.fromkeys(_keys(3), 1))
    report = _run(database, store, _table(lambda row: _item(row["id"], media=FILES if row["id"].int == 1 else ())))
    item = _item(UUID(int=1), media=FILES)
    assert (report.migrated, report.documents_replaced) == (3, replaced)
    assert len(store.replaced) == replaced
    assert store.stored["content_items"][item.zerodb_row_id] == item.body_document()
    assert store.stored["content_versions"][item.zerodb_row_id] == item.version_document()
    assert list(store.stored["content_media_files"].values()) == item.media_documents()
    assert ("claimed_documents" in database.names()) == (replaced > 0)


@pytest.mark.parametrize(
    ("old", "claimed"),
    [
        ({"body": "claimed body"}, _item(UUID(int=1)).zerodb_row_id),
        ({"media": (Media("m:0", "image", "claimed"),)}, str(content_id("m:0"))),
    ],
)
def test_a_document_that_a_row_names_is_never_replaced(old: dict[str, Any], claimed: str) -> None:
    store = _left_behind(**old)
    before = {name: dict(found) for name, found in store.stored.items()}
    database = FakeDatabase({UUID(int=1): 1}, claimed=[claimed])
    with pytest.raises(DocumentConflict, match=claimed):
        _run(database, store, _table(lambda row: _item(row["id"], media=FILES)))
    assert store.replaced == []
    assert all(store.stored[name][key] == document for name, found in before.items() for key, document in found.items())
    assert "insert_items" not in database.names()


def test_the_number_of_legacy_rows() -> None:
    database: Any = FakeDatabase(dict.fromkeys(_keys(4), 1))
    assert legacy_rows(database, _table()) == 4
    database.total = None
    assert legacy_rows(database, _table()) == 0


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    received: list[tuple[int, int]] = []
    monkeypatch.setattr("content_orchestration.core.failpoints.os.kill", lambda *call: received.append(call))
    monkeypatch.delenv(VARIABLE, raising=False)
    return received


@pytest.mark.parametrize(
    ("wanted", "killed_at"),
    [(None, []), ("other", []), ("here", [1, 2, 3, 4]), ("here:1", [1, 2, 3, 4]), ("here:3", [3, 4]), ("here:9", [])],
)
def test_a_failpoint_kills_on_its_count_and_only_there(
    kills: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, wanted: str | None, killed_at: list[int]
) -> None:
    if wanted is not None:
        monkeypatch.setenv(VARIABLE, wanted)
    found = []
    for number in range(1, 5):
        reach("here")
        if len(kills) > len(found):
            found.append(number)
    assert found == killed_at
    assert set(kills) <= {(os.getpid(), signal.SIGKILL)}


def test_the_failpoints_of_a_batch_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    database, points = FakeDatabase({UUID(int=1): 1}), []
    monkeypatch.setattr(
        "content_orchestration.core.migration.engine.reach",
        lambda name: points.append((name, "insert_items" in database.names(), "commit" in database.names())),
    )
    _run(database)
    assert points == [
        ("documents_put", False, False),
        ("rows_inserted", True, False),
        ("batch_committed", True, True),
    ]
