"""Content in PostgreSQL and ZeroDB that agrees to the last byte, and raw access to both to make it disagree. For tests.

Written without the engines: ids, hashes and documents are spelled out once more on purpose.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import httpx
import psycopg
from psycopg.types.json import Jsonb

from content_orchestration.core.database import Row
from content_orchestration.core.documents import Document, DocumentStore
from content_orchestration.core.integrity.bodies import scan_bodies
from content_orchestration.core.integrity.documents import compare_documents
from content_orchestration.core.integrity.findings import Comparison
from content_orchestration.core.integrity.media import compare_media
from content_orchestration.core.integrity.spill import compare_spill
from content_orchestration.core.integrity.usage import compare_usage
from content_orchestration.core.integrity.versions import compare_versions
from content_orchestration.core.quota.usage import compute_usage
from content_orchestration.core.schema.documents import ensure_collections
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration.settings import Settings
from content_orchestration_tests.replication_model import insert

TENANTS = (uuid5(NAMESPACE_URL, "zerodb_world/tenant/1"), uuid5(NAMESPACE_URL, "zerodb_world/tenant/2"))
NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
GRACE = timedelta(hours=1)
BODIES = ("", "plain", "trailing blank ", "null", "Zażółć gęślą jaźń 🗝️ \U0001f9ff", "x" * 9000, "a\r\nb\tc", "plain")
"""What items hold, in turn; two of them hold the same text."""

_TABLES = (
    "tenants",
    "content_storage_metadata",
    "content_versions",
    "media_assets",
    "content_body_spill",
    "content_quota_usage",
    "body_scrub_progress",
    "unclaimed_documents",
)

Found = set[tuple[str, str, str]]
"""Differences as (kind, table, id)."""


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class World:
    """Clients of both tiers and what was put there."""

    settings: Settings
    database_url: str
    project: str
    database: PostgresClient
    store: ZeroDBClient
    http: httpx.Client
    items: list[UUID] = field(default_factory=list)
    media: list[UUID] = field(default_factory=list)
    spilled: UUID | None = None

    def run(self, query: str, *values: Any) -> list[Row]:
        with self.database.connection() as connection:
            cursor = connection.execute(query, values)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def api(self, method: str, collection: str, payload: Mapping[str, Any], what: str = "rows") -> dict[str, Any]:
        """One request past the client: it would refuse duplicates and changed bodies."""
        path = f"/projects/{self.project}/database/tables/{collection}/{what}"
        answer = self.http.request(method, path, json=payload).raise_for_status()
        return dict(answer.json())

    def change(self, collection: str, document_id: str, **fields: Any) -> None:
        """Set fields of a stored document."""
        answer = self.api("PUT", collection, {"filter": {"id": document_id}, "update": {"$set": fields}})
        assert answer["modified_count"] == 1, document_id

    def put(self, collection: str, *documents: Mapping[str, Any]) -> None:
        self.api("POST", collection, {"rows": list(documents)})

    def remove(self, collection: str, document_id: str) -> None:
        assert self.store.delete_many(collection, [document_id]) == 1

    def document(self, collection: str, document_id: str) -> Document:
        return self.store.get_many(collection, [document_id])[document_id]

    def fault(self, kind: str, **more: Any) -> None:
        """Let the server misbehave, for this world's project only."""
        url = f"http://127.0.0.1:{self.settings.local_zerodb_port}/_control/faults"
        order = {"kind": kind, "path_part": self.project, "count": 10**6, **more}
        httpx.post(url, json=order, headers=self.http.headers).raise_for_status()

    def heal(self) -> None:
        url = f"http://127.0.0.1:{self.settings.local_zerodb_port}/_control/faults"
        httpx.delete(url, headers=self.http.headers).raise_for_status()

    def count_usage(self) -> None:
        for tenant in TENANTS:
            compute_usage(self.database, str(tenant))

    def comparisons(
        self, *, tenant_id: str | None = None, now: datetime = NOW, store: DocumentStore | None = None
    ) -> dict[str, Comparison]:
        """Every comparison of the two tiers, by name."""
        documents = store or self.store
        aged = {"grace": GRACE, "now": now}
        made = [
            scan_bodies(self.database, documents, tenant_id=tenant_id),
            compare_documents(self.database, documents, tenant_id=tenant_id, **aged),  # type: ignore[arg-type]
            compare_versions(self.database, documents, tenant_id=tenant_id),
            compare_media(self.database, documents, tenant_id=tenant_id),
            compare_spill(self.database, tenant_id=tenant_id, **aged),  # type: ignore[arg-type]
            compare_usage(self.database, tenant_id=tenant_id),
        ]
        return {comparison.name: comparison for comparison in made}


