"""Checks what came from the history before anything is written: each row and body must have the hash it came with.

The hash that a body must have is the one in its row, which is covered by the row's own. No I/O here.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import orjson

from content_orchestration.core.identity import sha256_hex
from content_orchestration.core.replication.tables import CONTENT_MEDIA, CONTENT_STORAGE, CONTENT_VERSIONS, Entity

if TYPE_CHECKING:
    import pyarrow as pa

_BODY = ("id", "tenant_id", "version", "zerodb_row_id", "body_sha256", "storage_size_bytes")
# Columns that documents are made of; all of them are there since the first revision.
_NEEDED: Mapping[str, tuple[str, ...]] = {
    CONTENT_STORAGE.name: (*_BODY, "title", "content_type"),
    CONTENT_VERSIONS.name: (*_BODY, "content_id", "changed_by", "change_reason", "patch"),
    CONTENT_MEDIA.name: (
        "id", "tenant_id", "content_id", "zerodb_row_id", "kind", "url", "public_url", "external_id", "mime_type",
        "size_bytes",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rejected:
    """Something of the history that is not fit to be written. Goes into `restore_quarantine` with its payload."""

    entity: str
    entity_id: str
    tenant_id: str | None
    sync_id: int | None
    reason: str
    detail: str
    expected_sha256: str | None = None
    found_sha256: str | None = None
    payload: str | None = None


@dataclass(slots=True)
class CheckedRow:
    """A row whose hash is right. `fields` are the values that its documents are made of, if any; `body` as it came.

    Nobody changes one. Not frozen, since that doubles the time to make one, and there is one a row.
    """

    entity_id: str
    tenant_id: str
    sync_id: int
    row_json: str
    fields: dict[str, Any] = field(default_factory=dict)
    body: str | None = None


@dataclass
class CheckedRows:
    """A chunk after the check."""

    rows: list[CheckedRow] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


def checked(table: "pa.Table", entity: Entity, *, documents: bool) -> CheckedRows:
    """Check every row of a chunk. With `documents` rows are taken apart, since documents are made of their values."""
    result = CheckedRows()
    names = ("entity_id", "tenant_id", "sync_id", "row_json", "row_sha256")
    columns = [table.column(name).to_pylist() for name in names]
    bodies = table.column("body").to_pylist() if "body" in table.column_names else [None] * table.num_rows
    needed = _NEEDED[entity.name]
    values = itemgetter(*needed)
    for entity_id, tenant_id, sync_id, row_json, row_sha256, body in zip(*columns, bodies, strict=True):
        text = row_json.encode()
        found = hashlib.sha256(text).hexdigest()
        if found != row_sha256:
            result.rejected.append(
                Rejected(
                    entity.name, entity_id, tenant_id, sync_id, "row_sha256",
                    "the row in the history does not have the hash that it was written with",
                    row_sha256, found, row_json,
                )
            )  # fmt: skip
            continue
        if not documents:
            result.rows.append(CheckedRow(entity_id, tenant_id, sync_id, row_json))
            continue
        try:
            # Only what is needed is kept: a quarter of the time goes into keeping whole rows.
            fields = dict(zip(needed, values(orjson.loads(text)), strict=True))
        except (orjson.JSONDecodeError, KeyError, TypeError):
            fields = {}
        row = CheckedRow(entity_id, tenant_id, sync_id, row_json, fields, body)
        if fields.get("id") == entity_id:
            result.rows.append(row)
        else:
            result.rejected.append(rejected(entity, row, "row_refused", "is no row of this table and id"))
    return result


def body_fault(row: CheckedRow) -> tuple[str, str, str | None] | None:
    """Why the body of a row cannot be used: reason, detail, hash that was found; None where it can."""
    if row.body is None:
        return (
            "body_missing",
            "the history has no body for this row: replication_quarantine of that time says why",
            None,
        )
    found = sha256_hex(row.body)
    if found != row.fields["body_sha256"]:
        return "body_sha256", "the body in the history does not have the hash that its row names", found
    return None


def rejected(entity: Entity, row: CheckedRow, reason: str, detail: str) -> Rejected:
    """A row that turned out unfit behind its hash."""
    return Rejected(
        entity.name, row.entity_id, row.tenant_id, row.sync_id, reason, detail, payload=row.row_json
    )  # fmt: skip
