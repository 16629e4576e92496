"""Makes the copies agree again: repairs what a report found. Started by hand, and a dry run unless told otherwise."""

import dagster as dg
from pydantic import Field

from content_orchestration.core.integrity.findings import Kind
from content_orchestration.defs.integrity.shown import repair_metadata
from content_orchestration.defs.integrity.sides import limits, sides_of, unknown_where_lost
from content_orchestration.failures import explained, stop_run_retries
from content_orchestration.policies import POOL_REPLICATION
from content_orchestration.presentation import write_report
from content_orchestration.resources.bigquery import BigQueryDRResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.resources.zerodb import ZeroDBResource
from content_orchestration.settings import get_settings


class RepairConfig(dg.Config):
    """What to repair."""

    report_id: int = Field(
        description="Number of the report whose differences are repaired: `report_id` in the metadata of "
        "integrity_report, of tenant_integrity or of a failed check."
    )
    kinds: list[str] = Field(
        default_factory=list,
        description=f"Kinds of difference to take up; empty takes all. One or more of: {', '.join(sorted(Kind))}.",
    )
    max_repairs: int = Field(
        default=1000,
        ge=1,
        le=10_000,
        description="Differences that one run takes up; the rest is counted and waits for another run. A body is read "
        "and hashed for each, so 10,000 of 100 kB read 1 GB.",
    )
    dry_run: bool = Field(
        default=True,
        description="True looks again at each difference and says what would be done; it writes nothing in any tier. "
        "False does it, writes each action to integrity_repairs, runs a sync, and compares again.",
    )


@dg.op(pool=POOL_REPLICATION)
def repair(
    context: dg.OpExecutionContext,
    config: RepairConfig,
    postgres: PostgresResource,
    zerodb: ZeroDBResource,
    bigquery: BigQueryDRResource,
) -> None:
    """Look again, act on what still differs, look once more. Fails unless all that was taken up is clean afterwards."""
    # They bring Arrow, which every process would load with the definitions.
    from content_orchestration.core.integrity.repair import Repairer
    from content_orchestration.core.replication.engine import Replicator

    settings = get_settings()
    with explained(), unknown_where_lost():
        sides = sides_of(postgres, zerodb, bigquery)

        def sync() -> None:
            Replicator(
                sides.database, sides.store, bigquery.client(), batch_size=settings.bigquery_sync_batch_size,
                max_bytes=settings.sync_max_bytes, run_id=context.run.run_id,
            ).sync()  # fmt: skip

        report = Repairer(sides, limits(), sync, run_id=context.run.run_id).repair(
            config.report_id, kinds=config.kinds, max_repairs=config.max_repairs, dry_run=config.dry_run
        )
    path = write_report(settings.reports, f"repair_differences-{context.run.run_id}", report.as_metadata())
    metadata = repair_metadata(report) | {"report": dg.MetadataValue.path(str(path))}
    context.log.info(report.summary)
    if report.dry_run or report.clean:
        context.add_output_metadata(metadata)
        return
    # What could not be seen may be seen by a retry; what was refused is refused again.
    unseen = report.outcomes.get("unknown", 0) > 0
    raise dg.Failure(description=report.summary, metadata=metadata, allow_retries=unseen)


@dg.job(
    hooks={stop_run_retries},
    description="Repairs the differences of a report from the copies that are proven right. A dry run by default; "
    "deletes no row and no live document.",
)
def repair_differences() -> None:
    """Make the copies agree again."""
    repair()
