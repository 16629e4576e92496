"""`ZeroDBClient`: the document store of `core/documents.py` over ZeroDB's REST interface.

Decides what is asked for and in which portions; how a request is sent and retried is `zerodb_http.py`. No Dagster here.
"""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import chain, islice
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import quote

from content_orchestration.core.documents import MARK, Document, DocumentStore, PutReport, Where
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.resources.zerodb_http import (
    Answer,
    AnswerTooLargeError,
    AttemptError,
    Call,
    Tally,
    ZeroDBHttp,
)
from content_orchestration.resources.zerodb_json import encode
from content_orchestration.resources.zerodb_wire import (
    MAX_ROWS,
    Row,
    batched,
    beyond,
    both,
    by_id,
    check_size,
    describe,
    portions,
    refuse_conflicts,
    rows_of,
    total_of,
    with_ids,
)

if TYPE_CHECKING:
    import httpx

MAX_ANSWER_BYTES = 64 * 1024 * 1024
_HASH_FIELDS = ("id", "body_sha256")

_T = TypeVar("_T")
_R = TypeVar("_R")
_Send = Callable[[Call], Answer]


class ZeroDBClient:
    """A client of one ZeroDB project. Thread-safe; connects with the first call; a context manager.

    base_url: of the API, version included. api_key: sent as `X-API-Key`, never in a message or a log.
    timeout: seconds without a byte, and for the whole of an answer, after which an attempt is given up.
    concurrency: requests in flight at once, which is also the number of connections kept.
    attempts, total_timeout: an operation is tried at most 8 times and no wait begins after 120 seconds; with the
    exponential waits (0.2 s doubling to 10 s, and jitter) the attempts alone bridge an outage of about 25 seconds.
    A `Retry-After` that would outlast `total_timeout` ends the operation with a `Transient` that carries it.
    transport: for tests, in place of the network.
    """

    def __init__(
        self,
        base_url: str,
        project_id: str,
        api_key: str,
        *,
        timeout: float = 30.0,
        concurrency: int = 8,
        attempts: int = 8,
        total_timeout: float = 120.0,
        wait_initial: float = 0.2,
        wait_max: float = 10.0,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        transport: "httpx.BaseTransport | None" = None,
    ) -> None:
        self._http = ZeroDBHttp(
            base_url,
            api_key,
            timeout=timeout,
            connections=concurrency,
            attempts=attempts,
            total_timeout=total_timeout,
            wait_initial=wait_initial,
            wait_max=wait_max,
            max_answer_bytes=max_answer_bytes,
            transport=transport,
        )
        self._project_id = project_id
        self._tables = f"/projects/{quote(project_id, safe='')}/database/tables"
        self._concurrency = concurrency
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def __repr__(self) -> str:
        return f"ZeroDBClient(server={self._http.server!r}, project_id={self._project_id!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the threads and close the connections; a later call opens them again."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True)
        self._http.close()

    def ping(self) -> float:
        """Seconds that one liveness request took, without retries; says nothing of the key. Raises `Transient`."""
        started = time.monotonic()
        try:
            self._http.send(Call("ping", "GET", "/health", parse=False))
        except AttemptError as error:
            raise Transient(f"ZeroDB at {self._http.server} does not answer: {error}", error.retry_after) from error
        return time.monotonic() - started

    def collections(self) -> dict[str, int]:
        """Each collection's name with its number of rows."""
        content = self._http.call(Call("list of collections", "GET", self._tables)).content
        tables, total = content.get("tables"), content.get("total")
        if not isinstance(tables, list) or total != len(tables):
            raise Permanent(
                f"ZeroDB at {self._http.server} listed a part of its {total} collections: unknown is not absent"
            )
        found: dict[str, int] = {}
        for table in tables:
            rows = table.get("row_count")
            found[table["table_name"]] = self.count(table["table_name"]) if rows is None else rows
        return found

    def ensure_collection(self, name: str, indexes: Sequence[str]) -> bool:
        """Create the collection unless it exists. Indexes of one that exists are left as they are.

        True if this call created it; False too where it did but the first answer was lost.
        """
        payload = encode({"table_name": name, "schema": {}, "indexes": list(indexes)}, f"collection {name!r}")
        call = Call(f"creation of {name}", "POST", self._tables, payload, accept=(200, 201, 409))
        return self._http.call(call).status != 409

    def count(self, collection: str, where: Where | None = None) -> int:
        """The number of rows that match."""
        body = {"filter": dict(where or {}), "limit": 0}
        return total_of(self._http.call(self._query(f"count in {collection}", collection, body)))

    def put_many(self, collection: str, documents: Iterable[Document], *, new: bool = False) -> PutReport:
        """Store each document under its `id`, once, although inserting is not idempotent.

        Looks up which ids exist, inserts the others in requests of at most 1000 rows and 8 MiB (a larger document goes
        alone), and looks up again before it repeats an insert whose answer was lost. Raises `DocumentConflict` before
        anything is written where the look-up finds one, and `InvalidDocument`. With `new` only the first look-up is
        left out: for random ids that no call named before.

        Two windows remain, since the store has no unique keys. Two processes that put one new id at the same instant
        both insert it. And a request that timed out here may be executed by the server after our look-up; only the
        server's own limits bound how late, so `PutReport.resent` counts what this could concern. Both leave identical
        rows, of which `get_many` returns one and which the integrity check finds (`scan` shows them all).
        """
        wanted = by_id(collection, documents)
        tally = Tally()
        stored: dict[str, list[object]] = {}
        for part in self._map(
            lambda ids: self._hashes(self._http.call, collection, ids, tally),
            () if new else batched(wanted, MAX_ROWS),
        ):
            stored.update(part)
        refuse_conflicts(collection, stored, {key: doc.get("body_sha256") for key, doc in wanted.items()})
        rows = (
            Row(key, encode(document, describe(collection, key)), document.get("body_sha256"))
            for key, document in wanted.items()
            if key not in stored
        )
        resent = sum(self._map(lambda batch: self._insert(collection, batch, tally), portions(rows)))
        return PutReport(len(wanted) - len(stored), len(stored), tally.requests, resent)

    def get_many(self, collection: str, ids: Iterable[str], *, chunk: int = 200) -> dict[str, Document]:
        """The documents with these ids, by id, asked for `chunk` (1 to 1000) ids a request and in parallel.

        An answer beyond 64 MiB is given up and asked for in halves, so memory stays bounded whatever the sizes.
        """
        check_size("chunk", chunk)
        found: dict[str, Document] = {}
        for rows in self._map(
            lambda part: self._rows_with_ids(self._http.call, collection, part), batched(dict.fromkeys(ids), chunk)
        ):
            for row in rows:
                # Rows that share an id should be identical; where they are not, every reader gets the same one.
                other = found.setdefault(row["id"], row)
                if other is not row and str(row.get("body_sha256")) < str(other.get("body_sha256")):
                    found[row["id"]] = row
        return found

    def delete_many(self, collection: str, ids: Iterable[str]) -> int:
        """Delete the documents with these ids, 500 a request.

        The number of rows that the server says it removed; too low by a request whose first answer was lost.
        """

        def delete(part: list[str]) -> int:
            payload = encode({"filter": with_ids(part), "limit": 0}, "the list of ids")
            call = Call(f"deletion from {collection}", "DELETE", self._path(collection, "rows"), payload)
            return int(self._http.call(call).content["deleted_count"])

        return sum(self._map(delete, batched(dict.fromkeys(ids), 500)))

    def replace(self, collection: str, document: Document) -> int:
        """Give every copy of a stored document these fields, in one atomic request; the number of copies.

        A reader sees all of the old one or all of the new one, and repeating it after a lost answer changes nothing.
        """
        return self._update(collection, {"id": document["id"]}, document)

    def reduce_copies(self, collection: str, document: Document, mark: str) -> int:
        """Leave one copy of a document that is stored more than once; the rows that went.

        A copy that carries `mark` is written first, by an upsert that may be repeated; only when it is seen do the
        copies go that were there, named by the marks that they carry. Whichever of these requests is repeated or comes
        late, the marked copy stays. Raises `Transient` where it is not to be seen: nothing was deleted then.
        """
        key = document["id"]
        others = {row.get(MARK) for row in self._all_of_one_id(collection, None, key, [MARK])} - {mark}
        self._update(collection, {"id": key, MARK: mark}, document | {MARK: mark}, upsert=True)
        if not self.count(collection, {"id": key, MARK: mark}):
            raise Transient(
                f"ZeroDB at {self._http.server}: the marked copy of {key!r} in {collection} is not there yet"
            )
        named: list[Document] = [{MARK: {"$in": sorted(str(other) for other in others if other is not None)}}]
        named += [{MARK: {"$exists": False}}] if None in others else []
        payload = encode({"filter": {"$and": [{"id": key}, {"$or": named}]}, "limit": 0}, "the list of copies")
        call = Call(f"deletion of copies from {collection}", "DELETE", self._path(collection, "rows"), payload)
        return int(self._http.call(call).content["deleted_count"])

    def _update(self, collection: str, where: Document, document: Document, *, upsert: bool = False) -> int:
        body = {"filter": where, "update": {"$set": document}, "upsert": upsert}
        payload = encode(body, describe(collection, document["id"]))
        call = Call(f"update of {document['id']!r} in {collection}", "PUT", self._path(collection, "rows"), payload)
        content = self._http.call(call).content
        return int(content.get("matched_count", content["modified_count"]))

    def scan(
        self,
        collection: str,
        *,
        where: Where | None = None,
        after: str | None = None,
        page: int = 500,
        fields: Sequence[str] | None = None,
    ) -> Iterator[Document]:
        """Every document that matches, by ascending id from beyond `after`, `page` (1 to 1000) rows a request.

        Rows that share an id all appear. `fields` limits the answer to these and `id`.
        """
        check_size("page", page)
        size = page
        while True:
            try:
                rows = self._page(collection, both(where, beyond(after)), size, fields, bounded=size > 1)
            except AnswerTooLargeError:
                size = max(1, size // 2)
                continue
            if len(rows) < size:
                yield from rows
                return
            # More rows may share the last id, so it is left to the next page, which begins with all of them.
            last = rows[-1]["id"]
            whole = [row for row in rows if row["id"] != last]
            yield from whole or self._all_of_one_id(collection, where, last, fields)
            reached = whole[-1]["id"] if whole else last
            if reached == after:
                raise Permanent(f"ZeroDB at {self._http.server} ignores the filter on id in {collection}")
            after = reached

    def _all_of_one_id(
        self, collection: str, where: Where | None, key: str, fields: Sequence[str] | None
    ) -> Iterator[Document]:
        seen = 0
        while rows := self._page(collection, both(where, {"id": key}), MAX_ROWS, fields, offset=seen):
            yield from rows
            seen += len(rows)

    def _page(
        self,
        collection: str,
        where: Where,
        limit: int,
        fields: Sequence[str] | None,
        *,
        offset: int = 0,
        bounded: bool = False,
    ) -> list[Document]:
        body: Document = {"filter": where, "sort": {"id": 1}, "limit": limit, "offset": offset}
        if fields is not None:
            body["projection"] = dict.fromkeys([*fields, "id"], 1)
        return rows_of(self._http.call(self._query(f"scan of {collection}", collection, body, bounded=bounded)))

    def _rows_with_ids(
        self,
        send: _Send,
        collection: str,
        ids: list[str],
        fields: Sequence[str] | None = None,
        tally: Tally | None = None,
    ) -> list[Document]:
        body: Document = {"filter": with_ids(ids), "limit": MAX_ROWS}
        if fields is not None:
            body["projection"] = dict.fromkeys(fields, 1)
        query = self._query(f"look-up in {collection}", collection, body, bounded=len(ids) > 1, tally=tally)
        try:
            answer = send(query)
            rows = rows_of(answer)
            complete = len(ids) == 1 or total_of(answer) <= len(rows)
        except AnswerTooLargeError:
            complete = False
        if complete:
            asked = set(ids)
            return [row for row in rows if row["id"] in asked]
        half = len(ids) // 2
        return [
            row
            for part in (ids[:half], ids[half:])
            for row in self._rows_with_ids(send, collection, part, fields, tally)
        ]

    def _hashes(self, send: _Send, collection: str, ids: list[str], tally: Tally) -> dict[str, list[object]]:
        found: dict[str, list[object]] = defaultdict(list)
        for row in self._rows_with_ids(send, collection, ids, _HASH_FIELDS, tally):
            found[row["id"]].append(row.get("body_sha256"))
        return found

    def _insert(self, collection: str, batch: list[Row], tally: Tally) -> int:
        """Insert the rows; the number of those that were sent a second time after a lost answer."""
        missing = {row.id: row for row in batch}
        doubtful: set[str] = set()
        resent: set[str] = set()
        path = self._path(collection, "rows")

        def attempt() -> None:
            if doubtful:
                landed = self._hashes(self._http.send, collection, list(missing), tally)
                refuse_conflicts(collection, landed, {row.id: row.body_sha256 for row in batch})
                for key in landed:
                    del missing[key]
                if not missing:
                    return
                resent.update(doubtful & missing.keys())
            payload = b'{"rows":[' + b",".join(row.encoded for row in missing.values()) + b'],"return_ids":false}'
            call = Call(f"insert into {collection}", "POST", path, payload, accept=(200, 201), tally=tally)
            try:
                inserted = self._http.send(call).content.get("inserted_count")
            except AttemptError as error:
                if error.executed:
                    doubtful.update(missing)
                raise
            if inserted != len(missing):
                doubtful.update(missing)
                raise AttemptError(f"{inserted} of {len(missing)} rows inserted", executed=True)

        self._http.retrying(f"insert into {collection}", attempt)
        return len(resent)

    def _path(self, collection: str, what: str) -> str:
        return f"{self._tables}/{quote(collection, safe='')}/{what}"

    def _query(
        self, operation: str, collection: str, body: Document, *, bounded: bool = False, tally: Tally | None = None
    ) -> Call:
        path = self._path(collection, "query")
        return Call(operation, "POST", path, encode(body, "the filter"), bounded=bounded, tally=tally)

    def _map(self, work: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
        """The results of `work` in order, on the shared threads, with at most twice their number of items taken up.

        After an error no further item begins, and none is still running when it is raised. A single item is done in
        the caller's thread.
        """
        waiting = iter(items)
        first = list(islice(waiting, 2))
        if len(first) < 2:
            yield from map(work, first)
            return
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="zerodb")
            pool = self._pool
        pending: deque[Future[_R]] = deque()
        try:
            for item in chain(first, waiting):
                pending.append(pool.submit(work, item))
                if len(pending) >= 2 * self._concurrency:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
            wait(pending)


if TYPE_CHECKING:
    # Checked by mypy: the client is what engines ask for.
    _: type[DocumentStore] = ZeroDBClient
