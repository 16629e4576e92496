"""What people start by hand besides the parts: an emergency, an undo; and the job that brings saved renders back."""

from collections import Counter

import dagster as dg
from pydantic import Field

from content_orchestration.core.cleanup.model import ORPHANED_RENDER, Cleaned
from content_orchestration.core.errors import AlreadyRunning, Permanent
from content_orchestration.defs.cleanup.running import one_pass, parts_of, shown, together
from content_orchestration.failures import explained, stop_run_retries
from content_orchestration.policies import POOL_CLEANUP, RETRY
from content_orchestration.resources.cleanup import CleanupResource
from content_orchestration.resources.postgres import PostgresResource


class BringBackConfig(dg.Config):
    """How much one run takes up."""

    limit: int = Field(default=1_000, ge=1, le=100_000, description="Most renders that one run brings back.")


@dg.op(retry_policy=RETRY)
def bring_saved_renders_back(
    context: dg.OpExecutionContext, config: BringBackConfig, postgres: PostgresResource, cleanup: CleanupResource
) -> None:
    """Files of renders that were saved while they waited in quarantine. It removes nothing.

    A pass that moves files just then brings them back itself, and is left to it.
    """
    from content_orchestration.core.cleanup import orphans

    with explained():
        engine = cleanup.orphans()
    run_id = context.run.run_id

    def work() -> Cleaned:
        try:
            return orphans.bring_back(engine, run_id=run_id, limit=config.limit)
        except AlreadyRunning:
            return Cleaned(ORPHANED_RENDER, dry_run=False, skipped=Counter({"left_to_the_pass_that_moves_files": 1}))

    cleaned = one_pass(context, postgres, "saved_renders", False, work, alone=False)
    context.add_output_metadata(shown(cleaned))


@dg.job(
    hooks={stop_run_retries},
    description="Brings back what was saved while it waited in quarantine. A sensor starts it within seconds.",
)
def bring_back_saved_renders() -> None:
    """Bring saved renders back."""
    bring_saved_renders_back()


class EmergencyConfig(dg.Config):
    """How much of it, and whether somebody means it."""

    limit: int = Field(default=100, ge=1, le=10_000, description="Most orphans that this run takes up, oldest first.")
    dry_run: bool = Field(default=True, description="True shows what would go. False needs `confirm`.")
    confirm: str = Field(
        default="", description="With dry_run false: the sentence that the run asks for when this is not it."
    )


@dg.op(pool=POOL_CLEANUP)
def clean_at_once(
    context: dg.OpExecutionContext, config: EmergencyConfig, postgres: PostgresResource, cleanup: CleanupResource
) -> None:
    """The same scan, quarantine, delete and guards, outside of the schedule and in small."""
    from content_orchestration.core.cleanup import orphans

    with explained():
        engine = cleanup.orphans()
    run_id = context.run.run_id
    done: dict[str, Cleaned] = {}

    def work() -> Cleaned:
        done.update(
            orphans.emergency(engine, run_id=run_id, dry_run=config.dry_run, limit=config.limit, confirm=config.confirm)
        )
        return together("emergency_orphan_cleanup", list(done.values()))

    cleaned = one_pass(context, postgres, "emergency_orphan_cleanup", config.dry_run, work)
    context.add_output_metadata(shown(cleaned) | {"parts": parts_of(list(done.values()), list(done))})


@dg.job(
    hooks={stop_run_retries},
    description="Takes a few orphans older than an hour at once, when a store is filling up. Same engine and guards as "
    "the schedule, 100 at most unless told otherwise. A dry run by default; for real it asks for a sentence.",
)
def emergency_orphan_cleanup() -> None:
    """Clean a few at once."""
    clean_at_once()


class UndoConfig(dg.Config):
    """What comes back from quarantine: all that one run put there, or all below a place."""

    run_id: str = Field(
        default="", description="Run that put it there: the run's id in Dagster, or cleanup_audit.run_id."
    )
    prefix: str = Field(default="", description="`bucket/prefix` of where the files were. One of the two, not both.")
    limit: int = Field(default=10_000, ge=1, le=1_000_000, description="Most that one run brings back.")
    dry_run: bool = Field(default=True, description="True shows what would come back. False brings it back.")


@dg.op(pool=POOL_CLEANUP, retry_policy=RETRY)
def bring_back(
    context: dg.OpExecutionContext, config: UndoConfig, postgres: PostgresResource, cleanup: CleanupResource
) -> None:
    """Renders with their files, and documents, that a cleanup took and that wait in quarantine."""
    from content_orchestration.core.cleanup import documents, undo

    run_id, prefix = config.run_id.strip(), config.prefix.strip()
    with explained():
        if bool(run_id) == bool(prefix):
            raise Permanent(
                "an undo goes by run_id or by prefix, and exactly one of them: nothing was brought back. Copy run_id "
                "from the run that put it into quarantine, or write the place as bucket/prefix"
            )
        engine = cleanup.orphans()
    acting = context.run.run_id

    def undone() -> Cleaned:
        of_run, below = run_id or None, prefix or None
        renders = undo.undo(
            engine, run_id=of_run, prefix=below, acting_run=acting, dry_run=config.dry_run, limit=config.limit
        )
        bodies = documents.restore(
            postgres.client(), cleanup.zerodb.client(), run_id=acting, of_run=of_run, prefix=below,
            dry_run=config.dry_run, limit=config.limit,
        )  # fmt: skip
        return together("undo_cleanup", [renders, bodies])

    cleaned = one_pass(context, postgres, "undo_cleanup", config.dry_run, undone)
    context.add_output_metadata(shown(cleaned))


@dg.job(
    hooks={stop_run_retries},
    description="Brings back what a cleanup put into quarantine, by its run or by place. A dry run by default.",
)
def undo_cleanup() -> None:
    """Undo a cleanup."""
    bring_back()
