"""Rows as Parquet: one Arrow schema a table, derived from `tables.py`, and a file that counts what it holds."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from content_orchestration.core.replication.tables import TableSpec

_ARROW = {"STRING": pa.string(), "INT64": pa.int64(), "TIMESTAMP": pa.timestamp("us", tz="UTC")}


def arrow_schema(table: TableSpec) -> pa.Schema:
    """The Arrow schema of a table; REQUIRED columns are not nullable, as a load into BigQuery wants it."""
    return pa.schema([pa.field(c.name, _ARROW[c.type], nullable=not c.required) for c in table.columns])


class ParquetFile:
    """A zstd Parquet file in memory. `bytes_added` counts the text that went in, before compression."""

    def __init__(self, table: TableSpec) -> None:
        self._schema = arrow_schema(table)
        self._sink = io.BytesIO()
        self._writer = pq.ParquetWriter(self._sink, self._schema, compression="zstd", compression_level=1)
        self.rows = 0
        self.bytes_added = 0

    def add(self, rows: Sequence[Mapping[str, Any]], size: int) -> None:
        """Append rows as one row group. `size` is their payload in bytes."""
        columns = [pa.array([row.get(f.name) for row in rows], type=f.type) for f in self._schema]
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))
        self.rows += len(rows)
        self.bytes_added += size

    def close(self) -> BinaryIO:
        """The finished file, at its beginning."""
        self._writer.close()
        self._sink.seek(0)
        return self._sink


def single_row(table: TableSpec, row: Mapping[str, Any]) -> BinaryIO:
    """A Parquet file of one row."""
    file = ParquetFile(table)
    file.add([row], 0)
    return file.close()
