"""What people start by hand: a restore, and tables that were dropped made anew."""

from datetime import datetime
from typing import Any

import dagster as dg
from pydantic import Field

from content_orchestration.core.errors import Permanent
from content_orchestration.core.restore.engine import Restorer
from content_orchestration.core.restore.report import RestoreReport
from content_orchestration.core.restore.request import LIVE, RestoreRequest, Scope, Target
from content_orchestration.core.schema.missing import recreate_missing
from content_orchestration.failures import explained, stop_run_retries
from content_orchestration.policies import POOL_RESTORE, POOL_SCHEMA, RETRY
from content_orchestration.presentation import values, write_report
from content_orchestration.resources.bigquery import BigQueryDRResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.resources.zerodb import ZeroDBResource
from content_orchestration.settings import get_settings


class TargetConfig(dg.Config):
    """Where the content goes. Both empty means the live tables and collections; for a scratch copy set both."""

    schema_name: str = Field(
        default="",
        alias="schema",
        description="A schema of the same database, for example restored_june: its tables have the shape of the live "
        "ones and are not replicated. Empty means live.",
    )
    collection_prefix: str = Field(
        default="",
        description="Put before the names of ZeroDB's collections, for example restored_june_. Empty means live.",
    )


class RestoreConfig(dg.Config):
    """What to bring back, as of when, where to, and what happens to what is there."""

    scope: str = Field(default="everything", description="everything, tenants or content_ids. The last two need `ids`.")
    ids: list[str] = Field(
        default_factory=list,
        description="UUIDs of tenants or of content items, by `scope`; at most 10,000. An item brings its versions and "
        "the media that name it.",
    )
    as_of: str = Field(
        default="",
        description="The state to restore: a moment with its time zone (2026-05-01T09:59:59+00:00) means the last sync "
        "that had read everything by then; a number is a sync id (content_sync_log lists them). Empty means the last "
        "closed sync. What was written behind it is not in the state.",
    )
    tiers: str = Field(
        default="both",
        description="postgres (rows and counters), zerodb (bodies, version records, media documents) or both.",
    )
    target: TargetConfig = Field(
        default=TargetConfig(), description="Live, or a scratch schema with a collection prefix to look at first."
    )
    on_conflict: str = Field(
        default="keep_newer",
        description="For rows that are there and differ. keep_newer overwrites where the history has the greater "
        "(version, updated_at), so edits since then stay; keep_existing adds only what is missing; overwrite takes the "
        "history's, which is what undoes a bad UPDATE. Nothing is ever deleted.",
    )
    dry_run: bool = Field(
        default=True,
        description="True makes the plan, prints it with its hash, and writes nothing. False carries out the plan "
        "whose hash is in `plan_hash`.",
    )
    max_rows: int = Field(
        default=10_000_000,
        ge=0,
        description="The plan is refused when it has more rows than this (10 million rows take about 6 minutes at the "
        "measured 30,000 a second); 0 means no limit.",
    )
    max_bytes_billed: int = Field(
        default=1024**4,
        gt=0,
        description="Bytes that BigQuery may scan for this restore, at most; beyond it refuses. The default is 1 TiB. "
        "The whole history is scanned, whatever the scope.",
    )
    plan_hash: str = Field(
        default="",
        description="Hash of the plan that was reviewed, as the dry run printed it. A real run needs it, and stops "
        "where the plan would not be that one any more. The same hash finishes a restore that was cut off.",
    )

    def request(self) -> RestoreRequest:
        """The request that these values mean. Raises `Permanent`, naming field, rule and way out."""
        names = self.target.schema_name, self.target.collection_prefix
        return RestoreRequest(
            scope=Scope(self.scope, tuple(self.ids)),  # type: ignore[arg-type]
            as_of=_as_of(self.as_of.strip()),
            tiers=self.tiers,  # type: ignore[arg-type]
            target=Target.scratch(*names) if any(names) else LIVE,
            on_conflict=self.on_conflict,  # type: ignore[arg-type]
            max_rows=self.max_rows or None,
        )


