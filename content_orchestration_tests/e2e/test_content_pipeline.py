"""The main job on a Dagster instance in PostgreSQL, over the demo's legacy data: all three tiers are read back."""

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from content_orchestration.core.replication.tables import ENTITIES, TABLES
from content_orchestration.core.schema.documents import COLLECTIONS
from content_orchestration.core.schema.platform import PLATFORM_COLUMNS
from content_orchestration.core.schema.warehouse import view_name
from content_orchestration.local.demo_load import load_demo
from content_orchestration.local.environment import dagster_environment
from content_orchestration.local.pipeline import PipelineResult, register_tenants, run_pipeline
from content_orchestration.local.platform_tables import create_platform_tables
from content_orchestration.resources.bigquery import BigQueryDRResource
from content_orchestration.resources.bigquery_client import BigQueryClient
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb import ZeroDBResource
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration.settings import Settings, get_settings
from content_orchestration_tests.e2e.environment import environment, ports

GIB = 1024**3
ASSETS = {
    "postgres_schema": "content_storage_metadata",
    "zerodb_collections": "content_items",
    "bigquery_dr_tables": "local-project.{dataset}.content_storage_dr",
    "campaign_assets_migrated": "content_storage_metadata",
    "content_items_migrated": "content_storage_metadata",
    "content_body_spill": "content_body_spill",
    "storage_usage": "content_quota_usage",
    "usage_history": "usage_history",
    "quota_notices": "quota_notices",
    "media_files": "media_objects",
    "media_variants": "media_variants",
    "media_usage": "media_objects",
    "integrity_report": "integrity_differences",
    "content_storage_dr": "local-project.{dataset}.content_storage_dr",
    "content_versions_dr": "local-project.{dataset}.content_versions_dr",
    "content_media_dr": "local-project.{dataset}.content_media_dr",
    "content_sync_log": "local-project.{dataset}.content_sync_log",
    "cleanup_audit_dr": "local-project.{dataset}.cleanup_audit_dr",
}
OURS = ("content_storage_metadata", "content_versions", "media_assets", "migration_quarantine")
CHECKS = {
    "postgres_schema: tables_have_their_shape",
    "campaign_assets_migrated: every_row_is_accounted_for",
    "campaign_assets_migrated: nothing_is_quarantined",
    "content_items_migrated: every_row_is_accounted_for",
    "content_items_migrated: nothing_is_quarantined",
    "content_body_spill: no_body_waits_longer_than_an_hour",
    "storage_usage: counters_equal_truth",
    "storage_usage: no_tenant_is_above_its_limit",
    "storage_usage: no_reservation_outlives_its_expiry",
    "quota_notices: no_notice_waits_for_an_hour",
    "media_files: every_file_has_its_bytes_and_hash",
    "media_files: no_file_failed",
    "media_variants: every_variant_has_its_source",
    "media_variants: no_file_is_without_a_row",
    "generation_health: no_batch_is_stuck",
    "generation_health: no_lease_outlives_its_expiry",
    "generation_health: ledger_equals_attempts",
    "integrity_report: copies_agree",
    "content_storage_dr: agrees_with_postgres",
    "content_storage_dr: no_transaction_touched_most_rows",
    "content_versions_dr: agrees_with_postgres",
    "content_media_dr: agrees_with_postgres",
    "cleanup_audit_dr: agrees_with_postgres",
}


