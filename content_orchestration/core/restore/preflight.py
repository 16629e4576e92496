"""Looks, before the first write, whether the target has a column for everything that the history holds.

It reads a few chunks of each table: a column that was dropped since shows there. `rows.py` looks at every row that it
writes, and stops as this does; this is so that it need not stop half-way.
"""

from collections.abc import Mapping

import orjson

from content_orchestration.core.errors import Permanent
from content_orchestration.core.restore.history import History
from content_orchestration.core.restore.target import TABLES, TargetTable

_ROWS = 200
_CHUNKS = 4


def refuse_unknown_columns(history: History, tables: Mapping[str, TargetTable], chunk_bytes: int) -> None:
    """Raise `Permanent` where a row has a value for which the target has no column. Nothing was written then."""
    for table in tables.values():
        chunks = history.chunks(table.entity, chunk_bytes)
        for chunk in chunks[:: max(1, len(chunks) // _CHUNKS)][:_CHUNKS]:
            for text in history.read(table.entity, chunk).column("row_json").to_pylist()[:_ROWS]:
                lost = sorted(name for name, value in _fields(text).items() if _lost(table, name, value))
                if lost:
                    raise Permanent(
                        f"{TABLES[table.entity.name]} has no column for what the history holds: {', '.join(lost)}. "
                        "Nothing was written, since the values would be lost. Add the columns, or restore into a "
                        "scratch schema whose table has them; then run this again"
                    )


def _lost(table: TargetTable, name: str, value: object) -> bool:
    return value is not None and name not in table.columns


def _fields(text: str) -> dict[str, object]:
    """Nothing for what is no row: it is set aside when its turn comes."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
