"""A snapshot as load files: reading, assembling and writing side by side, each a bounded number of batches ahead.

Measured on two cores, a row of 408 bytes (677 as JSON): 1.4 µs of CPU in PostgreSQL, 1.5 to read it here, 0.7 to
assemble it, 0.9 to hash it, 2.2 to encode and compress it.
"""

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from content_orchestration.core.replication.ahead import ahead
from content_orchestration.core.replication.assemble import RowAssembler
from content_orchestration.core.replication.extract import BodyReader, bounded
from content_orchestration.core.replication.payload import ParquetFile
from content_orchestration.core.replication.snapshot_stream import Snapshot, tenant_rows
from content_orchestration.core.replication.tables import Entity
from content_orchestration.core.replication.window import Window

SOURCES = {
    "content_storage": "content_storage_metadata",
    "content_versions": "content_versions",
    "content_media": "media_assets",
    "cleanup_audit": "cleanup_audit",
}
_RENAMED = {"entity_id": "id"}
_BY_ENTITY = {"content_storage": {"content_id": "id"}}
_AHEAD = 1
_BODY_COLUMNS = ("zerodb_row_id", "body_sha256", "storage_size_bytes")


def snapshot_files(
    snapshot: Snapshot,
    entity: Entity,
    tenant: str,
    window: Window,
    bodies: BodyReader | None,
    *,
    first_part: int,
    max_bytes: int,
) -> Generator[ParquetFile, None, None]:
    """The files of one tenant's rows, each closed when it holds `max_bytes` and yielded before the next is begun.

    Without `bodies` none is read. Raises `Transient` or `Permanent`.
    """
    tenant = str(UUID(tenant))
    part = first_part
    file = ParquetFile(entity.table, on_disk=True)
    with closing(ahead(_assembled(snapshot, entity, tenant), _AHEAD)) as batches:
        for batch in batches:
            for rows, size in _with_bodies(batch, entity, tenant, window, bodies):
                file.add_batch(rows, size, _stamp(window, tenant, part))
                if file.bytes_added >= max_bytes:
                    yield file
                    part += 1
                    file = ParquetFile(entity.table, on_disk=True)
    if file.rows:
        yield file


def _assembled(snapshot: Snapshot, entity: Entity, tenant: str) -> Generator[pa.RecordBatch, None, None]:
    with tenant_rows(snapshot, SOURCES[entity.name], tenant) as source:
        renamed = _RENAMED | _BY_ENTITY.get(entity.name, {})
        assembler = RowAssembler(entity.table, source.columns, {"tenant_id": tenant}, renamed)
        with closing(ahead(source.batches, _AHEAD)) as batches:
            for batch in batches:
                yield assembler.rows(batch)


def _stamp(window: Window, tenant: str, part: int) -> dict[str, Any]:
    """The columns that have one value in all rows of a file."""
    return {
        "sync_id": window.sync_id,
        "sync_part": part,
        "synced_at": window.synced_at,
        "op": "upsert",
        "tenant_id": tenant,
    }


def _with_bodies(
    batch: pa.RecordBatch, entity: Entity, tenant: str, window: Window, bodies: BodyReader | None
) -> Iterator[tuple[pa.RecordBatch, int]]:
    """The batch in groups whose bodies fit in memory together, with the bytes of payload and bodies in each."""
    if bodies is None or not entity.has_body:
        yield batch, _payload_bytes(batch)
        return
    wanted = batch.select(_BODY_COLUMNS).to_pylist()
    done = 0
    for group in bounded([{**row, "op": "upsert", "tenant_id": tenant} for row in wanted], entity):
        bodies.fill(group, entity, window)
        rows = batch.slice(done, len(group))
        done += len(group)
        column = pa.array([row.get("body") for row in group], pa.string())
        size = _payload_bytes(rows) + sum(row["storage_size_bytes"] for row in group)
        yield rows.append_column("body", column), size


def _payload_bytes(batch: pa.RecordBatch) -> int:
    return int(pc.sum(pc.binary_length(batch.column("row_json"))).as_py() or 0)
