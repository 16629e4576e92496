"""The content store as Dagster shows it: the resource, the spill that a sensor drains, and the check on it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import dagster as dg
import pytest

from content_orchestration.core.content.model import NewContent
from content_orchestration.definitions import defs
from content_orchestration.resources.bigquery import BigQueryDRResource
from content_orchestration.resources.content import ContentStoreResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.resources.zerodb import ZeroDBResource
from content_orchestration.settings import get_settings
from content_orchestration_tests.e2e.environment import environment
from content_orchestration_tests.tiers import Tiers


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


def tenant_of(tiers: Tiers) -> UUID:
    tenant = uuid4()
    with tiers.database.connection() as connection:
        connection.execute(
            "INSERT INTO tenants (id, name, slug, plan_tier) VALUES (%s, 'T', %s, 'free')", [tenant, str(tenant)]
        )
    return tenant


def resource() -> ContentStoreResource:
    return ContentStoreResource(
        postgres=PostgresResource(), bigquery=BigQueryDRResource(), attempts=1, patience_seconds=0.5
    )


def tick(instance: dg.DagsterInstance, cursor: str | None = None) -> Any:
    repository = defs().get_repository_def()
    resources = {"postgres": PostgresResource(), "zerodb": ZeroDBResource.from_settings(get_settings())}
    with dg.build_sensor_context(
        instance=instance, repository_def=repository, resources=resources, cursor=cursor
    ) as context:
        return repository.get_sensor_def("spill_can_be_drained").evaluate_tick(context)


def drained(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return defs().resolve_job_def("drain_body_spill").execute_in_process(instance=instance, raise_on_error=False)


def test_bodies_spill_while_zerodb_is_down_and_drain_when_it_is_back(
    tiers: Tiers, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    values = tiers.environment() | {"LOCAL_STATE_DIR": str(tmp_path)}
    tenant = tenant_of(tiers)
    with environment(values | {"LOCAL_ZERODB_PORT": "1"}):
        assert tick(instance).skip_message == "no body waits for ZeroDB"
        content = resource()
        item = content.store().create(tenant, NewContent("T", "a body"), created_by="test")
        assert content.store() is content.store()
        assert content.store().get(tenant, item.id).body_source == "spill"
        content.close()
        assert tick(instance).skip_message.startswith("1 bodies wait, and ZeroDB does not answer: ")
    with tiers.database.connection() as connection:
        connection.execute("UPDATE content_body_spill SET created_at = now() - interval '61 minutes'")
    with environment(values):
        (check,) = [
            evaluation
            for evaluation in drained_check(instance)
            if evaluation.check_name == "no_body_waits_longer_than_an_hour"
        ]
        assert not check.passed
        assert check.description is not None
        assert "1 bodies wait, the oldest for 36" in check.description
        assert "materialize content_body_spill" in check.description

        asked = tick(instance)
        assert len(asked.run_requests) == 1
        # What a drain refused waits on: the same again is no reason for a run every 30 seconds, until a while later.
        assert tick(instance, asked.cursor).skip_message.startswith("the last drain left 1 bodies, 6 bytes")
        assert len(tick(instance, "1 bodies, 6 bytes at 1").run_requests) == 1
        assert len(tick(instance, asked.cursor.replace("6 bytes", "7 bytes")).run_requests) == 1
        run = instance.create_run_for_job(
            defs().resolve_job_def("drain_body_spill"), status=dg.DagsterRunStatus.STARTED
        )
        assert tick(instance).skip_message == f"run {run.run_id} is moving them already"
        instance.delete_run(run.run_id)

        result = drained(instance)
        assert result.success
        (shown,) = result.asset_materializations_for_node("content_body_spill")
        assert (shown.metadata["bodies_moved"].value, shown.metadata["bodies_waiting"].value) == (1, 0)
        assert all(evaluation.passed for evaluation in result.get_asset_check_evaluations())
        content = resource()
        assert content.store().get(tenant, item.id).body_source == "zerodb"
        content.close()


def drained_check(instance: dg.DagsterInstance) -> list[dg.AssetCheckEvaluation]:
    """The check alone, without the asset."""
    checks = dg.AssetSelection.checks_for_assets(dg.AssetKey("content_body_spill"))
    job = dg.define_asset_job("only_checks", selection=checks)
    whole = dg.Definitions.merge(defs(), dg.Definitions(jobs=[job]))
    result = whole.resolve_job_def("only_checks").execute_in_process(instance=instance)
    return list(result.get_asset_check_evaluations())


@pytest.mark.usefixtures("impatient")
def test_a_check_that_cannot_look_says_so(tiers: Tiers, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    nowhere = {"LOCAL_STATE_DIR": str(tmp_path), "DATABASE_PUBLIC_URL": "postgresql://postgres@127.0.0.1:1/nothing"}
    with environment(tiers.environment() | nowhere):
        (check,) = drained_check(instance)
    assert not check.passed
    assert check.metadata["outcome"].value == "unknown"


def test_without_bigquery_the_store_works_on(tiers: Tiers, tmp_path: Path) -> None:
    with environment(tiers.environment() | {"LOCAL_STATE_DIR": str(tmp_path), "BIGQUERY_SYNC_ENABLED": "false"}):
        content = resource()
        item = content.store().create(tenant_of(tiers), NewContent("T", "a body"), created_by="test")
        assert item.version == 1
        content.close()
