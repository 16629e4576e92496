"""`Loader`: attempts, waits, and what it makes of a table that holds something else than was sent."""

import io
from datetime import UTC, datetime
from typing import Any
from unittest.mock import create_autospec
from uuid import UUID

import pytest

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.replication.load import Loader, wait_seconds
from content_orchestration.core.replication.payload import ParquetFile, arrow_schema
from content_orchestration.core.replication.tables import CONTENT_MEDIA, SYNC_LOG
from content_orchestration.core.replication.window import Part, Window, WindowLog
from content_orchestration.core.warehouse import LoadResult, Warehouse

TABLE = "content_media_dr"


def window(**changes: Any) -> Window:
    values: dict[str, Any] = {"sync_id": 7, "low_xid": "10", "high_xid": "20", "system_identifier": "1"}
    values |= {"changes": 3, "oldest_change_at": None, "synced_at": datetime(2026, 1, 2, tzinfo=UTC), "attempts": 1}
    values |= {"heartbeat_at": None, "truncated": []}
    return Window(**values | changes)


@pytest.fixture
def warehouse() -> Any:
    fake = create_autospec(Warehouse, instance=True)
    fake.load_parquet.return_value = LoadResult("id", already=False)
    fake.parts_loaded.return_value = {}
    return fake


def load(warehouse: Any, sleeps: list[float] | None = None, attempts: int = 4) -> list[str]:
    """Load three rows; the job ids that were noted."""
    noted: list[str] = []
    slept = [] if sleeps is None else sleeps
    loader = Loader(warehouse, create_autospec(WindowLog, instance=True), slept.append, attempts)
    loader.load(window(), TABLE, 2, 3, io.BytesIO(b"file"), noted.append)
    return noted


def test_the_job_id_is_noted_before_the_load(warehouse: Any) -> None:
    noted: list[str] = []
    warehouse.load_parquet.side_effect = lambda table, file, job_id: noted.append(f"loaded {job_id}")
    loader = Loader(warehouse, create_autospec(WindowLog, instance=True), lambda seconds: None)
    loader.load(window(), TABLE, 2, 3, io.BytesIO(b"file"), noted.append)
    assert noted[1] == f"loaded {noted[0]}"
    assert len(noted) == 2
    warehouse.parts_loaded.assert_not_called()


def test_the_whole_file_is_sent_again(warehouse: Any) -> None:
    sent: list[bytes] = []

    def fails_once(table: str, file: io.BytesIO, job_id: str) -> LoadResult:
        sent.append(file.read())
        if len(sent) == 1:
            raise Transient("cut")
        return LoadResult(job_id, already=False)

    warehouse.load_parquet.side_effect = fails_once
    load(warehouse)
    assert sent == [b"file", b"file"]


def test_what_landed_is_not_sent_again(warehouse: Any) -> None:
    warehouse.load_parquet.side_effect = Transient("the answer was lost")
    warehouse.parts_loaded.return_value = {2: 3, 0: 9}
    noted = load(warehouse)
    warehouse.wait_for_job.assert_called_once_with(noted[0])
    assert warehouse.load_parquet.call_count == 1


@pytest.mark.parametrize("held", [1, 2, 4, 6])
def test_a_part_that_holds_something_else_stops(warehouse: Any, held: int) -> None:
    warehouse.load_parquet.side_effect = Transient("cut")
    warehouse.parts_loaded.return_value = {2: held}
    with pytest.raises(Permanent, match=f"holds {held} rows of file 2 of sync 7"):
        load(warehouse)


def test_attempts_end(warehouse: Any) -> None:
    warehouse.load_parquet.side_effect = Transient("cut", retry_after=9.0)
    sleeps: list[float] = []
    with pytest.raises(Transient):
        load(warehouse, sleeps, attempts=3)
    assert sleeps == [9.0, 9.0]


def test_a_permanent_error_is_not_retried(warehouse: Any) -> None:
    warehouse.load_parquet.side_effect = Permanent("403")
    with pytest.raises(Permanent):
        load(warehouse)
    assert warehouse.load_parquet.call_count == 1


def test_waits_grow_and_are_bounded() -> None:
    assert wait_seconds(1, Transient("x", retry_after=0.0)) == 0.0
    waits = [[wait_seconds(attempt, Transient("x")) for _ in range(200)] for attempt in (1, 3, 30)]
    assert [max(each) <= limit for each, limit in zip(waits, (1.0, 4.0, 30.0), strict=True)] == [True] * 3
    assert max(waits[2]) > 15.0
    assert len(set(waits[0])) > 100


@pytest.mark.parametrize(("loaded", "held", "settled", "notes"), [
    (True, {}, True, 0),
    (False, {2: 3}, True, 1),
    (False, {}, False, 0),
])  # fmt: skip
def test_recover(warehouse: Any, loaded: bool, held: dict[int, int], settled: bool, notes: int) -> None:
    warehouse.parts_loaded.return_value = held
    log = create_autospec(WindowLog, instance=True)
    part = Part(TABLE, 2, UUID(int=1), 3, 0, 10, "job", loaded)
    assert Loader(warehouse, log, lambda seconds: None).recover(window(), part) is settled
    assert log.loaded.call_count == notes


def test_a_parquet_file_counts_and_knows_its_required_columns() -> None:
    file = ParquetFile(SYNC_LOG)
    assert (file.rows, file.bytes_added) == (0, 0)
    required = {field.name for field in arrow_schema(CONTENT_MEDIA.table) if not field.nullable}
    assert required == {
        "sync_id", "sync_part", "synced_at", "op", "entity_id", "tenant_id", "row_json", "row_sha256",
    }  # fmt: skip


@pytest.mark.parametrize(("failed", "jobs"), [(False, 1), (True, 2)])
def test_an_id_is_used_again_unless_its_job_is_known_to_have_failed(warehouse: Any, failed: bool, jobs: int) -> None:
    warehouse.load_parquet.side_effect = [Transient("cut"), LoadResult("job", already=True)]
    warehouse.wait_for_job.return_value = failed
    assert len(set(load(warehouse))) == jobs
