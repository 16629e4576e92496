"""Asks for the files of references: of migrated rows, and of rows that failed. Started by hand, and a dry run at first.

A migrated row names an address of the platform that may be long gone, so nothing fetches those by itself.
"""

import dagster as dg
from pydantic import Field

from content_orchestration.core.integrity.looking import as_uuid
from content_orchestration.core.media.asking import request_again, request_ingest
from content_orchestration.failures import explained, stop_run_retries
from content_orchestration.resources.postgres import PostgresResource


class AskForFilesConfig(dg.Config):
    """Whose files to ask for."""

    tenant_id: str = Field(description="The tenant, by its id.")
    most: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="References that one run asks for, oldest first. Each is fetched from its address by the next run "
        "of take_files_in and counts with its real size from then on.",
    )
    failed_too: bool = Field(
        default=False, description="True also lets rows that failed for good be tried once more (not in a dry run)."
    )
    dry_run: bool = Field(
        default=True, description="True counts what would be asked for; nothing is written and nothing fetched."
    )


@dg.op
def ask_for_references(context: dg.OpExecutionContext, config: AskForFilesConfig, postgres: PostgresResource) -> None:
    """Note that the files of these rows are wanted; the sensor media_waiting starts the run that fetches them."""
    database = postgres.client()
    with explained():
        tenant_id = as_uuid(config.tenant_id, "tenant_id")
        asked = request_ingest(database, tenant_id, config.most, dry_run=config.dry_run)
        again = 0
        if config.failed_too and not config.dry_run:
            again = request_again(database, tenant_id, limit=config.most)
    context.add_output_metadata(
        {"outcome": "dry run" if config.dry_run else "asked", "references": asked, "failed_rows_again": again}
    )


@dg.job(hooks={stop_run_retries}, description="Asks for the files of a tenant's references. A dry run by default.")
def ask_for_files() -> None:
    """Fetch what migration only recorded."""
    ask_for_references()
