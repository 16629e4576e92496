"""What people start by hand: a batch of their own, and the end of a batch."""

from decimal import Decimal, InvalidOperation

import dagster as dg
from pydantic import Field

from content_orchestration.core.errors import Permanent
from content_orchestration.core.generation.model import NewBatch
from content_orchestration.core.generation.proposal import propose
from content_orchestration.defs.generation.identifier import identifier
from content_orchestration.failures import explained, stop_run_retries
from content_orchestration.presentation import values
from content_orchestration.resources.generation import GenerationQueueResource
from content_orchestration.resources.postgres import PostgresResource


class SubmitConfig(dg.Config):
    """What is to be written, for whom, and what it may cost."""

    tenant_id: str = Field(description="UUID of the tenant that gets the content, and whose quota and budget it takes.")
    brand_id: str = Field(default="", description="UUID of one of the tenant's brands; empty for none.")
    content_type: str = Field(default="post", description="article, document, post or email.")
    topics: list[str] = Field(
        default_factory=list,
        description="What the items are about, a line each. Empty takes `count` of the tenant's rows of the platform's "
        "table topics that no item was made for.",
    )
    count: int = Field(
        default=0,
        ge=0,
        le=10_000,
        description="Items of the batch; with `topics` these are taken in turn. 0 means one item a topic.",
    )
    keywords: list[str] = Field(
        default_factory=list, description="Words that the texts should be found by, the most important first."
    )
    tone: str = Field(default="neutral", description="How the texts should sound, in a few words.")
    language: str = Field(default="en", description="BCP 47 tag of the language, such as en or pt-BR.")
    target_words: int = Field(default=0, ge=0, description="Words of a text, 20 to 5,000; 0 means the type's usual.")
    instructions: str = Field(
        default="", description="Anything else that a provider should know, at most 4,000 letters."
    )
    priority: int = Field(default=0, ge=-100, le=100, description="Batches of higher priority begin first.")
    estimated_bytes_per_item: int = Field(
        default=8192, ge=1, description="Bytes reserved for each text; what is not needed goes back when it is stored."
    )
    max_cost_usd: str = Field(
        default="",
        description="US dollars that the batch reserves of the month's budget, such as 12.50; empty for none.",
    )
    idempotency_key: str = Field(
        default="",
        description="The same key again adds nothing. Empty means the run's id: a retry adds nothing either.",
    )
    dry_run: bool = Field(
        default=True,
        description="True checks every item and shows what the batch would do to quota and budget; nothing is written. "
        "False submits it, and a sensor starts its run within seconds.",
    )

    def batch(self) -> NewBatch:
        """The batch that these values mean. Raises `Permanent`, naming field, rule and way out."""
        given = {
            "keywords": list(self.keywords),
            "tone": self.tone,
            "language": self.language,
            "target_words": self.target_words or None,
            "instructions": self.instructions,
        }
        return NewBatch(
            tenant_id=identifier("tenant_id", self.tenant_id),
            brand_id=identifier("brand_id", self.brand_id) if self.brand_id.strip() else None,
            content_type=self.content_type,
            job_type="launchpad",
            params={name: value for name, value in given.items() if value},
            priority=self.priority,
            estimated_bytes_per_item=self.estimated_bytes_per_item,
            max_cost_usd=_dollars(self.max_cost_usd),
        )


@dg.op
def submit_batch(
    context: dg.OpExecutionContext,
    config: SubmitConfig,
    postgres: PostgresResource,
    generation: GenerationQueueResource,
) -> None:
    """Check the batch and show its effect; submit it unless this is a dry run."""
    with explained():
        batch = config.batch()
        queue = generation.queue()
        proposal = propose(postgres.client(), queue, batch, config.topics, config.count)
        metadata = values(proposal.as_metadata()) | {"dry_run": config.dry_run}
        if config.dry_run:
            verdict = "; ".join(proposal.refusals) or "it fits; launch it with dry_run false"
            context.log.info(f"a batch of {len(proposal.items):,} items, nothing was written: {verdict}")
            context.add_output_metadata(metadata | {"verdict": verdict})
            return
        key = config.idempotency_key.strip() or f"run:{context.run.root_run_id or context.run.run_id}"
        submitted = queue.submit(batch, proposal.items, key)
    told = "was submitted before, so nothing was added" if submitted.replay else "is in the queue"
    context.log.info(f"batch {submitted.batch_id} of {submitted.items:,} items {told}")
    context.add_output_metadata(metadata | {"batch_id": str(submitted.batch_id), "replay": submitted.replay})


@dg.job(
    hooks={stop_run_retries},
    description="Submits a batch of texts to be written. A dry run by default, which shows what it would do to the "
    "tenant's quota and budget.",
)
def submit_generation_batch() -> None:
    """Submit a batch."""
    submit_batch()


class CancelConfig(dg.Config):
    """Which batch ends."""

    batch_id: str = Field(description="Id of the batch: content_generation_jobs.id.")
    dry_run: bool = Field(
        default=True, description="True says what is open; false cancels it. Items that are stored stay stored."
    )


@dg.op
def cancel_batch(context: dg.OpExecutionContext, config: CancelConfig, generation: GenerationQueueResource) -> None:
    """Cancel the batch's open items and settle its books; the run that works it ends within ten seconds."""
    with explained():
        queue = generation.queue()
        batch_id = identifier("batch_id", config.batch_id)
        batch = queue.batch(batch_id)
        if batch is None:
            raise Permanent(f"batch_id {batch_id} is no batch: copy it from content_generation_jobs")
        cancelled = 0
        if not config.dry_run:
            cancelled = queue.cancel_batch(batch.tenant_id, batch_id)
            batch = queue.batch(batch_id) or batch
    context.add_output_metadata(
        {
            "dry_run": config.dry_run,
            "status": str(batch.status),
            "items": batch.target_count,
            "done": batch.succeeded_count,
            "failed": batch.failed_count,
            "open": batch.queued_count + batch.running_count + batch.storing_count,
            "cancelled": batch.cancelled_count,
            "cancelled_by_this_run": cancelled,
            "cost_usd": float(batch.total_cost_usd),
        }
    )


@dg.job(hooks={stop_run_retries}, description="Cancels a batch of the generation queue. A dry run by default.")
def cancel_generation_batch() -> None:
    """Cancel a batch."""
    cancel_batch()


def _dollars(text: str) -> Decimal | None:
    if not text.strip():
        return None
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        value = Decimal(-1)
    if not value.is_finite() or value < 0:
        raise Permanent(
            f"max_cost_usd is {text!r}: write US dollars such as 12.50, or leave it empty for no reservation"
        )
    return value
