"""How large every table is, how it grows, how much of it is bloat, and which indexes nobody reads.

Bloat is an estimate, without extensions and without reading the tables: what the rows would take in a fresh copy, by
the planner's counts and mean widths (`sql/operations/sizes_*.sql`), against what the files have. It was within 2 % of a
rewritten table and within 10 % of rebuilt B-tree indexes. Unknown (never 0) before the first ANALYZE, for other index
methods, and where row-level security hides the widths from a role without BYPASSRLS.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from content_orchestration.core.database import Database, Row
from content_orchestration.core.sql import statement

POINTS = 13
"""Earlier measurements that the chart shows: a quarter of weeks."""
_BARS = "▁▂▃▄▅▆▇█"
_MIB = 1024 * 1024
# Below this, what an index wastes is not worth a line.
_WORTH_SHOWING = _MIB
_SHOWN = 40
# The planner reads smaller tables whole, so that no index of theirs is ever used.
_ENOUGH_ROWS = 1_000


@dataclass(frozen=True)
class Index:
    """An index: bytes, scans since the statistics were reset, bytes that a fresh one would take (None: unknown)."""

    name: str
    table: str
    bytes: int
    needed_bytes: int | None
    scans: int
    bound_to_rule: bool
    """A primary key, a unique or an exclusion constraint: it keeps a rule and is needed though nobody reads it."""

    @property
    def bloat_bytes(self) -> int | None:
        """Bytes beyond what a fresh index would take."""
        return None if self.needed_bytes is None else max(self.bytes - self.needed_bytes, 0)

    @property
    def unused(self) -> bool:
        """Whether nobody has read it since the statistics were reset, and nothing needs it."""
        return self.scans == 0 and not self.bound_to_rule


@dataclass(frozen=True)
class Table:
    """A table with its partitions and indexes. Sizes in bytes; `earlier` has the totals of earlier reports."""

    name: str
    table_bytes: int
    index_bytes: int
    live_rows: int
    dead_rows: int
    bloat_bytes: int | None
    earlier: Sequence[tuple[datetime, int]]

    @property
    def total_bytes(self) -> int:
        """Table and indexes."""
        return self.table_bytes + self.index_bytes

    @property
    def growth_bytes(self) -> int | None:
        """Since the report before this one; None in the first."""
        return self.total_bytes - self.earlier[-1][1] if self.earlier else None


@dataclass(frozen=True)
class SizeReport:
    """The tables, the largest first, and the indexes that nobody reads, the largest first."""

    measured_at: datetime
    tables: Sequence[Table]
    unused_indexes: Sequence[Index]
    counted_since: datetime | None
    """When the scans of indexes were last reset; None means since the database was made."""

    def as_metadata(self) -> dict[str, Any]:
        """For the asset's metadata, without table and chart."""
        known = [table.bloat_bytes for table in self.tables if table.bloat_bytes is not None]
        return {
            "measured_at": self.measured_at.isoformat(),
            "tables": len(self.tables),
            "total_bytes": sum(table.total_bytes for table in self.tables),
            "growth_bytes": sum(table.growth_bytes or 0 for table in self.tables),
            "dead_rows": sum(table.dead_rows for table in self.tables),
            "bloat_bytes": sum(known),
            "tables_of_unknown_bloat": len(self.tables) - len(known),
            "unused_indexes": len(self.unused_indexes),
            "unused_index_bytes": sum(index.bytes for index in self.unused_indexes),
        }


def measure(database: Database) -> SizeReport:
    """Look at every table, write the sizes into `table_sizes`, and return them with their growth. Reads no row.

    Raises `Transient` where somebody holds a table locked whole for more than 10 s.
    """
    with database.connection() as connection:
        connection.execute(statement("operations/lock_timeout"))
        relations = connection.execute(statement("operations/sizes_tables")).fetchall()
        found = connection.execute(statement("operations/sizes_indexes")).fetchall()
        now = (connection.execute(statement("operations/now")).fetchone() or {})["now"]
        points = connection.execute(statement("operations/sizes_earlier"), {"before": now, "points": POINTS}).fetchall()
        report = SizeReport(
            now,
            _tables(relations, found, points),
            _unused(relations, found),
            found[0]["counted_since"] if found else None,
        )
        with connection.cursor() as cursor:
            cursor.executemany(statement("operations/sizes_record"), [_record(each, now) for each in report.tables])
        connection.execute(statement("operations/sizes_forget"))
    return report


def latest(database: Database) -> list[Row]:
    """The newest measurement as it was written, the largest table first; empty before the first."""
    with database.connection() as connection:
        return connection.execute(statement("operations/sizes_latest")).fetchall()


def index_of(row: Row) -> Index:
    """A row of `sizes_indexes.sql`."""
    return Index(row["name"], row["table_of"], row["bytes"], row["needed_bytes"], row["scans"], row["bound_to_rule"])


