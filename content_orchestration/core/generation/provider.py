"""What a provider of texts is to the rest: the request it gets, the reply it gives, and how it fails.

How a provider works does not belong here: `template.py` is the local one, `resources/llm_*.py` are the real ones.
"""

from dataclasses import dataclass
from decimal import Decimal
from threading import Event
from typing import Protocol, Self

from pydantic import BaseModel, ConfigDict, Field

from content_orchestration.core.errors import ContentError
from content_orchestration.core.generation.model import FailureCategory
from content_orchestration.core.generation.request import GenerationRequest
from content_orchestration.core.generation.score import seo_score, word_count

__all__ = [
    "FailureCategory",
    "Generated",
    "GenerationRequest",
    "Provider",
    "ProviderFailure",
    "Reply",
    "Stopped",
    "Usage",
]

MAX_TAGS = 20


class Generated(BaseModel):
    """A finished text. The words and the score are counted by us, never taken from a provider's word."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(min_length=1, max_length=1000)
    body: str = Field(min_length=1, description="Markdown.")
    tags: list[str] = Field(max_length=MAX_TAGS)
    word_count: int = Field(ge=0)
    seo_score: int = Field(ge=0, le=100, description="By the rule of `score.seo_score`.")

    @classmethod
    def of(cls, request: GenerationRequest, title: str, body: str, tags: list[str]) -> Self:
        """The text that answers `request`, counted and scored."""
        return cls(
            title=title,
            body=body,
            tags=tags,
            word_count=word_count(body),
            seo_score=seo_score(title, body, request.keywords),
        )


@dataclass(frozen=True)
class Usage:
    """What one call used, as its provider counted it, and what that costs."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)


@dataclass(frozen=True)
class Reply:
    """A text with who wrote it and what that cost."""

    generated: Generated
    usage: Usage
    provider: str
    model: str


class ProviderFailure(ContentError):
    """A call that gave no text. The message names the provider and the way out and never carries a key.

    `usage` is what the failed call used, None where nobody can know (a call that was cut off or timed out may be
    billed). `retry_after` is in seconds.
    """

    def __init__(
        self,
        category: FailureCategory,
        message: str,
        *,
        provider: str = "",
        retry_after: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(message)
        self.category = category
        self.provider = provider
        self.retry_after = retry_after
        self.usage = usage

    @property
    def permanent(self) -> bool:
        """Whether the same call will fail again until somebody changes something."""
        return self.category.permanent


class Stopped(ContentError):
    """The caller's `stop` was set: the call was ended, and it is no failure of the provider's."""


class Provider(Protocol):
    """One provider with one model. Ten threads call it at once."""

    @property
    def name(self) -> str:
        """The name under which attempts and costs are recorded."""
        ...

    @property
    def model(self) -> str:
        """The provider's own name of the model."""
        ...

    def generate(self, request: GenerationRequest, *, timeout: float, stop: Event | None = None) -> Reply:
        """The text that answers `request`, after one call and at most `timeout` seconds of it.

        Raises `ProviderFailure`, and `Stopped` soon after `stop` was set.
        """
        ...
