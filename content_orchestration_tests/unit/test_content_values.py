"""The content store's values: rules for input, patches, diffs, cursors, the breaker. No tier is asked here."""

import json
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from content_orchestration.core.content import cursor as cursors
from content_orchestration.core.content import validation
from content_orchestration.core.content.breaker import Breaker
from content_orchestration.core.content.documents import as_json, body_document
from content_orchestration.core.content.errors import InvalidContent
from content_orchestration.core.content.model import Changes, NewContent
from content_orchestration.core.content.patch import MAX_DIFF_LINES, body_diff, operations

LIMIT = 1000


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"in": value}
    return value


GOOD = NewContent("Title", "body")


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        NewContent("T", "", metadata=nested(32)),
        NewContent("T", "x" * LIMIT),
        NewContent("😀" * 1000, "é" * (LIMIT // 2)),
        NewContent(
            "T", "b", "email", "archived", uuid4(), uuid4(), uuid4(), {"a": [1, 2.5, None, True, "x", {}]}, "s:1"
        ),
    ],
)
def test_good_content_passes(content: NewContent) -> None:
    validation.new_content(content, LIMIT)


@pytest.mark.parametrize(
    ("field", "rule", "changes"),
    [
        ("title", "is empty", {"title": ""}),
        ("title", "is empty", {"title": " \n"}),
        ("title", "is a int, not text", {"title": 5}),
        ("title", "is longer than 1,000 characters", {"title": "x" * 1001}),
        ("title", "NUL character at 1", {"title": "a\0b"}),
        ("body", "NUL character at 0", {"body": "\0"}),
        ("body", "not valid UTF-8 (a lone surrogate at 2)", {"body": "ab\ud800"}),
        ("body", "is a bytes, not text", {"body": b"\xff"}),
        ("body", "1,001 bytes, more than the 1,000 that CONTENT_MAX_BODY_BYTES", {"body": "x" * 1001}),
        ("body", "1,002 bytes", {"body": "é" * 501}),
        ("content_type", "is 'novel'", {"content_type": "novel"}),
        ("status", "is 'gone'", {"status": "gone"}),
        ("status", "is None", {"status": None}),
        ("metadata", "is a list, not an object", {"metadata": []}),
        ("metadata", "is a str, not an object", {"metadata": "{}"}),
        ("metadata", "deeper than 32 levels", {"metadata": nested(33)}),
        ("metadata", "deeper than 32 levels", {"metadata": nested(100_000)}),
        ("metadata", "deeper than 32 levels", {"metadata": {"a": [nested(32)]}}),
        ("metadata", "has the key 1", {"metadata": {1: "x"}}),
        ("metadata", "holds nan", {"metadata": {"a": float("nan")}}),
        ("metadata", "holds -inf", {"metadata": {"a": [float("-inf")]}}),
        ("metadata", "holds a datetime", {"metadata": {"a": datetime.now(UTC)}}),
        ("metadata", "NUL character", {"metadata": {"a": "\0"}}),
        ("metadata", "lone surrogate", {"metadata": {"\udfff": 1}}),
        ("metadata", "larger than 1,048,576 bytes", {"metadata": {"a": ["x" * 600_000, "y" * 600_000]}}),
        ("brand_id", "is 'x', which is no UUID", {"brand_id": "x"}),
        ("user_id", "which is no UUID", {"user_id": UUID(int=0)}),
        ("source", "is empty", {"source": " "}),
    ],
)
def test_bad_content_is_refused_by_field_and_rule(field: str, rule: str, changes: dict[str, Any]) -> None:
    content = _replaced(changes)
    with pytest.raises(InvalidContent) as caught:
        validation.new_content(content, LIMIT, "items[3].")
    assert caught.value.field == f"items[3].{field}" or caught.value.field == field
    assert rule in str(caught.value)
    assert "nothing was written" in str(caught.value)


def _replaced(changes: dict[str, Any]) -> NewContent:
    return NewContent(**{name: getattr(GOOD, name) for name in GOOD.__dataclass_fields__} | changes)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (Changes(), "changes"),
        (Changes(title=""), "title"),
        (Changes(body="\0"), "body"),
        (Changes(content_type="x"), "content_type"),
        (Changes(status="x"), "status"),
        (Changes(metadata=[]), "metadata"),  # type: ignore[arg-type]
    ],
)
def test_bad_changes_are_refused(changes: Changes, field: str) -> None:
    with pytest.raises(InvalidContent) as caught:
        validation.changes(changes, LIMIT)
    assert caught.value.field == field


