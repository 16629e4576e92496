"""The queue: submit, claim, a worker's fenced writes, cancel, reap, close the books. No provider and no Dagster.

Every transition is one statement in one round trip: revisions 0008, 0016 and 0017 have the functions, 0008 the order of
their locks.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg import Connection

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Permanent
from content_orchestration.core.generation import budget, lease, retention, stats
from content_orchestration.core.generation import submit as submission
from content_orchestration.core.generation.adopt import Adopted, adopt_loose_items
from content_orchestration.core.generation.budget import Budget
from content_orchestration.core.generation.checks import dollars, storable
from content_orchestration.core.generation.errors import BudgetExceeded, UnknownBatch
from content_orchestration.core.generation.lease import Heartbeat
from content_orchestration.core.generation.model import (
    BatchStatus,
    Claimed,
    Done,
    FailOutcome,
    FailureCategory,
    NewBatch,
    NewItem,
    Phase,
    Reaped,
    Submitted,
)
from content_orchestration.core.generation.retention import Cleaned
from content_orchestration.core.generation.stats import Batch, QueueStats
from content_orchestration.core.quota.at_once import at_once, one
from content_orchestration.core.quota.decision import UnknownReservation
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.sql import statement

LEASE = timedelta(seconds=30)
HISTORY_DAYS = 90
RETRY_BASE = timedelta(seconds=2)
RETRY_LONGEST = timedelta(minutes=5)
# Queues that one reap visits, and batches that it closes.
_A_REAP = 1_000


class GenerationQueue:
    """The queue of one database. `lease` is how long a silent worker keeps its items; time is always the database's."""

    def __init__(
        self,
        database: Database,
        ledger: QuotaLedger,
        *,
        lease: timedelta = LEASE,
        retry_base: timedelta = RETRY_BASE,
        retry_longest: timedelta = RETRY_LONGEST,
        history_days: int = HISTORY_DAYS,
    ) -> None:
        """`retry_base` doubles with each attempt up to `retry_longest`; the wait is random between none and that."""
        if lease <= timedelta(0):
            raise Permanent(f"lease is {lease}: it must be above 0")
        self._database = database
        self._ledger = ledger
        self.lease = lease
        self._retry = {"base": retry_base, "longest": retry_longest}
        self._history_days = history_days

    # --- batches -----------------------------------------------------------------------------------------------------

    def submit(self, batch: NewBatch, items: Sequence[NewItem], idempotency_key: str) -> Submitted:
        """Take 1 to 10,000 items into the queue, all or none, with quota and budget reserved once.

        The same content under the same key again answers the first batch and adds nothing. Raises `InvalidBatch`,
        `SubmissionKeyReused`, `BudgetExceeded`, and the ledger's errors.
        """
        return submission.submit(self._database, self._ledger, batch, items, idempotency_key)

    def resubmit(self, batch_id: UUID, idempotency_key: str) -> Submitted:
        """What failed or was cancelled of a batch, as a new batch of the same parameters.

        Raises `UnknownBatch` where there is no such batch or nothing of it to do again, and as `submit`.
        """
        found = self.batch(batch_id)
        with self._database.connection() as connection:
            rows = connection.execute(statement("generation/failed_items"), {"batch_id": batch_id}).fetchall()
        if found is None or not rows:
            raise UnknownBatch(f"batch {batch_id} has no failed or cancelled items: there is nothing to do again")
        again = NewBatch(
            found.tenant_id, found.brand_id, found.user_id, found.job_type, found.content_type, found.params,
            found.priority, max_cost_usd=found.max_cost_usd,
        )  # fmt: skip
        items = [
            NewItem(row["topic_id"], row["article_id"], row["request_data"], priority=row["priority"]) for row in rows
        ]
        return self.submit(again, items, idempotency_key)

    def adopt_loose(self) -> list[Adopted]:
        """Put queued rows of the older shape, which have no batch, into batches: one a tenant and call.

        Raises `Transient`. A tenant whose quota or budget has no room for them keeps them, with the reason.
        """
        return adopt_loose_items(self._database, self._ledger)

    def batch(self, batch_id: UUID) -> Batch | None:
        """The batch with its counters as they are now; None where there is none."""
        return stats.read_batch(self._database, batch_id)

    def finish_batch(self, batch_id: UUID) -> BatchStatus | None:
        """Close the books of a batch of which nothing is open: its status then, or None while something is.

        What is left of its quota and budget goes back, once however often it is asked. Raises `UnknownBatch`.
        """
        with self._database.connection() as connection:
            return self._finish(connection, batch_id)

    def cancel_batch(self, tenant_id: UUID, batch_id: UUID) -> int:
        """Cancel all items that are open, and close the books; how many. Workers see `False` at their next write.

        Raises `UnknownBatch` where the tenant has no such batch.
        """
        with self._database.connection() as connection:
            cancelled = self._cancel(connection, tenant_id, batch_id, None)
            if cancelled is None:
                raise UnknownBatch(f"batch_id {batch_id} is not a batch of tenant {tenant_id}: nothing was cancelled")
            self._finish(connection, batch_id)
        return cancelled

    def cancel_item(self, tenant_id: UUID, item_id: str) -> int:
        """Cancel one item that is open: 1, or 0 where it has ended or is none of the tenant's."""
        with self._database.connection() as connection:
            values = {"id": item_id, "tenant_id": tenant_id}
            row = connection.execute(statement("generation/queue_of"), values).fetchone()
            if row is None:
                return 0
            cancelled = self._cancel(connection, tenant_id, row["queue_id"], item_id) or 0
            if cancelled and row["batch_id"] is not None:
                self._finish(connection, row["batch_id"])
        return cancelled

    # --- a worker's writes -------------------------------------------------------------------------------------------

    def claim(self, n: int, worker: str, *, batch_id: UUID | None = None) -> list[Claimed]:
        """Up to `n` items for `worker`, of one batch or fairly of all; at most ten of a batch run at once.

        Tenants in turn; within a tenant the batch of higher priority, then the older one; within a batch likewise.
        Each claim counts as an attempt. An empty list says that nothing is due for now, or that fifty of the batch
        wait to be stored.
        """
        if n < 1:
            raise Permanent(f"n is {n}: a claim is for at least one item")
        values = {"most": n, "worker": storable(worker, 200), "lease": self.lease, "queue_id": batch_id}
        with at_once(self._database) as connection:
            rows = connection.execute(statement("generation/claim"), values).fetchall()
            if not rows and batch_id is None:
                # Others may have been quicker in each queue that it looked at.
                rows = connection.execute(statement("generation/claim"), values).fetchall()
        return [Claimed(**row) for row in rows]

    def progress(self, claimed: Claimed, phase: Phase, percentage: int, step: str) -> bool:
        """Say how far an item is. False: the fence refused, so stop working on it."""
        values = _fence(claimed) | {
            "phase": Phase(phase).value,
            "percentage": min(max(int(percentage), 0), 99),
            "step": storable(step, 500),
        }
        with at_once(self._database) as connection:
            return connection.execute(statement("generation/progress"), values).rowcount == 1

    def hold(self, claimed: Claimed, step: str) -> bool:
        """From running to storing, once the text is there: its place among the ten is free, its lease goes on.

        False: the fence refused, so do not store it. Asked again, it answers the same.
        """
        values = _fence(claimed) | {"step": storable(step, 500)}
        with at_once(self._database) as connection:
            return bool(one(connection, "generation/hold", values)["held"])

    def begin_attempt(self, claimed: Claimed, provider: str, model: str) -> UUID | None:
        """Write a provider's call down before it is made; None where the fence refused.

        Raises `BudgetExceeded` where the batch has spent its max_cost_usd: fail the item with category quota then.
        """
        values = _fence(claimed) | {"provider": storable(provider, 200), "model": storable(model, 200)}
        with at_once(self._database) as connection:
            row = connection.execute(statement("generation/begin_attempt"), values).fetchone()
        if row is None:
            return None
        if row["attempt_id"] is None:
            raise BudgetExceeded(
                f"batch {claimed.batch_id} has spent {row['cost_usd']} of {row['max_cost_usd']} USD: no provider was "
                "called for this item; submit what is left with a higher max_cost_usd"
            )
        found: UUID = row["attempt_id"]
        return found

    def end_attempt(
        self,
        attempt_id: UUID,
        *,
        outcome: str,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cost_usd: Decimal = Decimal(0),
        message: str = "",
    ) -> None:
        """Write down how a call ended and what it cost, once, also after the item was lost: the money is spent.

        `outcome` is `succeeded` or a failure category. A call that is reported late is added to books that are closed.
        """
        values = {
            "attempt_id": attempt_id,
            "outcome": outcome if outcome == "succeeded" else FailureCategory(outcome).value,
            "input_tokens": max(int(input_tokens), 0),
            "output_tokens": max(int(output_tokens), 0),
            "cost_usd": dollars("cost_usd", cost_usd),
            "message": storable(message),
        }
        with at_once(self._database) as connection:
            one(connection, "generation/end_attempt", values)

    def complete_in(self, connection: Connection[Row], done: Sequence[tuple[Claimed, Done]]) -> list[str]:
        """Complete items in the caller's transaction; the ids that the fence accepted. Write content for those alone.

        Until the transaction ends it holds the rows of their batches, so it comes late, but before the quota's.
        """
        if not done:
            return []
        values = {
            "ids": [claimed.id for claimed, _ in done],
            "tokens": [claimed.token for claimed, _ in done],
            "contents": [result.content_id for _, result in done],
            "words": [result.word_count for _, result in done],
            "scores": [result.seo_score for _, result in done],
            "providers": [storable(result.provider, 200) for _, result in done],
            "bytes": [result.storage_bytes for _, result in done],
        }
        return [row["id"] for row in connection.execute(statement("generation/complete"), values).fetchall()]

    def complete(self, done: Sequence[tuple[Claimed, Done]]) -> list[str]:
        """As `complete_in`, in a transaction of its own: for work whose result is stored elsewhere."""
        with at_once(self._database) as connection:
            return self.complete_in(connection, done)

    def fail(
        self, claimed: Claimed, category: FailureCategory, message: str, *, retry_after: float | None = None
    ) -> FailOutcome:
        """End an attempt: back into the queue for a later one, or for good. `stale` where the fence refused.

        Permanent categories are not tried again. `retry_after` are the seconds that the provider named; the random
        wait comes on top.
        """
        values = _fence(claimed) | self._retry | {
            "category": FailureCategory(category).value,
            "message": storable(message),
            "final": FailureCategory(category).permanent,
            # A provider that names a day or more is not waited for longer than that.
            "after": timedelta(seconds=min(max(retry_after or 0.0, 0.0), 86_400.0)),
        }  # fmt: skip
        with at_once(self._database) as connection:
            outcome: FailOutcome = one(connection, "generation/fail", values)["outcome"]
        return outcome

    def release(self, claimed: Claimed) -> bool:
        """Put an item back as if it had not been claimed, because its worker stops. False where the fence refused."""
        with at_once(self._database) as connection:
            return bool(one(connection, "generation/release", _fence(claimed))["released"])

    def renew(self, held: Iterable[Claimed]) -> set[str]:
        """Renew the leases of a worker's items once; the ids that are lost. `heartbeat` does it in its own thread."""
        with at_once(self._database) as connection:
            return lease.renew(connection, ((item.id, item.token) for item in held), self.lease)

    def heartbeat(self, worker: str = "", *, reap: bool = True) -> Heartbeat:
        """A heartbeat for a worker's items, to be entered: `add` them when claimed, `discard` them when they end."""
        return Heartbeat(self._database, lease=self.lease, reap=reap)

    # --- upkeep ------------------------------------------------------------------------------------------------------

    def reap(self) -> Reaped:
        """Take back items whose lease has expired, close books that a dead run left open, renew open reservations."""
        with at_once(self._database) as connection:
            row = one(connection, "generation/reap", {"most": _A_REAP})
            lease.renew_reservations(connection, None)
            left = connection.execute(statement("generation/unfinished"), {"most": _A_REAP}).fetchall()
        closed = sum(self.finish_batch(unfinished["id"]) is not None for unfinished in left)
        return Reaped(row["retried"], row["failed"], closed)

    def recount(self, queue_id: UUID) -> bool:
        """Count a batch's counters anew, after rows were changed by hand; whether they were wrong.

        For rows without a batch the id is their tenant's. Raises `UnknownBatch`.
        """
        with at_once(self._database) as connection:
            changed = one(connection, "generation/recount", {"queue_id": queue_id})["changed"]
        if changed is None:
            raise UnknownBatch(f"{queue_id} is neither a batch nor a tenant that has jobs: nothing was counted")
        return bool(changed)

    def cleanup(self) -> Cleaned:
        """Move items that ended more than 24 hours ago to the history, and drop days of it that are too old."""
        return retention.clean_up(self._database, self._history_days)

    # --- reading -----------------------------------------------------------------------------------------------------

    def stats(self, tenant_id: UUID | None = None) -> QueueStats:
        """The queue at this moment, of one tenant or of all."""
        return stats.read_stats(self._database, tenant_id)

    def job_progress(self, job_id: str) -> dict[str, Any]:
        """How far an item or a batch is; an unknown id gives a document with the key `error`."""
        return stats.read_progress(self._database, job_id)

    def budget(self, tenant_id: UUID) -> Budget:
        """What a tenant may spend this month, has reserved and has spent."""
        return budget.read_budget(self._database, tenant_id)

    def set_budget(self, tenant_id: UUID, limit_usd: Decimal | None) -> None:
        """Limit what a tenant spends a month, from this one on; None for no limit."""
        limit = None if limit_usd is None else dollars("limit_usd", limit_usd)
        budget.set_limit(self._database, tenant_id, limit)

    def _cancel(self, connection: Connection[Row], tenant: UUID, queue: UUID, item: str | None) -> int | None:
        values = {"tenant_id": tenant, "queue_id": queue, "item_id": item}
        cancelled: int | None = one(connection, "generation/cancel", values)["cancelled"]
        return cancelled

    def _finish(self, connection: Connection[Row], batch_id: UUID) -> BatchStatus | None:
        row = one(connection, "generation/finish", {"batch_id": batch_id})
        if row["outcome"] == "unknown":
            raise UnknownBatch(f"batch_id {batch_id} is no batch: see content_generation_jobs")
        if row["outcome"] == "open":
            return None
        if row["reservation_id"] is not None:
            # One that expired and was pruned holds nothing any more.
            with suppress(UnknownReservation):
                self._ledger.release_in(connection, row["reservation_id"])
        return BatchStatus(row["status"])


def _fence(claimed: Claimed) -> dict[str, Any]:
    return {"id": claimed.id, "token": claimed.token}
