"""The collections of the document store and what is looked up in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from content_orchestration.core.documents import DocumentStore

COLLECTIONS: Mapping[str, tuple[str, ...]] = {
    "content_items": ("id", "content_id", "tenant_id"),
    "content_versions": ("id", "content_id", "tenant_id"),
    "content_media_files": ("id", "content_id", "tenant_id"),
}


@dataclass(frozen=True)
class CollectionsReport:
    """What was created and how many documents each collection holds."""

    created: tuple[str, ...]
    documents: dict[str, int]

    def as_metadata(self) -> dict[str, Any]:
        """For the asset's metadata."""
        return {"created": ", ".join(self.created) or "nothing: all there", "documents": self.documents}


def ensure_collections(store: DocumentStore) -> CollectionsReport:
    """Create the collections that are missing; never drop one."""
    created = tuple(name for name, indexes in COLLECTIONS.items() if store.ensure_collection(name, indexes))
    present = store.collections()
    return CollectionsReport(created, {name: present[name] for name in COLLECTIONS})