@dataclass
class World:
    """Two runs of the main job and what the tiers held after each."""

    instance: dg.DagsterInstance
    database: PostgresClient
    store: ZeroDBClient
    warehouse: BigQueryClient
    dataset: str
    state_dir: Path
    first: PipelineResult
    said: list[str]
    contents: list[dict[str, str]] = field(default_factory=list)
    second: PipelineResult | None = None

    def rows(self, query: str, values: Any = None) -> list[dict[str, Any]]:
        with self.database.connection() as connection:
            return connection.execute(query, values).fetchall()  # type: ignore[arg-type]

    def warehouse_rows(self, table: str, columns: str = "*") -> list[dict[str, Any]]:
        return list(self.warehouse.query(f"SELECT {columns} FROM `{self.warehouse.qualified(table)}`"))

    def snapshot(self) -> dict[str, str]:
        """A hash of everything that each place of each tier holds, whatever order it comes in."""
        places: dict[str, list[str]] = {}
        for table in (*OURS, "campaign_assets", "content_items", "tenants"):
            places[f"postgres {table}"] = [row["t"] for row in self.rows(f"SELECT t::text AS t FROM {table} t")]
        entities = [entity.name for entity in ENTITIES]
        log = self.rows("SELECT c::text AS t FROM content_changes c WHERE entity = ANY (%s)", [entities])
        places["postgres content_changes"] = [row["t"] for row in log]
        usage = self.rows("SELECT * FROM content_quota_usage")
        for row in usage:
            del row["last_calculated_at"], row["updated_at"]
        places["postgres usage"] = [json.dumps(row, sort_keys=True, default=str) for row in usage]
        for name in COLLECTIONS:
            places[f"zerodb {name}"] = [json.dumps(d, sort_keys=True) for d in self.store.scan(name)]
        for spec in TABLES[:3]:
            rows = self.warehouse_rows(spec.name)
            places[f"bigquery {spec.name}"] = [json.dumps(row, sort_keys=True, default=str) for row in rows]
        return {
            place: f"{len(texts)} {hashlib.sha256(chr(0).join(sorted(texts)).encode()).hexdigest()}"
            for place, texts in places.items()
        }


