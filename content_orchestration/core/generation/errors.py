"""What the generation queue refuses. Each message names the field or the batch, the rule, and the way out."""

from content_orchestration.core.errors import Permanent


class InvalidBatch(Permanent):
    """A batch or one of its items breaks a rule that the message names. Nothing was written."""


class SubmissionKeyReused(Permanent):
    """The idempotency key belongs to a batch of other content. Nothing was written."""


class BudgetExceeded(Permanent):
    """The tenant's month, or the batch itself, has no money left. Nothing was reserved, no provider was called."""


class UnknownBatch(Permanent):
    """No batch has this id."""
