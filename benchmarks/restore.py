"""A restore of 500,000 rows with bodies against COPY of the same bytes and against pg_restore of a dump of them.

`python -m benchmarks.restore` prints one JSON line last. The engine is fed from the Parquet that the emulator serves,
so that the emulator's own speed is not measured; hashing, checks before and after the write and the record of progress
are all in. Bodies go into the same server on all three sides: into a plain logged table with a key, which stands for
ZeroDB, by COPY and pg_restore on the peers' side and through the engine's document store, which reads each
body back after it was put, on ours. Nothing is said of the speed of a ZeroDB behind HTTP. pg_dump and pg_restore run as
they come, compressed and with one job; `vs_pg_restore_2_jobs` and `vs_copy_2_connections` are for who has two.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import psycopg

from benchmarks.restore_tiers import BODIES, CREATE_BODIES, ParquetHistory, PostgresBodies, write_history
from benchmarks.scratch import measured, print_result, say, scratch_folder, scratch_postgres
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.restore.engine import WORKERS, Restorer
from content_orchestration.core.restore.request import RestoreRequest
from content_orchestration.core.warehouse import Warehouse
from content_orchestration.local.postgres import binaries
from content_orchestration.resources.postgres_client import PostgresClient

ROWS = 500_000
_ROUNDS = 3
_STREAMS = 8
_TABLE = "content_storage_metadata"
_GENERATE = f"""
INSERT INTO {_TABLE} (
    id, tenant_id, brand_id, campaign_space_id, title, content_type, status, zerodb_row_id, body_sha256,
    storage_size_bytes, version, source, metadata, created_at, updated_at
)
SELECT id, md5((n %% 200)::text)::uuid, md5((n %% 900)::text)::uuid,
       CASE WHEN n %% 2 = 0 THEN md5((n %% 5000)::text)::uuid END,
       'Title of item ' || n, (ARRAY['article', 'post'])[1 + n %% 2], (ARRAY['draft', 'published'])[1 + n %% 2],
       id || '.v1', encode(sha256(body::bytea), 'hex'), length(body), 1, 'content_items:' || id,
       jsonb_build_object('language', 'en', 'words', n %% 900),
       now() - n * interval '1 second', now() - n * interval '1 second'
FROM (
    SELECT n, gen_random_uuid() AS id,
           (SELECT string_agg(md5((n * 64 + k)::text), ' ') FROM generate_series(1, 32) AS k) AS body
    FROM generate_series(1, %(rows)s) AS n
) AS item
"""
_GENERATE_BODIES = f"""
INSERT INTO {BODIES}
SELECT t.zerodb_row_id, t.id::text, t.tenant_id::text, 1, t.title,
       (SELECT string_agg(md5((split_part(t.title, ' ', 4)::bigint * 64 + k)::text), ' ')
        FROM generate_series(1, 32) AS k),
       t.body_sha256, t.storage_size_bytes
FROM {_TABLE} t
"""


def main() -> None:
    """Generate, then measure the three in turn, `_ROUNDS` times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--restore", nargs=2, metavar=("URL", "FOLDER"), help="internal: one restore, in this process")
    given = parser.parse_args()
    if given.restore:
        restore(*given.restore)
        return
    with scratch_folder() as folder, scratch_postgres(folder) as url:
        work = folder / "work"
        work.mkdir()
        generate(url, given.rows, work)
        results: dict[str, list[float]] = {
            "copy": [],
            "copy_2": [],
            "pg_restore": [],
            "pg_restore_2": [],
            "restore": [],
        }
        peaks: list[float] = []
        for number in range(1, _ROUNDS + 1):
            results["copy"].append(timed(url, lambda: copy(url, work)))
            results["copy_2"].append(timed(url, lambda: copy(url, work, connections=2)))
            results["pg_restore"].append(pg_restore(url, work))
            results["pg_restore_2"].append(pg_restore(url, work, jobs=2))
            emptied(url)
            child = measured([sys.executable, "-m", "benchmarks.restore", "--restore", url, work])
            results["restore"].append(child.last_line["seconds"])
            peaks.append(child.peak_rss_mib)
            say(f"round {number}: " + ", ".join(f"{name} {taken[-1]:.1f} s" for name, taken in results.items()))
        seconds = {name: statistics.median(taken) for name, taken in results.items()}
        report(given.rows, seconds, max(peaks), work)


