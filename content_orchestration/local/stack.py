"""All local servers at once: start those that the settings point to, in parallel; report; stop. What is special to
one server is in its own module.
"""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from content_orchestration.local import ports
from content_orchestration.local.bigquery import BigQuery
from content_orchestration.local.errors import LocalStackError, disk_full, explained, joined
from content_orchestration.local.postgres import Postgres
from content_orchestration.local.process import is_alive
from content_orchestration.local.server import Interrupted, LocalServer, ServerReport, ServerStatus, make_folder
from content_orchestration.local.zerodb_process import ZeroDB
from content_orchestration.settings import Settings

_LOCK_PATIENCE = 180.0  # seconds; longer than any start may take
_LEAST_FREE_BYTES = 256 * 1024 * 1024  # a new cluster takes 40 MiB, the emulator's extension 80, room to work the rest


@dataclass(frozen=True)
class StackReport:
    """The servers after a start, and the seconds until the last answered."""

    servers: tuple[ServerReport, ...]
    seconds: float

    def as_lines(self) -> list[str]:
        """One line a server, for the terminal."""
        return [f"{s.name:<9} {s.state:<8} {s.seconds:>5.1f} s  {s.url}" for s in self.servers]


class LocalStack:
    """The servers of one state dir. Only servers that the settings point to are started; `fsync=False` is for tests."""

    def __init__(self, settings: Settings, *, say: Callable[[str], None] = print, fsync: bool = True) -> None:
        self.settings = settings
        self._say = say
        self._all: tuple[LocalServer, ...] = (Postgres(settings, fsync=fsync), BigQuery(settings), ZeroDB(settings))

    @property
    def servers(self) -> tuple[LocalServer, ...]:
        """Those that the settings point to: a tier that is configured elsewhere needs no server here."""
        settings = self.settings
        urls = {
            "postgres": (settings.database_url, settings.dagster_database_url),
            "bigquery": (settings.bigquery_url,),
            "zerodb": (settings.zerodb_url,),
        }
        return tuple(s for s in self._all if any(_points_to(url, s) for url in urls[s.name]))

    def start(self) -> StackReport:
        """Starts or reuses each server and returns when all answer.

        Raises `LocalStackError`; what this call had started is stopped again then, and what it found running stays.
        """
        began = time.monotonic()
        self._require_distinct_ports()
        with explained(self.settings.local_state_dir):
            _prepare_state_dir(self.settings)
            with _locked(self.settings, self._say):
                reports = self._start_all()
        return StackReport(tuple(reports), round(time.monotonic() - began, 3))

    def stop(self) -> None:
        """Stops the servers that this object started and that still run; those it reused stay."""
        mine = [server for server in self._all if server.started is not None]
        if mine:
            with explained(self.settings.local_state_dir), _locked(self.settings, self._say):
                _stop(mine)

    def status(self) -> tuple[ServerStatus, ...]:
        """Every server of the state dir, whoever started it."""
        return tuple(server.status() for server in self._all)

    def _start_all(self) -> list[ServerReport]:
        refusals = []
        for server in self.servers:
            try:
                server.check_ports()
            except LocalStackError as error:
                refusals.append(error)
        if refusals:
            raise joined(refusals)
        interrupted = threading.Event()

        def ensure(server: LocalServer) -> ServerReport | LocalStackError | None:
            try:
                with explained(server.folder):
                    return server.ensure(interrupted)
            except LocalStackError as error:
                interrupted.set()
                return error
            except Interrupted:
                return None

        finished = False
        try:
            with ThreadPoolExecutor(len(self._all)) as pool:
                try:
                    results = list(pool.map(ensure, self.servers))
                except BaseException:
                    interrupted.set()
                    raise
            errors = [result for result in results if isinstance(result, LocalStackError)]
            if errors:
                raise joined(errors)
            finished = True
        finally:
            if not finished:
                _stop([server for server in self._all if server.started is not None])
        return [result for result in results if isinstance(result, ServerReport)]

    def _require_distinct_ports(self) -> None:
        seen: dict[int, str] = {}
        for server in self.servers:
            for variable, port in server.ports.items():
                if port in seen:
                    raise LocalStackError(
                        f"{variable} and {seen[port]} are both {port}.",
                        f"set {variable} to another port, for example {ports.free_ports(1)[0]}.",
                    )
                seen[port] = variable


def stop_all(settings: Settings, *, say: Callable[[str], None] = print) -> tuple[str, ...]:
    """Stops every server that runs on the state dir, whoever started it, and returns their names."""
    if not settings.local_state_dir.is_dir():
        return ()
    with explained(settings.local_state_dir), _locked(settings, say):
        servers = LocalStack(settings, say=say)._all
        return tuple(_stop(servers))


def _stop(servers: Sequence[LocalServer]) -> list[str]:
    """Stops servers side by side; returns the names of those that ran."""

    def stop(server: LocalServer) -> str | LocalStackError | None:
        running = server.started or server.find()
        if running is None or not is_alive(running):
            server.run_file.remove()
            server.started = None
            return None
        try:
            server.stop(running)
        except LocalStackError as error:
            return error
        return server.name

    if not servers:
        return []
    with ThreadPoolExecutor(len(servers)) as pool:
        results = list(pool.map(stop, servers))
    errors = [result for result in results if isinstance(result, LocalStackError)]
    if errors:
        raise joined(errors)
    return [result for result in results if isinstance(result, str)]


def _points_to(url: str | None, server: LocalServer) -> bool:
    parts = urlsplit(url or "")
    return parts.hostname in {ports.HOST, "localhost", "::1"} and parts.port in server.ports.values()


def _prepare_state_dir(settings: Settings) -> None:
    """Creates the folders; refuses a disk that is nearly full before anything is written to it."""
    state_dir = settings.local_state_dir
    try:
        state_dir.mkdir(parents=True)
    except FileExistsError:
        # Of an earlier start, or of one that runs beside this one: the lock comes later, it lies inside.
        if not state_dir.is_dir():
            raise
    else:
        # As root, PostgreSQL's own account has to pass through; what lies inside stays closed to it.
        state_dir.chmod(0o711 if os.geteuid() == 0 else 0o700)
    for name in ("run", "logs"):
        make_folder(state_dir / name)
    disk = os.statvfs(state_dir)
    if disk.f_bavail * disk.f_frsize < _LEAST_FREE_BYTES:
        raise disk_full(state_dir)


@contextmanager
def _locked(settings: Settings, say: Callable[[str], None]) -> Iterator[None]:
    """Holds the state dir's lock, so that two commands at once do not race. The system frees it when we are killed."""
    path = settings.local_state_dir / "run" / "lock"
    make_folder(path.parent)
    with path.open("a") as lock:
        deadline, told = time.monotonic() + _LOCK_PATIENCE, False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LocalStackError(
                        f"Another command has been starting or stopping the servers of {settings.local_state_dir} for "
                        f"more than {_LOCK_PATIENCE:.0f} s.",
                        f"end it and start again; the lock is {path}, and lsof {path} shows who holds it.",
                    ) from None
                if not told:
                    say(f"Another command starts or stops the servers of {settings.local_state_dir}: waiting for it.")
                    told = True
                time.sleep(0.1)
        yield
