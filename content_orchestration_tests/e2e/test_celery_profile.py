"""The Celery profile for real: a backfill of tenants over two workers, one of which is killed within a run."""

import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
import yaml
from celery import Celery
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    BACKFILL_ID_TAG,
)
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from content_orchestration.definitions import defs
from content_orchestration.distributed.celery_launcher import WatchedCeleryRunLauncher
from content_orchestration.local.environment import dagster_environment
from content_orchestration.policies import TENANTS
from content_orchestration.settings import PROJECT_ROOT, Settings, get_settings
from content_orchestration_tests.celery_profile import (
    REDIS,
    Process,
    daemons,
    eventually,
    redis_server,
    running,
    worker,
)
from content_orchestration_tests.e2e.environment import VARIABLES, environment
from content_orchestration_tests.replication_model import (
    body_of,
    content_row,
    current,
    expected,
    insert,
    put_bodies,
    version_row,
)
from content_orchestration_tests.tiers import Tiers

pytestmark = pytest.mark.skipif(
    REDIS is None, reason="redis-server is not installed: on Debian, apt-get install redis-server"
)
ASSET = dg.AssetKey("content_dr_backfill")
TENANTS_HERE = 50 if os.environ.get("SOAK") else 8
# Runs that each worker has ended before one of them is killed.
EACH = 5 if os.environ.get("SOAK") else 2
ITEMS = 2
PATIENCE = 600.0


@dataclass
class Profile:
    """Redis, the instance, and what worker and daemon processes are started with."""

    instance: dg.DagsterInstance
    variables: dict[str, str]
    folder: Path
    tiers: Tiers

    @property
    def celery(self) -> Celery:
        launcher = self.instance.run_launcher
        assert isinstance(launcher, WatchedCeleryRunLauncher)
        return launcher.celery

    def backfill(self, tenants: list[str]) -> str:
        """Ask for the partitions as the UI does; the daemon cuts them into runs."""
        self.instance.add_dynamic_partitions(TENANTS.name or "", tenants)
        made = PartitionBackfill.from_asset_partitions(
            backfill_id=uuid.uuid4().hex[:8], asset_graph=defs().get_repository_def().asset_graph,
            partition_names=tenants, asset_selection=[ASSET], backfill_timestamp=time.time(), tags={},
            dynamic_partitions_store=self.instance, all_partitions=False, title=None, description=None, run_config=None,
        )  # fmt: skip
        self.instance.add_backfill(made)
        return made.backfill_id

    def runs(self, *statuses: dg.DagsterRunStatus) -> list[dg.DagsterRun]:
        return self.instance.get_runs(dg.RunsFilter(statuses=list(statuses) or None))

    def worker_of(self, run: dg.DagsterRun) -> str:
        """The name of the worker that began the run; empty where none did."""
        task = run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)
        result = self.celery.AsyncResult(task) if task else None
        if result is None:
            return ""
        name = result.info.get("hostname", "") if isinstance(result.info, dict) else result.worker or ""
        return str(name).partition("@")[0]

    def by_worker(self, backfill: str, *workers: str) -> list[int]:
        """How many runs of the backfill each of these workers has done."""
        done = [run for run in self.runs(dg.DagsterRunStatus.SUCCESS) if run.tags.get(BACKFILL_ID_TAG) == backfill]
        counts = Counter(map(self.worker_of, done))
        return [counts[worker] for worker in workers]

    def done(self) -> set[str]:
        return self.instance.get_materialized_partitions(ASSET)

    def rows(self, query: str) -> list[dict[str, Any]]:
        with self.tiers.database.connection() as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]


def dagster_yaml(target: Path) -> None:
    """The profile's own file, with a daemon that looks every second, so that a test need not wait for 20."""
    instance = yaml.safe_load((PROJECT_ROOT / "deploy" / "celery" / "dagster.yaml").read_text())
    instance["run_monitoring"]["poll_interval_seconds"] = 1
    instance["run_launcher"]["config"]["check_seconds"] = 1
    instance["run_coordinator"] = {
        "module": "dagster._core.run_coordinator",
        "class": "QueuedRunCoordinator",
        "config": {"dequeue_interval_seconds": 1},
    }
    target.write_text(yaml.safe_dump(instance))


@pytest.fixture
def profile(tiers: Tiers, settings: Settings, _server: psycopg.Connection, tmp_path: Path) -> Iterator[Profile]:
    name = f"celery_dagster_{uuid.uuid4().hex}"
    _server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        with ExitStack() as stack:
            values = tiers.environment() | {
                "DAGSTER_PG_URL": f"postgresql://postgres@127.0.0.1:{settings.local_postgres_port}/{name}",
                "CELERY_REDIS_URL": stack.enter_context(redis_server(tmp_path)),
                "LOCAL_STATE_DIR": str(tmp_path / "state"),
                "BACKFILL_TENANTS_PER_RUN": "1",
            }
            patch = stack.enter_context(environment(values))
            made = dagster_environment(get_settings())
            dagster_yaml(Path(made["DAGSTER_HOME"]) / "dagster.yaml")
            for variable, value in made.items():
                patch.setenv(variable, value)
            ours = {*VARIABLES, *made}
            variables = {n: v for n, v in os.environ.items() if n not in ours} | values | made
            instance = stack.enter_context(dg.DagsterInstance.get())
            yield Profile(instance, variables, tmp_path, tiers)
    finally:
        _server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def add_tenants(tiers: Tiers, count: int) -> list[str]:
    tenants = [uuid.uuid4() for _ in range(count)]
    with tiers.database.connection() as connection:
        for tenant in tenants:
            connection.execute(
                "INSERT INTO tenants (id, name, slug, created_at) VALUES (%s, 'T', %s, now())", (tenant, str(tenant))
            )
            ids = [uuid.uuid4() for _ in range(ITEMS)]
            put_bodies(tiers.store, {(content, 1): body_of(content, 1) for content in ids})
            for content in ids:
                insert(connection, "content_storage_metadata", content_row(content, 1, tenant_id=tenant))
                insert(connection, "content_versions", version_row(content, 1, tenant_id=tenant))
    return [str(tenant) for tenant in tenants]


