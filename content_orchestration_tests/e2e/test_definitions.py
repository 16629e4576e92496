"""The Dagster definitions: they load quietly, quickly and without I/O, show no secret, and refuse what they should."""

import os
import statistics
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from content_orchestration.core.schema.postgres import ROLLBACK_CONFIRMATION
from content_orchestration.definitions import defs
from content_orchestration.failures import PERMANENT_TAG
from content_orchestration.local.demo_load import load_demo
from content_orchestration.local.ports import free_ports
from content_orchestration.resources.bigquery import BigQueryDRResource
from content_orchestration.resources.bigquery_client import BigQueryClient
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.settings import PROJECT_ROOT, Settings
from content_orchestration_tests.e2e.environment import VARIABLES, environment, ports
from content_orchestration_tests.replication_fakes import sync
from content_orchestration_tests.tiers import Tiers

CANARY = "canary-5e21"
LINEAGE_GROUPS = {
    "schema", "migration", "quota", "generation", "media", "replication", "platform", "cleanup", "operations",
}  # fmt: skip


@pytest.fixture
def content_database(database_url: str, settings: Settings, tmp_path: Path) -> Iterator[str]:
    """The definitions' environment points to a database of this test; yields its URL."""
    values = ports(settings) | {"DATABASE_PUBLIC_URL": database_url, "LOCAL_STATE_DIR": str(tmp_path)}
    with environment(values):
        yield database_url


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


