"""Alerts as Dagster runs them: the real sensors over an instance whose runs fail, are retried, and succeed again."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG

from content_orchestration.core.errors import Permanent
from content_orchestration.core.operations.alert_signs import CHECK_ANCHORS, JOB_ANCHORS
from content_orchestration.core.operations.alerts import open_alerts
from content_orchestration.definitions import defs
from content_orchestration.failures import explained, stop_run_retries
from content_orchestration.local.ports import free_ports
from content_orchestration.policies import BATCH_ATTEMPT_TAG, BATCH_TAG
from content_orchestration.resources.notifier import NotifierResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.settings import Settings
from content_orchestration_tests.e2e.environment import environment, once_an_environment, ports
from content_orchestration_tests.health_world import spilled
from content_orchestration_tests.usage_rows import run

BROKEN: dict[str, str] = {}
"""How the test's op fails at the moment, by job; empty where it does not."""


class OtherError(Permanent):
    """Another class of error."""


@dg.op
def work(context: dg.OpExecutionContext) -> None:
    how = BROKEN.get(context.job_name)
    with explained():
        if how == "permanent":
            raise Permanent("title is empty: give one <b>")
        if how == "other":
            raise OtherError("another reason")
    if how == "crash":
        raise ZeroDivisionError("by hand")


@dg.job(hooks={stop_run_retries})
def nightly() -> None:
    work()


@dg.job(
    hooks={stop_run_retries},
    partitions_def=dg.StaticPartitionsDefinition(["t1", "t2"]),
)
def by_tenant() -> None:
    work()


@dg.asset
def watched() -> None:
    """What the check of the test looks at."""


@dg.asset_check(asset=watched)
def is_well() -> dg.AssetCheckResult:
    how = BROKEN.get("is_well")
    severity = dg.AssetCheckSeverity.WARN if how == "warn" else dg.AssetCheckSeverity.ERROR
    return dg.AssetCheckResult(
        passed=how is None,
        severity=severity,
        description=f"it is {how or 'well'}",
        metadata={"outcome": "unknown"} if how == "unknown" else {},
    )


@once_an_environment
def loaded() -> dg.Definitions:
    """The project's definitions and the test's jobs."""
    ours = dg.Definitions(
        assets=[watched],
        asset_checks=[is_well],
        jobs=[nightly, by_tenant, dg.define_asset_job("watch_it", selection=[watched], hooks={stop_run_retries})],
        executor=dg.in_process_executor,
    )
    return dg.Definitions.merge(defs(), ours)


@pytest.fixture(autouse=True)
def _nothing_is_broken() -> Iterator[None]:
    BROKEN.clear()
    yield
    BROKEN.clear()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    retries = {"run_retries": {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False}}
    with dg.instance_for_test(overrides=retries) as made:
        yield made


@pytest.fixture
def database(database_url: str, settings: Settings, tmp_path: Path) -> Iterator[PostgresClient]:
    values = ports(settings) | {"DATABASE_PUBLIC_URL": database_url, "LOCAL_STATE_DIR": str(tmp_path)}
    with environment(values), PostgresClient(database_url) as client:
        yield client


