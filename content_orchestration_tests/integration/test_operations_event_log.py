"""Retention on a Dagster instance in PostgreSQL: Dagster's own API says the same of the latest state after it."""

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.definitions.observe import observe
from dagster._core.loader import LoadingContextForTest

from content_orchestration.core.errors import AlreadyRunning, Permanent, Transient
from content_orchestration.core.failpoints import VARIABLE
from content_orchestration.core.operations.compute_logs import remove_logs
from content_orchestration.core.operations.event_log import LOCK, event_log_size, prune
from content_orchestration.defs.operations import event_log
from content_orchestration.defs.operations.event_log import EventsFirst, prune_event_log
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.settings import Settings
from content_orchestration_tests.e2e.environment import environment

KEYS = ("a", "b", "c", "d")
PARTITIONS = dg.StaticPartitionsDefinition(list(KEYS))


class Want(dg.Config):
    fails: bool = False


@dg.asset
def plain() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"id": str(uuid.uuid4())})


@dg.asset(deps=[plain])
def derived() -> None:
    """Stale when plain was materialized since."""


@dg.asset(partitions_def=PARTITIONS)
def parted(config: Want) -> None:
    if config.fails:
        raise dg.Failure("wanted", allow_retries=False)


@dg.asset_check(asset=plain)
def good(config: Want) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=not config.fails)


@dg.asset_check(asset=parted)
def also_good() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True, metadata={"id": str(uuid.uuid4())})


@dg.observable_source_asset
def outside() -> dg.DataVersion:
    return dg.DataVersion("one")


@dg.op
def nothing() -> None:
    """Only a run."""


@dg.job
def empty() -> None:
    nothing()


DEFS = dg.Definitions(assets=[plain, derived, parted, outside], asset_checks=[good, also_good], jobs=[empty])


@pytest.fixture
def url(empty_database: str) -> str:
    return empty_database


@pytest.fixture
def instance(url: str) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(overrides={"storage": {"postgres": {"postgres_url": url}}}) as made:
        yield made


@pytest.fixture
def database(url: str) -> Iterator[PostgresClient]:
    with PostgresClient(url, pool_size=4) as client:
        yield client


def materialize(instance: dg.DagsterInstance, *assets: Any, fails: bool = False, **given: Any) -> str:
    names = {"parted": parted, "good": good}
    config = {
        name: {"config": {"fails": fails}} for name in ("parted",) if any(asset is names[name] for asset in assets)
    }
    if any(asset is good for asset in assets):
        config["plain_good"] = {"config": {"fails": fails}}
    result = dg.materialize(
        list(assets), instance=instance, run_config={"ops": config}, raise_on_error=False, **given
    )  # fmt: skip
    return result.run_id


def aged(url: str, days: int = 60, keep: tuple[str, ...] = ()) -> None:
    """Make all runs look old."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "UPDATE runs SET update_timestamp = update_timestamp - make_interval(days => %s), "
            "create_timestamp = create_timestamp - make_interval(days => %s) WHERE NOT run_id = ANY (%s)",
            [days, days, list(keep)],
        )


def state(instance: dg.DagsterInstance) -> dict[str, Any]:
    """What Dagster says of everything's latest state, and of the runs that it names."""
    told: dict[str, Any] = {}
    named = set()
    for asset in (plain, derived, parted):
        key = asset.key
        event = instance.get_latest_materialization_event(key)
        record = instance.get_asset_records([key])[0].asset_entry
        told[f"{key} latest"] = event and (event.run_id, event.timestamp)
        told[f"{key} entry"] = (record.last_run_id, record.last_materialization_storage_id)
        if event:
            named.add(event.run_id)
    told["partitions"] = sorted(instance.get_materialized_partitions(parted.key))
    storage = instance.event_log_storage
    found = storage.get_latest_storage_id_by_partition(parted.key, dg.DagsterEventType.ASSET_MATERIALIZATION)
    told["by partition"] = dict(found)
    attempts = storage.get_latest_asset_partition_materialization_attempts_without_materializations(parted.key)
    told["failed"] = attempts
    named |= {run_id for run_id, _ in attempts.values()}
    for key in (good.check_key, also_good.check_key):
        checks = storage.get_latest_asset_check_execution_by_key([key])
        told[f"{key}"] = [(r.run_id, r.status, r.event and r.event.timestamp) for r in checks.values()]
        named |= {r.run_id for r in checks.values()}
        summary = storage.get_asset_check_summary_records([key])[key]
        told[f"{key} summary"] = summary.last_check_execution_record and summary.last_check_execution_record.run_id
    records = instance.fetch_observations(outside.key, limit=1).records
    told["observed"] = [(r.run_id, r.storage_id) for r in records]
    named |= {r.run_id for r in records}
    status = CachingStaleStatusResolver(instance, DEFS.resolve_asset_graph(), LoadingContextForTest(instance))
    told["stale"] = {asset.key: str(status.get_status(asset.key)) for asset in (plain, derived)}
    told["runs"] = {run_id: (run := instance.get_run_by_id(run_id)) and run.status for run_id in named}
    assert None not in told["runs"].values()
    return told


