"""The rules of `contracts/platform_tables.md`: bodies, types, statuses, times, files, limits. No servers here."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from content_orchestration.core.content.validation import MAX_BODY_BYTES
from content_orchestration.core.migration.items import Item, Rejected
from content_orchestration.core.migration.legacy import CAMPAIGN_ASSETS, CONTENT_ITEMS, campaign_asset, content_item

ID = UUID("22222222-2222-2222-2222-222222222222")
CREATED, UPDATED = "2024-05-06 07:08:09.123456+00", "2024-06-07 08:09:10+00"
COMMON: dict[str, Any] = {
    "id": ID,
    "tenant_id": UUID(int=1),
    "brand_id": UUID(int=2),
    "user_id": UUID(int=3),
    "tenant_known": True,
    "original": '{"whole": "row"}',
    "created_text": CREATED,
    "updated_text": UPDATED,
    "legacy_created_at": None,
    "legacy_updated_at": None,
    "timestamp_repaired": False,
}
ASSET: dict[str, Any] = COMMON | {
    "campaign_space_id": UUID(int=4),
    "asset_name": "The name",
    "asset_type": "image",
    "external_asset_id": None,
    "headline_text": None,
    "ad_copy_text": None,
    "description": None,
    "cta_text": None,
    "file_url": None,
    "public_url": None,
    "file_size_bytes": None,
    "mime_type": None,
    "tags": None,
    "deleted_text": None,
}
ITEM: dict[str, Any] = COMMON | {
    "title": "The title",
    "content_body": "The body",
    "content_type": "article",
    "status": "published",
    "metadata_text": '{"language": "en"}',
}


def asset(**changes: Any) -> Item:
    converted = campaign_asset(ASSET | changes)
    assert isinstance(converted, Item)
    return converted


def item(**changes: Any) -> Item:
    converted = content_item(ITEM | changes)
    assert isinstance(converted, Item)
    return converted


def named(*entries: Any, **changes: Any) -> Item:
    return item(metadata_text=json.dumps({"media": list(entries)}), **changes)


@pytest.mark.parametrize(
    ("headline", "copy", "description", "call", "body"),
    [
        ("H", "A", "D", "C", "# H\n\nA\n\nD\n\n**C**"),
        ("H", None, None, None, "# H"),
        (None, "A", "", None, "A"),
        (None, None, "D", "C", "D\n\n**C**"),
        ("", " ", "\n\t", "C", "**C**"),
        ("H", None, "  ", "C", "# H\n\n**C**"),
        ("{0} %s", "{x}", "{", "}", "# {0} %s\n\n{x}\n\n{\n\n**}**"),
        (" H ", "A\n\nB ", "😀\u2028", "C!", "#  H \n\nA\n\nB \n\n😀\u2028\n\n**C!**"),
    ],
)
def test_the_body_of_an_asset(
    headline: str | None, copy: str | None, description: str | None, call: str | None, body: str
) -> None:
    made = asset(headline_text=headline, ad_copy_text=copy, description=description, cta_text=call)
    assert made.body == body


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("Spring banner", "Spring banner"),
        (" Spring \n banner\t2 ", "Spring banner 2"),
        (None, f"Campaign asset {ID}"),
        ("  \n", f"Campaign asset {ID}"),
    ],
)
@pytest.mark.parametrize("empty", [None, "", " \t\n\u3000"])
def test_an_asset_without_texts_is_one_line_that_names_it(name: str | None, body: str, empty: str | None) -> None:
    made = asset(asset_name=name, headline_text=empty, ad_copy_text=empty, description=empty, cta_text=empty)
    assert made.body == body


_TEXT = st.none() | st.text(alphabet=" \nab{}*#😀", max_size=5)


@given(st.lists(_TEXT, min_size=4, max_size=4))
def test_every_text_of_an_asset_is_in_its_body_in_order(texts: list[str | None]) -> None:
    columns = ("headline_text", "ad_copy_text", "description", "cta_text")
    body = asset(**dict(zip(columns, texts, strict=True))).body
    assert body.strip()
    for text in texts:
        if text and text.strip():
            found = body.index(text)
            body = body[found + len(text) :]


@pytest.mark.parametrize(
    ("legacy", "content_type"),
    [("image",) * 2, ("video",) * 2, ("document",) * 2]
    + [(legacy, "post") for legacy in ("ad_copy", "headline", "description")],
)
def test_known_asset_types(legacy: str, content_type: str) -> None:
    made = asset(asset_type=legacy)
    assert (made.content_type, made.notes, made.metadata_extra) == (content_type, (), {})


@pytest.mark.parametrize("legacy", ["carousel", "IMAGE", "", None, "article", "image "])
def test_other_asset_types_become_post_and_are_counted(legacy: str | None) -> None:
    made = asset(asset_type=legacy)
    assert (made.content_type, made.notes) == ("post", ("unknown_type",))
    assert made.metadata_extra == {"legacy_content_type": legacy}


@pytest.mark.parametrize("kind", ["article", "post", "email", "image", "video", "document"])
@pytest.mark.parametrize("status", ["draft", "scheduled", "published", "archived"])
def test_known_types_and_statuses_stay(kind: str, status: str) -> None:
    made = item(content_type=kind, status=status)
    assert (made.content_type, made.status, made.notes, made.metadata_extra) == (kind, status, (), {})


@pytest.mark.parametrize("legacy", ["carousel", "Article", " post", "", None])
def test_unknown_types_and_statuses_are_kept_in_the_metadata(legacy: str | None) -> None:
    made = item(content_type=legacy, status=legacy)
    assert (made.content_type, made.status) == ("post", "draft")
    assert made.notes == ("unknown_type", "unknown_status")
    assert made.metadata_extra == {"legacy_content_type": legacy, "legacy_status": legacy}


def test_the_columns_of_an_asset_go_where_they_belong() -> None:
    made = asset(
        asset_name=None,
        headline_text="From the headline",
        tags=["a", None],
        external_asset_id="ext",
        cta_text="Buy",
        deleted_text=UPDATED,
    )
    assert made.source == f"campaign_assets:{ID}"
    assert (made.tenant_id, made.brand_id, made.user_id) == (UUID(int=1), UUID(int=2), UUID(int=3))
    assert (made.campaign_space_id, made.deleted_at) == (UUID(int=4), UPDATED)
    assert (made.created_at, made.updated_at, made.status) == (CREATED, UPDATED, "published")
    assert (made.title, made.notes) == ("From the headline", ())
    assert made.metadata_extra == {"tags": ["a", None], "external_asset_id": "ext", "cta_text": "Buy"}


def test_the_columns_of_an_item_go_where_they_belong() -> None:
    made = item()
    assert made.source == f"content_items:{ID}"
    assert (made.tenant_id, made.brand_id, made.user_id) == (UUID(int=1), UUID(int=2), UUID(int=3))
    assert (made.campaign_space_id, made.deleted_at) == (None, None)
    assert (made.created_at, made.updated_at) == (CREATED, UPDATED)
    assert (made.title, made.body, made.metadata_base) == ("The title", "The body", '{"language": "en"}')


@pytest.mark.parametrize("title", [None, "", " \t\u3000"])
def test_rows_without_a_title_are_untitled(title: str | None) -> None:
    assert (item(title=title).title, item(title=title).notes) == ("Untitled", ("untitled",))
    nameless = asset(asset_name=title, headline_text=title)
    assert (nameless.title, nameless.notes) == ("Untitled", ("untitled",))


def test_a_null_body_is_an_empty_one() -> None:
    assert (item(content_body=None).body, item(content_body=None).size_bytes) == ("", 0)


@pytest.mark.parametrize("make", [asset, item])
def test_repaired_times_are_noted_and_kept(make: Callable[..., Item]) -> None:
    made = make(timestamp_repaired=True, legacy_created_at="infinity", legacy_updated_at="0044-03-15 12:00:00+00 BC")
    assert made.notes == ("repaired_timestamp",)
    assert made.metadata_extra == {
        "legacy_created_at": "infinity",
        "legacy_updated_at": "0044-03-15 12:00:00+00 BC",
    }


@pytest.mark.parametrize("text", ["[1, null]", '"x"', "17", "true", "null", "[]"])
def test_metadata_that_is_no_object_is_wrapped(text: str) -> None:
    made = item(metadata_text=text)
    assert json.loads(made.metadata_base) == {"legacy_metadata": json.loads(text)}
    assert made.notes == ("metadata_not_an_object",)


def test_absent_metadata_is_an_empty_object() -> None:
    assert (item(metadata_text=None).metadata_base, item(metadata_text=None).notes) == ("{}", ())


def test_numbers_of_metadata_go_back_as_they_came() -> None:
    text = '{"n": 1' + "0" * 400 + ', "x": 1.10, "tiny": 0.' + "0" * 400 + "1}"
    assert item(metadata_text=text).metadata_base == text


def test_a_number_longer_than_python_reads_does_not_stop_the_row() -> None:
    digits = "1" + "0" * 20_000
    text = f'{{"n": {digits}, "media": [{{"url": "u"}}, {{"url": "v", "size_bytes": -{digits}}}]}}'
    made = item(metadata_text=text)
    assert made.metadata_base == text
    assert ([media.url for media in made.media], made.notes) == (["u"], ("malformed_media",))


def test_a_key_that_the_migration_needs_loses_no_value_of_the_row() -> None:
    text = '{"legacy_status": "mine", "media": [{"url": "u"}]}'
    made = item(metadata_text=text, status="lost")
    assert made.metadata_base == f'{{"legacy_metadata": {text}}}'
    assert made.metadata_extra == {"legacy_status": "lost"}
    assert (made.notes, len(made.media)) == (("unknown_status", "metadata_key_taken"), 1)
    assert item(metadata_text=text).metadata_base == text


def test_a_file_of_an_asset() -> None:
    (media,) = asset(
        file_url="https://f/a.mp4",
        public_url="https://p/a.mp4",
        external_asset_id="ext",
        mime_type="video/mp4",
        file_size_bytes=2**63 - 1,
    ).media
    assert (media.url, media.public_url, media.external_id) == ("https://f/a.mp4", "https://p/a.mp4", "ext")
    assert (media.kind, media.mime_type, media.size_bytes) == ("video", "video/mp4", 2**63 - 1)
    assert (media.source, media.position) == (f"campaign_assets:{ID}:media:0", 0)


@pytest.mark.parametrize("file_url", [None, "", "  "])
def test_the_public_url_stands_in(file_url: str | None) -> None:
    (media,) = asset(file_url=file_url, public_url="https://p/a").media
    assert (media.url, media.size_bytes, media.kind) == ("https://p/a", 0, "image")


def test_an_asset_without_a_url_has_no_file() -> None:
    assert asset(file_url="", public_url=" ", file_size_bytes=10).media == ()


@pytest.mark.parametrize(("file_url", "kept"), [("https://f/a", "https://f/a"), (None, "https://p/a")])
def test_a_negative_size_drops_the_file_and_keeps_what_was_said(file_url: str | None, kept: str) -> None:
    made = asset(file_url=file_url, public_url="https://p/a", file_size_bytes=-5)
    assert (made.media, made.notes) == ((), ("malformed_media",))
    assert made.metadata_extra["legacy_file"] == {"url": kept, "size_bytes": -5}


@pytest.mark.parametrize(
    ("kind", "mime", "content_type", "expected"),
    [
        ("video", "image/png", "post", "video"),
        ("hologram", "image/png", "post", "image"),
        (7, "VIDEO/MP4", "post", "video"),
        (None, "application/pdf", "image", "document"),
        (None, None, "image", "image"),
        (None, "", "video", "video"),
        (None, None, "article", "document"),
    ],
)
def test_the_kind_of_a_file(kind: Any, mime: str | None, content_type: str, expected: str) -> None:
    (media,) = named({"url": "u", "kind": kind, "mime_type": mime}, content_type=content_type).media
    assert media.kind == expected


def test_named_files_keep_their_place_among_malformed_ones() -> None:
    made = named({"url": "a"}, None, {"url": "b", "size_bytes": 5, "mime_type": "image/png"}, {"url": ""})
    assert [(media.url, media.position, media.size_bytes) for media in made.media] == [("a", 0, 0), ("b", 2, 5)]
    assert [media.source for media in made.media] == [f"content_items:{ID}:media:{at}" for at in (0, 2)]
    assert made.notes == ("malformed_media", "malformed_media")


@pytest.mark.parametrize(
    "entry",
    [
        None,
        "u",
        [],
        7,
        {},
        {"url": None},
        {"url": 7},
        {"url": " "},
        *({"url": "u", "size_bytes": size} for size in (-1, "1", 1.5, True, False, 2**63, 10**30, [])),
        *({"url": "u", "mime_type": mime} for mime in (7, [], {}, True)),
    ],
)
def test_malformed_files_are_counted_and_left_out(entry: Any) -> None:
    made = named(entry)
    assert (made.media, made.notes) == ((), ("malformed_media",))


@pytest.mark.parametrize(("size", "recorded"), [(None, 0), (0, 0), (2**63 - 1, 2**63 - 1)])
def test_sizes_that_are_taken(size: int | None, recorded: int) -> None:
    assert [media.size_bytes for media in named({"url": "u", "size_bytes": size}).media] == [recorded]


@pytest.mark.parametrize(
    ("media", "notes"), [(None, ()), ([], ()), ({}, ("malformed_media",)), ("u", ("malformed_media",))]
)
def test_media_that_are_no_list(media: Any, notes: tuple[str, ...]) -> None:
    made = item(metadata_text=json.dumps({"media": media}))
    assert (made.media, made.notes) == ((), notes)


def _rejected(converted: Item | Rejected) -> Rejected:
    assert isinstance(converted, Rejected)
    assert converted.original == '{"whole": "row"}'
    return converted


@pytest.mark.parametrize("tenant", [None, UUID(int=9)])
def test_a_row_of_no_known_tenant_is_rejected(tenant: UUID | None) -> None:
    for table, row in ((CAMPAIGN_ASSETS, ASSET), (CONTENT_ITEMS, ITEM)):
        turned_down = _rejected(table.convert(row | {"tenant_known": False, "tenant_id": tenant}))
        assert (turned_down.source, turned_down.reason) == (f"{table.name}:{ID}", "unknown_tenant")
        assert str(tenant) in turned_down.detail


@pytest.mark.parametrize("text", ["x" * MAX_BODY_BYTES, "é" * (MAX_BODY_BYTES // 2)])
def test_the_limit_of_a_body_is_on_bytes_and_inclusive(text: str) -> None:
    assert item(content_body=text).size_bytes == MAX_BODY_BYTES
    assert _rejected(content_item(ITEM | {"content_body": text + "x"})).reason == "body_too_large"
    # The heading's two characters count too.
    assert _rejected(campaign_asset(ASSET | {"headline_text": text})).reason == "body_too_large"


@pytest.mark.parametrize("levels", [33, 40, 2_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a": ', "}")])
def test_metadata_beyond_the_limit_is_rejected_however_deep(levels: int, opening: str, closing: str) -> None:
    def text(depth: int) -> str:
        return opening * (depth - 1) + opening[0] + closing * depth

    turned_down = _rejected(content_item(ITEM | {"metadata_text": text(levels)}))
    assert turned_down.reason == "metadata_too_deep"
    assert str(levels) in turned_down.detail
    item(metadata_text=text(32))
