"""A world for retention: tenants of every plan, content in all tiers, and items that were deleted some days ago."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx

from content_orchestration.core.cleanup.holds import place
from content_orchestration.core.cleanup.horizons import RetentionRules
from content_orchestration.core.cleanup.leftovers import sweep
from content_orchestration.core.cleanup.model import Cleaned
from content_orchestration.core.cleanup.retention import purge_expired
from content_orchestration.core.cleanup.versions import purge_superseded
from content_orchestration.core.content.model import Changes, Item, NewContent
from content_orchestration.core.content.store import ContentStore
from content_orchestration.core.integrity.documents import compare_documents
from content_orchestration.core.integrity.media import compare_media
from content_orchestration.core.integrity.versions import compare_versions
from content_orchestration.core.media.references import remove_reference
from content_orchestration.core.migration.engine import migrate
from content_orchestration.core.migration.legacy import CONTENT_ITEMS
from content_orchestration.core.migration.truth import MigrationTruth, unaccounted_rows
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.quota.usage import untrue_counters
from content_orchestration.resources.object_store import TenantStores
from content_orchestration_tests.tiers import Tiers
from content_orchestration_tests.usage_rows import run, tenant

COLLECTIONS = ("content_items", "content_versions", "content_media_files")


@dataclass
class RetentionWorld:
    """Tenants by plan, made when first named, and the engines under test with their usual arguments."""

    tiers: Tiers
    content: ContentStore
    stores: TenantStores
    folder: Path
    tenants: dict[str | None, UUID] = field(default_factory=dict)

    def tenant(self, plan: str | None) -> UUID:
        """The tenant of a plan."""
        if plan not in self.tenants:
            self.tenants[plan] = UUID(tenant(self.tiers.database, plan, str(plan)))
            QuotaLedger(self.tiers.database).apply_plan(self.tenants[plan])
        return self.tenants[plan]

    def item(
        self, plan: str | None, *, days: float | None = None, versions: int = 1, source: str | None = None
    ) -> Item:
        """An item of the plan's tenant; with `days`, one that was deleted so long ago."""
        owner = self.tenant(plan)
        item = self.content.create(owner, NewContent("Title", f"body {uuid4()}", source=source), created_by="test")
        for version in range(1, versions):
            changes = Changes(body=f"body {version} {uuid4()}")
            item = self.content.update(owner, item.id, changes, expected_version=version, changed_by="test")
        if days is not None:
            item = self.content.soft_delete(owner, item.id)
            self.deleted_ago(item.id, days)
        return item

    def deleted_ago(self, content_id: UUID, days: float) -> None:
        """Say of a deleted item that it was deleted some days ago."""
        ago = timedelta(days=days)
        self.run(
            "UPDATE content_storage_metadata SET deleted_at = clock_timestamp() - %s WHERE id = %s", ago, content_id
        )

    def aged(self, content_id: UUID, days: dict[int, float]) -> None:
        """Say of versions that they were written some days ago."""
        for version, ago in days.items():
            self.run(
                "UPDATE content_versions SET created_at = now() - %s WHERE content_id = %s AND version = %s",
                timedelta(days=ago),
                content_id,
                version,
            )

    def file(self, plan: str | None, body: bytes, *, content: UUID | None = None, days: float | None = None) -> str:
        """A stored file of the plan's tenant and a row that names it, counted as ingest does; its key.

        With `days`, the row was deleted so long ago.
        """
        owner, asset, key = self.tenant(plan), uuid4(), hashlib.sha256(body).hexdigest()
        path = self.folder / "source"
        path.write_bytes(body)
        store = self.stores.for_tenant(owner)
        store.put_file(path, key, key)
        known = self.run(
            "SELECT 1 FROM media_assets WHERE tenant_id = %s AND sha256 = %s AND deleted_at IS NULL", owner, key
        )
        document = {
            "id": str(asset), "content_id": str(content) if content else None, "tenant_id": str(owner), "kind": "image",
            "url": "u", "public_url": None, "external_id": None, "mime_type": None, "size_bytes": len(body),
        }  # fmt: skip
        self.tiers.store.put_many("content_media_files", [document])
        self.run(
            "INSERT INTO media_objects (tenant_id, key, sha256, location, size_bytes, mime_type) "
            "VALUES (%s, %s, %s, %s, %s, 'image/png') ON CONFLICT DO NOTHING",
            owner, key, key, store.location, len(body),
        )  # fmt: skip
        self.run(
            "INSERT INTO media_assets (id, tenant_id, content_id, kind, url, size_bytes, sha256, status, "
            "zerodb_row_id) VALUES (%s, %s, %s, 'image', 'u', %s, %s, 'stored', %s)",
            asset, owner, content, len(body), key, str(asset),
        )  # fmt: skip
        counted = (owner, 0 if known else len(body), int(not known))
        self.run("SELECT media_count(%s, NULL::uuid, 0::bigint, %s::bigint, %s::bigint)", *counted)
        if days is not None:
            remove_reference(self.tiers.database, QuotaLedger(self.tiers.database), asset)
            ago = timedelta(days=days)
            self.run("UPDATE media_assets SET deleted_at = clock_timestamp() - %s WHERE id = %s", ago, asset)
        return key

    def variant(self, plan: str | None, sha256: str) -> str:
        """A variant of a stored file, in the table and in the store; its key."""
        owner, key = self.tenant(plan), f"variants/{sha256}/1-t.webp"
        path = self.folder / "variant"
        path.write_bytes(b"variant")
        self.stores.for_tenant(owner).put_file(path, key, hashlib.sha256(b"variant").hexdigest())
        self.run(
            "INSERT INTO media_variants (tenant_id, sha256, width, format, height, key, bytes, variant_sha256) "
            "VALUES (%s, %s, 1, 'webp', 1, %s, 7, %s)",
            owner, sha256, key, sha256,
        )  # fmt: skip
        return key

    def objects(self, plan: str | None) -> list[str]:
        """Keys in the store of the plan's tenant."""
        return sorted(each.key for each in self.stores.for_tenant(self.tenant(plan)).list())

    def migrate(self) -> set[UUID]:
        """Migrate the legacy table of content; the items that there are then."""
        migrate(CONTENT_ITEMS, self.tiers.database, self.tiers.store, batch_size=10, dry_run=False)
        return self.items()

    def migration_truth(self) -> MigrationTruth:
        return unaccounted_rows(self.tiers.database, CONTENT_ITEMS)

    def purge(self, *, dry_run: bool = False, limit: int = 100, rules: RetentionRules | None = None) -> Cleaned:
        return purge_expired(
            self.tiers.database, self.tiers.store, run_id="test", dry_run=dry_run, limit=limit, rules=rules
        )

    def supersede(self, *, dry_run: bool = False, limit: int = 100, rules: RetentionRules | None = None) -> Cleaned:
        return purge_superseded(
            self.tiers.database, self.tiers.store, run_id="test", dry_run=dry_run, limit=limit, rules=rules
        )

    def sweep(self, *, dry_run: bool = False, limit: int = 100, **given: Any) -> dict[str, Cleaned]:
        """The leftovers, by kind."""
        swept = sweep(
            self.tiers.database, self.tiers.store, self.stores, run_id="test", dry_run=dry_run, limit=limit,
            history_days=given.pop("history_days", 90), **given,
        )  # fmt: skip
        return {each.kind: each for each in swept}

    def hold(self, plan: str | None) -> UUID:
        """Put the plan's tenant under a hold."""
        return place(self.tiers.database, self.tenant(plan), reason="lawsuit", placed_by="counsel").hold_id

    def run(self, query: str, *values: Any) -> list[dict[str, Any]]:
        return run(self.tiers.database, query, values)

    def items(self) -> set[UUID]:
        return {row["id"] for row in self.run("SELECT id FROM content_storage_metadata")}

    def copy(self, document_id: str, **changed: Any) -> None:
        """Store a body document once more, past the client, which would refuse it."""
        whole = self.tiers.store.get_many("content_items", [document_id])[document_id] | changed
        self._past_the_client("POST", {"rows": [whole]})

    def change(self, document_id: str, **fields: Any) -> None:
        """Set fields of a body document past the client."""
        self._past_the_client("PUT", {"filter": {"id": document_id}, "update": {"$set": fields}})

    def _past_the_client(self, method: str, payload: dict[str, Any]) -> None:
        settings = self.tiers.settings
        url = f"{settings.zerodb_url}/projects/{self.tiers.zerodb_project}/database/tables/content_items/rows"
        headers = {"X-API-Key": settings.zerodb_key, "Content-Type": "application/json"}
        httpx.request(method, url, content=json.dumps(payload), headers=headers).raise_for_status()

    def documents(self, collection: str = "content_items") -> set[str]:
        return {document["id"] for document in self.tiers.store.scan(collection, fields=[])}

    def state(self) -> dict[str, Any]:
        """All that any tier holds, to see that nothing changed."""
        names = self.run(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') "
            "AND NOT relispartition ORDER BY 1"
        )
        rows = {
            row["relname"]: self.run(
                f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {row['relname']} t"
            )[0]
            for row in names
        }
        documents = {
            name: sorted((each["id"], str(sorted(each.items()))) for each in self.tiers.store.scan(name))
            for name in COLLECTIONS
        }
        files = {
            str(owner): sorted((each.key, each.size_bytes) for each in self.stores.for_tenant(owner).list())
            for owner in self.tenants.values()
        }
        return {"rows": rows, "documents": documents, "files": files}

    def true_everywhere(self) -> None:
        """The counters are what is stored, and the tiers agree."""
        untrue = untrue_counters(self.tiers.database)
        assert untrue == [], untrue
        later = datetime.now(UTC) + timedelta(hours=3)
        compared = [
            compare_documents(self.tiers.database, self.tiers.store, grace=timedelta(0), now=later),
            compare_versions(self.tiers.database, self.tiers.store),
            compare_media(self.tiers.database, self.tiers.store),
        ]
        found = [(each.outcome, each.differences, each.unknown) for each in compared]
        assert found == [("agree", [], None)] * 3, found


@contextmanager
def retention_world(tiers: Tiers, folder: Path) -> Iterator[RetentionWorld]:
    """The world, empty."""
    content = ContentStore(tiers.database, tiers.store, QuotaLedger(tiers.database))
    yield RetentionWorld(tiers, content, TenantStores((folder / "media").as_uri()), folder)
