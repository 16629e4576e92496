"""Reads documents so that one that cannot be read does not hide the others. What they should say is not known here."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from content_orchestration.core.documents import Document, DocumentStore
from content_orchestration.core.errors import ContentError

# No document has it: asking for it tells a store that does not answer from a document that it cannot give.
_PROBE = "-"


@dataclass(frozen=True)
class Reading:
    """The documents that are stored, by id, and the reason for each one that could not be read."""

    found: dict[str, Document] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)


def read_documents(store: DocumentStore, collection: str, ids: Sequence[str]) -> Reading:
    """The documents with these ids. Raises `Permanent` or `Transient` where the store as a whole cannot be read.

    Where it answers but not for these, they are asked for in halves down to the one that it cannot give: a scrub that
    stopped there every time would never reach what lies behind.
    """
    try:
        return Reading(store.get_many(collection, ids))
    except ContentError as error:
        store.get_many(collection, [_PROBE])
        if len(ids) == 1:
            return Reading(unreadable={ids[0]: str(error)})
    half = len(ids) // 2
    first, second = (read_documents(store, collection, part) for part in (ids[:half], ids[half:]))
    return Reading(first.found | second.found, first.unreadable | second.unreadable)