class Sensors:
    """The daemon's part: ticks, and cursors that outlive the process."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.cursors: dict[str, str | None] = {}
        self.tick("run_failure_alerts")

    def tick(self, name: str, *, keeps: bool = True) -> Any:
        repository = loaded().get_repository_def()
        resources = {"postgres": PostgresResource(), "notifier": NotifierResource()}
        with dg.build_sensor_context(
            instance=self.instance, repository_def=repository, resources=resources, cursor=self.cursors.get(name)
        ) as context:
            found = repository.get_sensor_def(name).evaluate_tick(context)
        if keeps:
            self.cursors[name] = found.cursor
        return found

    def all(self) -> None:
        for name in ("run_failure_alerts", "check_failure_alerts", "alert_delivery"):
            self.tick(name)


@pytest.fixture
def sensors(database: PostgresClient, instance: dg.DagsterInstance) -> Sensors:
    return Sensors(instance)


@pytest.fixture
def heard(tmp_path: Path) -> Any:
    """The subjects of what the targets were sent so far."""

    def subjects(key: str = "subject") -> list[str]:
        path = tmp_path / "notices.jsonl"
        return [json.loads(line)[key] for line in path.read_text().splitlines()] if path.exists() else []

    return subjects


def ran(instance: dg.DagsterInstance, job: str, how: str | None = None, **given: Any) -> dg.ExecuteInProcessResult:
    """One run of a job that fails as told, or succeeds."""
    if how:
        BROKEN[job if job != "watch_it" else "is_well"] = how
    try:
        return loaded().resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, **given)
    finally:
        BROKEN.clear()


def test_a_failed_run_is_told_once_with_cause_and_next_step_and_its_success_ends_it(
    sensors: Sensors, instance: dg.DagsterInstance, heard: Any, database: PostgresClient
) -> None:
    failed = ran(instance, "nightly", "permanent")
    sensors.all()
    assert heard() == ["ALERT: nightly failed (Permanent)"]
    (text,) = heard("text")
    assert f"run {failed.run_id} in work: title is empty: give one b" in text
    assert "Next: mend what the error names, then launch the job again" in text
    assert "Runbook: docs/RUNBOOK.md#a-run-failed" in text
    for _ in range(3):
        ran(instance, "nightly", "permanent")
        sensors.all()
    assert len(heard()) == 1
    assert open_alerts(database)[0].occurrences == 4
    ran(instance, "nightly", "other")
    sensors.all()
    assert heard()[1:] == ["ALERT: nightly failed (OtherError)"]
    good = ran(instance, "nightly")
    assert good.success
    sensors.all()
    sensors.all()
    assert heard()[2:] == ["Resolved: nightly failed (Permanent)", "Resolved: nightly failed (OtherError)"]
    assert f"Over: run {good.run_id} succeeded." in heard("text")[2]


def test_what_failed_before_the_sensors_began_is_not_told(
    instance: dg.DagsterInstance, database: Any, heard: Any
) -> None:
    ran(instance, "nightly", "permanent")
    late = Sensors(instance)
    late.all()
    assert heard() == []


def test_a_failure_whose_success_came_within_the_same_tick_is_told_as_over(
    sensors: Sensors, instance: dg.DagsterInstance, heard: Any
) -> None:
    ran(instance, "nightly", "permanent")
    ran(instance, "nightly")
    sensors.all()
    sensors.all()
    assert heard() == ["Resolved: nightly failed (Permanent)"]


def test_a_partition_that_failed_is_not_over_when_another_succeeds(
    sensors: Sensors, instance: dg.DagsterInstance, heard: Any
) -> None:
    ran(instance, "by_tenant", "permanent", partition_key="t1")
    sensors.all()
    ran(instance, "by_tenant", partition_key="t2")
    sensors.all()
    assert heard() == ["ALERT: by_tenant failed (Permanent)"]
    assert "partition t1" in heard("text")[0]
    ran(instance, "by_tenant", partition_key="t1")
    sensors.all()
    assert heard()[1:] == ["Resolved: by_tenant failed (Permanent)"]


@contextmanager
def crashed(instance: dg.DagsterInstance, tags: dict[str, str] | None = None) -> Iterator[dg.DagsterRun]:
    """A run whose process died, as the monitor reports it."""
    run = instance.create_run_for_job(loaded().resolve_job_def("nightly"), tags=tags)
    instance.report_run_failed(run, message="the process died")
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    yield found


def retried(instance: dg.DagsterInstance, failed: dg.DagsterRun) -> dg.DagsterRun:
    """What the daemon starts in its place."""
    root = failed.root_run_id or failed.run_id
    run = instance.create_run_for_job(
        loaded().resolve_job_def("nightly"),
        parent_run_id=failed.run_id,
        root_run_id=root,
        tags={"dagster/retry_number": "1", "dagster/root_run_id": root, "dagster/parent_run_id": failed.run_id},
    )
    instance.add_run_tags(failed.run_id, {AUTO_RETRY_RUN_ID_TAG: run.run_id})
    return run


def test_a_retry_that_worked_alerts_nobody(
    sensors: Sensors, instance: dg.DagsterInstance, heard: Any, database: PostgresClient
) -> None:
    with crashed(instance) as failed:
        assert failed.tags[WILL_RETRY_TAG] == "true", "the deployment retries it"
    sensors.all()
    assert len(json.loads(str(sensors.cursors["run_failure_alerts"]))["pending"]) == 1
    again = retried(instance, failed)
    sensors.all()
    assert json.loads(str(sensors.cursors["run_failure_alerts"]))["pending"] == []
    assert again.parent_run_id == failed.run_id
    assert ran(instance, "nightly").success
    sensors.all()
    assert heard() == []
    assert run(database, "SELECT count(*) AS n FROM platform_alerts") == [{"n": 0}]


def test_retries_that_all_failed_alert_once_at_the_last(
    sensors: Sensors, instance: dg.DagsterInstance, heard: Any
) -> None:
    with crashed(instance) as first:
        sensors.all()
    for number in (1, 2):
        again = retried(instance, first)
        sensors.all()
        assert heard() == []
        instance.report_run_failed(again, message="died again")
        found = instance.get_run_by_id(again.run_id)
        assert found is not None
        assert found.tags[WILL_RETRY_TAG] == ("true" if number < 2 else "false")
        first = found
    sensors.all()
    sensors.all()
    assert heard() == ["ALERT: nightly failed (no error was recorded)"]
    assert f"run {first.run_id}" in heard("text")[0]
    ran(instance, "nightly")
    sensors.all()
    assert len(heard()) == 2


def test_a_retry_that_never_came_is_told_after_a_quarter_of_an_hour(
    sensors: Sensors, instance: dg.DagsterInstance, heard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with crashed(instance):
        sensors.all()
    assert heard() == []
    monkeypatch.setattr("content_orchestration.defs.operations.alert_runs.RETRIED_WITHIN_SECONDS", 0.0)
    sensors.all()
    sensors.all()
    (text,) = heard("text")
    assert "Next: it was to be retried, and nothing was started: does the daemon run?" in text


def test_a_failure_that_waits_is_forgotten_when_the_job_succeeds_or_the_run_is_deleted(
    sensors: Sensors, instance: dg.DagsterInstance, heard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with crashed(instance), crashed(instance) as gone:
        sensors.all()
    instance.delete_run(gone.run_id)
    ran(instance, "nightly")
    sensors.all()
    monkeypatch.setattr("content_orchestration.defs.operations.alert_runs.RETRIED_WITHIN_SECONDS", 0.0)
    sensors.all()
    assert heard() == []
    assert json.loads(str(sensors.cursors["run_failure_alerts"]))["pending"] == []


def test_a_batch_whose_run_died_waits_for_the_next_run_of_its_sensors(
    sensors: Sensors, instance: dg.DagsterInstance, heard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("content_orchestration.defs.operations.alert_runs.RETRIED_WITHIN_SECONDS", 30.0)
    batch = {BATCH_TAG: "b1", BATCH_ATTEMPT_TAG: "1", "dagster/max_retries": "0"}
    with crashed(instance, batch):
        sensors.all()
    assert len(json.loads(str(sensors.cursors["run_failure_alerts"]))["pending"]) == 1
    monkeypatch.setattr("content_orchestration.defs.operations.alert_runs.RETRIED_WITHIN_SECONDS", 0.0)
    with (
        crashed(instance, batch | {BATCH_TAG: "b2"}),
        crashed(instance, batch | {BATCH_TAG: "b2", BATCH_ATTEMPT_TAG: "2"}),
    ):
        sensors.all()
    assert heard() == [], "neither batch is open any more"
    with crashed(instance, batch | {BATCH_TAG: "b3", "content_orchestration/permanent_failure": "true"}):
        sensors.all()
    assert len(heard()) == 1, "nothing starts again by itself after a permanent failure"


def test_an_alert_that_could_not_be_written_is_told_when_it_can(
    sensors: Sensors, instance: dg.DagsterInstance, heard: Any, database: PostgresClient
) -> None:
    ran(instance, "nightly", "permanent")
    run(database, "ALTER TABLE platform_alerts RENAME TO away")
    with pytest.raises(Exception, match="platform_alerts"):
        sensors.tick("run_failure_alerts")
    run(database, "ALTER TABLE away RENAME TO platform_alerts")
    sensors.all()
    assert heard() == ["ALERT: nightly failed (Permanent)"]


def test_a_tick_that_was_killed_before_its_cursor_was_kept_tells_nothing_twice(
    sensors: Sensors, instance: dg.DagsterInstance, heard: Any, database: PostgresClient
) -> None:
    ran(instance, "nightly", "permanent")
    sensors.tick("run_failure_alerts", keeps=False)
    sensors.tick("alert_delivery")
    ran(instance, "nightly")
    sensors.tick("run_failure_alerts", keeps=False)
    sensors.tick("alert_delivery")
    for _ in range(3):
        sensors.all()
    assert heard() == ["ALERT: nightly failed (Permanent)", "Resolved: nightly failed (Permanent)"]
    assert run(database, "SELECT occurrences FROM platform_alerts") == [{"occurrences": 1}]


@pytest.mark.parametrize(("how", "said"), [("broken", "failed"), ("unknown", "could not look")])
def test_a_failed_check_is_told_once_and_once_that_it_passes(
    sensors: Sensors, instance: dg.DagsterInstance, heard: Any, how: str, said: str
) -> None:
    for _ in range(2):
        ran(instance, "watch_it", how)
        sensors.all()
    assert heard() == [f"ALERT: watched: is_well {said}"]
    assert f"it is {how}" in heard("text")[0]
    assert heard("runbook")[0] == f"docs/RUNBOOK.md#{'a-check-says-unknown' if how == 'unknown' else 'a-check-failed'}"
    good = ran(instance, "watch_it")
    sensors.all()
    sensors.all()
    assert heard()[1:] == [f"Resolved: watched: is_well {said}"]
    assert f"it passed in run {good.run_id}" in heard("text")[1]


def test_a_check_that_warns_alerts_nobody(sensors: Sensors, instance: dg.DagsterInstance, heard: Any) -> None:
    ran(instance, "watch_it", "warn")
    sensors.all()
    assert heard() == []


def test_two_ticks_of_the_checks_at_once_tell_once(
    sensors: Sensors, instance: dg.DagsterInstance, heard: Any, database: PostgresClient
) -> None:
    ran(instance, "watch_it", "broken")
    sensors.tick("check_failure_alerts")
    Sensors(instance).tick("check_failure_alerts")
    sensors.all()
    assert heard() == ["ALERT: watched: is_well failed"]


@pytest.mark.usefixtures("impatient")
def test_postgresql_gone_is_told_past_the_outbox_once_and_once_that_it_is_back(
    database: PostgresClient, instance: dg.DagsterInstance, heard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensors = Sensors(instance)
    sensors.tick("alert_delivery")
    real = PostgresResource.client
    nowhere = PostgresClient(f"postgresql://postgres@127.0.0.1:{free_ports(1)[0]}/content")
    monkeypatch.setattr(PostgresResource, "client", lambda self: nowhere)
    sensors.tick("alert_delivery")
    assert heard() == [], "a restart takes less than a minute"
    began = json.loads(str(sensors.cursors["alert_delivery"]))
    sensors.cursors["alert_delivery"] = json.dumps(began | {"since": time.time() - 61})
    for _ in range(2):
        sensors.tick("alert_delivery")
    assert heard() == ["ALERT: alerts cannot reach PostgreSQL"]
    assert "Runbook: docs/RUNBOOK.md#a-tier-is-down" in heard("text")[0]
    monkeypatch.setattr(PostgresResource, "client", real)
    for _ in range(2):
        sensors.tick("alert_delivery")
    assert heard()[1:] == ["Resolved: alerts reach PostgreSQL again"]
    nowhere.close()


def test_the_health_asset_shows_the_page_fails_its_check_and_alerts(
    sensors: Sensors, instance: dg.DagsterInstance, heard: Any, database: PostgresClient
) -> None:
    spilled(database, "2 h")
    result = ran(instance, "watch_platform")
    assert result.success, "a page that was shown is no failed run, whatever is on it"
    (event,) = result.asset_materializations_for_node("platform_health")
    shown = event.metadata
    assert shown["page"].value.startswith("# Not green")
    assert "**Oldest body that waits for ZeroDB**: 2 h: 1 bodies wait" in shown["page"].value
    assert shown["spill_oldest_seconds"].value == pytest.approx(7200, abs=60)
    assert isinstance(shown["spill_oldest_seconds"], dg.FloatMetadataValue)
    assert isinstance(shown["spill_bodies"], dg.IntMetadataValue)
    (evaluation,) = result.get_asset_check_evaluations()
    assert not evaluation.passed
    assert evaluation.metadata["outcome"].value == "red"
    assert "red: " in str(evaluation.description)
    assert "Oldest body that waits for ZeroDB: 2 h" in str(evaluation.description)
    sensors.all()
    told = heard()
    assert "ALERT: Oldest body that waits for ZeroDB is red" in told
    assert not any("everything_is_within_its_limits" in subject for subject in told), "the thresholds tell it already"
    run(database, "DELETE FROM content_body_spill")
    ran(instance, "watch_platform")
    sensors.all()
    assert heard()[len(told) :] == ["Resolved: Oldest body that waits for ZeroDB is red"]


def test_links_name_jobs_and_checks_that_there_are() -> None:
    repository = loaded().get_repository_def()
    assert set(JOB_ANCHORS) <= {job.name for job in repository.get_all_jobs()}
    assert set(CHECK_ANCHORS) <= {key.name for key in repository.asset_graph.asset_check_keys}


def test_a_health_run_is_few_rows_of_the_event_log(database: PostgresClient, instance: dg.DagsterInstance) -> None:
    result = ran(instance, "watch_platform")
    assert len(instance.all_logs(result.run_id)) <= 24, "288 runs a day, and 25,000 rows for all"
