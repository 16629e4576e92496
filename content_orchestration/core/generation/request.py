"""What a provider is asked for: one item's request, checked. A bad field is refused before any provider is called."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from content_orchestration.core.errors import Permanent

if TYPE_CHECKING:
    from content_orchestration.core.generation.model import Claimed

# Words that are asked for where a request names no number, by content type.
DEFAULT_WORDS = {"article": 800, "document": 800, "post": 150, "email": 250}
TARGET_WORDS = range(20, 5001)
MAX_TOPIC_CHARACTERS = 500
MAX_INSTRUCTION_CHARACTERS = 4000
MAX_KEYWORDS = 20
MAX_KEYWORD_CHARACTERS = 100
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


@dataclass(frozen=True)
class GenerationRequest:
    """One item to be written. `keywords` are by weight, the first is what the text should be found by."""

    tenant_id: UUID
    content_type: str
    topic: str
    keywords: tuple[str, ...] = ()
    tone: str = "neutral"
    target_words: int = 150
    instructions: str = ""
    language: str = "en"

    @classmethod
    def from_item(cls, claimed: "Claimed") -> "GenerationRequest":
        """The request of a claimed item: its own fields before those of its batch. Unknown fields are left alone.

        `topic_title` and `title` stand in for `topic` in rows of the older shape. Raises `Permanent` naming the field.
        """
        if claimed.tenant_id is None:
            raise Permanent(
                f"tenant_id of item {claimed.id} is empty: nobody could own what is written; give it a tenant"
            )
        return cls.of(claimed.tenant_id, claimed.content_type, {**claimed.params, **claimed.request})

    @classmethod
    def of(cls, tenant_id: UUID, content_type: str, fields: Mapping[str, Any]) -> "GenerationRequest":
        """The request of plain fields. Raises `Permanent` naming the field, the rule and the way out."""
        if content_type not in DEFAULT_WORDS:
            raise Permanent(
                f"content_type is {content_type!r}, which no provider writes: use one of {', '.join(DEFAULT_WORDS)}"
            )
        given = next((name for name in ("topic", "topic_title", "title") if fields.get(name) is not None), "topic")
        topic = _text(given, "" if fields.get(given) is None else fields[given], MAX_TOPIC_CHARACTERS)
        if not topic:
            raise Permanent("topic is empty: say in one line what the item is to be about")
        return cls(
            tenant_id=tenant_id,
            content_type=content_type,
            topic=topic,
            keywords=_keywords(fields.get("keywords")),
            tone=_text("tone", fields.get("tone") or "neutral", MAX_KEYWORD_CHARACTERS),
            target_words=_words(fields.get("target_words"), content_type),
            instructions=_text(
                "instructions", fields.get("instructions") or "", MAX_INSTRUCTION_CHARACTERS, one_line=False
            ),
            language=_language(fields.get("language") or "en"),
        )


def _text(field: str, value: object, most: int, *, one_line: bool = True) -> str:
    if not isinstance(value, str):
        raise Permanent(f"{field} is a {type(value).__name__}, not text: give {field} as text")
    if len(value) > most:
        raise Permanent(f"{field} is longer than {most:,} characters: shorten it")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Permanent(f"{field} is not valid UTF-8 (a lone surrogate): decode the text properly first") from None
    if "\x00" in value:
        raise Permanent(f"{field} has a NUL character, which PostgreSQL does not store: remove it")
    return " ".join(value.split()) if one_line else value.strip()


def _keywords(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple):
        raise Permanent(f"keywords is a {type(value).__name__}: give a list of words, or words separated by commas")
    words = (_text(f"keywords[{at}]", word, MAX_KEYWORD_CHARACTERS) for at, word in enumerate(value))
    kept = tuple(dict.fromkeys(word for word in words if word))
    if len(kept) > MAX_KEYWORDS:
        raise Permanent(f"keywords has {len(kept)} entries: give at most {MAX_KEYWORDS}, the most important first")
    return kept


def _words(value: object, content_type: str) -> int:
    if value is None:
        return DEFAULT_WORDS[content_type]
    if not isinstance(value, int) or isinstance(value, bool) or value not in TARGET_WORDS:
        raise Permanent(
            f"target_words is {value!r}: give a whole number from {TARGET_WORDS.start} to {TARGET_WORDS.stop - 1}"
        )
    return value


def _language(value: object) -> str:
    if not isinstance(value, str) or not _LANGUAGE.fullmatch(value):
        raise Permanent(f"language is {value!r}: give a BCP 47 tag such as en, de or pt-BR")
    return value
