"""Reads request bodies: strict JSON, and each document's text as it came. What a filter means is in `filters.py`."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

MAX_DEPTH = 200
"""Levels of nesting that a body may have. MongoDB takes 100; SQLite's JSON functions stop at 1000."""
MAX_PATH = 50
"""Parts of a dotted path, so that no update makes a document deeper than Python's own recursion can write."""

_SPACE = re.compile(r"[ \t\n\r]*")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_INT64 = range(-(2**63), 2**63)
_T = TypeVar("_T")


class MalformedError(ValueError):
    """The request breaks the contract. The text says which rule; it becomes the `detail` of a 422."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document: its text as it came, and its top-level `id` as SQLite can index it (None where it cannot)."""

    text: str
    doc_id: str | int | float | None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedError("an object names the same key twice")
    return found


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise MalformedError(f"the number {text[:40]} does not fit a double")
    return value


def _constant(text: str) -> float:
    raise MalformedError(f"{text} is not JSON")


# The standard decoder and not orjson: orjson turns integers beyond 64 bits into floats.
_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_constant)


class _Reader:
    """Steps through one JSON text and knows where each value begins and ends."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self) -> str:
        space = _SPACE.match(self.text, self.at)
        self.at = space.end() if space else self.at
        return self.text[self.at : self.at + 1]

    def take(self, char: str) -> None:
        if self.peek() != char:
            raise MalformedError(f"not JSON: {char!r} expected at character {self.at}")
        self.at += 1

    def value(self) -> Any:
        self.peek()
        value, self.at = _DECODER.raw_decode(self.text, self.at)
        return value

    def array(self) -> list[tuple[str, Any]]:
        items: list[tuple[str, Any]] = []
        self.take("[")
        while self.peek() != "]":
            if items:
                self.take(",")
                self.peek()
            start = self.at
            value = self.value()
            items.append((self.text[start : self.at], value))
        self.take("]")
        return items

    def end(self) -> None:
        if self.peek():
            raise MalformedError(f"not JSON: more text at character {self.at}")


def _guarded(body: bytes, read: Callable[[str], _T]) -> _T:
    try:
        return read(body.decode("utf-8"))
    except MalformedError:
        raise
    except RecursionError as error:
        raise MalformedError(f"more than {MAX_DEPTH} levels of nesting") from error
    except ValueError as error:  # not UTF-8, not JSON, or an integer of more digits than Python converts
        raise MalformedError(f"not JSON: {error}") from error


def _check(text: str, value: Any) -> None:
    """Raises `MalformedError` where SQLite could not read the value back: nested too deep, or half a surrogate pair."""
    if text.count("{") + text.count("[") > MAX_DEPTH:
        level = [value]
        for _ in range(MAX_DEPTH):
            level = [
                child
                for parent in level
                if isinstance(parent, dict | list)
                for child in (parent.values() if isinstance(parent, dict) else parent)
            ]
        if any(isinstance(value, dict | list) for value in level):
            raise MalformedError(f"more than {MAX_DEPTH} levels of nesting")
    if _SURROGATE_ESCAPE.search(text):
        try:
            dump(value).encode("utf-8")
        except UnicodeEncodeError as error:
            raise MalformedError("a string holds half of a surrogate pair, which is not Unicode") from error


def read_object(body: bytes) -> dict[str, Any]:
    """The object that the body is. Raises `MalformedError` for anything else."""

    def read(text: str) -> Any:
        reader = _Reader(text)
        value = reader.value()
        reader.end()
        _check(text, value)
        return value

    value = _guarded(body, read)
    if not isinstance(value, dict):
        raise MalformedError("the body must be an object")
    return value


def read_insert(body: bytes) -> tuple[list[tuple[str, Any]], dict[str, Any]]:
    """The items of an insert's `rows`, each as (text as it came, value), and the body's other members.

    `rows` is left among the members where it is not an array. Raises `MalformedError` for a body that is not an object.
    """

    def read(text: str) -> tuple[list[tuple[str, Any]], dict[str, Any]]:
        reader = _Reader(text)
        items: list[tuple[str, Any]] = []
        members: dict[str, Any] = {}
        reader.take("{")
        while reader.peek() != "}":
            if members:
                reader.take(",")
            key = reader.value()
            if not isinstance(key, str) or key in members:
                raise MalformedError("an object names the same key twice, or one that is not a string")
            reader.take(":")
            if key == "rows" and reader.peek() == "[":
                items = reader.array()
                members[key] = None
            else:
                start = reader.at
                members[key] = reader.value()
                _check(text[start : reader.at], members[key])
        reader.take("}")
        reader.end()
        return items, members

    return _guarded(body, read)


def document(text: str, value: Any) -> Document:
    """A document to store. Raises `MalformedError` where it is not an object."""
    if not isinstance(value, dict):
        raise MalformedError("a row must be an object")
    _check(text, value)
    return Document(text, indexable(value.get("id")))


def parse(text: str) -> dict[str, Any]:
    """A stored document's value."""
    value: dict[str, Any] = _DECODER.decode(text)
    return value


def dump(value: Any) -> str:
    """JSON text: compact, characters as they are, integers in full. Raises `MalformedError` where JSON has no such."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise MalformedError(f"the result is not JSON: {error}") from error


def indexable(value: Any) -> str | int | float | None:
    """What SQLite compares a string or number by: integers beyond 64 bits become doubles, all else None."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, int) and value not in _INT64:
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return value
