"""Do finished items make room? Each night they move to the history, whose oldest days are dropped whole."""

import dagster as dg

from content_orchestration.failures import explained, stop_run_retries
from content_orchestration.presentation import values
from content_orchestration.resources.generation import GenerationQueueResource


@dg.op
def move_finished_items(context: dg.OpExecutionContext, generation: GenerationQueueResource) -> None:
    """Items that ended more than 24 hours ago, with their attempts; days past GENERATION_HISTORY_DAYS are dropped."""
    with explained():
        report = generation.queue().cleanup()
    context.add_output_metadata(values(report.as_metadata()))


@dg.job(hooks={stop_run_retries}, description="Moves finished items to the history and drops its oldest days.")
def generation_retention() -> None:
    """Retention of the generation queue."""
    move_finished_items()


generation_retention_by_night = dg.ScheduleDefinition(
    name="generation_retention_by_night",
    job=generation_retention,
    cron_schedule="45 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
