"""A BigQuery and a document store in memory, with the protocols of the engines and faults on demand.

The real servers have tests of their own; these are for thousands of interleavings and for faults at exact places.
"""

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from content_orchestration.core.documents import Document, DocumentConflict, PutReport
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.replication.tables import TABLES, TableSpec
from content_orchestration.core.warehouse import LoadResult, Parameter

Kind = Literal["before", "after", "late", "killed_before", "killed_after", "permanent"]
KINDS: tuple[Kind, ...] = ("before", "after", "late", "killed_before", "killed_after")


class Killed(BaseException):
    """The process ends here, as with SIGKILL: no handler of the engine may see it."""


@dataclass
class FakeWarehouse:
    """One dataset. `refuse_known_jobs` is the service's rule, without it a second load of a job id is run, as by the
    emulator. `faults` names what happens to the n-th load (from 1): an error before or after it took effect, an error
    now and the effect only with the next load, or the death of the caller.
    """

    refuse_known_jobs: bool = True
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {spec.name: [] for spec in TABLES})
    jobs: set[str] = field(default_factory=set)
    faults: dict[int, Kind] = field(default_factory=dict)
    retry_after: float | None = None
    during: Callable[[int], None] = lambda number: None
    after: Callable[[int], None] = lambda number: None
    calls: list[tuple[str, str]] = field(default_factory=list)
    loads: int = 0
    in_flight: list[tuple[str, list[dict[str, Any]], str]] = field(default_factory=list)

    def ensure_dataset(self) -> bool:
        return False

    def ensure_table(self, spec: TableSpec) -> bool:
        return self.tables.setdefault(spec.name, []) is None

    def ensure_view(self, name: str, query: str) -> bool:
        return False

    def qualified(self, table: str) -> str:
        return f"fake.dataset.{table}"

    def row_count(self, table: str) -> int:
        self.calls.append(("row_count", table))
        return len(self.tables[table])

    def load_parquet(self, table: str, parquet: BinaryIO, job_id: str) -> LoadResult:
        self.calls.append(("load", table))
        self.loads += 1
        number = self.loads
        rows = pq.read_table(io.BytesIO(parquet.read())).to_pylist()
        self.during(number)
        for late in self.in_flight:
            self._take_effect(*late)
        self.in_flight.clear()
        fault = self.faults.get(number)
        if fault == "before":
            raise Transient("no connection, on purpose", self.retry_after)
        if fault == "permanent":
            raise Permanent("403, on purpose")
        if fault == "killed_before":
            raise Killed
        if fault == "late":
            self.in_flight.append((table, rows, job_id))
            raise Transient("timed out, on purpose", self.retry_after)
        done = self._take_effect(table, rows, job_id)
        self.after(number)
        if fault == "after":
            raise Transient("the answer was lost, on purpose", self.retry_after)
        if fault == "killed_after":
            raise Killed
        return LoadResult(job_id, already=not done)

    def wait_for_job(self, job_id: str) -> bool:
        self.calls.append(("wait", job_id))
        return False

    def parts_loaded(self, table: str, sync_id: int, synced_at: datetime) -> dict[int, int]:
        self.calls.append(("parts", table))
        found: dict[int, int] = {}
        for row in self.tables[table]:
            if (row["sync_id"], row["synced_at"]) == (sync_id, synced_at):
                found[row["sync_part"]] = found.get(row["sync_part"], 0) + 1
        return found

    def estimate(self, sql: str, parameters: Mapping[str, Parameter | Sequence[str]] | None = None) -> int:
        self.calls.append(("estimate", sql))
        return 0

    def read_arrow(self, table: str, columns: Sequence[str], restriction: str) -> pa.Table:
        self.calls.append(("read", table))
        rows = self.tables[table]
        return pa.table({name: [row.get(name) for row in rows] for name in columns})

    def query(
        self,
        sql: str,
        parameters: Mapping[str, Parameter | Sequence[str]] | None = None,
        *,
        maximum_bytes_billed: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """`SELECT names FROM` one table or view; conditions: after, tenant, page, ids."""
        self.calls.append(("query", sql))
        match = re.match(r"SELECT ([\w, ]+) FROM `fake\.dataset\.(\w+)`(.*)", sql)
        assert match, sql
        bound: dict[str, Any] = dict(parameters or {})
        assert set(re.findall(r"@(\w+)", match[3])) == bound.keys() <= {"after", "tenant", "page", "ids"}, sql
        rows = self._current(match[2]) if match[2].endswith("_current") else self.tables[match[2]]
        if "after" in bound:
            rows = sorted((row for row in rows if row["entity_id"] > bound["after"]), key=lambda row: row["entity_id"])
        if bound.get("tenant"):
            rows = [row for row in rows if row["tenant_id"] == bound["tenant"]]
        if "ids" in bound:
            rows = [row for row in rows if row["entity_id"] in bound["ids"]]
        names = [name.split(" AS ") for name in match[1].split(", ")]
        return ({name[-1]: row[name[0]] for name in names} for row in rows[: bound.get("page")])

    def _current(self, view: str) -> list[dict[str, Any]]:
        newest: dict[str, dict[str, Any]] = {}
        for row in self.tables[view.removesuffix("_current") + "_dr"]:
            other = newest.get(row["entity_id"])
            if other is None or (row["sync_id"], row["sync_part"]) > (other["sync_id"], other["sync_part"]):
                newest[row["entity_id"]] = row
        return [row for row in newest.values() if row["op"] != "delete"]

    def _take_effect(self, table: str, rows: list[dict[str, Any]], job_id: str) -> bool:
        if self.refuse_known_jobs and job_id in self.jobs:
            return False
        self.jobs.add(job_id)
        self.tables[table].extend(rows)
        return True


@dataclass
class FakeStore:
    """Documents by collection and id."""

    documents: dict[str, dict[str, Document]] = field(default_factory=dict)
    on_get: Callable[[list[str]], None] = lambda ids: None
    gets: list[list[str]] = field(default_factory=list)

    def collections(self) -> dict[str, int]:
        return {name: len(documents) for name, documents in self.documents.items()}

    def ensure_collection(self, name: str, indexes: Sequence[str]) -> bool:
        return self.documents.setdefault(name, {}) is None

    def put_many(self, collection: str, documents: Iterable[Document]) -> PutReport:
        held = self.documents.setdefault(collection, {})
        inserted = existing = 0
        for document in documents:
            found = held.setdefault(document["id"], document)
            if found["body_sha256"] != document["body_sha256"]:
                raise DocumentConflict(collection, [document["id"]])
            inserted, existing = (inserted + 1, existing) if found is document else (inserted, existing + 1)
        return PutReport(inserted, existing, 1)

    def get_many(self, collection: str, ids: Iterable[str]) -> dict[str, Document]:
        wanted = list(ids)
        self.gets.append(wanted)
        self.on_get(wanted)
        held = self.documents.get(collection, {})
        return {each: held[each] for each in wanted if each in held}

    def delete_many(self, collection: str, ids: Iterable[str]) -> int:
        held = self.documents.get(collection, {})
        return sum(held.pop(each, None) is not None for each in ids)

    def replace(self, collection: str, document: Document) -> int:
        held = self.documents.get(collection, {})
        if document["id"] not in held:
            return 0
        held[document["id"]] = {**held[document["id"]], **document}
        return 1

    def reduce_copies(self, collection: str, document: Document, mark: str) -> int:
        return 0

    def scan(self, collection: str, **_: Any) -> Iterator[Document]:
        held = self.documents.get(collection, {})
        return iter([held[each] for each in sorted(held)])

    def count(self, collection: str, where: Any = None) -> int:
        return len(self.documents.get(collection, {}))

    def ping(self) -> float:
        return 0.0
