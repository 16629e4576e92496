"""The Celery profile as processes of their own: Redis, workers, and Dagster's daemons. The tests say what they do.

Of the daemons only those that launch, watch and retry runs are started: schedules and sensors would add runs.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import redis
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.auto_run_reexecution.event_log_consumer import EventLogConsumerDaemon
from dagster._daemon.controller import create_daemon_of_type, daemon_controller_from_instance
from dagster._daemon.daemon import BackfillDaemon, DagsterDaemon, MonitoringDaemon
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from content_orchestration.local.ports import free_ports
from content_orchestration.settings import PROJECT_ROOT

REDIS = shutil.which("redis-server")
_DAEMONS = (BackfillDaemon, QueuedRunCoordinatorDaemon, MonitoringDaemon, EventLogConsumerDaemon)


def eventually(what: str, true: Callable[[], object], seconds: float) -> None:
    """Wait until it is true; fails after `seconds` with `what` was waited for. Asks twice a second: asking costs."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.5)


@dataclass
class Process:
    """A command in a session of its own, so that it can be stopped, frozen or killed with all that it started."""

    name: str
    arguments: list[str]
    environment: Mapping[str, str]
    log: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.arguments, env=dict(self.environment), cwd=PROJECT_ROOT, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def signal_all(self, number: int) -> None:
        os.killpg(self.pid, number)

    def kill(self) -> None:
        assert self._process is not None
        self.signal_all(signal.SIGKILL)
        self._process.wait(10)

    def require_running(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, f"{self.name} ended:\n{self.log.read_text()[-3000:]}"

    def stop(self) -> None:
        """Ask it to end, and kill what is left of its session."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """The URL of a Redis of its own, without persistence."""
    assert REDIS is not None
    (port,) = free_ports(1)
    command = [REDIS, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    server = Process("redis", command, os.environ, folder / "redis.log")
    server.start()
    try:
        client = redis.Redis(port=port)
        eventually("Redis answers", lambda: _answers(client), 15)
        client.close()
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.stop()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@contextmanager
def running(*processes: Process) -> Iterator[None]:
    """These processes, started, and stopped at the end."""
    with ExitStack() as stack:
        for process in processes:
            stack.callback(process.stop)
            process.start()
        yield


def worker(name: str, environment: Mapping[str, str], folder: Path, concurrency: int = 2) -> Process:
    """A Celery worker as docs/GROWTH.md starts one."""
    return Process(
        name,
        [
            sys.executable, "-m", "celery", "-A", "content_orchestration.distributed.celery_app", "worker",
            "--hostname", f"{name}@%h", "--concurrency", str(concurrency), "--loglevel", "INFO",
        ],
        environment,
        folder / f"{name}.log",
    )  # fmt: skip


def daemons(environment: Mapping[str, str], folder: Path) -> Process:
    """Dagster's daemons for runs, over the project's own workspace."""
    return Process("daemons", [sys.executable, "-m", __name__], environment, folder / "daemons.log")


def _those_of_runs(instance: dg.DagsterInstance) -> list[DagsterDaemon]:
    return [create_daemon_of_type(kind.daemon_type(), instance) for kind in _DAEMONS]


def _serve() -> None:
    target = WorkspaceFileTarget([str(PROJECT_ROOT / "workspace.yaml")])
    with (
        dg.DagsterInstance.get() as instance,
        daemon_controller_from_instance(
            instance, workspace_load_target=target, gen_daemons=_those_of_runs, log_level="info"
        ) as controller,
    ):
        controller.check_daemon_loop()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _serve()