@pytest.fixture(scope="module")
def world(settings: Settings, _server: psycopg.Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Runs the main job twice: once on the demo's data, once more on what it left."""
    token = uuid.uuid4().hex
    names = f"e2e_content_{token}", f"e2e_dagster_{token}"
    urls = [f"postgresql://postgres@127.0.0.1:{settings.local_postgres_port}/{name}" for name in names]
    for name in names:
        _server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    state_dir = tmp_path_factory.mktemp("e2e")
    values = ports(settings) | {
        "DATABASE_PUBLIC_URL": urls[0],
        "DAGSTER_PG_URL": urls[1],
        "ZERODB_PROJECT_ID": f"e2e-{token}",
        "BIGQUERY_DATASET": f"e2e_{token}",
        "LOCAL_STATE_DIR": str(state_dir),
    }
    with environment(values) as patch:
        for name, value in dagster_environment(get_settings()).items():
            patch.setenv(name, value)
        with psycopg.connect(urls[0]) as connection:
            create_platform_tables(connection)
            load_demo(connection)
        said: list[str] = []
        with (
            dg.DagsterInstance.get() as instance,
            PostgresClient(urls[0]) as database,
            dg.build_resources(
                {"zerodb": ZeroDBResource.from_settings(get_settings()), "bigquery": BigQueryDRResource()}
            ) as resources,
        ):
            tenants = register_tenants(instance, database)
            warehouse = resources.bigquery.client()
            found = World(
                instance, database, resources.zerodb.client(), warehouse, f"e2e_{token}", state_dir,
                run_pipeline(instance, tenants, said.append), said,
            )  # fmt: skip
            try:
                found.contents.append(found.snapshot())
                found.second = run_pipeline(instance, register_tenants(instance, database), lambda line: None)
                found.contents.append(found.snapshot())
                yield found
            finally:
                warehouse._client.delete_dataset(f"e2e_{token}", delete_contents=True, not_found_ok=True)
    for name in names:
        _server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_the_run_succeeds_and_every_check_passes(world: World) -> None:
    assert world.first.failures == []
    assert world.first.success
    assert [name for name, passed in world.first.checks.items() if not passed] == []
    assert set(world.first.checks) >= CHECKS
    assert world.first.all_passed
    run = world.instance.get_run_by_id(world.first.run_id)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.SUCCESS
    assert type(world.instance.run_storage).__name__ == "PostgresRunStorage"
    assert not any("FAIL" in line for line in world.said)


def test_every_tier_holds_all_of_it(world: World) -> None:
    counted = {
        "tenants": 8, "campaign_assets": 175, "content_items": 113, "content_storage_metadata": 288,
        "content_versions": 288, "media_assets": 1525, "migration_quarantine": 0, "content_quota_usage": 8,
    }  # fmt: skip
    assert {t: world.rows(f"SELECT count(*) AS n FROM {t}")[0]["n"] for t in counted} == counted
    assert world.store.collections() == {
        "content_items": 288, "content_versions": 288, "content_media_files": 1525,
    }  # fmt: skip
    for entity in ENTITIES:
        rows = 1525 if entity.name == "content_media" else 288
        ids = [row["entity_id"] for row in world.warehouse_rows(view_name(entity.table.name), "entity_id")]
        assert (len(ids), len(set(ids))) == (rows, rows)
        assert world.warehouse.row_count(entity.table.name) == rows


def legacy_bodies(world: World) -> dict[str, str]:
    """The body of each legacy row by its source, as `contracts/platform_tables.md` says it."""
    bodies = {
        f"content_items:{row['id']}": row["content_body"]
        for row in world.rows("SELECT id, content_body FROM content_items")
    }
    for row in world.rows("SELECT * FROM campaign_assets"):
        parts = [
            row["headline_text"] and f"# {row['headline_text']}", row["ad_copy_text"], row["description"],
            row["cta_text"] and f"**{row['cta_text']}**",
        ]  # fmt: skip
        bodies[f"campaign_assets:{row['id']}"] = "\n\n".join(part for part in parts if part) or row["asset_name"]
    return bodies


def test_every_body_is_the_legacy_text_in_zerodb_and_in_bigquery(world: World) -> None:
    expected = legacy_bodies(world)
    items = {row["source"]: row for row in world.rows("SELECT * FROM content_storage_metadata")}
    assert set(items) == set(expected)
    documents = world.store.get_many("content_items", [row["zerodb_row_id"] for row in items.values()])
    replicas = {row["entity_id"]: row for row in world.warehouse_rows("content_storage_current")}
    versions = {row["content_id"]: row for row in world.warehouse_rows("content_versions_current")}
    for source, text in expected.items():
        item = items[source]
        digest = hashlib.sha256(text.encode()).hexdigest()
        assert (item["body_sha256"], item["storage_size_bytes"]) == (digest, len(text.encode())), source
        assert item["zerodb_row_id"] == f"{item['id']}.v1"
        assert documents[item["zerodb_row_id"]]["body"] == text, source
        for replica in (replicas[str(item["id"])], versions[str(item["id"])]):
            assert (replica["body"], replica["body_sha256"]) == (text, digest), source
            assert (replica["op"], replica["zerodb_row_id"]) == ("upsert", item["zerodb_row_id"])


@pytest.mark.parametrize(
    ("view", "table"),
    [
        ("content_storage_current", "content_storage_metadata"),
        ("content_versions_current", "content_versions"),
        ("content_media_current", "media_assets"),
    ],
)
def test_the_restore_payload_is_postgresqls_own_print_of_the_row(world: World, view: str, table: str) -> None:
    with world.database.connection() as connection:
        connection.execute(
            "SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres'; "
            "SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1"
        )
        printed = connection.execute(f"SELECT id::text AS id, row_to_json(t)::text AS t FROM {table} t").fetchall()  # type: ignore[arg-type]
    replicas = {row["entity_id"]: row for row in world.warehouse_rows(view, "entity_id, row_json, row_sha256")}
    assert {row["id"]: row["t"] for row in printed} == {key: row["row_json"] for key, row in replicas.items()}
    for row in replicas.values():
        assert row["row_sha256"] == hashlib.sha256(row["row_json"].encode()).hexdigest()


def test_the_media_documents_carry_what_the_rows_say(world: World) -> None:
    documents = {document["id"]: document for document in world.store.scan("content_media_files")}
    rows = world.rows("SELECT id, tenant_id, content_id, url, size_bytes, zerodb_row_id FROM media_assets")
    assert {row["zerodb_row_id"] for row in rows} == set(documents)
    for row in rows:
        document = documents[row["zerodb_row_id"]]
        assert (document["tenant_id"], document["content_id"]) == (str(row["tenant_id"]), str(row["content_id"]))
        assert (document["url"], document["size_bytes"]) == (row["url"], row["size_bytes"])


@pytest.mark.parametrize(
    ("name", "items", "files", "gib"), [("Acme Corporation", 87, 440, 2.14), ("Stellar Retail Co", 88, 477, 2.67)]
)
def test_usage_is_what_the_demo_says(world: World, name: str, items: int, files: int, gib: float) -> None:
    (usage,) = world.rows(
        "SELECT u.* FROM content_quota_usage u JOIN tenants t ON t.id = u.tenant_id WHERE t.name = %s", [name]
    )
    assert (usage["content_items"], usage["media_files"]) == (items, files)
    assert round(usage["media_bytes"] / GIB, 2) == gib
    assert round(usage["used_bytes"] / GIB, 2) == gib
    bodies = world.rows(
        "SELECT sum(storage_size_bytes)::bigint AS n FROM content_storage_metadata WHERE tenant_id = %s",
        [usage["tenant_id"]],
    )[0]["n"]
    assert usage["used_bytes"] == usage["media_bytes"] + bodies
    (event,) = world.instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey("storage_usage"), asset_partitions=[str(usage["tenant_id"])]), limit=1
    ).records
    assert event.asset_materialization is not None
    shown = {key: value.value for key, value in event.asset_materialization.metadata.items()}
    assert (shown["tenant"], shown["content_items"], shown["media_files"]) == (name, items, files)
    assert shown["used_gib"] == gib


