"""What people start by hand: a new history after a restore to another cluster."""

import dagster as dg
from pydantic import Field

from content_orchestration.core.replication.backfill import FRESH_SNAPSHOT_CONFIRMATION, begin_anew
from content_orchestration.defs.replication.assets import content_dr_backfill
from content_orchestration.failures import explained, stop_run_retries
from content_orchestration.resources.postgres import PostgresResource

backfill_tenants = dg.define_asset_job(
    "backfill_tenants",
    selection=[content_dr_backfill],
    hooks={stop_run_retries},
    description="Every row of the chosen tenants into BigQuery's history, from one snapshot.",
)


class FreshSnapshotConfig(dg.Config):
    """What beginning anew asks for."""

    confirm: str = Field(
        default="",
        description=f"Nothing happens unless this is exactly: {FRESH_SNAPSHOT_CONFIRMATION}. Then run backfill_tenants "
        "for all tenants: until it is done, BigQuery lacks what changed since the old cursor.",
    )


@dg.op
def point_cursor_at_this_cluster(
    context: dg.OpExecutionContext, config: FreshSnapshotConfig, postgres: PostgresResource
) -> None:
    """Abandon windows of the old cluster and begin at this one's horizon."""
    with explained():
        report = begin_anew(postgres.client(), config.confirm)
    context.add_output_metadata(dict(report))


@dg.job(hooks={stop_run_retries}, description="After a restore to another cluster. Asks for a sentence in its config.")
def begin_new_history() -> None:
    """Point the replication cursor at this cluster."""
    point_cursor_at_this_cluster()
