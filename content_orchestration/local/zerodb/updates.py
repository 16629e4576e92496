"""What `$set`, `$unset` and `$inc` do to a document, and the document that an upsert begins with."""

import copy
from itertools import pairwise
from typing import Any

from content_orchestration.local.zerodb.documents import MAX_PATH, MalformedError

_OPERATORS = ("$set", "$unset", "$inc")


def check_update(update: Any) -> dict[str, dict[str, Any]]:
    """The update, checked. Raises `MalformedError` for unknown operators, wrong types and paths that collide."""
    if not isinstance(update, dict) or not update:
        raise MalformedError("update must be an object with at least one of $set, $unset, $inc")
    paths: list[tuple[str, ...]] = []
    for operator, fields in update.items():
        if operator not in _OPERATORS:
            raise MalformedError(f"unknown update operator {operator}")
        if not isinstance(fields, dict):
            raise MalformedError(f"{operator} takes an object of fields")
        for name, value in fields.items():
            if operator == "$inc" and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise MalformedError(f"$inc of {name} takes a number")
            if name.count(".") >= MAX_PATH:
                raise MalformedError(f"{operator} names a path of more than {MAX_PATH} parts")
            paths.append(tuple(name.split(".")))
    # A path sorts directly before its first extension, so neighbours show every collision.
    paths.sort()
    for shorter, longer in pairwise(paths):
        if longer[: len(shorter)] == shorter:
            raise MalformedError(f"the update names {'.'.join(shorter)} and {'.'.join(longer)}, which collide")
    return update


def apply_update(document: dict[str, Any], update: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A changed copy. Raises `MalformedError` where a path runs through no object, or `$inc` meets no number."""
    changed = copy.deepcopy(document)
    for name, value in update.get("$set", {}).items():
        parent, last = _parent(changed, name)
        parent[last] = copy.deepcopy(value)
    for name, amount in update.get("$inc", {}).items():
        parent, last = _parent(changed, name)
        present = parent.get(last, 0)
        if isinstance(present, bool) or not isinstance(present, int | float):
            raise MalformedError(f"$inc of {name}: what is stored there is not a number")
        try:
            parent[last] = present + amount
        except OverflowError as error:
            raise MalformedError(f"$inc of {name}: the sum does not fit a double") from error
    for name in update.get("$unset", {}):
        *path, last = name.split(".")
        place: Any = changed
        for part in path:
            place = place.get(part) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place.pop(last, None)
    return changed


def _parent(document: dict[str, Any], name: str) -> tuple[dict[str, Any], str]:
    *path, last = name.split(".")
    place = document
    for part in path:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise MalformedError(f"{name} runs through {part}, which is not an object")
    return place, last


def upsert_seed(given: dict[str, Any]) -> dict[str, Any]:
    """What an upserted document begins with: the fields that the filter fixes by equality.

    Raises `MalformedError` where two of them collide.
    """
    return apply_update({}, {"$set": _equalities(given)})


def _equalities(given: dict[str, Any]) -> dict[str, Any]:
    fixed: dict[str, Any] = {}
    for name, value in given.items():
        if name == "$and":
            for item in value:
                fixed.update(_equalities(item))
        elif not name.startswith("$"):
            operators = isinstance(value, dict) and any(key.startswith("$") for key in value)
            if not operators:
                fixed[name] = value
            elif "$eq" in value:
                fixed[name] = value["$eq"]
    return fixed
