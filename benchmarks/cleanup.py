"""How long it takes to find 1,000 orphans among 10^5 and 10^6 renders, and how fast they are deleted.

The scan is a whole one behind the first, as its schedule runs it: guards, references, the rolling comparison. Beside it
runs the plain LEFT JOIN over the JSON key on the same rows. Deletes are those of a pass over rows and local files.
"""

import shutil
import statistics
import time
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

from benchmarks.scratch import print_result, say, scratch_folder, scratch_postgres
from content_orchestration.core.cleanup import orphans
from content_orchestration.core.cleanup.addresses import RenderPlaces
from content_orchestration.core.cleanup.model import OrphanRules
from content_orchestration.core.sql import statement
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.render_store import RenderBuckets

ORPHANS = 1_000
_SIZES = (100_000, 1_000_000)
_SCANS = 7
_JOINS = 3
_TRIGGERS = ("ALTER TABLE render_jobs {} TRIGGER USER", "ALTER TABLE user_assets {} TRIGGER USER")


def fill(database: PostgresClient, user: UUID, first: int, last: int) -> None:
    """Renders `first` to `last`, all saved but 1,000, without the triggers: the first scan has to find them."""
    with database.connection() as connection:
        for text in _TRIGGERS:
            connection.execute(text.format("DISABLE"))
        connection.execute("TRUNCATE user_assets")
        values = {"user_id": user, "first": first, "last": last, "unsaved": ORPHANS}
        connection.execute(statement("benchmarks/cleanup_renders"), values)
        connection.execute(statement("benchmarks/cleanup_saves"), values)
        for text in _TRIGGERS:
            connection.execute(text.format("ENABLE"))
        connection.execute("TRUNCATE render_candidates")
        connection.execute("DELETE FROM cleanup_memory WHERE name IN ('seed', 'rolling')")
    with database.connection() as connection:
        connection.execute("ANALYZE render_jobs, user_assets")


def write_files(database: PostgresClient, folder: Path) -> None:
    """The files of the orphans; a saved one's is never looked at."""
    (folder / "renders" / "t").mkdir(parents=True, exist_ok=True)
    with database.connection() as connection:
        rows = connection.execute(
            "SELECT r.output_url FROM render_candidates c JOIN render_jobs r ON r.id = c.job_id"
        ).fetchall()
    for row in rows:
        (folder / row["output_url"]).write_bytes(b"x" * 1_000)


def scan_seconds(context: orphans.OrphanContext) -> float:
    """One scan behind the first. Raises where it does not find all 1,000."""
    began = time.perf_counter()
    found = orphans.scan(context, run_id="benchmark", dry_run=False)
    seconds = time.perf_counter() - began
    if found.candidates != ORPHANS:
        raise RuntimeError(f"{found.candidates} orphans were found, not {ORPHANS}")
    return seconds


def join_seconds(database: PostgresClient) -> float:
    """The plain LEFT JOIN."""
    with database.connection() as connection:
        began = time.perf_counter()
        found = connection.execute(statement("benchmarks/cleanup_left_join")).fetchall()
        seconds = time.perf_counter() - began
    if len(found) != ORPHANS:
        raise RuntimeError(f"the join found {len(found)}, not {ORPHANS}")
    return seconds


def main() -> None:
    """Run everything and print the result."""
    with scratch_folder() as folder, scratch_postgres(folder) as url, PostgresClient(url) as database:
        tenant, user = uuid4(), uuid4()
        with database.connection() as connection:
            connection.execute("INSERT INTO tenants (id, name, slug) VALUES (%s, 'Bench', 'bench')", [tenant])
            connection.execute("INSERT INTO users (id, tenant_id) VALUES (%s, %s)", [user, tenant])
        files = folder / "files"
        context = orphans.OrphanContext(
            database,
            RenderBuckets(files.as_uri()),
            RenderPlaces(("renders",)),
            OrphanRules(timedelta(minutes=60), timedelta(0)),
        )
        scans: list[float] = []
        there = 0
        for size in _SIZES:
            fill(database, user, there + 1, size)
            there = size
            first = scan_seconds(context)
            # The next size adds renders, so that of these 1,000 the later ones are saved.
            scans.append(statistics.median(scan_seconds(context) for _ in range(_SCANS)))
            say(f"{size:,} renders: first scan {first:.2f} s, each later one {scans[-1]:.3f} s")
        join = statistics.median(join_seconds(database) for _ in range(_JOINS))
        say(f"the plain LEFT JOIN over {_SIZES[-1]:,} renders takes {join:.2f} s")
        write_files(database, files)
        moved = orphans.quarantine(context, run_id="benchmark", dry_run=False)
        gone = orphans.delete(context, run_id="benchmark", dry_run=False)
        if (moved.quarantined, gone.deleted) != (ORPHANS, ORPHANS):
            raise RuntimeError(f"{moved.quarantined} were moved and {gone.deleted} deleted, not {ORPHANS}")
        say(f"{ORPHANS / moved.seconds:.0f} orphans/s into quarantine, {ORPHANS / gone.seconds:.0f} deleted a second")
        shutil.rmtree(files)
    print_result(
        {
            "name": "cleanup",
            "scan_s_100k": round(scans[0], 3),
            "scan_s_1m": round(scans[1], 3),
            "deletes_per_s": round(ORPHANS / gone.seconds),
            "vs_left_join_scan": round(join / scans[1], 1),
        }
    )


if __name__ == "__main__":
    main()
