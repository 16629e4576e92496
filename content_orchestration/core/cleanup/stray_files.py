"""What a stray is: a file in a tenant's store that no row names. Where it is seen, and let go, is not decided here."""

import re
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from content_orchestration.core.cleanup.guards import Refused
from content_orchestration.core.database import Database, Row
from content_orchestration.core.sql import statement

KIND = "stray_object"
LOCK = "stray_objects"
APART = timedelta(days=7)
"""Between the first and the last sighting, and the least age of a file that is let go."""
_OURS = re.compile(r"(?:variants/)?([0-9a-f]{64})(?:\.[0-9a-f-]{36}|/[A-Za-z0-9][A-Za-z0-9._-]*)?")


def place_of(location: str, key: str) -> str:
    """The `bucket/path` of a file, as CLEANUP_NEVER_DELETE_PREFIXES names places; a local path without its first /."""
    return f"{location.partition('://')[2].lstrip('/')}/{key}"


def unnamed(database: Database, tenant_id: UUID, keys: list[str]) -> list[str]:
    """The keys of a tenant that no row names."""
    with database.connection() as connection:
        values = {"tenant_id": tenant_id, "keys": keys}
        return [row["key"] for row in connection.execute(statement("cleanup/stray_unnamed"), values).fetchall()]


def refuse_nameless(tenants: Sequence[Row]) -> None:
    """Raise `Refused` where no row of any tenant names a file though some did at the last look."""
    if any(row["named_before"] for row in tenants) and not any(row["named"] for row in tenants):
        raise Refused(
            "empty_references",
            "no row names any stored file, and at the last look some did: restore media_objects and media_variants, or "
            "ingest the files again, before anybody looks for strays",
        )


def is_ours(key: str) -> bool:
    """Whether the key has a shape that this project writes."""
    return _OURS.fullmatch(key) is not None and key.startswith("variants/") == ("/" in key)


def sha256_of(key: str) -> str:
    """The SHA-256 that a key of ours begins with, or that of its source."""
    found = _OURS.fullmatch(key)
    assert found is not None  # noqa: S101  (only such keys are due)
    return found[1]
