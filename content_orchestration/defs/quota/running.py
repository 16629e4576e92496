"""Is a run of this job on its way already? For sensors that must not ask twice."""

import dagster as dg

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def unfinished_run(context: dg.SensorEvaluationContext, job: str) -> str | None:
    """The id of a run of `job` that has not ended, None where there is none."""
    runs = context.instance.get_runs(dg.RunsFilter(job_name=job, statuses=_UNFINISHED), limit=1)
    return runs[0].run_id if runs else None
