"""Replication as Dagster runs it: the early sensor, the checks, the backfill by tenant, and a new history."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from content_orchestration.core.replication.backfill import FRESH_SNAPSHOT_CONFIRMATION
from content_orchestration.definitions import defs
from content_orchestration.failures import PERMANENT_TAG
from content_orchestration.policies import TENANTS
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration_tests.e2e.environment import environment
from content_orchestration_tests.replication_model import (
    add_content,
    body_of,
    content_row,
    insert,
    put_bodies,
    version_row,
)
from content_orchestration_tests.tiers import Tiers


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


def sensor_tick(instance: dg.DagsterInstance) -> Any:
    repository = defs().get_repository_def()
    with dg.build_sensor_context(
        instance=instance, repository_def=repository, resources={"postgres": PostgresResource()}
    ) as context:
        return repository.get_sensor_def("replicate_early").evaluate_tick(context)


def change(tiers: Tiers, count: int) -> list[uuid.UUID]:
    ids = [uuid.uuid4() for _ in range(count)]
    with tiers.database.connection() as connection:
        add_content(connection, tiers.store, ids)
    return ids


def replicate(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return defs().resolve_job_def("replicate_to_bigquery").execute_in_process(instance=instance)


def test_a_sync_starts_early_when_enough_waits_and_none_is_on_its_way(
    tiers: Tiers, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    values = tiers.environment() | {"LOCAL_STATE_DIR": str(tmp_path), "SYNC_EARLY_ROWS": "4"}
    with environment(values) as patch:
        assert sensor_tick(instance).skip_message == "0 changes and 0 bytes wait: the schedule takes them"
        change(tiers, 1)
        assert sensor_tick(instance).run_requests == []
        change(tiers, 1)
        assert len(sensor_tick(instance).run_requests) == 1

        run = instance.create_run_for_job(
            defs().resolve_job_def("replicate_to_bigquery"), status=dg.DagsterRunStatus.STARTED
        )
        assert sensor_tick(instance).skip_message == f"run {run.run_id} is replicating already"
        patch.setenv("BIGQUERY_SYNC_ENABLED", "false")
    with environment(values | {"BIGQUERY_SYNC_ENABLED": "false"}):
        assert sensor_tick(instance).skip_message == "BIGQUERY_SYNC_ENABLED is false: set it to true to replicate"
    with environment(values | {"SYNC_EARLY_ROWS": "1000", "SYNC_EARLY_BYTES": "1"}):
        instance.delete_run(run.run_id)
        assert len(sensor_tick(instance).run_requests) == 1


def outcomes(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {evaluation.check_name: evaluation.passed for evaluation in result.get_asset_check_evaluations()}


def test_each_check_passes_after_a_sync_and_fails_for_its_own_reason(
    tiers: Tiers, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    with environment(tiers.environment() | {"LOCAL_STATE_DIR": str(tmp_path)}):
        ids = change(tiers, 3)
        first = replicate(instance)
        assert all(outcomes(first).values()), outcomes(first)
        (shown,) = first.asset_materializations_for_node("replication_status")
        assert shown.metadata["enabled"].value is True
        assert shown.metadata["backlog_changes"].value == 0
        synced = {
            m.asset_key.to_user_string(): m.metadata for m in first.asset_materializations_for_node("replication_sync")
        }
        assert synced["content_storage_dr"]["rows_loaded_here"].value == 3
        assert "lag of the last 1 windows" in str(synced["content_storage_dr"]["lag"].value)

        with tiers.database.connection() as connection:
            connection.execute("DELETE FROM content_storage_metadata WHERE id = %s", (ids[0],))
        replicate(instance)
        table = tiers.warehouse.qualified("content_storage_dr")
        list(tiers.warehouse.query(f"DELETE FROM `{table}` WHERE op = 'delete'"))
        with tiers.database.connection() as connection:
            connection.execute(
                "INSERT INTO content_changes (entity, entity_id, tenant_id, op, changed_at) "
                "VALUES ('content_media', gen_random_uuid(), gen_random_uuid(), 'U', now() - interval '16 minutes')"
            )
            connection.execute(
                "INSERT INTO replication_windows (sync_id, system_identifier, low_xid, high_xid, changes, run_id, "
                "synced_at, opened_at) VALUES (1, '1', '8', '9', 0, 'old', now(), now() - interval '31 minutes')"
            )
        keys = [
            dg.AssetCheckKey(dg.AssetKey("content_storage_dr"), name)
            for name in (
                "recovery_point_within_15_minutes",
                "no_window_is_left_open",
                "no_transaction_pins_the_horizon",
                "deleted_ids_have_tombstones",
                "agrees_with_postgres",
            )
        ]
        job = dg.define_asset_job("checks", selection=dg.AssetSelection.checks(*keys))
        result = (
            dg.Definitions.merge(defs(), dg.Definitions(jobs=[job]))
            .resolve_job_def("checks")
            .execute_in_process(instance=instance, raise_on_error=False)
        )
        assert outcomes(result) == {
            "recovery_point_within_15_minutes": False,
            "no_window_is_left_open": False,
            "no_transaction_pins_the_horizon": True,
            "deleted_ids_have_tombstones": False,
            "agrees_with_postgres": False,
        }
        texts = {e.check_name: str(e.description) for e in result.get_asset_check_evaluations()}
        assert "1 changes wait" in texts["recovery_point_within_15_minutes"]
        assert "two cycles are 1800 s" in texts["no_window_is_left_open"]
        assert texts["deleted_ids_have_tombstones"] == "1 deletes looked at, 1 still live in BigQuery"


def test_tenants_are_backfilled_in_one_run_and_each_is_recorded(
    tiers: Tiers, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    tenants = [uuid.uuid4() for _ in range(3)]
    with tiers.database.connection() as connection:
        for tenant in tenants:
            content = uuid.uuid4()
            put_bodies(tiers.store, {(content, 1): body_of(content, 1)})
            insert(connection, "content_storage_metadata", content_row(content, 1, tenant_id=tenant))
            insert(connection, "content_versions", version_row(content, 1, tenant_id=tenant))
    keys = [str(tenant) for tenant in tenants]
    instance.add_dynamic_partitions(str(TENANTS.name), keys)
    with environment(tiers.environment() | {"LOCAL_STATE_DIR": str(tmp_path)}):
        result = defs().resolve_job_def("backfill_tenants").execute_in_process(
            instance=instance,
            tags={"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]},
        )  # fmt: skip
    asset = dg.AssetKey("content_dr_backfill")
    assert instance.get_materialized_partitions(asset) == set(keys)
    for event in result.asset_materializations_for_node("content_dr_backfill"):
        assert event.metadata["rows_loaded"].value == {
            "content_versions_dr": 1, "content_media_dr": 0, "content_storage_dr": 1,
        }  # fmt: skip
    assert tiers.warehouse.row_count("content_storage_dr") == 3


def test_a_new_history_asks_for_a_sentence(tiers: Tiers, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    with environment(tiers.environment() | {"LOCAL_STATE_DIR": str(tmp_path)}):
        job = defs().resolve_job_def("begin_new_history")
        refused = job.execute_in_process(instance=instance, raise_on_error=False)
        failure = refused.failure_data_for_node("point_cursor_at_this_cluster")
        assert failure is not None
        assert failure.user_failure_data is not None
        assert repr(FRESH_SNAPSHOT_CONFIRMATION) in str(failure.user_failure_data.description)
        run = instance.get_run_by_id(refused.run_id)
        assert run is not None
        assert run.tags[PERMANENT_TAG] == "true"

        config = {"ops": {"point_cursor_at_this_cluster": {"config": {"confirm": FRESH_SNAPSHOT_CONFIRMATION}}}}
        assert job.execute_in_process(instance=instance, run_config=config).success
    with tiers.database.connection() as connection:
        assert connection.execute("SELECT count(*) AS n FROM replication_cursor").fetchone() == {"n": 1}
