"""Legal holds: while one stands, cleanup removes nothing of its tenant. Placed and released by hand."""

from uuid import UUID

import dagster as dg
from pydantic import Field

from content_orchestration.core.cleanup.holds import Hold, holds_of, place, release
from content_orchestration.core.database import Database
from content_orchestration.core.errors import Permanent
from content_orchestration.core.sql import statement
from content_orchestration.defs.cleanup.running import sample_table
from content_orchestration.defs.generation.identifier import identifier
from content_orchestration.failures import explained, stop_run_retries
from content_orchestration.resources.postgres import PostgresResource


class PlaceHoldConfig(dg.Config):
    """Whom it protects, why, and who says so."""

    tenant_id: str = Field(description="UUID of the tenant of whom nothing may go any more.")
    reason: str = Field(description="Why, 1 to 1,000 characters: a case number helps whoever releases it.")
    placed_by: str = Field(description="Who asks for it, 1 to 200 characters.")


class ReleaseHoldConfig(dg.Config):
    """Which hold ends, why, and who says so."""

    tenant_id: str = Field(description="UUID of the tenant: its holds are listed.")
    hold_id: str = Field(default="", description="Id of the hold that ends, from that list. Empty ends none.")
    reason: str = Field(default="", description="Why, 1 to 1,000 characters.")
    released_by: str = Field(default="", description="Who says so, 1 to 200 characters.")
    dry_run: bool = Field(default=True, description="True lists the tenant's holds. False releases the one named.")


@dg.op
def place_hold(context: dg.OpExecutionContext, config: PlaceHoldConfig, postgres: PostgresResource) -> None:
    """From this run's end on, nothing of the tenant goes."""
    database = postgres.client()
    with explained():
        tenant_id = _known(database, config.tenant_id)
        hold = place(database, tenant_id, reason=config.reason, placed_by=config.placed_by)
        standing = _standing(database, tenant_id)
    context.log.info(f"hold {hold.hold_id} stands for tenant {tenant_id}")
    context.add_output_metadata({"hold_id": str(hold.hold_id), "holds": sample_table(standing)})


@dg.job(hooks={stop_run_retries}, description="Puts a tenant under a legal hold: cleanup removes nothing of it.")
def place_legal_hold() -> None:
    """Place a hold."""
    place_hold()


@dg.op
def release_hold(context: dg.OpExecutionContext, config: ReleaseHoldConfig, postgres: PostgresResource) -> None:
    """List the holds of a tenant; end the one that is named."""
    database = postgres.client()
    with explained():
        tenant_id = identifier("tenant_id", config.tenant_id)
        released = ""
        if not config.dry_run:
            hold_id = identifier("hold_id", config.hold_id)
            if str(hold_id) not in {each["hold_id"] for each in _standing(database, tenant_id)}:
                raise Permanent(
                    f"hold {hold_id} does not stand for tenant {tenant_id}, so none was released: launch this with "
                    "dry_run true, which lists those that do"
                )
            released = str(release(database, hold_id, reason=config.reason, released_by=config.released_by).hold_id)
        standing = _standing(database, tenant_id)
    context.log.info(f"{len(standing)} holds stand for tenant {tenant_id}" + (f", {released} ended" * bool(released)))
    context.add_output_metadata(
        {"dry_run": config.dry_run, "released": released or "none", "standing": len(standing),
         "holds": sample_table(standing)}
    )  # fmt: skip


@dg.job(
    hooks={stop_run_retries},
    description="Ends a legal hold; others of the same tenant go on. A dry run by default, which lists them.",
)
def release_legal_hold() -> None:
    """Release a hold."""
    release_hold()


def _known(database: Database, text: str) -> UUID:
    """A tenant of the platform. Raises `Permanent` for any other: a hold on a mistyped id would protect nobody."""
    tenant_id = identifier("tenant_id", text)
    with database.connection() as connection:
        unknown = connection.execute(statement("restore/unknown_tenants"), {"ids": [str(tenant_id)]}).fetchall()
    if unknown:
        raise Permanent(f"tenant_id {tenant_id} is no tenant of the platform, so no hold was placed: correct the id")
    return tenant_id


def _standing(database: Database, tenant_id: UUID) -> list[dict[str, str]]:
    return [_row(hold) for hold in holds_of(database, tenant_id) if hold.released_at is None]


def _row(hold: Hold) -> dict[str, str]:
    return {
        "hold_id": str(hold.hold_id),
        "placed_at": f"{hold.placed_at:%Y-%m-%d %H:%M} UTC",
        "placed_by": hold.placed_by,
        "reason": hold.reason,
    }
