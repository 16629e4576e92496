"""Which batches run? One run works one batch: ten workers in it, its progress in the terminal and on the run's page."""

import os
import socket
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import dagster as dg
from pydantic import Field

from content_orchestration.core.generation.model import BatchStatus
from content_orchestration.core.generation.progress import Progress
from content_orchestration.core.generation.progress_bar import progress_bar
from content_orchestration.core.generation.queue import GenerationQueue
from content_orchestration.core.generation.work import BatchWork, WorkReport
from content_orchestration.core.schema.postgres import columns_of
from content_orchestration.defs.generation.identifier import identifier
from content_orchestration.defs.schema.assets import postgres_schema, zerodb_collections
from content_orchestration.failures import explained, stop_run_retries
from content_orchestration.policies import GENERATION_TAG, KIND_POSTGRES, KIND_ZERODB, OWNERS
from content_orchestration.presentation import table_metadata, values
from content_orchestration.resources.content import ContentStoreResource
from content_orchestration.resources.generation import GenerationQueueResource
from content_orchestration.resources.llm import LlmResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.settings import get_settings

# An event costs about 7 ms and a row for good; the terminal and the queue's tables are fresher.
_TELL_SECONDS = 30.0
_TABLE = "content_generation_jobs"
_ASKED_FOR = {dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED}


class BatchConfig(dg.Config):
    """Which batch to work."""

    batch_id: str = Field(
        description="Id of a batch that is in the queue: content_generation_jobs.id, or `batch_id` in the metadata of "
        "submit_generation_batch. The sensors fill it in; by hand it works a batch now, beside any run that does."
    )


# No retry policy: Dagster would heed it when the run is cancelled, too, and begin again. The sensors start another run.
@dg.asset(
    group_name="generation",
    deps=[postgres_schema, zerodb_collections],
    kinds={KIND_POSTGRES, KIND_ZERODB},
    owners=OWNERS,
)
def generation_batch(
    context: dg.AssetExecutionContext,
    config: BatchConfig,
    postgres: PostgresResource,
    content: ContentStoreResource,
    generation: GenerationQueueResource,
    llm: LlmResource,
) -> dg.MaterializeResult[None]:
    """One batch, worked until none of its items is open: texts by the tenant's providers, stored as content.

    Cancelling the run cancels the batch and settles its books; a run that dies or is evicted is replaced by another.
    """
    with explained():
        batch_id = identifier("batch_id", config.batch_id)
        queue = generation.queue()
        work = BatchWork(
            queue,
            content.store(),
            llm.chain,
            batch_id,
            worker=f"{context.run.run_id[:8]}@{socket.gethostname()}:{os.getpid()}",
            workers=get_settings().generation_workers,
            timeout_seconds=get_settings().generation_timeout,
        )
        with progress_bar(f"batch {str(batch_id)[:8]}", work.total) as bar:
            try:
                report = work.run(tell=_teller(context, bar))
            except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt):
                _settle_if_cancelled(context, queue, work.tenant_id, batch_id)
                raise
        columns = columns_of(postgres.client(), _TABLE)
    return _result(report, table_metadata(_TABLE, columns, 1))


def _teller(context: dg.AssetExecutionContext, bar: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """Tells the terminal at once and the run's page every half minute."""
    told = time.monotonic()

    def tell(progress: Progress) -> None:
        nonlocal told
        bar(progress)
        if time.monotonic() < told + _TELL_SECONDS:
            return
        told = time.monotonic()
        context.log_event(
            dg.AssetObservation(context.asset_key, description=str(progress), metadata=values(progress.as_metadata()))
        )

    return tell


def _settle_if_cancelled(
    context: dg.AssetExecutionContext, queue: GenerationQueue, tenant_id: UUID, batch_id: UUID
) -> None:
    """A person's cancellation of the run is the batch's too. An eviction is not: another run goes on with the batch."""
    run = context.instance.get_run_by_id(context.run.run_id)
    if run is None or run.status not in _ASKED_FOR:
        context.log.warning(f"interrupted, and nobody cancelled the run: batch {batch_id} waits for another one")
        return
    cancelled = queue.cancel_batch(tenant_id, batch_id)
    context.log.info(f"batch {batch_id} is cancelled with {cancelled} open items, and its books are settled")


def _result(report: WorkReport, shared: dict[str, Any]) -> dg.MaterializeResult[None]:
    metadata = shared | values(report.as_metadata())
    if report.status == BatchStatus.failed:
        raise dg.Failure(
            description=f"all {report.progress.failed:,} items failed: failures_here has the categories, "
            "generation_jobs.error_message the reasons",
            metadata=metadata,
            allow_retries=False,
        )
    return dg.MaterializeResult(metadata=metadata)


work_generation_batch = dg.define_asset_job(
    "work_generation_batch",
    selection=[generation_batch],
    hooks={stop_run_retries},
    # The sensors start another run where one died; Dagster's own retry would be a second one.
    tags={GENERATION_TAG: "true", "dagster/max_retries": "0"},
    description="Works one batch of the generation queue. The sensors start it; by hand it needs a batch_id.",
)
