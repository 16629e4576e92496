"""When cleanup runs. A schedule says dry_run false by itself: nothing is removed because somebody forgot to say so."""

from typing import Any

import dagster as dg

from content_orchestration.defs.cleanup.jobs import (
    clean_orphaned_renders,
    compact_history,
    look_for_stray_objects,
    purge_expired_content,
    sweep_leftovers,
    watch_cleanup,
)
from content_orchestration.settings import get_settings


def for_real(*parts: str) -> dict[str, Any]:
    """The run config under which these parts remove what they find."""
    return {"ops": {part: {"config": {"dry_run": False}} for part in parts}}


@dg.schedule(
    job=clean_orphaned_renders,
    cron_schedule=get_settings().orphan_cron,
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def clean_orphaned_renders_on_schedule() -> dg.RunRequest:
    """Every ORPHAN_CLEANUP_INTERVAL_MINUTES."""
    return dg.RunRequest(run_config=for_real("orphaned_renders", "quarantined_renders", "deleted_renders"))


@dg.schedule(job=purge_expired_content, cron_schedule="15 2 * * *", default_status=dg.DefaultScheduleStatus.RUNNING)
def purge_expired_content_by_night() -> dg.RunRequest:
    """Each night at 02:15 UTC."""
    return dg.RunRequest(run_config=for_real("purged_content", "superseded_versions"))


@dg.schedule(job=sweep_leftovers, cron_schedule="45 2 * * *", default_status=dg.DefaultScheduleStatus.RUNNING)
def sweep_leftovers_by_night() -> dg.RunRequest:
    """Each night at 02:45 UTC."""
    return dg.RunRequest(run_config=for_real("cleanup_leftovers"))


@dg.schedule(job=look_for_stray_objects, cron_schedule="30 1 * * 1", default_status=dg.DefaultScheduleStatus.RUNNING)
def look_for_stray_objects_every_week() -> dg.RunRequest:
    """Mondays at 01:30 UTC."""
    return dg.RunRequest(run_config=for_real("stray_objects"))


@dg.schedule(job=compact_history, cron_schedule="0 5 1 * *", default_status=dg.DefaultScheduleStatus.RUNNING)
def compact_history_every_month() -> dg.RunRequest | dg.SkipReason:
    """The first of each month at 05:00 UTC, unless replication is switched off or has no credentials."""
    from content_orchestration.resources.bigquery import why_unavailable

    reason = why_unavailable(get_settings())
    if reason:
        return dg.SkipReason(reason)
    return dg.RunRequest(run_config=for_real("history_compaction"))


@dg.schedule(job=watch_cleanup, cron_schedule="50 */6 * * *", default_status=dg.DefaultScheduleStatus.RUNNING)
def watch_cleanup_every_six_hours() -> dg.RunRequest:
    """Four times a day: storage by type reads the platform's assets once."""
    return dg.RunRequest()