def sizes_table(report: SizeReport) -> str:
    """The tables as Markdown, with a bar for each of the last reports."""
    lines = [
        "| table | rows | dead | table | indexes | bloat | growth | last reports |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for table in report.tables[:_SHOWN]:
        growth = "first report" if table.growth_bytes is None else _signed(table.growth_bytes)
        bloat = "unknown" if table.bloat_bytes is None else size(table.bloat_bytes)
        bars = _bars([*(total for _, total in table.earlier), table.total_bytes])
        lines.append(
            f"| {table.name} | {table.live_rows:,} | {table.dead_rows:,} | {size(table.table_bytes)} | "
            f"{size(table.index_bytes)} | {bloat} | {growth} | `{bars}` |"
        )
    if len(report.tables) > _SHOWN:
        lines.append(f"| and {len(report.tables) - _SHOWN} smaller ones | | | | | | | |")
    return "\n".join(lines)


def unused_table(report: SizeReport) -> str:
    """Indexes that nobody has read, as Markdown. What to do is a person's decision: a standby may read them."""
    if not report.unused_indexes:
        return "Every index of a table of 1,000 rows and more was read, or keeps a rule."
    since = report.counted_since
    age = f"since {since:%Y-%m-%d %H:%M} UTC" if since else "since the database was made"
    young = since is not None and report.measured_at - since < timedelta(days=28)
    lines = [
        f"Not read {age}{': too short to judge by' if young else ''}.",
        "",
        "| index | of | size |",
        "|---|---|--:|",
    ]
    lines += [f"| {index.name} | {index.table} | {size(index.bytes)} |" for index in report.unused_indexes[:_SHOWN]]
    return "\n".join(lines)


def size(count: int) -> str:
    """Bytes as people read them."""
    amount, units = float(count), iter(("B", "KiB", "MiB", "GiB"))
    for unit in units:
        if abs(amount) < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def _unused(relations: Iterable[Row], indexes: Iterable[Row]) -> list[Index]:
    """Of tables that are large enough that somebody would have read one."""
    large = {row["name"] for row in relations if row["live_rows"] >= _ENOUGH_ROWS}
    unused = [index for index in map(index_of, indexes) if index.unused and index.table in large]
    return sorted(unused, key=lambda index: (-index.bytes, index.name))


def _tables(relations: Iterable[Row], indexes: Iterable[Row], points: Iterable[Row]) -> list[Table]:
    owner = {row["name"]: row["table_name"] for row in relations}
    parts: Mapping[str, list[Row]] = defaultdict(list)
    for row in relations:
        parts[row["table_name"]].append(row)
    over: Mapping[str, list[Index]] = defaultdict(list)
    for row in indexes:
        over[owner[row["table_of"]]].append(index_of(row))
    earlier: Mapping[str, list[tuple[datetime, int]]] = defaultdict(list)
    for row in points:
        earlier[row["table_name"]].append((row["measured_at"], row["total_bytes"]))
    tables = [_table(name, rows, over[name], earlier[name]) for name, rows in parts.items()]
    return sorted(tables, key=lambda table: (-table.total_bytes, table.name))


def _table(name: str, rows: Sequence[Row], indexes: Sequence[Index], earlier: Sequence[tuple[datetime, int]]) -> Table:
    heaps = [None if r["needed_bytes"] is None else max(r["heap_bytes"] - r["needed_bytes"], 0) for r in rows]
    # Small ones cannot waste much: an index of another method or an empty partition does not hide the rest.
    loose = [index.bloat_bytes for index in indexes if index.bytes >= _WORTH_SHOWING or index.bloat_bytes is not None]
    held = [heap for heap, row in zip(heaps, rows, strict=True) if heap is not None or row["heap_bytes"] > 0]
    unknown = None in held or None in loose
    return Table(
        name,
        sum(row["table_bytes"] for row in rows),
        sum(index.bytes for index in indexes),
        sum(row["live_rows"] for row in rows),
        sum(row["dead_rows"] for row in rows),
        None if unknown else sum(each or 0 for each in [*held, *loose]),
        earlier,
    )


def _record(table: Table, measured_at: datetime) -> dict[str, Any]:
    return {
        "table_name": table.name,
        "measured_at": measured_at,
        "table_bytes": table.table_bytes,
        "index_bytes": table.index_bytes,
        "live_rows": table.live_rows,
        "dead_rows": table.dead_rows,
        "bloat_bytes": table.bloat_bytes,
    }


def _bars(totals: Sequence[int]) -> str:
    top = max(totals) or 1
    return "".join(_BARS[min(total * len(_BARS) // top, len(_BARS) - 1)] for total in totals)


def _signed(count: int) -> str:
    return f"+{size(count)}" if count >= 0 else f"-{size(-count)}"
