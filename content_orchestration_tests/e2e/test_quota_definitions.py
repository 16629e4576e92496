"""Usage, limits, history and notices as Dagster runs them: one run for all tenants, checks, sensors and schedules."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.definitions import defs
from content_orchestration.failures import PERMANENT_TAG
from content_orchestration.local.ports import free_ports
from content_orchestration.policies import TENANTS
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.settings import Settings
from content_orchestration_tests.e2e.environment import environment, once_an_environment, ports
from content_orchestration_tests.usage_rows import GIB, brand, content, run, tenant

QUOTA_JOBS = {"compute_storage_usage", "record_usage", "deliver_quota_notices", "quota_upkeep"}
CHECKS = {
    "storage_usage": [
        "counters_equal_truth", "no_tenant_is_above_its_limit", "no_reservation_outlives_its_expiry",
    ],
    "quota_notices": ["no_notice_waits_for_an_hour"],
}  # fmt: skip


@once_an_environment
def loaded() -> dg.Definitions:
    """The project's definitions and a job of the quota checks."""
    keys = [dg.AssetCheckKey(dg.AssetKey(asset), name) for asset, names in CHECKS.items() for name in names]
    job = dg.define_asset_job("quota_checks", selection=dg.AssetSelection.checks(*keys))
    return dg.Definitions.merge(defs(), dg.Definitions(jobs=[job]))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


@pytest.fixture
def database(database_url: str, settings: Settings, tmp_path: Path) -> Iterator[PostgresClient]:
    """A client, in the environment that leads the definitions to the same database."""
    values = ports(settings) | {"DATABASE_PUBLIC_URL": database_url, "LOCAL_STATE_DIR": str(tmp_path)}
    with environment(values), PostgresClient(database_url) as client:
        yield client


def usage_of(instance: dg.DagsterInstance, keys: list[str], *, fails: bool = False) -> dg.ExecuteInProcessResult:
    """One run for a range of tenants, as a single-run backfill and the schedule start it."""
    return loaded().resolve_job_def("compute_storage_usage").execute_in_process(
        instance=instance,
        tags={"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]},
        raise_on_error=not fails,
    )  # fmt: skip


def three_tenants(database: PostgresClient, instance: dg.DagsterInstance) -> list[str]:
    keys = [tenant(database, "free", f"T{n}") for n in range(3)]
    for size, key in enumerate(keys, start=1):
        content(database, key, "post", 100 * size)
    instance.add_dynamic_partitions(str(TENANTS.name), keys)
    return keys


def outcomes(instance: dg.DagsterInstance) -> dict[str, dg.AssetCheckEvaluation]:
    result = loaded().resolve_job_def("quota_checks").execute_in_process(instance=instance)
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}


def test_all_tenants_are_counted_in_one_run_and_each_is_recorded(
    database: PostgresClient, instance: dg.DagsterInstance
) -> None:
    keys = three_tenants(database, instance)
    result = usage_of(instance, keys)
    assert instance.get_materialized_partitions(dg.AssetKey("storage_usage")) == set(keys)
    shown = {event.partition: event.metadata for event in result.asset_materializations_for_node("storage_usage")}
    assert {key: shown[key]["used_bytes"].value for key in keys} == dict(zip(keys, (100, 200, 300), strict=True))
    assert shown[keys[0]]["drift_bytes"].value == 100
    assert {e.check_name: e.passed for e in result.get_asset_check_evaluations()} == dict.fromkeys(
        CHECKS["storage_usage"], True
    )


def test_a_tenant_that_is_gone_fails_for_good_after_the_others_are_done(
    database: PostgresClient, instance: dg.DagsterInstance
) -> None:
    keys = three_tenants(database, instance)
    run(database, "DELETE FROM tenants WHERE id = %s", [keys[0]])
    result = usage_of(instance, keys, fails=True)
    assert not result.success
    failure = result.failure_data_for_node("storage_usage")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert f"tenant {keys[0]} is not in tenants" in str(failure.user_failure_data.description)
    assert instance.get_materialized_partitions(dg.AssetKey("storage_usage")) == set(keys[1:])
    record = instance.get_run_by_id(result.run_id)
    assert record is not None
    assert record.tags[PERMANENT_TAG] == "true"


