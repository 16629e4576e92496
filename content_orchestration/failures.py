"""What Dagster makes of the engines' errors: which are permanent, which are worth a retry, and how run retries stop."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from content_orchestration.core.errors import AlreadyRunning, Permanent, Transient

PERMANENT_TAG = "content_orchestration/permanent_failure"


class Cancelled(dg.DagsterError, dg.DagsterExecutionInterruptedError):
    """Somebody cancelled the run, or its process was told to end.

    Dagster 1.13 begins a step with a retry policy again when it is interrupted. Its own errors it lets pass, so one
    that is both ends the step, and the run is cancelled.
    """


@contextmanager
def explained() -> Iterator[None]:
    """Turn an engine's permanent error into a `dg.Failure` that is not retried; let a transient one reach the policy.

    A cancellation is not retried either: it becomes `Cancelled`.

    A permanent failure that is retried does harm: one misfit was retried 5,363 times in a public project.
    """
    try:
        yield
    except AlreadyRunning as error:
        raise dg.Failure(description=str(error), metadata={"kind": "already running"}, allow_retries=False) from error
    except Permanent as error:
        raise dg.Failure(description=str(error), metadata={"kind": "permanent"}, allow_retries=False) from error
    except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt) as interrupt:
        raise Cancelled("the run was cancelled, or its process was told to end") from interrupt


def is_permanent(error: BaseException | None) -> bool:
    """Whether trying again cannot help."""
    while error is not None:
        if isinstance(error, Permanent | AlreadyRunning):
            return True
        if isinstance(error, dg.Failure):
            return not error.allow_retries
        error = error.__cause__
    return False


def unknown(error: Transient | Permanent) -> dg.AssetCheckResult:
    """The result of a check that could not look. It does not pass, and it does not claim that data differ."""
    return dg.AssetCheckResult(
        passed=False,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"unknown: the check could not look. {error}",
        metadata={"outcome": "unknown"},
    )


@dg.failure_hook(name="stop_run_retries_on_permanent_failure")
def stop_run_retries(context: dg.HookContext) -> None:
    """Tag the run so that the daemon's run retries leave a permanent failure alone."""
    if is_permanent(context.op_exception):
        context.instance.add_run_tags(context.run_id, {"dagster/max_retries": "0", PERMANENT_TAG: "true"})
