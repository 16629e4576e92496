"""The migration under concurrent runs, SIGKILL at every step, faults of ZeroDB, and twice in a row. Real servers.

What each dirty row becomes is in `test_migration_dirty.py`.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import httpx
import psycopg
import pytest

from content_orchestration.core.documents import DocumentConflict, PutReport
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.failpoints import VARIABLE
from content_orchestration.core.identity import content_id, document_id, sha256_hex
from content_orchestration.core.migration.engine import migrate
from content_orchestration.core.migration.legacy import CAMPAIGN_ASSETS, CONTENT_ITEMS
from content_orchestration.core.migration.report import MigrationReport
from content_orchestration.core.replication.tables import TABLES as WAREHOUSE_TABLES
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration.settings import PROJECT_ROOT
from content_orchestration_tests.dirty_row import DIRTY_TENANTS, asset, insert_dirty_rows, item
from content_orchestration_tests.tier_state import document_counts, ids_in_postgres, postgres_state
from content_orchestration_tests.tiers import Tiers

STRANGER = uuid5(NAMESPACE_URL, "faults/tenant")
BATCH = 8
ROWS = 35
"""Content items of `load`: four whole batches and a part of one. Every tenth has no known tenant."""
GOOD = 32

RUN = """
import json
from content_orchestration.core.migration.engine import migrate
from content_orchestration.core.migration.legacy import CONTENT_ITEMS
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration.settings import get_settings

settings = get_settings()
with (
    PostgresClient(settings.database_url) as database,
    ZeroDBClient(settings.zerodb_url, settings.zerodb_project_id, settings.zerodb_key) as store,
):
    report = migrate(CONTENT_ITEMS, database, store, batch_size=8, dry_run=False)
print(json.dumps(report.as_metadata()))
"""


def _load(tiers: Tiers, count: int = ROWS) -> list[UUID]:
    """Insert content items with two files each, and as many campaign assets; returns the items' ids in their order."""
    rows = []
    for number in range(count):
        media = [{"url": f"https://files.example/{number}/{file}.jpg", "size_bytes": file} for file in range(2)]
        tenant = STRANGER if number % 10 == 9 else DIRTY_TENANTS[0]
        rows.append(
            item(
                f"fault_{number}",
                id=UUID(int=number + 1),
                tenant_id=tenant,
                content_body=f"Body {number}" * 50,
                content_metadata=json.dumps({"media": media}),
            )
        )
        rows.append(asset(f"fault_{number}", file_url=f"https://files.example/asset/{number}"))
    with tiers.database.connection() as connection:
        insert_dirty_rows(connection, rows)
    return [row.values["id"] for row in rows if row.table == "content_items"]


def _good(count: int) -> int:
    return count - count // 10


def _migrate(tiers: Tiers, store: Any = None, **options: Any) -> MigrationReport:
    given = {"batch_size": BATCH, "dry_run": False} | options
    return migrate(CONTENT_ITEMS, tiers.database, store or tiers.store, **given)


def _start(tiers: Tiers, failpoint: str | None = None) -> "subprocess.Popen[str]":
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE} | tiers.environment()
    if failpoint is not None:
        environment[VARIABLE] = failpoint
    return subprocess.Popen(
        [sys.executable, "-c", RUN], cwd=PROJECT_ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )


def _killed(tiers: Tiers, failpoint: str) -> None:
    process = _start(tiers, failpoint)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (-signal.SIGKILL, "")


def _execute(tiers: Tiers, query: str, *values: Any, **named: Any) -> list[dict[str, Any]]:
    with tiers.database.connection() as connection:
        cursor = connection.execute(query, named or values)
        return cursor.fetchall() if cursor.description else []


