"""What engines expect of the document store: a Protocol, its results, its errors. No HTTP and no Dagster here.

The client of ZeroDB is `resources/zerodb_client.py`; unit tests of engines bring a fake with the same shape.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from content_orchestration.core.errors import Permanent

Document = dict[str, Any]
"""A JSON object with a unique text `id`; bodies carry `body_sha256` too."""

Where = Mapping[str, Any]
"""A filter in MongoDB's style, `{field: value}` or `{field: {"$in": [..]}}`; the contract lists the operators."""

_SAMPLE = 20
MARK = "repair_mark"
"""The field of the one copy that `reduce_copies` leaves: which repair chose it. No row determines it."""


class InvalidDocument(Permanent):
    """A document that cannot be stored as it is: no id, not JSON, or given twice in one call with different content."""


class DocumentConflict(Permanent):
    """Documents are stored under these ids with another `body_sha256`. Bodies are immutable: none was overwritten."""

    def __init__(self, collection: str, ids: Iterable[str]) -> None:
        self.collection = collection
        self.ids = tuple(sorted(ids))
        shown = ", ".join(self.ids[:_SAMPLE]) + (" ..." if len(self.ids) > _SAMPLE else "")
        super().__init__(
            f"{len(self.ids)} documents are in {collection} with another body_sha256: {shown}. Bodies are immutable "
            "and nothing was overwritten; write a changed body under its next version"
        )


@dataclass(frozen=True, slots=True)
class PutReport:
    """What `put_many` did. `inserted + existing` is the number of different ids that were given."""

    inserted: int
    """Documents that were not there before this call."""
    existing: int
    """Documents that were there already with the same `body_sha256`."""
    requests: int
    """HTTP requests sent, look-ups and retries included."""
    resent: int = 0
    """Documents sent again after an answer was lost: the only ones of this call that a late write could double."""

    def as_metadata(self) -> dict[str, int]:
        """The numbers under the names that Dagster shows."""
        return {
            "documents_inserted": self.inserted,
            "documents_existing": self.existing,
            "documents_resent": self.resent,
            "zerodb_requests": self.requests,
        }


class DocumentStore(Protocol):
    """A store of JSON documents in named collections, unique by `id` as far as this interface is the only writer.

    Every method raises `Permanent` where trying again cannot help and `Transient` where its own retries ran out.
    """

    def collections(self) -> dict[str, int]:
        """Each collection's name with its number of rows."""
        ...

    def ensure_collection(self, name: str, indexes: Sequence[str]) -> bool:
        """Create the collection unless it exists; True if this call created it. Safe to run concurrently."""
        ...

    def put_many(self, collection: str, documents: Iterable[Document], *, new: bool = False) -> PutReport:
        """Store each document under its `id`, once, however often this is called.

        `new`: the ids are random and this is the first call that names them, so none is looked for before it is put.
        Raises `DocumentConflict` for an id that is stored with another `body_sha256`, and `InvalidDocument`.
        """
        ...

    def get_many(self, collection: str, ids: Iterable[str]) -> dict[str, Document]:
        """The documents with these ids, by id; an id that is not stored is not in the result."""
        ...

    def delete_many(self, collection: str, ids: Iterable[str]) -> int:
        """Delete the documents with these ids; the number of rows that the server says it removed."""
        ...

    def replace(self, collection: str, document: Document) -> int:
        """Give every stored copy of this document's `id` its fields, atomically; the number of copies. For repairs."""
        ...

    def reduce_copies(self, collection: str, document: Document, mark: str) -> int:
        """Leave one copy, which carries `mark`, of a document that is stored more than once; how many went.

        The one that stays is durable before another goes, whatever is repeated or comes late. For repairs.
        """
        ...

    def scan(
        self,
        collection: str,
        *,
        where: Where | None = None,
        after: str | None = None,
        page: int = 500,
        fields: Sequence[str] | None = None,
    ) -> Iterator[Document]:
        """Every document that matches, by ascending id from beyond `after`; rows that share an id all appear.

        `fields` limits the answer to these top-level fields and `id`. Not a snapshot: a document inserted behind the
        cursor while scanning is not seen.
        """
        ...

    def count(self, collection: str, where: Where | None = None) -> int:
        """The number of rows that match."""
        ...

    def ping(self) -> float:
        """Seconds that one liveness request took; raises `Transient` where the server does not answer."""
        ...
