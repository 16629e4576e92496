"""Moves one legacy table into the content tables, a batch at a time. What a row becomes is decided in `legacy.py`.

Order within a batch: bodies and documents first, then one transaction with rows, versions, media and quarantine. A
kill between the two leaves documents that no row names; ids derive from the legacy row, so the next run writes the
same ones.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection

from content_orchestration.core.content.documents import put_fresh
from content_orchestration.core.content.rows import insert_items, insert_versions
from content_orchestration.core.database import Database, Row
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.failpoints import reach
from content_orchestration.core.identity import content_id
from content_orchestration.core.migration.items import Item, Rejected
from content_orchestration.core.migration.legacy import LegacyTable
from content_orchestration.core.migration.report import MigrationReport
from content_orchestration.core.sql import statement

_LOWEST = UUID(int=0)
_HIGHEST = UUID(int=2**128 - 1)
# Bodies of a batch that are in memory at once; a single larger body still goes, alone.
_BATCH_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Done:
    """What the report needs of an item, without its body."""

    source: str
    size_bytes: int
    media_sizes: tuple[int, ...]
    notes: tuple[str, ...]


def migrate(
    table: LegacyTable,
    database: Database,
    store: DocumentStore,
    *,
    batch_size: int,
    dry_run: bool,
    on_batch: Callable[[MigrationReport], None] = lambda report: None,
    clock: Callable[[], float] = time.monotonic,
) -> MigrationReport:
    """Migrate every row of the table that is not an item yet; safe to repeat, to run concurrently, and to kill.

    A dry run reads and converts but writes nothing, in no tier. `on_batch` is called after each batch is committed.
    """
    report = MigrationReport(table.name, dry_run)
    started = clock()
    first: UUID | None = _LOWEST
    while first is not None:
        first = _batch(table, database, store, first, batch_size, report)
        report.seconds = clock() - started
        on_batch(report)
    return report


def legacy_rows(database: Database, table: LegacyTable) -> int:
    """Rows in the legacy table, for a progress bar."""
    with database.connection() as connection:
        totals = connection.execute(statement("migration/total")).fetchone()
    return int(totals[table.name]) if totals else 0


def _batch(
    table: LegacyTable, database: Database, store: DocumentStore, first: UUID, limit: int, report: MigrationReport
) -> UUID | None:
    """Do the batch that begins with id `first` and count it; returns where the next begins, or None at the end."""
    with database.connection() as connection:
        if not report.dry_run:
            # Concurrent runs take turns: without the lock both could put the same new document, and ZeroDB keeps both.
            connection.execute(statement("migration/lock_batch"), {"table": table.name})
        keys = connection.execute(statement(table.batch_sql), {"first": first, "limit": limit}).fetchall()
        if not keys:
            return None
        # Counted only when the batch is committed, so that a failure midway leaves a report that adds up.
        present = sum(key["present"] for key in keys)
        done: list[_Done] = []
        rejected: list[Rejected] = []
        replaced = 0
        for ids in _bounded([key for key in keys if not key["present"]]):
            rows = connection.execute(statement(table.rows_sql), {"ids": ids}).fetchall()
            converted = [table.convert(row) for row in rows]
            fresh = [item for item in converted if isinstance(item, Item)]
            turned_down = [item for item in converted if isinstance(item, Rejected)]
            if not report.dry_run:
                replaced += _put(connection, store, fresh)
                reach("documents_put")
                _insert(connection, table, fresh, turned_down)
                reach("rows_inserted")
            done += [_Done(i.source, i.size_bytes, tuple(m.size_bytes for m in i.media), i.notes) for i in fresh]
            rejected += [Rejected(r.source, r.reason, r.detail, "") for r in turned_down]
    reach("batch_committed")
    _count(report, len(keys), present, done, rejected, replaced)
    last: UUID = keys[-1]["id"]
    return UUID(int=last.int + 1) if len(keys) == limit and last != _HIGHEST else None


def _bounded(keys: Sequence[Row]) -> Iterator[list[UUID]]:
    """Groups of ids whose rows fit in memory together."""
    group: list[UUID] = []
    size = 0
    for key in keys:
        if group and size + key["bytes"] > _BATCH_BYTES:
            yield group
            group, size = [], 0
        group.append(key["id"])
        size += key["bytes"]
    if group:
        yield group


def _put(connection: Connection[Row], store: DocumentStore, items: Sequence[Item]) -> int:
    """Store the documents of the items; returns how many stale ones were replaced."""
    documents = {
        "content_items": [item.body_document() for item in items],
        "content_versions": [item.version_document() for item in items],
        "content_media_files": [document for item in items for document in item.media_documents()],
    }
    return sum(put_fresh(connection, store, collection, wanted) for collection, wanted in documents.items())


def _insert(
    connection: Connection[Row], table: LegacyTable, items: Sequence[Item], rejected: Sequence[Rejected]
) -> None:
    with connection.cursor() as cursor:
        if items:
            insert_items(connection, [_values(item) for item in items])
            insert_versions(connection, [_version_values(item) for item in items])
            if table.done_sql:
                cursor.executemany(statement(table.done_sql), [_done_values(item) for item in items])
            cursor.execute(statement("migration/resolve_quarantine"), {"sources": [item.source for item in items]})
        media = [_media_values(item, position) for item in items for position in range(len(item.media))]
        if media:
            cursor.executemany(statement("migration/insert_media"), media)
        if rejected:
            cursor.executemany(
                statement("migration/quarantine"),
                [
                    {"source": r.source, "reason": r.reason, "detail": r.detail, "original": r.original}
                    for r in rejected
                ],
            )


def _values(item: Item) -> dict[str, Any]:
    return {
        "id": item.id,
        "tenant_id": item.tenant_id,
        "brand_id": item.brand_id,
        "campaign_space_id": item.campaign_space_id,
        "user_id": item.user_id,
        "title": item.title,
        "content_type": item.content_type,
        "status": item.status,
        "zerodb_row_id": item.zerodb_row_id,
        "body_sha256": item.body_sha256,
        "size_bytes": item.size_bytes,
        "source": item.source,
        "metadata_base": item.metadata_base,
        "metadata_extra": json.dumps(item.metadata_extra, ensure_ascii=False),
        "created_at": item.created_at,
        "updated_at": item.updated_at,
        "deleted_at": item.deleted_at,
    }


def _version_values(item: Item) -> dict[str, Any]:
    return {
        "id": content_id(f"{item.source}:version:1"),
        "content_id": item.id,
        "tenant_id": item.tenant_id,
        "version": 1,
        "zerodb_row_id": item.zerodb_row_id,
        "body_sha256": item.body_sha256,
        "size_bytes": item.size_bytes,
        "changed_by": "migration",
        "change_reason": f"migrated from {item.source}",
        "operations": "[]",
        "created_at": item.created_at,
    }


def _done_values(item: Item) -> dict[str, Any]:
    return {
        "legacy_id": item.source.partition(":")[2],
        "zerodb_row_id": item.zerodb_row_id,
        "size_bytes": item.size_bytes,
    }


def _media_values(item: Item, index: int) -> dict[str, Any]:
    media = item.media[index]
    return {
        "id": media.id,
        "tenant_id": item.tenant_id,
        "brand_id": item.brand_id,
        "content_id": item.id,
        "source": media.source,
        "kind": media.kind,
        "url": media.url,
        "public_url": media.public_url,
        "external_id": media.external_id,
        "mime_type": media.mime_type,
        "size_bytes": media.size_bytes,
        "position": media.position,
        "created_at": item.created_at,
        "updated_at": item.updated_at,
        "deleted_at": item.deleted_at,
    }


def _count(
    report: MigrationReport,
    read: int,
    present: int,
    items: Sequence[_Done],
    rejected: Sequence[Rejected],
    replaced: int,
) -> None:
    report.batches += 1
    report.read += read
    report.already_there += present
    report.migrated += len(items)
    report.documents_replaced += replaced
    for item in items:
        report.body_bytes += item.size_bytes
        report.media_files += len(item.media_sizes)
        report.media_bytes += sum(item.media_sizes)
        report.note(item.notes, item.source)
    for row in rejected:
        report.reject(row.reason, row.source)
