"""The rules for what callers give the content store, checked before any tier is asked. Errors name field and rule."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from content_orchestration.core.content.errors import InvalidContent
from content_orchestration.core.content.model import Changes, NewContent

CONTENT_TYPES = ("article", "post", "email", "image", "video", "document")
STATUSES = ("draft", "scheduled", "published", "archived")
MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_METADATA_DEPTH = 32
MAX_METADATA_BYTES = 1024 * 1024
MAX_TITLE_CHARACTERS = 1000
MAX_REASON_CHARACTERS = 1000
_NIL = UUID(int=0)
# Python prints no number of more than 4,300 digits, and few parsers read one of more than a double holds.
_MAX_NUMBER = 10**1000


def tenant(value: object) -> UUID:
    """The tenant's id. Raises `InvalidContent` for an empty or malformed one."""
    return identifier("tenant_id", value)


def identifier(field: str, value: object) -> UUID:
    """A UUID, given as one or as text; the nil UUID names nobody."""
    try:
        parsed = value if isinstance(value, UUID) else UUID(str(value or ""))
    except ValueError:
        parsed = _NIL
    if parsed == _NIL:
        raise InvalidContent(field, f"is {value!r}, which is no UUID", f"Give {field} as a UUID.")
    return parsed


def new_content(content: NewContent, max_body_bytes: int, where: str = "") -> NewContent:
    """An item that may be created, its ids as UUIDs; `where` goes before the field's name, as in `items[3].`."""
    _title(content.title, where)
    _one_of("content_type", content.content_type, CONTENT_TYPES, where)
    _one_of("status", content.status, STATUSES, where)
    _body(content.body, max_body_bytes, where)
    metadata(content.metadata, where)
    ids: dict[str, Any] = {
        name: identifier(where + name, getattr(content, name))
        for name in ("brand_id", "campaign_space_id", "user_id")
        if getattr(content, name) is not None
    }
    if content.source is not None:
        _text("source", content.source, where, MAX_TITLE_CHARACTERS)
        if not content.source.strip():
            raise InvalidContent(f"{where}source", "is empty", "Leave it out, or name where the item came from.")
    return replace(content, **ids)


def changes(given: Changes, max_body_bytes: int) -> None:
    """Check the fields of an update that are given. Raises `InvalidContent` where none is."""
    if given == Changes():
        raise InvalidContent("changes", "change nothing", "Give at least one field that is to change.")
    if given.title is not None:
        _title(given.title, "")
    if given.content_type is not None:
        _one_of("content_type", given.content_type, CONTENT_TYPES, "")
    if given.status is not None:
        _one_of("status", given.status, STATUSES, "")
    if given.body is not None:
        _body(given.body, max_body_bytes, "")
    if given.metadata is not None:
        metadata(given.metadata, "")


def words(field: str, value: object, most: int = MAX_REASON_CHARACTERS) -> str:
    """A short text that must say something, such as who changed an item and why."""
    text = _text(field, value, "", most)
    if not text.strip():
        raise InvalidContent(field, "is empty", f"Say in {field} what it is for.")
    return text


def limit(value: object, most: int) -> int:
    """How many items a page or a search may have."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise InvalidContent("limit", f"is {value!r}", f"Ask for 1 to {most} items, then for the next page.")
    return value


def metadata(value: object, where: str) -> None:
    """Metadata are an object of JSON values, at most 32 levels deep and 1 MiB large."""
    field = f"{where}metadata"
    if not isinstance(value, Mapping):
        raise InvalidContent(field, f"is a {type(value).__name__}, not an object", "Give a mapping of names to values.")
    size = 0
    # A stack of our own: a hostile document must not exhaust the interpreter's.
    waiting: list[tuple[Any, int]] = [(value, 1)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_METADATA_DEPTH:
            raise InvalidContent(
                field, f"is nested deeper than {MAX_METADATA_DEPTH} levels", "Flatten it, or store it as the body."
            )
        if isinstance(node, Mapping):
            for key, inner in node.items():
                if not isinstance(key, str):
                    raise InvalidContent(field, f"has the key {key!r}, which is no text", "Use text for keys.")
                size += len(_text(field, key, "", MAX_METADATA_BYTES)) + 4
                waiting.append((inner, depth + 1 if isinstance(inner, Mapping | list | tuple) else depth))
        elif isinstance(node, list | tuple):
            waiting.extend((inner, depth + 1 if isinstance(inner, Mapping | list | tuple) else depth) for inner in node)
            size += 2 * len(node)
        elif isinstance(node, str):
            size += len(_text(field, node, "", MAX_METADATA_BYTES).encode())
        elif isinstance(node, float) and not math.isfinite(node):
            raise InvalidContent(field, f"holds {node}, which JSON does not have", "Leave it out, or write it as text.")
        elif isinstance(node, int) and abs(node) >= _MAX_NUMBER:
            raise InvalidContent(field, "holds a number of more than 1,000 digits", "Write it as text.")
        elif not (node is None or isinstance(node, bool | int | float)):
            raise InvalidContent(
                field, f"holds a {type(node).__name__}, which JSON does not have", "Convert it to text or a number."
            )
        else:
            size += 8
        if size > MAX_METADATA_BYTES:
            raise InvalidContent(field, f"is larger than {MAX_METADATA_BYTES:,} bytes", "Store it as the body.")


def _title(value: object, where: str) -> None:
    if not _text("title", value, where, MAX_TITLE_CHARACTERS).strip():
        raise InvalidContent(f"{where}title", "is empty", "Give the item a title.")


def _body(value: object, most: int, where: str) -> None:
    text = _text("body", value, where, None)
    size = len(text.encode())
    if size > most:
        raise InvalidContent(
            f"{where}body",
            f"has {size:,} bytes, more than the {most:,} that CONTENT_MAX_BODY_BYTES allows",
            "Shorten it, split it, or raise the limit.",
        )


def _one_of(field: str, value: object, allowed: tuple[str, ...], where: str) -> None:
    if value not in allowed:
        raise InvalidContent(f"{where}{field}", f"is {value!r}", f"Use one of {', '.join(allowed)}.")


def _text(field: str, value: object, where: str, most: int | None) -> str:
    name = f"{where}{field}"
    if not isinstance(value, str):
        raise InvalidContent(name, f"is a {type(value).__name__}, not text", f"Give {field} as text.")
    if most is not None and len(value) > most:
        raise InvalidContent(name, f"is longer than {most:,} characters", f"Shorten {field}.")
    if "\x00" in value:
        raise InvalidContent(
            name, f"has a NUL character at {value.index(chr(0))}", "Remove it: PostgreSQL stores none."
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidContent(
            name, f"is not valid UTF-8 (a lone surrogate at {error.start})", "Decode the text properly first."
        ) from error
    return value
