"""Is everything all right? One page every five minutes: what is red, why, and where it is written what to do."""

from collections.abc import Iterator

import dagster as dg

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.operations.alert_signs import UNKNOWN, tell_health
from content_orchestration.core.operations.alerts import forget_old
from content_orchestration.core.operations.event_log import event_log_size
from content_orchestration.core.operations.health import HealthReport, take_health
from content_orchestration.core.operations.health_page import check_text, page
from content_orchestration.core.operations.thresholds import State
from content_orchestration.failures import stop_run_retries
from content_orchestration.policies import KIND_BIGQUERY, KIND_POSTGRES, KIND_ZERODB, OWNERS
from content_orchestration.presentation import values
from content_orchestration.resources.health import HealthResource, HealthTools
from content_orchestration.settings import get_settings

_CHECK = "everything_is_within_its_limits"
HEALTH_CHECK = dg.AssetCheckKey(dg.AssetKey("platform_health"), _CHECK)


# One check for all figures: the run comes every five minutes, and each check is two more rows of Dagster's event log.
@dg.asset(
    group_name="operations",
    kinds={KIND_POSTGRES, KIND_ZERODB, KIND_BIGQUERY},
    owners=OWNERS,
    check_specs=[
        dg.AssetCheckSpec(
            _CHECK,
            asset="platform_health",
            description="No figure of the page is red, and each could be looked at. Unknown is said as such.",
        )
    ],
)
def platform_health(health: HealthResource) -> Iterator[dg.MaterializeResult[None]]:
    """The three tiers, replication, spill, queue, quota, orphans, proofs, Dagster itself: green or not, on one page."""
    settings = get_settings()
    with health.tools() as tools:
        report = take_health(
            tools.database,
            tools.probes.all(),
            lambda: event_log_size(settings.dagster_database_url),
            replicates=settings.bigquery_sync_enabled,
        )
        told = _tell(tools, report, settings.docs_url)
    yield dg.MaterializeResult(
        metadata={"page": dg.MetadataValue.md(page(report, settings.docs_url))}
        | values(report.as_metadata())
        | {"alerts": told},
        check_results=[_result(report)],
    )


def _tell(tools: HealthTools, report: HealthReport, docs_url: str) -> str:
    """Alerts of what is red, in words for the metadata. A page that was read is shown, whatever becomes of them."""
    try:
        opened, ended = tell_health(tools.database, report, docs_url)
        forget_old(tools.database)
    except (Transient, Permanent) as error:
        return f"unknown: could not be written down. {error}"
    return f"{opened} opened, {ended} ended"


def _result(report: HealthReport) -> dg.AssetCheckResult:
    red = report.those(State.RED)
    outcome = "red" if red else UNKNOWN if report.those(State.UNKNOWN) else "green"
    return dg.AssetCheckResult(
        check_name=_CHECK,
        passed=report.is_green,
        description=check_text(report.readings),
        metadata={"outcome": outcome, "red": len(red), "unknown": len(report.those(State.UNKNOWN))},
    )


watch_platform = dg.define_asset_job(
    "watch_platform",
    selection=[platform_health],
    hooks={stop_run_retries},
    # Its run must not wait behind those that it is about.
    tags={"dagster/priority": "100"},
    description="The health page, its check, and the alerts of what is red.",
)
watch_platform_always = dg.ScheduleDefinition(
    name="watch_platform_every_five_minutes",
    job=watch_platform,
    cron_schedule="*/5 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