def fill(instance: dg.DagsterInstance) -> list[str]:
    """Runs that hold the latest of something and runs that do not; the ids of the latter."""
    # What derived was made of goes too: that derived is stale is read from its own event.
    old = [materialize(instance, plain, good), materialize(instance, plain, good)]
    old += [materialize(instance, parted, also_good, partition_key=key) for key in KEYS[:2]]
    old.append(empty.execute_in_process(instance=instance).run_id)
    dg.materialize([plain, derived], instance=instance, selection=[derived])
    for key in KEYS[:2]:
        materialize(instance, parted, also_good, partition_key=key)
    materialize(instance, parted, partition_key="c", fails=True)
    materialize(instance, parted, partition_key="d")
    materialize(instance, parted, partition_key="b", fails=True)
    materialize(instance, plain, good, fails=True)
    old.append(observe([outside], instance=instance).run_id)
    observe([outside], instance=instance)
    old.append(empty.execute_in_process(instance=instance).run_id)
    return old


def go(database: PostgresClient, instance: dg.DagsterInstance, **given: Any) -> Any:
    values: dict[str, Any] = {"days": 30, "budget_seconds": 600, "dry_run": False, "batch": 3} | given
    return prune(database, EventsFirst(instance), **values)


def test_the_latest_of_everything_stays_and_the_rest_goes(
    instance: dg.DagsterInstance, database: PostgresClient, url: str
) -> None:
    old = fill(instance)
    young = empty.execute_in_process(instance=instance).run_id
    aged(url, keep=(young,))
    before = state(instance)
    assert before["partitions"] == ["a", "b", "d"]
    assert set(before["failed"]) == {"b", "c"}
    runs = instance.get_runs_count()

    planned = go(database, instance, dry_run=True)
    assert instance.get_runs_count() == runs
    assert state(instance) == before
    assert before["observed"]
    assert planned.runs == len(old)

    events = event_log_size(url).rows
    report = go(database, instance)
    assert state(instance) == before
    assert (report.runs, report.events, report.finished) == (planned.runs, planned.events, True)
    assert event_log_size(url).rows == events - report.events
    assert instance.get_run_by_id(young) is not None
    for run in old:
        assert instance.get_run_by_id(run) is None
        assert instance.all_logs(run) == []
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM asset_check_executions WHERE run_id = ANY (%s)", [old]
        ).fetchone()
        assert row == (0,)
    assert go(database, instance).runs == 0
    assert report.kept > 0


def test_deleting_every_old_run_would_lose_it(instance: dg.DagsterInstance, url: str) -> None:
    """Why runs are chosen: Dagster's own deletion takes the latest state along."""
    materialize(instance, parted, partition_key="a")
    assert instance.get_materialized_partitions(parted.key) == {"a"}
    for run in instance.get_runs():
        instance.delete_run(run.run_id)
    assert instance.get_materialized_partitions(parted.key) == set()


def test_runs_that_go_on_and_those_of_an_open_backfill_stay(
    instance: dg.DagsterInstance, database: PostgresClient, url: str
) -> None:
    runs = [empty.execute_in_process(instance=instance).run_id for _ in range(3)]
    aged(url)
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE runs SET status = 'STARTED' WHERE run_id = %s", [runs[0]])
        connection.execute("UPDATE runs SET backfill_id = 'open' WHERE run_id = %s", [runs[1]])
        connection.execute("INSERT INTO bulk_actions (key, status, timestamp) VALUES ('open', 'REQUESTED', now())")
    assert go(database, instance).runs == 1
    assert [instance.get_run_by_id(run) is not None for run in runs] == [True, True, False]


def test_the_time_is_kept_and_the_next_pass_goes_on(
    instance: dg.DagsterInstance, database: PostgresClient, url: str
) -> None:
    for _ in range(5):
        empty.execute_in_process(instance=instance)
    aged(url)
    now = [0.0]

    def jumps() -> float:
        now[0] += 1.0
        return now[0]

    first = go(database, instance, budget_seconds=3.0, clock=jumps)
    assert (first.runs, first.finished) == (2, False)
    assert first.as_metadata()["finished"] is False
    assert go(database, instance).runs == 3


def test_what_may_not_be_is_refused(instance: dg.DagsterInstance, database: PostgresClient, url: str) -> None:
    with pytest.raises(Permanent, match="at least 2"):
        go(database, instance, days=1)
    with PostgresClient(url) as other, other.advisory_lock(LOCK), pytest.raises(AlreadyRunning):
        go(database, instance)


