"""Says of renders whether each is an orphan, by the platform's own tables and not by what was noted earlier.

Called twice: without locks by a scan, and under the rows' locks by quarantine and delete. Nothing is written here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import Connection

from content_orchestration.core.cleanup.addresses import AddressRefused, Location
from content_orchestration.core.cleanup.context import OrphanContext
from content_orchestration.core.cleanup.holds import HELD, held_tenants
from content_orchestration.core.database import Row
from content_orchestration.core.sql import statement

ORPHAN = "orphan"
SAVED = "saved"
YOUNG = "young"
REFUSED = "refused"
KEPT = "kept"
UNKNOWN_TENANT = "unknown_tenant"
OVER = frozenset({SAVED, "gone", "not_completed", "no_output"})
"""Verdicts of what is no candidate any more."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a render is. `reason` says more where it is refused or kept; `location` is there for orphans."""

    job_id: UUID
    verdict: str
    reason: str
    tenant_id: UUID | None
    location: Location | None
    file_key: UUID | None
    file_needed: bool
    """Another render that is no orphan, or somebody else's, names the same file."""


def judge(
    connection: Connection[Row], context: OrphanContext, ids: Sequence[UUID], cutoff: datetime
) -> dict[UUID, Verdict]:
    """The verdict on each of the renders. Takes C2's shared lock of holds, so none is placed before the commit.

    Whatever PostgreSQL raises while references are read is raised: nobody may take a failed look for "not saved".
    """
    held = held_tenants(connection)
    connection.execute(statement("cleanup/by_index"))
    values = {"ids": list(ids), "cutoff": cutoff}
    rows = connection.execute(statement("cleanup/orphan_verdicts"), values).fetchall()
    return {row["job_id"]: _verdict(row, context, held) for row in rows}


def _verdict(row: Row, context: OrphanContext, held: frozenset[UUID]) -> Verdict:
    verdict, reason, location = row["verdict"], row["verdict"], None
    if verdict == ORPHAN:
        try:
            location = context.places.locate(row["output_url"], row["tenant_id"], row["user_id"])
        except AddressRefused as refused:
            verdict, reason = REFUSED, refused.reason
        else:
            kept = _kept(row["tenant_id"], location, context, held)
            verdict, reason = (KEPT, kept) if kept else (verdict, reason)
    return Verdict(
        row["job_id"], verdict, reason, row["tenant_id"], location, row["file_key"], row["file_needed"],
    )  # fmt: skip


def _kept(tenant_id: UUID | None, location: Location, context: OrphanContext, held: frozenset[UUID]) -> str | None:
    if tenant_id is None:
        # Whose it is nobody knows, so nobody knows whether a hold covers it.
        return UNKNOWN_TENANT
    return HELD if tenant_id in held else context.never.forbids(tenant_id, str(location))
