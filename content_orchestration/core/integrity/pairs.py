"""Rows beside the documents that they name: reads both in bounded memory and asks a judge what differs.

Nothing here raises a false alarm for what changes meanwhile: whatever looks wrong is settled later, by the rows as they
are before and after one more look at the document. Writers put documents before their rows and delete them after, so a
document that is wrong between two equal readings of its rows is wrong. What "wrong" means is the judge's.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from content_orchestration.core.database import Database, Row
from content_orchestration.core.documents import Document, DocumentStore
from content_orchestration.core.errors import ContentError
from content_orchestration.core.integrity.findings import Comparison, Difference
from content_orchestration.core.integrity.reading import Reading, read_documents
from content_orchestration.core.sql import statement

# Documents in memory at once, by the sizes that their rows name; one larger document still goes, alone.
_GROUP_BYTES = 32 * 1024 * 1024
_GROUP = 1000
# Documents that look wrong and wait to be settled.
_MOST_DOUBTFUL = 1000
_ROUNDS = 3

SPILLED = "waits in content_body_spill"
GONE = "deleted while the check ran"
CHANGING = "changed while the check ran"
UNREADABLE = "could not be read"
NOT_REACHED = "not reached: the check was cut off"


@dataclass(frozen=True, slots=True)
class Named:
    """A document that rows name. `lookup` is the id by which its rows are read again, `key` is its own."""

    key: tuple[object, ...]
    lookup: UUID
    document_id: str
    rows: tuple[Row, ...]

    @property
    def size(self) -> int:
        """Bytes of the document as its row names them, 0 where it names none."""
        return int(self.rows[0].get("storage_size_bytes") or 0)


@dataclass(frozen=True)
class Pairing:
    """One collection and its rows: how they are read again by `lookup`, which belong together, and what differs.

    A row of `again_sql` may say `spilled`: then the document is in PostgreSQL for now, and one that says something else
    was left by a writer that was killed and is replaced by the drain.
    """

    collection: str
    again_sql: str
    named: Callable[[Iterable[Row]], Iterator[Named]]
    judge: Callable[[Named, Document | None], list[Difference]]


class Pairs:
    """Compares what rows name with what is stored, and counts it in `comparison`: attempted = compared + skipped."""

    def __init__(self, database: Database, store: DocumentStore, pairing: Pairing, comparison: Comparison) -> None:
        self._database = database
        self._store = store
        self._pairing = pairing
        self._comparison = comparison
        self._doubtful: dict[tuple[object, ...], Named] = {}

    def compare(self, named: Iterable[Named]) -> None:
        """Compare these; `settle` ends it. Raises `Permanent` or `Transient` where a tier cannot be read."""
        try:
            for group in bounded(named):
                self._compare(group)
                if len(self._doubtful) >= _MOST_DOUBTFUL:
                    self.settle()
        except ContentError:
            self._comparison.skip(NOT_REACHED, len(self._doubtful))
            self._doubtful = {}
            raise

    def settle(self) -> None:
        """Look once more at all that looked wrong. Raises as `compare` does."""
        waiting, self._doubtful = self._doubtful, {}
        try:
            for group in list(bounded(waiting.values())):
                self._settle(group, waiting)
        except ContentError:
            self._comparison.skip(NOT_REACHED, len(waiting))
            raise

    def _compare(self, group: Sequence[Named]) -> None:
        self._comparison.attempted += len(group)
        try:
            reading = self._read(group)
        except ContentError:
            self._comparison.skip(NOT_REACHED, len(group))
            raise
        for named in group:
            if self._unreadable(named, reading):
                continue
            if self._pairing.judge(named, reading.found.get(named.document_id)):
                self._doubtful[named.key] = named
            else:
                self._comparison.compared += 1

    def _settle(self, group: Sequence[Named], waiting: dict[tuple[object, ...], Named]) -> None:
        """Decide on each of the group, and take it out of `waiting` as it is decided."""
        keys = [named.key for named in group]
        for _ in range(_ROUNDS):
            before = self._again(group)
            reading = self._read([before[key] for key in keys if key in before])
            after = self._again(group)
            for key in keys:
                if self._decided(before.get(key), after.get(key), reading):
                    del waiting[key]
            keys = [key for key in keys if key in waiting]
            if not keys:
                return
        self._comparison.skip(CHANGING, len(keys))
        for key in keys:
            del waiting[key]

    def _decided(self, before: Named | None, after: Named | None, reading: Reading) -> bool:
        if after is None:
            self._comparison.skip(GONE)
            return True
        if before != after:
            return False
        if self._unreadable(after, reading):
            return True
        document = reading.found.get(after.document_id)
        found = self._pairing.judge(after, document)
        if found and after.rows[0].get("spilled"):
            self._comparison.skip(SPILLED)
            return True
        self._comparison.differences += found
        self._comparison.compared += 1
        return True

    def _unreadable(self, named: Named, reading: Reading) -> bool:
        reason = reading.unreadable.get(named.document_id)
        if reason is None:
            return False
        self._comparison.skip(UNREADABLE)
        self._comparison.unknown = (
            self._comparison.unknown
            or f"{self._pairing.collection} has documents that cannot be read, the first {named.document_id}: {reason}"
        )
        return True

    def _read(self, group: Sequence[Named]) -> Reading:
        ids = list(dict.fromkeys(named.document_id for named in group))
        return read_documents(self._store, self._pairing.collection, ids) if ids else Reading()

    def _again(self, doubtful: Iterable[Named]) -> dict[tuple[object, ...], Named]:
        lookups = list({named.lookup for named in doubtful})
        with self._database.connection() as connection:
            rows = connection.execute(statement(self._pairing.again_sql), {"ids": lookups}).fetchall()
        return {named.key: named for named in self._pairing.named(rows)}


def bounded(named: Iterable[Named]) -> Iterator[list[Named]]:
    """Groups whose documents fit in memory together."""
    group: list[Named] = []
    size = 0
    for each in named:
        if group and (len(group) == _GROUP or size + each.size > _GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(each)
        size += each.size
    if group:
        yield group
