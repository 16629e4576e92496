"""An item on its way into the tiers: its documents and the values of its rows, made once and used for all of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from content_orchestration.core.content.documents import as_json, body_document, version_document
from content_orchestration.core.content.model import Item, NewContent
from content_orchestration.core.documents import Document
from content_orchestration.core.identity import content_id

Operations = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Draft:
    """One version of one item. `metadata` is JSON text."""

    id: UUID
    tenant_id: UUID
    brand_id: UUID | None
    campaign_space_id: UUID | None
    user_id: UUID | None
    content_type: str
    status: str
    source: str | None
    metadata: str
    changed_by: str
    change_reason: str
    operations: Operations
    document: Document

    @property
    def is_new(self) -> bool:
        """Whether nobody can have used its id before: a random one, at its first version."""
        return self.source is None and self.document["version"] == 1

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return int(self.document["size_bytes"])

    def record(self) -> Document:
        """The document that says who made this version."""
        return version_document(self.document, self.changed_by, self.change_reason, self.operations)

    def item_values(self) -> dict[str, Any]:
        """For `rows.insert_items`."""
        return {
            "id": self.id,
            "tenant_id": self.tenant_id,
            "brand_id": self.brand_id,
            "campaign_space_id": self.campaign_space_id,
            "user_id": self.user_id,
            "title": self.document["title"],
            "content_type": self.content_type,
            "status": self.status,
            "zerodb_row_id": self.document["id"],
            "body_sha256": self.document["body_sha256"],
            "size_bytes": self.size,
            "source": self.source,
            "metadata_base": self.metadata,
            "metadata_extra": "{}",
            "created_at": None,
            "updated_at": None,
            "deleted_at": None,
        }

    def version_values(self) -> dict[str, Any]:
        """For `rows.insert_versions`."""
        version = self.document["version"]
        return {
            "id": content_id(f"{self.id}:version:{version}"),
            "content_id": self.id,
            "tenant_id": self.tenant_id,
            "version": version,
            "zerodb_row_id": self.document["id"],
            "body_sha256": self.document["body_sha256"],
            "size_bytes": self.size,
            "changed_by": self.changed_by,
            "change_reason": self.change_reason,
            "operations": json.dumps(self.operations, ensure_ascii=False, default=dict),
            "created_at": None,
        }

    def spill_values(self) -> dict[str, Any]:
        """For `rows.insert_spill`: the body, and beside it all else that its document says."""
        return {
            "zerodb_row_id": self.document["id"],
            "tenant_id": self.tenant_id,
            "content_id": self.id,
            "version": self.document["version"],
            "body": self.document["body"],
            "body_sha256": self.document["body_sha256"],
            "size_bytes": self.size,
            "document": json.dumps({k: v for k, v in self.document.items() if k != "body"}, ensure_ascii=False),
        }


def first_version(tenant_id: UUID, content: NewContent, changed_by: str, reason: str) -> Draft:
    """The first version of an item. What comes from one source has the same id in every run."""
    # Within the tenant: a source of one tenant must neither meet nor reveal that of another.
    source = None if content.source is None else f"{tenant_id}/{content.source}"
    item_id = uuid4() if source is None else content_id(source)
    metadata = as_json(content.metadata)
    document = body_document(
        item_id, tenant_id, 1,
        content_type=content.content_type, title=content.title, body=content.body, metadata=metadata,
    )  # fmt: skip
    return Draft(
        item_id, tenant_id, content.brand_id, content.campaign_space_id, content.user_id, content.content_type,
        content.status, source, metadata, changed_by, reason, (), document,
    )  # fmt: skip


@dataclass(frozen=True)
class NextVersion:
    """What the next version of an item says. `metadata` is JSON text."""

    title: str
    content_type: str
    status: str
    body: str
    metadata: str


def next_version(
    item: Item, number: int, new: NextVersion, operations: Operations, changed_by: str, reason: str
) -> Draft:
    """A version of an item that exists. `number` is one more than any that it has had: bodies are immutable."""
    document = body_document(
        item.id, item.tenant_id, number,
        content_type=new.content_type, title=new.title, body=new.body, metadata=new.metadata,
    )  # fmt: skip
    return Draft(
        item.id, item.tenant_id, item.brand_id, item.campaign_space_id, item.user_id, new.content_type, new.status,
        item.source, new.metadata, changed_by, reason, operations, document,
    )  # fmt: skip
