"""The life of one local server: recognise it, start it, wait until it answers, stop it. What is special to each is in
`postgres.py`, `bigquery.py` and `zerodb_process.py`; doing it for all of them at once is `stack.py`'s.
"""

import errno
import http.client
import os
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import psutil

from content_orchestration.local import ports, process
from content_orchestration.local.errors import LocalStackError, disk_full
from content_orchestration.settings import PROJECT_ROOT, Settings

State = Literal["started", "reused"]
_DISK_FULL = ("No space left on device", "Disk quota exceeded", "database or disk is full")


class Interrupted(Exception):
    """Another server failed or the user pressed Ctrl-C: waiting on is of no use."""


class _Gone(Exception):
    """A server that was to be reused ended: a new one is started."""


@dataclass(frozen=True)
class ServerReport:
    """One server after a start; `seconds` until it answered."""

    name: str
    url: str
    state: State
    seconds: float


@dataclass(frozen=True)
class ServerStatus:
    """One server now; `pid` is None where it is stopped."""

    name: str
    url: str
    state: Literal["running", "not answering", "stopped"]
    pid: int | None


class LocalServer(ABC):
    """A server whose data lives in a folder of the state dir; that folder in its command line identifies it."""

    name: ClassVar[str]
    title: ClassVar[str]
    patience: ClassVar[float] = 60.0
    """Seconds that it may take until it answers."""
    stop_steps: ClassVar[Sequence[tuple[signal.Signals, float]]] = ((signal.SIGTERM, 10.0),)
    """Signals to send in turn, each with the seconds to wait after it; SIGKILL follows by itself."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state_dir = settings.local_state_dir.resolve()
        self.folder = self.state_dir / self.name
        self.log = self.state_dir / "logs" / f"{self.name}.log"
        self.run_file = process.RunFile(self.state_dir / "run" / f"{self.name}.json")
        self.started: psutil.Process | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it; carries no secret."""

    @property
    @abstractmethod
    def ports(self) -> Mapping[str, int]:
        """Its ports by the variable that sets each."""

    @abstractmethod
    def is_mine(self, argv: list[str]) -> bool:
        """Whether a command line is this server on this very folder, whatever its ports."""

    @abstractmethod
    def prepare(self) -> process.Command:
        """Makes the folder ready while no server runs on it, and returns how to start one. Never deletes data."""

    @abstractmethod
    def missing(self) -> str | None:
        """What it still lacks to be of use; None once it answers as it should."""

    def finish(self) -> None:  # noqa: B027  (most servers need nothing)
        """What is left to do once it answers, new or reused."""

    def find(self) -> psutil.Process | None:
        """The process that runs on this folder, whoever started it."""
        return process.find(self.run_file, self.is_mine)

    def check_ports(self) -> None:
        """Raises where a port is neither free nor used by this very server, or where this server uses another."""
        running = self.find()
        argv = [] if running is None else process.command_line(running)
        for variable, port in self.ports.items():
            if running is None or not argv:
                ports.require_free(port, variable, self.title)
            elif str(port) not in argv:
                raise LocalStackError(
                    f"{self.title} of {self.state_dir} already runs (pid {running.pid}), but not on port {port} "
                    f"({variable}): {' '.join(argv)[:200]}",
                    f"run make down first, or set {variable} to the port that it uses.",
                )

    def ensure(self, interrupted: threading.Event) -> ServerReport:
        """Reuses the server or starts it, and returns when it answers. Raises `LocalStackError`, `Interrupted`.

        `check_ports` has been called before.
        """
        began = time.monotonic()
        state: State = "reused"
        running = self.find()
        if running is not None:
            try:
                self._wait(running, interrupted)
            except _Gone:
                # It was on its way out, as after a Ctrl-C whose sender was killed.
                running = None
        if running is None:
            state = "started"
            running = self._start()
            self._wait(running, interrupted)
        self.finish()
        self.run_file.write(running, self.ports)
        return ServerReport(self.name, self.url, state, round(time.monotonic() - began, 3))

    def stop(self, running: psutil.Process) -> None:
        """Ends the server in the order of `stop_steps` and forgets it."""
        process.stop(running, self.title, self.stop_steps)
        self.run_file.remove()
        self.started = None
        if self._child is not None:
            self._child.poll()

    def status(self) -> ServerStatus:
        """How it is now."""
        running = self.find()
        if running is None:
            return ServerStatus(self.name, self.url, "stopped", None)
        return ServerStatus(self.name, self.url, "not answering" if self.missing() else "running", running.pid)

    def _start(self) -> psutil.Process:
        command = self.prepare()
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._child = process.spawn(command, self.log)
        try:
            self.started = psutil.Process(self._child.pid)
            self.run_file.write(self.started, self.ports)
        except psutil.Error:
            raise self._died() from None
        return self.started

    def _wait(self, running: psutil.Process, interrupted: threading.Event) -> None:
        deadline = time.monotonic() + self.patience
        pause = 0.01
        while True:
            if not process.is_alive(running):
                if running is self.started:
                    raise self._died()
                raise _Gone
            lacks = self.missing()
            # An answer counts only from our process: another program may have taken the port meanwhile.
            if lacks is None and process.is_alive(running) and self._answers_itself(running):
                return
            if time.monotonic() > deadline:
                raise LocalStackError(
                    f"{self.title} (pid {running.pid}) runs but does not answer after {self.patience:.0f} s: "
                    f"{lacks or 'another program answers on its port'}.{self._last_lines()}",
                    f"run make down, which ends it, and start again; its log is {self.log}.",
                )
            if interrupted.wait(pause):
                raise Interrupted
            pause = min(pause * 1.5, 0.1)

    def _answers_itself(self, running: psutil.Process) -> bool:
        return all(process.listens(running, port) for port in self.ports.values())

    def _died(self) -> LocalStackError:
        code = self._child.wait(timeout=10) if self._child is not None else None
        self.run_file.remove()
        lines = self._last_lines()
        if any(sign in lines for sign in _DISK_FULL):
            return disk_full(self.folder)
        return LocalStackError(
            f"{self.title} ended while it was starting (exit code {code}).{lines}",
            f"solve what its log says, {self.log}, and start again. Its data is untouched in {self.folder}.",
        )

    def _last_lines(self) -> str:
        text = process.tail(self.log, self._log_start)
        return "\n" + "\n".join(f"    | {line}" for line in text.splitlines()) if text else ""


def http_status(port: int, path: str, timeout: float = 2.0) -> int | None:
    """The status of a GET on this machine, past any proxy; None where nothing answers in `timeout` seconds."""
    connection = http.client.HTTPConnection(ports.HOST, port, timeout=timeout)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def python_environment(*without: str, **extra: str) -> dict[str, str]:
    """The environment of a Python server: ours, unbuffered, with this project on its path from wherever it runs."""
    paths = [str(PROJECT_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return process.environment(*without, PYTHONPATH=os.pathsep.join(paths), PYTHONUNBUFFERED="1", **extra)


def make_folder(folder: Path) -> None:
    """Creates a folder that only this account may enter, with its parents. Raises OSError where it may not write."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
