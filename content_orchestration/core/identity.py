"""Names that must come out the same in every run: content ids from their source, document ids from id and version."""

import hashlib
from uuid import UUID, uuid5

_NAMESPACE = UUID("5f3b7a52-0d0e-5c0e-9a67-3f6f5f6b6f21")


def content_id(source: str) -> UUID:
    """The id of whatever comes from `source`: the same in every run, so that a repeated write is the same write."""
    return uuid5(_NAMESPACE, source)


def document_id(content: UUID | str, version: int) -> str:
    """The id of the immutable body document of one version."""
    return f"{content}.v{version}"


def sha256_hex(text: str) -> str:
    """SHA-256 of the text in UTF-8, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
