"""Generation as Dagster runs it: submit, sensors, the run of a batch, cancellation, health, checks, retention, keys."""

import base64
import json
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import dagster as dg
import pytest
from psycopg import sql
from pydantic import SecretStr

from content_orchestration.definitions import defs
from content_orchestration.failures import PERMANENT_TAG
from content_orchestration.local.ports import free_ports
from content_orchestration.policies import BATCH_ATTEMPT_TAG, BATCH_TAG, BATCH_TENANT_TAG, GENERATION_TAG
from content_orchestration.resources.generation import GenerationQueueResource
from content_orchestration.resources.llm import LlmResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration_tests.e2e.environment import VARIABLES, environment, once_an_environment
from content_orchestration_tests.generation_world import World
from content_orchestration_tests.llm_server import serving
from content_orchestration_tests.tiers import Tiers

JOBS = {
    "work_generation_batch", "submit_generation_batch", "cancel_generation_batch", "watch_generation",
    "generation_retention",
}  # fmt: skip
CHECKS = ["no_batch_is_stuck", "no_lease_outlives_its_expiry", "ledger_equals_attempts"]


@once_an_environment
def loaded() -> dg.Definitions:
    """The project's definitions and a job of the checks alone."""
    keys = [dg.AssetCheckKey(dg.AssetKey("generation_health"), name) for name in CHECKS]
    job = dg.define_asset_job("generation_checks", selection=dg.AssetSelection.checks(*keys))
    return dg.Definitions.merge(defs(), dg.Definitions(jobs=[job]))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


@pytest.fixture
def world(tiers: Tiers, tmp_path: Path) -> Iterator[World]:
    """A tenant, in the environment that leads the definitions to its tiers."""
    with environment(tiers.environment() | {"LOCAL_STATE_DIR": str(tmp_path)}):
        yield World(tiers)


def tick(instance: dg.DagsterInstance, name: str) -> Any:
    repository = loaded().get_repository_def()
    postgres = PostgresResource()
    resources = {"postgres": postgres, "generation": GenerationQueueResource(postgres=postgres)}
    with dg.build_sensor_context(instance=instance, repository_def=repository, resources=resources) as context:
        return repository.get_sensor_def(name).evaluate_tick(context)


def submit(instance: dg.DagsterInstance, world: World, **config: Any) -> dg.ExecuteInProcessResult:
    given = {"tenant_id": str(world.tenant), "brand_id": str(world.brand)} | config
    return loaded().resolve_job_def("submit_generation_batch").execute_in_process(
        instance=instance, run_config={"ops": {"submit_batch": {"config": given}}}, raise_on_error=False
    )  # fmt: skip


def told(result: dg.ExecuteInProcessResult, op: str) -> dict[str, Any]:
    """The metadata that an op put on its output."""
    (event,) = [e for e in result.all_events if e.is_successful_output and e.step_key == op]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


def launch(instance: dg.DagsterInstance, request: Any, **fields: Any) -> dg.ExecuteInProcessResult:
    """What the daemon does with a request of a sensor."""
    return loaded().resolve_job_def("work_generation_batch").execute_in_process(
        instance=instance, run_config=request.run_config, tags=request.tags, raise_on_error=False, **fields
    )  # fmt: skip


def failure_of(result: dg.ExecuteInProcessResult, op: str) -> str:
    data = result.failure_data_for_node(op)
    assert data is not None
    assert data.user_failure_data is not None
    return str(data.user_failure_data.description)


