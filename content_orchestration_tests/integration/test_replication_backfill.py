"""Snapshots beside windows, deletes that no trigger saw, and a new history after a restore to another cluster."""

import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from psycopg import Connection

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.replication.backfill import (
    FRESH_SNAPSHOT_CONFIRMATION,
    Snapshotter,
    TenantBackfill,
    begin_anew,
)
from content_orchestration.core.replication.engine import Replicator, SyncReport
from content_orchestration.core.replication.keys import reconcile_keys
from content_orchestration.core.replication.snapshot_stream import exported_snapshot
from content_orchestration.core.replication.tables import CONTENT_STORAGE, ENTITIES
from content_orchestration_tests.replication_model import (
    body_of,
    content_row,
    current,
    expected,
    insert,
    new_version,
    put_bodies,
    version_row,
)
from content_orchestration_tests.tiers import Tiers


def sync(tiers: Tiers, batch_size: int = 10_000) -> SyncReport:
    return Replicator(
        tiers.database, tiers.store, tiers.warehouse, batch_size=batch_size, max_bytes=10**8, run_id="sync"
    ).sync()


def backfill(
    tiers: Tiers, tenants: Sequence[uuid.UUID], *, max_bytes: int = 10**8, only_missing: bool = False
) -> list[TenantBackfill]:
    snapshotter = Snapshotter(tiers.database, tiers.store, tiers.warehouse, max_bytes=max_bytes, run_id="backfill")
    return list(snapshotter.backfill([str(tenant) for tenant in tenants], only_missing=only_missing))


def add_tenant(tiers: Tiers, items: int) -> tuple[uuid.UUID, list[uuid.UUID]]:
    tenant = uuid.uuid4()
    ids = [uuid.uuid4() for _ in range(items)]
    with tiers.database.connection() as connection:
        connection.execute(
            "INSERT INTO tenants (id, name, slug, created_at) VALUES (%s, 'T', %s, now())", (tenant, str(tenant))
        )
        add_items(connection, tiers, ids, tenant)
    return tenant, ids


def add_items(connection: Connection[Any], tiers: Tiers, ids: Sequence[uuid.UUID], tenant: uuid.UUID) -> None:
    put_bodies(tiers.store, {(content, 1): body_of(content, 1) for content in ids})
    for content in ids:
        insert(connection, "content_storage_metadata", content_row(content, 1, tenant_id=tenant))
        insert(connection, "content_versions", version_row(content, 1, tenant_id=tenant))


def assert_same_rows(tiers: Tiers) -> None:
    """Both sides hold the same, and no state of a row is there twice in one sync."""
    assert current(tiers) == expected(tiers)
    for entity in ENTITIES:
        doubles = tiers.warehouse.query(
            f"SELECT entity_id, sync_id FROM `{tiers.warehouse.qualified(entity.table.name)}` "
            "GROUP BY entity_id, sync_id HAVING COUNT(*) > 1"
        )
        assert list(doubles) == []


def without_triggers(tiers: Tiers, statement: str, values: Sequence[object]) -> None:
    """Change rows the way a bulk load does: no trigger sees it."""
    with tiers.database.connection() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(statement, values)  # type: ignore[arg-type]


def test_rows_that_no_window_saw_come_with_the_snapshot(tiers: Tiers) -> None:
    tenant, ids = add_tenant(tiers, 5)
    sync(tiers)
    without_triggers(tiers, "UPDATE content_storage_metadata SET title = 'bulk' WHERE id = %s", [ids[0]])
    sync(tiers)
    with pytest.raises(AssertionError):
        assert_same_rows(tiers)

    (report,) = backfill(tiers, [tenant])

    assert_same_rows(tiers)
    assert report.rows["content_storage_dr"] == 5
    assert report.bytes_loaded > 0
    with tiers.database.connection() as connection:
        row = connection.execute("SELECT status, rows_by_table, bytes_loaded FROM replication_backfills").fetchone()
    assert row == {"status": "closed", "rows_by_table": report.rows, "bytes_loaded": report.bytes_loaded}