def test_good_changes_pass() -> None:
    validation.changes(Changes("t", "b", "post", "draft", {"a": 1}), LIMIT)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=3), JSON, max_size=4)


def applied(document: dict[str, Any], patch: list[dict[str, Any]]) -> dict[str, Any]:
    """RFC 6902 for the three operations that are used, written apart from the code under test."""
    result: dict[str, Any] = json.loads(json.dumps(document))
    for operation in patch:
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        node = result
        for parent in parents:
            node = node[parent]
        if operation["op"] == "remove":
            del node[last]
        else:
            assert (last in node) == (operation["op"] == "replace")
            node[last] = operation["value"]
    return result


@given(OBJECTS, OBJECTS)
def test_a_patch_makes_the_new_of_the_old(old: dict[str, Any], new: dict[str, Any]) -> None:
    patch = operations(old, new)
    assert (
        json.dumps(applied(old, patch), sort_keys=True) == json.dumps(new, sort_keys=True) or applied(old, patch) == new
    )
    assert operations(new, new) == []


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ({"a": 1}, {"a": True}, 1),
        ({"a": [1]}, {"a": [True]}, 1),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1}]}, 0),
        ({"a": [{"b": 1}]}, {"a": [{"c": 1}]}, 1),
        ({"a": [1]}, {"a": [1, 2]}, 1),
        ({"a": None}, {}, 1),
    ],
)
def test_what_counts_as_a_change(old: dict[str, Any], new: dict[str, Any], found: int) -> None:
    assert len(operations(old, new)) == found


def test_a_body_diff_shows_lines_and_ends() -> None:
    assert body_diff("a", "a", "1", "2") == ""
    shown = body_diff("a\nb", "a\nc\n", "version 1", "version 2")
    assert "-b\n\\ No newline at end of body\n+c\n" in shown
    assert shown.startswith("--- version 1")
    assert "too many to show" in body_diff("x\n" * MAX_DIFF_LINES, "y\n", "1", "2")


@pytest.mark.parametrize(
    "key", ["infinity", "-infinity", "0044-03-15 00:00:00+00 BC", "294276-12-31 23:59:59.999999+00"]
)
def test_a_cursor_comes_back_as_it_went(key: str) -> None:
    row = {"created_key": key, "id": uuid4()}
    assert cursors.decode(cursors.encode(row)) == (key, row["id"])


@pytest.mark.parametrize("cursor", ["", "x", "W10=", "WzEsMl0=", "eyJhIjoxfQ==", "é", "WyIyMDI2IiwgInh4Il0=", None])
def test_a_cursor_that_no_list_gave_is_refused(cursor: Any) -> None:
    with pytest.raises(InvalidContent, match="no list gave out"):
        cursors.decode(cursor)


def test_a_cursor_cannot_carry_sql() -> None:
    forged = cursors.encode({"created_key": "now()); DROP TABLE x; --", "id": uuid4()})
    with pytest.raises(InvalidContent):
        cursors.decode(forged)


def test_the_breaker_opens_for_its_seconds() -> None:
    now = 100.0
    breaker = Breaker(5.0, lambda: now)
    assert not breaker.is_open
    breaker.trip()
    assert breaker.is_open
    now = 104.9
    assert breaker.is_open
    now = 105.0
    assert not breaker.is_open
    breaker.trip()
    breaker.reset()
    assert not breaker.is_open


def test_a_preview_is_the_first_200_characters() -> None:
    document = body_document(
        uuid4(), uuid4(), 3, content_type="post", title="T", body="ü" * 300, metadata='{"n": 1.10}'
    )
    assert document["preview"] == "ü" * 200
    assert (document["size_bytes"], document["metadata"]) == (600, '{"n": 1.10}')
    assert document["id"].endswith(".v3")


def test_metadata_may_be_any_mapping_and_hold_no_number_that_cannot_be_printed() -> None:
    assert as_json(MappingProxyType({"a": MappingProxyType({"b": 1})})) == '{"a": {"b": 1}}'
    validation.metadata({"n": 10**999}, "")
    for number in (10**5000, -(10**5000)):
        with pytest.raises(InvalidContent, match="1,000 digits"):
            validation.metadata({"n": number}, "")