def report(rows: int, seconds: Mapping[str, float], peak: float, work: Path) -> None:
    """The projection with its assumptions, then the line."""
    size = sum(path.stat().st_size for path in work.glob("*.copy"))
    projected = 100 * 1024**3 / (size / seconds["restore"]) * 2 / _STREAMS / 60
    speed = 100 * 1024 / projected / 60
    say(
        f"100 GB of rows and bodies like these, {size / rows:.0f} B an item: measured with {WORKERS} workers that "
        f"share 2 cores with PostgreSQL; {_STREAMS} streams are taken to be {_STREAMS // 2} times as fast, which needs "
        f"{_STREAMS} cores, disks that write {speed:.0f} MiB/s of data and as much of log, as much from BigQuery's "
        "Storage Read API, and a ZeroDB that takes bodies as fast as this PostgreSQL"
    )
    print_result(
        {
            "name": "restore",
            "rows_per_s": round(rows / seconds["restore"]),
            "vs_copy_limit": round(seconds["copy"] / seconds["restore"], 3),
            "vs_copy_2_connections": round(seconds["copy_2"] / seconds["restore"], 3),
            "vs_pg_restore": round(seconds["pg_restore"] / seconds["restore"], 3),
            "vs_pg_restore_2_jobs": round(seconds["pg_restore_2"] / seconds["restore"], 3),
            "rss_mib": round(peak, 1),
            "projected_100gb_minutes": round(projected, 1),
        }
    )


def restore(url: str, folder: str) -> None:
    """One restore by the engine, everything of it timed but the imports."""
    history = ParquetHistory(Path(folder))
    with PostgresClient(url) as database, PostgresBodies(url) as store:
        restorer = Restorer(database, cast(DocumentStore, store), cast(Warehouse, history), run_id="benchmark")
        request = RestoreRequest()
        plan = restorer.plan(request)
        began = time.monotonic()
        done = restorer.run(request, plan.plan_hash)
        seconds = time.monotonic() - began
    if not done.verified or done.rows != plan.rows:
        raise SystemExit(f"the restore is not whole: {done.as_metadata()}")
    say(f"stages, seconds of both workers: { {name: round(value, 1) for name, value in done.seconds.items()} }")
    print_result({"seconds": seconds})


def generate(url: str, rows: int, work: Path) -> None:
    """Rows and bodies in PostgreSQL; then as Parquet, as COPY files and as a dump."""
    say(f"generating {rows} rows with bodies")
    with psycopg.connect(url) as connection:
        connection.execute(CREATE_BODIES)
        connection.execute(_GENERATE, {"rows": rows})
        connection.execute(_GENERATE_BODIES)
    write_history(url, work)
    with psycopg.connect(url) as connection:
        for table in (_TABLE, BODIES):
            with (
                (work / f"{table}.copy").open("wb") as file,
                connection.cursor().copy(f"COPY {table} TO STDOUT") as data,
            ):
                for block in data:
                    file.write(block)
    tables = [part for table in (_TABLE, BODIES) for part in ("-t", table)]
    run([binaries() / "pg_dump", "-Fc", *tables, "-f", work / "dump", url])
    listed = run([binaries() / "pg_restore", "-l", work / "dump"])
    # Triggers call functions that the dump of two tables does not have.
    (work / "list").write_text("\n".join(line for line in listed.splitlines() if " TRIGGER " not in line))


def emptied(url: str) -> None:
    """Empty tables, and nothing left to write for the rounds before."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {_TABLE}, {BODIES}, content_changes, replication_windows CASCADE")
        connection.execute("CHECKPOINT")


def timed(url: str, work: Callable[[], None]) -> float:
    """Seconds of the work, on empty tables."""
    emptied(url)
    began = time.monotonic()
    work()
    return time.monotonic() - began


def copy(url: str, work: Path, connections: int = 1) -> None:
    """COPY of both files, one after the other or both at once."""
    command = [sys.executable, "-c", _COPY, url]
    groups = [[_TABLE, BODIES]] if connections == 1 else [[_TABLE], [BODIES]]
    running = [subprocess.Popen([*command, *(str(work / f"{table}.copy") for table in group)]) for group in groups]
    failed = [process.wait() for process in running]
    if any(failed):
        raise SystemExit("a COPY failed")


_COPY = """
import sys, pathlib, psycopg
for path in map(pathlib.Path, sys.argv[2:]):
    with psycopg.connect(sys.argv[1]) as connection, path.open("rb") as file:
        with connection.cursor().copy(f"COPY {path.stem} FROM STDIN") as data:
            while block := file.read(1 << 20):
                data.write(block)
"""


def pg_restore(url: str, work: Path, jobs: int = 1) -> float:
    """Seconds of pg_restore into a new database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS peer")
        connection.execute("CREATE DATABASE peer TEMPLATE template0")
        connection.execute("CHECKPOINT")
    began = time.monotonic()
    peer = url.rsplit("/", 1)[0] + "/peer"
    run([binaries() / "pg_restore", f"--jobs={jobs}", "-L", work / "list", "-d", peer, work / "dump"])
    seconds = time.monotonic() - began
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP DATABASE peer")
    return seconds


def run(argv: Sequence[object]) -> str:
    """A program of PostgreSQL's; what it printed."""
    return subprocess.run([str(part) for part in argv], check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
