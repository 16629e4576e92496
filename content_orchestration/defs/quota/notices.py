"""Does everybody who nears a limit hear of it, once? The outbox of notices and its delivery."""

import dagster as dg

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.quota.outbox import deliver, waiting
from content_orchestration.core.schema.postgres import columns_of
from content_orchestration.defs.quota.assets import storage_usage
from content_orchestration.defs.quota.running import unfinished_run
from content_orchestration.failures import explained, stop_run_retries, unknown
from content_orchestration.policies import KIND_POSTGRES, OWNERS, RETRY
from content_orchestration.presentation import table_metadata, values
from content_orchestration.resources.notifier import NotifierResource
from content_orchestration.resources.postgres import PostgresResource

# Seven attempts fit into it. A longer wait is a wrong address or a service that is down, and a person has to look.
_LONGEST_WAIT_SECONDS = 3600.0


@dg.asset(group_name="quota", deps=[storage_usage], kinds={KIND_POSTGRES}, owners=OWNERS, retry_policy=RETRY)
def quota_notices(postgres: PostgresResource, notifier: NotifierResource) -> dg.MaterializeResult[None]:
    """Notices of tenants and brands that crossed a level, sent to NOTIFY_URLS; a target that fails is asked again."""
    database = postgres.client()
    with explained():
        report = deliver(database, notifier.targets())
        left = waiting(database)
        columns = columns_of(database, "quota_notices")
    return dg.MaterializeResult(
        metadata=table_metadata("quota_notices", columns, report.delivered)
        | values(report.as_metadata() | left.as_metadata())
    )


@dg.asset_check(asset=quota_notices, name="no_notice_waits_for_an_hour")
def no_notice_waits_for_an_hour(postgres: PostgresResource) -> dg.AssetCheckResult:
    """Every notice reaches its targets within an hour."""
    try:
        left = waiting(postgres.client())
    except (Transient, Permanent) as error:
        return unknown(error)
    passed = left.oldest_seconds < _LONGEST_WAIT_SECONDS
    return dg.AssetCheckResult(
        passed=passed,
        description=f"{left.waiting} notices wait, the oldest for {left.oldest_seconds:.0f} s"
        + ("" if passed else f" after {left.attempts} attempts: {left.last_error or 'no attempt was recorded'}"),
        metadata=left.as_metadata(),
    )


deliver_quota_notices = dg.define_asset_job(
    "deliver_quota_notices",
    selection=[quota_notices],
    hooks={stop_run_retries},
    description="Sends the notices that are due.",
)


@dg.sensor(job=deliver_quota_notices, minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.RUNNING)
def quota_notices_due(context: dg.SensorEvaluationContext, postgres: PostgresResource) -> dg.RunRequest | dg.SkipReason:
    """One delivery when a notice is due and none is on its way."""
    left = waiting(postgres.client())
    if not left.due:
        return dg.SkipReason(f"{left.waiting} notices wait, none of them is due")
    running = unfinished_run(context, deliver_quota_notices.name)
    return dg.SkipReason(f"run {running} is delivering already") if running else dg.RunRequest()
