"""Compiled filters and sorts against a plain reading of the same rules in Python, and the indexes that they reach."""

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from content_orchestration.local.zerodb.documents import MalformedError, document
from content_orchestration.local.zerodb.filters import (
    MAX_NESTING,
    MAX_VALUES,
    compile_filter,
    compile_sort,
    extract_sql,
    register,
)
from content_orchestration.local.zerodb.store import Store

# No U+0000 inside documents and no floats that need every bit: SQLite truncates the one and may misread the other.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=3) | st.sampled_from(
    ["a", "b", "é", "漢", "😀", "\U0010ffff", "\uffff", "1", "true", "null", "[1]", 'q"', "\\", "'"]
)
NUMBER = st.integers(-1, 2) | st.sampled_from([2**53 + 1, 2**63 - 1, -(2**63), 2**64, 10**30, 0.5, 1.0, -2.0])
# Few names and few values, so that a filter often tells the documents of one example apart.
COMMON = st.sampled_from([None, True, False, 0, 1, 1.0, "a", "b", "1", [1], {"a": 1}])
SCALAR = COMMON | st.none() | st.booleans() | NUMBER | TEXT
NAME = st.sampled_from(["id", "a", "a", "odd key", "é", 'q"', ""])
VALUE = COMMON | st.recursive(
    SCALAR, lambda v: st.lists(v, max_size=2) | st.dictionaries(NAME, v, max_size=2), max_leaves=3
)
DOCUMENT = st.fixed_dictionaries({}, optional={"id": VALUE, "a": VALUE, "odd key": VALUE, "é": VALUE, 'q"': VALUE})
PATH = NAME | NAME | st.lists(NAME, min_size=2, max_size=2).map(".".join)


def operators(*names: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names), values, min_size=1, max_size=2)


OPERATORS = (
    operators("$eq", "$ne", values=VALUE)
    | operators("$in", "$nin", values=st.lists(VALUE, max_size=4))
    | operators("$gt", "$gte", "$lt", "$lte", values=NUMBER | TEXT)
    | operators("$exists", values=st.booleans())
)
SIMPLE = st.dictionaries(PATH, VALUE | OPERATORS | OPERATORS, min_size=1, max_size=2)
FILTER = st.recursive(
    SIMPLE | SIMPLE,
    lambda inner: st.dictionaries(
        st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3), min_size=1, max_size=1
    ),
    max_leaves=3,
)
MISSING = object()
EXAMPLES = 15_000 if os.environ.get("SOAK") == "1" else 300


def comparable(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not -(2**63) <= value < 2**63 else value


def kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__


def equal(found: Any, wanted: Any) -> bool:
    if wanted is None:
        return found is None or found is MISSING
    if found is MISSING or kind(found) != kind(wanted):
        return False
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(deep_equal, found, wanted))
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(deep_equal(found[key], wanted[key]) for key in wanted)
    return comparable(found) == comparable(wanted)


def deep_equal(found: Any, wanted: Any) -> bool:
    return found is None if wanted is None else kind(found) == kind(wanted) and _inside(found, wanted)


def _inside(found: Any, wanted: Any) -> bool:
    return equal(found, wanted) if isinstance(wanted, list | dict) else found == wanted


def holds(found: Any, operator: str, wanted: Any) -> bool:
    match operator:
        case "$eq":
            return equal(found, wanted)
        case "$ne":
            return not equal(found, wanted)
        case "$in":
            return any(equal(found, one) for one in wanted)
        case "$nin":
            return not any(equal(found, one) for one in wanted)
        case "$exists":
            return (found is not MISSING) is wanted
    if found is MISSING or kind(found) != kind(wanted):
        return False
    left, right = comparable(found), comparable(wanted)
    return {"$gt": left > right, "$gte": left >= right, "$lt": left < right, "$lte": left <= right}[operator]


def matches(doc: dict[str, Any], wanted: dict[str, Any]) -> bool:
    for name, condition in wanted.items():
        if name == "$and":
            ok = all(matches(doc, one) for one in condition)
        elif name == "$or":
            ok = any(matches(doc, one) for one in condition)
        else:
            found: Any = doc
            for part in name.split("."):
                found = found[part] if isinstance(found, dict) and part in found else MISSING
            special = isinstance(condition, dict) and any(key.startswith("$") for key in condition)
            pairs = condition.items() if special else [("$eq", condition)]
            ok = all(holds(found, operator, operand) for operator, operand in pairs)
        if not ok:
            return False
    return True