def health(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return loaded().resolve_job_def("watch_generation").execute_in_process(instance=instance)


def outcomes(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}


def test_from_the_launchpad_to_three_tiers(world: World, instance: dg.DagsterInstance) -> None:
    topics = [f"Why topic {n} matters" for n in range(25)]
    dry = submit(instance, world, topics=topics, keywords=["topic"])
    assert dry.success
    shown = told(dry, "submit_batch")
    assert (shown["items"], shown["dry_run"]) == (25, True)
    assert shown["verdict"] == "it fits; launch it with dry_run false"
    assert shown["items_left_this_month"] - shown["items_left_after"] == 25
    assert "nothing is open" not in str(tick(instance, "generation_batches_pending").skip_message)
    assert world.run("SELECT count(*) AS n FROM content_generation_jobs") == [{"n": 0}]

    result = submit(instance, world, topics=topics, keywords=["topic"], dry_run=False)
    assert result.success
    batch = UUID(told(result, "submit_batch")["batch_id"])
    (request,) = tick(instance, "generation_batches_pending").run_requests
    assert request.run_key == f"{batch}:1"
    assert request.job_name == "work_generation_batch"
    tags = {GENERATION_TAG: "true", BATCH_TAG: str(batch), BATCH_TENANT_TAG: str(world.tenant), BATCH_ATTEMPT_TAG: "1"}
    assert request.tags.items() >= tags.items()
    run = launch(instance, request)
    assert run.success
    (made,) = run.asset_materializations_for_node("generation_batch")
    metadata = {name: value.value for name, value in made.metadata.items()}
    assert (metadata["status"], metadata["done"], metadata["failed"], metadata["open"]) == ("completed", 25, 0, 0)
    assert metadata["items_per_second"] > 0
    assert tick(instance, "generation_batches_pending").skip_message == "0 batches are open, all of them have their run"
    world.require_whole(batch)

    replicated = loaded().resolve_job_def("replicate_to_bigquery").execute_in_process(
        instance=instance, raise_on_error=False
    )  # fmt: skip
    assert replicated.success
    rows = list(
        world.tiers.warehouse.query(
            f"SELECT content_id FROM `{world.tiers.warehouse.qualified('content_storage_dr').strip('`')}`", {}
        )
    )
    content = world.run("SELECT id, zerodb_row_id FROM content_storage_metadata")
    assert {row["content_id"] for row in rows} == {str(row["id"]) for row in content}
    bodies = world.tiers.store.get_many("content_items", [row["zerodb_row_id"] for row in content])
    assert len(bodies) == 25

    report = health(instance)
    assert {name: check.passed for name, check in outcomes(report).items()} == dict.fromkeys(CHECKS, True)
    (event,) = report.asset_materializations_for_node("generation_health")
    assert event.metadata["completed_24_hours"].value == 25
    assert event.metadata["queue_depth"].value == 0
    assert "| Tenant | template | 25 | 0 | 0 | 0.0000 |" in str(event.metadata["costs"].value)
    assert "completed in each of 24 hours, at most 25" in str(event.metadata["throughput"].value)
    assert event.metadata["batches"].value == "no batch is open"


def test_what_cannot_be_submitted_says_why(world: World, instance: dg.DagsterInstance) -> None:
    for config, reason in [
        ({"tenant_id": "nobody", "topics": ["t"]}, "tenant_id is 'nobody', which is no UUID"),
        ({"topics": ["t", ""]}, "item 2: topic is empty"),
        ({"topics": ["t"], "content_type": "poem"}, "item 1: content_type is 'poem'"),
        ({"count": 3}, "has 0 unused rows in topics"),
        ({}, "count is 0"),
        ({"topics": ["t"], "max_cost_usd": "much"}, "max_cost_usd is 'much'"),
    ]:
        result = submit(instance, world, **config)
        assert not result.success
        assert reason in failure_of(result, "submit_batch")
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags[PERMANENT_TAG] == "true"
    world.run("INSERT INTO topics VALUES (%s, %s, 'From the platform', ARRAY['one', 'two'])", [uuid4(), world.tenant])
    shown = told(submit(instance, world, count=1, max_cost_usd="1.50"), "submit_batch")
    assert json.loads(json.dumps(shown["first_items"])) == ["From the platform"]
    world.queue.set_budget(world.tenant, Decimal(1))
    much = submit(instance, world, topics=["t"], count=10_000, max_cost_usd="1.50", estimated_bytes_per_item=2**40)
    shown = told(much, "submit_batch")
    assert len(shown["would_be_refused"]) == 2
    assert "the month's budget has 1" in shown["verdict"]
    refused = submit(instance, world, topics=["t"], dry_run=False)
    assert "max_cost_usd is missing" in failure_of(refused, "submit_batch")


def test_a_batch_whose_run_died_gets_another_and_one_whose_run_was_cancelled_does_not(
    world: World, instance: dg.DagsterInstance
) -> None:
    batch = world.submit(["t 1", "t 2"])
    (request,) = tick(instance, "generation_batches_pending").run_requests
    job = loaded().resolve_job_def("work_generation_batch")

    def run_of(attempt: int, status: dg.DagsterRunStatus, **tags: str) -> dg.DagsterRun:
        return instance.create_run_for_job(
            job,
            run_config=request.run_config,
            status=status,
            tags=request.tags | {BATCH_ATTEMPT_TAG: str(attempt)} | tags,
        )

    waiting = run_of(1, dg.DagsterRunStatus.NOT_STARTED)
    assert "all of them have their run" in tick(instance, "generation_batches_pending").skip_message
    assert f"run {waiting.run_id} waits for its turn" in tick(instance, "generation_leases_expired").skip_message
    instance.delete_run(waiting.run_id)

    # A process that was killed: Dagster thinks that it runs, its lease says that it does not.
    died = run_of(1, dg.DagsterRunStatus.STARTED)
    world.queue.claim(1, "the dead", batch_id=batch)
    assert "1 items are being worked" in tick(instance, "generation_leases_expired").skip_message
    world.run("UPDATE generation_jobs SET lease_expires_at = now() - interval '61 seconds' WHERE status = 'running'")
    found = outcomes(health(instance))["no_lease_outlives_its_expiry"]
    assert not found.passed
    assert "1 leases have expired, the oldest 6" in str(found.description)
    (again,) = tick(instance, "generation_leases_expired").run_requests
    assert (again.run_key, again.tags[BATCH_ATTEMPT_TAG]) == (f"{batch}:2", "2")
    assert world.statuses(batch) == {"queued": 2}
    instance.delete_run(died.run_id)

    final = run_of(2, dg.DagsterRunStatus.FAILURE, **{PERMANENT_TAG: "true"})
    assert "failed for good" in tick(instance, "generation_leases_expired").skip_message
    instance.delete_run(final.run_id)
    failed = run_of(3, dg.DagsterRunStatus.FAILURE)
    (again,) = tick(instance, "generation_leases_expired").run_requests
    assert again.run_key == f"{batch}:4"
    instance.delete_run(failed.run_id)

    run_of(5, dg.DagsterRunStatus.CANCELED)
    assert f"batch {batch} is cancelled" in tick(instance, "generation_leases_expired").skip_message
    assert world.statuses(batch) == {"cancelled": 2}
    assert "0 batches are open" in tick(instance, "generation_leases_expired").skip_message
    world.require_whole(batch)


@pytest.mark.parametrize("somebody", [True, False])
def test_an_interrupt_cancels_the_batch_only_if_somebody_asked(
    world: World, instance: dg.DagsterInstance, somebody: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = world.submit([f"t {n}" for n in range(300)])
    (request,) = tick(instance, "generation_batches_pending").run_requests

    def interrupt(progress: Any) -> None:
        if progress.done:
            if somebody:
                (run,) = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
                instance.report_run_canceling(run)
            raise dg.DagsterExecutionInterruptedError

    monkeypatch.setattr("content_orchestration.defs.generation.batch._teller", lambda context, bar: interrupt)
    assert not launch(instance, request).success
    counted = world.statuses(batch)
    assert counted["completed"]
    assert set(counted) == ({"completed", "cancelled"} if somebody else {"completed", "queued"})
    (run,) = instance.get_runs(dg.RunsFilter(job_name="work_generation_batch"))
    if somebody:
        assert run.status == dg.DagsterRunStatus.CANCELED
        world.require_whole(batch)
        return
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert len(tick(instance, "generation_leases_expired").run_requests) == 1


def test_a_batch_that_fails_whole_fails_its_run_for_good(world: World, instance: dg.DagsterInstance) -> None:
    world.submit(["t"], params={"language": "de"})
    (request,) = tick(instance, "generation_batches_pending").run_requests
    result = launch(instance, request)
    assert not result.success
    assert "all 1 items failed" in failure_of(result, "generation_batch")
    report = health(instance)
    (event,) = report.asset_materializations_for_node("generation_health")
    assert event.metadata["failures_24_hours"].value == {"invalid_request": 1}
    assert "| invalid_request |" in str(event.metadata["failures"].value)
    nowhere = launch(instance, dg.RunRequest(run_config={"ops": {"generation_batch": {"config": {"batch_id": "x"}}}}))
    assert "batch_id is 'x', which is no UUID" in failure_of(nowhere, "generation_batch")


def test_cancelling_a_batch_by_hand_is_a_dry_run_first(world: World, instance: dg.DagsterInstance) -> None:
    batch = world.submit(["t 1", "t 2", "t 3"])

    def cancel(batch_id: str, *, dry_run: bool) -> dg.ExecuteInProcessResult:
        config = {"batch_id": batch_id, "dry_run": dry_run}
        return loaded().resolve_job_def("cancel_generation_batch").execute_in_process(
            instance=instance, run_config={"ops": {"cancel_batch": {"config": config}}}, raise_on_error=False
        )  # fmt: skip

    shown = told(cancel(str(batch), dry_run=True), "cancel_batch")
    assert (shown["open"], shown["cancelled"]) == (3, 0)
    shown = told(cancel(str(batch), dry_run=False), "cancel_batch")
    assert (shown["open"], shown["cancelled"], shown["status"]) == (0, 3, "cancelled")
    assert "is no batch" in failure_of(cancel(str(uuid4()), dry_run=True), "cancel_batch")
    world.require_whole(batch)


def test_each_check_fails_for_its_own_reason(world: World, instance: dg.DagsterInstance) -> None:
    batch = world.submit(["t 1", "t 2"])
    assert all(check.passed for check in outcomes(health(instance)).values())
    world.run("UPDATE generation_queues SET created_at = now() - interval '11 minutes'")
    world.run("UPDATE generation_jobs SET run_after = now() - interval '11 minutes'")
    found = outcomes(health(instance))["no_batch_is_stuck"]
    assert not found.passed
    assert found.metadata["stuck"].value == [str(batch)]
    assert "generation_batches_pending" in str(found.description)
    assert world.worked(batch).status == "completed"
    assert all(check.passed for check in outcomes(health(instance)).values())
    world.run(
        "UPDATE generation_attempts SET cost_usd = cost_usd + 1 "
        "WHERE id = (SELECT id FROM generation_attempts ORDER BY id LIMIT 1)"
    )
    world.run("UPDATE generation_budgets SET reserved_usd = 3")
    found = outcomes(health(instance))["ledger_equals_attempts"]
    assert not found.passed
    differences = found.metadata["differences"].value
    assert isinstance(differences, list)
    assert {row["what"].split(" of ")[0] for row in differences} == {
        "batch: cost in the queue", "batch: total_cost_usd", "budget: reserved_usd",
    }  # fmt: skip


@pytest.mark.usefixtures("impatient")
def test_checks_that_cannot_look_are_unknown(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    nowhere = f"postgresql://postgres@127.0.0.1:{free_ports(1)[0]}/content"
    with environment({"DATABASE_PUBLIC_URL": nowhere, "LOCAL_STATE_DIR": str(tmp_path)}) as patch:
        patch.setattr("content_orchestration.resources.postgres_client._CONNECT_SECONDS", 1.0)
        found = outcomes(loaded().resolve_job_def("generation_checks").execute_in_process(instance=instance))
    assert set(found) == set(CHECKS)
    for evaluation in found.values():
        assert not evaluation.passed
        assert evaluation.metadata["outcome"].value == "unknown"


def test_finished_items_move_to_the_history(world: World, instance: dg.DagsterInstance) -> None:
    batch = world.submit(["t 1", "t 2"])
    world.worked(batch)
    world.run("UPDATE generation_jobs SET completed_at = completed_at - interval '25 hours'")
    result = loaded().resolve_job_def("generation_retention").execute_in_process(instance=instance)
    assert told(result, "move_finished_items")["moved_jobs"] == 2
    assert world.items(batch) == []
    assert all(check.passed for check in outcomes(health(instance)).values()), "the history counts too"


def test_every_generation_job_stops_run_retries_on_a_final_failure() -> None:
    for name in JOBS:
        hooks = {hook.name for hook in loaded().resolve_job_def(name).hook_defs}
        assert hooks == {"stop_run_retries_on_permanent_failure"}, name


def test_a_tenants_key_is_in_no_event_no_metadata_and_no_row(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    canary = "sk-canary-" + uuid4().hex
    master = "k1:" + base64.b64encode(os.urandom(32)).decode()
    with (
        serving() as server,
        environment(
            {name: os.environ[name] for name in [*VARIABLES] if name in os.environ}
            | {
                "PROVIDER_MASTER_KEY": master,
                "GENERATION_PROVIDERS": "openai:gpt-4.1-mini template",
                "OPENAI_BASE_URL": server.base_url("openai"),
            }
        ),
    ):
        vault = LlmResource(postgres=PostgresResource()).vault()
        vault.activate(world.tenant, "openai", vault.put(world.tenant, "openai", SecretStr(canary), "test"))
        batch = world.submit([f"t {n}" for n in range(12)])
        # Half of the calls are refused by a server that puts the key into its answer.
        server.keys = {"another"}
        (request,) = tick(instance, "generation_batches_pending").run_requests
        run = launch(instance, request)
        server.keys = None
        second = world.submit([f"u {n}" for n in range(3)])
        (request,) = tick(instance, "generation_batches_pending").run_requests
        assert launch(instance, request).success
    assert run.success
    assert canary in server.sent_keys(), "the key was used"
    assert world.statuses(batch) == {"completed": 12}
    assert {item["provider_used"] for item in world.items(batch)} == {"template"}
    assert {item["provider_used"] for item in world.items(second)} == {"openai"}
    report = health(instance)
    (event,) = report.asset_materializations_for_node("generation_health")
    assert "| Tenant | openai |" in str(event.metadata["costs"].value)
    assert outcomes(report)["ledger_equals_attempts"].passed
    secrets = (canary, master.partition(":")[2])
    runs = instance.get_runs()
    kept = [str(record) for one in runs for record in instance.all_logs(one.run_id)]
    kept += [str(one.tags) + str(one.run_config) for one in runs] + [caplog.text]
    for table in world.run(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    ):
        with world.tiers.database.connection() as connection:
            name = sql.Identifier(table["relname"])
            rows = connection.execute(sql.SQL("SELECT t::text AS row FROM {} t").format(name)).fetchall()
        kept += [row["row"] for row in rows]
    kept += [json.dumps(document) for document in world.tiers.store.scan("content_items")]
    assert len(kept) > 100
    assert not [text[:200] for text in kept if any(secret in text for secret in secrets)]
