"""Restores and drills as Dagster runs them: the launchpad's words, six disasters in a run, and nothing live touched."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import psycopg
import pytest

from content_orchestration.core.drill.record import DrillRecord
from content_orchestration.core.drill.scenarios import BY_NAME, SCENARIOS
from content_orchestration.core.drill.world import World
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.replication.engine import Replicator
from content_orchestration.core.restore.request import RestoreRequest, Scope, Target
from content_orchestration.definitions import defs
from content_orchestration.defs.restore import assets, checks
from content_orchestration.defs.restore.jobs import RestoreConfig
from content_orchestration.defs.restore.schedules import ALL_DISASTERS
from content_orchestration.failures import PERMANENT_TAG
from content_orchestration.resources.bigquery import BigQueryDRResource
from content_orchestration.resources.zerodb import ZeroDBResource
from content_orchestration.settings import Settings
from content_orchestration_tests.drill_tiers import Names, open_scratch, scratch_names
from content_orchestration_tests.e2e.environment import environment
from content_orchestration_tests.replication_model import TENANT, add_content, expected
from content_orchestration_tests.tier_state import document_counts
from content_orchestration_tests.tiers import Tiers

CHECK = "every_disaster_was_recovered_from_lately"
LIVE_TABLES = (
    "content_storage_metadata", "content_versions", "media_assets", "content_changes", "content_quota_usage", "tenants",
    "replication_cursor", "replication_windows", "replication_heartbeat", "restore_runs",
)  # fmt: skip


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


@pytest.fixture
def names(settings: Settings) -> Iterator[Names]:
    with scratch_names(settings) as found:
        yield found


def sync(tiers: Tiers) -> None:
    Replicator(
        tiers.database, tiers.store, tiers.warehouse, batch_size=10_000, max_bytes=10_000_000, run_id="test"
    ).sync()  # fmt: skip


def fill(tiers: Tiers, count: int = 30) -> list[uuid.UUID]:
    """A tenant with replicated items."""
    ids = [uuid.uuid4() for _ in range(count)]
    with tiers.database.connection() as connection:
        connection.execute(
            "INSERT INTO tenants (id, name, slug, created_at) VALUES (%s, 'T', 't', now()) ON CONFLICT DO NOTHING",
            [TENANT],
        )
        add_content(connection, tiers.store, ids)
    sync(tiers)
    return ids


def run_op(instance: dg.DagsterInstance, job: str, op: str, config: dict[str, Any] | None = None) -> Any:
    return (
        defs()
        .resolve_job_def(job)
        .execute_in_process(instance=instance, run_config={"ops": {op: {"config": config or {}}}}, raise_on_error=False)
    )


def restore(instance: dg.DagsterInstance, **config: Any) -> Any:
    return run_op(instance, "restore_from_bigquery", "restore", config)


def output(result: Any, op: str = "restore") -> dict[str, Any]:
    """The metadata of an op's output."""
    (event,) = [e for e in result.all_node_events if e.is_successful_output and e.node_name == op]
    return {key: value.value for key, value in event.step_output_data.metadata.items()}


def refusal(result: Any, op: str = "restore") -> str:
    assert not result.success
    assert not [event for event in result.all_events if event.is_step_up_for_retry]
    failure = result.failure_data_for_node(op)
    return str(failure.user_failure_data.description)


# --- restore_from_bigquery ---------------------------------------------------------------------------------------


