"""When a table calls for VACUUM and an index for REINDEX. Nothing is done here."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from content_orchestration.core.database import Row
from content_orchestration.core.operations.sizes import index_of, size

DEAD_ROWS = 1_000
DEAD_SHARE = 0.1
"""Half of autovacuum's threshold: a pass takes what autovacuum leaves behind, before it has to."""
OLD_TRANSACTIONS = 150_000_000
"""A table whose oldest transaction is older is vacuumed whatever else; at 200 million autovacuum forces it."""
BLOATED_BYTES = 1024 * 1024
BLOATED_SHARE = 0.5
"""An index is rebuilt when at least half of it, and a MiB, is room that a fresh one would not have."""
# Slower than anything that was measured (fsync off: 40 MiB/s and more), so that what is begun also ends.
_VACUUM_BYTES_A_SECOND = 16 * 1024 * 1024
_REINDEX_BYTES_A_SECOND = 8 * 1024 * 1024


@dataclass(frozen=True)
class Step:
    """One statement of a pass, why, bytes of its relation, and seconds that it is expected to take."""

    action: Literal["vacuum", "reindex", "drop_index"]
    relation: str
    reason: str
    bytes: int
    seconds: float = 0.0


def vacuum_due(rows: Iterable[Row]) -> list[Step]:
    """The tables that call for VACUUM (ANALYZE), the oldest transactions first, then the most dead rows."""
    due = [(row, reason) for row in rows if row["ours"] and (reason := why_vacuum(row))]
    due.sort(key=lambda each: (each[0]["transaction_age"] < OLD_TRANSACTIONS, -each[0]["dead_rows"], each[0]["name"]))
    return [
        Step("vacuum", row["name"], reason, row["table_bytes"], row["table_bytes"] / _VACUUM_BYTES_A_SECOND)
        for row, reason in due
    ]


def why_vacuum(row: Row) -> str | None:
    """Why this table (a row of `sizes_tables.sql`) calls for it, or None."""
    least = max(DEAD_ROWS, DEAD_SHARE * row["live_rows"])
    if row["transaction_age"] >= OLD_TRANSACTIONS:
        return f"its oldest transaction is {row['transaction_age']:,} transactions old"
    if row["dead_rows"] >= least:
        return f"{row['dead_rows']:,} dead rows beside {row['live_rows']:,}"
    if row["changed_rows"] >= least:
        return f"{row['changed_rows']:,} of {row['live_rows']:,} rows changed since the planner last counted"
    return None


def reindex_due(rows: Iterable[Row]) -> list[Step]:
    """The bloated indexes, the most wasteful first. Unknown bloat calls for nothing, nor does an invalid index."""
    due = []
    for row in rows:
        index = index_of(row)
        waste = index.bloat_bytes
        if waste is None or not row["ours"] or not row["valid"] or row["exclusion"]:
            continue
        if waste >= BLOATED_BYTES and waste >= BLOATED_SHARE * index.bytes:
            due.append((waste, index))
    due.sort(key=lambda each: (-each[0], each[1].name))
    return [
        Step("reindex", index.name, f"{size(waste)} of {size(index.bytes)} is bloat", index.bytes,
             index.bytes / _REINDEX_BYTES_A_SECOND)
        for waste, index in due
    ]  # fmt: skip
