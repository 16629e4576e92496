"""What stands for BigQuery and ZeroDB in `benchmarks/restore.py`: Parquet files, and a table of PostgreSQL.

Both do what the engine asks of the real ones, and no more.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg import Connection
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from content_orchestration.core.documents import Document, PutReport

BODIES = "benchmark_bodies"
CREATE_BODIES = f"""
CREATE TABLE {BODIES} (
    id text PRIMARY KEY, content_id text NOT NULL, tenant_id text NOT NULL, version integer NOT NULL, title text,
    body text NOT NULL, body_sha256 text NOT NULL, size_bytes bigint NOT NULL
)
"""
_PART_BYTES = 4_000_000
_SYNC_ID = 1
_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
_FIELDS = ("id", "content_id", "tenant_id", "version", "title", "body", "body_sha256", "size_bytes")
_ROWS = """
SELECT t.id::text, t.tenant_id::text, row_to_json(t)::text, b.body
FROM content_storage_metadata t JOIN benchmark_bodies b ON b.id = t.zerodb_row_id ORDER BY t.id
"""


def write_history(url: str, folder: Path) -> None:
    """The state of every row as Parquet, one row group a part, as `restore_state.sql` makes it in BigQuery."""
    names = ("entity_id", "tenant_id", "sync_id", "row_json", "row_sha256", "body", "part")
    schema = pa.schema([(name, pa.int64() if name in ("sync_id", "part") else pa.string()) for name in names])
    rows: list[tuple[object, ...]] = []
    size = part = 0
    with (
        psycopg.connect(url) as connection,
        pq.ParquetWriter(folder / "history.parquet", schema, compression="zstd", compression_level=1) as writer,
        connection.cursor(name="rows") as cursor,
    ):
        connection.execute("SET timezone = 'UTC'")
        cursor.itersize = 5000
        cursor.execute(_ROWS)

        def flush() -> None:
            columns = [
                pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), schema, strict=True)
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))

        for entity_id, tenant_id, row_json, body in cursor:
            rows.append((entity_id, tenant_id, _SYNC_ID, row_json, _sha256(row_json), body, part))
            size += len(row_json) + len(body)
            if size >= _PART_BYTES:
                flush()
                rows, size, part = [], 0, part + 1
        if rows:
            flush()


class ParquetHistory:
    """A warehouse that holds one state, of items only."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "history.parquet"
        metadata = pq.read_metadata(self._path)
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        self._parts = [
            {"part": number, "row_count": group.num_rows, "bytes": _PART_BYTES} for number, group in enumerate(groups)
        ]
        self._rows = metadata.num_rows

    def qualified(self, table: str) -> str:
        """The table's own name."""
        return table

    def estimate(self, sql: str, parameters: object = None) -> int:
        """Nothing is billed."""
        return 0

    def query(self, sql: str, parameters: object = None, **_: object) -> Iterator[dict[str, Any]]:
        """The answers to the few statements that a restore sends."""
        items = "content_storage" in sql
        if "read_until" in sql:
            return iter([{"sync_id": _SYNC_ID, "synced_at": _MOMENT, "read_until": _MOMENT}])
        if "first_sync_id" in sql:
            return iter([{"first_sync_id": _SYNC_ID, "last_sync_id": _SYNC_ID}])
        if "state_sum" in sql:
            return iter([{"row_count": self._rows if items else 0, "body_bytes": 0, "state_sum": 0}])
        if "GROUP BY part" in sql:
            return iter(self._parts if items else [])
        return iter([])

    def read_arrow(self, table: str, columns: Sequence[str], restriction: str) -> pa.Table:
        """Row groups of the file."""
        first, last = (int(text) for text in re.findall(r"\d+", restriction))
        with pq.ParquetFile(self._path) as file:
            return file.read_row_groups(list(range(first, last + 1)), columns=list(columns), use_threads=False)


class PostgresBodies:
    """A document store in a table: the peers' bodies go into the same one."""

    def __init__(self, url: str) -> None:
        self._pool: ConnectionPool[Connection[dict[str, Any]]] = ConnectionPool(
            url, min_size=1, max_size=8, kwargs={"row_factory": dict_row}, open=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def ensure_collection(self, name: str, indexes: Sequence[str]) -> bool:
        """The table is there."""
        return False

    def get_many(self, collection: str, ids: Iterable[str]) -> dict[str, Document]:
        """The documents with these ids."""
        with self._pool.connection() as connection:
            rows = connection.execute(f"SELECT * FROM {BODIES} WHERE id = ANY (%s)", [list(ids)]).fetchall()
        return {row["id"]: row for row in rows}

    def put_many(self, collection: str, documents: Iterable[Document]) -> PutReport:
        """COPY of the documents, which must not be there."""
        count = 0
        with self._pool.connection() as connection, connection.cursor().copy(f"COPY {BODIES} FROM STDIN") as copy:
            for document in documents:
                copy.write_row([document.get(name) for name in _FIELDS])
                count += 1
        return PutReport(count, 0, 1)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
