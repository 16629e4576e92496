"""What every benchmark shares: scratch servers, the peers' environments, measuring a child process, the last line.

No workload and no peer's own code here: those are in the benchmark that needs them.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil
import psycopg

from content_orchestration.core.schema.postgres import upgrade
from content_orchestration.local.platform_tables import create_platform_tables
from content_orchestration.local.ports import free_ports
from content_orchestration.local.stack import LocalStack
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.settings import PROJECT_ROOT, Settings

_MIB = 1024 * 1024
_SAMPLE_SECONDS = 0.01


def say(text: str) -> None:
    """A line of progress, on stderr: the last line of stdout is the result."""
    print(text, file=sys.stderr, flush=True)


def print_result(values: Mapping[str, Any]) -> None:
    """The benchmark's last line: one JSON object, `name` first."""
    print(json.dumps(values), flush=True)


# --- servers ---------------------------------------------------------------------------------------------------------


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for one run, removed with all that is in it. `TMPDIR` decides where."""
    folder = Path(tempfile.mkdtemp(prefix="content-benchmark-"))
    # Run as root, PostgreSQL has an account of its own that must pass through.
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def scratch_settings(folder: Path, **given: Any) -> Settings:
    """Settings of a stack on free ports with its state in `folder`, whatever the environment says."""
    postgres, zerodb, bigquery, grpc = free_ports(4)
    names = ("DATABASE_PUBLIC_URL", "DAGSTER_PG_URL", "ZERODB_API_KEY", "API_BASE_URL", "BIGQUERY_PROJECT_ID",
             "BIGQUERY_ENDPOINT")  # fmt: skip
    return Settings(
        **{
            **dict.fromkeys(names, ""),
            "LOCAL_STATE_DIR": folder / "state",
            "LOCAL_POSTGRES_PORT": postgres,
            "LOCAL_ZERODB_PORT": zerodb,
            "LOCAL_BIGQUERY_PORT": bigquery,
            "LOCAL_BIGQUERY_GRPC_PORT": grpc,
            **given,
        }
    )


@contextmanager
def scratch_stack(folder: Path, **given: Any) -> Iterator[Settings]:
    """The three local servers on free ports; database `content` has the platform's tables and our schema.

    PostgreSQL waits for the disk, as it does in use.
    """
    settings = scratch_settings(folder, **given)
    stack = LocalStack(settings, say=say)
    stack.start()
    try:
        _prepare(settings.database_url)
        yield settings
    finally:
        stack.stop()


@contextmanager
def scratch_postgres(folder: Path) -> Iterator[str]:
    """PostgreSQL alone: the URL of its database `content`, with the platform's tables and our schema."""
    # A tier that is configured elsewhere gets no server; nothing connects to these addresses.
    nowhere = {"API_BASE_URL": "http://127.0.0.1:1/api/v1", "BIGQUERY_ENDPOINT": "http://127.0.0.1:1"}
    with scratch_stack(folder, **nowhere) as settings:
        yield settings.database_url


def _prepare(url: str) -> None:
    with psycopg.connect(url) as connection:
        create_platform_tables(connection)
    with PostgresClient(url) as database:
        upgrade(database)


def server_cpu_seconds(url: str) -> float:
    """CPU seconds that the PostgreSQL behind `url` has used, its ended children included. Same machine only."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
    pid = int((Path(row[0] if row else "") / "postmaster.pid").read_text(encoding="utf-8").split()[0])
    postmaster = psutil.Process(pid)
    used = _cpu(postmaster.cpu_times())
    for child in postmaster.children():
        try:
            used += _cpu(child.cpu_times(), ended=False)
        except psutil.NoSuchProcess:
            continue
    return used


# --- peers -----------------------------------------------------------------------------------------------------------


def peer_environment(name: str, requirements: Sequence[str]) -> Path:
    """The Python of a virtual environment with pinned `requirements`, built once and kept in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "content-orchestration-benchmarks"
    pinned = sha256("\n".join([sys.version, *requirements]).encode()).hexdigest()[:12]
    folder = cache / f"{name}-{pinned}"
    python = folder / "bin" / "python"
    complete = folder / "complete"
    if not complete.exists():
        say(f"building the environment of {name}: {', '.join(requirements)}")
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *requirements]
        subprocess.run(pip, check=True, stdout=sys.stderr)
        complete.touch()
    return python


# --- measuring -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """A child process that ended well. CPU and peak memory are those of the child and its children together."""

    seconds: float
    cpu_seconds: float
    peak_rss_mib: float
    output: str

    @property
    def last_line(self) -> Any:
        """The JSON value on the child's last line."""
        return json.loads(self.output.splitlines()[-1])


def measured(argv: Sequence[str | Path], *, environment: Mapping[str, str] | None = None) -> Measured:
    """Run a child to its end, its stderr passed on. Raises `subprocess.CalledProcessError`."""
    command = [str(part) for part in argv]
    before = os.times()
    began = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        child = subprocess.Popen(
            command, stdout=output, cwd=PROJECT_ROOT, env={**os.environ, **(environment or {})}, text=True
        )
        try:
            peak = _peak_rss(child)
        finally:
            if child.poll() is None:
                child.kill()
            child.wait()
        seconds = time.monotonic() - began
        after = os.times()
        output.seek(0)
        text = output.read()
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command, text)
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Measured(seconds, used, peak / _MIB, text)


def median_of(times: int, measure: Callable[[], float]) -> float:
    """The median of that many calls."""
    return statistics.median(measure() for _ in range(times))


def peak_rss_mib() -> float:
    """The most memory that this process has held so far, in MiB."""
    return _high_water(psutil.Process()) / _MIB


def _peak_rss(child: "subprocess.Popen[str]") -> int:
    """Bytes. Sampled, since getrusage gives a child the peak of the parent that it was forked from."""
    peaks: dict[int, int] = {}
    root = psutil.Process(child.pid)
    sample = 0
    while child.poll() is None:
        try:
            # Listing children reads all of /proc, so it is done on every 20th sample only.
            if sample % 20 == 0:
                family = [root, *root.children(recursive=True)]
            for process in family:
                peaks[process.pid] = max(peaks.get(process.pid, 0), _high_water(process))
        except psutil.Error:
            family = [root]
        sample += 1
        time.sleep(_SAMPLE_SECONDS)
    return sum(peaks.values())


def _high_water(process: psutil.Process) -> int:
    """Bytes; the kernel's own high-water mark where it keeps one, else what is held at this moment."""
    try:
        for line in Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return 0 if sys.platform == "linux" else int(process.memory_info().rss)
    return 0


def _cpu(times: Any, *, ended: bool = True) -> float:
    used = float(times.user + times.system)
    return used + float(times.children_user + times.children_system) if ended else used