def kill_within_a_run(profile: Profile, doomed: Process) -> set[str]:
    """Freeze the worker, look whether it is within a tenant, and kill it there; else let it go on and try again.

    Returns the runs that are lost with it: those it works and those it has taken and not begun.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        doomed.signal_all(signal.SIGSTOP)
        taken = profile.runs(dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED)
        lost = {run.run_id for run in taken if profile.worker_of(run) == doomed.name}
        written = {
            row["run_id"]: row["status"] for row in profile.rows("SELECT run_id, status FROM replication_backfills")
        }
        states = {written.get(run) for run in lost}
        if "open" in states and "closed" not in states:
            doomed.kill()
            return lost
        doomed.signal_all(signal.SIGCONT)
        time.sleep(0.1)
    raise AssertionError("the worker was never seen within a tenant")


@pytest.mark.timeout(4 * PATIENCE)
def test_a_backfill_over_two_workers_of_which_one_is_killed_does_each_tenant_once(profile: Profile) -> None:
    tenants = add_tenants(profile.tiers, TENANTS_HERE)
    one, two = (worker(name, profile.variables, profile.folder) for name in ("one", "two"))
    began = time.monotonic()
    with running(one, two, daemons(profile.variables, profile.folder)):
        eventually("both workers answer", lambda: len(profile.celery.control.ping(timeout=0.5)) == 2, 60)
        ready = time.monotonic()
        asked = profile.backfill(tenants)
        eventually(
            f"each worker has done {EACH}", lambda: min(profile.by_worker(asked, "one", "two")) >= EACH, PATIENCE
        )
        lost = kill_within_a_run(profile, one)
        killed = time.monotonic()
        eventually("every tenant is done", lambda: profile.done() == set(tenants), PATIENCE)
        eventually("the backfill has ended", lambda: _status(profile, asked) != BulkActionStatus.REQUESTED, PATIENCE)
        two.require_running()
    print(  # noqa: T201  (for docs/GROWTH.md; shown by pytest -s)
        f"start {ready - began:.1f} s, kill after {killed - ready:.1f} s, whole {time.monotonic() - ready:.1f} s"
    )

    assert _status(profile, asked) == BulkActionStatus.COMPLETED_SUCCESS
    runs = [run for run in profile.runs() if run.tags.get(BACKFILL_ID_TAG) == asked]
    succeeded = [run for run in runs if run.status == dg.DagsterRunStatus.SUCCESS]
    assert Counter(map(_tenant, succeeded)) == dict.fromkeys(tenants, 1)
    assert {run.run_id for run in runs if run.status == dg.DagsterRunStatus.FAILURE} == lost
    assert {run.parent_run_id for run in runs if run.parent_run_id} == lost
    by_worker = profile.by_worker(asked, "one", "two")
    print(f"runs by worker: {by_worker}, lost with the worker: {len(lost)}")  # noqa: T201
    assert min(by_worker) >= EACH
    assert sum(by_worker) == len(tenants)

    written = profile.rows("SELECT tenant_id::text, run_id, status, rows_by_table FROM replication_backfills")
    closed = [row for row in written if row["status"] == "closed"]
    assert Counter(row["tenant_id"] for row in closed) == dict.fromkeys(tenants, 1)
    assert {row["run_id"] for row in closed} == {run.run_id for run in succeeded}
    assert all(row["rows_by_table"]["content_storage_dr"] == ITEMS for row in closed)
    assert {row["run_id"] for row in written if row["status"] != "closed"} <= lost
    assert_history(profile.tiers, len(lost))


def _tenant(run: dg.DagsterRun) -> str:
    first, last = (run.tags[tag] for tag in (ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG))
    assert first == last
    return first


def _status(profile: Profile, backfill: str) -> BulkActionStatus:
    found = profile.instance.get_backfill(backfill)
    assert found is not None
    return found.status


def assert_history(tiers: Tiers, lost: int) -> None:
    """Every row is current once, none is there twice in one sync, and only a killed run's rows are there again."""
    assert current(tiers) == expected(tiers)
    table = tiers.warehouse.qualified("content_storage_dr")
    states = list(tiers.warehouse.query(f"SELECT entity_id, sync_id FROM `{table}`"))
    assert max(Counter((row["entity_id"], row["sync_id"]) for row in states).values()) == 1
    again = [count for count in Counter(row["entity_id"] for row in states).values() if count > 1]
    assert len(again) <= lost * ITEMS