def body_id(content: UUID, version: int = 1) -> str:
    return f"{content}.v{version}"


def body_document(content: UUID, tenant: UUID, version: int, body: str, **more: Any) -> Document:
    return {
        "id": body_id(content, version),
        "content_id": str(content),
        "tenant_id": str(tenant),
        "version": version,
        "content_type": "article",
        "title": "A title",
        "body": body,
        "body_sha256": sha256(body),
        "size_bytes": len(body.encode()),
        **more,
    }


def version_document(content: UUID, tenant: UUID, version: int, body: str) -> Document:
    return {
        "id": body_id(content, version),
        "content_id": str(content),
        "tenant_id": str(tenant),
        "version": version,
        "changed_by": "tester",
        "change_reason": "because",
        "patch": [{"op": "replace", "path": "/1", "value": "x"}] if version > 1 else [],
        "body_sha256": sha256(body),
    }


def media_document(media: UUID, tenant: UUID, content: UUID | None, **more: Any) -> Document:
    return {
        "id": str(media),
        "content_id": None if content is None else str(content),
        "tenant_id": str(tenant),
        "kind": "image",
        "url": f"https://files.example/{media}.jpg",
        "public_url": None,
        "external_id": "ext",
        "mime_type": "image/jpeg",
        "size_bytes": 7,
        **more,
    }


@dataclass
class _Batch:
    """Documents and rows to be put at once: each request of the stand-in waits for the disk."""

    documents: dict[str, list[Document]] = field(default_factory=dict)
    rows: list[tuple[str, Row]] = field(default_factory=list)

    def put(self, world: World) -> None:
        for collection, documents in self.documents.items():
            world.put(collection, *documents)
        with world.database.connection() as connection:
            for table, row in self.rows:
                insert(connection, table, row)

    def item(self, content: UUID, tenant: UUID, bodies: Sequence[str], *, spilled: bool, columns: Row) -> None:
        for number, body in enumerate(bodies, 1):
            named = {
                "zerodb_row_id": body_id(content, number),
                "body_sha256": sha256(body),
                "version": number,
                "tenant_id": tenant,
            }
            size = {"storage_size_bytes": len(body.encode())}
            version = version_document(content, tenant, number, body)
            record = {
                "id": uuid5(content, f"v{number}"),
                "content_id": content,
                "changed_by": "tester",
                "change_reason": "because",
                "patch": Jsonb({"operations": version["patch"]}),
            }
            self.rows.append(("content_versions", named | size | record))
            if spilled:
                waiting = {"content_id": content, "body": body, "size_bytes": len(body.encode())}
                self.rows.append(("content_body_spill", named | waiting))
            else:
                document = body_document(content, tenant, number, body)
                self.documents.setdefault("content_items", []).append(document)
                self.documents.setdefault("content_versions", []).append(version)
        item = {"id": content, "title": "A title", "content_type": "article", "status": "draft"}
        self.rows.append(("content_storage_metadata", named | size | item | columns))

    def media(self, media: UUID, tenant: UUID, content: UUID | None) -> None:
        document = media_document(media, tenant, content)
        self.documents.setdefault("content_media_files", []).append(document)
        self.rows.append(("media_assets", {**document, "id": media, "zerodb_row_id": str(media)}))


def add_item(
    world: World, content: UUID, tenant: UUID, bodies: Sequence[str], *, spilled: bool = False, **columns: Any
) -> None:
    """An item with a version for each body; a spilled one has its bodies in PostgreSQL only."""
    batch = _Batch()
    batch.item(content, tenant, bodies, spilled=spilled, columns=columns)
    batch.put(world)


