"""Puts queued rows of the older shape, which have no batch, into batches: then they are worked and paid as any.

A batch of them is of one tenant and one content type, and reserves quota and budget as a submission does. What does
not fit stays as it is, with the reason.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID, uuid4

from psycopg import Connection

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Permanent
from content_orchestration.core.generation import budget
from content_orchestration.core.generation.checks import checked_batch
from content_orchestration.core.generation.model import MOST_ITEMS_A_BATCH, NewBatch
from content_orchestration.core.generation.submit import RESERVATION_TTL
from content_orchestration.core.quota.at_once import one
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.quota.reservation import GENERATION
from content_orchestration.core.sql import statement

JOB_TYPE = "adopted"
_TENANTS = 100


@dataclass(frozen=True)
class Adopted:
    """What became of a tenant's rows: the batch they are in, or why they wait."""

    tenant_id: UUID
    batch_id: UUID | None
    items: int
    why: str = ""


def adopt_loose_items(
    database: Database, ledger: QuotaLedger, *, most: int = MOST_ITEMS_A_BATCH, new_id: Callable[[], UUID] = uuid4
) -> list[Adopted]:
    """One batch of up to `most` items a tenant that has such rows. Raises `Transient`; a refusal is an answer."""
    with database.connection() as connection:
        rows = connection.execute(statement("generation/adopt_waiting"), {"most": _TENANTS}).fetchall()
    adopted = []
    for row in rows:
        try:
            with database.connection() as connection:
                made = _adopt(connection, ledger, row["tenant_id"], most, new_id())
        except Permanent as refusal:
            made = Adopted(row["tenant_id"], None, 0, str(refusal))
        if made.items or made.why:
            adopted.append(made)
    return adopted


def _adopt(connection: Connection[Row], ledger: QuotaLedger, tenant: UUID, most: int, batch_id: UUID) -> Adopted:
    connection.execute(statement("generation/open_lane"), {"tenant_id": tenant})
    values = {"tenant_id": tenant, "batch_id": batch_id, "most": most}
    connection.execute(statement("generation/adopt_lock"), values)
    found = one(connection, "generation/adopt_items", values)
    if found["ids"] is None:
        # Somebody else was faster.
        return Adopted(tenant, None, 0)
    items = len(found["ids"])
    room = _room(connection, tenant)
    batch = NewBatch(tenant, job_type=JOB_TYPE, content_type=found["content_type"], max_cost_usd=room)
    named = values | checked_batch(batch) | {"items": items, "idempotency_key": None, "request_sha256": None}
    connection.execute(statement("generation/insert_batch"), named)
    connection.execute(statement("generation/adopt_move"), named | {"ids": found["ids"]})
    month, held = budget.reserve(connection, tenant, room)
    reservation = ledger.reserve_in(
        connection, tenant, None,
        bytes=batch.estimated_bytes_per_item * items, items=items, reason=GENERATION, ttl=RESERVATION_TTL,
    )  # fmt: skip
    queue = {"month": month, "held_usd": held, "reservation_id": reservation.id}
    connection.execute(statement("generation/insert_queue"), named | queue)
    return Adopted(tenant, batch_id, items)


def _room(connection: Connection[Row], tenant: UUID) -> Decimal | None:
    """What is left of the tenant's month, for the batch to spend at most; None where there is no limit."""
    month = one(connection, "generation/budget", {"tenant_id": tenant})
    limit: Decimal | None = month["limit_usd"]
    return None if limit is None else max(limit - month["reserved_usd"] - month["spent_usd"], Decimal(0))