def test_what_was_reviewed_is_what_runs(tiers: Tiers, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    with environment(tiers.environment() | {"LOCAL_STATE_DIR": str(tmp_path), "REPORT_DIR": str(tmp_path)}):
        ids = fill(tiers)
        before = expected(tiers)
        with tiers.database.connection() as connection:
            connection.execute("DELETE FROM content_storage_metadata WHERE id = %s", [ids[0]])
        tiers.store.delete_many("content_items", [f"{ids[0]}.v1"])

        planned = output(restore(instance))
        assert planned["dry_run"] is True
        assert planned["rows_by_table"] == {"content_versions": 30, "media_assets": 0, "content_storage_metadata": 30}
        assert f"plan_hash: {planned['plan_hash']}" in planned["plan"]
        assert {"bytes_billed", "estimated_seconds", "body_bytes", "as_of_sync_id"} <= planned.keys()
        assert expected(tiers) != before, "a dry run wrote something"

        assert "plan_hash is empty" in refusal(restore(instance, dry_run=False))
        other = refusal(restore(instance, dry_run=False, plan_hash=planned["plan_hash"], on_conflict="overwrite"))
        assert "but this request means" in other
        assert expected(tiers) != before, "a refused restore wrote something"

        done = output(restore(instance, dry_run=False, plan_hash=planned["plan_hash"]))
        assert (done["dry_run"], done["verified"]) == (False, True)
        assert done["rows"]["content_storage_metadata"]["inserted"] == 1
        assert Path(done["report"]).is_file()
        assert expected(tiers) == before


def test_a_restore_that_must_leave_something_out_says_so(
    tiers: Tiers, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    with environment(tiers.environment() | {"LOCAL_STATE_DIR": str(tmp_path), "REPORT_DIR": str(tmp_path)}):
        ids = fill(tiers, 3)
        table = tiers.warehouse.qualified("content_storage_dr")
        list(tiers.warehouse.query(f"UPDATE `{table}` SET row_json = '{{}}' WHERE entity_id = '{ids[0]}'"))
        with tiers.database.connection() as connection:
            connection.execute("DELETE FROM content_storage_metadata")
        planned = output(restore(instance, scope="tenants", ids=[str(TENANT)]))
        result = restore(instance, scope="tenants", ids=[str(TENANT)], dry_run=False, plan_hash=planned["plan_hash"])
        said = refusal(result)
        assert said.startswith("restored, but not all of it: {'row_sha256': 1}")
        assert "restore_quarantine" in said
        assert expected(tiers)["content_storage_metadata"].keys() == {str(each) for each in ids[1:]}


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"scope": "all"}, "scope is 'all': it must be one of everything, tenants, content_ids"),
        ({"scope": "tenants"}, "scope is tenants but names none"),
        ({"scope": "content_ids", "ids": ["7"]}, "scope.content_ids has '7', which is no UUID"),
        ({"as_of": "yesterday"}, "as_of is 'yesterday', which is neither a sync id nor a moment"),
        ({"as_of": "2026-05-01 10:00"}, "without a time zone"),
        ({"as_of": "0"}, "as_of is 0: a sync id is a whole number above 0"),
        ({"tiers": "all"}, "tiers is 'all': it must be one of postgres, zerodb, both"),
        ({"on_conflict": "newest"}, "on_conflict is 'newest'"),
        ({"target": {"schema": "restored"}}, "target.collection_prefix is ''"),
        ({"target": {"schema": "public", "collection_prefix": "r_"}}, "target.schema is 'public'"),
    ],
)
def test_bad_input_names_the_field_the_rule_and_the_way_out(config: dict[str, Any], told: str) -> None:
    with pytest.raises(Permanent) as caught:
        RestoreConfig(**config).request()
    assert told in str(caught.value)


def test_good_input_means_what_it_says() -> None:
    config = RestoreConfig(
        scope="tenants", ids=[str(TENANT)], as_of=" 2026-05-01T10:00:00+02:00 ", max_rows=0,
        target={"schema": "restored", "collection_prefix": "r_"},
    )  # fmt: skip
    moment = datetime(2026, 5, 1, 8, tzinfo=UTC)
    assert config.request() == RestoreRequest(
        scope=Scope.tenants([str(TENANT)]), as_of=moment, target=Target.scratch("restored", "r_"), max_rows=None
    )
    assert RestoreConfig(as_of="17").request().as_of == 17
    assert RestoreConfig().request() == RestoreRequest(max_rows=10_000_000)