def test_a_change_after_the_snapshot_wins_over_it_whichever_is_loaded_last(tiers: Tiers) -> None:
    tenant, ids = add_tenant(tiers, 3)
    sync(tiers)
    snapshotter = Snapshotter(tiers.database, tiers.store, tiers.warehouse, max_bytes=10**8, run_id="backfill")
    window = snapshotter._reserve()
    with exported_snapshot(tiers.database) as snapshot:
        # The windows of an update and a delete close before the snapshot's rows are loaded.
        with tiers.database.connection() as connection:
            new_version(connection, tiers.store, ids[0])
            connection.execute("DELETE FROM content_storage_metadata WHERE id = %s", (ids[1],))
            connection.execute("DELETE FROM content_versions WHERE content_id = %s", (ids[1],))
        sync(tiers)
        loaded = snapshotter._tenant(str(tenant), window, snapshot)
    sync(tiers)

    assert loaded.rows["content_storage_dr"] == 3
    assert_same_rows(tiers)


def test_a_window_that_opened_before_the_snapshot_does_not_hide_a_newer_row(tiers: Tiers) -> None:
    tenant, ids = add_tenant(tiers, 2)
    sync(tiers)
    with tiers.database.connection() as connection:
        new_version(connection, tiers.store, ids[0])
    backfill(tiers, [tenant])
    sync(tiers)
    with tiers.database.connection() as connection:
        new_version(connection, tiers.store, ids[1])
    sync(tiers)
    assert_same_rows(tiers)


def test_all_tenants_of_a_run_share_one_snapshot_and_number_their_files_apart(tiers: Tiers) -> None:
    first, _ = add_tenant(tiers, 4)
    second, _ = add_tenant(tiers, 3)
    reports = backfill(tiers, [first, second], max_bytes=1)

    assert reports[0].sync_id == reports[1].sync_id
    rows = tiers.warehouse.query(
        f"SELECT sync_part, tenant_id, COUNT(*) AS n FROM `{tiers.warehouse.qualified('content_storage_dr')}` "
        "GROUP BY sync_part, tenant_id ORDER BY sync_part"
    )
    assert [(row["tenant_id"], row["n"]) for row in rows] == [(str(first), 4), (str(second), 3)]
    sync(tiers)
    assert_same_rows(tiers)


def test_a_tenant_that_is_complete_may_be_left_out(tiers: Tiers) -> None:
    whole, _ = add_tenant(tiers, 2)
    lacking, ids = add_tenant(tiers, 2)
    empty, _ = add_tenant(tiers, 0)
    sync(tiers)
    without_triggers(
        tiers,
        "INSERT INTO content_storage_metadata SELECT (x).* FROM (SELECT jsonb_populate_record(r, jsonb_build_object("
        "'id', gen_random_uuid())) AS x FROM content_storage_metadata r WHERE id = %s) AS copies",
        [ids[0]],
    )
    reports = {
        report.tenant_id: report.skipped for report in backfill(tiers, [whole, lacking, empty], only_missing=True)
    }
    assert reports == {str(whole): True, str(lacking): False, str(empty): True}
    sync(tiers)
    assert_same_rows(tiers)


def test_a_delete_that_no_trigger_saw_is_found_by_key_and_carried_by_the_next_window(tiers: Tiers) -> None:
    tenant, ids = add_tenant(tiers, 3)
    other, _ = add_tenant(tiers, 1)
    sync(tiers)
    without_triggers(tiers, "DELETE FROM content_storage_metadata WHERE id = ANY (%s)", [ids[:2]])

    assert reconcile_keys(tiers.database, tiers.warehouse, CONTENT_STORAGE, str(other)) == 0
    assert reconcile_keys(tiers.database, tiers.warehouse, CONTENT_STORAGE, str(tenant)) == 2
    assert reconcile_keys(tiers.database, tiers.warehouse, CONTENT_STORAGE) == 0, "what waits is not written twice"
    report = sync(tiers)

    assert report.tombstones["content_storage_dr"] == 2
    assert_same_rows(tiers)
    tombstones = tiers.warehouse.query(
        f"SELECT entity_id, row_json FROM `{tiers.warehouse.qualified('content_storage_dr')}` WHERE op = 'delete'"
    )
    assert {row["entity_id"] for row in tombstones} == {str(key) for key in ids[:2]}


