"""The BigQuery client on the emulator: tables that grow and keep their types, loads, parameters, what is missing."""

import io
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.replication.payload import ParquetFile
from content_orchestration.core.replication.tables import TABLES, Column, TableSpec
from content_orchestration.core.schema.documents import COLLECTIONS, ensure_collections
from content_orchestration.core.schema.warehouse import ensure_warehouse, view_name
from content_orchestration.local.ports import free_ports
from content_orchestration.resources.bigquery import BigQueryDRResource
from content_orchestration.resources.bigquery_client import BigQueryClient
from content_orchestration.settings import Settings, get_settings
from content_orchestration_tests.tiers import Tiers

SYNCED_AT = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
SPEC = TableSpec(
    "things",
    "Things of a test.",
    (
        Column("sync_id", "INT64", "Sync.", True),
        Column("sync_part", "INT64", "Part.", True),
        Column("synced_at", "TIMESTAMP", "When.", True),
        Column("name", "STRING", "Name."),
    ),
    clustering=("name",),
)


@pytest.fixture
def google(settings: Settings) -> Iterator[bigquery.Client]:
    client = bigquery.Client(
        project=settings.bigquery_project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": settings.bigquery_url},
    )
    yield client
    client.close()


@pytest.fixture
def warehouse(google: bigquery.Client, bigquery_dataset: str) -> Iterator[BigQueryClient]:
    yield BigQueryClient(google, bigquery_dataset, attempts=2, retry_seconds=10.0)
    google.delete_dataset(bigquery_dataset, delete_contents=True, not_found_ok=True)


@pytest.fixture
def things(warehouse: BigQueryClient) -> BigQueryClient:
    warehouse.ensure_dataset()
    warehouse.ensure_table(SPEC)
    return warehouse


def load(warehouse: BigQueryClient, names: list[str | None], *, sync_id: int = 1, part: int = 0, job: str = "") -> Any:
    file = ParquetFile(SPEC)
    file.add([{"sync_id": sync_id, "sync_part": part, "synced_at": SYNCED_AT, "name": name} for name in names], 0)
    return warehouse.load_parquet("things", file.close(), job or f"job-{uuid4()}")


def test_dataset_and_table_are_created_once(warehouse: BigQueryClient, google: bigquery.Client) -> None:
    assert [warehouse.ensure_dataset(), warehouse.ensure_dataset()] == [True, False]
    assert [warehouse.ensure_table(SPEC), warehouse.ensure_table(SPEC)] == [True, False]
    table = google.get_table(warehouse.qualified("things"))
    assert (table.time_partitioning.type_, table.time_partitioning.field) == ("DAY", "synced_at")
    assert table.clustering_fields == ["name"]
    assert warehouse.schema_of("things") == [
        ("sync_id", "INT64"), ("sync_part", "INT64"), ("synced_at", "TIMESTAMP"), ("name", "STRING"),
    ]  # fmt: skip


def test_the_whole_warehouse_is_created_once(warehouse: BigQueryClient) -> None:
    first = ensure_warehouse(warehouse)
    views = ["content_versions_current", "content_media_current", "content_storage_current", "cleanup_audit_current"]
    assert list(first.created) == ["dataset", *(spec.name for spec in TABLES), *views]
    second = ensure_warehouse(warehouse)
    assert second.created == ()
    assert second.as_metadata()["created"] == "nothing: all there"
    assert second.rows == {spec.name: 0 for spec in TABLES}
    for spec in TABLES[:4]:
        assert list(warehouse.query(f"SELECT * FROM `{warehouse.qualified(view_name(spec.name))}`")) == []


def test_collections_are_created_once(tiers: Tiers) -> None:
    report = ensure_collections(tiers.store)
    assert (report.created, report.documents) == ((), dict.fromkeys(COLLECTIONS, 0))