def run_python(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    values = {name: value for name, value in os.environ.items() if name not in {*VARIABLES, "DAGSTER_HOME"}}
    return subprocess.run(
        [sys.executable, *arguments], cwd=PROJECT_ROOT, env=values | extra, capture_output=True, text=True, timeout=120
    )


def test_dagster_validates_the_definitions_without_a_warning() -> None:
    ran = run_python("-m", "dagster", "definitions", "validate")
    # Dagster says of its own command that `dg check defs` is its successor.
    said = "".join(line for line in (ran.stdout + ran.stderr).splitlines(True) if "SupersessionWarning" not in line)
    assert ran.returncode == 0, said
    assert "Validation successful" in said
    assert "warn" not in said.lower(), said


def import_seconds(module: str, then: str = "") -> list[float]:
    """Of the processor: what else the machine does meanwhile is no cost of an import."""
    code = f"import time; t = time.process_time(); import {module}; print(time.process_time() - t)\n" + (
        f"t = time.process_time(); {then}; print(time.process_time() - t)" if then else ""
    )
    ran = run_python("-c", code)
    assert ran.returncode == 0, ran.stderr
    return [float(line) for line in ran.stdout.split()]


def test_the_import_costs_at_most_twice_dagsters(record_property: Any, capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs, loading = [], [], []
    for _ in range(3):
        theirs.append(import_seconds("dagster")[0])
        imported, loaded = import_seconds(
            "content_orchestration.definitions", "content_orchestration.definitions.defs()"
        )
        ours.append(imported)
        loading.append(loaded)
    ratio = statistics.median(ours) / statistics.median(theirs)
    told = (
        f"import dagster {statistics.median(theirs):.2f} s, definitions {statistics.median(ours):.2f} s "
        f"(ratio {ratio:.2f}), defs() {statistics.median(loading):.2f} s"
    )
    record_property("import", told)
    with capsys.disabled():
        sys.stdout.write(f"\n{told}\n")
    assert ratio <= 2.0, told


def test_loading_the_definitions_does_no_io_warns_of_nothing_and_imports_nothing_heavy() -> None:
    code = """
import socket, subprocess, sys, warnings
import dagster

def refuse(*args, **kwargs):
    raise AssertionError(f"I/O at import: {args}")

for name in ("connect", "connect_ex", "bind", "sendto"):
    setattr(socket.socket, name, refuse)
socket.getaddrinfo = socket.create_connection = subprocess.Popen.__init__ = refuse
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from content_orchestration.definitions import defs
    defs().get_repository_def().load_all_definitions()
    print([name for name in ("google.cloud.bigquery", "alembic", "pyarrow", "numpy", "httpx") if name in sys.modules])
print([f"{w.filename}:{w.lineno} {w.message}" for w in caught if "content_orchestration" in w.filename])
"""
    ran = run_python("-c", code)
    assert ran.returncode == 0, ran.stderr
    heavy, warned = ran.stdout.splitlines()
    assert heavy == "[]"
    assert warned == "[]"


def ancestors(graph: Any, key: dg.AssetKey) -> set[str]:
    """The closure of a key's parents. `AssetSelection.upstream` leaves out external assets."""
    found: set[dg.AssetKey] = set()
    ahead = [key]
    while ahead:
        for parent in graph.get(ahead.pop()).parent_keys - found:
            found.add(parent)
            ahead.append(parent)
    return {each.to_user_string() for each in found}


def test_lineage_leads_from_the_platforms_tables_to_bigquery() -> None:
    graph = defs().resolve_asset_graph()
    for table in ("content_storage_dr", "content_versions_dr", "content_media_dr"):
        assert {
            "platform/campaign_assets", "platform/content_items", "platform/tenants", "postgres_schema",
            "zerodb_collections", "bigquery_dr_tables", "campaign_assets_migrated", "content_items_migrated",
        } <= ancestors(graph, dg.AssetKey(table))  # fmt: skip
    assert "platform/campaign_assets" in {
        key.to_user_string() for key in graph.get(dg.AssetKey("campaign_assets_migrated")).parent_keys
    }
    assert "campaign_assets_migrated" in ancestors(graph, dg.AssetKey("storage_usage"))


def test_every_asset_says_who_owns_it_and_what_it_is() -> None:
    graph = defs().resolve_asset_graph()
    assert {str(graph.get(key).group_name) for key in graph.get_all_asset_keys()} >= LINEAGE_GROUPS
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.kinds, key
        if node.group_name == "platform":
            assert not node.is_materializable
            assert {"dagster/table_name", "dagster/column_schema"} <= set(node.metadata)
        else:
            assert node.owners, key


def test_every_job_stops_run_retries_on_a_final_failure() -> None:
    loaded = defs()
    jobs = {job.name for job in loaded.get_repository_def().get_all_jobs()} - {"__ASSET_JOB"}
    assert jobs >= {"content_pipeline", "replicate_to_bigquery", "repair_differences", "restore_from_bigquery"}
    for name in jobs:
        assert {hook.name for hook in loaded.resolve_job_def(name).hook_defs} == {
            "stop_run_retries_on_permanent_failure"
        }, name


def test_dagster_shows_no_secret() -> None:
    secrets = {
        "DATABASE_PUBLIC_URL": f"postgresql://user:{CANARY}@127.0.0.1:1/content",
        "DAGSTER_PG_URL": f"postgresql://user:{CANARY}@127.0.0.1:1/dagster",
        "ZERODB_API_KEY": CANARY,
        "API_BASE_URL": "http://127.0.0.1:1/shown-url",
    }
    with environment(secrets):
        repository = defs().get_repository_def()
        shown = serialize_value(RepositorySnap.from_def(repository))
        for job in repository.get_all_jobs():
            shown += serialize_value(job.get_job_snapshot())
    assert "shown-url" in shown
    assert CANARY not in shown


@pytest.mark.parametrize("table", ["campaign_assets", "content_items"])
def test_a_migration_without_config_is_a_dry_run(
    tiers: Tiers, instance: dg.DagsterInstance, table: str, tmp_path: Path
) -> None:
    with psycopg.connect(tiers.database_url) as connection:
        load_demo(connection)
    with environment(tiers.environment() | {"REPORT_DIR": str(tmp_path)}):
        key = dg.AssetKey(f"{table}_migrated")
        job = defs().get_repository_def().get_implicit_job_def_for_assets([key])
        assert job is not None
        # Its check says that rows are not in yet, as it should.
        result = job.execute_in_process(instance=instance, asset_selection=[key], raise_on_error=False)
    (event,) = result.asset_materializations_for_node(f"{table}_migrated")
    assert event.metadata["dry_run"].value is True
    assert event.metadata["read"].value == {"campaign_assets": 175, "content_items": 113}[table]
    with tiers.database.connection() as connection:
        for written in ("content_storage_metadata", "content_versions", "media_assets", "migration_quarantine"):
            assert connection.execute(f"SELECT count(*) AS n FROM {written}").fetchone() == {"n": 0}  # type: ignore[arg-type]
    assert set(tiers.store.collections().values()) == {0}


def tick(instance: dg.DagsterInstance) -> Any:
    repository = defs().get_repository_def()
    resources = {"postgres": PostgresResource()}
    # The daemon hands a reference over, too: new partitions are known to the tick through it.
    with dg.build_sensor_context(
        instance=instance, instance_ref=instance.get_ref(), repository_def=repository, resources=resources
    ) as context:
        found = repository.get_sensor_def("tenant_partitions").evaluate_tick(context)
    for request in found.dynamic_partitions_requests or []:
        if type(request).__name__ == "AddDynamicPartitionsRequest":
            instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
        else:
            for key in request.partition_keys:
                instance.delete_dynamic_partition(request.partitions_def_name, key)
    return found


def test_the_sensor_keeps_the_partitions_in_step_with_the_tenants(
    content_database: str, instance: dg.DagsterInstance
) -> None:
    tenants = sorted(str(uuid.uuid4()) for _ in range(3))
    with psycopg.connect(content_database, autocommit=True) as connection:
        add = "INSERT INTO tenants (id, name, slug, created_at) VALUES (%s, 'T', %s, '2026-01-01')"
        connection.cursor().executemany(add, [(each, each) for each in tenants[:2]])
        first = tick(instance)
        assert [request.partition_key for request in first.run_requests] == tenants[:2]
        assert {request.run_key for request in first.run_requests} == {None}, "one that comes back gets a run again"
        assert instance.get_dynamic_partitions("tenants") == tenants[:2]

        second = tick(instance)
        assert second.run_requests == []
        assert second.skip_message == "2 tenants, none of them new"

        connection.execute("DELETE FROM tenants WHERE id = %s", [tenants[0]])
        connection.cursor().executemany(add, [(tenants[2], tenants[2])])
        third = tick(instance)
        assert [request.partition_key for request in third.run_requests] == [tenants[2]]
        assert instance.get_dynamic_partitions("tenants") == tenants[1:]

        connection.execute("DELETE FROM tenants")
        assert tick(instance).run_requests == []
        assert instance.get_dynamic_partitions("tenants") == []


def scheduled(values: dict[str, str]) -> Any:
    with environment(values):
        repository = defs().get_repository_def()
        schedule = repository.get_schedule_def("replicate_on_schedule")
        with dg.build_schedule_context(instance=dg.DagsterInstance.ephemeral(), repository_def=repository) as context:
            return schedule.evaluate_tick(context)


def test_the_schedule_asks_for_a_run(settings: Settings) -> None:
    assert len(scheduled(ports(settings)).run_requests) == 1


def test_the_schedule_skips_with_the_reason(tmp_path: Path) -> None:
    off = scheduled({"BIGQUERY_SYNC_ENABLED": "false"})
    assert off.run_requests == []
    assert off.skip_message == "BIGQUERY_SYNC_ENABLED is false: set it to true to replicate"
    lost = scheduled(
        {"BIGQUERY_PROJECT_ID": "prod", "CLOUDSDK_CONFIG": str(tmp_path), "NO_GCE_CHECK": "true", "HOME": str(tmp_path)}
    )
    assert lost.run_requests == []
    assert "no Google credentials: set GOOGLE_APPLICATION_CREDENTIALS" in lost.skip_message


def test_the_schedule_has_the_interval_of_the_settings() -> None:
    ran = run_python(
        "-c",
        "from content_orchestration.definitions import defs\n"
        "print(defs().get_repository_def().get_schedule_def('replicate_on_schedule').cron_schedule)",
        BIGQUERY_SYNC_INTERVAL_MINUTES="5",
    )
    assert ran.stdout.strip() == "*/5 * * * *", ran.stderr


def test_a_rollback_without_the_sentence_is_a_final_failure(
    content_database: str, instance: dg.DagsterInstance
) -> None:
    result = defs().resolve_job_def("roll_back_schema").execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    failure = result.failure_data_for_node("drop_our_schema")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert repr(ROLLBACK_CONFIRMATION) in str(failure.user_failure_data.description)
    assert [event for event in result.all_events if event.is_step_up_for_retry] == []
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert (run.tags["dagster/max_retries"], run.tags[PERMANENT_TAG]) == ("0", "true")
    with psycopg.connect(content_database) as connection:
        assert connection.execute("SELECT count(*) FROM content_storage_metadata").fetchone() == (0,)


def test_a_rollback_with_the_sentence_takes_our_tables(content_database: str, instance: dg.DagsterInstance) -> None:
    config = {"ops": {"drop_our_schema": {"config": {"confirm": ROLLBACK_CONFIRMATION}}}}
    result = defs().resolve_job_def("roll_back_schema").execute_in_process(instance=instance, run_config=config)
    assert result.success
    with psycopg.connect(content_database) as connection:
        assert connection.execute("SELECT to_regclass('content_storage_metadata')").fetchone() == (None,)
        assert connection.execute("SELECT count(*) FROM campaign_assets").fetchone() == (0,)


def test_a_check_that_cannot_look_is_unknown_and_not_bad_data(
    tiers: Tiers, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sync(tiers)
    nowhere = bigquery.Client(
        project="p",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": f"http://127.0.0.1:{free_ports(1)[0]}"},
    )
    monkeypatch.setattr(
        BigQueryDRResource, "client", lambda self: BigQueryClient(nowhere, "d", attempts=1, retry_seconds=1.0)
    )
    key = dg.AssetCheckKey(dg.AssetKey("content_storage_dr"), "agrees_with_postgres")
    job = dg.define_asset_job("check", selection=dg.AssetSelection.checks(key))
    with environment(tiers.environment() | {"LOCAL_STATE_DIR": str(tmp_path)}):
        checked = dg.Definitions.merge(defs(), dg.Definitions(jobs=[job]))
        result = checked.resolve_job_def("check").execute_in_process(instance=instance, raise_on_error=False)
    (evaluation,) = result.get_asset_check_evaluations()
    assert evaluation.passed is False
    assert evaluation.metadata["outcome"].value == "unknown"
    assert str(evaluation.description).startswith("unknown: the check could not look. BigQuery could not")
