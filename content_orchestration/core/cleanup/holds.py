"""Legal holds: while one stands, nothing of its tenant goes, whatever plan, age or orphan says.

Whoever removes something calls `held_tenants` in the transaction that removes it. No hold is placed between that call
and the end of the transaction, so a hold that was placed counts for every row that is removed after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import Connection

from content_orchestration.core.cleanup.audit import AuditEntry, record
from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Permanent
from content_orchestration.core.sql import statement

HELD = "legal_hold"
"""The reason under which engines count what they kept."""

_LONGEST_REASON = 1000
_LONGEST_NAME = 200


class UnderHold(Permanent):
    """The tenant is under a legal hold, and nothing of it was removed."""

    def __init__(self, tenant_id: UUID) -> None:
        super().__init__(
            f"tenant {tenant_id} is under a legal hold, so nothing of it was removed: release its holds first"
        )
        self.tenant_id = tenant_id


@dataclass(frozen=True)
class Hold:
    """A hold as it is written down; times are UTC. The last three are None while it stands."""

    hold_id: UUID
    tenant_id: UUID
    reason: str
    placed_by: str
    placed_at: datetime
    released_by: str | None = None
    release_reason: str | None = None
    released_at: datetime | None = None


def held_tenants(connection: Connection[Row]) -> frozenset[UUID]:
    """The tenants under a hold, as they stay until the connection's transaction ends.

    Takes a shared advisory lock; whoever places a hold waits for it. Call it before the first statement that removes,
    and keep the transaction short. Raises `Permanent` in a role that does not see the holds of all tenants, and
    whatever PostgreSQL raises: nobody may take a failed look for "no holds".
    """
    connection.execute(statement("cleanup/holds_lock_shared"))
    row = connection.execute(statement("cleanup/holds_standing")).fetchone()
    if row is None or not row["sees_all"]:
        raise Permanent(
            "legal_holds was read in a role that does not see every tenant's holds, so nothing was removed: read it as "
            "a member of content_worker, before the transaction becomes a tenant's"
        )
    return frozenset(row["tenants"])


def require_free(connection: Connection[Row], tenant_id: UUID) -> None:
    """Raise `UnderHold` where the tenant is under a hold; otherwise none is placed until the transaction ends."""
    if tenant_id in held_tenants(connection):
        raise UnderHold(tenant_id)


def place(database: Database, tenant_id: UUID, *, reason: str, placed_by: str) -> Hold:
    """Put the tenant under a hold, from this moment on; it waits for transactions that remove something just then.

    A tenant may stand under several holds, each with its own reason. Raises `Permanent` for an empty or overlong reason
    or name.
    """
    values = {
        "tenant_id": tenant_id,
        "reason": _words("reason", reason, _LONGEST_REASON),
        "placed_by": _words("placed_by", placed_by, _LONGEST_NAME),
    }
    with database.connection() as connection:
        connection.execute(statement("cleanup/holds_lock"))
        row = connection.execute(statement("cleanup/holds_place"), values).fetchone()
        hold = Hold(**(row or {}))
        record(connection, [_entry(hold, "placed", reason, placed_by)])
    return hold


def release(database: Database, hold_id: UUID, *, reason: str, released_by: str) -> Hold:
    """End one hold; others of the tenant go on. Raises `Permanent` where no hold of this id stands."""
    values = {
        "hold_id": hold_id,
        "reason": _words("reason", reason, _LONGEST_REASON),
        "released_by": _words("released_by", released_by, _LONGEST_NAME),
    }
    with database.connection() as connection:
        row = connection.execute(statement("cleanup/holds_release"), values).fetchone()
        if row is None:
            raise Permanent(
                f"hold {hold_id} was not released: none of this id stands; holds_of a tenant lists those that do"
            )
        hold = Hold(**row)
        record(connection, [_entry(hold, "released", reason, released_by)])
    return hold


def holds_of(database: Database, tenant_id: UUID) -> Sequence[Hold]:
    """Every hold of a tenant, ended ones too, the newest first."""
    with database.connection() as connection:
        rows = connection.execute(statement("cleanup/holds_of"), {"tenant_id": tenant_id}).fetchall()
    return [Hold(**row) for row in rows]


def _entry(hold: Hold, action: str, reason: str, by: str) -> AuditEntry:
    return AuditEntry(
        run_id=f"hold:{hold.hold_id}",
        kind="hold",
        action=action,
        tenant_id=hold.tenant_id,
        subject_id=str(hold.hold_id),
        reason=reason,
        detail={"by": by},
    )


def _words(name: str, text: str, longest: int) -> str:
    words = text.strip()
    if not 1 <= len(words) <= longest or "\x00" in words:
        raise Permanent(f"{name} has {len(words):,} characters: a hold needs 1 to {longest:,}, none of them NUL")
    return words
