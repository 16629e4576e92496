"""Whether the versions of every item follow one another, agree with its pointer, and have their documents.

The bodies of the versions are in `bodies.py`.
"""

import time
from collections.abc import Iterable
from contextlib import closing
from itertools import chain
from typing import Any

from content_orchestration.core.database import Database, Row
from content_orchestration.core.documents import Document, DocumentStore
from content_orchestration.core.integrity.fields import judge_fields, one_row_each
from content_orchestration.core.integrity.findings import SAMPLES, Comparison, Difference, Kind
from content_orchestration.core.integrity.looking import Clock, looking, stream, tenant_uuid
from content_orchestration.core.integrity.pairs import Named, Pairing, Pairs

COLLECTION = "content_versions"

_ITEMS = "content_storage_metadata"
_REASONS = {
    "no_item": "versions without an item",
    "no_version_row": "the item points to a version that has no record",
    "pointer_behind": "the item points to a version that is not the newest",
    "tenant": "versions of another tenant than the item's",
    "fields": "the item and the record of its version say different things",
}


def compare_versions(
    database: Database, store: DocumentStore, *, tenant_id: str | None = None, clock: Clock = time.monotonic
) -> Comparison:
    """Compare versions with their items and with their documents, of a tenant or all.

    Counted are items and version documents. Items and records are compared in one snapshot, since an update writes both
    in one transaction. Raises `Permanent` for a malformed tenant id; a tier that cannot be read makes the comparison
    unknown.
    """
    values = {"tenant": tenant_uuid(tenant_id)}
    with looking("versions", clock) as comparison:
        with closing(stream(database, "integrity/version_order", values)) as rows:
            for row in rows:
                comparison.differences += _out_of_order(row, comparison)
        pairs = Pairs(database, store, VERSIONS, comparison)
        with closing(stream(database, "integrity/versions_rows", values)) as rows:
            pairs.compare(one_row_each(rows))
        pairs.settle()
    return comparison


def missing_versions(held: Iterable[int], newest: int, first: int = 1) -> list[int]:
    """The first versions from `first` to `newest` that are not held, at most `SAMPLES`. `held` ascends from there.

    What lies below `first` was removed by retention.
    """
    missing: list[int] = []
    expected = first
    for version in chain(held, [newest + 1]):
        missing += range(expected, min(version, expected + SAMPLES))
        expected = version + 1
        if len(missing) >= SAMPLES:
            break
    return missing[:SAMPLES]


def _out_of_order(row: Row, comparison: Comparison) -> list[Difference]:
    """The differences of one item; the row without an id carries how many items were looked at."""
    if row["content_id"] is None:
        comparison.attempted += row["versions"]
        comparison.compared += row["versions"]
        return []
    found: list[Difference] = []
    content_id = str(row["content_id"])
    if row["gap"]:
        missing = missing_versions(row["held"], row["newest"], row["first"])
        detail: dict[str, Any] = {"missing": missing, "versions": row["versions"], "newest": row["newest"]}
        found.append(Difference(Kind.VERSION_GAP, COLLECTION, content_id, row["tenant_id"], detail))
    if row["reason"] is not None:
        detail = {
            "reason": row["reason"],
            "says": _REASONS[row["reason"]],
            "pointer": row["pointer"],
            "newest": row["newest"],
            "fields": row["fields"],
        }
        found.append(Difference(Kind.VERSION_DIFFERS, _ITEMS, content_id, row["tenant_id"], detail))
    return found


def _judge(named: Named, document: Document | None) -> list[Difference]:
    return judge_fields(COLLECTION, named, None if document is None else document | {"patch": _operations(document)})


def _operations(document: Document) -> Any:
    """The patch's operations: a document holds them as a list, or as the row does in an object."""
    patch = document.get("patch")
    return [] if patch is None else patch.get("operations", patch) if isinstance(patch, dict) else patch


VERSIONS = Pairing(COLLECTION, "integrity/versions_of_ids", one_row_each, _judge)