@dg.op(pool=POOL_RESTORE, retry_policy=RETRY)
def restore(
    context: dg.OpExecutionContext,
    config: RestoreConfig,
    postgres: PostgresResource,
    zerodb: ZeroDBResource,
    bigquery: BigQueryDRResource,
) -> None:
    """Plan, and carry the plan out if it is the one that was reviewed. Fails where something could not be restored."""
    with explained():
        request = config.request()
        restorer = Restorer(
            postgres.client(), zerodb.client(), bigquery.client(), run_id=context.run.run_id,
            max_bytes=config.max_bytes_billed,
        )  # fmt: skip
        if config.dry_run:
            plan = restorer.plan(request)
            # Into the run's log besides: that is where somebody looks at night.
            context.log.info(f"plan of a dry run, nothing was written\n{plan.as_markdown()}")
            context.add_output_metadata(
                {"plan": dg.MetadataValue.md(plan.as_markdown()), "dry_run": True} | values(plan.as_metadata())
            )
            return
        if not config.plan_hash.strip():
            raise Permanent(
                "plan_hash is empty: with dry_run false a restore carries out a plan that somebody reviewed. Launch "
                "this with dry_run true first, read the plan, and set plan_hash to the hash that it names"
            )
        report = restorer.run(request, config.plan_hash.strip())
    _show(context, report)


def _show(context: dg.OpExecutionContext, report: RestoreReport) -> None:
    """The report in the run, in a file, and as the run's outcome."""
    told = report.as_metadata()
    path = write_report(get_settings().reports, f"restore_from_bigquery-{context.run.run_id}", told)
    metadata: dict[str, Any] = {
        "dry_run": False,
        "verified": report.verified,
        "report": dg.MetadataValue.path(str(path)),
    } | values(told)
    if report.verified:
        context.log.info(f"restored and verified: {report.rows:,} rows written; {path}")
        context.add_output_metadata(metadata)
        return
    raise dg.Failure(
        description=f"restored, but not all of it: {told['quarantined'] or report.verification.outcome}. What could "
        f"not be restored is in restore_quarantine under restore_id {report.restore_id}; the rest is in place",
        metadata=metadata,
        allow_retries=False,
    )


@dg.job(
    hooks={stop_run_retries},
    description="Brings content back from BigQuery: any part, as of any moment. A dry run unless told otherwise; a "
    "real run names the hash of the plan that was reviewed. docs/RUNBOOK.md has the config for each disaster.",
)
def restore_from_bigquery() -> None:
    """Plan or carry out a restore."""
    restore()


@dg.op(pool=POOL_SCHEMA)
def create_what_is_missing(context: dg.OpExecutionContext, postgres: PostgresResource) -> None:
    """Empty tables in place of those that were dropped; what is there stays as it is."""
    with explained():
        report = recreate_missing(postgres.client())
    context.log.info(f"recreated: {', '.join(report.tables) or 'nothing was missing'}")
    context.add_output_metadata(values(report.as_metadata()))


@dg.job(
    hooks={stop_run_retries},
    description="Creates those of our PostgreSQL tables anew that were dropped, empty; the others are not touched. "
    "restore_from_bigquery then fills them.",
)
def recreate_missing_tables() -> None:
    """Create what is missing."""
    create_what_is_missing()


def _as_of(text: str) -> datetime | int | None:
    """A sync id, a moment, or None for the last closed sync. Raises `Permanent` for what is neither."""
    if not text:
        return None
    if text.isdecimal():
        return int(text)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise Permanent(
            f"as_of is {text!r}, which is neither a sync id nor a moment: write a whole number, or a moment with its "
            "time zone such as 2026-05-01T09:59:59+00:00, or leave it empty for the last closed sync"
        ) from None
