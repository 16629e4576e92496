"""Snapshots to zstd Parquet beside DuckDB's postgres scanner and dlt, and the seconds of an empty and a small sync.

`python -m benchmarks.replication` prints one JSON line last. Our path is the one that `Snapshotter` takes, payload and
hash included, bodies left out; the peers copy the columns. Every run is a process of its own, the runs take turns, and
importing and connecting are not counted. `vs_*` is the peer's median over ours, `rss_mib` the peak of our process.
"""

import statistics
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psycopg

from benchmarks.scratch import (
    Measured,
    measured,
    peer_environment,
    print_result,
    say,
    scratch_folder,
    scratch_stack,
    server_cpu_seconds,
)
from content_orchestration.core.replication.snapshot_files import snapshot_files
from content_orchestration.core.replication.snapshot_stream import exported_snapshot
from content_orchestration.core.replication.tables import CONTENT_STORAGE
from content_orchestration.core.replication.window import Window
from content_orchestration.core.sql import statement
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.settings import Settings

ROWS = 1_000_000
ROUNDS = 3
TENANT = UUID("00000000-0000-4000-8000-0000000000aa")
TABLE = "content_storage_metadata"
_PEERS = Path(__file__).parent / "peers"
_DUCKDB = ("duckdb==1.5.5", "duckdb-extensions==1.5.5", "duckdb-extension-postgres-scanner==1.5.5")
_DLT = ("dlt[parquet]==1.31.0", "connectorx==0.4.6", "psycopg2-binary==2.9.13", "sqlalchemy<2.1", "pyarrow==26.0.1")


def main() -> None:
    """Everything in one run, in one scratch stack."""
    if sys.argv[1:2] == ["snapshot"]:
        _snapshot(sys.argv[2])
        return
    # The process of a snapshot does not hold Google's libraries.
    from benchmarks.replication_syncs import syncs

    with scratch_folder() as folder, scratch_stack(folder) as settings:
        _fill(settings.database_url)
        result = {"name": "replication", **_snapshots(settings.database_url, folder), **syncs(settings, TENANT)}
    print_result(result)


def _fill(url: str) -> None:
    say(f"filling {TABLE} with {ROWS:,} rows")
    with psycopg.connect(url) as connection:
        connection.execute(statement("benchmarks/no_triggers"))
        connection.execute(statement("benchmarks/fill_content"), {"tenant_id": TENANT, "rows": ROWS})
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement("benchmarks/analyze_content"))
        heap, printed = connection.execute(statement("benchmarks/shape_of_content")).fetchone() or (0, 0)
    print(f"{ROWS:,} rows of one tenant: {heap} B each on the heap, {printed} B as row_json; 14 of 17 columns filled")


# --- snapshots -------------------------------------------------------------------------------------------------------


def _snapshot(url: str) -> None:
    """In a process of its own: one snapshot into files that are dropped when they are done."""
    import adbc_driver_postgresql.dbapi  # noqa: F401  (imported on first use, which is not to be counted)

    window = Window(1, "", "0", "0", 0, None, None, [], datetime.now(UTC), attempts=1)
    with PostgresClient(url) as database:
        rows = size = 0
        with exported_snapshot(database) as snapshot:
            began = time.monotonic()
            written = snapshot_files(
                snapshot,
                CONTENT_STORAGE,
                str(TENANT),
                window,
                None,
                first_part=0,
                max_bytes=Settings.model_fields["sync_max_bytes"].default,
            )
            with closing(written) as files:
                for file in files:
                    with file.close() as content:
                        rows += file.rows
                        size += content.seek(0, 2)
            seconds = time.monotonic() - began
    print_result({"rows": rows, "seconds": seconds, "bytes": size})


def _snapshots(url: str, folder: Path) -> dict[str, float]:
    duckdb, dlt = peer_environment("duckdb", _DUCKDB), peer_environment("dlt", _DLT)
    # SQLAlchemy is told its driver; connectorx and DuckDB bring their own.
    dlt_url = url.replace("postgresql://", "postgresql+psycopg2://", 1)

    def by_dlt(target: str, backend: str, arguments: str) -> Measured:
        return measured([dlt, _PEERS / "dlt_table.py", dlt_url, TABLE, folder / target, backend, arguments])

    # Both of connectorx's ways count, the quicker one is compared: the whole table at once, and its stream.
    runs: dict[str, Callable[[int], Measured]] = {
        "ours": lambda number: measured([sys.executable, "-m", "benchmarks.replication", "snapshot", url]),
        "duckdb": lambda number: measured(
            [duckdb, _PEERS / "duckdb_scan.py", url, TABLE, folder / f"duckdb-{number}.parquet"]
        ),
        "dlt connectorx": lambda number: by_dlt(f"whole-{number}", "connectorx", "{}"),
        "dlt connectorx stream": lambda number: by_dlt(
            f"stream-{number}",
            "connectorx",
            '{"backend_kwargs": {"return_type": "arrow_stream"}, "chunk_size": 100000}',
        ),
        "dlt pyarrow": lambda number: by_dlt(f"pyarrow-{number}", "pyarrow", '{"chunk_size": 100000}'),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    rss: list[float] = []
    for number in range(ROUNDS):
        for name, run in runs.items():
            before = server_cpu_seconds(url)
            result = run(number)
            answer = result.last_line
            if answer["rows"] != ROWS:
                raise RuntimeError(f"{name} wrote {answer['rows']} rows of {ROWS}")
            seconds[name].append(answer["seconds"])
            if name == "ours":
                rss.append(result.peak_rss_mib)
            server = server_cpu_seconds(url) - before
            print(
                f"{name}: {answer['seconds']:.2f} s, {ROWS / answer['seconds']:,.0f} rows/s; "
                f"{result.peak_rss_mib:.0f} MiB; "
                f"CPU {result.cpu_seconds:.1f} s with start-up and {server:.1f} s in PostgreSQL",
                flush=True,
            )
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ours = medians["ours"]
    return {
        "rows_per_s": round(ROWS / ours),
        "rss_mib": round(statistics.median(rss)),
        "vs_duckdb": round(medians["duckdb"] / ours, 2),
        "vs_dlt_connectorx": round(min(medians["dlt connectorx"], medians["dlt connectorx stream"]) / ours, 2),
        "vs_dlt_pyarrow": round(medians["dlt pyarrow"] / ours, 2),
    }


if __name__ == "__main__":
    main()
