"""Reads rows of a BigQuery table as Arrow, over the Storage Read API's gRPC. What to read, `core/restore/` decides.

One session a call, read whole: its size is the caller's to bound. The emulator answers a stream in one message of at
most 11 MiB and cannot go on in the middle of one (`TRAPS.md` 5), so a call that broke off is made again from its start.
"""

import threading
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from google.api_core.exceptions import ResourceExhausted

_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class RowTooLargeError(Exception):
    """A row does not fit into one message of the server."""


class TableReader:
    """Read sessions of one dataset. Connects with the first call; safe to use from several threads.

    endpoint: `host:port` of an emulator without encryption; None means Google's service with application default
    credentials. timeout: seconds that one request may take.
    """

    def __init__(self, project: str, dataset: str, *, endpoint: str | None, timeout: float) -> None:
        self._project = project
        self._dataset = dataset
        self._endpoint = endpoint
        self._timeout = timeout
        self._client: Any = None
        self._guard = threading.Lock()

    def read(self, table: str, columns: Sequence[str], restriction: str) -> pa.Table:
        """The rows that the restriction (a SQL condition of constants) leaves, all of them.

        Raises `RowTooLargeError`, and Google's errors as they are.
        """
        from google.cloud.bigquery_storage_v1 import types

        client = self._opened()
        session = client.create_read_session(
            parent=f"projects/{self._project}",
            read_session=types.ReadSession(
                table=f"projects/{self._project}/datasets/{self._dataset}/tables/{table}",
                data_format=types.DataFormat.ARROW,
                read_options=types.ReadSession.TableReadOptions(
                    selected_fields=list(columns), row_restriction=restriction
                ),
            ),
            max_stream_count=1,
            retry=None,
            timeout=self._timeout,
        )
        schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
        try:
            batches = [
                pa.ipc.read_record_batch(pa.py_buffer(answer.arrow_record_batch.serialized_record_batch), schema)
                for stream in session.streams
                for answer in client.read_rows(read_stream=stream.name, retry=None, timeout=self._timeout)
            ]
        except ResourceExhausted as error:
            # The same status means "too many requests", which is worth a retry.
            if "larger than max" in str(error):
                raise RowTooLargeError(str(error)) from error
            raise
        return pa.Table.from_batches(batches, schema)

    def close(self) -> None:
        """Close the connection; a later call opens another one."""
        with self._guard:
            client, self._client = self._client, None
        if client is not None:
            client.transport.close()

    def _opened(self) -> Any:
        # Imported with the first read: it costs half a second, and only restores read this way.
        import grpc  # type: ignore[import-untyped]
        from google.cloud.bigquery_storage_v1.services.big_query_read import BigQueryReadClient
        from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

        with self._guard:
            if self._client is None and self._endpoint is None:
                self._client = BigQueryReadClient()
            elif self._client is None:
                channel = grpc.insecure_channel(self._endpoint, options=_UNLIMITED)
                self._client = BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))
            return self._client
