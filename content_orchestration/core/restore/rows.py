"""Writes a chunk of checked rows into PostgreSQL, by the shortest of three ways that works, and reads it back.

Rows that the target has none of are inserted as they are. Where that does not work they are staged and upserted by the
request's policy. What that refuses is taken apart: columns that came or went since, and single rows that a constraint
turns away, which are put aside while the others are written.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
import psycopg
from psycopg import Connection, sql

from content_orchestration.core.database import Row
from content_orchestration.core.errors import Permanent
from content_orchestration.core.restore.check import CheckedRow, Rejected, rejected
from content_orchestration.core.restore.request import OnConflict
from content_orchestration.core.restore.target import TABLES, TargetTable
from content_orchestration.core.sql import statement

_COPY_BYTES = 1024 * 1024
# What a row may be turned away for: its values, a constraint, a unique index that another row holds.
_REFUSED = (psycopg.errors.IntegrityError, psycopg.errors.DataError)


class _Differs(Exception):
    """Rows do not read back as they were given; the savepoint goes back."""


@dataclass
class Written:
    """What became of rows. `same` were there already as in the history, `kept` differ and stay by the policy."""

    inserted: int = 0
    updated: int = 0
    same: int = 0
    kept: int = 0
    defaulted: list[str] = field(default_factory=list)
    null_dropped: list[str] = field(default_factory=list)

    @property
    def plain(self) -> bool:
        """Whether nothing was in the way: every row was inserted as the history has it."""
        return not (self.updated or self.same or self.kept or self.defaulted or self.null_dropped)

    def add(self, other: "Written") -> None:
        """Count the rows of another group too."""
        self.inserted += other.inserted
        self.updated += other.updated
        self.same += other.same
        self.kept += other.kept
        self.defaulted = sorted({*self.defaulted, *other.defaulted})
        self.null_dropped = sorted({*self.null_dropped, *other.null_dropped})

    def as_json(self) -> dict[str, Any]:
        """For `restore_progress`."""
        return asdict(self)


def write_rows(
    connection: Connection[Row],
    table: TargetTable,
    rows: Sequence[CheckedRow],
    on_conflict: OnConflict,
    *,
    insert_first: bool = True,
) -> tuple[Written, list[Rejected]]:
    """Write rows within the transaction of `connection`, all that can be written. Raises `Permanent`.

    Each row is read back before the transaction ends: one that PostgreSQL would not print as the history has it is not
    kept. insert_first: whether to try first as if the target had none of the rows, which takes a fifth off the time
    where that is so and costs an insert in vain where it is not.
    """
    connection.execute(statement("replication/pin_settings"))
    connection.execute(statement("restore/working_memory"))
    if insert_first:
        try:
            with connection.transaction():
                return _insert(connection, table, rows), []
        except (*_REFUSED, _Differs):
            pass
    connection.execute(statement("restore/stage_create"))
    with connection.cursor().copy(statement("restore/stage_copy")) as copy:
        for block in _copy_blocks(rows):
            copy.write(block)
    try:
        with connection.transaction():
            return _upsert(connection, table, on_conflict, len(rows)), []
    except (*_REFUSED, _Differs):
        return _write_apart(connection, table, rows, on_conflict)


def _insert(connection: Connection[Row], table: TargetTable, rows: Sequence[CheckedRow]) -> Written:
    values = {"ids": "\n".join(row.entity_id for row in rows), "docs": "\n".join(row.row_json for row in rows)}
    found = _one(connection, table.insert(), values)
    if (found["given"], found["written"], found["differ"]) != (len(rows), len(rows), 0):
        raise _Differs(f"of {len(rows)} rows {found['written']} were written, and {found['differ']} differ")
    return Written(inserted=len(rows))


def _write_apart(
    connection: Connection[Row], table: TargetTable, rows: Sequence[CheckedRow], on_conflict: OnConflict
) -> tuple[Written, list[Rejected]]:
    """The slow way: group rows by the columns that they lack, write each group, and halve what is turned away."""
    refused = [rejected(table.entity, row, "row_refused", "is no JSON object") for row in rows if not _is_object(row)]
    names = {each.entity_id for each in refused}
    numbers = [number for number, row in enumerate(rows) if row.entity_id not in names]
    extra = _extra(connection, table, numbers)
    total = Written()
    groups = connection.execute(
        statement("restore/missing_keys"), {"numbers": numbers, "columns": list(table.columns)}
    ).fetchall()
    for group in groups:
        written, turned_away = _halve(connection, table, rows, on_conflict, group["numbers"], group["missing"], extra)
        written.defaulted = sorted(group["missing"])
        written.null_dropped = extra
        total.add(written)
        refused += turned_away
    return total, refused


def _extra(connection: Connection[Row], table: TargetTable, numbers: list[int]) -> list[str]:
    """Keys that the target has no column for. Raises `Permanent` where one of them has a value: it would be lost."""
    values = {"numbers": numbers, "columns": list(table.columns)}
    found = connection.execute(statement("restore/extra_keys"), values).fetchall()
    lost = [row for row in found if row["with_value"]]
    if lost:
        named = ", ".join(f"{row['name']} (in {row['with_value']} rows, one is {row['example']})" for row in lost)
        raise Permanent(
            f"{TABLES[table.entity.name]} has no column for what the history holds: {named}. Nothing of this part was "
            "written, since the values would be lost. Add the columns, or restore into a scratch schema whose table "
            "has them; then run this again"
        )
    return [row["name"] for row in found]


def _halve(
    connection: Connection[Row],
    table: TargetTable,
    rows: Sequence[CheckedRow],
    on_conflict: OnConflict,
    numbers: list[int],
    missing: list[str],
    extra: list[str],
) -> tuple[Written, list[Rejected]]:
    try:
        with connection.transaction():
            return _upsert(connection, table, on_conflict, len(numbers), numbers, missing, extra), []
    except (*_REFUSED, _Differs) as error:
        if len(numbers) == 1:
            reason = "row_differs" if isinstance(error, _Differs) else "row_refused"
            return Written(), [rejected(table.entity, rows[numbers[0]], reason, str(error).strip())]
    middle = len(numbers) // 2
    total, refused = Written(), []
    for half in (numbers[:middle], numbers[middle:]):
        written, turned_away = _halve(connection, table, rows, on_conflict, half, missing, extra)
        total.add(written)
        refused += turned_away
    return total, refused


def _upsert(
    connection: Connection[Row],
    table: TargetTable,
    on_conflict: OnConflict,
    count: int,
    numbers: list[int] | None = None,
    missing: Sequence[str] = (),
    extra: Sequence[str] = (),
) -> Written:
    exact = numbers is None or not (missing or extra)
    values = {"numbers": numbers, "missing": list(missing), "extra": list(extra)}
    written = _one(connection, table.upsert(on_conflict, missing, exact=exact), values)
    if written["differ"]:
        raise _Differs(f"{written['differ']} rows would not read back as the history has them")
    result = Written(written["inserted"], written["updated"])
    if result.inserted + result.updated < count:
        there = _one(connection, table.kept(exact=exact), values)
        if there["present"] != count:
            raise _Differs(f"{count - there['present']} rows were not written")
        result.same = there["same"] - result.inserted - result.updated
        result.kept = count - there["same"]
    return result


def _one(connection: Connection[Row], query: sql.Composed, values: dict[str, Any]) -> Row:
    return connection.execute(query, values).fetchone() or {}


def _copy_blocks(rows: Sequence[CheckedRow]) -> Iterator[str]:
    block: list[str] = []
    size = 0
    for number, row in enumerate(rows):
        line = f"{number}\t{row.entity_id}\t{_escaped(row.row_json)}\n"
        block.append(line)
        size += len(line)
        if size >= _COPY_BYTES:
            yield "".join(block)
            block, size = [], 0
    yield "".join(block)


def _escaped(text: str) -> str:
    """For COPY's text format. What PostgreSQL prints as JSON has no bare line breaks; only a backslash is common."""
    text = text.replace("\\", "\\\\")
    if "\n" in text or "\r" in text or "\t" in text:
        text = text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return text


def _is_object(row: CheckedRow) -> bool:
    try:
        return isinstance(orjson.loads(row.row_json), dict)
    except orjson.JSONDecodeError:
        return False
