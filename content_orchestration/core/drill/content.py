"""The content of a drill's world: rows and documents, the same for the same number. Values only, no I/O.

The awkward values are on purpose: what a restore loses is never the plain row.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID, uuid5

from content_orchestration.core.documents import Document
from content_orchestration.core.identity import document_id, sha256_hex

LARGE_BODY_BYTES = 256 * 1024
_NAMESPACE = UUID("0d6a3a52-9b8e-5c57-8c1d-2f1d3f6b7e10")
_BEGAN = datetime(2024, 1, 1, tzinfo=UTC)
_TYPES = ("article", "post", "email", "image", "video", "document")
_STATUSES = ("draft", "scheduled", "published", "archived")
_PLANS = ("business", "professional", "starter", "free", "enterprise")
TENANTS = len(_PLANS)
_WORDS = (
    "launch",
    "Überblick",
    "été",
    "新製品",
    "рассылка",
    "عرض",
    "🗝️",
    "a|b",
    "'quoted'",
    "NULL",
    "1e5",
    "tab\tnewline\n",
)
# By number of the item: values that a copy through typed columns or floats would not bring back.
_METADATA: dict[int, dict[str, Any]] = {
    3: {"large": 18446744073709551617, "deep": {"list": [[1, None], [], {"": ""}]}},
    4: {"precise": "0.1000", "nul": "null", "empty": ""},
}
_CREATED = {5: "0044-03-15 12:00:00+00 BC", 6: "1969-12-31 23:59:59.999999+00", 7: "infinity"}
_EDGES = "  trailing blanks  "


@dataclass
class Batch:
    """Rows by table of PostgreSQL and documents by collection of ZeroDB that are written together."""

    content: list[dict[str, Any]] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)
    media: list[dict[str, Any]] = field(default_factory=list)
    documents: dict[str, list[Document]] = field(
        default_factory=lambda: {"content_items": [], "content_versions": [], "content_media_files": []}
    )


def tenant_id(number: int) -> UUID:
    """The id of the tenant with this number, from 0."""
    return uuid5(_NAMESPACE, f"tenant {number}")


def item_id(number: int) -> UUID:
    """The id of the item with this number, from 0."""
    return uuid5(_NAMESPACE, f"item {number}")


def tenants() -> list[dict[str, Any]]:
    """The platform's rows of the tenants."""
    return [
        {
            "id": str(tenant_id(n)),
            "name": f"Drill {n}",
            "slug": f"drill-{n}",
            "plan_tier": _PLANS[n],
            "created_at": _at(n),
        }
        for n in range(TENANTS)
    ]


def first_versions(numbers: Iterable[int]) -> Batch:
    """Items at version 1 with their bodies, version records, and a file for every fourth one."""
    batch = Batch()
    for number in numbers:
        body = _body(number, 1)
        batch.content.append(_content(number, 1, body))
        _add_version(batch, number, 1, body)
        if number % 4 == 0:
            row = _media(number)
            batch.media.append(row)
            names = ("content_id", "tenant_id", "kind", "url", "public_url", "external_id", "mime_type", "size_bytes")
            batch.documents["content_media_files"].append({"id": row["id"]} | {name: row[name] for name in names})
    return batch


def next_versions(numbers: Iterable[int], version: int) -> Batch:
    """The same items at a later version."""
    batch = Batch()
    for number in numbers:
        body = _body(number, version)
        batch.content.append(_content(number, version, body))
        _add_version(batch, number, version, body)
    return batch


def _content(number: int, version: int, body: str) -> dict[str, Any]:
    key = item_id(number)
    return {
        "id": str(key),
        "tenant_id": str(tenant_id(number % TENANTS)),
        "brand_id": str(uuid5(key, "brand")) if number % 3 else None,
        "campaign_space_id": str(uuid5(key, "space")) if number % 5 == 0 else None,
        "user_id": None,
        "title": f"{_words(number, version, 3)} {version}" + (_EDGES if number % 10 == 1 else ""),
        "content_type": _TYPES[number % len(_TYPES)],
        "status": _STATUSES[number % len(_STATUSES)],
        "zerodb_row_id": document_id(key, version),
        "body_sha256": sha256_hex(body),
        "storage_size_bytes": len(body.encode()),
        "version": version,
        "source": f"drill:{number}" if number % 2 else None,
        "metadata": _METADATA.get(number, {"number": number, "tags": [_words(number, 0, 1)]}),
        "created_at": _CREATED.get(number, _at(number)),
        "updated_at": _at(number + 1000 * version),
        "deleted_at": _at(number + 5000) if number % 13 == 12 else None,
    }


def _add_version(batch: Batch, number: int, version: int, body: str) -> None:
    key = item_id(number)
    operations = [{"op": "replace", "path": "/title", "value": version}] if version > 1 else []
    row = {
        "id": str(uuid5(key, f"version {version}")),
        "content_id": str(key),
        "tenant_id": str(tenant_id(number % TENANTS)),
        "version": version,
        "zerodb_row_id": document_id(key, version),
        "body_sha256": sha256_hex(body),
        "storage_size_bytes": len(body.encode()),
        "changed_by": "drill",
        "change_reason": f"version {version}: {_words(number, version, 2)}",
        "patch": {"operations": operations},
        "created_at": _at(number + 1000 * version),
    }
    batch.versions.append(row)
    named = {name: row[name] for name in ("content_id", "tenant_id", "version", "body_sha256")}
    content = batch.content[-1]
    batch.documents["content_items"].append(
        {"id": row["zerodb_row_id"], **named, "content_type": content["content_type"], "title": content["title"]}
        | {"body": body, "size_bytes": row["storage_size_bytes"]}
    )
    batch.documents["content_versions"].append(
        {"id": row["zerodb_row_id"], **named, "changed_by": row["changed_by"], "change_reason": row["change_reason"]}
        | {"patch": operations}
    )


def _media(number: int) -> dict[str, Any]:
    key = str(uuid5(item_id(number), "file"))
    return {
        "id": key,
        "tenant_id": str(tenant_id(number % TENANTS)),
        "brand_id": None,
        "content_id": str(item_id(number)) if number % 8 else None,
        "source": f"drill-media:{number}",
        "kind": ("image", "video", "document")[number % 3],
        "url": f"https://files.example/{number}.bin?q={_words(number, 0, 1)}",
        "public_url": None,
        "external_id": str(number),
        "mime_type": "image/jpeg" if number % 3 == 0 else None,
        "size_bytes": 1000 * number,
        "sha256": sha256_hex(key) if number % 8 == 0 else None,
        "status": "stored" if number % 8 == 0 else "referenced",
        "zerodb_row_id": key,
        "metadata": {"position": 0},
        "created_at": _at(number),
        "updated_at": _at(number),
        "deleted_at": None,
    }


def _body(number: int, version: int) -> str:
    """Text of 0 to about 4 KB; one item has a large one, one an empty one."""
    if number == 8:
        return ""
    words = _words(number, version, 10 + number % 300)
    head = f"Body {version} of item {number}. "
    return (head + words) * (LARGE_BODY_BYTES // len(head + words) + 1) if number == 9 else head + words


def _words(number: int, version: int, count: int) -> str:
    draw = Random(f"{number} {version} {count}")  # noqa: S311  (repeatable on purpose)
    return " ".join(_WORDS[int(draw.random() * len(_WORDS))] for _ in range(count))


def _at(minutes: int) -> str:
    return (_BEGAN + timedelta(minutes=minutes, microseconds=minutes)).isoformat()
