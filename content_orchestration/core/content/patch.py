"""What changed between two versions, as RFC 6902 operations. The body is named by hash and size, never repeated."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

Operation = dict[str, Any]
# A diff of two long bodies grows with the product of their lines; past this many it says so and gives the hashes.
MAX_DIFF_LINES = 20_000


def operations(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Operation]:
    """What turns `old` into `new`: objects are compared by key, all else, arrays too, is replaced whole."""
    return list(_between(old, new, ""))


def _between(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[Operation]:
    for key in sorted(old.keys() | new.keys()):
        here = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
        if key not in new:
            yield {"op": "remove", "path": here}
        elif key not in old:
            yield {"op": "add", "path": here, "value": new[key]}
        elif isinstance(old[key], Mapping) and isinstance(new[key], Mapping):
            yield from _between(old[key], new[key], here)
        elif not _same(old[key], new[key]):
            yield {"op": "replace", "path": here, "value": new[key]}


def _same(left: Any, right: Any) -> bool:
    """Equality of JSON values: Python holds 1, 1.0 and True to be equal, JSON does not hold True to be a number."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)


def body_diff(old: str, new: str, old_name: str, new_name: str) -> str:
    """A unified diff of two bodies, empty where they are equal."""
    if old == new:
        return ""
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    if len(before) + len(after) > MAX_DIFF_LINES:
        return f"the bodies differ and have {len(before):,} and {len(after):,} lines: too many to show line by line\n"
    lines = difflib.unified_diff(before, after, old_name, new_name)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of body\n" for line in lines)
