"""Small pictures for a run's metadata: how many, how large, and as Markdown with data URIs. They are nobody's variants.

Bounded, because metadata is a row in Dagster's event log: 12 pictures of at most 12 kB are about 190 kB of base64.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MOST_PICTURES = 12
MOST_BYTES = 12_000

_UNSAFE = re.compile(r"[^\w .,()+-]")
_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """One small picture and what it is called. `mime_type` is image/jpeg or image/webp."""

    name: str
    mime_type: str
    data: bytes


def thumbnail(name: str, mime_type: str, path: Path, size_bytes: int) -> Thumbnail | None:
    """The file as a thumbnail, None where it is too large for metadata."""
    return Thumbnail(name, mime_type, path.read_bytes()) if size_bytes <= MOST_BYTES else None


def as_markdown(pictures: Sequence[Thumbnail]) -> str:
    """The pictures, at most 12, each with its name. A file's name is a stranger's text and loses its Markdown."""
    shown = [
        f"![{_plain(each.name)}](data:{each.mime_type};base64,{base64.b64encode(each.data).decode()})"
        for each in pictures[:MOST_PICTURES]
    ]
    return " ".join(shown)


def _plain(name: str) -> str:
    return _UNSAFE.sub("_", name)[:_LONGEST_NAME] or "file"