def filled(documents: list[dict[str, Any]], *, ascii_only: bool, indexed: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    register(connection)
    connection.execute("CREATE TABLE t (seq INTEGER PRIMARY KEY, doc_id, doc TEXT)")
    connection.execute("CREATE INDEX t_id ON t (doc_id)")
    if indexed:
        connection.execute(f"CREATE INDEX t_a ON t ({extract_sql('a')})")
        connection.execute(f"CREATE INDEX t_ab ON t ({extract_sql('a.b')})")
    for seq, value in enumerate(documents):
        stored = document(json.dumps(value, ensure_ascii=ascii_only), value)
        connection.execute("INSERT INTO t VALUES (?, ?, ?)", (seq, stored.doc_id, stored.text))
    return connection


@settings(max_examples=EXAMPLES, deadline=None, print_blob=True)
@given(st.lists(DOCUMENT, min_size=1, max_size=6), FILTER, st.booleans(), st.booleans())
@example([{"a": True}, {"a": 1}, {"a": "1"}, {"a": [1]}, {"a": "[1]"}], {"a": 1}, True, True)
@example([{"a": None}, {}, {"a": "null"}], {"a": None}, False, True)
@example([{"id": "1"}, {"id": 1}, {"id": True}, {"id": [1]}, {}], {"id": {"$gte": 1}}, False, False)
@example([{"a": {"b": 1}}, {"a": [{"b": 1}]}, {"a.b": 1}], {"a.b": 1}, True, True)
def test_filter_finds_what_the_rules_say(
    documents: list[dict[str, Any]], wanted: dict[str, Any], ascii_only: bool, indexed: bool
) -> None:
    condition = compile_filter(wanted)
    connection = filled(documents, ascii_only=ascii_only, indexed=indexed)
    found = connection.execute(f"SELECT seq FROM t WHERE {condition.sql} ORDER BY seq", condition.params)
    assert [seq for (seq,) in found] == [seq for seq, doc in enumerate(documents) if matches(doc, wanted)]
    connection.close()


@settings(max_examples=200, deadline=None, print_blob=True)
@given(st.lists(TEXT, max_size=8), st.sampled_from(["id", "a", "odd key", "a.b"]), st.sampled_from([1, -1]))
def test_strings_sort_by_code_point_and_ties_by_insertion(texts: list[str], name: str, direction: int) -> None:
    head, _, tail = name.partition(".")
    connection = filled([{head: {tail: text} if tail else text} for text in texts], ascii_only=True, indexed=True)
    order = compile_sort({name: direction})
    found = [seq for (seq,) in connection.execute(f"SELECT seq FROM t ORDER BY {order.sql}", order.params)]
    assert found == sorted(range(len(texts)), key=lambda seq: (texts[seq], seq), reverse=direction == -1)
    connection.close()


@pytest.mark.parametrize(
    "wanted",
    [
        None,
        [],
        {"$foo": 1},
        {"$not": {}},
        {"a": {"$foo": 1}},
        {"a": {"$eq": 1, "b": 2}},
        {"a": {"$in": 1}},
        {"a": {"$gt": None}},
        {"a": {"$lt": True}},
        {"a": {"$gte": [1]}},
        {"a": {"$exists": 1}},
        {"a": {"$and": [{}]}},
        {"$and": []},
        {"$or": {}},
        {"$or": [1]},
        {"a": {"$in": ["x"] * (MAX_VALUES + 1)}},
        {".".join("a" * 60): 1},
    ],
)
def test_malformed_filters_are_refused(wanted: Any) -> None:
    with pytest.raises(MalformedError):
        compile_filter(wanted)


@pytest.mark.parametrize(
    "wanted", [None, {"a": 2}, {"a": True}, {"a": "asc"}, {"$a": 1}, {f"f{n}": 1 for n in range(65)}]
)
def test_malformed_sorts_are_refused(wanted: Any) -> None:
    with pytest.raises(MalformedError):
        compile_sort(wanted)


def test_longest_and_deepest_filters_still_run() -> None:
    """SQLite limits the depth of an expression, its parser's stack and the bound values; we stay inside all three."""
    connection = filled([{"id": "a", "odd key": 1}], ascii_only=True, indexed=False)
    deepest: dict[str, Any] = {"$or": [{"odd key": {"$ne": n}} for n in range(300)]}
    for _ in range(MAX_NESTING - 1):
        deepest = {"$and": [deepest, *({"odd key": {"$nin": [n, "x", None, True, [1]]}} for n in range(2, 140))]}
    for wanted in (deepest, {"id": {"$in": [f"{n}" for n in range(MAX_VALUES - 1)] + ["a"]}}):
        condition = compile_filter(wanted)
        assert connection.execute(f"SELECT count(*) FROM t WHERE {condition.sql}", condition.params).fetchone() == (1,)
    with pytest.raises(MalformedError, match="levels"):
        compile_filter({"$and": [deepest]})
    connection.close()


def test_values_and_odd_names_are_bound_never_text() -> None:
    hostile = "x') OR 1=1 --"
    for wanted in ({"a": hostile}, {hostile: 1}, {f'a"{hostile}': {"$in": [hostile]}}, {"a": {"b": [hostile]}}):
        assert hostile not in compile_filter(wanted).sql
    assert hostile not in compile_sort({hostile: 1}).sql


@pytest.mark.parametrize(
    ("wanted", "sort", "plan"),
    [
        ({"id": {"$in": [f"item-{n}" for n in range(1000)]}}, {}, "(doc_id=?)"),
        ({"id": "item-7"}, {}, "(doc_id=?)"),
        ({"id": {"$gt": "item-7"}}, {"id": 1}, "(doc_id>?)"),
        ({"id": {"$lt": "item-7"}}, {"id": -1}, "(doc_id<?)"),
        ({"tenant_id": "t1"}, {}, "(<expr>=?)"),
        ({"tenant_id": {"$in": ["t1", "t2"]}}, {}, "(<expr>=?)"),
        ({"meta.kind": "post"}, {}, "(<expr>=?)"),
        ({}, {"tenant_id": 1}, "SCAN"),
    ],
)
def test_declared_indexes_and_the_id_are_searched(
    tmp_path: Path, wanted: dict[str, Any], sort: dict[str, int], plan: str
) -> None:
    store = Store(tmp_path / "zerodb.sqlite3")
    store.create("p", "t", {}, ["tenant_id", "meta.kind", "odd key", "tenant_id"])
    found = store.plan("p", "t", compile_filter(wanted), compile_sort(sort))
    store.close()
    assert plan in found
    assert "USING INDEX" in found
    assert not (sort and "TEMP B-TREE" in found), "a keyset scan must not sort"
