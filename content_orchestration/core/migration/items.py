"""What a legacy row becomes: an item with its body and media, or a rejection with its reason. Values only, no I/O."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from content_orchestration.core.content.model import PREVIEW_CHARACTERS
from content_orchestration.core.identity import content_id, document_id, sha256_hex


@dataclass(frozen=True)
class Media:
    """A file that a legacy row names. Sizes are bytes as recorded; nothing is downloaded."""

    source: str
    kind: str
    url: str
    public_url: str | None = None
    external_id: str | None = None
    mime_type: str | None = None
    size_bytes: int = 0
    position: int = 0

    @property
    def id(self) -> UUID:
        """Stable id of the file."""
        return content_id(self.source)


@dataclass(frozen=True)
class Item:
    """A content item as it will stand in all tiers. Timestamps are PostgreSQL's own text, in UTC."""

    source: str
    tenant_id: UUID
    brand_id: UUID | None
    campaign_space_id: UUID | None
    user_id: UUID | None
    title: str
    content_type: str
    status: str
    body: str
    metadata_base: str
    metadata_extra: dict[str, Any]
    created_at: str
    updated_at: str
    deleted_at: str | None
    media: tuple[Media, ...] = ()
    notes: tuple[str, ...] = ()
    id: UUID = field(init=False)
    body_sha256: str = field(init=False)
    size_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", content_id(self.source))
        object.__setattr__(self, "body_sha256", sha256_hex(self.body))
        object.__setattr__(self, "size_bytes", len(self.body.encode()))

    @property
    def zerodb_row_id(self) -> str:
        """Id of the body's document."""
        return document_id(self.id, 1)

    def body_document(self) -> dict[str, Any]:
        """The immutable document of the first version."""
        return {
            "id": self.zerodb_row_id,
            "content_id": str(self.id),
            "tenant_id": str(self.tenant_id),
            "version": 1,
            "content_type": self.content_type,
            "title": self.title,
            "preview": self.body[:PREVIEW_CHARACTERS],
            "body": self.body,
            "body_sha256": self.body_sha256,
            "size_bytes": self.size_bytes,
        }

    def version_document(self) -> dict[str, Any]:
        """Who changed what and why: here, that the migration wrote the first version."""
        return {
            "id": self.zerodb_row_id,
            "content_id": str(self.id),
            "tenant_id": str(self.tenant_id),
            "version": 1,
            "changed_by": "migration",
            "change_reason": f"migrated from {self.source}",
            "patch": [],
            "body_sha256": self.body_sha256,
        }

    def media_documents(self) -> list[dict[str, Any]]:
        """One document a file: reference and recorded size."""
        return [
            {
                "id": str(media.id),
                "content_id": str(self.id),
                "tenant_id": str(self.tenant_id),
                "kind": media.kind,
                "url": media.url,
                "public_url": media.public_url,
                "external_id": media.external_id,
                "mime_type": media.mime_type,
                "size_bytes": media.size_bytes,
            }
            for media in self.media
        ]


@dataclass(frozen=True)
class Rejected:
    """A legacy row that cannot be stored truthfully. It is kept whole in `migration_quarantine`."""

    source: str
    reason: str
    detail: str
    original: str


def json_depth(text: str) -> int:
    """Nesting depth of a JSON text, read without recursion so that a hostile document cannot exhaust the stack."""
    depth = deepest = 0
    in_string = escaped = False
    for character in text:
        if in_string:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                in_string = False
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest
