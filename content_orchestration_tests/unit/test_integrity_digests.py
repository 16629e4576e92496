"""What stands for a row in a comparison: against hashlib and plain sums in Python."""

import io
from collections import Counter
from hashlib import md5
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.integrity.digests import RECORD, Bucket, Records, Sums, digests, numbers
from content_orchestration.core.integrity.local_rows import LocalRows, _Moving
from content_orchestration.core.integrity.warehouse_rows import _prove

ROWS = st.lists(st.tuples(st.uuids(), st.uuids(), st.binary(min_size=32, max_size=32)), max_size=40)
A, B, T = UUID(int=0x1AB), UUID(int=0x2AB), UUID(int=7)
HASHES = (bytes(range(32)), bytes(range(1, 33)))


def records(rows: Any) -> Records:
    return np.array([(each.bytes, tenant.bytes, sha256) for each, tenant, sha256 in rows], RECORD)


def summed(rows: Any, digits: int = 2) -> dict[str, Bucket]:
    sums = Sums(digits)
    sums.add(records(rows))
    return sums.buckets()


def kept(rows: Any) -> LocalRows:
    return LocalRows(io.BytesIO(records(rows).tobytes()))


@given(rows=ROWS, digits=st.integers(1, 4), at=st.integers(0, 40))
def test_buckets_hold_the_sums_of_md5(rows: Any, digits: int, at: int) -> None:
    wanted: dict[str, list[int]] = {}
    for each, tenant, sha256 in rows:
        digest = md5(f"{each}|{tenant}|{sha256.hex()}".encode()).digest()
        bucket = wanted.setdefault(str(each)[-digits:], [0] * 5)
        bucket[0] += 1
        for word in range(4):
            bucket[word + 1] += int.from_bytes(digest[4 * word : 4 * word + 4], "big")
    sums = Sums(digits)
    for some in (rows[:at], rows[at:]):
        sums.add(records(some))
    assert sums.buckets() == {name: Bucket(n, (a, b, c, d)) for name, (n, a, b, c, d) in wanted.items()}
    assert len(digests(records(rows))) == 16 * len(rows)
    assert numbers(records(rows), digits).tolist() == [int(str(each)[-digits:], 16) for each, _, _ in rows]


@pytest.mark.parametrize(
    "other",
    [
        [(A, T, HASHES[1]), (B, T, HASHES[0])],
        [(A, UUID(int=8), HASHES[0]), (B, T, HASHES[1])],
        [(UUID(int=0x3AB), T, HASHES[0]), (B, T, HASHES[1])],
        [(A, T, HASHES[0][:-1] + b"\x1e"), (B, T, HASHES[1])],
        [(T, A, HASHES[0]), (T, B, HASHES[1])],
    ],
    ids=["payloads swapped", "another tenant", "another id", "a bit", "id and tenant swapped"],
)
def test_rows_of_one_bucket_that_differ_have_other_sums(other: Any) -> None:
    rows = [(A, T, HASHES[0]), (B, T, HASHES[1])]
    assert len(summed(rows)) == 1
    assert summed(other) != summed(rows)
    assert summed(rows[::-1]) == summed(rows)


def test_kept_rows_are_divided_and_opened_by_name() -> None:
    rows = [(UUID(int=number), T, bytes(31) + bytes([number % 251])) for number in range(4096)]
    local = kept(rows)
    named = ["0a", "ff", "a", "ag", "0A", "00a", ""]
    opened = local.opened(named, 2)
    assert opened == {str(each): (str(T), sha256.hex()) for each, _, sha256 in rows if str(each)[-2:] in ("0a", "ff")}
    divided = local.divided(named, 2, 3)
    assert divided == {name: bucket for name, bucket in summed(rows, 3).items() if name[-2:] in ("0a", "ff")}
    assert Counter(name[-2:] for name in divided) == {"0a": 16, "ff": 16}
    assert local.opened([], 2) == {}


@given(rows=ROWS, moving=st.lists(st.integers(0, 39)), strangers=st.lists(st.uuids(), max_size=3))
def test_ids_in_flight_are_left_out(rows: Any, moving: list[int], strangers: list[UUID]) -> None:
    out = {rows[number][0] for number in moving if number < len(rows)} | set(strangers)
    left = _Moving([str(each) for each in out]).left(records(rows))
    assert left.tobytes() == records([row for row in rows if row[0] not in out]).tobytes()


def test_an_id_that_shares_half_with_one_in_flight_stays() -> None:
    near = UUID(int=A.int + (1 << 64))
    assert len(_Moving([str(near)]).left(records([(A, T, HASHES[0]), (near, T, HASHES[0])]))) == 1


def test_a_full_disk_says_what_to_do() -> None:
    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(Transient, match=r"No space left on device\. Free some space, or point TMPDIR elsewhere"):
        LocalRows(Full())._keep(records([(A, T, HASHES[0])]))


@pytest.mark.parametrize(
    "printed", [{}, {"x": {"tenant_id": "t", "row_sha256": "b"}}, {"x": {"tenant_id": "u", "row_sha256": "a"}}]
)
def test_a_row_that_postgresql_prints_otherwise_ends_the_comparison(printed: Any) -> None:
    _prove({"x": ("t", "a")}, {"x": {"tenant_id": "t", "row_sha256": "a"}})
    with pytest.raises(Permanent, match="row x is printed otherwise by PostgreSQL"):
        _prove({"x": ("t", "a")}, printed)
