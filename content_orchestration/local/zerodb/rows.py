"""How a row is written into an answer: as the document itself or in the envelope, whole or projected."""

import json
from collections.abc import Callable
from typing import Any, Literal

from content_orchestration.local.zerodb.documents import MalformedError, dump, parse
from content_orchestration.local.zerodb.filters import MISSING, reach
from content_orchestration.local.zerodb.store import Row

RowStyle = Literal["document", "envelope"]
ROW_STYLES: tuple[RowStyle, ...] = ("document", "envelope")


def compile_projection(given: Any) -> Callable[[bytes], bytes] | None:
    """What a projection does to a document's text; None where it keeps all. Raises `MalformedError`."""
    if not isinstance(given, dict):
        raise MalformedError("projection must be an object")
    if not given:
        return None
    if any(isinstance(value, bool) or value not in (0, 1) for value in given.values()):
        raise MalformedError("projection takes 1 or 0 for each field")
    kept = {bool(value) for value in given.values()}
    if len(kept) > 1:
        raise MalformedError("projection either names what to keep (1) or what to leave out (0), not both")
    paths = [name.split(".") for name in given]
    project = _keep if kept.pop() else _leave_out
    return lambda text: dump(project(parse(text.decode("utf-8")), paths)).encode("utf-8")


def _keep(document: dict[str, Any], paths: list[list[str]]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for path in paths:
        value = reach(document, ".".join(path))
        if value is MISSING:
            continue
        place = kept
        for part in path[:-1]:
            place = place.setdefault(part, {})
        place[path[-1]] = value
    return kept


def _leave_out(document: dict[str, Any], paths: list[list[str]]) -> dict[str, Any]:
    for path in paths:
        place: Any = document
        for part in path[:-1]:
            place = place.get(part) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place.pop(path[-1], None)
    return document


def write_page(rows: list[Row], total: int, style: RowStyle, project: Callable[[bytes], bytes] | None) -> bytes:
    """The body of a query's answer. Documents are spliced in as the text they came as."""
    texts = [project(row.doc) if project else row.doc for row in rows]
    if style == "envelope":
        texts = [
            b'{"row_id":%b,"row_data":%b,"created_at":"%b","updated_at":"%b"}'
            % (json.dumps(row.row_id).encode(), text, row.created_at.encode(), row.updated_at.encode())
            for row, text in zip(rows, texts, strict=True)
        ]
    return b'{"rows":[%b],"total":%d}' % (b",".join(texts), total)
