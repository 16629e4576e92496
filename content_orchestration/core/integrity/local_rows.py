"""PostgreSQL's side of a table, read once: every row as it is in the snapshot, printed and hashed here, in buckets.

What was read stays in a temporary file of 64 bytes a row, so that a bucket is divided or opened without another look at
the table. The payload is put together from columns as replication's snapshots do it (`replication/assemble.py`), since
PostgreSQL takes three times as long to print a row and hash it.
"""

import re
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import IO
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from psycopg import Connection

from content_orchestration.core.database import Row
from content_orchestration.core.errors import Transient
from content_orchestration.core.integrity.digests import (
    RECORD,
    Bucket,
    Records,
    Sums,
    hexadecimal,
    numbers,
    uuid_characters,
)
from content_orchestration.core.replication.ahead import ahead
from content_orchestration.core.replication.arrow_text import sha256_digests
from content_orchestration.core.replication.assemble import RowPrinter
from content_orchestration.core.replication.snapshot_files import SOURCES
from content_orchestration.core.replication.snapshot_stream import Snapshot, StreamedRows, table_rows
from content_orchestration.core.replication.tables import Entity
from content_orchestration.core.sql import statement

_AHEAD = 1
_RECORDS_AT_ONCE = 65_536
# Rows that PostgreSQL is asked to print too: one of each batch, of about 4,000 rows, up to this many.
_MOST_SAMPLES = 1000


class LocalRows:
    """The rows of a table in one snapshot, without the ids in flight. `samples` are a few of them, as in `opened`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.samples: dict[str, tuple[str, str]] = {}

    def read(
        self, connection: Connection[Row], entity: Entity, tenant: UUID | None, in_flight: Sequence[str], digits: int
    ) -> dict[str, Bucket]:
        """Read the table in the snapshot of `connection` (repeatable read), of one tenant where given; its buckets.

        Raises `Transient` or `Permanent`.
        """
        row = connection.execute(statement("replication/snapshot_export")).fetchone()
        snapshot = Snapshot(str(row["snapshot"]) if row else "", connection)
        moving = _Moving(in_flight)
        sums = Sums(digits)
        with (
            table_rows(snapshot, SOURCES[entity.name], tenant) as source,
            closing(ahead(_printed(source), _AHEAD)) as batches,
        ):
            for batch, payloads in batches:
                records = moving.left(_records(batch, payloads))
                sums.add(records)
                self._keep(records)
                if len(self.samples) < _MOST_SAMPLES:
                    self.samples |= {each: (tenant, sha256) for each, tenant, sha256 in _texts(records[:1])}
        return sums.buckets()

    def divided(self, names: Sequence[str], named_digits: int, digits: int) -> dict[str, Bucket]:
        """The buckets with names of `digits` digits that lie in the named ones, of `named_digits`."""
        sums = Sums(digits)
        for records in self._within(names, named_digits):
            sums.add(records)
        return sums.buckets()

    def opened(self, names: Sequence[str], digits: int) -> dict[str, tuple[str, str]]:
        """The rows of the named buckets by id: tenant and hash."""
        return {
            each: (tenant, sha256)
            for records in self._within(names, digits)
            for each, tenant, sha256 in _texts(records)
        }

    def _keep(self, records: Records) -> None:
        try:
            self._file.write(records.tobytes())
        except OSError as error:
            raise Transient(
                f"the comparison keeps 64 bytes a row in {tempfile.gettempdir()}, and there it failed: {error}. Free "
                "some space, or point TMPDIR elsewhere"
            ) from error

    def _within(self, names: Sequence[str], digits: int) -> Iterator[Records]:
        # Any other name is the end of what is no id of PostgreSQL.
        wanted = np.array([int(name, 16) for name in names if re.fullmatch(f"[0-9a-f]{{{digits}}}", name)], np.int64)
        self._file.seek(0)
        while content := self._file.read(_RECORDS_AT_ONCE * RECORD.itemsize):
            records = np.frombuffer(content, RECORD)
            yield records[np.isin(numbers(records, digits), wanted)]


@contextmanager
def local_rows() -> Iterator[LocalRows]:
    """Rows that are kept until the end."""
    with tempfile.TemporaryFile() as file:
        yield LocalRows(file)


class _Moving:
    """The ids in flight, to be left out."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = {UUID(each).bytes for each in ids}
        self._halves = np.unique(np.array([int.from_bytes(each[8:], "big") for each in self._ids], np.uint64))

    def left(self, records: Records) -> Records:
        """The records of other ids."""
        if not self._ids or not len(records):
            return records
        halves = _last_halves(records)
        places = np.searchsorted(self._halves, halves).clip(max=len(self._halves) - 1)
        staying = self._halves[places] != halves
        for place in np.flatnonzero(~staying).tolist():
            staying[place] = records["id"][place].tobytes() not in self._ids
        left: Records = records[staying]
        return left


def _printed(source: StreamedRows) -> Generator[tuple[pa.RecordBatch, pa.Array], None, None]:
    """Batches with their payloads."""
    printer = RowPrinter(source.columns, {})
    with closing(ahead(source.batches, _AHEAD)) as batches:
        for batch in batches:
            yield batch, printer.payloads(batch)


def _records(batch: pa.RecordBatch, payloads: pa.Array) -> Records:
    records = np.empty(len(batch), RECORD)
    for field, name in (("id", "id"), ("tenant", "tenant_id")):
        column = batch.column(name)
        column = column.storage if isinstance(column, pa.ExtensionArray) else column
        records[field] = np.frombuffer(column.buffers()[1], "V16", len(batch), column.offset * 16)
    records["sha256"] = np.frombuffer(sha256_digests(payloads), "V32")
    return records


def _last_halves(records: Records) -> npt.NDArray[np.uint64]:
    ids = np.ascontiguousarray(records["id"]).view(">u8").reshape(-1, 2)
    return ids[:, 1].astype(np.uint64)


def _texts(records: Records) -> Iterator[tuple[str, str, str]]:
    """Id, tenant and hash of each record, as BigQuery has them."""
    columns = (uuid_characters(records["id"]), uuid_characters(records["tenant"]), hexadecimal(records["sha256"]))
    return zip(*map(_lines, columns), strict=True)


def _lines(characters: npt.NDArray[np.uint8]) -> Iterator[str]:
    width = characters.shape[1]
    text = characters.tobytes().decode("ascii")
    return (text[start : start + width] for start in range(0, len(text), width))