def test_each_check_fails_for_its_own_reason(database: PostgresClient, instance: dg.DagsterInstance) -> None:
    keys = three_tenants(database, instance)
    usage_of(instance, keys)
    assert all(evaluation.passed for evaluation in outcomes(instance).values())

    run(database, "UPDATE tenants SET plan_tier = 'starter' WHERE id = %s", [keys[1]])
    content(database, keys[1], "video", 2 * GIB)
    usage_of(instance, keys)
    run(database, "UPDATE tenants SET plan_tier = 'free' WHERE id = %s", [keys[1]])
    usage_of(instance, keys)
    found = outcomes(instance)["no_tenant_is_above_its_limit"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "T1 by 1 GiB" in str(found.description)
    assert "its limit was lowered" in str(found.description)

    content(database, keys[0], "video", 3 * GIB)
    QuotaLedger(database).reserve(keys[2], bytes=10, items=1)
    run(database, "UPDATE quota_reservations SET expires_at = now() - interval '11 minutes'")
    run(database, "UPDATE quota_notices SET created_at = now() - interval '61 minutes', last_error = 'mail is down'")
    found_all = outcomes(instance)
    assert {name: evaluation.passed for name, evaluation in found_all.items()} == {
        "counters_equal_truth": False,
        "no_tenant_is_above_its_limit": False,
        "no_reservation_outlives_its_expiry": False,
        "no_notice_waits_for_an_hour": False,
    }
    assert "1 counters differ" in str(found_all["counters_equal_truth"].description)
    assert "hold 10 bytes" in str(found_all["no_reservation_outlives_its_expiry"].description)
    assert "mail is down" in str(found_all["no_notice_waits_for_an_hour"].description)
    usage_of(instance, keys)
    found = outcomes(instance)["no_tenant_is_above_its_limit"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR), "one of them grew over its limit"


@pytest.mark.usefixtures("impatient")
def test_checks_that_cannot_look_are_unknown(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    nowhere = f"postgresql://postgres@127.0.0.1:{free_ports(1)[0]}/content"
    with environment({"DATABASE_PUBLIC_URL": nowhere, "LOCAL_STATE_DIR": str(tmp_path)}) as patch:
        patch.setattr("content_orchestration.resources.postgres_client._CONNECT_SECONDS", 1.0)
        found = outcomes(instance)
    assert len(found) == 4
    for evaluation in found.values():
        assert evaluation.passed is False
        assert evaluation.metadata["outcome"].value == "unknown"


def test_the_history_shows_plans_tenants_and_where_they_are_heading(
    database: PostgresClient, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    keys = three_tenants(database, instance)
    usage_of(instance, keys)
    result = loaded().resolve_job_def("record_usage").execute_in_process(instance=instance)
    (event,) = result.asset_materializations_for_node("usage_history")
    assert event.metadata["dagster/row_count"].value == 3
    assert "| free | `█` | 3 | 600 bytes |" in str(event.metadata["plans"].value)
    assert "| T2 | free | 300 bytes | 0.0 % | unknown | not enough history (1 of 24 hours) |" in str(
        event.metadata["top_ten_tenants"].value
    )
    report = json.loads((tmp_path / "reports" / "usage_forecast.json").read_text())
    assert [each["tenant"] for each in report["tenants"]] == ["T2", "T1", "T0"]


def tick(instance: dg.DagsterInstance, name: str) -> Any:
    repository = loaded().get_repository_def()
    with dg.build_sensor_context(
        instance=instance, repository_def=repository, resources={"postgres": PostgresResource()}
    ) as context:
        return repository.get_sensor_def(name).evaluate_tick(context)


def test_notices_are_delivered_when_they_are_due(
    database: PostgresClient, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    owner = tenant(database, "free", "Bluebird Bakery")
    content(database, owner, "video", GIB * 96 // 100)
    assert tick(instance, "quota_notices_due").skip_message == "0 notices wait, none of them is due"
    instance.add_dynamic_partitions(str(TENANTS.name), [owner])
    usage_of(instance, [owner])
    assert len(tick(instance, "quota_notices_due").run_requests) == 1
    job = loaded().resolve_job_def("deliver_quota_notices")
    started = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert tick(instance, "quota_notices_due").skip_message == f"run {started.run_id} is delivering already"
    instance.delete_run(started.run_id)

    result = job.execute_in_process(instance=instance)
    (event,) = result.asset_materializations_for_node("quota_notices")
    assert (event.metadata["delivered"].value, event.metadata["waiting"].value) == (1, 0)
    (told,) = [json.loads(line) for line in (tmp_path / "notices.jsonl").read_text().splitlines()]
    assert (told["tenant"], told["level_percent"], told["plan_that_fits"]) == ("Bluebird Bakery", 95, "starter")
    assert tick(instance, "quota_notices_due").run_requests == []


def test_a_notice_address_that_is_wrong_fails_for_good(
    database_url: str, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    values = {"DATABASE_PUBLIC_URL": database_url, "LOCAL_STATE_DIR": str(tmp_path), "NOTIFY_URLS": "slack://wrong"}
    with environment(values):
        result = loaded().resolve_job_def("deliver_quota_notices").execute_in_process(
            instance=instance, raise_on_error=False
        )  # fmt: skip
    failure = result.failure_data_for_node("quota_notices")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "cannot read the slack:// URL" in str(failure.user_failure_data.description)


def test_the_upkeep_runs_when_something_expired_or_a_plan_changed(
    database: PostgresClient, instance: dg.DagsterInstance
) -> None:
    owner = tenant(database, "starter")
    of = brand(database, owner)
    QuotaLedger(database).reserve(owner, of, bytes=10, items=1)
    assert tick(instance, "expired_reservations").skip_message == "no reservation has expired and no plan has changed"
    run(database, "UPDATE quota_reservations SET expires_at = now() - interval '1 minute'")
    assert len(tick(instance, "expired_reservations").run_requests) == 1
    job = loaded().resolve_job_def("quota_upkeep")
    started = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert tick(instance, "expired_reservations").skip_message == f"run {started.run_id} is at it already"
    instance.delete_run(started.run_id)
    assert job.execute_in_process(instance=instance).success
    assert run(database, "SELECT reserved_bytes FROM content_quota_usage") == [{"reserved_bytes": 0}]
    assert tick(instance, "expired_reservations").run_requests == []

    run(database, "UPDATE tenants SET plan_tier = 'business'")
    assert len(tick(instance, "expired_reservations").run_requests) == 1
    assert job.execute_in_process(instance=instance).success
    assert run(database, "SELECT limit_bytes FROM content_quota_usage") == [{"limit_bytes": 500 * GIB}]


def test_by_night_all_tenants_are_reconciled_in_one_run(database: PostgresClient, instance: dg.DagsterInstance) -> None:
    def night() -> Any:
        repository = loaded().get_repository_def()
        with dg.build_schedule_context(instance=instance, repository_def=repository) as context:
            return repository.get_schedule_def("reconcile_by_night").evaluate_tick(context)

    assert "no tenant has a partition yet" in night().skip_message
    keys = three_tenants(database, instance)
    (request,) = night().run_requests
    result = loaded().resolve_job_def("compute_storage_usage").execute_in_process(instance=instance, tags=request.tags)
    assert result.success
    assert instance.get_materialized_partitions(dg.AssetKey("storage_usage")) == set(keys)


def test_every_quota_job_stops_run_retries_on_a_final_failure() -> None:
    for name in QUOTA_JOBS:
        hooks = {hook.name for hook in loaded().resolve_job_def(name).hook_defs}
        assert hooks == {"stop_run_retries_on_permanent_failure"}, name
