"""Rows that reference stored files, and what that does to the counters. The bytes themselves are not touched here.

The rule: a stored file counts once a tenant, and once in each brand that references it, however many rows do. A row
whose file is not stored counts with its recorded size. Variants do not count. The truth that reconciles says the same
(`sql/quota/truth_tenants.sql`, `quota_stored`). Lock order: row, object, brand, tenant.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.types.numeric import Int8

from content_orchestration.core.database import Database, Row
from content_orchestration.core.media.model import MediaObject
from content_orchestration.core.quota.decision import QuotaDecision, QuotaExceeded
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.quota.reservation import Reservation
from content_orchestration.core.sql import statement


@dataclass(frozen=True)
class Change:
    """What the counters move by. Bytes of the brand, bytes and files of the tenant."""

    tenant_id: UUID
    brand_id: UUID | None
    brand_bytes: int
    tenant_bytes: int
    tenant_files: int


def referencing(connection: Connection[Row], asset: Row, stored: MediaObject) -> Change:
    """What changes when this locked row, which had no file, references the locked object."""
    others = _others(connection, asset, stored.sha256, stored.key)
    recorded = int(asset["size_bytes"])
    return Change(
        asset["tenant_id"],
        asset["brand_id"],
        (0 if others["in_brand"] else stored.size_bytes) - recorded,
        (0 if others["in_tenant"] else stored.size_bytes) - recorded,
        -1 if others["in_tenant"] else 0,
    )


def count(connection: Connection[Row], ledger: QuotaLedger, change: Change, held: Reservation | None = None) -> None:
    """Move the counters, as the last statement of the transaction. Raises `QuotaExceeded`: then it must roll back.

    `held` is settled where it is what the change needs, and released where another writer was faster.
    """
    grown = change.tenant_bytes
    same = change.brand_id is None or change.brand_bytes == grown
    if held is not None and grown > 0 and same and change.tenant_files == 0:
        ledger.settle_in(connection, held, media_bytes=grown)
        return
    if held is not None:
        ledger.release_in(connection, held)
    values = {
        "tenant_id": change.tenant_id,
        "brand_id": change.brand_id,
        "brand_bytes": Int8(change.brand_bytes),
        "bytes": Int8(grown),
        "files": Int8(change.tenant_files),
    }
    row: dict[str, Any] = connection.execute(statement("media/count"), values).fetchone() or {}
    if row["outcome"] != "counted":
        scope = row["outcome"]
        asked = change.brand_bytes if scope == "brand" else grown
        plan = row["plan"] or "free"
        raise QuotaExceeded(
            f"tenant {change.tenant_id}",
            QuotaDecision(scope, row["used"], row["reserved"], row["quota"], asked, plan, plan_recognised=True),
        )


def remove_reference(database: Database, ledger: QuotaLedger, asset_id: UUID) -> bool:
    """Mark a row of media_assets as deleted and take out of the counters what nobody else references; False if gone."""
    with database.connection() as connection:
        return remove_reference_in(connection, ledger, asset_id)


def remove_reference_in(connection: Connection[Row], ledger: QuotaLedger, asset_id: UUID) -> bool:
    """As `remove_reference`, in the caller's transaction; it should be its last statement."""
    asset = connection.execute(statement("media/asset_lock"), {"id": asset_id}).fetchone()
    if asset is None:
        return False
    size = int(asset["size_bytes"])
    in_tenant = in_brand = False
    if asset["object_key"] is not None:
        values = {"tenant_id": asset["tenant_id"], "key": asset["object_key"]}
        connection.execute(statement("media/object_lock"), values)
        others = _others(connection, asset, asset["sha256"], asset["object_key"])
        in_tenant, in_brand = others["in_tenant"], others["in_brand"]
    connection.execute(statement("media/asset_delete"), {"id": asset_id})
    freed = Change(
        asset["tenant_id"],
        asset["brand_id"],
        0 if in_brand else -size,
        0 if in_tenant else -size,
        0 if in_tenant else -1,
    )
    count(connection, ledger, freed)
    return True


def _others(connection: Connection[Row], asset: Row, sha256: str, key: str) -> Row:
    values = {
        "id": asset["id"], "tenant_id": asset["tenant_id"], "brand_id": asset["brand_id"], "sha256": sha256, "key": key,
    }  # fmt: skip
    return connection.execute(statement("media/other_references"), values).fetchone() or {}