def _assert_complete(tiers: Tiers, count: int = ROWS, *, assets: int = 0) -> None:
    """Every good row of `_load` once in each tier, every other one in quarantine, and nothing besides."""
    sources = Counter(row["source"] for row in _execute(tiers, "SELECT source FROM content_storage_metadata"))
    named = Counter(source.partition(":")[0] for source in sources)
    assert named == Counter(content_items=_good(count), campaign_assets=assets)
    assert set(sources.values()) == {1}
    (quarantined,) = _execute(tiers, "SELECT count(*) AS n FROM migration_quarantine WHERE resolved_at IS NULL")
    assert quarantined["n"] == count // 10
    found = document_counts(tiers)
    assert found == ids_in_postgres(tiers)
    items = _good(count) + assets
    totals = {"content_items": items, "content_versions": items, "content_media_files": _good(count) * 2 + assets}
    assert {name: sum(ids.values()) for name, ids in found.items()} == totals == tiers.store.collections()
    assert all(set(ids.values()) == {1} for ids in found.values())
    hashes = {
        row["zerodb_row_id"]: row["body_sha256"]
        for row in _execute(tiers, "SELECT zerodb_row_id, body_sha256 FROM content_storage_metadata")
    }
    bodies = {document["id"]: sha256_hex(document["body"]) for document in tiers.store.scan("content_items")}
    assert bodies == hashes


