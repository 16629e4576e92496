"""Is cleanup doing its work, and only its work? A daily report with charts; are orphans late, was a pass refused, can
the audit be changed?"""

from datetime import UTC, datetime, timedelta

import dagster as dg

from content_orchestration.core.cleanup.health import (
    Lateness,
    audit_guards,
    last_passes,
    late,
    passes_table,
    storage_table,
    take_health,
    trend_chart,
    week_table,
)
from content_orchestration.core.cleanup.passes import REFUSED
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.schema.postgres import columns_of
from content_orchestration.defs.cleanup.renders import deleted_renders
from content_orchestration.defs.cleanup.running import sample_table
from content_orchestration.failures import explained, unknown
from content_orchestration.policies import KIND_POSTGRES, OWNERS, RETRY
from content_orchestration.presentation import table_metadata, values
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.settings import get_settings

_TABLE = "cleanup_audit"
_SAMPLE = 20


def _lateness() -> Lateness:
    settings = get_settings()
    return Lateness(settings.orphan_minimum_age, timedelta(minutes=settings.orphan_interval_minutes))


@dg.asset(group_name="cleanup", deps=[deleted_renders], kinds={KIND_POSTGRES}, owners=OWNERS, retry_policy=RETRY)
def cleanup_health(postgres: PostgresResource) -> dg.MaterializeResult[None]:
    """Orphans left, the age of the oldest, freed bytes by the day, the week's table, each part's last pass, storage."""
    database = postgres.client()
    with explained():
        report = take_health(database, _lateness())
        columns = columns_of(database, _TABLE)
    return dg.MaterializeResult(
        metadata=table_metadata(_TABLE, columns, report.waiting["audited"])
        | values(report.as_metadata())
        | {
            "trend": dg.MetadataValue.md(trend_chart(report.days)),
            "week": dg.MetadataValue.md(week_table(report.days)),
            "storage_by_type": dg.MetadataValue.md(storage_table(report.storage)),
            "passes": dg.MetadataValue.md(passes_table(report.passes, datetime.now(UTC))),
        }
    )


@dg.asset_check(asset=cleanup_health, name="no_orphan_is_late")
def no_orphan_is_late(postgres: PostgresResource) -> dg.AssetCheckResult:
    """No orphan outlives its minimum age, and no file in quarantine its grace, by more than two sweeps. A warning."""
    try:
        found, samples = late(postgres.client(), _lateness())
    except (Transient, Permanent) as error:
        return unknown(error)
    return dg.AssetCheckResult(
        passed=not found,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{found:,} are late: is the schedule clean_orphaned_renders_on_schedule on, was its last run "
        "refused, or did a store not answer?"
        if found
        else "nothing is late",
        metadata={"outcome": "different" if found else "agree", "late": found, "samples": sample_table(samples)},
    )


@dg.asset_check(asset=cleanup_health, name="no_pass_was_refused")
def no_pass_was_refused(postgres: PostgresResource) -> dg.AssetCheckResult:
    """No part's last pass was stopped by a rule: where one was, nothing of that part goes until somebody looks."""
    try:
        refused = [row for row in last_passes(postgres.client()) if row["action"] == REFUSED]
    except (Transient, Permanent) as error:
        return unknown(error)
    return dg.AssetCheckResult(
        passed=not refused,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(f"{row['kind']} at {row['at']:%Y-%m-%d %H:%M} UTC: {row['reason']}" for row in refused)
        or "no rule stopped a part's last pass",
        metadata={
            "outcome": "different" if refused else "agree",
            "refused": dg.MetadataValue.json(
                {row["kind"]: {"rule": row["detail"].get("rule"), "run_id": row["run_id"]} for row in refused}
            ),
        },
    )


@dg.asset_check(asset=cleanup_health, name="audit_is_append_only")
def audit_is_append_only(postgres: PostgresResource) -> dg.AssetCheckResult:
    """Nobody has the right to change or remove lines of the audit, and the trigger that refuses superusers is on."""
    try:
        problems = audit_guards(postgres.client())
    except (Transient, Permanent) as error:
        return unknown(error)
    return dg.AssetCheckResult(
        passed=not problems,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(problems[:_SAMPLE]) or "lines are added and nothing else",
        metadata={
            "outcome": "different" if problems else "agree",
            "problems": dg.MetadataValue.json(problems[:_SAMPLE]),
        },
    )
