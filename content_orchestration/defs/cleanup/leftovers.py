"""What nothing names: files in the stores, documents in ZeroDB, uploads that were never finished."""

from collections.abc import Sequence

from content_orchestration.core.cleanup.model import Cleaned
from content_orchestration.defs.cleanup.renders import deleted_renders
from content_orchestration.defs.cleanup.retention import superseded_versions
from content_orchestration.defs.cleanup.running import CleanupConfig, cleanup_asset
from content_orchestration.defs.media.assets import media_variants
from content_orchestration.policies import KIND_POSTGRES, KIND_ZERODB, POOL_LISTING
from content_orchestration.resources.cleanup import CleanupResource


def _look(cleanup: CleanupResource, run_id: str, config: CleanupConfig) -> Cleaned:
    from content_orchestration.core.cleanup import strays

    # All of it, whatever the limit: only a whole look makes anything due.
    return strays.look(
        cleanup.postgres.client(), cleanup.files(), run_id=run_id, dry_run=config.dry_run, never=cleanup.never()
    )


def _remove(cleanup: CleanupResource, run_id: str, config: CleanupConfig) -> Cleaned:
    from content_orchestration.core.cleanup import strays

    return strays.delete(
        cleanup.postgres.client(),
        cleanup.files(),
        run_id=run_id,
        dry_run=config.dry_run,
        limit=config.limit,
        max_candidate_percent=cleanup.most_percent(),
        never=cleanup.never(),
    )


def _renders(cleanup: CleanupResource, run_id: str, config: CleanupConfig) -> Cleaned:
    from content_orchestration.core.cleanup import stray_renders

    return stray_renders.look(cleanup.orphans(), dry_run=config.dry_run)


def _abort(cleanup: CleanupResource, run_id: str, config: CleanupConfig) -> Cleaned:
    from content_orchestration.core.cleanup import multipart

    return multipart.abort(
        cleanup.postgres.client(),
        cleanup.uploads(),
        run_id=run_id,
        dry_run=config.dry_run,
        limit=config.limit,
        never=cleanup.never(),
    )


def _sweep(cleanup: CleanupResource, run_id: str, config: CleanupConfig) -> Sequence[Cleaned]:
    from content_orchestration.core.cleanup import leftovers

    return leftovers.sweep(
        cleanup.postgres.client(),
        cleanup.zerodb.client(),
        cleanup.files(),
        run_id=run_id,
        dry_run=config.dry_run,
        limit=config.limit,
        history_days=cleanup.generation_history_days(),
        rules=cleanup.retention_rules(),
        quarantine=cleanup.grace(),
    )


stray_objects = cleanup_asset(
    "stray_objects",
    {"stray_objects": _look, "stray_objects_removed": _remove, "stray_renders": _renders},
    table="media_objects",
    deps=[media_variants, deleted_renders],
    kinds={KIND_POSTGRES},
    description="Files in the tenants' stores that no row names: reported when first seen, and let go when they are "
    "seen again a week later; the sweep of leftovers removes them after their grace. Files in the platform's buckets "
    "that no render names are reported and stay.",
    pool=POOL_LISTING,
    beside_others=["stray_objects", "stray_renders"],
)
cleanup_leftovers = cleanup_asset(
    "cleanup_leftovers",
    {"cleanup_leftovers": _sweep, "multipart_uploads": _abort},
    table="cleanup_quarantine",
    deps=[superseded_versions],
    kinds={KIND_POSTGRES, KIND_ZERODB},
    description="Documents without a row wait in quarantine and go, duplicates in ZeroDB become one, files that "
    "nothing names any more go, finished generation jobs and expired reservations too, and uploads that were never "
    "finished are aborted.",
)
