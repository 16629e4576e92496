"""One job for each part of cleanup: a dry run unless the config says otherwise, as the schedules' config does."""

import dagster as dg

from content_orchestration.defs.cleanup.health import cleanup_health
from content_orchestration.defs.cleanup.leftovers import cleanup_leftovers, stray_objects
from content_orchestration.defs.cleanup.renders import deleted_renders, orphaned_renders, quarantined_renders
from content_orchestration.defs.cleanup.retention import history_compaction, purged_content, superseded_versions
from content_orchestration.failures import stop_run_retries

clean_orphaned_renders = dg.define_asset_job(
    "clean_orphaned_renders",
    selection=[orphaned_renders, quarantined_renders, deleted_renders],
    hooks={stop_run_retries},
    description="Renders that nobody saved: found, put into quarantine, and removed after their grace. A dry run by "
    "default.",
)
purge_expired_content = dg.define_asset_job(
    "purge_expired_content",
    selection=[purged_content, superseded_versions],
    hooks={stop_run_retries},
    description="Deleted content and replaced versions that are past their tenant's plan. A dry run by default.",
)
compact_history = dg.define_asset_job(
    "compact_history",
    selection=[history_compaction],
    hooks={stop_run_retries},
    description="BigQuery's history down to each plan's horizon, partition by partition. A dry run by default.",
)
look_for_stray_objects = dg.define_asset_job(
    "look_for_stray_objects",
    selection=[stray_objects],
    hooks={stop_run_retries},
    description="Files in the stores that no row names: listed, and removed when seen twice a week apart. A dry run by "
    "default.",
)
sweep_leftovers = dg.define_asset_job(
    "sweep_leftovers",
    selection=[cleanup_leftovers],
    hooks={stop_run_retries},
    description="Documents without a row, duplicates in ZeroDB, and what removals that were cut off left. A dry run by "
    "default.",
)
watch_cleanup = dg.define_asset_job(
    "watch_cleanup",
    selection=dg.AssetSelection.assets(cleanup_health),
    hooks={stop_run_retries},
    description="What waits, what was freed, how each part's last pass ended, and the checks of cleanup.",
)
