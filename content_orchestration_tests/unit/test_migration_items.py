"""What an item is in every tier: ids, hashes, documents, and how deep metadata may nest. Rules are tested elsewhere."""

import hashlib
import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from content_orchestration.core.identity import content_id, document_id, sha256_hex
from content_orchestration.core.migration.items import Item, Media, json_depth

TENANT = UUID("11111111-1111-1111-1111-111111111111")
SOURCE = "content_items:22222222-2222-2222-2222-222222222222"


def _item(**changes: Any) -> Item:
    values: dict[str, Any] = {
        "source": SOURCE,
        "tenant_id": TENANT,
        "brand_id": None,
        "campaign_space_id": None,
        "user_id": None,
        "title": "A title",
        "content_type": "post",
        "status": "draft",
        "body": "Größe 👩🏽‍🔧",
        "metadata_base": "{}",
        "metadata_extra": {},
        "created_at": "2024-01-01 00:00:00+00",
        "updated_at": "2024-01-01 00:00:00+00",
        "deleted_at": None,
    }
    return Item(**(values | changes))


def test_ids_are_the_same_in_every_run_and_release() -> None:
    """Values written down: another namespace would give every row a second item."""
    assert str(content_id(SOURCE)) == "a31b1660-caf7-5b32-ae08-9f8637953588"
    assert document_id(content_id(SOURCE), 3) == f"{content_id(SOURCE)}.v3"
    assert content_id(SOURCE) != content_id(f"{SOURCE}:media:0")


@pytest.mark.parametrize("text", ["", "a", "é", "😀\n ", "\x00"])
def test_a_body_is_hashed_and_measured_in_utf8(text: str) -> None:
    item = _item(body=text)
    assert item.body_sha256 == sha256_hex(text) == hashlib.sha256(text.encode("utf-8")).hexdigest()
    assert item.size_bytes == len(text.encode("utf-8"))


def test_the_body_document_carries_the_body_and_its_hash() -> None:
    item = _item()
    assert item.body_document() == {
        "id": f"{content_id(SOURCE)}.v1",
        "content_id": str(content_id(SOURCE)),
        "tenant_id": str(TENANT),
        "version": 1,
        "content_type": "post",
        "title": "A title",
        "preview": "Größe 👩🏽‍🔧",
        "body": "Größe 👩🏽‍🔧",
        "body_sha256": sha256_hex("Größe 👩🏽‍🔧"),
        "size_bytes": 23,
    }


def test_the_version_document_says_who_and_why() -> None:
    item = _item()
    assert item.version_document() == {
        "id": item.zerodb_row_id,
        "content_id": str(item.id),
        "tenant_id": str(TENANT),
        "version": 1,
        "changed_by": "migration",
        "change_reason": f"migrated from {SOURCE}",
        "patch": [],
        "body_sha256": item.body_sha256,
    }


def test_each_file_has_a_document_of_its_own() -> None:
    files = (
        Media(source=f"{SOURCE}:media:0", kind="image", url="https://x/a", mime_type="image/png", size_bytes=7),
        Media(f"{SOURCE}:media:1", "video", "s3://b/v", "https://cdn/v", "ext-1", position=1),
    )
    item = _item(media=files)
    first, second = item.media_documents()
    assert first == {
        "id": str(content_id(f"{SOURCE}:media:0")),
        "content_id": str(item.id),
        "tenant_id": str(TENANT),
        "kind": "image",
        "url": "https://x/a",
        "public_url": None,
        "external_id": None,
        "mime_type": "image/png",
        "size_bytes": 7,
    }
    assert (second["id"], second["public_url"], second["external_id"]) == (str(files[1].id), "https://cdn/v", "ext-1")
    assert _item().media_documents() == []


@pytest.mark.parametrize("levels", [1, 32, 33, 2_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_depth_is_counted_beyond_any_stack(levels: int, opening: str, closing: str) -> None:
    innermost = "[]" if opening == "[" else "{}"
    text = opening * (levels - 1) + innermost + closing * (levels - 1)
    assert json_depth(text) == levels


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("", 0),
        ("17", 0),
        ('"[[[["', 0),
        ('{"[{[{": "]}]}"}', 1),
        ('["\\"[", []]', 2),
        ('["\\\\", [[]]]', 3),
        ('["\\\\\\"[[", []]', 2),
        ("[[], [], [[]]]", 3),
    ],
)
def test_brackets_in_texts_do_not_count(text: str, levels: int) -> None:
    assert json_depth(text) == levels


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='[]{}"\\ab', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='[{"\\a', max_size=3), inner, max_size=3)
    ),
    max_leaves=20,
)


def _levels(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_levels, value.values()), default=0)
    return 1 + max(map(_levels, value), default=0) if isinstance(value, list) else 0


@given(_VALUES)
def test_depth_is_that_of_the_parsed_value(value: Any) -> None:
    assert json_depth(json.dumps(value)) == _levels(value)
