"""Reading the state from the emulator over gRPC: parts, chunks, rows that no message holds, a server that is down."""

import json
from typing import Any
from uuid import UUID

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.replication.tables import CONTENT_STORAGE, CONTENT_VERSIONS
from content_orchestration.core.restore.history import History
from content_orchestration.core.restore.request import RestoreRequest, Target
from content_orchestration.local.ports import free_ports
from content_orchestration.resources.bigquery_client import BigQueryClient
from content_orchestration_tests.replication_fakes import sync
from content_orchestration_tests.replication_model import add_content
from content_orchestration_tests.restore_model import restore, state
from content_orchestration_tests.tiers import Tiers

LARGE = 10 * 1024 * 1024


@pytest.mark.timeout(300)
def test_rows_that_fit_no_message_come_too(tiers: Tiers) -> None:
    """A body of 10 MiB beside 2 MiB of metadata is beyond the emulator's 11 MiB; smaller ones are parts alone."""
    metadata = json.dumps({"note": "m" * 2 * 1024 * 1024})
    with tiers.database.connection() as connection:
        add_content(connection, tiers.store, [UUID(int=1)], body="ł" * (LARGE // 2), metadata=metadata)
        add_content(connection, tiers.store, [UUID(int=n) for n in range(2, 6)], body="x" * 3_000_000)
        add_content(connection, tiers.store, [UUID(int=n) for n in range(6, 26)])
    sync_id = sync(tiers).last_sync_id
    assert sync_id is not None
    history = History(tiers.warehouse, RestoreRequest(), sync_id, "sizes", max_bytes=10**12)
    history.prepare(CONTENT_STORAGE, 25)
    chunks = history.chunks(CONTENT_STORAGE, 8 * 1024 * 1024)
    assert sum(chunk.rows for chunk in chunks) == 25
    assert all(chunk.rows == 1 or chunk.bytes <= 8 * 1024 * 1024 for chunk in chunks)
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    read = [key for chunk in chunks for key in history.ids(CONTENT_STORAGE, chunk)]
    assert sorted(read) == sorted(str(UUID(int=n)) for n in range(1, 26))
    target = Target.scratch("sizes", "sizes_")
    assert restore(tiers, RestoreRequest(target=target), chunk_bytes=8 * 1024 * 1024).verified
    assert state(tiers, target) == state(tiers)


def test_a_state_that_somebody_wrote_into_is_refused(tiers: Tiers, monkeypatch: pytest.MonkeyPatch) -> None:
    with tiers.database.connection() as connection:
        add_content(connection, tiers.store, [UUID(int=n) for n in range(4)])
    sync_id = sync(tiers).last_sync_id
    assert sync_id is not None
    history = History(tiers.warehouse, RestoreRequest(), sync_id, "torn", max_bytes=10**12)
    history.prepare(CONTENT_VERSIONS, 4)
    (chunk,) = history.chunks(CONTENT_VERSIONS, 10**6)
    original = tiers.warehouse.read_arrow
    monkeypatch.setattr(tiers.warehouse, "read_arrow", lambda *given: original(*given).slice(1))
    with pytest.raises(Permanent, match="came with 3 rows and not 4"):
        history.read(CONTENT_VERSIONS, chunk)


def test_without_the_grpc_port_it_says_that_the_service_is_down(tiers: Tiers) -> None:
    google: Any = bigquery.Client(
        project=tiers.settings.bigquery_project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": tiers.settings.bigquery_url},
    )
    (closed,) = free_ports(1)
    client = BigQueryClient(
        google, tiers.bigquery_dataset, attempts=2, retry_seconds=5.0, read_endpoint=f"127.0.0.1:{closed}"
    )
    with pytest.raises(Transient, match="could not read rows of content_storage_dr"):
        client.read_arrow("content_storage_dr", ["entity_id"], "sync_id > 0")
    client.close()
    client.close()


def test_an_empty_answer_has_its_columns(tiers: Tiers) -> None:
    table = tiers.warehouse.read_arrow("content_storage_dr", ["entity_id", "sync_id"], "sync_id > 0")
    assert (table.num_rows, table.column_names) == (0, ["entity_id", "sync_id"])
