"""The BigQuery client: tables, load jobs and bounded queries over the real `google-cloud-bigquery`.

What to load and when is decided in `core/replication/`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
import requests
import stamina
from google.api_core import exceptions as google
from google.api_core.retry import Retry
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError
from google.cloud import bigquery
from google.cloud.bigquery.retry import DEFAULT_RETRY

from content_orchestration.core.errors import ContentError, Permanent, Transient
from content_orchestration.core.identity import sha256_hex
from content_orchestration.core.replication.tables import TableSpec
from content_orchestration.core.sql import on_table
from content_orchestration.core.warehouse import LoadResult, Parameter
from content_orchestration.resources.bigquery_read import RowTooLargeError, TableReader

T = TypeVar("T")
# Retries are ours, so that attempts and time are bounded in one place: Google's own go on for ten minutes.
_NO_RETRY = Retry(predicate=lambda error: False)

# Named by cloud.google.com/bigquery/docs/error-messages as worth a retry; everything else is raised at once.
RETRYABLE = (
    google.TooManyRequests,
    google.InternalServerError,
    google.BadGateway,
    google.ServiceUnavailable,
    google.GatewayTimeout,
    requests.ConnectionError,
    requests.Timeout,
    TransportError,
)
_TRANSIENT_REASONS = {"backendError", "internalError", "rateLimitExceeded", "tableUnavailable", "jobRateLimitExceeded"}
# What a request or the wait for a job may raise. TimeoutError: the job has not ended; RetryError: its polls failed.
_RAISED = (
    google.GoogleAPICallError, google.RetryError, TimeoutError, *RETRYABLE, DefaultCredentialsError, RefreshError,
)  # fmt: skip


class BigQueryClient:
    """One dataset, seen through one `bigquery.Client`."""

    def __init__(
        self,
        client: bigquery.Client,
        dataset: str,
        *,
        location: str = "US",
        maximum_bytes_billed: int = 10 * 1024**3,
        attempts: int = 5,
        retry_seconds: float = 120.0,
        request_timeout: float = 60.0,
        read_endpoint: str | None = None,
    ) -> None:
        self._client = client
        self._dataset = dataset
        self._location = location
        self._maximum_bytes_billed = maximum_bytes_billed
        self._attempts = attempts
        self._retry_seconds = retry_seconds
        self._timeout = request_timeout
        # Polls of a job and pages of a result cannot be begun anew, so Google's retry does them, within our time.
        self._bounded = DEFAULT_RETRY.with_timeout(retry_seconds)
        self._reader = TableReader(client.project, dataset, endpoint=read_endpoint, timeout=request_timeout)

    def qualified(self, table: str) -> str:
        """`project.dataset.table`."""
        return f"{self._client.project}.{self._dataset}.{table}"

    def ensure_dataset(self) -> bool:
        """Create the dataset where it is missing. True if it was created."""
        wanted = bigquery.Dataset(f"{self._client.project}.{self._dataset}")
        wanted.location = self._location
        try:
            self._call(
                "create the dataset",
                lambda: self._client.create_dataset(wanted, timeout=self._timeout, retry=_NO_RETRY),
            )
        except google.Conflict:
            return False
        return True

    def ensure_table(self, spec: TableSpec) -> bool:
        """Create the table where it is missing, add columns that are new. True if it was created.

        Raises `Permanent` when a column is there with another type: its history cannot be rewritten in place.
        """
        wanted = bigquery.Table(self.qualified(spec.name), schema=_schema(spec))
        wanted.description = spec.description
        wanted.time_partitioning = bigquery.TimePartitioning(type_="DAY", field=spec.partition_by)
        wanted.clustering_fields = list(spec.clustering) or None
        try:
            self._call(
                f"create table {spec.name}",
                lambda: self._client.create_table(wanted, timeout=self._timeout, retry=_NO_RETRY),
            )
        except google.Conflict:
            self._adapt(spec)
            return False
        return True

    def ensure_view(self, name: str, query: str) -> bool:
        """Create the view, or replace its query. True if anything changed."""
        wanted = bigquery.Table(self.qualified(name))
        wanted.view_query = query
        # The emulator does not hand the query back; the description carries its hash on both.
        wanted.description = f"Latest state of each id that is not deleted. Definition {sha256_hex(query)[:16]}."
        try:
            self._call(
                f"create view {name}", lambda: self._client.create_table(wanted, timeout=self._timeout, retry=_NO_RETRY)
            )
        except google.Conflict:
            found = self._call(f"read view {name}", lambda: self._get_table(name))
            if found.description == wanted.description:
                return False
            found.view_query, found.description = query, wanted.description
            self._call(
                f"update view {name}",
                lambda: self._client.update_table(
                    found, ["view_query", "description"], timeout=self._timeout, retry=_NO_RETRY
                ),
            )
        return True

    def row_count(self, table: str) -> int:
        """Rows of the table, from its metadata: free, no query."""
        return int(self._call(f"read table {table}", lambda: self._get_table(table)).num_rows or 0)

    def schema_of(self, table: str) -> list[tuple[str, str]]:
        """Name and type of each column, INT64 and not the older INTEGER, whichever the server says."""
        found = self._call(f"read table {table}", lambda: self._get_table(table))
        return [(field.name, _standard(field.field_type)) for field in found.schema]

    def load_parquet(self, table: str, parquet: BinaryIO, job_id: str) -> LoadResult:
        """Append a Parquet file in one atomic load job; returns when it is done.

        Not retried here: after an ambiguous failure only the caller can look at what the table holds. A job id that the
        service has seen is waited for instead. Raises `Transient` or `Permanent`.
        """
        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
            create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
        )
        already = False
        try:
            try:
                job: Any = self._client.load_table_from_file(
                    parquet, self.qualified(table), job_id=job_id, job_config=config, location=self._location,
                    rewind=True, num_retries=0, timeout=self._timeout,
                )  # fmt: skip
            except google.Conflict:
                already = True
                job = self._client.get_job(job_id, location=self._location, timeout=self._timeout, retry=self._bounded)
            job.result(timeout=self._retry_seconds, retry=self._bounded)
        except _RAISED as error:
            raise self._named(f"load into {table}", error) from error
        return LoadResult(job_id, already)

    def wait_for_job(self, job_id: str) -> bool:
        """Wait until a load job has ended; True if it failed, False if it did not or the service does not know it.

        Raises `Transient` when it still runs after `retry_seconds`, or when nobody can say.
        """
        try:
            job = self._call(
                "read a load job",
                lambda: self._client.get_job(job_id, location=self._location, timeout=self._timeout, retry=_NO_RETRY),
            )
        except Permanent as error:
            if isinstance(error.__cause__, google.NotFound):
                return False
            raise
        try:
            job.result(timeout=self._retry_seconds, retry=self._bounded)
        except _RAISED as error:
            # Whether it ended well is read off the table; here it only must not be running any more.
            if job.state != "DONE":
                raise Transient(
                    f"BigQuery load job {job_id} has not ended after {self._retry_seconds:.0f} s ({error}): "
                    "the next run waits for it again"
                ) from error
            return True
        return False

    def parts_loaded(self, table: str, sync_id: int, synced_at: datetime) -> dict[int, int]:
        """Rows that the table holds for each `sync_part` of a sync. Reads one partition: for recovery only."""
        sql = on_table("bigquery/parts_loaded", self.qualified(table))
        rows = self.query(sql, {"synced_at": synced_at, "sync_id": sync_id})
        return {row["sync_part"]: row["loaded"] for row in rows}

    def estimate(self, sql: str, parameters: Mapping[str, Parameter | Sequence[str]] | None = None) -> int:
        """Bytes that the query would read, by a dry run: free, reads nothing. The emulator says 0 (`TRAPS.md` 5)."""
        config = bigquery.QueryJobConfig(
            query_parameters=[_parameter(name, value) for name, value in (parameters or {}).items()],
            dry_run=True,
            use_query_cache=False,
        )
        job: Any = self._call(
            "estimate a query",
            lambda: self._client.query(
                sql, job_config=config, timeout=self._timeout, location=self._location, retry=_NO_RETRY, job_retry=None
            ),
        )
        return int(job.total_bytes_processed or 0)

    def query(
        self,
        sql: str,
        parameters: Mapping[str, Parameter | Sequence[str]] | None = None,
        *,
        maximum_bytes_billed: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Rows of a query, its cost bounded by `maximum_bytes_billed`. Sent when the first row is asked for."""
        config = bigquery.QueryJobConfig(
            query_parameters=[_parameter(name, value) for name, value in (parameters or {}).items()],
            maximum_bytes_billed=maximum_bytes_billed or self._maximum_bytes_billed,
        )
        rows = self._call(
            "query",
            lambda: self._client.query(
                sql, job_config=config, timeout=self._timeout, location=self._location, retry=_NO_RETRY, job_retry=None
            ).result(timeout=self._retry_seconds, retry=self._bounded, job_retry=None),
        )
        try:
            for row in rows:
                yield dict(row.items())
        except _RAISED as error:
            raise self._named("read the rows of a query", error) from error

    def read_arrow(self, table: str, columns: Sequence[str], restriction: str) -> pa.Table:
        """The rows that a restriction of constants leaves, in memory at once; asked for again whole when cut off.

        A row too large for one message (the emulator: 11 MiB) comes by a query instead.
        """
        try:
            return self._call(f"read rows of {table}", lambda: self._reader.read(table, columns, restriction))
        except RowTooLargeError:
            names = ", ".join(columns)
            query = on_table("bigquery/read_rows", self.qualified(table))
            rows = list(self.query(query.replace("{columns}", names).replace("{restriction}", restriction)))
            return pa.table({name: [row[name] for row in rows] for name in columns})

    def ping(self) -> None:
        """One cheap request. Raises `Transient` or `Permanent`."""
        self._call(
            "list datasets",
            lambda: list(self._client.list_datasets(max_results=1, timeout=self._timeout, retry=_NO_RETRY)),
        )

    def close(self) -> None:
        """Close the HTTP session and the gRPC channel."""
        self._reader.close()
        self._client.close()  # type: ignore[no-untyped-call]

    def _get_table(self, table: str) -> bigquery.Table:
        return self._client.get_table(self.qualified(table), timeout=self._timeout, retry=_NO_RETRY)

    def _adapt(self, spec: TableSpec) -> None:
        found = self._call(f"read table {spec.name}", lambda: self._get_table(spec.name))
        present = {field.name: _standard(field.field_type) for field in found.schema}
        wrong = [
            f"{c.name} is {present[c.name]}, not {c.type}"
            for c in spec.columns
            if present.get(c.name, c.type) != c.type
        ]
        if wrong:
            raise Permanent(
                f"BigQuery table {self.qualified(spec.name)} differs: {'; '.join(wrong)}. Its history is kept: "
                "set BIGQUERY_DATASET to a new dataset, or copy the table aside and let this run create it again"
            )
        new = [field for field in _schema(spec) if field.name not in present]
        if new:
            # A column that comes later must be NULLABLE: the rows that are there have no value for it.
            added = [
                bigquery.SchemaField(f.name, f.field_type, mode="NULLABLE", description=f.description) for f in new
            ]
            found.schema = [*found.schema, *added]
            self._call(
                f"extend table {spec.name}",
                lambda: self._client.update_table(found, ["schema"], timeout=self._timeout, retry=_NO_RETRY),
            )
            # The emulator changes what it tells of the table and not the table; for Google there is nothing to do then.
            for field in added:
                column = f"`{field.name}` {field.field_type}"
                list(self.query(on_table("bigquery/add_column", self.qualified(spec.name)).replace("{column}", column)))

    def _call(self, what: str, action: Callable[[], T]) -> T:
        """Run an idempotent request with retries on `RETRYABLE`; `Conflict` passes through, as the caller's answer."""
        try:
            for attempt in stamina.retry_context(
                on=RETRYABLE, attempts=self._attempts, timeout=self._retry_seconds, wait_initial=0.2, wait_max=20.0
            ):
                with attempt:
                    return action()
        except google.Conflict:
            raise
        except _RAISED as error:
            raise self._named(what, error) from error
        raise AssertionError("unreachable: the retry loop returns or raises")

    def _named(self, what: str, error: Exception) -> ContentError:
        where = f"BigQuery could not {what} in {self._client.project}.{self._dataset}"
        reasons = {e.get("reason") for e in getattr(error, "errors", ()) if isinstance(e, Mapping)}
        if isinstance(error, (*RETRYABLE, google.RetryError, TimeoutError)) or reasons & _TRANSIENT_REASONS:
            return Transient(f"{where}: {error}. The service is down or busy; the next run finishes the work")
        if "quotaExceeded" in reasons:
            return Permanent(
                f"{where}: a quota is used up ({error}). Quotas of a day are free again within 24 hours: sync less "
                "often (BIGQUERY_SYNC_INTERVAL_MINUTES), or have the quota raised in the Google Cloud console"
            )
        if isinstance(error, google.Forbidden):
            return Permanent(
                f"{where}: permission denied ({error.message}). Grant the service account BigQuery Data Editor on the "
                "dataset and BigQuery Job User on the project, then run again"
            )
        if isinstance(error, google.NotFound):
            return Permanent(f"{where}: not found ({error.message}). Materialize bigquery_dr_tables first")
        if isinstance(error, google.Unauthorized | DefaultCredentialsError | RefreshError):
            return Permanent(
                f"{where}: no usable credentials ({error}). Set GOOGLE_APPLICATION_CREDENTIALS to the key file of a "
                "service account, or unset BIGQUERY_PROJECT_ID to use the local emulator"
            )
        return Permanent(f"{where}: {error}")


def _schema(spec: TableSpec) -> list[bigquery.SchemaField]:
    return [
        bigquery.SchemaField(c.name, c.type, mode="REQUIRED" if c.required else "NULLABLE", description=c.description)
        for c in spec.columns
    ]


def _standard(kind: str) -> str:
    return {"INTEGER": "INT64", "BOOLEAN": "BOOL", "FLOAT": "FLOAT64"}.get(kind, kind)


def _parameter(
    name: str, value: Parameter | Sequence[str]
) -> bigquery.ScalarQueryParameter | bigquery.ArrayQueryParameter:
    if isinstance(value, str):
        return bigquery.ScalarQueryParameter(name, "STRING", value)
    if isinstance(value, int):
        return bigquery.ScalarQueryParameter(name, "INT64", value)
    if isinstance(value, datetime):
        return bigquery.ScalarQueryParameter(name, "TIMESTAMP", value)
    return bigquery.ArrayQueryParameter(name, "STRING", list(value))
