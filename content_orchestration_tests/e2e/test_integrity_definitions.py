"""Integrity as Dagster runs it: reports with their check, checks that block, tenants, schedules, and the repair job."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from content_orchestration.core.replication.tables import ENTITIES
from content_orchestration.definitions import defs
from content_orchestration.failures import PERMANENT_TAG
from content_orchestration.policies import TENANTS as PARTITIONS
from content_orchestration.settings import Settings
from content_orchestration_tests.e2e.environment import environment
from content_orchestration_tests.repair_world import RepairWorld
from content_orchestration_tests.tiers import Tiers
from content_orchestration_tests.zerodb_world import TENANTS, body_id, open_world, populate

STORAGE = "content_storage_dr"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


@pytest.fixture
def world(
    settings: Settings, database_url: str, zerodb_project: str, tiers: Tiers, tmp_path: Path
) -> Iterator[RepairWorld]:
    with (
        environment(tiers.environment() | {"LOCAL_STATE_DIR": str(tmp_path), "REPORT_DIR": str(tmp_path)}),
        open_world(settings, database_url, zerodb_project) as opened,
    ):
        populate(opened, 6)
        made = RepairWorld(opened, tiers)
        made.sync()
        yield made


def run(instance: dg.DagsterInstance, job: str, **given: Any) -> dg.ExecuteInProcessResult:
    return defs().resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, **given)


def shown(result: dg.ExecuteInProcessResult, node: str) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node(node)
    return {key: value.value for key, value in event.metadata.items()}


def check(result: dg.ExecuteInProcessResult) -> Any:
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


def records(value: Any) -> list[dict[str, Any]]:
    return [dict(record.data) for record in value.records]


def config(report_id: int, **given: Any) -> dict[str, Any]:
    """As it is typed into the launchpad."""
    return {"ops": {"repair": {"config": {"report_id": report_id, **given}}}}


def lose_a_row(world: RepairWorld, number: int) -> str:
    key = str(world.zerodb.items[number])
    table = world.tiers.warehouse.qualified(STORAGE)
    list(world.tiers.warehouse.query(f"DELETE FROM `{table}` WHERE entity_id = '{key}'"))
    return key


def test_a_report_finds_a_repair_mends_and_the_next_report_is_clean(
    world: RepairWorld, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    clean = run(instance, "check_integrity")
    assert clean.success
    assert check(clean).passed, check(clean).description
    first = shown(clean, "integrity_report")
    assert first["outcome"] == "agree"
    assert first["dagster/table_name"] == "integrity_differences"
    compared = {row["comparison"]: row for row in records(first["coverage"])}
    assert compared.keys() >= {f"{entity.table.name}: rows" for entity in ENTITIES} | {
        "bodies_scrub", "documents", "versions", "media", "spill", "usage",
    }  # fmt: skip
    assert len([name for name in compared if "stored hashes" in name]) == 4
    assert first["history"].startswith("`▁` differences of the last 1 reports")

    lost = lose_a_row(world, 1)
    world.zerodb.change("content_items", body_id(world.zerodb.items[3]), body="spoilt")
    found = run(instance, "check_integrity")
    assert found.success, "a report of differences is a report"
    evaluation = check(found)
    assert not evaluation.passed
    assert evaluation.severity == dg.AssetCheckSeverity.ERROR
    assert evaluation.description.startswith("different: body_hash_differs 1, missing_in_warehouse 1 (repair_")
    assert evaluation.metadata["outcome"].value == "different"
    second = shown(found, "integrity_report")
    assert second["differences"] == {"body_hash_differs": 1, "missing_in_warehouse": 1}
    samples = {row["kind"]: row for row in records(second["samples"])}
    assert samples["missing_in_warehouse"]["id"] == lost
    assert samples["body_hash_differs"]["id"] == body_id(world.zerodb.items[3])
    written = json.loads(Path(second["report"]).read_text(encoding="utf-8"))
    assert (written["report_id"], written["outcome"]) == (second["report_id"], "different")
    assert Path(second["report"]).parent == tmp_path

    number = second["report_id"]
    dry = run(instance, "repair_differences", run_config=config(number))
    assert dry.success
    assert dry.output_for_node("repair") is None
    assert len(world.repairs()) == 0
    done = run(instance, "repair_differences", run_config=config(number, dry_run=False, kinds=["missing_in_warehouse"]))
    assert done.success
    assert {(row["kind"], row["outcome"], row["run_id"]) for row in world.repairs()} == {
        ("missing_in_warehouse", "repaired", done.run_id)
    }
    (event,) = [e for e in done.all_events if e.event_type == dg.DagsterEventType.STEP_OUTPUT]
    metadata = event.step_output_data.metadata
    assert metadata["summary"].value == f"report {number}: 1 repaired; the same comparisons are clean"
    assert run(instance, "repair_differences", run_config=config(number, dry_run=False)).success

    after = run(instance, "check_integrity")
    assert check(after).passed, check(after).description
    assert "`▁█▁` differences of the last 3 reports, the highest 2" in shown(after, "integrity_report")["history"]


def test_a_repair_that_cannot_do_all_of_it_fails_and_says_why(world: RepairWorld, instance: dg.DagsterInstance) -> None:
    stray = {"id": "stray", "created_at": (datetime.now(UTC) - timedelta(days=1)).isoformat()}
    world.zerodb.put("content_items", stray)
    number = shown(run(instance, "check_integrity"), "integrity_report")["report_id"]
    for given, words in (
        (config(number, dry_run=False), "1 refused"),
        (config(4711), "report_id is 4711"),
        (config(number, kinds=["stray"]), "kinds has 'stray', which is none of"),
    ):
        refused = run(instance, "repair_differences", run_config=given)
        failure = refused.failure_data_for_node("repair")
        assert failure is not None
        assert failure.user_failure_data is not None
        assert words in str(failure.user_failure_data.description)
        tags = instance.get_run_by_id(refused.run_id)
        assert tags is not None
        assert tags.tags[PERMANENT_TAG] == "true"
    actions = records(
        run(instance, "repair_differences", run_config=config(number, dry_run=False))
        .failure_data_for_node("repair").user_failure_data.metadata["actions"].value  # type: ignore[union-attr]
    )  # fmt: skip
    assert actions[0]["outcome"] == "refused"
    assert "deletes no live document" in actions[0]["detail"]
    with pytest.raises(dg.DagsterInvalidConfigError):
        run(instance, "repair_differences", run_config={"ops": {"repair": {"config": {"dry_run": False}}}})


def test_a_table_that_differs_fails_the_sync_that_found_it(world: RepairWorld, instance: dg.DagsterInstance) -> None:
    lose_a_row(world, 1)
    blocked = run(instance, "replicate_to_bigquery")
    assert not blocked.success
    evaluations = {
        e.asset_key.to_user_string(): e
        for e in blocked.get_asset_check_evaluations()
        if e.check_name == "agrees_with_postgres"
    }
    assert {key: e.passed for key, e in evaluations.items()} == {
        STORAGE: False, "content_versions_dr": True, "content_media_dr": True, "cleanup_audit_dr": True,
    }  # fmt: skip
    assert evaluations[STORAGE].blocking
    # The report on replication is wanted most then, so it waits for nothing.
    assert len(blocked.asset_materializations_for_node("replication_status")) == 1
    number = evaluations[STORAGE].metadata["report_id"].value
    assert run(instance, "repair_differences", run_config=config(number, dry_run=False)).success
    assert run(instance, "replicate_to_bigquery").success


def test_tenants_are_compared_on_demand_and_each_is_recorded(world: RepairWorld, instance: dg.DagsterInstance) -> None:
    keys = [str(tenant) for tenant in TENANTS]
    instance.add_dynamic_partitions(str(PARTITIONS.name), keys)
    tags = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
    world.zerodb.change("content_items", body_id(world.zerodb.items[3]), body="spoilt")
    result = run(instance, "check_tenants", tags=tags)
    assert result.success
    assert instance.get_materialized_partitions(dg.AssetKey("tenant_integrity")) == set(keys)
    evaluation = check(result)
    assert not evaluation.passed
    assert evaluation.description == "different: 2 tenants, 1 agree, 1 different"
    assert list(evaluation.metadata["tenants"].value) == [keys[1]]
    events = {e.partition: e.metadata for e in result.asset_materializations_for_node("tenant_integrity")}
    assert {key: metadata["outcome"].value for key, metadata in events.items()} == {
        keys[0]: "agree", keys[1]: "different",
    }  # fmt: skip
    number = events[keys[1]]["report_id"].value
    assert run(instance, "repair_differences", run_config=config(number, dry_run=False)).success
    assert check(run(instance, "check_tenants", tags=tags)).description == "agree: 2 tenants, 2 agree"


def test_what_cannot_be_seen_is_unknown_in_words_of_its_own(
    world: RepairWorld, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    off = world.tiers.environment() | {
        "LOCAL_STATE_DIR": str(tmp_path), "REPORT_DIR": str(tmp_path), "BIGQUERY_SYNC_ENABLED": "false",
    }  # fmt: skip
    with environment(off):
        left_out = run(instance, "check_integrity")
    evaluation = check(left_out)
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert evaluation.description.startswith("unknown: 8 of 14 comparisons could not look. content_version")
    assert evaluation.metadata["outcome"].value == "unknown"
    outcomes = {row["comparison"]: row["outcome"] for row in records(shown(left_out, "integrity_report")["coverage"])}
    assert outcomes["documents"] == outcomes["bodies_scrub"] == "agree", "the other tiers were compared"
    assert shown(left_out, "integrity_report")["history"].startswith("`?` differences of the last 1 reports")


@pytest.mark.parametrize(
    ("name", "cron", "job"),
    [
        ("check_integrity_hourly", "7 * * * *", "check_integrity"),
        ("check_integrity_nightly", "37 2 * * *", "check_integrity_fully"),
    ],
)
def test_reports_are_taken_by_schedule_with_or_without_bigquery(name: str, cron: str, job: str) -> None:
    for values in ({}, {"BIGQUERY_SYNC_ENABLED": "false"}):
        with environment(values):
            repository = defs().get_repository_def()
            schedule = repository.get_schedule_def(name)
            instance = dg.DagsterInstance.ephemeral()
            with dg.build_schedule_context(instance=instance, repository_def=repository) as context:
                assert len(schedule.evaluate_tick(context).run_requests or []) == 1
    assert (schedule.cron_schedule, schedule.job_name) == (cron, job)
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING


def test_every_job_stops_run_retries_and_every_field_says_what_it_is() -> None:
    loaded = defs()
    for name in ("check_integrity", "check_integrity_fully", "check_tenants", "repair_differences"):
        hooks = {hook.name for hook in loaded.resolve_job_def(name).hook_defs}
        assert hooks == {"stop_run_retries_on_permanent_failure"}, name
    (node,) = loaded.resolve_job_def("repair_differences").nodes
    schema = node.definition.config_schema.config_type  # type: ignore[union-attr]
    assert {name: bool(field.description) for name, field in schema.fields.items()} == dict.fromkeys(
        ["report_id", "kinds", "max_repairs", "dry_run"], True
    )
