"""The two legacy tables: how a row of each becomes an item. The rules are those of `contracts/platform_tables.md`.

A row is rejected only where storing it would say something untrue: no known tenant, a body or metadata past the limits.
All else migrates, with the legacy value kept in the metadata and a note for the report.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from content_orchestration.core.content.validation import (
    CONTENT_TYPES,
    MAX_BODY_BYTES,
    MAX_METADATA_DEPTH,
    STATUSES,
)
from content_orchestration.core.database import Row
from content_orchestration.core.migration.items import Item, Media, Rejected, json_depth

_CAMPAIGN_TYPES = {
    "image": "image",
    "video": "video",
    "document": "document",
    "ad_copy": "post",
    "headline": "post",
    "description": "post",
}
_MEDIA_KINDS = frozenset({"image", "video", "document"})


@dataclass(frozen=True)
class LegacyTable:
    """One source of the migration. `batch_sql`, `rows_sql` and `done_sql` name statements below `sql/`."""

    name: str
    batch_sql: str
    rows_sql: str
    done_sql: str | None
    convert: Callable[[Row], Item | Rejected]


def campaign_asset(row: Row) -> Item | Rejected:
    """A `campaign_assets` row. Its body is written here, since none is stored anywhere."""
    source = f"campaign_assets:{row['id']}"
    body = _campaign_body(row)
    rejection = _rejection(source, row, body)
    if rejection:
        return rejection
    notes, extra = _timestamp_notes(row)
    content_type = _CAMPAIGN_TYPES.get(row["asset_type"] or "")
    if content_type is None:
        content_type = "post"
        notes.append("unknown_type")
        extra["legacy_content_type"] = row["asset_type"]
    title = _first_text(row["asset_name"], row["headline_text"])
    if title is None:
        notes.append("untitled")
    if (row["file_size_bytes"] or 0) < 0:
        notes.append("malformed_media")
        extra["legacy_file"] = {"url": row["file_url"] or row["public_url"], "size_bytes": row["file_size_bytes"]}
    for key in ("tags", "external_asset_id", "cta_text"):
        if row[key]:
            extra[key] = row[key]
    return Item(
        source=source,
        tenant_id=row["tenant_id"],
        brand_id=row["brand_id"],
        campaign_space_id=row["campaign_space_id"],
        user_id=row["user_id"],
        title=title or "Untitled",
        content_type=content_type,
        # The legacy table has no status: an asset was either part of its campaign or deleted.
        status="published",
        body=body,
        metadata_base="{}",
        metadata_extra=extra,
        created_at=row["created_text"],
        updated_at=row["updated_text"],
        deleted_at=row["deleted_text"],
        media=_campaign_media(source, row, content_type),
        notes=tuple(notes),
    )


def content_item(row: Row) -> Item | Rejected:
    """A `content_items` row. Its body is in the row; its files are in `content_metadata.media`."""
    source = f"content_items:{row['id']}"
    body = row["content_body"] or ""
    rejection = _rejection(source, row, body)
    if rejection:
        return rejection
    notes, extra = _timestamp_notes(row)
    content_type, status = row["content_type"], row["status"]
    if content_type not in CONTENT_TYPES:
        notes.append("unknown_type")
        extra["legacy_content_type"] = content_type
        content_type = "post"
    if status not in STATUSES:
        notes.append("unknown_status")
        extra["legacy_status"] = status
        status = "draft"
    title = _first_text(row["title"])
    if title is None:
        notes.append("untitled")
    text = row["metadata_text"]
    # PostgreSQL's own text goes back in unparsed: Python would round numbers that jsonb keeps exactly.
    base = text or "{}"
    media: tuple[Media, ...] = ()
    if text is not None and not text.startswith("{"):
        base = f'{{"legacy_metadata": {text}}}'
        notes.append("metadata_not_an_object")
    elif text is not None:
        metadata = json.loads(text, parse_int=_whole_number)
        if extra.keys() & metadata.keys():
            base = f'{{"legacy_metadata": {text}}}'
            notes.append("metadata_key_taken")
        media, malformed = _named_media(source, metadata.get("media"), content_type)
        notes.extend(["malformed_media"] * malformed)
    return Item(
        source=source,
        tenant_id=row["tenant_id"],
        brand_id=row["brand_id"],
        campaign_space_id=None,
        user_id=row["user_id"],
        title=title or "Untitled",
        content_type=content_type,
        status=status,
        body=body,
        metadata_base=base,
        metadata_extra=extra,
        created_at=row["created_text"],
        updated_at=row["updated_text"],
        deleted_at=None,
        media=media,
        notes=tuple(notes),
    )


CAMPAIGN_ASSETS = LegacyTable(
    "campaign_assets", "migration/campaign_assets_batch", "migration/campaign_assets_rows", None, campaign_asset
)
CONTENT_ITEMS = LegacyTable(
    "content_items",
    "migration/content_items_batch",
    "migration/content_items_rows",
    "migration/content_items_done",
    content_item,
)


def _rejection(source: str, row: Row, body: str) -> Rejected | None:
    def reject(reason: str, detail: str) -> Rejected:
        return Rejected(source, reason, detail, row["original"])

    if not row["tenant_known"]:
        return reject(
            "unknown_tenant",
            f"tenant_id is {row['tenant_id']}, which is no row of tenants: add the tenant, then run again",
        )
    size = len(body.encode())
    if size > MAX_BODY_BYTES:
        return reject(
            "body_too_large", f"the body has {size:,} bytes; the limit is {MAX_BODY_BYTES:,}: shorten or split it"
        )
    depth = json_depth(row.get("metadata_text") or "")
    if depth > MAX_METADATA_DEPTH:
        return reject(
            "metadata_too_deep", f"content_metadata nests {depth} levels; the limit is {MAX_METADATA_DEPTH}: flatten it"
        )
    return None


def _first_text(*candidates: str | None) -> str | None:
    return next((text for text in candidates if text and text.strip()), None)


def _timestamp_notes(row: Row) -> tuple[list[str], dict[str, Any]]:
    extra = {}
    if row["legacy_created_at"] is not None:
        extra["legacy_created_at"] = row["legacy_created_at"]
    if row["legacy_updated_at"] is not None:
        extra["legacy_updated_at"] = row["legacy_updated_at"]
    return (["repaired_timestamp"] if row["timestamp_repaired"] else []), extra


def _campaign_body(row: Row) -> str:
    parts = [
        text.format(row[column])
        for column, text in (
            ("headline_text", "# {}"),
            ("ad_copy_text", "{}"),
            ("description", "{}"),
            ("cta_text", "**{}**"),
        )
        if row[column] and row[column].strip()
    ]
    if parts:
        return "\n\n".join(parts)
    name = " ".join((row["asset_name"] or "").split())
    return name or f"Campaign asset {row['id']}"


def _campaign_media(source: str, row: Row, content_type: str) -> tuple[Media, ...]:
    url = _first_text(row["file_url"], row["public_url"])
    if url is None or (row["file_size_bytes"] or 0) < 0:
        return ()
    media = Media(
        source=f"{source}:media:0",
        kind=_kind(None, row["mime_type"], content_type),
        url=url,
        public_url=row["public_url"],
        external_id=row["external_asset_id"],
        mime_type=row["mime_type"],
        size_bytes=row["file_size_bytes"] or 0,
    )
    return (media,)


def _whole_number(digits: str) -> int | str:
    """Python refuses to read numbers beyond 4,300 digits, which jsonb holds. No size is that long."""
    return int(digits) if len(digits) < 20 else digits


def _named_media(source: str, named: Any, content_type: str) -> tuple[tuple[Media, ...], int]:
    """The well-formed files of `content_metadata.media`, and how many entries were not."""
    if named is None:
        return (), 0
    if not isinstance(named, list):
        return (), 1
    found: list[Media] = []
    for position, entry in enumerate(named):
        media = _media_entry(source, position, entry, content_type)
        if media is not None:
            found.append(media)
    return tuple(found), len(named) - len(found)


def _media_entry(source: str, position: int, entry: Any, content_type: str) -> Media | None:
    if not isinstance(entry, dict):
        return None
    url, size, mime = entry.get("url"), entry.get("size_bytes"), entry.get("mime_type")
    size = 0 if size is None else size
    sized = isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**63
    if not isinstance(url, str) or not url.strip() or not sized or not (mime is None or isinstance(mime, str)):
        return None
    return Media(
        source=f"{source}:media:{position}",
        kind=_kind(entry.get("kind"), mime, content_type),
        url=url,
        mime_type=mime,
        size_bytes=size,
        position=position,
    )


def _kind(stated: Any, mime_type: str | None, content_type: str) -> str:
    """What a file is: as stated, else by its MIME type, else by the item that names it, else a document."""
    if isinstance(stated, str) and stated in _MEDIA_KINDS:
        return stated
    family = (mime_type or "").split("/")[0].lower()
    if family in _MEDIA_KINDS:
        return family
    return content_type if not mime_type and content_type in _MEDIA_KINDS else "document"
