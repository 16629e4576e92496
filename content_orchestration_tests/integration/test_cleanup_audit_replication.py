"""The cleanup audit on its way to BigQuery: each entry once, none taken back, with and without a tenant."""

import json
import signal
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from content_orchestration.core.integrity.findings import Kind
from content_orchestration.core.integrity.resend import resend
from content_orchestration.core.integrity.warehouse_rows import compare_rows
from content_orchestration.core.replication.appended import send_missing
from content_orchestration.core.replication.backfill import FRESH_SNAPSHOT_CONFIRMATION, Snapshotter, begin_anew
from content_orchestration.core.replication.payload import single_row
from content_orchestration.core.replication.tables import CLEANUP_AUDIT
from content_orchestration_tests.replication_fakes import sync
from content_orchestration_tests.replication_process import SyncProcesses
from content_orchestration_tests.tiers import Tiers, open_tiers

TABLE = CLEANUP_AUDIT.table.name
NIL = str(UUID(int=0))


def note(tiers: Tiers, n: int, tenant: UUID | None = None) -> list[str]:
    """`n` entries in one transaction; their ids."""
    with tiers.database.connection() as connection:
        rows = connection.execute(
            """
            INSERT INTO cleanup_audit (run_id, kind, action, tenant_id, subject_id, location, size_bytes, reason,
                                       predicate_version, quarantined_at, detail)
            SELECT 'run', 'orphaned_render', 'deleted', %(tenant)s, 'subject ' || n, 's3://b/' || n, n, 'why "not"', 1,
                   '2026-01-02 03:04:05.6+00', jsonb_build_object('n', n, 'nothing', NULL)
            FROM generate_series(1, %(n)s) n RETURNING id::text AS id
            """,
            {"n": n, "tenant": tenant},
        ).fetchall()
    return [row["id"] for row in rows]


def history(tiers: Tiers, name: str = TABLE) -> list[dict[str, Any]]:
    return [dict(row) for row in tiers.warehouse.query(f"SELECT * FROM `{tiers.warehouse.qualified(name)}`")]


def compared(tiers: Tiers, **given: Any) -> Any:
    return compare_rows(tiers.database, tiers.warehouse, CLEANUP_AUDIT, max_bytes=10**10, **given)


