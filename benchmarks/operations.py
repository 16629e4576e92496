"""What it costs to run the platform: imports, the UI, an empty sync beside a trivial run, the health page, event rows.

`python -m benchmarks.operations`. The trivial run is of a one-asset project in the same workspace, through the same
queue, daemon, launcher and storage, with the executor that Dagster gives a new project; beside it, for what is ours of
the difference, the ratio to one whose step is in the run's own process, as ours are. A run's time begins behind the
queue. Event rows: the job of every schedule is run once on the demo's data
(8 tenants, 288 items), its rows in Dagster's event log are counted, and times its ticks a day make the sum. Ticks, runs
and check records are tables of their own and are not counted; sensors ask for no run where nothing happens.
"""

import os
import statistics

import dagster as dg

from benchmarks.operations_dagster import (
    OURS,
    TRIVIAL,
    Launcher,
    import_seconds,
    requests_of,
    serving,
    tell,
    ticks_a_day,
    ui_seconds,
    workspace,
)
from benchmarks.scratch import median_of, print_result, say, scratch_folder, scratch_settings
from content_orchestration.local.environment import apply, dagster_environment
from content_orchestration.local.ports import free_ports
from content_orchestration.local.stack import LocalStack
from content_orchestration.settings import Settings, get_settings

_ROUNDS = 5
_UI_ROUNDS = 3
_TRIVIAL_JOB = "trivial"
_IN_PROCESS_JOB = "trivial_in_process"
_SYNC_JOB = "replicate_to_bigquery"


def main() -> None:
    """Measure everything and print the result."""
    with scratch_folder() as folder:
        (port,) = free_ports(1)
        settings = scratch_settings(folder, DAGSTER_UI_PORT=port)
        _enter(settings)
        ratio = _import_ratio()
        stack = LocalStack(settings, say=say)
        stack.start()
        try:
            _main_job(settings)
            health = _health()
            ui = _ui(settings)
            with serving(settings, workspace(folder)) as launcher:
                sync, trivial, in_process = _empty_sync(launcher)
                rows = _event_rows(launcher)
        finally:
            stack.stop()
    print_result(
        {
            "name": "operations",
            "import_vs_dagster": round(ratio, 2),
            "ui_first_response_s": round(ui, 1),
            "empty_sync_run_s": round(sync, 2),
            "empty_sync_vs_trivial_run": round(sync / trivial, 2),
            "trivial_run_s": round(trivial, 2),
            "empty_sync_vs_trivial_in_process": round(sync / in_process, 2),
            "health_s": round(health, 2),
            "event_rows_per_day": round(rows),
        }
    )


def _enter(settings: Settings) -> None:
    """This process and its children see the scratch servers only."""
    for field in Settings.model_fields.values():
        os.environ.pop(str(field.alias), None)
    os.environ.update(
        {
            "LOCAL_STATE_DIR": str(settings.local_state_dir),
            "LOCAL_POSTGRES_PORT": str(settings.local_postgres_port),
            "LOCAL_ZERODB_PORT": str(settings.local_zerodb_port),
            "LOCAL_BIGQUERY_PORT": str(settings.local_bigquery_port),
            "LOCAL_BIGQUERY_GRPC_PORT": str(settings.local_bigquery_grpc_port),
            "DAGSTER_UI_PORT": str(settings.dagster_ui_port),
        }
    )
    get_settings.cache_clear()
    apply(dagster_environment(settings))


def _import_ratio() -> float:
    """Ours over Dagster's, by turns, so that a busy machine slows both."""
    pairs = [(import_seconds("dagster"), import_seconds("content_orchestration.definitions")) for _ in range(_ROUNDS)]
    theirs, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    say(f"import dagster {theirs:.2f} s, the definitions {ours:.2f} s")
    return float(ours / theirs)


def _main_job(settings: Settings) -> None:
    """The demo's data in all tiers, as `make up` has it."""
    from content_orchestration.local.demo import prepare
    from content_orchestration.local.pipeline import register_tenants, run_pipeline
    from content_orchestration.resources.postgres_client import PostgresClient

    say(prepare(settings))
    with dg.DagsterInstance.get() as instance, PostgresClient(settings.database_url) as database:
        result = run_pipeline(instance, register_tenants(instance, database), lambda line: None)
    if not result.success:
        raise RuntimeError(f"the main job failed: {result.failures}")


def _health() -> float:
    """Seconds of one look with new connections, as each run of the asset has them."""
    from content_orchestration.core.operations.event_log import event_log_size
    from content_orchestration.core.operations.health import take_health
    from content_orchestration.resources.health import HealthResource

    url = get_settings().dagster_database_url

    def look() -> float:
        with HealthResource().tools() as tools:
            report = take_health(tools.database, tools.probes.all(), lambda: event_log_size(url), replicates=True)
        say(f"health: {report.seconds:.2f} s, {report.summary}")
        return float(report.seconds)

    return median_of(_ROUNDS, look)


def _ui(settings: Settings) -> float:
    """The first start makes Dagster's tables; it is warm from the second on."""
    cold = ui_seconds(settings)
    warm = [ui_seconds(settings) for _ in range(_UI_ROUNDS)]
    say(f"UI: first start {cold:.1f} s, then {', '.join(f'{each:.1f}' for each in warm)} s")
    return statistics.median(warm)


def _empty_sync(launcher: Launcher) -> tuple[float, float, float]:
    """Median seconds of a sync with nothing to do, of a trivial run, and of one in its run's process; by turns."""
    jobs = ((OURS, _SYNC_JOB), (TRIVIAL, _TRIVIAL_JOB), (TRIVIAL, _IN_PROCESS_JOB))
    for location, job in jobs:
        launcher.seconds(location, job)
    rounds = [[launcher.seconds(location, job) for location, job in jobs] for _ in range(_ROUNDS)]
    tell("empty sync, trivial run, trivial run in process: launch to success (s)", rounds)
    sync, trivial, in_process = (statistics.median(column) for column in zip(*rounds, strict=True))
    return sync, trivial, in_process


def _event_rows(launcher: Launcher) -> float:
    from content_orchestration.definitions import defs

    repository = defs().get_repository_def()
    schedules = sorted(repository.schedule_defs, key=lambda schedule: schedule.name)
    runs: dict[str, list[str]] = {}
    with dg.DagsterInstance.get() as instance:
        for schedule in schedules:
            runs[schedule.name] = [
                launcher.submit(
                    OURS, request.job_name or schedule.job_name, config=request.run_config, tags=_tags(request)
                )
                for request in requests_of(schedule, repository, instance)
            ]
    ended = launcher.wait([run for each in runs.values() for run in each])
    failed = {run.run_id for run in ended if run.status != "SUCCESS"}
    rows = launcher.event_rows([run.run_id for run in ended])
    table = []
    for schedule in schedules:
        ticks = ticks_a_day(schedule)
        count = sum(rows[run] for run in runs[schedule.name])
        name = schedule.name + (" (failed)" if failed & set(runs[schedule.name]) else "")
        table.append((name, ticks, float(count), ticks * count))
    tell("schedule, ticks a day, event rows a tick, event rows a day", table)
    return sum(row[3] for row in table)


def _tags(request: dg.RunRequest) -> dict[str, str]:
    tags = {str(name): str(value) for name, value in request.tags.items()}
    return tags | ({"dagster/partition": request.partition_key} if request.partition_key else {})


if __name__ == "__main__":
    main()
