"""Whether a document says what its rows say, field by field. Bodies and their hashes are in `bodies.py`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from content_orchestration.core.database import Row
from content_orchestration.core.documents import Document
from content_orchestration.core.integrity.findings import Difference, Kind
from content_orchestration.core.integrity.pairs import Named

_SHOWN = 200


def differing(expected: Mapping[str, Any], document: Document) -> dict[str, dict[str, Any]]:
    """The fields whose values differ, with both values. A missing field is null, further fields do not count."""
    return {
        name: {"row": shown(value), "document": shown(document.get(name))}
        for name, value in expected.items()
        if not same(value, document.get(name))
    }


def same(first: Any, second: Any) -> bool:
    """Equality of JSON values: as Python's, but true is not 1."""
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(value, second[name]) for name, value in first.items())
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


def shown(value: Any) -> Any:
    """The value as a report shows and stores it: numbers and null as they are, all else as text, cut after 200."""
    if value is None or isinstance(value, int | float):
        return value
    text = value if isinstance(value, str) else repr(value)
    return storable(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def storable(text: str) -> str:
    """The text with escapes for what PostgreSQL's text cannot hold: U+0000 and lone surrogates."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def one_row_each(rows: Iterable[Row]) -> Iterator[Named]:
    """Documents that one row each names: the row's own id is the key."""
    for row in rows:
        yield Named((row["id"],), row["id"], row["zerodb_row_id"], (row,))


def judge_fields(collection: str, named: Named, document: Document | None) -> list[Difference]:
    """What differs between a document and the `expected` of its row."""
    (row,) = named.rows
    detail: dict[str, Any] = {"row_id": str(row["id"])}
    kind = Kind.DOCUMENT_MISSING
    if document is not None:
        fields = differing(row["expected"], document)
        if not fields:
            return []
        kind = Kind.DOCUMENT_DIFFERS
        detail["fields"] = fields
    return [Difference(kind, collection, named.document_id, row["tenant_id"], detail)]