def hide(tiers: Tiers, ids: list[str]) -> None:
    """Take entries out of PostgreSQL, as a restore of the database to an older state does; no trigger runs."""
    with psycopg.connect(tiers.database_url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM cleanup_audit WHERE id = ANY (%s::uuid[])", [ids])


def test_every_entry_arrives_once_with_and_without_a_tenant(tiers: Tiers) -> None:
    tenant = uuid4()
    ours, nobodys = note(tiers, 3, tenant), note(tiers, 2)
    report = sync(tiers)
    assert (report.rows[TABLE], report.tombstones[TABLE]) == (5, 0)
    rows = {row["entity_id"]: row for row in history(tiers)}
    assert sorted(rows) == sorted(ours + nobodys)
    assert {rows[each]["tenant_id"] for each in ours} == {str(tenant)}
    assert {rows[each]["tenant_id"] for each in nobodys} == {NIL}
    with tiers.database.connection() as connection:
        connection.execute("SET LOCAL timezone = 'UTC'")
        for row in connection.execute("SELECT a.*, row_to_json(a)::text AS printed FROM cleanup_audit a").fetchall():
            copy = rows[str(row["id"])]
            assert copy["row_json"] == row["printed"]
            for name in (
                "audit_id",
                "at",
                "run_id",
                "kind",
                "action",
                "subject_id",
                "location",
                "size_bytes",
                "reason",
            ):
                assert copy[name] == row[name], name
            assert (copy["predicate_version"], copy["quarantined_at"]) == (1, row["quarantined_at"])
            assert json.loads(copy["detail"]) == row["detail"]
            assert json.loads(copy["row_json"])["tenant_id"] == (None if row["tenant_id"] is None else str(tenant))
    assert {row["op"] for row in rows.values()} == {"upsert"}
    assert sync(tiers).rows[TABLE] == 0
    assert len(history(tiers)) == 5
    assert len(history(tiers, "cleanup_audit_current")) == 5


def test_the_comparison_counts_the_audit_and_names_what_bigquery_lacks(tiers: Tiers) -> None:
    tenant = uuid4()
    ids = note(tiers, 4, tenant) + note(tiers, 3)
    sync(tiers)
    assert (compared(tiers).outcome, compared(tiers).compared) == ("agree", 7)
    assert (compared(tiers, tenant_id=str(tenant)).outcome, compared(tiers, tenant_id=str(tenant)).compared) == (
        "agree",
        4,
    )
    waiting = note(tiers, 1)
    assert compared(tiers).skipped == {"changed since the last sync": 1}
    with psycopg.connect(tiers.database_url) as connection:
        connection.execute("DELETE FROM content_changes WHERE entity_id = %s", [waiting[0]])
    sync(tiers)
    (lost,) = compared(tiers).differences
    assert (lost.kind, lost.entity_id, lost.tenant_id) == (Kind.MISSING_IN_WAREHOUSE, waiting[0], NIL)
    assert resend(tiers.database, tiers.warehouse, CLEANUP_AUDIT, {waiting[0]: None}).rows == waiting
    sync(tiers)
    assert compared(tiers).outcome == "agree"
    assert len(history(tiers)) == len(ids) + 1


def test_what_only_bigquery_has_stays_and_is_no_difference(tiers: Tiers) -> None:
    ids = note(tiers, 5, uuid4())
    sync(tiers)
    hide(tiers, ids[:2])
    sync(tiers)
    assert compared(tiers).outcome == "agree"
    done = resend(tiers.database, tiers.warehouse, CLEANUP_AUDIT, dict.fromkeys(ids))
    assert (sorted(done.rows), done.tombstones) == (sorted(ids[2:]), [])
    assert all("last witness" in done.refused[each] for each in ids[:2])
    assert send_missing(tiers.database, tiers.warehouse) == 0
    sync(tiers)
    assert {row["entity_id"] for row in history(tiers, "cleanup_audit_current")} == set(ids)
    assert {row["op"] for row in history(tiers)} == {"upsert"}


def test_an_entry_that_differs_is_found_and_sent_again(tiers: Tiers) -> None:
    (one,) = note(tiers, 1)
    sync(tiers)
    (row,) = history(tiers)
    forged = row | {"sync_id": row["sync_id"] + 1, "row_json": "{}", "row_sha256": "0" * 64}
    tiers.warehouse.load_parquet(TABLE, single_row(CLEANUP_AUDIT.table, forged), f"job-{uuid4()}")
    (found,) = compared(tiers).differences
    assert found.kind == Kind.DIFFERENT_IN_WAREHOUSE
    assert compared(tiers, ids=[one]).differences == [found]
    resend(tiers.database, tiers.warehouse, CLEANUP_AUDIT, {one: None})
    sync(tiers)
    assert compared(tiers).outcome == "agree"


def test_a_new_history_and_a_dataset_made_anew_get_what_they_lack(tiers: Tiers) -> None:
    before = note(tiers, 7, uuid4()) + note(tiers, 5)
    sync(tiers)
    skipped = note(tiers, 3)
    begin_anew(tiers.database, FRESH_SNAPSHOT_CONFIRMATION)
    assert sync(tiers).rows[TABLE] == 0
    snapshotter = Snapshotter(tiers.database, tiers.store, tiers.warehouse, max_bytes=10**8, run_id="r")
    assert list(snapshotter.backfill([])) == []
    assert snapshotter.audit_entries_sent == 3
    assert send_missing(tiers.database, tiers.warehouse, page=2) == 0, "what waits is not sent twice"
    assert sync(tiers).rows[TABLE] == 3
    with psycopg.connect(tiers.database_url) as connection:
        connection.execute("DELETE FROM content_changes")
    dataset = f"test_{uuid4().hex}"
    with open_tiers(tiers.settings, tiers.database_url, tiers.zerodb_project, dataset) as anew:
        assert send_missing(anew.database, anew.warehouse, page=4) == 15
        assert sync(anew).rows[TABLE] == 15
        assert {row["entity_id"] for row in history(anew)} == {*before, *skipped}


@pytest.fixture(scope="module")
def processes() -> Iterator[SyncProcesses]:
    with SyncProcesses() as started:
        yield started


@pytest.mark.parametrize(
    "failpoint", ["window_opened", "part_recorded:2", "part_loaded", "part_loaded:3", "log_loaded"]
)
def test_a_killed_sync_is_finished_by_the_next_with_each_entry_once(
    tiers: Tiers, processes: SyncProcesses, failpoint: str
) -> None:
    # More than one fetch, so that with files of one row's size the kill comes between the files of one window.
    ids = note(tiers, 1100, uuid4()) + note(tiers, 1050)
    killed = processes.sync(tiers, failpoint=failpoint, max_bytes=1)
    assert killed.status == -signal.SIGKILL, killed.said
    ids += note(tiers, 2)
    finished = processes.sync(tiers, max_bytes=1)
    assert finished.status == 0, finished.said
    assert sorted(row["entity_id"] for row in history(tiers)) == sorted(ids)
    assert compared(tiers).outcome == "agree"


@pytest.mark.parametrize(
    "statement", ["UPDATE cleanup_audit SET reason = 'x'", "DELETE FROM cleanup_audit", "TRUNCATE cleanup_audit"]
)
def test_nobody_changes_the_audit(tiers: Tiers, statement: str) -> None:
    note(tiers, 1)
    with psycopg.connect(tiers.database_url) as connection, pytest.raises(psycopg.Error, match="append-only"):
        connection.execute(statement)  # type: ignore[arg-type]
