"""Takes a batch into the queue: one transaction, all or nothing, once a key. What it must obey is in `checks.py`."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from psycopg import Connection
from psycopg.errors import UniqueViolation

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Transient
from content_orchestration.core.generation import budget
from content_orchestration.core.generation.checks import checked_batch, checked_items, fingerprint, text
from content_orchestration.core.generation.errors import InvalidBatch, SubmissionKeyReused
from content_orchestration.core.generation.model import MAX_ATTEMPTS, NewBatch, NewItem, Submitted
from content_orchestration.core.quota.decision import QuotaExceeded
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.quota.reservation import GENERATION
from content_orchestration.core.sql import statement

# Renewed while the batch is open, by heartbeats and by whoever reaps; a day bridges an outage of both.
RESERVATION_TTL = timedelta(hours=24)


def submit(
    database: Database, ledger: QuotaLedger, batch: NewBatch, items: Sequence[NewItem], idempotency_key: str
) -> Submitted:
    """The batch in the queue, with quota and budget reserved; with a known key, the batch that is there already.

    Raises `InvalidBatch`, `SubmissionKeyReused`, `BudgetExceeded`, and the ledger's `QuotaExceeded`, `UnknownTenant`
    and `UnknownBrand`: nothing is written then.
    """
    values = checked_batch(batch)
    rows = checked_items(items)
    values |= {
        "idempotency_key": text("idempotency_key", idempotency_key),
        "request_sha256": fingerprint(values, rows),
        "items": len(rows),
        "max_attempts": MAX_ATTEMPTS,
    }
    try:
        return _submitted(database, ledger, values, rows)
    except QuotaExceeded:
        # Reservations of batches that died may hold the room.
        if not ledger.reap(values["tenant_id"]).reservations:
            raise
    return _submitted(database, ledger, values, rows)


def _submitted(
    database: Database, ledger: QuotaLedger, values: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> Submitted:
    named = {**values, "batch_id": uuid4()}
    with database.connection() as connection:
        if connection.execute(statement("generation/insert_batch"), named).fetchone() is None:
            return _known(connection, named)
        _insert_items(connection, named, rows)
        connection.execute(statement("generation/open_lane"), named)
        month, held = budget.reserve(connection, named["tenant_id"], named["max_cost_usd"])
        # The tenant's row is the hottest, so it comes behind all that takes time.
        reservation = ledger.reserve_in(
            connection,
            named["tenant_id"],
            named["brand_id"],
            bytes=named["estimated"] * len(rows),
            items=len(rows),
            reason=GENERATION,
            ttl=RESERVATION_TTL,
        )
        connection.execute(
            statement("generation/insert_queue"),
            {**named, "month": month, "held_usd": held, "reservation_id": reservation.id},
        )
    return Submitted(named["batch_id"], len(rows), replay=False)


def _insert_items(connection: Connection[Row], values: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    batch: UUID = values["batch_id"]
    columns = {
        # In the order given: the number decides within a priority.
        "ids": [row["id"] or f"{batch}.{number:05d}" for number, row in enumerate(rows)],
        "topics": [row["topic_id"] for row in rows],
        "articles": [row["article_id"] for row in rows],
        "requests": [row["request"] for row in rows],
        "priorities": [row["priority"] for row in rows],
    }
    try:
        connection.execute(statement("generation/insert_items"), {**values, **columns})
    except UniqueViolation as error:
        raise InvalidBatch(
            f"an item has an id that is taken ({error.diag.message_detail}): give another one, or none. "
            "Nothing was written"
        ) from error


def _known(connection: Connection[Row], values: Mapping[str, Any]) -> Submitted:
    row = connection.execute(statement("generation/known_batch"), values).fetchone()
    if row is None:
        raise Transient("the batch of this idempotency key was deleted at this moment: submit again")
    if row["request_sha256"] != values["request_sha256"]:
        raise SubmissionKeyReused(
            f"idempotency_key {values['idempotency_key']!r} belongs to batch {row['batch_id']}, which has other "
            "content: use a key of its own for each batch. Nothing was written"
        )
    return Submitted(row["batch_id"], row["items"], replay=True)