def test_a_new_column_is_added_and_old_rows_stay(things: BigQueryClient, google: bigquery.Client) -> None:
    load(things, ["old"])
    grown = replace(SPEC, columns=(*SPEC.columns, Column("later", "INT64", "Came later.", True)))
    assert things.ensure_table(grown) is False
    assert things.schema_of("things")[-1] == ("later", "INT64")
    assert google.get_table(things.qualified("things")).schema[-1].mode == "NULLABLE"
    assert [row["name"] for row in things.query(f"SELECT name FROM `{things.qualified('things')}`")] == ["old"]
    assert things.ensure_table(SPEC) is False
    assert things.schema_of("things")[-1] == ("later", "INT64")
    file = ParquetFile(grown)
    file.add([{"sync_id": 2, "sync_part": 0, "synced_at": SYNCED_AT, "name": "new", "later": 7}], 0)
    things.load_parquet("things", file.close(), f"job-{uuid4()}")
    rows = things.query(f"SELECT name, later FROM `{things.qualified('things')}` ORDER BY name")
    assert [(row["name"], row["later"]) for row in rows] == [("new", 7), ("old", None)]


def test_a_column_of_another_type_is_refused_and_named(things: BigQueryClient) -> None:
    wrong = replace(SPEC, columns=(*SPEC.columns[:3], Column("name", "INT64", "Name.")))
    with pytest.raises(
        Permanent, match=r"things differs: name is STRING, not INT64.*history is kept.*BIGQUERY_DATASET"
    ):
        things.ensure_table(wrong)
    assert things.schema_of("things")[-1] == ("name", "STRING")


def test_a_view_is_replaced_when_its_query_changes(things: BigQueryClient) -> None:
    load(things, ["a", "b"])
    table = things.qualified("things")
    query = f"SELECT name FROM `{table}` WHERE name = 'a'"
    assert [things.ensure_view("some", query), things.ensure_view("some", query)] == [True, False]
    assert [row["name"] for row in things.query(f"SELECT name FROM `{things.qualified('some')}`")] == ["a"]
    assert things.ensure_view("some", f"SELECT name FROM `{table}` WHERE name = 'b'") is True
    assert [row["name"] for row in things.query(f"SELECT name FROM `{things.qualified('some')}`")] == ["b"]


def test_two_loads_append_and_rows_come_back_as_they_went(things: BigQueryClient) -> None:
    names = ["Zoë 𝄞", "", None, "quote ' \" ` \\ \n"]
    assert load(things, names[:2], job=(job := f"job-{uuid4()}")).job_id == job
    load(things, names[2:], part=1)
    rows = list(things.query(f"SELECT * FROM `{things.qualified('things')}` ORDER BY sync_part, name"))
    assert sorted(str(row["name"]) for row in rows) == sorted(map(str, names))
    assert {row["synced_at"] for row in rows} == {SYNCED_AT}
    assert things.row_count("things") == 4


def test_parts_loaded_counts_the_files_of_one_sync(things: BigQueryClient) -> None:
    load(things, ["a", "b"], sync_id=7)
    load(things, ["c"], sync_id=7, part=3)
    load(things, ["d"], sync_id=8)
    assert things.parts_loaded("things", 7, SYNCED_AT) == {0: 2, 3: 1}
    assert things.parts_loaded("things", 9, SYNCED_AT) == {}
    assert things.parts_loaded("things", 7, SYNCED_AT.replace(microsecond=0)) == {}


def test_every_type_of_parameter_is_bound(warehouse: BigQueryClient) -> None:
    hostile = "'; DROP TABLE x; --"
    (row,) = warehouse.query(
        "SELECT @text AS text, @number + 1 AS number, @moment AS moment, 'b' IN UNNEST(@list) AS found, "
        "'c' IN UNNEST(@list) AS missing, 'c' IN UNNEST(@none) AS nothing",
        {"text": hostile, "number": 2**62, "moment": SYNCED_AT, "list": ["a", "b"], "none": []},
    )
    assert row == {
        "text": hostile, "number": 2**62 + 1, "moment": SYNCED_AT, "found": True, "missing": False, "nothing": False,
    }  # fmt: skip


