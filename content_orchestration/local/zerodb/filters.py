"""Turns MongoDB-style filters and sort orders into SQL over JSON. Only field names of plain characters enter the SQL
text; every value, and every other field name, is bound.

Rules: a range operator compares strings with strings (by code point) and numbers with numbers; null equals a missing
field; `$ne` and `$nin` match a missing field; arrays and objects are equal as wholes, and a dotted path steps through
objects only. Beyond 64 bits numbers compare as doubles. Where a document holds U+0000 (PostgreSQL's text cannot),
SQLite may end the string there when it compares; the `id` column compares in full.
"""

import json
import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from content_orchestration.local.zerodb.documents import MAX_PATH, MalformedError, dump, indexable, parse

MAX_NESTING = 8
"""Levels of `$and` and `$or`: SQLite's parser has a stack of 100 and each level takes several places of it."""
MAX_VALUES = 30_000
"""Values in one filter: SQLite's default limit of bound variables is 32,766."""
MAX_SQL = 1_000_000
"""Characters of SQL that one filter may become."""
_GROUP = 100

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)*")
_RANGE = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
MISSING = object()
"""What `reach` gives where there is no such field. It equals nothing."""

Value = str | int | float | None


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of SQL and the values for its question marks."""

    sql: str
    params: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Field:
    """How to reach one field: its value, its JSON type (NULL where missing), and the tests that an index can answer."""

    name: str
    value: Fragment
    kind: Fragment
    is_text: Fragment
    is_number: Fragment


def extract_sql(name: str) -> str | None:
    """The expression that reads a plainly named field, the same text in filter and index; None for other names."""
    if not _PLAIN.fullmatch(name):
        return None
    return f"json_extract(doc,{_path(name)})"


def _path(name: str) -> str:
    return "'$" + "".join(f'."{part}"' for part in name.split(".")) + "'"


def field(name: str) -> Field:
    """The way to a field by its dotted name; the top-level `id` has a column of its own. Raises `MalformedError`."""
    if name.count(".") >= MAX_PATH:
        raise MalformedError(f"a field's path has more than {MAX_PATH} parts")
    extract = extract_sql(name)
    if extract is None:
        value, kind = Fragment("zerodb_value(doc,?)", (name,)), Fragment("zerodb_type(doc,?)", (name,))
    else:
        value, kind = Fragment(extract), Fragment(f"json_type(doc,{_path(name)})")
    if name == "id":
        text, number = "typeof(doc_id)='text'", "typeof(doc_id) IN ('integer','real')"
        return Field(name, Fragment("doc_id"), kind, Fragment(text), Fragment(number))
    is_text = Fragment(f"{kind.sql}='text'", kind.params)
    is_number = Fragment(f"{kind.sql} IN ('integer','real')", kind.params)
    return Field(name, value, kind, is_text, is_number)


def _join(word: str, parts: Sequence[Fragment]) -> Fragment:
    # In groups: SQLite takes expressions 1000 deep at most, and a chain is as deep as it is long.
    while len(parts) > 1:
        parts = [
            Fragment(
                "(" + f" {word} ".join(part.sql for part in parts[at : at + _GROUP]) + ")",
                tuple(value for part in parts[at : at + _GROUP] for value in part.params),
            )
            for at in range(0, len(parts), _GROUP)
        ]
    return parts[0]


def _not(part: Fragment) -> Fragment:
    return Fragment(f"NOT ifnull({part.sql},0)", part.params)


def _compare(target: Field, operator: str, values: Sequence[Any]) -> Fragment:
    """`value operator (?, ..)`, true only where the stored type is the type of the given values."""
    test = target.is_text if isinstance(values[0], str) else target.is_number
    bound = tuple(indexable(value) for value in values)
    marks = f"({','.join('?' * len(bound))})" if operator == "IN" else "?"
    sql = f"({target.value.sql} {operator} {marks} AND {test.sql})"
    return Fragment(sql, (*target.value.params, *bound, *test.params))


def _equals(target: Field, value: Any) -> Fragment:
    if value is None:
        sql = f"({target.value.sql} IS NULL AND ifnull({target.kind.sql},'null')='null')"
        return Fragment(sql, target.value.params + target.kind.params)
    if isinstance(value, bool):
        return Fragment(f"{target.kind.sql} IS '{'true' if value else 'false'}'", target.kind.params)
    if isinstance(value, list | dict):
        return Fragment("zerodb_equal(doc,?,?)", (target.name, dump(value)))
    return _compare(target, "=", [value])


def _among(target: Field, values: Any, operator: str) -> Fragment:
    if not isinstance(values, list):
        raise MalformedError(f"{operator} takes an array")
    texts = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    parts = [_compare(target, "IN", group) for group in (texts, numbers) if group]
    parts += [_equals(target, value) for value in values if value is None or isinstance(value, bool | list | dict)]
    return _join("OR", parts) if parts else Fragment("0")


def _operator(target: Field, operator: str, value: Any) -> Fragment:
    if operator in ("$eq", "$ne"):
        return _equals(target, value) if operator == "$eq" else _not(_equals(target, value))
    if operator in ("$in", "$nin"):
        found = _among(target, value, operator)
        return found if operator == "$in" else _not(found)
    if operator in _RANGE:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise MalformedError(f"{operator} takes a string or a number")
        return _compare(target, _RANGE[operator], [value])
    if operator == "$exists":
        if not isinstance(value, bool):
            raise MalformedError("$exists takes true or false")
        return Fragment(f"{target.kind.sql} IS {'NOT ' if value else ''}NULL", target.kind.params)
    raise MalformedError(f"unknown operator {operator}")


def _condition(name: str, value: Any, nesting: int) -> Fragment:
    if name in ("$and", "$or"):
        if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
            raise MalformedError(f"{name} takes a non-empty array of filters")
        if nesting >= MAX_NESTING:
            raise MalformedError(f"more than {MAX_NESTING} levels of $and and $or")
        return _join(name[1:].upper(), [_filter(item, nesting + 1) for item in value])
    if name.startswith("$"):
        raise MalformedError(f"unknown operator {name}")
    target = field(name)
    if isinstance(value, dict) and any(key.startswith("$") for key in value):
        return _join("AND", [_operator(target, key, operand) for key, operand in value.items()])
    return _equals(target, value)


def _filter(given: dict[str, Any], nesting: int) -> Fragment:
    return _join("AND", [_condition(name, value, nesting) for name, value in given.items()] or [Fragment("1")])


def compile_filter(given: Any) -> Fragment:
    """The SQL condition of a filter; the empty filter matches every row. Raises `MalformedError`."""
    if not isinstance(given, dict):
        raise MalformedError("filter must be an object")
    condition = _filter(given, 0)
    if len(condition.params) > MAX_VALUES or len(condition.sql) > MAX_SQL:
        raise MalformedError(f"the filter is too long: at most {MAX_VALUES} values")
    return condition


def compile_sort(given: Any) -> Fragment:
    """The ORDER BY of a sort; rows that are equal by it, or all where it is empty, keep the order of insertion."""
    if not isinstance(given, dict) or len(given) > 64:
        raise MalformedError("sort must be an object of at most 64 fields")
    parts: list[Fragment] = []
    word = "ASC"
    for name, direction in given.items():
        if isinstance(direction, bool) or direction not in (1, -1):
            raise MalformedError("sort takes 1 or -1 for each field")
        if name.startswith("$"):
            raise MalformedError(f"unknown operator {name}")
        value = field(name).value
        word = "ASC" if direction == 1 else "DESC"
        parts.append(Fragment(f"{value.sql} {word}", value.params))
    parts.append(Fragment(f"seq {word}"))
    return Fragment(", ".join(part.sql for part in parts), tuple(value for part in parts for value in part.params))


def reach(value: Any, name: str) -> Any:
    """What lies at a dotted path, or `MISSING` where the path ends early."""
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return MISSING
        value = value[part]
    return value


def same(left: Any, right: Any) -> bool:
    """Equality of JSON values: 1 equals 1.0 but not true, and the order of an object's keys does not matter."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def _sql_value(doc: str, name: str) -> Value:
    value = reach(parse(doc), name)
    if value is MISSING:
        return None
    return dump(value) if isinstance(value, dict | list) else int(value) if value is True else indexable(value)


def _sql_type(doc: str, name: str) -> str | None:
    value = reach(parse(doc), name)
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    kinds = {str: "text", int: "integer", float: "real", list: "array", dict: "object"}
    return kinds.get(type(value))


def _sql_equal(doc: str, name: str, given: str) -> bool:
    return same(reach(parse(doc), name), json.loads(given))


def register(connection: sqlite3.Connection) -> None:
    """Gives a connection the functions that compiled filters call for what SQLite's own cannot do exactly."""
    functions: dict[str, tuple[int, Callable[..., Value]]] = {
        "zerodb_value": (2, _sql_value),
        "zerodb_type": (2, _sql_type),
        "zerodb_equal": (3, _sql_equal),
    }
    for name, (arguments, function) in functions.items():
        connection.create_function(name, arguments, function, deterministic=True)
