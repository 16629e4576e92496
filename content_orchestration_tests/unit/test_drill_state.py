"""Two states compared, the generated content, and when a drill counts as verified. No I/O."""

from collections.abc import Iterator
from typing import Any, cast

import pytest

from content_orchestration.core.documents import MARK, DocumentStore
from content_orchestration.core.drill.content import TENANTS, first_versions, item_id, next_versions, tenants
from content_orchestration.core.drill.result import DrillResult
from content_orchestration.core.drill.state import State, _documents

CLEAN = {"missing": {"count": 0}, "extra": {"count": 0}, "changed": {"count": 0}}


def test_every_kind_of_difference_is_told_apart() -> None:
    before = State({("t", "same"): "1", ("t", "gone"): "1", ("t", "other"): "1", ("u", "same"): "1"})
    after = State({("t", "same"): "1", ("t", "other"): "2", ("u", "same"): "1", ("u", "new"): "1"})
    found = before.differences(after)
    assert (found.missing, found.extra, found.changed) == ([("t", "gone")], [("u", "new")], [("t", "other")])
    assert found.lost == {("t", "gone"), ("t", "other")}
    assert found.as_metadata() == {
        "missing": {"count": 1, "samples": ["t gone"]},
        "extra": {"count": 1, "samples": ["u new"]},
        "changed": {"count": 1, "samples": ["t other"]},
    }


class Documents:
    """A store that holds these bodies and nothing else."""

    def __init__(self, *bodies: dict[str, Any]) -> None:
        self._bodies = bodies

    def scan(self, collection: str) -> Iterator[dict[str, Any]]:
        return iter(self._bodies if collection == "content_items" else ())


def digest(*bodies: dict[str, Any]) -> str:
    ((thing, found),) = _documents(cast(DocumentStore, Documents(*bodies)))
    assert thing == ("zerodb content_items", "a")
    return found


def test_a_document_is_told_by_everything_but_what_no_row_determines() -> None:
    body = {"id": "a", "body": "text", "size_bytes": 4}
    assert digest(body) == digest(dict(reversed(body.items())) | {"title": "T", "content_type": "post", MARK: "m"})
    assert digest(body) != digest(body | {"body": "text "})
    assert digest(body) != digest(body | {"size_bytes": 5})
    assert digest(body) != digest(body | {"more": None})


def test_copies_of_a_document_are_another_content() -> None:
    one, other = {"id": "a", "body": "1"}, {"id": "a", "body": "2"}
    assert digest(one) != digest(one, one)
    assert digest(one, other) == digest(other, one)


def result(**given: Any) -> DrillResult:
    return DrillResult(
        "zerodb_emptied", 100, **({"detected_by": "a check", "differences": CLEAN, "rows_lost": 0} | given)
    )


def test_a_clean_drill_is_verified() -> None:
    assert result().verified
    assert result().as_metadata()["verified"] == "yes"


@pytest.mark.parametrize(
    "bad",
    [
        {"detected_by": None},
        {"differences": {}},
        {"differences": CLEAN | {"missing": {"count": 1}}},
        {"differences": CLEAN | {"extra": {"count": 1}}},
        {"differences": CLEAN | {"changed": {"count": 1}}},
        {"left_over": {"copies_agree": "2 rows differ"}},
        {"error": "Permanent: no"},
    ],
)
def test_anything_that_speaks_against_it_makes_it_unverified(bad: dict[str, Any]) -> None:
    assert not result(**bad).verified


def test_the_content_is_the_same_each_time_and_awkward() -> None:
    first, again = first_versions(range(120)), first_versions(range(120))
    assert (first.content, first.versions, first.media, first.documents) == (
        again.content, again.versions, again.media, again.documents,
    )  # fmt: skip
    assert len({row["id"] for row in first.content}) == 120
    assert {row["tenant_id"] for row in first.content} == {each["id"] for each in tenants()}
    assert len(tenants()) == TENANTS
    created = {row["created_at"] for row in first.content}
    assert {"infinity", "0044-03-15 12:00:00+00 BC"} <= created
    sizes = [row["storage_size_bytes"] for row in first.content]
    assert min(sizes) == 0
    assert max(sizes) > 256 * 1024
    assert any(row["title"].endswith("  ") for row in first.content)
    assert any(not row["title"].isascii() for row in first.content)
    assert any(row["deleted_at"] for row in first.content)


def test_a_later_version_is_another_body_under_another_id() -> None:
    first, second = first_versions([4]), next_versions([4], 2)
    assert first.content[0]["id"] == second.content[0]["id"] == str(item_id(4))
    assert first.content[0]["body_sha256"] != second.content[0]["body_sha256"]
    assert first.documents["content_items"][0]["id"] != second.documents["content_items"][0]["id"]
    assert second.media == []
