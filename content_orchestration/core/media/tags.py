"""Tags: who may give them, how one failing is kept away from the upload, and what a tag may look like.

The local tagger is in `heuristic.py`, the one that asks a vision model in `resources/vision.py`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from content_orchestration.core.errors import ContentError, Transient
from content_orchestration.core.media.describe import Described
from content_orchestration.core.media.heuristic import heuristic_words

Source = Literal["heuristic", "vision"]

MOST_TAGS = 20
_MOST_LETTERS = 40
_NOT_IN_TAGS = re.compile(r"[^\w\s&'+-]|_")


@dataclass(frozen=True)
class Tag:
    """A word or two in lower case; who gave it; how sure that is, 0 to 1."""

    name: str
    source: Source
    confidence: float


class Tagger(Protocol):
    """Gives tags. Raises `Transient` where trying later can help, another `ContentError` where it cannot."""

    @property
    def name(self) -> str:
        """What the tags were made with, for the record."""
        ...

    def tags(self, described: Described, filename: str, picture: Path | None) -> tuple[Tag, ...]:
        """Tags for a file. `picture` is a variant of it, JPEG or WebP, None for what is no picture."""
        ...


class HeuristicTagger:
    """Tags from colours, shape and file name, here and for nothing. Marked as such: it has not seen what is shown."""

    name = "heuristic"

    def tags(self, described: Described, filename: str, picture: Path | None = None) -> tuple[Tag, ...]:
        """Up to 20 tags; never raises."""
        return as_tags(heuristic_words(described, filename), "heuristic")


@dataclass(frozen=True)
class Tagging:
    """What tagging came to. `retry`: tags of the vision model are still to come, `reason` says why they did not."""

    tags: tuple[Tag, ...]
    tagger: str
    retry: bool = False
    reason: str | None = None


def tag(described: Described, filename: str, picture: Path | None, vision: Tagger | None) -> Tagging:
    """Tags of the vision model behind those of the local tagger. Never raises for a tagger's failure.

    Without a vision model, and for what is no picture, the local tags are all there are, and nothing is to be retried.
    """
    local = HeuristicTagger()
    known = local.tags(described, filename)
    if vision is None or picture is None:
        return Tagging(known, local.name)
    try:
        seen = vision.tags(described, filename, picture)
    except ContentError as error:
        return Tagging(known, local.name, retry=isinstance(error, Transient), reason=str(error))
    named = {one.name for one in seen}
    return Tagging((*seen, *(one for one in known if one.name not in named)), vision.name)


def as_tags(given: Iterable[tuple[str, float]], source: Source) -> tuple[Tag, ...]:
    """Words as tags: cleaned, each once, at most 20, the surest first."""
    tags: dict[str, Tag] = {}
    for text, confidence in given:
        name = " ".join(_NOT_IN_TAGS.sub(" ", text.lower()).split())
        if 2 <= len(name) <= _MOST_LETTERS and name not in tags:
            tags[name] = Tag(name, source, round(min(max(confidence, 0.0), 1.0), 2))
    return tuple(sorted(tags.values(), key=lambda one: -one.confidence)[:MOST_TAGS])
