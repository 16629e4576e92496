"""The `content-orchestration` command: what `make up`, `demo`, `down` and `clean` call. It prints for a person."""

import argparse
import math
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from pydantic import ValidationError

from content_orchestration.core.errors import ContentError
from content_orchestration.local.environment import apply, dagster_environment
from content_orchestration.local.errors import LocalStackError
from content_orchestration.settings import Settings, get_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0 only when everything asked for was done and every check passed."""
    parser = argparse.ArgumentParser(prog="content-orchestration", description="The local three-tier stack.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the servers, run the main job, serve the Dagster UI until Ctrl-C")
    commands.add_parser("demo", help="the same without the UI; writes demo.json")
    commands.add_parser("down", help="stop every server of this state folder, whoever started it")
    commands.add_parser("status", help="which servers run")
    commands.add_parser("clean", help="stop the servers and remove the state folder with all its data")
    commands.add_parser("env", help="print the variables that Dagster's own commands need, as shell exports")
    doctor = commands.add_parser("doctor", help="look at variables, connections, privileges, schema, clocks and disks")
    doctor.add_argument("--json", action="store_true", help="one JSON object for machines")
    doctor.add_argument("--seconds", type=_patience, default=8.0, help="give up on what has not answered by then (8)")
    given = parser.parse_args(arguments)
    command = given.command
    _say_at_once()
    signal.signal(signal.SIGTERM, _interrupt)
    started = time.monotonic()
    try:
        if command == "doctor":
            from content_orchestration.local.doctor.command import run

            return run(as_json=given.json, seconds=given.seconds)
        settings = get_settings()
        return {"up": _up, "demo": _demo, "down": _down, "status": _status, "clean": _clean, "env": _env}[command](
            settings, started
        )
    except ValidationError as error:
        for problem in error.errors():
            name = problem["loc"][0] if problem["loc"] else "environment"
            print(f"error: {name}: {problem['msg']}", file=sys.stderr)
    except ContentError as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; what was done is kept, run the command again to go on", file=sys.stderr)
        return 130
    return 1


def _patience(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 1.0 <= seconds <= 3600.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 1 to 3600")
    return seconds


def _up(settings: Settings, started: float) -> int:
    from content_orchestration.local.ui import DagsterUI

    ui = DagsterUI(settings)
    ui.require_port()
    with _stack(settings):
        passed = _run(settings, started, examine=True)
        seconds = ui.start()
        print(f"\nDagster UI: {ui.url} (answered after {seconds:.0f} s). Ctrl-C stops it and the servers started here.")
        try:
            code = ui.wait()
        except KeyboardInterrupt:
            print("\nstopping")
            return 0 if passed else 1
        finally:
            with _undisturbed():
                ui.stop()
    raise LocalStackError(
        f"The Dagster UI ended by itself with code {code}.",
        f"read {settings.local_state_dir / 'logs' / 'dagster.log'}, then run make up again.",
    )


def _examine(settings: Settings) -> None:
    """Print what the doctor finds amiss. Raises `LocalStackError` where the main job could only fail."""
    from content_orchestration.local.doctor.command import before_the_main_job

    found = before_the_main_job(settings)
    for line in found.as_lines():
        print(line)
    if any(finding.stops for finding in found.findings):
        raise LocalStackError("The main job could only fail; what is wrong is named above.", "mend it, then run again.")


def _demo(settings: Settings, started: float) -> int:
    from content_orchestration.local.summary import write_demo_report

    with _stack(settings):
        if not _run(settings, started):
            print("not everything passed, so demo.json was not written; each failure is named above", file=sys.stderr)
            return 1
        path, report = write_demo_report(settings, time.monotonic() - started)
        print(f"\n{path}: {report}")
    return 0


def _run(settings: Settings, started: float, *, examine: bool = False) -> bool:
    """Prepare the data, run the main job, print what is where. True if every asset and check passed."""
    # Dagster takes a second to import; a command that only stops servers does not need it.
    import dagster as dg

    from content_orchestration.local.demo import prepare
    from content_orchestration.local.pipeline import register_tenants, run_pipeline
    from content_orchestration.local.summary import as_table, tier_counts
    from content_orchestration.resources.postgres_client import PostgresClient

    apply(dagster_environment(settings))
    print(prepare(settings))
    if examine:
        _examine(settings)
    print("main job: schema, migration, usage, replication, checks")
    with dg.DagsterInstance.get() as instance:
        with PostgresClient(settings.database_url) as database:
            tenants = register_tenants(instance, database)
        result = run_pipeline(instance, tenants, print)
    for failure in result.failures:
        print(f"error: {failure}", file=sys.stderr)
    if result.success:
        print("\n" + as_table(tier_counts(settings)))
        if not result.changed:
            print("\nnothing was new: no row migrated and no change replicated; the tiers are as they were")
    checks = f"{sum(result.checks.values())} of {len(result.checks)} checks passed"
    print(f"\n{checks}, run {result.run_id}, {time.monotonic() - started:.1f} s in all")
    return result.all_passed


def _down(settings: Settings, started: float) -> int:
    from content_orchestration.local.stack import stop_all
    from content_orchestration.local.ui import stop_left_behind

    stopped = (*(["dagster"] if stop_left_behind(settings) else []), *stop_all(settings))
    print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")
    return 0


def _status(settings: Settings, started: float) -> int:
    from content_orchestration.local.stack import LocalStack

    for server in LocalStack(settings).status():
        print(f"{server.name:<9} {server.state:<13} {server.url}" + (f" (pid {server.pid})" if server.pid else ""))
    return 0


def _clean(settings: Settings, started: float) -> int:
    from content_orchestration.local.stack import stop_all
    from content_orchestration.local.ui import stop_left_behind

    stop_left_behind(settings)
    stop_all(settings)
    folder = settings.local_state_dir
    if folder.exists():
        shutil.rmtree(folder)
        print(f"removed {folder}")
    return 0


def _env(settings: Settings, started: float) -> int:
    for name, value in dagster_environment(settings).items():
        print(f"export {name}='{value}'")
    return 0


@contextmanager
def _stack(settings: Settings) -> Iterator[None]:
    """The servers, running; at the end those that were started here are stopped."""
    from content_orchestration.local.stack import LocalStack

    stack = LocalStack(settings)
    try:
        for line in stack.start().as_lines():
            print(line)
        yield
    finally:
        with _undisturbed():
            stack.stop()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore further Ctrl-C while servers are stopped in order."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _say_at_once() -> None:
    """Line by line even into a pipe, so that progress shows while it happens."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)


if __name__ == "__main__":
    sys.exit(main())
