"""What goes over the wire to ZeroDB and comes back: portions of rows, filters, the two shapes of a returned row.

Pure functions; the requests themselves are `zerodb_http.py`.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from content_orchestration.core.documents import Document, DocumentConflict, InvalidDocument, Where
from content_orchestration.core.errors import Permanent
from content_orchestration.resources.zerodb_http import Answer
from content_orchestration.resources.zerodb_json import encode

MAX_ROWS = 1000
MAX_REQUEST_BYTES = 8 * 1024 * 1024

_T = TypeVar("_T")


class Row(NamedTuple):
    """A document on its way to the server."""

    id: str
    encoded: bytes
    body_sha256: object


def describe(collection: str, key: object) -> str:
    """What messages call a document."""
    return f"the document {key!r} for {collection}"


def by_id(collection: str, documents: Iterable[Document]) -> dict[str, Document]:
    """The documents by id; equal ones collapse. Raises `InvalidDocument` for a bad id or two that differ under one."""
    found: dict[str, Document] = {}
    for document in documents:
        key = document.get("id")
        if not isinstance(key, str) or not key:
            raise InvalidDocument(f"a document for {collection} has the id {key!r}: it must be text that is not empty")
        other = found.setdefault(key, document)
        if other is not document and _canonical(collection, other) != _canonical(collection, document):
            raise InvalidDocument(f"{describe(collection, key)} was given twice with different content")
    return found


def _canonical(collection: str, value: Document) -> bytes:
    """Text that is equal for equal JSON: unlike Python's `==` it tells 1 from 1.0 and True."""
    return encode(_sorted(value), describe(collection, value["id"]))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value, key=str)}
    return [_sorted(item) for item in value] if isinstance(value, (list, tuple)) else value


def refuse_conflicts(collection: str, stored: Mapping[str, list[object]], given: Mapping[str, object]) -> None:
    """Raise `DocumentConflict` where a stored row's `body_sha256` is not the given one; none at all is a value too."""
    conflicts = [key for key, hashes in stored.items() if any(found != given[key] for found in hashes)]
    if conflicts:
        raise DocumentConflict(collection, conflicts)


def portions(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows in requests within both bounds; a row beyond the bytes goes alone."""
    portion: list[Row] = []
    size = 0
    for row in rows:
        if portion and (len(portion) == MAX_ROWS or size + len(row.encoded) > MAX_REQUEST_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(row)
        size += len(row.encoded)
    if portion:
        yield portion


def batched(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Lists of at most `size` items, taken up one list at a time."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def check_size(name: str, value: int) -> None:
    """Raise `Permanent` for a number of rows that one request cannot ask for."""
    if not 1 <= value <= MAX_ROWS:
        raise Permanent(f"{name} is {value}, but ZeroDB answers with 1 to {MAX_ROWS} rows a request")


def with_ids(ids: list[str]) -> Document:
    """The filter for these ids."""
    return {"id": {"$in": ids}}


def beyond(after: str | None) -> Where | None:
    """The filter for ids greater than `after`."""
    return None if after is None else {"id": {"$gt": after}}


def both(first: Where | None, second: Where | None) -> Where:
    """The filter that both filters pass; empty matches every row."""
    parts = [part for part in (first, second) if part]
    return {"$and": parts} if len(parts) == 2 else dict(parts[0]) if parts else {}


def total_of(answer: Answer) -> int:
    """How many rows match, whatever the limit was."""
    total = answer.content.get("total")
    if not isinstance(total, int):
        raise Permanent("ZeroDB's answer to a query has no total: check API_BASE_URL")
    return total


def rows_of(answer: Answer) -> list[Document]:
    """The documents of an answer, plain or in an envelope; ours all have an id."""
    rows = answer.content.get("rows")
    if not isinstance(rows, list):
        raise Permanent("ZeroDB's answer to a query has no rows: check API_BASE_URL")
    return [_document(row) for row in rows]


def _document(row: Any) -> Document:
    document = row
    if isinstance(row, dict) and "id" not in row and isinstance(row.get("row_data"), dict):
        document = row["row_data"]
    if not isinstance(document, dict) or not isinstance(document.get("id"), str):
        raise Permanent("ZeroDB returned a row without a text id, which is none of ours: find it and remove it by hand")
    return document
