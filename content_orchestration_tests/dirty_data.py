"""Legacy rows of every dirty kind, each with what the migration must make of it. Shared by the migration's tests.

What a row and its expectation are is in `dirty_row.py`. Levels of metadata are nested objects and arrays, the
outermost being level 1.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal
from uuid import NAMESPACE_URL, UUID, uuid5

from content_orchestration_tests.dirty_row import (
    BODY,
    UNCHECKED,
    UPDATED,
    DirtyRow,
    Expectation,
    asset,
    insert_dirty_rows,
    item,
    quarantined,
)

__all__ = ["DirtyRow", "Expectation", "by_source", "dirty_rows", "insert_dirty_rows"]

MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_METADATA_LEVELS = 32
MISSING_TENANT = uuid5(NAMESPACE_URL, "dirty/tenant/missing")
EPOCH = "1970-01-01 00:00:00+00"


def dirty_rows(*, large_bodies: bool = True, repeats: int = 25) -> Iterator[DirtyRow]:
    """Every dirty kind, the same rows in the same order each time. Ids are fixed: insert them once a database.

    `large_bodies` adds about 60 MB of text, up to just above the limit; `repeats` is how many rows carry the same text.
    """
    yield from _titles_types_statuses()
    yield from _tenants()
    yield from _times()
    yield from _texts(repeats)
    yield from _metadata()
    yield from _item_media()
    yield from _assets()
    if large_bodies:
        yield from _sizes()


def by_source(rows: Sequence[DirtyRow]) -> dict[str, DirtyRow]:
    """The rows by their `source`, to find the expectation of a migrated or quarantined one."""
    return {row.source: row for row in rows}


def nested(levels: int, kind: Literal["object", "array"] = "object") -> str:
    """JSON text of exactly `levels` nested objects or arrays."""
    opening, closing = ('{"a": ', "}") if kind == "object" else ("[", "]")
    innermost = "{}" if kind == "object" else "[]"
    return opening * (levels - 1) + innermost + closing * (levels - 1)


def _titles_types_statuses() -> Iterator[DirtyRow]:
    for kind, title in {"null": None, "empty": "", "blanks": "   ", "tabs": "\t \r\n", "wide": "\u3000\u00a0"}.items():
        yield item(f"title_{kind}", Expectation(title="Untitled", body=BODY), title=title)
    yield item("title_trailing_blanks", title="  Spring launch \t ")
    yield item("title_long", title="Größe " * 4_000 + "end")
    for kind, value in {"unknown": "carousel", "case": "Article", "padded": "post ", "empty": "", "null": None}.items():
        expect = Expectation(content_type="post", metadata={"legacy_content_type": value}, body=BODY)
        yield item(f"content_type_{kind}", expect, content_type=value)
    for kind, value in {"unknown": "in_review", "case": "PUBLISHED", "empty": "", "null": None}.items():
        expect = Expectation(status="draft", metadata={"legacy_status": value}, body=BODY)
        yield item(f"status_{kind}", expect, status=value)
    everything = Expectation(
        title="Untitled",
        body="",
        content_type="post",
        status="draft",
        created_at=EPOCH,
        metadata={"legacy_content_type": "reel", "legacy_status": "lost"},
    )
    empty = dict.fromkeys(("title", "content_body", "content_metadata", "brand_id", "created_at", "updated_at"))
    yield item("everything_at_once", everything, content_type="reel", status="lost", **empty)


def _tenants() -> Iterator[DirtyRow]:
    missing: dict[str, UUID | None] = {"missing": MISSING_TENANT, "nil": UUID(int=0), "null": None}
    for kind, tenant in missing.items():
        yield item(f"tenant_{kind}", quarantined("unknown_tenant"), tenant_id=tenant)
        yield asset(f"tenant_{kind}", quarantined("unknown_tenant"), tenant_id=tenant)
    yield item("tenant_missing_and_empty", quarantined("unknown_tenant"), tenant_id=MISSING_TENANT, title=None)
    yield item("brand_null", brand_id=None)


BAD_TIMES = {
    "null": None,
    "before_1970": "1969-12-31 23:59:59.999999+00",
    "before_1900": "1815-06-18 11:30:00+00",
    "before_christ": "0044-03-15 12:00:00+00 BC",
    "infinity": "infinity",
    "minus_infinity": "-infinity",
}


def _times() -> Iterator[DirtyRow]:
    for kind, text in BAD_TIMES.items():
        moved = Expectation(body=BODY, created_at=UPDATED, metadata={"legacy_created_at": text})
        lost = Expectation(body=BODY, created_at=EPOCH, metadata={"legacy_created_at": text})
        yield item(f"created_at_{kind}", moved, created_at=text)
        yield item(f"both_times_{kind}", lost, created_at=text, updated_at=text)
        yield item(f"updated_at_{kind}", updated_at=text)
        yield asset(f"created_at_{kind}", replace(moved, body=UNCHECKED), created_at=text)
    yield item("created_at_epoch", created_at=EPOCH)
    # PostgreSQL goes to the year 294276; Python and BigQuery end with 9999. No rule names the stored value.
    yield item("created_at_after_9999", Expectation(body=BODY), created_at="12024-01-01 00:00:00+00")
    yield item("updated_before_created", updated_at="2020-01-01 00:00:00+00")
    yield asset("deleted", deleted_at=UPDATED)


def _texts(repeats: int) -> Iterator[DirtyRow]:
    yield item("body_null", Expectation(body=""), content_body=None)
    bodies = {
        "empty": "",
        "one_byte": "x",
        "trailing_blanks": "  two before, three after   ",
        "trailing_newlines": "last line\r\n\n\n \t",
        "only_blanks": " \n ",
        "controls": "".join(map(chr, range(1, 32))) + "\x7f\x85",
        "separators": "a\u2028b\u2029c\ufeffd\u200be\u202ef",
        "decomposed": "Cafe\u0301 nai\u0308ve, composed: Café naïve",
        "joined_emoji": "👩🏽‍🔧👨‍👩‍👧‍👦🏳️‍🌈🇯🇵",
        "quoting": '\'; DROP TABLE tenants; -- \\N \\x00 \\u0000 %s {title} ${x} "q" \\',
        "markup": "<script>alert(1)</script>&amp;<null>",
    }
    for kind, text in bodies.items():
        yield item(f"body_{kind}", content_body=text)
    for plane in range(17):
        first = 0x10000 * plane
        points = [first + offset for offset in (0x20 if plane == 0 else 0, 0x41, 0xA9, 0x4E00, 0xFFFE, 0xFFFF)]
        text = "".join(map(chr, points))
        yield item(f"plane_{plane}", title=f"Plane {plane} {text}", content_body=text * 50)
    for number in range(repeats):
        yield item(f"same_text_{number}", title="The same title", content_body="The same text in many rows.")


def _metadata() -> Iterator[DirtyRow]:
    yield item("metadata_sql_null", content_metadata=None)
    scalars = {
        "array": [1, "two", None],
        "text": "just text",
        "number": 17,
        "true": True,
        "null": None,
        "empty_array": [],
    }
    for kind, value in scalars.items():
        expect = Expectation(body=BODY, metadata={"legacy_metadata": value})
        yield item(f"metadata_{kind}", expect, content_metadata=json.dumps(value))
    kept = {
        "big_numbers": '{"big": 18446744073709551617, "bigger": 1' + "0" * 60 + ', "huge": 1e400, "tiny": 1e-400}',
        "exact_decimals": '{"price": 0.10000000000000000555, "scale": 1.500, "minus": -12345678901234567890.125}',
        "deep_at_limit": nested(MAX_METADATA_LEVELS),
        "wide": json.dumps({f"key {number}": number for number in range(2_000)}),
        "odd_keys": '{"": 1, "a.b": 2, "$set": 3, "ключ": 4, "鍵🔑": 5, "legacy_status": "mine", "nul": "\\\\u0000"}',
    }
    for kind, text in kept.items():
        yield item(f"metadata_{kind}", Expectation(body=BODY, metadata_json=text), content_metadata=text)
    yield item(
        "metadata_over_limit", quarantined("metadata_too_deep"), content_metadata=nested(MAX_METADATA_LEVELS + 1)
    )
    yield item("metadata_deep_40", quarantined("metadata_too_deep"), content_metadata=nested(40))
    yield item("metadata_deep_array", quarantined("metadata_too_deep"), content_metadata=nested(40, "array"))
    # Deeper than Python's json and orjson can read: one such row must not stop the batch that it is in.
    yield item("metadata_deep_2000", quarantined("metadata_too_deep"), content_metadata=nested(2_000))


def _entry(**changes: Any) -> dict[str, Any]:
    return {"url": "https://files.example/a.jpg", "mime_type": "image/jpeg", "size_bytes": 1024} | changes


MALFORMED_ENTRIES: dict[str, Any] = {
    "without_url": {"mime_type": "image/png", "size_bytes": 5},
    "url_null": _entry(url=None),
    "url_empty": _entry(url=""),
    "url_blank": _entry(url="  "),
    "url_number": _entry(url=7),
    "size_negative": _entry(size_bytes=-1),
    "size_text": _entry(size_bytes="1024"),
    "size_fraction": _entry(size_bytes=10.5),
    "size_boolean": _entry(size_bytes=True),
    "size_beyond_bigint": _entry(size_bytes=2**63),
    "entry_null": None,
    "entry_text": "https://files.example/a.jpg",
    "entry_array": [],
}


def _item_media() -> Iterator[DirtyRow]:
    def row(kind: str, media: Any, files: int | None, malformed: int | None) -> DirtyRow:
        metadata = json.dumps({"language": "en", "media": media})
        return item(
            kind, Expectation(body=BODY, media_files=files, malformed_media=malformed), content_metadata=metadata
        )

    for kind, media in {"text": "none", "object": _entry(), "number": 3}.items():
        yield row(f"media_not_array_{kind}", media, 0, 1)
    yield row("media_null", None, 0, None)
    yield row("media_empty", [], 0, 0)
    for kind, entry in MALFORMED_ENTRIES.items():
        yield row(f"media_{kind}", [_entry(url=f"https://files.example/{kind}.jpg"), entry], 1, 1)
    every = [_entry(url="https://files.example/first.jpg"), *MALFORMED_ENTRIES.values(), _entry(url="s3://b/last.jpg")]
    yield row("media_all_malformed_kinds", every, 2, len(MALFORMED_ENTRIES))
    yield row("media_size_zero", [_entry(url="https://files.example/zero.jpg", size_bytes=0)], 1, 0)
    # Not malformed by any rule, nor complete: the row migrates, and what its media become is the migration's to say.
    yield row(
        "media_size_absent", [{"url": "https://files.example/unsized.jpg", "mime_type": "image/jpeg"}], None, None
    )
    yield row("media_mime_absent", [{"url": "https://files.example/untyped", "size_bytes": 9}], None, None)
    yield row("media_kind_unknown", [_entry(url="https://files.example/hologram", kind="hologram")], None, None)
    yield row("media_same_url_twice", [_entry(url="https://files.example/twice.jpg")] * 2, None, None)


def _assets() -> Iterator[DirtyRow]:
    for kind, name in {"null": None, "blank": "  "}.items():
        yield asset(f"asset_name_{kind}", Expectation(title="Untitled"), asset_name=name)
        # The one line that names the asset has no name to give.
        yield asset(f"asset_name_{kind}_no_text", Expectation(title="Untitled"), asset_name=name, headline_text=None)
    for kind, value in {"unknown": "carousel", "case": "IMAGE", "empty": "", "null": None}.items():
        expect = Expectation(content_type="post", metadata={"legacy_content_type": value})
        yield asset(f"asset_type_{kind}", expect, asset_type=value)
    for value in ("ad_copy", "headline", "description"):
        yield asset(f"asset_type_{value}", Expectation(content_type="post"), asset_type=value)
    yield asset("text_null", headline_text=None)
    yield asset("text_empty", headline_text="", ad_copy_text="", description="", cta_text="")
    yield asset("text_every_plane", ad_copy_text="".join(chr(0x10000 * plane + 0x4E00) for plane in range(17)))
    for kind, tags in {"null": None, "empty": "{}", "with_null": "{a,NULL,a}", "nested": "{{a,b},{c,d}}"}.items():
        yield asset(f"tags_{kind}", tags=tags)
    url = "https://files.example/asset.jpg"
    sized = {"file_size_bytes": 10, "mime_type": "image/jpeg"}
    media: dict[str, tuple[dict[str, Any], int | None, int | None]] = {
        "file_url": ({"file_url": f"{url}?1", **sized}, 1, 0),
        "public_url_only": ({"public_url": f"{url}?2", **sized}, 1, 0),
        "file_url_empty": (
            {"file_url": "", "public_url": f"{url}?3", "file_size_bytes": 10, "mime_type": "image/jpeg"},
            1,
            0,
        ),
        "no_url": ({"file_url": "", "public_url": "", "file_size_bytes": 10}, 0, 0),
        "size_negative": ({"file_url": f"{url}?4", "file_size_bytes": -1, "mime_type": "image/jpeg"}, 0, 1),
        "size_null": ({"file_url": f"{url}?5", "mime_type": "image/jpeg"}, None, None),
        "size_largest": ({"file_url": f"{url}?6", "file_size_bytes": 2**63 - 1}, None, None),
    }
    for kind, (values, files, malformed) in media.items():
        yield asset(f"asset_media_{kind}", Expectation(media_files=files, malformed_media=malformed), **values)


def _sizes() -> Iterator[DirtyRow]:
    for kind, text in {
        "4_kib": "x" * 4_096,
        "1_mib": "0123456789abcde\n" * 65_536,
        "10_mb": "x" * 10_000_000,
        "10_mib_exactly": "😀" * (MAX_BODY_BYTES // 4),
    }.items():
        yield item(f"body_{kind}", content_body=text)
    too_large = quarantined("body_too_large")
    yield item("body_10_mib_and_one", too_large, content_body="x" * (MAX_BODY_BYTES + 1))
    # Half as many characters as bytes: the limit is on bytes.
    yield item("body_too_large_in_bytes_only", too_large, content_body="é" * (MAX_BODY_BYTES // 2 + 1))
    yield asset("body_too_large", too_large, ad_copy_text="x" * (MAX_BODY_BYTES + 1))