def test_a_truncate_that_hides_rows_from_its_own_snapshot_leaves_no_ghost(tiers: Tiers) -> None:
    _, ids = add_tenant(tiers, 2)
    sync(tiers)
    with tiers.database.connection() as blind:
        blind.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        blind.execute("SELECT 1 FROM tenants")
        # Committed and replicated after the snapshot of the session that truncates: its trigger cannot see this row.
        with tiers.database.connection() as writer:
            add_items(writer, tiers, [uuid.uuid4()], uuid.uuid4())
        sync(tiers)
        blind.execute("TRUNCATE content_storage_metadata")
    report = sync(tiers)

    assert report.keys_reconciled == 1
    assert report.tombstones["content_storage_dr"] == len(ids) + 1
    assert_same_rows(tiers)


def test_another_cluster_is_refused_until_a_new_history_is_begun(tiers: Tiers) -> None:
    tenant, _ = add_tenant(tiers, 2)
    sync(tiers)
    with tiers.database.connection() as connection:
        connection.execute("UPDATE replication_cursor SET system_identifier = '1', next_xid = '9000000000'")
        connection.execute(
            "INSERT INTO replication_windows (sync_id, system_identifier, low_xid, high_xid, changes, run_id, "
            "synced_at) VALUES (7, '1', '8', '9', 0, 'old', now())"
        )
    add_content_after = add_tenant(tiers, 1)[0]
    with pytest.raises(Permanent, match=r"belongs to cluster 1, .* Take a fresh snapshot"):
        sync(tiers)
    with pytest.raises(Permanent, match="belongs to cluster 1"):
        backfill(tiers, [tenant])
    with pytest.raises(Permanent, match="is not the sentence"):
        begin_anew(tiers.database, "yes")

    answer = begin_anew(tiers.database, FRESH_SNAPSHOT_CONFIRMATION)

    assert answer["cluster_before"] == "1"
    assert answer["windows_abandoned"] == 1
    backfill(tiers, [tenant, add_content_after])
    sync(tiers)
    assert_same_rows(tiers)


def test_a_snapshot_reports_a_body_that_it_withheld(tiers: Tiers) -> None:
    tenant, ids = add_tenant(tiers, 2)
    tiers.store.delete_many("content_items", [f"{ids[0]}.v1"])
    (report,) = backfill(tiers, [tenant])
    assert report.bodies_withheld == 2, "the item and its version record name the same lost body"
    with tiers.database.connection() as connection:
        rows = connection.execute("SELECT entity, reason FROM replication_quarantine ORDER BY entity").fetchall()
    assert [(row["entity"], row["reason"]) for row in rows] == [
        ("content_storage", "body_missing"),
        ("content_versions", "body_missing"),
    ]


def test_a_spilled_body_is_replicated_while_it_waits_for_zerodb(tiers: Tiers) -> None:
    _, ids = add_tenant(tiers, 1)
    document = tiers.store.get_many("content_items", [f"{ids[0]}.v1"])[f"{ids[0]}.v1"]
    tiers.store.delete_many("content_items", [document["id"]])
    with tiers.database.connection() as connection:
        connection.execute(
            "INSERT INTO content_body_spill (zerodb_row_id, tenant_id, content_id, version, body, body_sha256, "
            "size_bytes) VALUES (%s, %s, %s, 1, %s, %s, %s)",
            (document["id"], uuid.uuid4(), ids[0], document["body"], document["body_sha256"], len(document["body"])),
        )
    assert sync(tiers).bodies_withheld == 0
    shown = {row["entity_id"]: row["body"] for row in tiers.warehouse.query(
        f"SELECT entity_id, body FROM `{tiers.warehouse.qualified('content_storage_current')}`"
    )}  # fmt: skip
    assert shown == {str(ids[0]): document["body"]}


def test_nothing_is_loaded_when_the_document_store_is_down(tiers: Tiers) -> None:
    tenant, _ = add_tenant(tiers, 1)

    class Down:
        def get_many(self, collection: str, ids: object) -> dict[str, object]:
            raise Transient("ZeroDB is down")

    snapshotter = Snapshotter(tiers.database, Down(), tiers.warehouse, max_bytes=10**8, run_id="r")  # type: ignore[arg-type]
    with pytest.raises(Transient, match="ZeroDB is down"):
        list(snapshotter.backfill([str(tenant)]))
    assert [tiers.warehouse.row_count(entity.table.name) for entity in ENTITIES] == [0, 0, 0]
    backfill(tiers, [tenant])
    sync(tiers)
    assert_same_rows(tiers)
