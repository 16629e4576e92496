"""Processes that outlive their parent: start them, recognise them later, stop them. Which servers there are is
elsewhere.

A process is only ever signalled through a `psutil.Process` whose command line was checked; psutil itself compares the
start time before it sends, so a number that was given to another program meanwhile is never hit.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from content_orchestration.local.errors import LocalStackError

_LOG_BYTES = 10 * 1024 * 1024
_START_TIME_TOLERANCE = 2.0  # seconds; the system derives start times from a clock that may be stepped


@dataclass(frozen=True)
class Command:
    """How to start a process: `env` is its whole environment, `user` and `group` the ids to change to, if any."""

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    user: int | None = None
    group: int | None = None

    def run(self, timeout: float) -> subprocess.CompletedProcess[str]:
        """Runs it to its end, `timeout` seconds at most; returns what it printed. Raises OSError, TimeoutExpired."""
        return subprocess.run(
            list(self.argv),
            cwd=self.cwd,
            env=dict(self.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
            start_new_session=True,
            **self._drop(),
        )

    def start(self, output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Starts it in a session of its own, so that neither Ctrl-C nor the end of this process reaches it."""
        return subprocess.Popen(
            list(self.argv),
            cwd=self.cwd,
            env=dict(self.env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **self._drop(),
        )

    def _drop(self) -> dict[str, Any]:
        return {} if self.user is None else {"user": self.user, "group": self.group, "extra_groups": []}


def environment(*without: str, **extra: str) -> dict[str, str]:
    """This process's variables, less those that begin with one of `without`, plus `extra`."""
    return {name: value for name, value in os.environ.items() if not name.startswith(without)} | extra


@dataclass(frozen=True)
class RunFile:
    """The note `run/<server>.json`: who serves, since when (Unix seconds), on which ports."""

    path: Path

    def write(self, process: psutil.Process, ports: Mapping[str, int]) -> None:
        """Replaces the note in one step, so that a kill leaves the old one or the new one."""
        note = {"pid": process.pid, "create_time": process.create_time(), "ports": dict(ports)}
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
        fresh.replace(self.path)

    def process(self) -> psutil.Process | None:
        """The process of the note if it still runs; None for a stale, unreadable or missing note."""
        try:
            note = json.loads(self.path.read_text(encoding="utf-8"))
            process = psutil.Process(int(note["pid"]))
            same = abs(process.create_time() - float(note["create_time"])) < _START_TIME_TOLERANCE
        except (OSError, ValueError, KeyError, TypeError, psutil.Error):
            return None
        return process if same else None

    def remove(self) -> None:
        """Forgets the process."""
        self.path.unlink(missing_ok=True)


def command_line(process: psutil.Process) -> list[str]:
    """The arguments of a process; empty for one that is gone, a zombie, or not ours to look at."""
    try:
        return [] if process.status() == psutil.STATUS_ZOMBIE else process.cmdline()
    except psutil.Error:
        return []


def is_alive(process: psutil.Process) -> bool:
    """Whether this very process still runs: not gone, not a zombie, not another one with its number."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def find(run_file: RunFile, matches: Callable[[list[str]], bool]) -> psutil.Process | None:
    """The process whose command line matches: the noted one, else the oldest of all that this account can see.

    The look at all of them finds a server whose starter was killed before it could write its note.
    """
    noted = run_file.process()
    if noted is not None and matches(command_line(noted)):
        return noted
    found = [process for process in psutil.process_iter() if matches(command_line(process))]
    return min(found, key=_age_order, default=None)


def _age_order(process: psutil.Process) -> float:
    try:
        return process.create_time()
    except psutil.Error:
        return float("inf")


def has_pair(argv: Sequence[str], first: str, second: str) -> bool:
    """Whether `first second` stand side by side in a command line."""
    return any(argv[i] == first and argv[i + 1] == second for i in range(len(argv) - 1))


def listens(process: psutil.Process, port: int) -> bool:
    """Whether the process itself listens on the port; True where this account may not look."""
    try:
        connections = process.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return True
    except psutil.Error:
        return False
    return any(c.status == psutil.CONN_LISTEN and c.laddr[1:2] == (port,) for c in connections)


def spawn(command: Command, log: Path) -> subprocess.Popen[bytes]:
    """Starts a process that outlives this one; what it prints is appended to `log`.

    A log that has grown past 10 MiB is set aside as `<log>.1` first.
    """
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_name(log.name + ".1"))
    with log.open("ab") as output:
        return command.start(output)


def tail(log: Path, start: int, lines: int = 12) -> str:
    """The last lines that were written to `log` after its byte `start`, each cut at 240 characters."""
    try:
        with log.open("rb") as file:
            # A log that was set aside meanwhile is shorter than it was.
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start if start <= size else 0, size - 64 * 1024))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(line[:240] for line in text.splitlines()[-lines:])


def stop(process: psutil.Process, title: str, steps: Sequence[tuple[signal.Signals, float]]) -> None:
    """Sends each signal in turn until the process ends, waiting that many seconds after each; SIGKILL comes last.

    Raises `LocalStackError` where this account may not signal it, or where it survives.
    """
    for sign, grace in (*steps, (signal.SIGKILL, 10.0)):
        if not is_alive(process):
            return
        try:
            process.send_signal(sign)
            process.wait(grace)
        except psutil.NoSuchProcess:
            return
        except psutil.TimeoutExpired:
            continue
        except psutil.AccessDenied as error:
            raise LocalStackError(
                f"{title} (pid {process.pid}) belongs to another account, which this one may not stop.",
                "run make down as the account that started it.",
            ) from error
        return
    if is_alive(process):
        raise LocalStackError(
            f"{title} (pid {process.pid}) did not end, not even when killed; it may hang in the disk.",
            "look at the process and the disk; a restart of the machine ends it.",
        )