def test_usage_is_materialized_for_every_tenant(world: World) -> None:
    tenants = {str(row["id"]) for row in world.rows("SELECT id FROM tenants")}
    assert len(tenants) == 8
    assert world.instance.get_materialized_partitions(dg.AssetKey("storage_usage")) == tenants
    assert set(world.instance.get_dynamic_partitions("tenants")) == tenants


@pytest.mark.parametrize(("asset", "table"), ASSETS.items())
def test_every_asset_shows_rows_table_and_columns(world: World, asset: str, table: str) -> None:
    (record,) = world.instance.fetch_materializations(dg.AssetRecordsFilter(dg.AssetKey(asset)), limit=1).records
    assert record.asset_materialization is not None
    shown = record.asset_materialization.metadata
    assert shown["dagster/table_name"].value == table.format(dataset=world.dataset)
    assert isinstance(shown["dagster/row_count"].value, int)
    schema = shown["dagster/column_schema"].value
    assert isinstance(schema, dg.TableSchema)
    assert len(schema.columns) >= 3
    assert all(column.type for column in schema.columns)


def test_row_counts_are_those_of_the_tables(world: World) -> None:
    shown = {asset: world.first.assets[asset]["dagster/row_count"] for asset in ASSETS}
    assert (shown["content_storage_dr"], shown["content_versions_dr"], shown["content_media_dr"]) == (288, 288, 1525)
    assert shown["content_items_migrated"] == 288
    assert world.second is not None
    assert world.second.assets["postgres_schema"]["dagster/row_count"] == 288


def test_the_platforms_tables_are_shown_with_their_counts(world: World) -> None:
    for table in PLATFORM_COLUMNS:
        (record,) = world.instance.fetch_materializations(
            dg.AssetRecordsFilter(dg.AssetKey(["platform", table])), limit=1
        ).records
        assert record.asset_materialization is not None
        rows = world.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"]
        assert record.asset_materialization.metadata["dagster/row_count"].value == rows


@pytest.mark.parametrize(("table", "rows"), [("campaign_assets", 175), ("content_items", 113)])
def test_the_migration_reports_are_metadata_and_file(world: World, table: str, rows: int) -> None:
    shown = world.first.assets[f"{table}_migrated"]
    assert (shown["read"], shown["migrated"], shown["quarantined"], shown["dry_run"]) == (rows, rows, 0, False)
    report = json.loads(Path(shown["report"]).read_text(encoding="utf-8"))
    assert Path(shown["report"]).is_relative_to(world.state_dir)
    assert (report["read"], report["migrated"], report["already_there"], report["quarantined"]) == (rows, rows, 0, 0)


def test_a_second_run_changes_nothing_and_says_so(world: World) -> None:
    assert world.second is not None
    assert world.second.all_passed
    assert world.second.changed == 0
    assert world.contents[1] == world.contents[0]
    for table, rows in (("campaign_assets", 175), ("content_items", 113)):
        shown = world.second.assets[f"{table}_migrated"]
        assert (shown["read"], shown["migrated"], shown["already_there"]) == (rows, 0, rows)
    assert world.second.assets["postgres_schema"]["applied"] == "nothing: up to date"
    for entity in ENTITIES:
        assert world.second.assets[entity.table.name]["rows_loaded_here"] == 0


def test_a_run_is_a_bounded_number_of_events(world: World) -> None:
    """About 7 ms each in PostgreSQL: one a batch or a tenant, never one an item."""
    records = world.instance.all_logs(world.first.run_id)
    kinds = Counter(record.dagster_event.event_type_value if record.dagster_event else "LOG" for record in records)
    assert kinds["ASSET_MATERIALIZATION"] <= 120, kinds
    assert len(records) < 500, kinds
