"""The parts of the comparisons with ZeroDB that need no server: values, groups, and reading around a bad document."""

from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from content_orchestration.core.documents import Document
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.integrity.bodies import Position
from content_orchestration.core.integrity.fields import same, shown, storable
from content_orchestration.core.integrity.findings import SAMPLES
from content_orchestration.core.integrity.looking import looking
from content_orchestration.core.integrity.pairs import Named, bounded
from content_orchestration.core.integrity.reading import read_documents
from content_orchestration.core.integrity.versions import missing_versions

ONE = UUID(int=1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=2), children, max_size=3),
    max_leaves=6,
)


@given(st.sets(st.integers(1, 60), min_size=1))
@example({1})
@example({2**31 - 1})
@example({1, 2, 2**31 - 1})
def test_missing_versions_are_the_first_ones(held: set[int]) -> None:
    newest = max(held)
    slow = [version for version in range(1, min(newest, 200)) if version not in held]
    assert missing_versions(sorted(held), newest) == slow[:SAMPLES]


def test_missing_versions_where_the_held_ones_were_cut_off() -> None:
    assert missing_versions([1, 2, 3], 10) == [4, 5, 6, 7, 8, 9, 10]


@given(JSON, JSON)
@example(True, 1)
@example([1], [True])
@example({"a": 0}, {"a": False})
@example(1, 1.0)
@example({"a": 1, "b": 2}, {"b": 2, "a": 1})
@example([], [1])
def test_equality_is_that_of_json(first: Any, second: Any) -> None:
    def tagged(value: Any) -> Any:
        if isinstance(value, bool):
            return ("bool", value)
        if isinstance(value, list):
            return ("list", [tagged(each) for each in value])
        return ("dict", {k: tagged(v) for k, v in value.items()}) if isinstance(value, dict) else ("plain", value)

    assert same(first, second) == (tagged(first) == tagged(second))
    assert same(first, first)


@given(st.text(alphabet=st.characters(codec=None)) | st.just("\ud800a\x00"))
def test_what_is_shown_can_be_stored(text: str) -> None:
    stored = storable(text)
    stored.encode()
    assert "\x00" not in stored
    assert (stored == text) == ("\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text))


def test_values_are_shown_short() -> None:
    assert [shown(value) for value in (None, 1, 1.5, True, "a", ["a"])] == [None, 1, 1.5, True, "a", "['a']"]
    assert shown("x" * 201) == "x" * 200 + "..."
    assert shown("x" * 200) == "x" * 200


def named(size: int | None, number: int = 0) -> Named:
    return Named((number,), ONE, str(number), ({"storage_size_bytes": size} if size is not None else {},))


@given(st.lists(st.integers(0, 9)))
def test_groups_are_bounded_and_lose_nothing(sizes: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("content_orchestration.core.integrity.pairs._GROUP", 4)
        patch.setattr("content_orchestration.core.integrity.pairs._GROUP_BYTES", 10)
        groups = list(bounded(named(size, number) for number, size in enumerate(sizes)))
    assert [each.key[0] for group in groups for each in group] == list(range(len(sizes)))
    for group in groups:
        assert group
        assert len(group) <= 4
        assert sum(each.size for each in group) <= 10
    for group, following in pairwise(groups):
        assert len(group) == 4 or sum(each.size for each in group) + following[0].size > 10, "could be one group"


def test_a_large_document_goes_alone_and_one_without_a_size_counts_nothing() -> None:
    groups = list(bounded([named(1), named(2**40), named(None), named(3)]))
    assert [[each.size for each in group] for group in groups] == [[1], [2**40], [0, 3]]


class Poisoned:
    """A store of every id, but for some that it fails to give, and that can be down."""

    def __init__(self, poison: set[str], *, alive: bool = True) -> None:
        self.poison, self.alive = poison, alive
        self.asked: list[list[str]] = []

    def get_many(self, collection: str, ids: list[str]) -> dict[str, Document]:
        self.asked.append(list(ids))
        if not self.alive or self.poison & set(ids):
            raise Transient("no")
        return {each: {"id": each} for each in ids if each != "-"}


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), max_size=4))))
def test_documents_that_cannot_be_read_are_told_apart(given_: tuple[int, set[int]]) -> None:
    count, bad = given_
    ids = [str(number) for number in range(count)]
    store = Poisoned({str(number) for number in bad})
    reading = read_documents(store, "c", ids)  # type: ignore[arg-type]
    assert reading.unreadable == dict.fromkeys(store.poison, "no")
    assert reading.found.keys() == set(ids) - store.poison
    assert len(store.asked) <= 2 + 18 * len(bad), "at most a failure, a probe and a sibling for each halving"


def test_a_store_that_is_down_is_not_asked_for_each_document() -> None:
    store = Poisoned(set(), alive=False)
    with pytest.raises(Transient):
        read_documents(store, "c", [str(number) for number in range(1000)])  # type: ignore[arg-type]
    assert len(store.asked) == 2


def test_an_error_of_a_tier_is_unknown_and_any_other_is_raised() -> None:
    ticks = iter([1.0, 3.5])
    with looking("x", lambda: next(ticks)) as comparison:
        comparison.attempted = 3
        raise Permanent("no table")
    assert (comparison.outcome, comparison.unknown, comparison.attempted, comparison.seconds) == (
        "unknown", "no table", 3, 2.5,
    )  # fmt: skip
    with pytest.raises(ZeroDivisionError), looking("x"):
        _ = 1 / 0


def test_a_position_is_written_and_read() -> None:
    position = Position(ONE, 12)
    assert Position.parse(str(position)) == position
    for text in ("", "x/1", f"{ONE}", f"{ONE}/", f"{ONE}/x"):
        with pytest.raises(Permanent, match="is no <content_id>/<version>"):
            Position.parse(text)
