"""Reading bodies, and what updates do to a document."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from content_orchestration.local.zerodb.documents import (
    MAX_DEPTH,
    Document,
    MalformedError,
    document,
    read_insert,
    read_object,
)
from content_orchestration.local.zerodb.faults import Fault
from content_orchestration.local.zerodb.rows import compile_projection
from content_orchestration.local.zerodb.updates import apply_update, check_update, upsert_seed


def read_rows(body: bytes) -> list[Document]:
    return [document(text, value) for text, value in read_insert(body)[0]]


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"1",
        b"{",
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":1,"a":2}',
        b'{"a":1,}',
        b'{"a":1} x',
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b'{"\\udfff":1}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":' + b"9" * 5000 + b"}",
        nested(MAX_DEPTH + 1).encode(),
        b'{"a":' * 100_000,
    ],
)
def test_bodies_that_are_not_strict_json_objects_are_refused(body: bytes) -> None:
    with pytest.raises(MalformedError):
        read_object(body)
    if body:
        with pytest.raises(MalformedError):
            read_rows(b'{"rows":[' + body + b"]}")


def test_text_is_kept_as_it_came_with_integers_in_full() -> None:
    rows = ['{"id" : "\\u00e9\\ud83d\\ude00",\n"n":123456789012345678901234567890, "f":1.10}', "{}", nested(MAX_DEPTH)]
    body = f'{{"return_ids": false ,"rows":[ {" , ".join(rows)}\n] }}'.encode()
    documents = read_rows(body)
    assert [found.text for found in documents] == rows
    assert documents[0].doc_id == "é😀"
    assert read_insert(body)[1] == {"return_ids": False, "rows": None}


@given(st.recursive(st.none() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)))
def test_any_value_survives_reading(value: Any) -> None:
    body = json.dumps({"rows": [{"v": value}], "other": value})
    if any(0xD800 <= ord(char) < 0xE000 for char in json.dumps(value, ensure_ascii=False)):
        with pytest.raises(MalformedError):
            read_object(body.encode())
        return
    items, members = read_insert(body.encode())
    assert [json.loads(text) for text, _ in items] == [{"v": value}]
    assert members["other"] == value


def test_updates_set_unset_and_increment_along_paths() -> None:
    before = {"a": {"b": 1}, "n": 2**70, "gone": 1}
    update = check_update(
        {"$set": {"a.c.d": [1], "id": "x"}, "$inc": {"n": 1, "new": -2.5}, "$unset": {"gone": "", "z.y": 1}}
    )
    after = apply_update(before, update)
    assert after == {"a": {"b": 1, "c": {"d": [1]}}, "n": 2**70 + 1, "id": "x", "new": -2.5}
    assert before == {"a": {"b": 1}, "n": 2**70, "gone": 1}


@pytest.mark.parametrize(
    "update",
    [
        {},
        {"a": 1},
        {"$push": {"a": 1}},
        {"$set": 1},
        {"$inc": {"a": "1"}},
        {"$inc": {"a": True}},
        {"$set": {"a": 1}, "$inc": {"a.b": 1}},
        {"$set": {"a": 1}, "$unset": {"a": 1}},
        {"$set": {".".join("a" * 60): 1}},
    ],
)
def test_malformed_updates_are_refused(update: Any) -> None:
    with pytest.raises(MalformedError):
        check_update(update)


@pytest.mark.parametrize(
    "update", [{"$set": {"a.b": 1}}, {"$inc": {"a": 1}}, {"$inc": {"t": 1}}, {"$inc": {"f.x": 1.0}}]
)
def test_updates_that_a_document_cannot_take_are_refused(update: Any) -> None:
    with pytest.raises(MalformedError):
        apply_update({"a": "text", "t": True, "f": {"x": 10**400}}, update)


def test_upsert_begins_with_the_equalities_of_the_filter() -> None:
    seed = upsert_seed({"a": 1, "b": {"$eq": 2}, "c": {"$gt": 3}, "$and": [{"d.y": {"x": 1}}], "$or": [{"e": 1}]})
    assert seed == {"a": 1, "b": 2, "d": {"y": {"x": 1}}}
    with pytest.raises(MalformedError):
        upsert_seed({"a": 1, "a.b": 2})


@pytest.mark.parametrize(
    ("projection", "kept"),
    [
        ({"a": 1}, {"a": {"b": 1, "c": 2}}),
        ({"a.b": 1, "missing": 1, "n.x": 1}, {"a": {"b": 1}}),
        ({"a.b": 0, "n.x": 0}, {"a": {"c": 2}, "n": None}),
    ],
)
def test_projection_keeps_or_leaves_out(projection: dict[str, int], kept: dict[str, Any]) -> None:
    project = compile_projection(projection)
    assert project is not None
    assert json.loads(project(b'{"a":{"b":1,"c":2},"n":null}')) == kept


@pytest.mark.parametrize("projection", [[], {"a": 2}, {"a": True}, {"a": "1"}, {"a": 1, "b": 0}])
def test_malformed_projections_are_refused(projection: Any) -> None:
    with pytest.raises(MalformedError):
        compile_projection(projection)


@pytest.mark.parametrize(
    "order",
    [{}, {"kind": "x"}, {"kind": "slow", "seconds": -1}, {"kind": "error", "status": 200}, {"kind": "slow", "if": 1}],
)
def test_malformed_faults_are_refused(order: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        Fault.from_json(order)


def test_a_fault_by_probability_is_repeatable_and_stops_at_its_count() -> None:
    order = {"kind": "error", "probability": 0.3, "seed": 7, "count": 20}
    first, second = (
        [fault.fires("GET", "/") for _ in range(200)] for fault in (Fault.from_json(order), Fault.from_json(order))
    )
    assert first == second
    assert sum(first) == 20
    assert 20 < first.index(True) + len(first) - first[::-1].index(True) <= 200
