"""What goes into the content store and what comes out of it. Values only; the rules for them are in `validation.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from content_orchestration.core.database import Row

BodySource = Literal["zerodb", "spill", "bigquery"]

PREVIEW_CHARACTERS = 200
PAGE_SIZE = 20
MAX_PAGE_SIZE = 100


@dataclass(frozen=True)
class NewContent:
    """An item to be created. `source` makes it idempotent: whatever comes from one source becomes one item."""

    title: str
    body: str
    content_type: str = "post"
    status: str = "draft"
    brand_id: UUID | None = None
    campaign_space_id: UUID | None = None
    user_id: UUID | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None


@dataclass(frozen=True)
class Changes:
    """What an update changes; None leaves a field as it is. Every update is a version of its own."""

    title: str | None = None
    body: str | None = None
    content_type: str | None = None
    status: str | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Item:
    """The metadata of an item as PostgreSQL has it. Sizes are bytes of UTF-8, times are UTC."""

    id: UUID
    tenant_id: UUID
    brand_id: UUID | None
    campaign_space_id: UUID | None
    user_id: UUID | None
    title: str
    content_type: str
    status: str
    zerodb_row_id: str
    body_sha256: str
    storage_size_bytes: int
    version: int
    source: str | None
    metadata: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None

    @classmethod
    def of(cls, row: Row) -> "Item":
        """The item of a row of content_storage_metadata."""
        return cls(**{name: row[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Content:
    """An item with its body, and the tier that gave it. `body` is None only where `body_error` says why."""

    item: Item
    body: str | None
    body_source: BodySource | None
    body_error: str | None = None

    @property
    def is_last_copy(self) -> bool:
        """Whether the body is BigQuery's last copy, read because the nearer tiers could not give it."""
        return self.body_source == "bigquery"


@dataclass(frozen=True)
class Filters:
    """What a list is narrowed by; None means any. `created_from` is included, `created_before` is not (UTC)."""

    content_type: str | None = None
    status: str | None = None
    campaign_space_id: UUID | None = None
    brand_id: UUID | None = None
    tag: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    title_contains: str | None = None
    deleted: bool = False


@dataclass(frozen=True)
class Listed:
    """An item of a list, with the first characters of its body; None where no tier could give them."""

    item: Item
    preview: str | None


@dataclass(frozen=True)
class Page:
    """Items from the newest down. `cursor` leads to the next page, None behind the last one."""

    items: Sequence[Listed]
    cursor: str | None
    notice: str | None = None
    """Why previews are missing, where they are."""


@dataclass(frozen=True)
class Version:
    """The record of one version: who made it, why, and what changed to the one before (RFC 6902, the body by hash)."""

    version: int
    zerodb_row_id: str
    body_sha256: str
    storage_size_bytes: int
    changed_by: str
    change_reason: str
    patch: Sequence[Mapping[str, Any]]
    created_at: datetime


@dataclass(frozen=True)
class Difference:
    """What lies between two versions: a unified diff of the bodies, and the changed fields as RFC 6902 operations."""

    old: int
    new: int
    body: str
    patch: Sequence[Mapping[str, Any]]
