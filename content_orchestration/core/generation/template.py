"""The local provider: texts put together from fixed sentences. No model, no network, no key, no cost.

It exists so that the whole path works without a key. Its texts say what they are, and so does its name in every row.
"""

import hashlib
from collections.abc import Iterator
from decimal import Decimal
from random import Random
from threading import Event

from content_orchestration.core.generation.model import FailureCategory
from content_orchestration.core.generation.provider import Generated, ProviderFailure, Reply, Stopped, Usage
from content_orchestration.core.generation.request import GenerationRequest
from content_orchestration.core.generation.score import TITLE_CHARACTERS, word_count
from content_orchestration.core.generation.template_text import (
    EMAIL_CLOSING,
    EMAIL_GREETING,
    HEADINGS,
    NOTICE,
    ON_KEYWORD,
    OPENINGS,
    SENTENCES,
)

NAME = "template"
MODEL = "template-1"
_WORDS_A_SECTION = 120
_SENTENCES_A_PARAGRAPH = 4
# One sentence in so many is about a keyword: a share of about 1 to 2 % of the words.
_KEYWORD_EVERY = 6


class TemplateProvider:
    """Deterministic texts: the same request gives the same text, in every process and for every tenant."""

    name = NAME
    model = MODEL

    def generate(self, request: GenerationRequest, *, timeout: float = 60.0, stop: Event | None = None) -> Reply:
        """A text in Markdown of about `target_words` words (within a tenth, or 20 words where that is more).

        English only: another language raises `ProviderFailure` (invalid_request), since a text in the wrong language
        is worse than none. Takes milliseconds, so `timeout` is not looked at; raises `Stopped` when `stop` is set.
        """
        if stop is not None and stop.is_set():
            raise Stopped("stopped before the template provider began")
        if request.language.partition("-")[0].lower() != "en":
            raise ProviderFailure(
                FailureCategory.invalid_request,
                f"the template provider writes English only and language is {request.language!r}: ask for en, or name "
                "a real provider in GENERATION_PROVIDERS",
                provider=NAME,
                usage=Usage(),
            )
        random = Random(_seed(request))  # noqa: S311  (a choice of sentences, nothing secret)
        title = _title(request)
        body = "\n\n".join(_blocks(request, random))
        generated = Generated.of(request, title, body, _tags(request))
        return Reply(generated, Usage(0, 0, Decimal(0)), NAME, MODEL)


def _seed(request: GenerationRequest) -> int:
    """All that is asked for and nothing of who asks."""
    parts = (
        request.content_type,
        request.topic,
        *request.keywords,
        request.tone,
        str(request.target_words),
        request.instructions,
        request.language,
    )
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def _title(request: GenerationRequest) -> str:
    topic = request.topic[:1].upper() + request.topic[1:]
    keyword = _keyword(request)
    if keyword.lower() not in topic.lower():
        topic = f"{topic}: {keyword}"
    for ending in ("", ": a plain guide", ": a plain guide with first steps", ": a plain guide with the first steps"):
        if len(topic + ending) in TITLE_CHARACTERS:
            return topic + ending
    return topic


def _tags(request: GenerationRequest) -> list[str]:
    words = (request.keywords or (request.topic[:100],))[:8]
    return [*dict.fromkeys(word.lower() for word in words), NAME]


def _keyword(request: GenerationRequest) -> str:
    return request.keywords[0] if request.keywords else request.topic


def _blocks(request: GenerationRequest, random: Random) -> Iterator[str]:
    """The parts of the body: greeting, paragraphs under headings, and the notice that says what this is."""
    frame = [NOTICE]
    if request.content_type == "email":
        frame += [EMAIL_GREETING, EMAIL_CLOSING]
        yield EMAIL_GREETING
    left = request.target_words - sum(word_count(part) for part in frame)
    sentences = _sentences(request, random)
    headed = request.content_type in ("article", "document")
    headings = _headings(request, random)
    in_section, first = 0, True
    while left > 0 or first:
        if headed and (in_section >= _WORDS_A_SECTION or (first and request.target_words >= _WORDS_A_SECTION)):
            heading = next(headings)
            # A heading needs a paragraph below it.
            if left > word_count(heading) + 20:
                yield f"## {heading}"
                left -= word_count(heading)
            in_section = 0
        paragraph: list[str] = []
        while len(paragraph) < _SENTENCES_A_PARAGRAPH and (left > 0 or first):
            sentence = next(sentences)
            words = word_count(sentence)
            # Nearer to what was asked without it than with it.
            if not first and words > 2 * left:
                left = 0
                break
            paragraph.append(sentence)
            left -= words
            in_section += words
            first = False
        if paragraph:
            yield " ".join(paragraph)
    if request.content_type == "email":
        yield EMAIL_CLOSING
    yield NOTICE


def _headings(request: GenerationRequest, random: Random) -> Iterator[str]:
    keywords = request.keywords or (request.topic,)
    at = 0
    while True:
        for heading in HEADINGS if at == 0 else random.sample(HEADINGS, len(HEADINGS)):
            yield heading.format(keyword=keywords[at % len(keywords)])
        at += 1


def _sentences(request: GenerationRequest, random: Random) -> Iterator[str]:
    """The opening, then sentences without end; every few of them one about a keyword, the keywords in turn."""
    kind = {"email": "message", "post": "post", "document": "document"}.get(request.content_type, "article")
    first = _keyword(request)
    yield random.choice(OPENINGS).format(keyword=first, kind=kind)
    keywords = request.keywords or (request.topic,)
    given = 0
    while True:
        for sentence in random.sample(SENTENCES, len(SENTENCES)):
            yield sentence
            given += 1
            if given % _KEYWORD_EVERY == 0:
                turn = given // _KEYWORD_EVERY
                # The first keyword every second time: the text should be found by it.
                keyword = first if turn % 2 else keywords[(turn // 2) % len(keywords)]
                yield random.choice(ON_KEYWORD).format(keyword=keyword)
