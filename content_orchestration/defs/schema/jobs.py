"""The main job, and the way back from our schema."""

import dagster as dg
from pydantic import Field

from content_orchestration.core.schema.postgres import ROLLBACK_CONFIRMATION, rollback
from content_orchestration.failures import explained, stop_run_retries
from content_orchestration.resources.postgres import PostgresResource

PIPELINE_CONFIG = {
    "ops": {
        "campaign_assets_migrated": {"config": {"dry_run": False}},
        "content_items_migrated": {"config": {"dry_run": False}},
        "content_dr_backfill": {"config": {"only_missing": True}},
    }
}

content_pipeline = dg.define_asset_job(
    "content_pipeline",
    selection=dg.AssetSelection.groups(
        "schema", "content", "migration", "quota", "media", "replication", "backfill", "status"
    )
    | dg.AssetSelection.assets("integrity_report", "generation_health"),
    description="Schema, migration, usage, files, replication, checks, and a report on whether the copies agree. "
    "Not a dry run. Choose all tenants as partitions.",
    config=PIPELINE_CONFIG,
    hooks={stop_run_retries},
)


class RollbackConfig(dg.Config):
    """What a rollback asks for."""

    confirm: str = Field(
        default="",
        description=f"Nothing happens unless this is exactly: {ROLLBACK_CONFIRMATION}. All rows of our tables go; "
        "the platform's tables, ZeroDB and BigQuery stay as they are.",
    )


@dg.op
def drop_our_schema(context: dg.OpExecutionContext, config: RollbackConfig, postgres: PostgresResource) -> None:
    """Run the down files of every revision."""
    with explained():
        report = rollback(postgres.client(), config.confirm)
    context.add_output_metadata(report.as_metadata())


@dg.job(hooks={stop_run_retries}, description="Drops our PostgreSQL tables. Asks for a sentence in its config.")
def roll_back_schema() -> None:
    """Take every revision back."""
    drop_our_schema()