def add_items(world: World, items: Mapping[UUID, Sequence[str]], tenant: UUID = TENANTS[0]) -> None:
    """Many items, put at once."""
    batch = _Batch()
    for content, bodies in items.items():
        batch.item(content, tenant, bodies, spilled=False, columns={})
    batch.put(world)


def populate(world: World, items: int = 14) -> None:
    """Items of two tenants with one to three versions, one deleted softly, one spilled; files; true counters."""
    batch = _Batch()
    for number, tenant in enumerate(TENANTS):
        batch.rows.append(("tenants", {"id": tenant, "name": "T", "slug": f"t{number}", "created_at": NOW}))
    for number in range(items):
        content = uuid5(NAMESPACE_URL, f"zerodb_world/item/{number}")
        bodies = [BODIES[(number + version) % len(BODIES)] for version in range(number % 3 + 1)]
        batch.item(
            content, TENANTS[number % 2], bodies, spilled=False, columns={"deleted_at": NOW} if number == 5 else {}
        )
        world.items.append(content)
    world.spilled = uuid5(NAMESPACE_URL, "zerodb_world/spilled")
    batch.item(world.spilled, TENANTS[0], ["waits for the store"], spilled=True, columns={})
    for number in range(6):
        media = uuid5(NAMESPACE_URL, f"zerodb_world/media/{number}")
        batch.media(media, TENANTS[number % 2], world.items[number] if number % 3 else None)
        world.media.append(media)
    batch.put(world)
    world.count_usage()


def empty(world: World) -> None:
    """Take everything out of both tiers: cheaper than a database and a project of its own for each test."""
    world.heal()
    world.run(f"TRUNCATE {', '.join(_TABLES)} CASCADE")
    world.run("TRUNCATE content_changes")
    for collection in ("content_items", "content_versions", "content_media_files"):
        world.api("DELETE", collection, {"filter": {}})
    world.items, world.media, world.spilled = [], [], None


@contextmanager
def scratch_world(server: psycopg.Connection[Any], template: str, settings: Settings) -> Iterator[World]:
    """A world in a database of its own, for a module of tests."""
    name = f"test_{uuid4().hex}"
    server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")  # type: ignore[arg-type]
    try:
        url = f"postgresql://postgres@127.0.0.1:{settings.local_postgres_port}/{name}"
        with open_world(settings, url, f"test-{uuid4().hex}") as world:
            yield world
    finally:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]


@contextmanager
def open_world(settings: Settings, database_url: str, project: str) -> Iterator[World]:
    """Clients of both tiers, the collections made, and nothing in them."""
    headers = {"X-API-Key": settings.zerodb_key}
    with (
        PostgresClient(database_url) as database,
        ZeroDBClient(settings.zerodb_url, project, settings.zerodb_key, timeout=10.0, concurrency=4) as store,
        httpx.Client(base_url=settings.zerodb_url, headers=headers, timeout=30) as http,
    ):
        ensure_collections(store)
        yield World(settings, database_url, project, database, store, http)


def found(comparisons: Mapping[str, Comparison]) -> Found:
    """What differs. Fails where a comparison could not look, or does not account for all that it attempted."""
    differences: Found = set()
    for comparison in comparisons.values():
        assert comparison.unknown is None, (comparison.name, comparison.unknown)
        assert_adds_up(comparison)
        named = [(str(each.kind), each.table, each.entity_id) for each in comparison.differences]
        assert len(named) == len(set(named)), f"{comparison.name} names a difference twice"
        differences |= set(named)
    return differences


def assert_adds_up(comparison: Comparison) -> None:
    skipped = sum(comparison.skipped.values())
    assert comparison.attempted == comparison.compared + skipped, (comparison.name, comparison.as_metadata())


class Altered:
    """The real store, with what it answers to `get_many` altered: for documents that the stand-in would refuse."""

    def __init__(self, store: ZeroDBClient, alter: Callable[[str, dict[str, Document]], dict[str, Document]]) -> None:
        self._store = store
        self._alter = alter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get_many(self, collection: str, ids: Sequence[str]) -> dict[str, Document]:
        return self._alter(collection, self._store.get_many(collection, ids))
