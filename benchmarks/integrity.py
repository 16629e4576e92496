"""The comparison of PostgreSQL with BigQuery: `python -m benchmarks.integrity [rows]`.

1,000,000 rows of content_storage_metadata, 100 different. reladiff compares two tables of PostgreSQL, all columns;
ours compares the one with the history that replication would have made of the other. That history is in PostgreSQL too,
so that no server is faster than the other's. Then ours against the emulator, with fewer rows: loading costs it most.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import psycopg
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from psycopg.rows import dict_row

from benchmarks.scratch import (
    measured,
    peak_rss_mib,
    peer_environment,
    print_result,
    say,
    scratch_folder,
    scratch_stack,
)
from content_orchestration.core.integrity.findings import Comparison
from content_orchestration.core.integrity.warehouse_rows import compare_rows
from content_orchestration.core.replication.payload import ParquetFile
from content_orchestration.core.replication.tables import CONTENT_STORAGE
from content_orchestration.core.replication.window import WindowLog
from content_orchestration.core.schema.warehouse import ensure_warehouse
from content_orchestration.core.warehouse import Warehouse
from content_orchestration.resources.bigquery_client import BigQueryClient
from content_orchestration.resources.postgres_client import PostgresClient

DIFFERENCES = 100
EMULATED_ROWS = 200_000
RELADIFF = ("reladiff==0.6.0", "psycopg2-binary==2.9.13")
# One thread is its default; its documentation has more threads as the way to more speed. The best of these counts.
THREADS = (1, 4)
REPEATS = 3
MAX_BYTES = 1024**4

_GENERATE = """
INSERT INTO content_storage_metadata (id, tenant_id, brand_id, campaign_space_id, user_id, title, content_type, status,
    zerodb_row_id, body_sha256, storage_size_bytes, version, source, metadata, created_at, updated_at)
SELECT id, md5('tenant ' || i % 50)::uuid, md5('brand ' || i % 200)::uuid, md5('space ' || i % 1000)::uuid,
    md5('user ' || i % 5000)::uuid, 'Title number ' || i || ' about ' || md5(i::text),
    (ARRAY['article', 'post', 'email', 'image'])[1 + i % 4], (ARRAY['draft', 'published'])[1 + i % 2], id || '.v1',
    encode(sha256(i::text::bytea), 'hex'), i % 10000, 1, 'campaign_assets:' || id,
    jsonb_build_object('campaign', 'spring', 'tags', jsonb_build_array('a', 'b', 'c'), 'note', md5((i * 7)::text)),
    timestamptz '2026-01-01' + i * interval '1.37 s', timestamptz '2026-02-01' + i * interval '2.11 s'
FROM (SELECT i, md5('id ' || i)::uuid AS id FROM generate_series(1, {rows}) i) AS rows
"""
_COPY = "CREATE TABLE copied (LIKE content_storage_metadata INCLUDING ALL)"
_FILL = "INSERT INTO copied SELECT * FROM content_storage_metadata"
_DIFFER = """
UPDATE copied SET title = title || ' ' WHERE id IN (SELECT id FROM copied ORDER BY md5('chosen ' || id) LIMIT {number})
RETURNING id::text AS id
"""
_HISTORY = """
CREATE TABLE content_storage_dr AS
SELECT c.id::text AS entity_id, c.tenant_id::text AS tenant_id, 'upsert' AS op, 1::bigint AS sync_id, 0 AS sync_part,
    encode(sha256(convert_to(row_to_json(c)::text, 'UTF8')), 'hex') AS row_sha256
FROM {table} c
"""
# The statements of sql/bigquery in PostgreSQL's words. The history holds each id once, as the copied table does.
_BUCKETS = """
SELECT bucket, count(*) AS present, 0 AS surplus,
    sum(substr(digest, 1, 4)::bigint)::bigint AS first, sum(substr(digest, 5, 4)::bigint)::bigint AS second,
    sum(substr(digest, 9, 4)::bigint)::bigint AS third, sum(substr(digest, 13, 4)::bigint)::bigint AS fourth
