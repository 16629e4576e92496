"""What an engine may ask of BigQuery. The client is `resources/bigquery_client.py`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from content_orchestration.core.replication.tables import TableSpec

if TYPE_CHECKING:
    import pyarrow as pa

Parameter = str | int | datetime


@dataclass(frozen=True)
class LoadResult:
    """A finished load job. `already` means that the service had done this job before and did it no second time."""

    job_id: str
    already: bool


class Warehouse(Protocol):
    """One BigQuery dataset. Errors are `Permanent` (say what to do) or `Transient` (retries were used up)."""

    def ensure_dataset(self) -> bool:
        """Create the dataset where it is missing. True if it was created."""
        ...

    def ensure_table(self, spec: TableSpec) -> bool:
        """Create the table where it is missing, add columns that are new. True if it was created."""
        ...

    def ensure_view(self, name: str, query: str) -> bool:
        """Create the view, or replace its query. True if anything changed."""
        ...

    def qualified(self, table: str) -> str:
        """`project.dataset.table`."""
        ...

    def row_count(self, table: str) -> int:
        """Rows of the table, from its metadata: free, no query."""
        ...

    def load_parquet(self, table: str, parquet: BinaryIO, job_id: str) -> LoadResult:
        """Append a Parquet file in one atomic load job; returns when it is done."""
        ...

    def wait_for_job(self, job_id: str) -> bool:
        """Wait until a load job has ended; True if it failed, False if it did not or the service does not know it."""
        ...

    def parts_loaded(self, table: str, sync_id: int, synced_at: datetime) -> dict[int, int]:
        """Rows that the table holds for each `sync_part` of a sync. A query of one partition: for recovery only."""
        ...

    def query(
        self,
        sql: str,
        parameters: Mapping[str, Parameter | Sequence[str]] | None = None,
        *,
        maximum_bytes_billed: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Rows of a query, its cost bounded by `maximum_bytes_billed` bytes, else by the client's own bound."""
        ...

    def estimate(self, sql: str, parameters: Mapping[str, Parameter | Sequence[str]] | None = None) -> int:
        """Bytes that the query would read, by a dry run: free, reads nothing. An emulator may say 0."""
        ...

    def read_arrow(self, table: str, columns: Sequence[str], restriction: str) -> "pa.Table":
        """The rows that a restriction of constants leaves, in memory at once: its size is the caller's to bound."""
        ...