class Watched:
    """The real store, counting what was put again and doing something before or after each put."""

    def __init__(self, store: ZeroDBClient, before: Any = None, after: Any = None) -> None:
        self._store = store
        self._before, self._after = before, after
        self.put = Counter[str]()
        self.existing = Counter[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put_many(self, collection: str, documents: Iterable[dict[str, Any]]) -> PutReport:
        if self._before is not None:
            self._before(collection)
        report = self._store.put_many(collection, documents)
        self.put[collection] += report.inserted
        self.existing[collection] += report.existing
        if self._after is not None:
            self._after(collection)
        return report


class Untouchable:
    """A store that fails the test with whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the store was asked for {name}")


@pytest.fixture
def zerodb(tiers: Tiers) -> Iterator[httpx.Client]:
    """The control endpoints of the server, without faults afterwards."""
    with httpx.Client(
        base_url=f"http://127.0.0.1:{tiers.settings.local_zerodb_port}",
        headers={"X-API-Key": tiers.settings.zerodb_key},
    ) as control:
        yield control
        control.delete("/_control/faults").raise_for_status()


def _fault(zerodb: httpx.Client, tiers: Tiers, kind: str, **more: Any) -> None:
    order = {"kind": kind, "path_part": f"/projects/{tiers.zerodb_project}/", **more}
    zerodb.post("/_control/faults", json=order).raise_for_status()


def _impatient(tiers: Tiers, **changes: Any) -> ZeroDBClient:
    values: dict[str, Any] = {"wait_initial": 0.01, "wait_max": 0.02, "attempts": 60, "concurrency": 4} | changes
    url = values.pop("url", tiers.settings.zerodb_url)
    return ZeroDBClient(url, tiers.zerodb_project, tiers.settings.zerodb_key, **values)


_IN_LINE = (
    "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@pytest.mark.parametrize("runs", [4, 8])
def test_concurrent_runs_migrate_every_row_once(tiers: Tiers, runs: int) -> None:
    count = 120
    _load(tiers, count)
    first, in_line = threading.Lock(), list[int]()

    def wait_for_the_others(_: str) -> None:
        """The first run into its first batch waits there until every other one stands in line."""
        if first.acquire(blocking=False):
            deadline = time.monotonic() + 10
            while (waiting := _execute(tiers, _IN_LINE)[0]["n"]) < runs - 1 and time.monotonic() < deadline:
                time.sleep(0.005)
            in_line.append(waiting)

    def run(_: int) -> list[MigrationReport]:
        with PostgresClient(tiers.database_url) as database, _impatient(tiers, concurrency=2) as client:
            store: Any = Watched(client, before=wait_for_the_others)
            return [
                migrate(table, database, store, batch_size=BATCH, dry_run=False)
                for table in (CONTENT_ITEMS, CAMPAIGN_ASSETS)
            ]

    with ThreadPoolExecutor(runs) as pool:
        reports = [report for pair in pool.map(run, range(runs)) for report in pair]
    assert sum(report.migrated for report in reports) == _good(count) + count
    assert all(report.read == count and report.adds_up for report in reports)
    _assert_complete(tiers, count, assets=count)
    assert in_line == [runs - 1], "the runs must have met for this test to mean something"


def test_processes_at_once_migrate_every_row_once(tiers: Tiers) -> None:
    _load(tiers)
    processes = [_start(tiers) for _ in range(3)]
    reports = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(report["migrated"] for report in reports) == GOOD
    assert all(report["read"] == ROWS and report["adds_up"] for report in reports)
    _assert_complete(tiers)


@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize("point", ["documents_put", "rows_inserted", "batch_committed"])
def test_a_kill_loses_nothing_and_repeats_at_most_one_batch(tiers: Tiers, point: str, number: int) -> None:
    _load(tiers)
    _killed(tiers, f"{point}:{number}")
    read = min(ROWS, BATCH * (number if point == "batch_committed" else number - 1))
    (rows,) = _execute(
        tiers,
        "SELECT (SELECT count(*) FROM content_storage_metadata) AS items,"
        " (SELECT count(*) FROM content_versions) AS versions, (SELECT count(*) FROM media_assets) AS files,"
        " (SELECT count(*) FROM content_items WHERE migrated_at IS NOT NULL) AS marked,"
        " (SELECT count(*) FROM migration_quarantine) AS quarantined",
    )
    kept = _good(read)
    assert rows == {
        "items": kept,
        "versions": kept,
        "files": kept * 2,
        "marked": kept,
        "quarantined": read // 10,
    }
    stored = _good(min(ROWS, BATCH * number))
    assert tiers.store.collections()["content_items"] == stored

    store = Watched(tiers.store)
    report = _migrate(tiers, store)
    assert (report.migrated, report.already_there, report.quarantined) == (GOOD - kept, kept, ROWS - GOOD)
    assert report.adds_up
    assert report.documents_replaced == 0
    repeated = stored - kept
    assert repeated <= BATCH
    assert store.existing == Counter(
        content_items=repeated, content_versions=repeated, content_media_files=repeated * 2
    )
    assert store.put["content_items"] == GOOD - stored
    _assert_complete(tiers)


def test_kill_after_kill_still_ends_complete(tiers: Tiers) -> None:
    """The last kill is in the second batch again: its row without a tenant is looked at by every run."""
    _load(tiers)
    for point in ("documents_put:2", "rows_inserted:1", "batch_committed:2", "documents_put"):
        _killed(tiers, point)
    assert _migrate(tiers).already_there == _good(BATCH * 2)
    _assert_complete(tiers)


def test_a_killed_run_does_not_hold_up_another(tiers: Tiers) -> None:
    _load(tiers)
    doomed = _start(tiers, "rows_inserted:2")
    report = _migrate(tiers)
    doomed.communicate(timeout=60)
    third = _migrate(tiers)
    assert report.adds_up
    assert third.migrated == 0
    _assert_complete(tiers)


def test_rows_edited_after_a_kill_win_over_what_the_killed_run_stored(tiers: Tiers) -> None:
    ids = _load(tiers)
    _killed(tiers, "documents_put")
    _execute(tiers, "UPDATE content_items SET content_body = 'Edited since' WHERE id = %s", ids[0])
    _execute(tiers, "UPDATE content_items SET title = 'Another title' WHERE id = %s", ids[1])
    _execute(tiers, "UPDATE content_items SET tenant_id = %s WHERE id = %s", DIRTY_TENANTS[1], ids[2])
    media = json.dumps({"media": [{"url": "https://files.example/edited"}, {"url": "https://files.example/3/1.jpg"}]})
    _execute(tiers, "UPDATE content_items SET content_metadata = %s WHERE id = %s", media, ids[3])
    report = _migrate(tiers)
    # The body and its version; a title; a body, a version and two files of another tenant; two files.
    assert (report.migrated, report.documents_replaced) == (GOOD, 2 + 1 + 4 + 2)
    _assert_complete(tiers)
    contents = [content_id(f"content_items:{key}") for key in ids[:4]]
    documents = tiers.store.get_many("content_items", [document_id(key, 1) for key in contents])
    edited, titled, moved, _ = (documents[document_id(key, 1)] for key in contents)
    assert (edited["body"], edited["body_sha256"]) == ("Edited since", sha256_hex("Edited since"))
    assert titled["title"] == "Another title"
    assert moved["tenant_id"] == str(DIRTY_TENANTS[1])
    files = {document["id"]: document for document in tiers.store.scan("content_media_files")}
    for row in _execute(tiers, "SELECT id, tenant_id, url, size_bytes FROM media_assets"):
        document = files[str(row["id"])]
        assert (document["url"], document["tenant_id"], document["size_bytes"]) == (
            row["url"],
            str(row["tenant_id"]),
            row["size_bytes"],
        )
    versions = {document["id"]: document["body_sha256"] for document in tiers.store.scan("content_versions")}
    assert versions[document_id(contents[0], 1)] == sha256_hex("Edited since")


@pytest.mark.parametrize("claimant", ["content_storage_metadata", "content_versions", "media_assets"])
def test_a_document_that_a_row_names_is_never_replaced(tiers: Tiers, claimant: str) -> None:
    ids = _load(tiers)
    content = content_id(f"content_items:{ids[0]}")
    file = content_id(f"content_items:{ids[0]}:media:0")
    collection = "content_media_files" if claimant == "media_assets" else "content_items"
    key = str(file) if claimant == "media_assets" else document_id(content, 1)
    claimed = {"id": key, "tenant_id": str(DIRTY_TENANTS[0]), "url": "x", "body": "kept"}
    claimed |= {} if claimant == "media_assets" else {"body_sha256": sha256_hex("kept")}
    tiers.store.put_many(collection, [claimed])
    _execute(tiers, _CLAIMS[claimant], key=key, tenant=DIRTY_TENANTS[0], hash=sha256_hex("kept"))
    before = postgres_state(tiers)
    with pytest.raises(DocumentConflict, match=key) as refused:
        _migrate(tiers)
    assert isinstance(refused.value, Permanent)
    assert postgres_state(tiers) == before
    assert tiers.store.get_many(collection, [key]) == {key: claimed}


_CLAIMS = {
    "content_storage_metadata": "INSERT INTO content_storage_metadata (tenant_id, title, content_type, status,"
    " zerodb_row_id, body_sha256, storage_size_bytes) VALUES (%(tenant)s, 't', 'post', 'draft', %(key)s, %(hash)s, 4)",
    "content_versions": "INSERT INTO content_versions (id, content_id, tenant_id, version, zerodb_row_id, body_sha256,"
    " storage_size_bytes, changed_by, change_reason)"
    " VALUES (gen_random_uuid(), gen_random_uuid(), %(tenant)s, 1, %(key)s, %(hash)s, 4, 'me', 'test')",
    "media_assets": "INSERT INTO media_assets (id, tenant_id, kind, url, zerodb_row_id)"
    " VALUES (%(key)s::uuid, %(tenant)s, 'image', 'x', %(key)s)",
}


@pytest.mark.parametrize("kind", ["rate_limit", "error", "error_after", "cut_before", "cut_after"])
def test_faults_of_zerodb_neither_lose_nor_double(tiers: Tiers, zerodb: httpx.Client, kind: str) -> None:
    _load(tiers)
    _fault(zerodb, tiers, kind, count=12, retry_after=0, status=503)
    with _impatient(tiers) as store:
        report = _migrate(tiers, store)
    assert zerodb.get("/_control/faults").json()["faults"][0]["fired"] == 12
    assert (report.migrated, report.quarantined, report.documents_replaced) == (GOOD, ROWS - GOOD, 0)
    _assert_complete(tiers)


@pytest.mark.parametrize("seed", range(2))
def test_faults_of_every_kind_while_several_run(tiers: Tiers, zerodb: httpx.Client, seed: int) -> None:
    count = 60
    _load(tiers, count)
    for number, kind in enumerate(("rate_limit", "error", "error_after", "cut_before", "cut_after")):
        _fault(zerodb, tiers, kind, probability=0.06, seed=seed * 10 + number, retry_after=0)
    with ThreadPoolExecutor(4) as pool, _impatient(tiers) as store:
        reports = list(pool.map(lambda _: _migrate(tiers, store), range(4)))
    zerodb.delete("/_control/faults").raise_for_status()
    assert sum(report.migrated for report in reports) == _good(count)
    _assert_complete(tiers, count)


@pytest.mark.parametrize("collection", ["content_items", "content_versions", "content_media_files"])
def test_zerodb_failing_midway_leaves_whole_batches_only(tiers: Tiers, zerodb: httpx.Client, collection: str) -> None:
    _load(tiers)
    part = f"/projects/{tiers.zerodb_project}/database/tables/{collection}/rows"

    def break_after_two(report: MigrationReport) -> None:
        if report.batches == 2:
            _fault(zerodb, tiers, "error", path_part=part, count=1000, status=503)

    with _impatient(tiers, attempts=2) as store, pytest.raises(Transient):
        _migrate(tiers, store, on_batch=break_after_two)
    kept = _good(BATCH * 2)
    rows = postgres_state(tiers, "content_storage_metadata", "content_versions", "media_assets", "migration_quarantine")
    assert [len(found) for found in rows.values()] == [kept, kept, kept * 2, BATCH * 2 // 10]
    zerodb.delete("/_control/faults").raise_for_status()
    report = _migrate(tiers)
    assert (report.migrated, report.already_there) == (GOOD - kept, kept)
    _assert_complete(tiers)


def test_zerodb_that_is_gone_is_transient_and_changes_nothing(tiers: Tiers, unused_port: int) -> None:
    _load(tiers)
    before = postgres_state(tiers)
    with (
        _impatient(tiers, attempts=2, url=f"http://127.0.0.1:{unused_port}/api/v1") as store,
        pytest.raises(Transient),
    ):
        _migrate(tiers, store)
    assert postgres_state(tiers) == before
    assert _migrate(tiers).migrated == GOOD
    _assert_complete(tiers)


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that is bound and not listened on, so that nobody else takes it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_postgresql_going_away_midway_is_completed_by_the_next_run(tiers: Tiers) -> None:
    """The transaction dies between documents and rows, as with a restart of the server."""
    _load(tiers)
    puts: list[str] = []

    def end_the_third(collection: str) -> None:
        puts.append(collection)
        if puts.count("content_media_files") == 3:
            with psycopg.connect(tiers.database_url) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

    with pytest.raises(Transient, match="PostgreSQL"):
        _migrate(tiers, Watched(tiers.store, after=end_the_third))
    kept = _good(BATCH * 2)
    assert len(_execute(tiers, "SELECT id FROM content_storage_metadata")) == kept
    store = Watched(tiers.store)
    assert _migrate(tiers, store).already_there == kept
    assert store.existing["content_items"] == _good(BATCH * 3) - kept
    _assert_complete(tiers)


def _warehouse_counts(tiers: Tiers) -> dict[str, int]:
    return {spec.name: tiers.warehouse.row_count(spec.name) for spec in WAREHOUSE_TABLES}


def test_a_dry_run_reports_the_same_and_writes_nothing(tiers: Tiers) -> None:
    _load(tiers)
    before, documents, copies = postgres_state(tiers), document_counts(tiers), _warehouse_counts(tiers)
    dry = _migrate(tiers, Untouchable(), dry_run=True)
    assert postgres_state(tiers) == before
    assert document_counts(tiers) == documents
    assert _warehouse_counts(tiers) == copies
    real = _migrate(tiers)
    told, found = dry.as_metadata(), real.as_metadata()
    for name in ("dry_run", "seconds"):
        assert told.pop(name) != found.pop(name) or name == "seconds"
    assert told == found
    _assert_complete(tiers)
    after = postgres_state(tiers)
    assert _migrate(tiers, Untouchable(), dry_run=True).already_there == GOOD
    assert postgres_state(tiers) == after


def test_a_second_run_changes_nothing(tiers: Tiers) -> None:
    _load(tiers)
    for table in (CONTENT_ITEMS, CAMPAIGN_ASSETS):
        migrate(table, tiers.database, tiers.store, batch_size=BATCH, dry_run=False)
    before, documents = postgres_state(tiers), list(tiers.store.scan("content_items"))
    first_seen = _execute(tiers, "SELECT source, first_seen, original_row FROM migration_quarantine ORDER BY source")
    store = Watched(tiers.store)
    for table in (CONTENT_ITEMS, CAMPAIGN_ASSETS):
        again = migrate(table, tiers.database, store, batch_size=BATCH, dry_run=False)
        assert (again.migrated, again.documents_replaced, again.adds_up) == (0, 0, True)
        assert again.already_there == again.read - again.quarantined
    after = postgres_state(tiers)
    # Quarantined rows were seen again, and say so.
    assert after.pop("migration_quarantine") != before.pop("migration_quarantine")
    assert after == before
    assert first_seen == _execute(
        tiers, "SELECT source, first_seen, original_row FROM migration_quarantine ORDER BY source"
    )
    assert sum(store.put.values()) == 0
    assert list(tiers.store.scan("content_items")) == documents
    _assert_complete(tiers, assets=ROWS)
