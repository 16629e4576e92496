"""What the launcher says of runs whose worker is gone or cannot be asked. Redis is real, and no worker answers."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import redis
from celery.states import FAILURE, PENDING, STARTED, SUCCESS
from dagster._core.launcher import WorkerStatus
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from content_orchestration.core.errors import Permanent
from content_orchestration.distributed.celery_launcher import WatchedCeleryRunLauncher
from content_orchestration_tests.celery_profile import REDIS, redis_server

pytestmark = pytest.mark.skipif(
    REDIS is None, reason="redis-server is not installed: on Debian, apt-get install redis-server"
)


@dg.op
def nothing() -> None:
    """A step."""


@dg.job
def empty() -> None:
    """A run to look at."""
    nothing()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture
def instance(url: str) -> Iterator[dg.DagsterInstance]:
    launcher = {
        "module": WatchedCeleryRunLauncher.__module__,
        "class": WatchedCeleryRunLauncher.__name__,
        "config": {"broker": url, "backend": url, "missed_checks": 2, "answer_seconds": 1},
    }
    with dg.instance_for_test(overrides={"run_launcher": launcher}) as made:
        yield made


def launcher_of(instance: dg.DagsterInstance) -> WatchedCeleryRunLauncher:
    launcher = instance.run_launcher
    assert isinstance(launcher, WatchedCeleryRunLauncher)
    return launcher


def run_with(instance: dg.DagsterInstance, task: str, state: str, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    """A run of that status whose Celery task is left in that state, as a worker named `gone` left it."""
    tags = {DAGSTER_CELERY_TASK_ID_TAG: task} if task else {}
    if state != PENDING:
        result = RuntimeError("the process was killed") if state == FAILURE else {"hostname": "gone@here", "pid": 1}
        launcher_of(instance).celery.backend.store_result(task, result, state)
    return instance.create_run_for_job(empty, status=status, tags=tags)


def verdicts(instance: dg.DagsterInstance, run: dg.DagsterRun, checks: int) -> list[WorkerStatus]:
    return [launcher_of(instance).check_run_worker_health(run).status for _ in range(checks)]


@pytest.mark.parametrize("state", [STARTED, SUCCESS, PENDING])
def test_a_begun_run_that_no_worker_works_is_lost_after_as_many_checks_as_are_set_whatever_redis_still_says(
    instance: dg.DagsterInstance, state: str
) -> None:
    run = run_with(instance, f"begun-{state}", state, dg.DagsterRunStatus.STARTED)
    assert verdicts(instance, run, 2) == [WorkerStatus.RUNNING, WorkerStatus.FAILED]
    # The count begins anew: a run is not lost on the word of checks that another verdict has used.
    assert verdicts(instance, run, 1) == [WorkerStatus.RUNNING]


def test_a_run_without_a_task_is_lost_too(instance: dg.DagsterInstance) -> None:
    run = run_with(instance, "", PENDING, dg.DagsterRunStatus.STARTED)
    assert verdicts(instance, run, 2)[-1] == WorkerStatus.FAILED


def test_a_killed_process_is_told_by_its_worker_and_believed_at_once(instance: dg.DagsterInstance) -> None:
    run = run_with(instance, "killed", FAILURE, dg.DagsterRunStatus.STARTED)
    health = launcher_of(instance).check_run_worker_health(run)
    assert health.status == WorkerStatus.FAILED
    assert "the process was killed" in str(health.msg)


def test_runs_lost_before_they_began_are_failed_and_those_that_wait_are_not(instance: dg.DagsterInstance) -> None:
    taken = run_with(instance, "taken", STARTED, dg.DagsterRunStatus.STARTING)
    broken = run_with(instance, "broken", FAILURE, dg.DagsterRunStatus.STARTING)
    waiting = run_with(instance, "waiting", PENDING, dg.DagsterRunStatus.STARTING)
    unsent = run_with(instance, "", PENDING, dg.DagsterRunStatus.STARTING)
    launcher = launcher_of(instance)
    rounds = [launcher.fail_lost_before_they_began() for _ in range(2)]
    assert rounds == [[broken.run_id], [taken.run_id]]
    for run, status in [(taken, "FAILURE"), (broken, "FAILURE"), (waiting, "STARTING"), (unsent, "STARTING")]:
        found = instance.get_run_by_id(run.run_id)
        assert found is not None
        assert found.status.value == status
    (told,) = instance.all_logs(taken.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert told.dagster_event is not None
    assert "no Celery worker answered" in (told.dagster_event.message or "")


def test_a_run_is_left_alone_while_redis_cannot_be_asked(tmp_path: Path) -> None:
    with redis_server(tmp_path) as url:
        launcher = WatchedCeleryRunLauncher(default_queue="dagster", broker=url, backend=url, answer_seconds=1)
        launcher.celery.conf.update(result_backend_transport_options={"retry_policy": {"max_retries": 0}})
        with dg.instance_for_test() as made:
            run = made.create_run_for_job(
                empty, status=dg.DagsterRunStatus.STARTED, tags={DAGSTER_CELERY_TASK_ID_TAG: "asked"}
            )
    with pytest.raises(redis.ConnectionError):
        launcher.check_run_worker_health(run)


def test_cancelling_marks_the_run_and_refuses_one_that_has_ended(instance: dg.DagsterInstance) -> None:
    run = run_with(instance, "cancelled", STARTED, dg.DagsterRunStatus.STARTED)
    ended = run_with(instance, "ended", SUCCESS, dg.DagsterRunStatus.SUCCESS)
    launcher = launcher_of(instance)
    assert launcher.terminate(run.run_id) is True
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status == dg.DagsterRunStatus.CANCELING
    assert launcher.terminate(ended.run_id) is False
    assert launcher.terminate("no such run") is False


def test_a_worker_without_the_profiles_dagster_yaml_says_what_to_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with pytest.raises(Permanent, match=r"Copy deploy/celery/dagster\.yaml"):
        importlib.import_module("content_orchestration.distributed.celery_app")
