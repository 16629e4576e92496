"""Rows of a snapshot: `row_json` put together from columns, to the byte as PostgreSQL's `row_to_json` prints it, and
the typed columns beside it. Where the columns come from is `snapshot_stream.py`'s, what happens to the rows
`snapshot_files.py`'s.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from content_orchestration.core.replication.arrow_text import (
    json_escaped,
    sha256_texts,
    timestamp_texts,
    uuid_lines,
    uuid_texts,
    within_years,
)
from content_orchestration.core.replication.payload import arrow_schema
from content_orchestration.core.replication.tables import TableSpec

PRINTED_ROW = "printed_row"


@dataclass(frozen=True)
class SourceColumn:
    """A column of the source table as the stream brings it; `json` stands for a type that PostgreSQL prints as JSON."""

    name: str
    type: str


class RowPrinter:
    """Prints the rows of one table. `constants` are columns that have one value in all rows, as text."""

    def __init__(self, columns: Sequence[SourceColumn], constants: Mapping[str, str]) -> None:
        self._columns = columns
        self._constants = constants

    def payloads(self, batch: pa.RecordBatch) -> pa.Array:
        """The rows as `row_to_json` prints them, and no more than that."""
        line = _Line(len(batch))
        for number, column in enumerate(self._columns):
            self._name(line, number, column)
            if column.name in self._constants:
                continue
            values = _storage(batch.column(column.name))
            if column.type == "uuid" and not values.null_count:
                line.constant('"')
                line.uuids(values)
                line.constant('"')
            else:
                self._value(line, column, values)
        return _printed(line, batch)

    def texts_and_payloads(self, batch: pa.RecordBatch) -> tuple[dict[str, pa.Array], pa.Array]:
        """The columns as text, and the rows as `row_to_json` prints them."""
        texts: dict[str, pa.Array] = {}
        line = _Line(len(batch))
        for number, column in enumerate(self._columns):
            self._name(line, number, column)
            if column.name not in self._constants:
                texts[column.name] = self._value(line, column, _storage(batch.column(column.name)))
        return texts, _printed(line, batch)

    def _name(self, line: "_Line", number: int, column: SourceColumn) -> None:
        """What stands before a value, and the value where it is a constant."""
        line.constant("{" if number == 0 else ",")
        line.constant(json.dumps(column.name, ensure_ascii=False) + ":")
        if column.name in self._constants:
            line.constant(json.dumps(self._constants[column.name]))

    def _value(self, line: "_Line", column: SourceColumn, values: pa.Array) -> pa.Array:
        """Put the values into the line; the column as text, timestamps as they are."""
        if values.null_count == len(values):
            line.constant("null")
            return pa.nulls(len(values), pa.string())
        if column.type == "uuid":
            texts = uuid_texts(values)
            line.quoted(texts)
            return texts
        if column.type == "text":
            line.quoted(json_escaped(values))
        elif column.type == "timestamp with time zone":
            line.quoted(timestamp_texts(within_years(values)), end='+00:00"')
        else:
            line.plain(values.cast(pa.string()))
        return values


class RowAssembler:
    """Assembles the rows of one table. `constants` are columns that have one value in all rows, as text."""

    def __init__(
        self,
        table: TableSpec,
        columns: Sequence[SourceColumn],
        constants: Mapping[str, str],
        renamed: Mapping[str, str],
    ) -> None:
        self._schema = arrow_schema(table)
        self._printer = RowPrinter(columns, constants)
        self._renamed = renamed

    def rows(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The columns of the table that come from the source, with `row_json` and `row_sha256`."""
        texts, payload = self._printer.texts_and_payloads(batch)
        arrays = {"row_json": payload, "row_sha256": sha256_texts(payload)}
        for field in self._schema:
            name = self._renamed.get(field.name, field.name)
            if field.name in arrays or (name not in texts and name not in batch.schema.names):
                continue
            if pa.types.is_timestamp(field.type):
                arrays[field.name] = within_years(batch.column(name)).cast(field.type)
            elif pa.types.is_integer(field.type):
                arrays[field.name] = batch.column(name).cast(field.type)
            else:
                arrays[field.name] = texts[name].cast(field.type)
        return pa.RecordBatch.from_pydict(arrays)


class _Line:
    """The pieces of a row in order; neighbouring constants are one piece."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._pieces: list[pa.Array] = []
        self._constant = ""
        self._uuids: list[tuple[str, pa.Array]] = []

    def constant(self, text: str) -> None:
        self._constant += text

    def quoted(self, values: pa.Array, end: str = '"') -> None:
        if values.null_count:
            self.plain(pc.binary_join_element_wise('"', values, end, ""))
        else:
            self.constant('"')
            self.plain(values)
            self.constant(end)

    def plain(self, values: pa.Array) -> None:
        self._flush()
        self._pieces.append(pc.coalesce(values, "null") if values.null_count else values)

    def uuids(self, values: pa.Array) -> None:
        """UUIDs without NULL; neighbouring ones are one piece, the constants between them too."""
        self._uuids.append((self._constant, values))
        self._constant = ""

    def joined(self) -> pa.Array:
        self._flush()
        # A batch without any value has no column to say how many rows there are.
        counted = pa.repeat(pa.scalar(""), self._rows)
        return pc.binary_join_element_wise(*self._pieces, counted, "")

    def _flush(self) -> None:
        if self._uuids:
            self._pieces.append(uuid_lines(self._uuids))
            self._uuids = []
        if self._constant:
            self._pieces.append(pa.scalar(self._constant))
            self._constant = ""


def _printed(line: _Line, batch: pa.RecordBatch) -> pa.Array:
    """The lines, except for the rows that PostgreSQL printed itself."""
    line.constant("}")
    printed, assembled = batch.column(PRINTED_ROW), line.joined()
    return assembled if printed.null_count == len(printed) else pc.coalesce(printed, assembled)


def _storage(column: pa.Array) -> pa.Array:
    return column.storage if isinstance(column, pa.ExtensionArray) else column
