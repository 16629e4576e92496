"""Writes what is known of a stored file: its variants, its look, its description in every row that names it.

One transaction for all of it, so a page sees the variants that it had or the next ones, and replication takes the rows
whole. Making the variants is in `processing.py`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

from psycopg import Connection

from content_orchestration.core.database import Database, Row
from content_orchestration.core.failpoints import reach
from content_orchestration.core.media.keys import variant_key
from content_orchestration.core.media.media_file import MediaFile
from content_orchestration.core.media.phash import NEAR, is_flat
from content_orchestration.core.media.tags import Tag
from content_orchestration.core.media.variants import EXTENSION, Variant
from content_orchestration.core.media.worker import Processed
from content_orchestration.core.sql import statement

# Pictures that one file is paired with: a product shot a hundred times is one finding, not 5,000 pairs.
_MOST_ALIKE = 20


@dataclass(frozen=True)
class Description:
    """What was found out about a file, ready to be written."""

    made_with: str
    processed: Processed
    tags: list[dict[str, Any]]
    tags_are: Literal["done", "wanted", "kept"]
    """`wanted`: a model is still to be asked; `kept`: they are those of the last description."""


def key_of(sha256: str, variant: Variant) -> str:
    """Where a variant is in the tenant's bucket: its own hash says what it is, its source's whose it is.

    Sources that differ in EXIF only have variants of the same bytes, and each keeps its own.
    """
    return variant_key(sha256, variant.width, EXTENSION[variant.format], variant.sha256)


def write_description(database: Database, file: MediaFile, found: Description, *, mark_near: bool) -> bool:
    """Write it all in one transaction; False where no live row names the file any more, and nothing is written.

    mark_near: whether pictures that look alike are paired and the later one named.
    """
    values = {"tenant_id": file.tenant_id, "sha256": file.sha256}
    variants = found.processed.variants
    keys = [key_of(file.sha256, variant) for variant in variants]
    with database.connection() as connection:
        if mark_near:
            connection.execute(statement("media/process_lock_tenant"), values)
        if not connection.execute(statement("media/process_lock_rows"), values).fetchall():
            return False
        described = describe(found, file.sha256)
        described |= _look(connection, file, found.processed.phash, mark_near=mark_near)
        connection.execute(statement("media/variants_replace"), values | {"keys": keys})
        for variant, key in zip(variants, keys, strict=True):
            connection.execute(
                statement("media/variants_insert"),
                values
                | {
                    "width": variant.width, "height": variant.height, "format": variant.format, "key": key,
                    "bytes": variant.size_bytes, "variant_sha256": variant.sha256, "made_with": found.made_with,
                },
            )  # fmt: skip
        description = json.dumps(described)
        done = {"made_with": found.made_with, "description": description, "tags": found.tags_are}
        connection.execute(statement("media/process_done"), values | done)
        describe_rows_in(connection, file.tenant_id, file.sha256, description)
        reach("media_described_uncommitted")
    return True


def write_failure(database: Database, file: MediaFile, reason: str, wait: timedelta | None) -> None:
    """Note why a file could not be described. Without `wait` it is for good, and its rows are marked failed.

    A file that has variants keeps them, and its rows their status: what failed was only to make other ones.
    """
    values = {"tenant_id": file.tenant_id, "sha256": file.sha256, "reason": reason}
    if wait is None and file.made_with is None:
        fail_rows(database, file, reason)
    with database.connection() as connection:
        connection.execute(statement("media/process_failed"), values | {"wait": wait})


def fail_rows(database: Database, file: MediaFile, reason: str) -> None:
    """Mark the rows that name a file as failed, with the reason."""
    values = {"tenant_id": file.tenant_id, "sha256": file.sha256, "reason": reason}
    with database.connection() as connection:
        connection.execute(statement("media/process_fail_rows"), values)


def describe_rows_in(connection: Connection[Row], tenant_id: UUID, sha256: str, description: str) -> int:
    """Put a description that is known already into the rows that lack it, in the caller's transaction; how many."""
    values = {"tenant_id": tenant_id, "sha256": sha256, "description": description}
    return connection.execute(statement("media/process_describe_rows"), values).rowcount


def describe(found: Description, sha256: str) -> dict[str, Any]:
    """The description as it stands in the rows' metadata."""
    described = found.processed.described
    told: dict[str, Any] = {
        "file": described.as_metadata() if described is not None else {},
        "variants": [
            {
                "width": variant.width, "height": variant.height, "mime_type": variant.mime_type,
                "bytes": variant.size_bytes, "key": key_of(sha256, variant),
            }
            for variant in found.processed.variants
        ],
        "tags": found.tags,
    }  # fmt: skip
    if found.processed.phash is not None:
        told["phash"] = found.processed.phash
    return told


def tags_as_json(tags: Sequence[Tag]) -> list[dict[str, Any]]:
    """Tags with where they come from."""
    return [{"name": each.name, "source": each.source, "confidence": each.confidence} for each in tags]


def _look(connection: Connection[Row], file: MediaFile, phash: str | None, *, mark_near: bool) -> dict[str, Any]:
    """Note how a picture looks and pair it with those that look the same; which one it names as its like."""
    if phash is None:
        return {}
    values = {"tenant_id": file.tenant_id, "sha256": file.sha256, "phash": signed(phash)}
    connection.execute(statement("media/process_look"), values)
    if not mark_near or is_flat(phash):
        return {}
    asked = values | {"near": NEAR, "described_at": file.described_at, "most": _MOST_ALIKE}
    alike: Sequence[Row] = connection.execute(statement("media/process_near"), asked).fetchall()
    for other in alike:
        pair = values | {"other": other["sha256"], "distance": other["distance"]}
        connection.execute(statement("media/process_near_insert"), pair)
    if not alike or not alike[0]["earlier"]:
        return {}
    return {"near_duplicate_of": {"sha256": alike[0]["sha256"], "distance": alike[0]["distance"]}}


def signed(phash: str) -> int:
    """The 64 bits of a perceptual hash as PostgreSQL's bigint has them."""
    value = int(phash, 16)
    return value - 2**64 if value >= 2**63 else value
