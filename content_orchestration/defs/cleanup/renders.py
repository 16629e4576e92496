"""What nobody saved: orphaned renders are found, wait in quarantine, and go. Three assets in order, each a pass."""

from content_orchestration.core.cleanup.model import Cleaned
from content_orchestration.defs.cleanup.running import CleanupConfig, cleanup_asset
from content_orchestration.defs.platform.assets import PLATFORM_KEYS
from content_orchestration.defs.schema.assets import postgres_schema
from content_orchestration.policies import KIND_POSTGRES
from content_orchestration.resources.cleanup import CleanupResource


def _scan(cleanup: CleanupResource, run_id: str, config: CleanupConfig) -> Cleaned:
    from content_orchestration.core.cleanup import orphans

    return orphans.scan(cleanup.orphans(), run_id=run_id, dry_run=config.dry_run, limit=config.limit)


def _quarantine(cleanup: CleanupResource, run_id: str, config: CleanupConfig) -> Cleaned:
    from content_orchestration.core.cleanup import orphans

    return orphans.quarantine(cleanup.orphans(), run_id=run_id, dry_run=config.dry_run, limit=config.limit)


def _delete(cleanup: CleanupResource, run_id: str, config: CleanupConfig) -> Cleaned:
    from content_orchestration.core.cleanup import orphans

    return orphans.delete(cleanup.orphans(), run_id=run_id, dry_run=config.dry_run, limit=config.limit)


orphaned_renders = cleanup_asset(
    "orphaned_renders",
    {"orphaned_renders": _scan},
    table="render_candidates",
    deps=[postgres_schema, PLATFORM_KEYS["render_jobs"], PLATFORM_KEYS["user_assets"]],
    kinds={KIND_POSTGRES},
    description="Completed renders with a file that are old enough and that no asset was saved from.",
)
quarantined_renders = cleanup_asset(
    "quarantined_renders",
    {"quarantined_renders": _quarantine},
    table="cleanup_quarantine",
    deps=[orphaned_renders],
    kinds={KIND_POSTGRES},
    description="Orphans whose file waits in its bucket's quarantine, where a save brings it back.",
)
deleted_renders = cleanup_asset(
    "deleted_renders",
    {"deleted_renders": _delete},
    table="cleanup_quarantine",
    deps=[quarantined_renders],
    kinds={KIND_POSTGRES},
    description="Files whose time in quarantine is over go, with their rows; the audit says what became of each.",
)
