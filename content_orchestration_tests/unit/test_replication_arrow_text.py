"""Arrow columns as PostgreSQL's text: against Python's own json, uuid, datetime and hashlib."""

import json
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from content_orchestration.core.replication.arrow_text import (
    FIRST_MICROSECOND,
    LAST_MICROSECOND,
    json_escaped,
    sha256_texts,
    timestamp_texts,
    uuid_texts,
    within_years,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.text('\\"\b\f\n\r\t\x01\x1f/ua')
STAMP = pa.timestamp("us", "UTC")
_MARK = "a value that a slice leaves out"


def column(values: list[Any], kind: pa.DataType, filler: Any) -> pa.Array:
    """The values as a slice of a longer array, so that an offset that is overlooked shows."""
    return pa.array([filler, filler, filler, *values, filler], kind).slice(3, len(values))


@given(st.lists(TEXT | st.none(), min_size=1))
@example(["".join(map(chr, range(1, 0x80)))])
@example(["\\n", '\\"', "\\u0001", "\x7f\x85\u2028"])
def test_text_is_escaped_as_json_asks_and_no_more(values: list[str | None]) -> None:
    wanted = [None if text is None else json.dumps(text, ensure_ascii=False)[1:-1] for text in values]
    assert json_escaped(column(values, pa.string(), 'x"\n\\')).to_pylist() == wanted


def test_text_that_needs_no_escape_is_not_copied() -> None:
    plain = pa.array(["", "plain", None, "żółć 🗝️"])
    assert json_escaped(plain) is plain
    empty = pa.array([], pa.string())
    assert json_escaped(empty).to_pylist() == []
    assert json_escaped(pa.nulls(2, pa.string())).to_pylist() == [None, None]


@given(st.lists(st.uuids() | st.just(UUID(int=0)) | st.just(UUID(int=2**128 - 1)) | st.none(), min_size=1))
def test_uuids(values: list[UUID | None]) -> None:
    raw = column([value and value.bytes for value in values], pa.binary(16), b"x" * 16)
    assert uuid_texts(raw).to_pylist() == [value and str(value) for value in values]
    uuid_texts(raw).validate(full=True)


@given(st.lists(st.integers(FIRST_MICROSECOND, LAST_MICROSECOND) | st.none(), min_size=1))
@example([FIRST_MICROSECOND, LAST_MICROSECOND, 0, -1, 10, 1_000_000, 10_000_000, 1_500_000, 600_000_000])
def test_timestamps(values: list[int | None]) -> None:
    wanted: list[str | None] = []
    for value in values:
        moment = pa.scalar(value, STAMP).as_py()
        text = moment and moment.replace(tzinfo=None).isoformat(timespec="microseconds")
        wanted.append(text and text.rstrip("0").rstrip(".") if "." in (text or "") else text)
    assert timestamp_texts(column(values, STAMP, 5)).to_pylist() == wanted


def test_timestamps_beyond_bigquery_are_null() -> None:
    inside = [FIRST_MICROSECOND, datetime(2026, 1, 2, tzinfo=UTC), None, LAST_MICROSECOND]
    held = pa.array(inside, STAMP)
    assert within_years(held) is held
    assert within_years(pa.nulls(3, STAMP)).null_count == 3
    for outside in (FIRST_MICROSECOND - 1, LAST_MICROSECOND + 1, 2**63 - 1, -(2**63)):
        assert within_years(pa.array([*inside, outside], STAMP)).equals(pa.array([*inside, None], STAMP))


@given(st.lists(TEXT, min_size=1))
def test_digests(values: list[str]) -> None:
    wanted = [sha256(text.encode()).hexdigest() for text in values]
    assert sha256_texts(column(values, pa.string(), _MARK)).to_pylist() == wanted


@pytest.mark.parametrize("convert", [uuid_texts, sha256_texts])
def test_no_rows(convert: Any) -> None:
    kind = pa.binary(16) if convert is uuid_texts else pa.string()
    assert convert(pa.array([], kind)).to_pylist() == []