def test_a_query_is_sent_when_its_rows_are_asked_for(warehouse: BigQueryClient) -> None:
    rows = warehouse.query("SELECT this is no SQL")
    with pytest.raises(Permanent, match="BigQuery could not query"):
        next(rows)


def test_what_is_missing_is_permanent_with_the_way_out(things: BigQueryClient) -> None:
    for ask in (
        lambda: list(things.query(f"SELECT * FROM `{things.qualified('unknown')}`")),
        lambda: things.row_count("unknown"),
        lambda: things.schema_of("unknown"),
        lambda: things.parts_loaded("unknown", 1, SYNCED_AT),
    ):
        with pytest.raises(Permanent, match=r"[Nn]ot found|unknown") as caught:
            ask()
        assert "Materialize bigquery_dr_tables first" in str(caught.value)
    # The emulator calls this a bad request, the service says that it is not found.
    with pytest.raises(Permanent, match="BigQuery could not load into unknown"):
        things.load_parquet("unknown", ParquetFile(SPEC).close(), f"job-{uuid4()}")


def test_a_file_that_is_no_parquet_is_permanent_and_loads_nothing(things: BigQueryClient) -> None:
    with pytest.raises(Permanent, match="BigQuery could not load into things"):
        things.load_parquet("things", io.BytesIO(b"this is no parquet"), f"job-{uuid4()}")
    assert things.row_count("things") == 0


def test_waiting_for_a_job_returns_for_one_that_ended_and_one_that_is_unknown(things: BigQueryClient) -> None:
    load(things, ["a"], job=(job := f"job-{uuid4()}"))
    things.wait_for_job(job)
    began = time.monotonic()
    things.wait_for_job(f"job-{uuid4()}")
    assert time.monotonic() - began < 3


def test_an_endpoint_that_is_not_there_is_transient_within_seconds() -> None:
    nowhere = bigquery.Client(
        project="p",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": f"http://127.0.0.1:{free_ports(1)[0]}"},
    )
    warehouse = BigQueryClient(nowhere, "d", attempts=2, retry_seconds=2.0)
    try:
        for ask in (
            warehouse.ping,
            warehouse.ensure_dataset,
            lambda: warehouse.ensure_table(SPEC),
            lambda: warehouse.row_count("t"),
            lambda: warehouse.wait_for_job("job"),
            lambda: list(warehouse.query("SELECT 1")),
            lambda: warehouse.load_parquet("t", ParquetFile(SPEC).close(), "job"),
        ):
            began = time.monotonic()
            with pytest.raises(Transient, match=r"in p\.d: .*service is down or busy"):
                ask()
            assert time.monotonic() - began < 5
    finally:
        warehouse.close()


def test_the_resource_makes_one_client_of_the_settings_and_closes_it(
    settings: Settings, bigquery_dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIGQUERY_DATASET", bigquery_dataset)
    monkeypatch.setenv("BIGQUERY_ENDPOINT", str(settings.bigquery_url))
    get_settings.cache_clear()
    try:
        with dg.build_resources({"bigquery": BigQueryDRResource()}) as resources:
            resource = resources.bigquery
            client = resource.client()
            assert resource.client() is client
            client.ping()
            assert client.qualified("t") == f"local-project.{bigquery_dataset}.t"
            resource.close()
            assert resource.client() is not client
            resource.close()
            resource.close()
    finally:
        get_settings.cache_clear()


def test_without_credentials_the_resource_is_permanent_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BIGQUERY_ENDPOINT", "BIGQUERY_DATASET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BIGQUERY_PROJECT_ID", "some-project")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/key.json")
    get_settings.cache_clear()
    try:
        with pytest.raises(Permanent, match="no Google credentials: set GOOGLE_APPLICATION_CREDENTIALS"):
            BigQueryDRResource().client()
    finally:
        get_settings.cache_clear()