FROM (
    SELECT right(entity_id, %(digits)s) AS bucket,
        decode(md5(entity_id || '|' || tenant_id || '|' || row_sha256), 'hex') AS digest
    FROM content_storage_dr
    WHERE %(buckets)s::text[] = '{}' OR right(entity_id, %(opened)s) = ANY (%(buckets)s::text[])
    OFFSET 0
) d GROUP BY bucket
"""
_ROWS = """
SELECT entity_id, tenant_id, op, sync_id, row_sha256, 1 AS copies FROM content_storage_dr
WHERE right(entity_id, %(opened)s) = ANY (%(buckets)s::text[])
"""


class HistoryInPostgres:
    """The history of content_storage in PostgreSQL, as `compare_rows` asks for it."""

    def __init__(self, url: str) -> None:
        self._url = url

    def qualified(self, table: str) -> str:
        """The table's name."""
        return table

    def row_count(self, table: str) -> int:
        """Rows by the planner's estimate, as BigQuery's metadata is free of a query too."""
        with psycopg.connect(self._url) as connection:
            row = connection.execute("SELECT reltuples FROM pg_class WHERE relname = %s", (table,)).fetchone()
        return int(row[0]) if row else 0

    def estimate(self, sql: str, parameters: Mapping[str, Any] | None = None) -> int:
        """Nothing is billed here."""
        return 0

    def query(
        self, sql: str, parameters: Mapping[str, Any] | None = None, *, maximum_bytes_billed: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """The rows of the statement."""
        with psycopg.connect(self._url, row_factory=dict_row) as connection:
            connection.execute("SET LOCAL parallel_tuple_cost = 0; SET LOCAL parallel_setup_cost = 0")
            yield from connection.execute(_BUCKETS if "GROUP BY" in sql else _ROWS, parameters)


def _fill(url: str, rows: int) -> None:
    """Rows that no trigger logs, and a cursor: everything counts as replicated."""
    with psycopg.connect(url) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(_GENERATE.format(rows=rows))
    with PostgresClient(url) as database:
        WindowLog(database).start()
    _history(url, "content_storage_metadata")


def _history(url: str, table: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS content_storage_dr")
        connection.execute("SET timezone = 'UTC'")
        connection.execute(_HISTORY.format(table=table))
        connection.execute("VACUUM ANALYZE content_storage_dr")
        connection.execute("VACUUM ANALYZE content_storage_metadata")


def _differ(url: str) -> set[str]:
    """A copy of the table with differences, and the history that belongs to it."""
    with psycopg.connect(url) as connection:
        connection.execute(_COPY)
        connection.execute(_FILL)
        rows = connection.execute(_DIFFER.format(number=DIFFERENCES)).fetchall()
    _history(url, "copied")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE copied")
    return {row[0] for row in rows}


# --- ours ------------------------------------------------------------------------------------------------------------


def _compare(url: str, warehouse: Any) -> Comparison:
    with PostgresClient(url) as database:
        return compare_rows(database, cast(Warehouse, warehouse), CONTENT_STORAGE, max_bytes=MAX_BYTES)


def _child(url: str) -> None:
    """One comparison in a process of its own, so that its memory is its own."""
    started = time.monotonic()
    comparison = _compare(url, HistoryInPostgres(url))
    seconds = time.monotonic() - started
    found = [difference.entity_id for difference in comparison.differences]
    print_result({"seconds": seconds, "compared": comparison.compared, "found": found, "rss_mib": peak_rss_mib()})


def _ours(url: str) -> dict[str, Any]:
    result: dict[str, Any] = measured([sys.executable, "-m", "benchmarks.integrity", "--child", url]).last_line
    return result


def _clean(url: str) -> float:
    """Seconds of a check that finds nothing, the best of a few."""
    results = [_ours(url) for _ in range(REPEATS)]
    if any(result["found"] for result in results):
        raise SystemExit(f"false alarms in a clean check: {results[0]['found'][:5]}")
    return min(float(result["seconds"]) for result in results)


# --- reladiff --------------------------------------------------------------------------------------------------------


def _reladiff(python: Path, url: str, threads: int) -> tuple[float, int]:
    """Seconds, and ids that it found."""
    with psycopg.connect(url) as connection:
        columns = connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'copied' AND column_name <> 'id'"
        ).fetchall()
    argv = [str(python.with_name("reladiff")), url, "content_storage_metadata", url, "copied", "-k", "id"]
    argv += [part for (name,) in columns for part in ("-c", name)]
    argv += ["--algorithm", "hashdiff", "--threads", str(threads), "--json"]
    started = time.monotonic()
    # Its output is wrapped to the terminal's width, in the middle of JSON.
    done = subprocess.run(
        argv, check=True, capture_output=True, text=True, env={"COLUMNS": "100000", "PATH": "/usr/bin"}
    )
    seconds = time.monotonic() - started
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return seconds, len({line[1][0] for line in lines})


# --- the emulator ----------------------------------------------------------------------------------------------------


def _emulator(url: str, endpoint: str, project: str) -> None:
    nobody = AnonymousCredentials()  # type: ignore[no-untyped-call]
    google = bigquery.Client(project=project, credentials=nobody, client_options={"api_endpoint": endpoint})
    warehouse = BigQueryClient(google, "content_dr")
    ensure_warehouse(warehouse)
    started = time.monotonic()
    with psycopg.connect(url, row_factory=dict_row) as connection, connection.cursor(name="rows") as cursor:
        cursor.execute(
            "SELECT 'upsert' AS op, id::text AS entity_id, tenant_id::text AS tenant_id, id::text AS content_id, "
            "1::bigint AS sync_id, 0 AS sync_part, clock_timestamp() AS synced_at, row_to_json(c)::text AS row_json, "
            "encode(sha256(convert_to(row_to_json(c)::text, 'UTF8')), 'hex') AS row_sha256 FROM copied c"
        )
        number = 0
        while rows := cursor.fetchmany(20_000):
            file = ParquetFile(CONTENT_STORAGE.table)
            file.add(rows, 0)
            warehouse.load_parquet(CONTENT_STORAGE.table.name, file.close(), f"benchmark-{number}")
            number += 1
    say(f"loaded into the emulator in {time.monotonic() - started:.1f} s")
    started = time.monotonic()
    comparison = _compare(url, warehouse)
    seconds = time.monotonic() - started
    warehouse.close()
    print_result(
        {
            "name": "integrity_emulator", "rows": comparison.compared, "seconds": round(seconds, 2),
            "rows_per_s": round(comparison.compared / seconds), "found": len(comparison.differences),
        }
    )  # fmt: skip


def _another_database(url: str, name: str) -> str:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {url.rpartition('/')[2]}")
    return f"{url.rpartition('/')[0]}/{name}"


def main(rows: int) -> None:
    """Generate, compare, print."""
    python = peer_environment("reladiff", RELADIFF)
    with scratch_folder() as folder, scratch_stack(folder) as settings:
        url = settings.database_url
        small, emulated = (_another_database(url, name) for name in ("small", "emulated"))
        say(f"generating {rows:,} rows")
        _fill(small, rows // 10)
        _fill(url, rows)
        few, many = _clean(small), _clean(url)
        growth = many / few
        say(f"clean check: {rows // 10:,} rows {few:.2f} s, {rows:,} rows {many:.2f} s, {growth:.1f} times")
        planted = _differ(url)
        # In turns, so that whatever else the machine does meets both.
        ours: list[dict[str, Any]] = []
        theirs: dict[int, float] = {}
        for threads in THREADS:
            ours.append(_ours(url))
            theirs[threads], their_ids = _reladiff(python, url, threads)
            say(f"ours {ours[-1]['seconds']:.2f} s; reladiff ({threads}) {theirs[threads]:.2f} s, {their_ids} ids")
        ours.append(_ours(url))
        best = min(float(result["seconds"]) for result in ours)
        found = [set(result["found"]) for result in ours]
        _fill(emulated, EMULATED_ROWS)
        _differ(emulated)
        _emulator(emulated, str(settings.bigquery_url), settings.bigquery_project)
    print_result(
        {
            "name": "integrity",
            "rows_per_s": round(rows / best),
            "vs_reladiff": round(min(theirs.values()) / best, 2),
            "found": min(len(ids & planted) for ids in found),
            "false": max(len(ids - planted) for ids in found),
            "rss_mib": round(max(float(result["rss_mib"]) for result in ours)),
            "seconds": round(best, 2),
            "reladiff_seconds": {str(threads): round(seconds, 2) for threads, seconds in theirs.items()},
            "clean_seconds": {str(rows // 10): round(few, 2), str(rows): round(many, 2)},
            "clean_growth": round(growth, 2),
        }
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _child(sys.argv[2])
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 1_000_000)
