"""What Dagster is told about a failure: which are final, and that run retries leave those alone."""

import itertools

import dagster as dg
import pytest

from content_orchestration.core.documents import DocumentConflict
from content_orchestration.core.errors import AlreadyRunning, ContentError, Permanent, Transient
from content_orchestration.failures import PERMANENT_TAG, Cancelled, explained, is_permanent, stop_run_retries, unknown


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Permanent("no such table"), "permanent"),
        (AlreadyRunning("held by pid 7"), "already running"),
        (DocumentConflict("content_items", ["a"]), "permanent"),
    ],
)
def test_a_final_error_becomes_a_failure_without_retries(error: ContentError, kind: str) -> None:
    with pytest.raises(dg.Failure) as caught, explained():
        raise error
    assert caught.value.allow_retries is False
    assert caught.value.description == str(error)
    assert caught.value.metadata["kind"].value == kind
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [Transient("down", 3.0), KeyError("x"), SystemExit()])
def test_every_other_error_passes_unchanged(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, explained():
        raise error
    assert caught.value is error


def chained(*errors: BaseException) -> BaseException:
    for outer, inner in itertools.pairwise(errors):
        outer.__cause__ = inner
    return errors[0]


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (None, False),
        (Permanent("x"), True),
        (AlreadyRunning("x"), True),
        (Transient("x"), False),
        (ValueError("x"), False),
        (dg.Failure("x", allow_retries=False), True),
        (dg.Failure("x"), False),
        (chained(RuntimeError("step"), ValueError("x"), Permanent("y")), True),
        (chained(RuntimeError("step"), Transient("x")), False),
        (chained(dg.Failure("x", allow_retries=True), Permanent("y")), False),
        (chained(dg.Failure("x", allow_retries=False), Transient("y")), True),
    ],
)
def test_is_permanent_reads_the_chain_of_causes(error: BaseException | None, permanent: bool) -> None:
    assert is_permanent(error) is permanent


@pytest.mark.parametrize("error", [Transient("server is down"), Permanent("no privilege")])
def test_a_check_that_could_not_look_neither_passes_nor_blames_the_data(error: Transient | Permanent) -> None:
    result = unknown(error)
    assert result.passed is False
    assert result.severity == dg.AssetCheckSeverity.ERROR
    assert result.description == f"unknown: the check could not look. {error}"
    assert result.metadata["outcome"].value == "unknown"


class Far(dg.Config):
    error: str


@dg.op
def fails(config: Far) -> None:
    with explained():
        if config.error == "permanent":
            raise Permanent("no such table")
        if config.error == "hidden":
            try:
                raise Permanent("inner")
            except Permanent as error:
                raise RuntimeError("outer") from error
        raise Transient("server is down")


@dg.job(hooks={stop_run_retries})
def failing_job() -> None:
    fails()


@pytest.mark.parametrize(("error", "tagged"), [("permanent", True), ("hidden", True), ("transient", False)])
def test_the_hook_tags_the_run_so_that_the_daemon_leaves_it_alone(error: str, tagged: bool) -> None:
    with dg.instance_for_test() as instance:
        result = failing_job.execute_in_process(
            instance=instance, raise_on_error=False, run_config={"ops": {"fails": {"config": {"error": error}}}}
        )
        assert not result.success
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        wanted = {"dagster/max_retries": "0", PERMANENT_TAG: "true"} if tagged else {}
        assert {key: run.tags[key] for key in ("dagster/max_retries", PERMANENT_TAG) if key in run.tags} == wanted


@dg.op(retry_policy=dg.RetryPolicy(max_retries=3))
def fails_for_good() -> None:
    with explained():
        raise Permanent("no such table")


@dg.op(retry_policy=dg.RetryPolicy(max_retries=2))
def is_down() -> None:
    with explained():
        raise Transient("server is down")


@pytest.mark.parametrize(("op", "retries"), [(fails_for_good, 0), (is_down, 2)])
def test_a_steps_own_retries_stop_for_a_final_error_only(op: dg.OpDefinition, retries: int) -> None:
    @dg.job(name=f"job_of_{op.name}")
    def job() -> None:
        op()

    result = job.execute_in_process(raise_on_error=False)
    assert not result.success
    assert len([event for event in result.all_events if event.is_step_restarted]) == retries


tries: list[int] = []


@dg.op(retry_policy=dg.RetryPolicy(max_retries=2))
def is_cancelled(context: dg.OpExecutionContext) -> None:
    with explained():
        tries.append(1)
        context.instance.report_run_canceling(context.run)
        raise dg.DagsterExecutionInterruptedError


@dg.job
def cancelled() -> None:
    is_cancelled()


@pytest.mark.parametrize("interrupt", [dg.DagsterExecutionInterruptedError(), KeyboardInterrupt()])
def test_a_cancellation_is_told_as_one(interrupt: BaseException) -> None:
    with pytest.raises(Cancelled) as caught, explained():
        raise interrupt
    assert caught.value.__cause__ is interrupt


def test_a_cancelled_step_is_not_begun_again() -> None:
    tries.clear()
    with dg.DagsterInstance.ephemeral() as instance:
        with pytest.raises(dg.DagsterExecutionInterruptedError):
            cancelled.execute_in_process(instance=instance)
        (run,) = instance.get_runs()
        assert run.status is dg.DagsterRunStatus.CANCELED
    assert tries == [1]