def test_bad_input_stops_the_run_for_good(tiers: Tiers, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    with environment(tiers.environment() | {"LOCAL_STATE_DIR": str(tmp_path)}):
        fill(tiers, 1)
        result = restore(instance, max_rows=1)
    assert "the plan has 2 rows and max_rows is 1" in refusal(result)
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags[PERMANENT_TAG] == "true"


def test_every_field_of_the_launchpad_is_described() -> None:
    config = defs().resolve_job_def("restore_from_bigquery").get_node_named("restore")
    fields = config.definition.config_schema.config_type.fields
    assert fields.keys() == {
        "scope", "ids", "as_of", "tiers", "target", "on_conflict", "dry_run", "max_rows", "max_bytes_billed",
        "plan_hash",
    }  # fmt: skip
    for field in (*fields.values(), *fields["target"].config_type.fields.values()):
        assert len(str(field.description)) > 40
    assert fields["dry_run"].default_value is True


def test_dropped_tables_are_made_anew_by_a_job(tiers: Tiers, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    with environment(tiers.environment() | {"LOCAL_STATE_DIR": str(tmp_path), "REPORT_DIR": str(tmp_path)}):
        fill(tiers, 3)
        before = expected(tiers)
        with tiers.database.connection() as connection:
            connection.execute("DROP TABLE content_storage_metadata, content_versions, media_assets")
        assert "launch recreate_missing_tables" in refusal(restore(instance))
        result = run_op(instance, "recreate_missing_tables", "create_what_is_missing")
        made = output(result, "create_what_is_missing")
        assert made["tables_recreated"] == ["content_storage_metadata", "content_versions", "media_assets"]
        planned = output(restore(instance, tiers="postgres"))
        assert restore(instance, tiers="postgres", dry_run=False, plan_hash=planned["plan_hash"]).success
        assert expected(tiers) == before


# --- drills ------------------------------------------------------------------------------------------------------


@contextmanager
def poisoned(tiers: Tiers, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Callable[[], int]]]:
    """Live tiers of which only `restore_drills` can be used.

    The role may touch that table and no other; the live clients of ZeroDB and BigQuery raise; and the ZeroDB server
    refuses the live project. Yields the URL and the number of requests that were refused.
    """
    role = f"recorder_{uuid.uuid4().hex}"
    control = f"http://127.0.0.1:{tiers.settings.local_zerodb_port}/_control/faults"
    key = {"X-API-Key": tiers.settings.zerodb_key}

    def refuse(self: object) -> None:
        raise AssertionError("a drill opened a live tier")

    with tiers.database.connection() as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")  # type: ignore[arg-type]
        connection.execute(f"GRANT SELECT, INSERT, UPDATE ON restore_drills TO {role}")  # type: ignore[arg-type]
    monkeypatch.setattr(ZeroDBResource, "client", refuse)
    monkeypatch.setattr(BigQueryDRResource, "client", refuse)
    fault = {"kind": "error", "path_part": f"/projects/{tiers.zerodb_project}/", "probability": 1.0}
    httpx.post(control, json=fault, headers=key).raise_for_status()
    try:
        yield (
            tiers.database_url.replace("postgres@", f"{role}@"),
            lambda: sum(each["fired"] for each in httpx.get(control, headers=key).json()["faults"]),
        )
    finally:
        httpx.delete(control, headers=key).raise_for_status()
        with tiers.database.connection() as connection:
            connection.execute(f"DROP OWNED BY {role}")  # type: ignore[arg-type]
            connection.execute(f"DROP ROLE {role}")  # type: ignore[arg-type]


def live_state(tiers: Tiers) -> dict[str, Any]:
    """Everything live, such that any write to it shows."""
    state: dict[str, Any] = {}
    with tiers.database.connection() as connection:
        for table in LIVE_TABLES:
            rows = connection.execute(f"SELECT xmin::text, ctid::text, t::text AS row FROM {table} t ORDER BY ctid")  # type: ignore[arg-type]
            state[table] = rows.fetchall()
    state["documents"] = document_counts(tiers)
    state["history"] = {
        table: tiers.warehouse.row_count(table)
        for table in ("content_storage_dr", "content_versions_dr", "content_sync_log")
    }
    return state


def run_drills(instance: dg.DagsterInstance, partition: str | None = None) -> Any:
    return (
        defs()
        .resolve_job_def("run_drills")
        .execute_in_process(
            instance=instance, partition_key=partition, tags=ALL_DISASTERS if partition is None else None,
            raise_on_error=False,
        )
    )  # fmt: skip


def verdict(result: Any) -> Any:
    (evaluation,) = [e for e in result.get_asset_check_evaluations() if e.check_name == CHECK]
    return evaluation


def test_six_disasters_are_recovered_from_in_one_run_and_nothing_live_is_touched(
    tiers: Tiers, names: Names, settings: Settings, instance: dg.DagsterInstance, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    fill(tiers)
    before = live_state(tiers)
    values = tiers.environment() | names.environment() | {"LOCAL_STATE_DIR": str(tmp_path), "DRILL_ITEMS": "100"}
    with monkeypatch.context() as patch, poisoned(tiers, patch) as (recorder, refused):
        with environment(values | {"DATABASE_PUBLIC_URL": recorder}):
            result = run_drills(instance)
        assert refused() == 0, "a drill asked the live ZeroDB project"
    assert result.success
    assert live_state(tiers) == before

    assert instance.get_materialized_partitions(dg.AssetKey("dr_drill")) == {each.name for each in SCENARIOS}
    drills = {drill.scenario: drill for drill in DrillRecord(tiers.database).recent(5)}
    assert len(drills) == 6
    for name, drill in drills.items():
        assert (drill.verified, drill.rows_lost, drill.error) == (True, 0, None), name
        assert drill.detection_seconds is not None
        assert drill.rto_seconds is not None
        assert drill.detection_seconds <= drill.rto_seconds < 600, name
        assert drill.finished_at is not None
        assert (drill.run_id, drill.items) == (result.run_id, 100)
    assert drills["both_lost_during_sync"].rpo_seconds
    events = result.asset_materializations_for_node("dr_drill")
    shown = {event.partition: event.metadata for event in events}
    assert shown["both_lost_during_sync"]["rows_within_rpo"].value > 10
    assert shown["metadata_tables_dropped"]["detected_by"].value == "a_sync_succeeds"
    assert {metadata["verified"].value for metadata in shown.values()} == {"yes"}

    assert verdict(result).passed
    (report,) = result.asset_materializations_for_node("drills_report")
    assert report.metadata["proved"].value.startswith("every disaster was recovered from")
    assert str(report.metadata["drills"].value).count("| yes |") == 6
    assert len(report.metadata["last_drills"].value.records) == 6
    with open_scratch(settings, names) as scratch:
        assert not scratch.store.collections()
        assert not scratch.warehouse.table_names()


def nothing_happens(world: World) -> None:
    pass


def test_a_drill_that_was_never_run_warns_and_one_that_failed_is_red(
    tiers: Tiers, names: Names, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = replace(BY_NAME["bodies_corrupted"], strike=nothing_happens)
    monkeypatch.setattr(assets, "BY_NAME", {scenario.name: scenario})
    values = tiers.environment() | names.environment() | {"LOCAL_STATE_DIR": str(tmp_path), "DRILL_ITEMS": "100"}
    with environment(values):
        report = dg.AssetKey("drills_report")
        job = defs().get_repository_def().get_implicit_job_def_for_assets([report])
        assert job is not None
        never = verdict(job.execute_in_process(instance=instance, asset_selection=[report]))
        assert (never.passed, never.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert "no drill has run yet" in str(never.description)

        failed = run_drills(instance, scenario.name)
        assert failed.success, "a recovery that fails is what the drill is there to find: the run itself is fine"
        found = verdict(failed)
        assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
        assert "bodies_corrupted: was not verified (Permanent: no check found the disaster" in str(found.description)


def test_a_drill_is_refused_where_it_would_hit_what_is_live(
    tiers: Tiers, names: Names, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    fill(tiers, 3)
    before = live_state(tiers)
    values = tiers.environment() | names.environment() | {"LOCAL_STATE_DIR": str(tmp_path)}
    server = f"postgresql://postgres@localhost:{tiers.settings.local_postgres_port}"
    for change, told in (
        (
            {"DRILL_DATABASE_URL": tiers.database_url.replace("127.0.0.1", "localhost")},
            "DRILL_DATABASE_URL and DATABASE_PUBLIC_URL",
        ),
        ({"DRILL_ZERODB_PROJECT_ID": tiers.zerodb_project}, "DRILL_ZERODB_PROJECT_ID and ZERODB_PROJECT_ID"),
        ({"DRILL_BIGQUERY_DATASET": tiers.bigquery_dataset}, "DRILL_BIGQUERY_DATASET and BIGQUERY_DATASET"),
        (
            {"DRILL_DATABASE_URL": f"{server}/postgres?dbname={tiers.database_url.rpartition('/')[2]}"},
            "DRILL_DATABASE_URL",
        ),
    ):
        with environment(values | change):
            assert told in refusal(run_drills(instance, "zerodb_emptied"), "dr_drill")
    assert live_state(tiers) == before
    assert DrillRecord(tiers.database).recent(1) == []


def test_a_world_that_is_not_the_drills_is_refused_and_on_record(
    tiers: Tiers, names: Names, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    with tiers.database.connection() as connection:
        connection.commit()
        connection.autocommit = True
        connection.execute(f"CREATE DATABASE {names.database}")  # type: ignore[arg-type]
        connection.autocommit = False
    with psycopg.connect(names.database_url) as connection:
        connection.execute("CREATE TABLE precious (id int)")
    with environment(tiers.environment() | names.environment() | {"LOCAL_STATE_DIR": str(tmp_path)}):
        assert "(precious)" in refusal(run_drills(instance, "zerodb_emptied"), "dr_drill")
    (drill,) = DrillRecord(tiers.database).recent(1)
    assert drill.error is not None
    assert drill.error.startswith("no disaster was made: the database 127.0.0.1")
    assert (drill.verified, drill.finished_at is not None) == (False, True)


def scheduled(values: dict[str, str]) -> Any:
    with environment(values):
        repository = defs().get_repository_def()
        schedule = repository.get_schedule_def("drill_every_week")
        with dg.build_schedule_context(instance=dg.DagsterInstance.ephemeral(), repository_def=repository) as context:
            return schedule.evaluate_tick(context)


def test_the_weekly_schedule_asks_for_all_six_in_one_run() -> None:
    (request,) = scheduled({}).run_requests
    assert ALL_DISASTERS.items() <= request.tags.items()
    partitions = [each.name for each in SCENARIOS]
    assert (partitions[0], partitions[-1]) == tuple(ALL_DISASTERS.values())
    away = scheduled({"DATABASE_PUBLIC_URL": "postgresql://u:p@db.example.com/content"})
    assert away.run_requests == []
    assert away.skip_message.startswith("DRILL_DATABASE_URL is empty")


# --- the check of the change log -----------------------------------------------------------------------------------


def run_check(instance: dg.DagsterInstance) -> Any:
    key = dg.AssetCheckKey(dg.AssetKey("content_storage_dr"), "no_transaction_touched_most_rows")
    job = dg.define_asset_job("check", selection=dg.AssetSelection.checks(key))
    merged = dg.Definitions.merge(defs(), dg.Definitions(jobs=[job]))
    (evaluation,) = merged.resolve_job_def("check").execute_in_process(instance=instance).get_asset_check_evaluations()
    return evaluation


def test_a_bad_update_is_found_in_the_change_log(tiers: Tiers, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    with environment(tiers.environment() | {"LOCAL_STATE_DIR": str(tmp_path)}):
        fill(tiers)
        assert run_check(instance).passed
        with tiers.database.connection() as connection:
            connection.execute("UPDATE content_storage_metadata SET title = 'oops'")
        found = run_check(instance)
        assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert "did update 30 rows of content_storage_metadata of 1 tenants at" in str(found.description)
        assert found.metadata["transactions"].value[0]["one_tenant"] == str(TENANT)


class Down:
    """A PostgreSQL resource whose server does not answer."""

    def client(self) -> "Down":
        return self

    def connection(self) -> None:
        raise Transient("PostgreSQL refused the connection")


@pytest.mark.parametrize(
    "check", [assets.every_disaster_was_recovered_from_lately, checks.no_transaction_touched_most_rows]
)
def test_a_check_that_cannot_look_is_unknown(check: Any) -> None:
    result = check(Down())
    assert result.passed is False
    assert result.metadata["outcome"].value == "unknown"
    assert "PostgreSQL refused the connection" in result.description