def test_the_size_of_the_log(url: str, instance: dg.DagsterInstance, database_url: str) -> None:
    empty.execute_in_process(instance=instance)
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM event_logs").fetchone()
    assert row is not None
    size = event_log_size(url)
    assert size.rows == row[0]
    assert size.bytes > 8192
    with pytest.raises(Permanent, match="no table event_logs"):
        event_log_size(database_url)
    with pytest.raises(Transient):
        event_log_size("postgresql://postgres@127.0.0.1:1/x")


# --- compute logs ------------------------------------------------------------------------------------------------


def test_only_logs_of_runs_that_are_gone_go(
    instance: dg.DagsterInstance, database: PostgresClient, tmp_path: Path
) -> None:
    run = empty.execute_in_process(instance=instance).run_id
    folder, elsewhere = tmp_path / "logs", tmp_path / "elsewhere"
    gone, young, linked = (str(uuid.uuid4()) for _ in range(3))
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("x")
    for name in (run, gone, young, "my_repository", "not-a-run"):
        (folder / name / "compute_logs").mkdir(parents=True)
        (folder / name / "compute_logs" / "step.out").write_text("12345")
    (folder / gone / "away").symlink_to(elsewhere)
    (folder / linked).symlink_to(elsewhere)
    for name in (run, gone, "my_repository", "not-a-run"):
        os.utime(folder / name, (1, 1))
    planned = remove_logs(database, folder, dry_run=True)
    assert (planned.folders, planned.bytes >= 5) == (1, True)
    assert (folder / gone).exists()
    assert remove_logs(database, folder, dry_run=False).folders == 1
    assert sorted(path.name for path in folder.iterdir()) == sorted([run, young, linked, "my_repository", "not-a-run"])
    assert (elsewhere / "kept").exists()
    assert remove_logs(database, tmp_path / "none", dry_run=False).folders == 0
    for wrong in (Path("/"), Path("relative")):
        with pytest.raises(Permanent, match="absolute path"):
            remove_logs(database, wrong, dry_run=False)


def test_a_folder_that_cannot_be_removed_is_an_outage(
    instance: dg.DagsterInstance, database: PostgresClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / str(uuid.uuid4())).mkdir()

    def refuse(path: Path) -> None:
        raise PermissionError(f"not {path}")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(Transient, match="cannot be cleared"):
        remove_logs(database, tmp_path, dry_run=False, clock=lambda: 1e12)


# --- the job -----------------------------------------------------------------------------------------------------


def test_the_job_is_a_dry_run_unless_told_otherwise(instance: dg.DagsterInstance, url: str, settings: Settings) -> None:
    empty.execute_in_process(instance=instance)
    aged(url)
    with environment({}):
        first = prune_event_log.execute_in_process(instance=instance)
        assert _metadata(first)["runs_that_would_go"] == 1
        config = {"ops": {"remove_old_runs": {"config": {"dry_run": False, "days": 10}}}}
        second = prune_event_log.execute_in_process(instance=instance, run_config=config)
    assert _metadata(second)["runs_removed"] == 1
    assert _metadata(second)["finished"] is True
    schedule = event_log.prune_event_log_by_night
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert dg.validate_run_config(
        prune_event_log, schedule.evaluate_tick(dg.build_schedule_context(instance)).run_requests[0].run_config
    )["ops"]["remove_old_runs"]["config"] == {"dry_run": False, "days": 0}


def test_the_job_says_where_it_does_not_work() -> None:
    with dg.instance_for_test() as instance, environment({}):
        result = prune_event_log.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    failure = result.failure_data_for_node("remove_old_runs").user_failure_data
    assert failure is not None
    assert "not one PostgreSQL database" in str(failure.description)


def test_a_kill_between_events_and_run_is_mended_by_the_next_pass(
    instance: dg.DagsterInstance, database: PostgresClient, url: str
) -> None:
    run = empty.execute_in_process(instance=instance).run_id
    aged(url)
    child = os.fork()
    if child == 0:
        os.environ[VARIABLE] = "event_log_events_deleted"
        try:
            with PostgresClient(url, pool_size=4) as own:
                prune(own, EventsFirst(instance), days=30, budget_seconds=60, dry_run=False)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -9
    assert instance.all_logs(run) == []
    assert instance.get_run_by_id(run) is not None
    assert go(database, instance).runs == 1
    assert instance.get_run_by_id(run) is None


def _metadata(result: Any) -> dict[str, Any]:
    (event,) = [e for e in result.all_node_events if e.is_successful_output]
    return {key: value.value for key, value in event.step_output_data.metadata.items()}
