"""What goes into the generation queue and what comes out of it. Values only: rules are in `submit.py` and the SQL."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

# Most items of one batch that run at once. Revision 0008 has the number, in a claim and as a constraint.
MOST_RUNNING_A_BATCH = 10
# While so many of a batch wait to be stored no more are claimed. Revision 0008 has the number in a claim.
MOST_STORING_A_BATCH = 50
MOST_ITEMS_A_BATCH = 10_000
MAX_ATTEMPTS = 3


class Phase(StrEnum):
    """How far an item is. `completed` and `error` are set with the item's end and by nothing else."""

    queued = "queued"
    analyzing = "analyzing"
    structuring = "structuring"
    writing = "writing"
    optimizing = "optimizing"
    finalizing = "finalizing"
    completed = "completed"
    error = "error"


class ItemStatus(StrEnum):
    """The state of an item. The last three are ends: nothing leaves them.

    `storing` is leased as `running` is, but a provider has replied and it does not count as one of the ten.
    """

    queued = "queued"
    running = "running"
    storing = "storing"
    completed = "completed"
    failed = "failed"
    cancelled = "cancelled"


class BatchStatus(StrEnum):
    """The state of a batch, as content_generation_jobs.status has it."""

    queued = "queued"
    running = "running"
    completed = "completed"
    failed = "failed"
    cancelled = "cancelled"


class FailureCategory(StrEnum):
    """Why an attempt failed."""

    provider = "provider"
    rate_limit = "rate_limit"
    content_policy = "content_policy"
    quota = "quota"
    invalid_request = "invalid_request"
    timeout = "timeout"
    crash = "crash"
    unknown = "unknown"

    @property
    def permanent(self) -> bool:
        """Whether trying the same again cannot help."""
        return self in _PERMANENT


_PERMANENT = frozenset({FailureCategory.content_policy, FailureCategory.quota, FailureCategory.invalid_request})

FailOutcome = Literal["retried", "failed", "stale"]


@dataclass(frozen=True)
class NewBatch:
    """A batch to be submitted. Bytes are UTF-8 bytes of bodies; `max_cost_usd` is what the whole batch may cost."""

    tenant_id: UUID
    brand_id: UUID | None = None
    user_id: UUID | None = None
    job_type: str = "batch"
    content_type: str = "post"
    params: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    estimated_bytes_per_item: int = 8192
    max_cost_usd: Decimal | None = None


@dataclass(frozen=True)
class NewItem:
    """One item of a batch. `request` must be JSON; without an `id` the database gives one. Higher priority is first."""

    topic_id: UUID | None = None
    article_id: UUID | None = None
    request: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None
    priority: int = 0


@dataclass(frozen=True)
class Submitted:
    """A batch that is in the queue. `replay` says that the idempotency key was known, and nothing was added."""

    batch_id: UUID
    items: int
    replay: bool


@dataclass(frozen=True)
class Claimed:
    """An item that a worker holds until `lease_expires_at` (database time). `token` is the fence of every write.

    A row of the older shape has no batch; then `tenant_id` may be None too, and `params` is empty.
    """

    id: str
    batch_id: UUID | None
    tenant_id: UUID | None
    brand_id: UUID | None
    user_id: UUID | None
    content_type: str
    request: Mapping[str, Any]
    params: Mapping[str, Any]
    attempt: int
    max_attempts: int
    token: int
    lease_expires_at: datetime


@dataclass(frozen=True)
class Done:
    """What an item has become. `storage_bytes` are the bytes of the stored body.

    `cost_usd` is what the call that succeeded cost, for the worker's own sums; the books add up the attempts instead,
    since failed ones cost too.
    """

    content_id: UUID
    word_count: int
    seo_score: int
    provider: str
    cost_usd: Decimal
    storage_bytes: int


@dataclass(frozen=True)
class Reaped:
    """What became of items whose lease had expired, and how many batches' books were closed that a dead run left."""

    retried: int
    failed: int
    closed: int = 0

    @property
    def total(self) -> int:
        """All items."""
        return self.retried + self.failed

    def as_metadata(self) -> dict[str, Any]:
        """For an asset's metadata."""
        return {"retried": self.retried, "failed": self.failed, "closed": self.closed}
