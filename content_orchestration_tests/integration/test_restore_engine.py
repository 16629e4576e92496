"""What a restore does with rows that are there, rows that are not fit, columns that came and went, and plans that do
not hold any more. Real servers; a tampered history is written into the emulator as anybody with its credentials could.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg import sql

from content_orchestration.core.errors import AlreadyRunning, Permanent
from content_orchestration.core.replication.payload import ParquetFile
from content_orchestration.core.replication.tables import CONTENT_STORAGE, CONTENT_VERSIONS, Entity
from content_orchestration.core.restore import rows
from content_orchestration.core.restore.request import OnConflict, RestoreRequest, Scope, Target
from content_orchestration_tests.replication_fakes import sync
from content_orchestration_tests.replication_model import (
    TENANT,
    add_content,
    assert_equal,
    body_of,
    insert,
    media_row,
    new_version,
    sha256,
    version_id,
)
from content_orchestration_tests.restore_model import (
    IDS,
    empty,
    quarantine,
    restore,
    restorer,
    state,
    titles_disagree,
)
from content_orchestration_tests.tiers import Tiers

FEW = IDS[:6]
OTHER = UUID("00000000-0000-4000-8000-0000000000bb")
ITEMS = "content_storage_metadata"


def written(tiers: Tiers, ids: list[UUID] = FEW) -> int:
    with tiers.database.connection() as connection:
        add_content(connection, tiers.store, ids)
        insert(connection, "media_assets", media_row(ids[0], content_id=ids[0]))
    return synced(tiers)


def synced(tiers: Tiers) -> int:
    found = sync(tiers).last_sync_id
    assert found is not None
    return found


def execute(tiers: Tiers, statement: str, *values: Any) -> None:
    with tiers.database.connection() as connection:
        connection.execute(statement, values or None)  # type: ignore[arg-type]


def tampered(tiers: Tiers, entity: Entity, entity_id: UUID, **columns: Any) -> None:
    """Put another state of a row on top of the history, with these columns not as they were."""
    table = tiers.warehouse.qualified(entity.table.name)
    query = f"SELECT * FROM `{table}` WHERE entity_id = '{entity_id}' ORDER BY sync_id DESC LIMIT 1"
    (row,) = tiers.warehouse.query(query)
    file = ParquetFile(entity.table)
    file.add([row | {"sync_part": row["sync_part"] + 1} | columns], 0)
    tiers.warehouse.load_parquet(entity.table.name, file.close(), f"tamper-{entity.name}-{entity_id}")


# --- rows that are there ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "newer", "older", "gone"),
    [("keep_newer", "live", "history", "history"), ("keep_existing", "live", "live", "history"),
     ("overwrite", "history", "history", "history")],
)  # fmt: skip
def test_each_policy_on_rows_that_are_newer_older_gone_or_new(
    tiers: Tiers, policy: OnConflict, newer: str, older: str, gone: str
) -> None:
    sync_id = written(tiers)
    recorded = state(tiers)
    execute(tiers, f"UPDATE {ITEMS} SET title = 'live', updated_at = now() + interval '1 h' WHERE id = %s", FEW[0])
    execute(tiers, f"UPDATE {ITEMS} SET title = 'live', updated_at = 'epoch' WHERE id = %s", FEW[1])
    execute(tiers, f"DELETE FROM {ITEMS} WHERE id = %s", FEW[2])
    with tiers.database.connection() as connection:
        add_content(connection, tiers.store, [IDS[20]])
    before = state(tiers)
    synced(tiers)
    report = restore(tiers, RestoreRequest(as_of=sync_id, on_conflict=policy))
    after = state(tiers)
    for one, wins in ((FEW[0], newer), (FEW[1], older), (FEW[2], gone)):
        source = before if wins == "live" else recorded
        assert after[ITEMS][str(one)] == source[ITEMS][str(one)], f"{policy}: {one}"
    assert after[ITEMS][str(FEW[3])] == recorded[ITEMS][str(FEW[3])]
    assert after[ITEMS][str(IDS[20])] == before[ITEMS][str(IDS[20])], "a row that is not in the history was touched"
    outcome = report.tables[ITEMS]
    kept = [newer, older].count("live")
    assert (outcome.inserted, outcome.updated, outcome.kept, outcome.same) == (1, 2 - kept, kept, 3)
    assert outcome.newer_not_in_history == 1
    assert report.verified
    synced(tiers)
    assert_equal(tiers)


def test_what_is_as_in_the_history_is_not_written(tiers: Tiers) -> None:
    """No change is logged for it, so the next sync has nothing to send."""
    sync_id = written(tiers)
    report = restore(tiers, RestoreRequest(as_of=sync_id, on_conflict="overwrite"))
    assert report.rows == 0
    with tiers.database.connection() as connection:
        row = connection.execute(
            "SELECT count(*) AS n FROM content_changes c, replication_cursor p "
            "WHERE c.change_xid >= p.next_xid AND op NOT IN ('T') AND entity <> 'heartbeat'"
        ).fetchone()
    assert row == {"n": 0}


def test_a_pointer_that_moves_back_keeps_every_body_and_record(tiers: Tiers) -> None:
    sync_id = written(tiers)
    with tiers.database.connection() as connection:
        new_version(connection, tiers.store, FEW[0])
    synced(tiers)
    restore(tiers, RestoreRequest(as_of=sync_id, on_conflict="overwrite"))
    now = state(tiers)
    assert now[ITEMS][str(FEW[0])][1] == body_of(FEW[0], 1)
    assert now["content_versions"][str(version_id(FEW[0], 2))][1] == body_of(FEW[0], 2)


def test_only_the_scope_is_restored(tiers: Tiers) -> None:
    execute(tiers, "INSERT INTO tenants (id, name, slug) VALUES (%s, 'A', 'a'), (%s, 'B', 'b')", TENANT, OTHER)
    with tiers.database.connection() as connection:
        add_content(connection, tiers.store, FEW[:3])
        insert(connection, "media_assets", media_row(FEW[0], content_id=FEW[0]))
    execute(tiers, f"UPDATE {ITEMS} SET tenant_id = %s WHERE id = %s", OTHER, FEW[2])
    execute(tiers, "UPDATE content_versions SET tenant_id = %s WHERE content_id = %s", OTHER, FEW[2])
    synced(tiers)
    whole = state(tiers)
    empty(tiers)
    one = restore(tiers, RestoreRequest(scope=Scope.content_ids([str(FEW[0])])))
    assert {table: set(rows) for table, rows in state(tiers).items()} == {
        ITEMS: {str(FEW[0])}, "content_versions": {str(version_id(FEW[0], 1))}, "media_assets": {str(FEW[0])},
    }  # fmt: skip
    assert one.verified
    assert one.verification.attempted > 3, "the integrity check of what was restored did not run"
    assert one.usage_tenants == 1
    restore(tiers, RestoreRequest(scope=Scope.tenants([str(OTHER)])))
    assert set(state(tiers)[ITEMS]) == {str(FEW[0]), str(FEW[2])}
    assert state(tiers)[ITEMS][str(FEW[2])] == whole[ITEMS][str(FEW[2])]
    with tiers.database.connection() as connection:
        used = connection.execute("SELECT tenant_id, content_items FROM content_quota_usage").fetchall()
    assert {row["tenant_id"]: row["content_items"] for row in used} == {TENANT: 1, OTHER: 1}


def test_each_tier_alone(tiers: Tiers) -> None:
    sync_id = written(tiers)
    recorded = state(tiers)
    empty(tiers)
    rows = restore(tiers, RestoreRequest(as_of=sync_id, tiers="postgres"))
    assert {table: {k: v[0] for k, v in found.items()} for table, found in state(tiers).items()} == {
        table: {k: v[0] for k, v in found.items()} for table, found in recorded.items()
    }
    assert tiers.store.count("content_items") == 0
    assert rows.documents == {}
    bodies = restore(tiers, RestoreRequest(as_of=sync_id, tiers="zerodb"))
    assert state(tiers) == recorded
    assert bodies.rows == 0
    assert bodies.documents["inserted"] == 6 + 6 + 1
    assert not bodies.keys_compared_by_next_sync


def test_a_scratch_copy_leaves_the_live_content_and_the_change_log_alone(tiers: Tiers) -> None:
    sync_id = written(tiers)
    recorded = state(tiers)
    execute(tiers, f"UPDATE {ITEMS} SET title = 'live'")
    synced(tiers)
    live = state(tiers)
    target = Target.scratch("beside", "beside_")
    report = restore(tiers, RestoreRequest(as_of=sync_id, target=target))
    assert state(tiers, target) == recorded
    assert state(tiers) == live
    assert report.usage_tenants == 0
    assert sync(tiers).changes == 0
    assert_equal(tiers)


# --- what is not fit -------------------------------------------------------------------------------------------------


def test_a_tampered_row_is_set_aside_and_the_rest_restored(tiers: Tiers) -> None:
    written(tiers)
    recorded = state(tiers)
    tampered(tiers, CONTENT_STORAGE, FEW[0], row_json='{"id": "nonsense"}')
    changed = recorded[ITEMS][str(FEW[1])][0].replace(str(FEW[1]), str(FEW[2]))
    tampered(tiers, CONTENT_STORAGE, FEW[1], row_json=changed, row_sha256=sha256(changed))
    tampered(tiers, CONTENT_STORAGE, FEW[3], row_json="[]", row_sha256=sha256("[]"))
    for documents, reasons in (("both", 3), ("postgres", 3)):
        empty(tiers, documents=documents == "both")
        report = restore(tiers, RestoreRequest(tiers=documents))  # type: ignore[arg-type]
        found = {row["entity_id"]: row for row in quarantine(tiers, report.restore_id)}
        assert len(found) == reasons
        assert found[str(FEW[0])]["reason"] == "row_sha256"
        assert found[str(FEW[0])]["payload"] == '{"id": "nonsense"}'
        assert found[str(FEW[1])]["reason"] in ("row_refused", "row_differs")
        assert found[str(FEW[3])]["reason"] == "row_refused"
        assert report.tables[ITEMS].quarantined == 3
        assert not report.verified
        assert not report.keys_compared_by_next_sync
        now = state(tiers)
        assert now["content_versions"] == recorded["content_versions"]
        assert now[ITEMS] == {str(each): recorded[ITEMS][str(each)] for each in (FEW[2], FEW[4], FEW[5])}


def test_a_line_break_in_a_row_brings_no_other_row_in(tiers: Tiers) -> None:
    """Rows go to PostgreSQL as lines: one that is two lines must not take the place of the next."""
    written(tiers)
    recorded = state(tiers)
    # The last two: behind them nothing is left whose id would not fit its line.
    one, other = sorted(FEW, key=str)[-2:]
    first, second = recorded[ITEMS][str(one)][0], recorded[ITEMS][str(other)][0]
    forged = first + "\n" + second.replace('"title":"', '"title":"forged ')
    assert forged != first + "\n" + second
    tampered(tiers, CONTENT_STORAGE, one, row_json=forged, row_sha256=sha256(forged))
    empty(tiers)
    # Rows alone: nothing is parsed before PostgreSQL does. One chunk: the two come one behind the other.
    report = restore(tiers, RestoreRequest(tiers="postgres"), chunk_bytes=8_000_000)
    assert report.quarantined == {"row_refused": 1}
    rows = {key: text for key, (text, _) in state(tiers)[ITEMS].items()}
    assert rows == {str(each): recorded[ITEMS][str(each)][0] for each in FEW if each != one}


def test_a_row_that_does_not_read_back_as_it_was_given_is_not_kept(tiers: Tiers) -> None:
    written(tiers)
    recorded = state(tiers)
    empty(tiers)
    execute(
        tiers,
        f"""CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF NEW.id = '{FEW[2]}' THEN NEW.title := 'meddled with'; END IF; RETURN NEW; END $$""",
    )
    execute(tiers, f"CREATE TRIGGER meddle BEFORE INSERT ON {ITEMS} FOR EACH ROW EXECUTE FUNCTION meddle()")
    report = restore(tiers, RestoreRequest())
    (aside,) = quarantine(tiers, report.restore_id)
    assert (aside["entity_id"], aside["reason"]) == (str(FEW[2]), "row_differs")
    assert state(tiers)[ITEMS] == {str(each): recorded[ITEMS][str(each)] for each in FEW if each != FEW[2]}


def test_an_insert_is_tried_until_rows_are_found(tiers: Tiers, monkeypatch: pytest.MonkeyPatch) -> None:
    with tiers.database.connection() as connection:
        add_content(connection, tiers.store, IDS)
    synced(tiers)
    recorded = state(tiers)
    original = rows._insert
    tables: list[str] = []

    def noted(connection: Any, table: Any, given: Any) -> Any:
        tables.append(table.entity.name)
        return original(connection, table, given)

    monkeypatch.setattr(rows, "_insert", noted)
    empty(tiers)
    restore(tiers, RestoreRequest(), workers=1)
    assert tables.count("content_storage") > 3, "there are not several chunks"
    assert titles_disagree(tiers) == 0
    tables.clear()
    execute(tiers, f"DELETE FROM {ITEMS} WHERE id <> ALL (%s)", IDS[:3])
    again = restore(tiers, RestoreRequest(), workers=1)
    assert tables.count("content_versions") == 1
    assert again.tables[ITEMS].same == 3
    assert again.verified
    assert state(tiers) == recorded
    assert titles_disagree(tiers) == 0


def test_a_tampered_body_is_set_aside_with_the_row_that_would_point_at_nothing(tiers: Tiers) -> None:
    written(tiers)
    recorded = state(tiers)
    forged = "forged"
    for entity, key in ((CONTENT_STORAGE, FEW[0]), (CONTENT_VERSIONS, version_id(FEW[0], 1))):
        tampered(tiers, entity, key, body=forged, body_sha256=sha256(forged))
    for entity, key in ((CONTENT_STORAGE, FEW[1]), (CONTENT_VERSIONS, version_id(FEW[1], 1))):
        tampered(tiers, entity, key, body=None)
    # Where ZeroDB still has the right body, the history's is not needed.
    execute(tiers, f"DELETE FROM {ITEMS}")
    assert restore(tiers, RestoreRequest()).verified
    assert state(tiers) == recorded
    empty(tiers)
    report = restore(tiers, RestoreRequest())
    found = {(row["entity"], row["reason"]) for row in quarantine(tiers, report.restore_id)}
    assert found == {
        (entity, reason)
        for entity in ("content_storage", "content_versions")
        for reason in ("body_sha256", "body_missing")
    }
    assert report.quarantined == {"body_sha256": 2, "body_missing": 2}
    now = state(tiers)
    assert set(now[ITEMS]) == {str(each) for each in FEW[2:]}
    assert all(body is not None for rows in (now[ITEMS], now["content_versions"]) for _, body in rows.values())


@pytest.mark.parametrize("policy", ["keep_newer", "keep_existing", "overwrite"])
def test_a_body_that_is_there_and_wrong(tiers: Tiers, policy: OnConflict) -> None:
    """Damage is put right unless nothing may be touched; what somebody else wrote goes only where it is asked for."""
    written(tiers)
    recorded = state(tiers)
    damaged, foreign = f"{FEW[0]}.v1", f"{FEW[1]}.v1"
    tiers.store.replace("content_items", {"id": damaged, "body": "bit rot \x00"})
    tiers.store.replace("content_items", {"id": foreign, "body": "theirs", "body_sha256": sha256("theirs")})
    report = restore(tiers, RestoreRequest(tiers="zerodb", on_conflict=policy))
    wrong = {str(FEW[0]), str(FEW[1])} if policy == "keep_existing" else set()
    wrong |= {str(FEW[1])} if policy == "keep_newer" else set()
    now = state(tiers)
    assert {key for key, (_, body) in now[ITEMS].items() if body is None} == wrong
    assert all(now[ITEMS][key] == recorded[ITEMS][key] for key in now[ITEMS].keys() - wrong)
    found = quarantine(tiers, report.restore_id)
    replaced = {row["payload"] for row in found if row["reason"] == "document_replaced"}
    assert replaced == {"overwrite": {"bit rot \\x00", "theirs"}, "keep_newer": {"bit rot \\x00"}}.get(policy, set())
    assert report.documents["replaced"] == len(replaced)
    assert report.verified == (policy == "overwrite")


def test_a_row_whose_place_another_one_took_is_set_aside(tiers: Tiers) -> None:
    """`source` is unique: the row that has it stays, and the others are restored."""
    written(tiers)
    execute(tiers, f"UPDATE {ITEMS} SET source = 'campaign_assets:1' WHERE id = %s", FEW[0])
    synced(tiers)
    recorded = state(tiers)
    execute(tiers, f"DELETE FROM {ITEMS}")
    with tiers.database.connection() as connection:
        add_content(connection, tiers.store, [IDS[20]], source="campaign_assets:1")
    report = restore(tiers, RestoreRequest())
    (aside,) = quarantine(tiers, report.restore_id)
    assert (aside["entity_id"], aside["reason"]) == (str(FEW[0]), "row_refused")
    assert "source" in aside["detail"]
    now = state(tiers)[ITEMS]
    assert set(now) == {str(each) for each in [*FEW[1:], IDS[20]]}
    assert all(now[str(each)] == recorded[ITEMS][str(each)] for each in FEW[1:])


# --- columns ---------------------------------------------------------------------------------------------------------


def test_a_column_that_came_since_gets_its_default_and_is_reported(tiers: Tiers) -> None:
    sync_id = written(tiers)
    execute(tiers, f"ALTER TABLE {ITEMS} ADD COLUMN language text NOT NULL DEFAULT 'en'")
    execute(tiers, f"UPDATE {ITEMS} SET language = 'pl' WHERE id = %s", FEW[0])
    execute(tiers, f"DELETE FROM {ITEMS} WHERE id <> %s", FEW[0])
    report = restore(tiers, RestoreRequest(as_of=sync_id, on_conflict="overwrite"))
    assert report.tables[ITEMS].columns_filled_with_defaults == ["language"]
    assert report.verified
    with tiers.database.connection() as connection:
        rows = connection.execute(f"SELECT id, language FROM {ITEMS}").fetchall()  # type: ignore[arg-type]
    assert {row["id"]: row["language"] for row in rows} == {each: "pl" if each == FEW[0] else "en" for each in FEW}
    # Rows from before and after the column in one state: each gets what it had.
    with tiers.database.connection() as connection:
        add_content(connection, tiers.store, [IDS[20]], language="de")
    synced(tiers)
    mixed = state(tiers)
    execute(tiers, f"DELETE FROM {ITEMS}")
    assert restore(tiers, RestoreRequest()).verified
    assert state(tiers) == mixed


def test_a_column_that_went_since_stops_the_restore_before_a_value_is_lost(tiers: Tiers) -> None:
    execute(tiers, f"ALTER TABLE {ITEMS} ADD COLUMN note text")
    written(tiers)
    execute(tiers, f"ALTER TABLE {ITEMS} DROP COLUMN note")
    empty(tiers)
    report = restore(tiers, RestoreRequest())
    assert report.tables[ITEMS].null_columns_left_out == ["note"]
    assert len(state(tiers)[ITEMS]) == len(FEW)
    execute(tiers, f"ALTER TABLE {ITEMS} ADD COLUMN note text")
    execute(tiers, f"UPDATE {ITEMS} SET note = 'keep me' WHERE id = %s", FEW[5])
    synced(tiers)
    execute(tiers, f"ALTER TABLE {ITEMS} DROP COLUMN note")
    empty(tiers)
    with pytest.raises(Permanent, match="content_storage_metadata has no column for what the history holds: note"):
        restore(tiers, RestoreRequest(), chunk_bytes=10**6)
    assert not any(state(tiers).values()), "something was written before the refusal"


def test_a_value_without_a_column_that_only_a_late_chunk_has_stops_it_there(
    tiers: Tiers, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(tiers, f"ALTER TABLE {ITEMS} ADD COLUMN note text")
    written(tiers)
    execute(tiers, f"UPDATE {ITEMS} SET note = 'keep me' WHERE id = %s", FEW[5])
    synced(tiers)
    execute(tiers, f"ALTER TABLE {ITEMS} DROP COLUMN note")
    empty(tiers)
    monkeypatch.setattr("content_orchestration.core.restore.preflight._ROWS", 0)
    with pytest.raises(Permanent, match=rf"no column for .*: note \(in 1 rows, one is {FEW[5]}\)"):
        restore(tiers, RestoreRequest())
    assert str(FEW[5]) not in state(tiers)[ITEMS]


# --- plans -----------------------------------------------------------------------------------------------------------


def test_a_plan_says_what_will_run_and_writes_nothing(tiers: Tiers) -> None:
    sync_id = written(tiers)
    before = state(tiers)
    plan = restorer(tiers).plan(RestoreRequest())
    assert plan.as_of_sync_id == sync_id
    assert {table.table: table.rows for table in plan.tables} == {
        ITEMS: len(FEW), "content_versions": len(FEW), "media_assets": 1,
    }  # fmt: skip
    assert plan.body_bytes == 2 * sum(len(body_of(each, 1).encode()) for each in FEW)
    assert plan.plan_hash in plan.as_markdown()
    assert state(tiers) == before
    with tiers.database.connection() as connection:
        assert connection.execute("SELECT FROM restore_runs").fetchall() == []


def test_only_the_plan_that_was_reviewed_runs(tiers: Tiers) -> None:
    written(tiers)
    engine = restorer(tiers)
    plan = engine.plan(RestoreRequest())
    with pytest.raises(Permanent, match="plan_hash is 'no such plan'"):
        engine.run(RestoreRequest(), "no such plan")
    with pytest.raises(Permanent, match="changed since the plan was reviewed"):
        engine.run(RestoreRequest(on_conflict="overwrite"), plan.plan_hash)
    execute(tiers, f"UPDATE {ITEMS} SET title = 'newer' WHERE id = %s", FEW[0])
    synced(tiers)
    with pytest.raises(Permanent, match="changed since the plan was reviewed"):
        engine.run(RestoreRequest(), plan.plan_hash)
    with tiers.database.connection() as connection:
        assert connection.execute("SELECT FROM restore_runs").fetchall() == []


def test_a_history_that_changes_under_an_open_restore_stops_it(tiers: Tiers, monkeypatch: pytest.MonkeyPatch) -> None:
    sync_id = written(tiers)
    engine = restorer(tiers)
    request = RestoreRequest(as_of=sync_id)
    plan = engine.plan(request)
    with monkeypatch.context() as patch:
        patch.setattr(tiers.store, "ensure_collection", Failing())
        with pytest.raises(Permanent, match="on purpose"):
            engine.run(request, plan.plan_hash)
    for entity in ("content_storage", "content_versions", "content_media"):
        with tiers.database.connection() as connection:
            run = connection.execute("SELECT restore_id::text AS id FROM restore_runs").fetchone() or {}
        name = tiers.warehouse.qualified(f"restore_{run['id'].replace('-', '')}_{entity}")
        list(tiers.warehouse.query(f"DELETE FROM `{name}` WHERE true"))
    with pytest.raises(Permanent, match="the history holds 0 rows for content_versions_dr"):
        engine.run(request, plan.plan_hash)


class Failing:
    def __call__(self, *_: Any) -> bool:
        raise Permanent("on purpose")


@pytest.mark.parametrize(
    ("request_", "given", "message"),
    [
        (RestoreRequest(max_rows=5), {}, "the plan has 13 rows and max_rows is 5"),
        (RestoreRequest(scope=Scope.tenants([str(OTHER)])), {}, "scope.tenants names 00000000.*bb, 1 in all"),
        (RestoreRequest(scope=Scope.content_ids([str(OTHER)])), {}, "the history has no row of 1 content_ids"),
        (RestoreRequest(as_of=7), {}, "as_of is sync 7, but the history holds syncs"),
        (RestoreRequest(as_of=datetime(2020, 1, 1, tzinfo=UTC)), {}, "no sync had finished by then"),
    ],
    ids=["max_rows", "tenant", "content", "sync", "moment"],
)
def test_a_request_that_cannot_be_meant_is_refused(
    tiers: Tiers, request_: RestoreRequest, given: Mapping[str, Any], message: str
) -> None:
    written(tiers)
    with pytest.raises(Permanent, match=message):
        restorer(tiers, **given).plan(request_)


def test_a_bill_above_the_bound_is_refused(tiers: Tiers, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tiers)
    monkeypatch.setattr(tiers.warehouse, "estimate", lambda sql, parameters: 1_000)
    assert restorer(tiers).plan(RestoreRequest()).bytes_billed == 3_000
    with pytest.raises(Permanent, match="would scan 3000 bytes in BigQuery and may scan 2999"):
        restorer(tiers, max_bytes=2_999).plan(RestoreRequest())


def test_an_empty_history_and_missing_tables_are_told_apart(tiers: Tiers) -> None:
    with pytest.raises(Permanent, match="nothing was ever replicated there"):
        restorer(tiers).plan(RestoreRequest())
    execute(tiers, "DROP TABLE media_assets CASCADE")
    for target in (Target(), Target.scratch("beside", "beside_")):
        with pytest.raises(Permanent, match="table media_assets is not there"):
            restorer(tiers).plan(RestoreRequest(target=target))


def test_rows_of_a_sync_that_never_closed_can_be_asked_for(tiers: Tiers) -> None:
    sync_id = written(tiers)
    recorded = state(tiers)
    list(tiers.warehouse.query(f"DELETE FROM `{tiers.warehouse.qualified('content_sync_log')}` WHERE true"))
    with pytest.raises(Permanent, match=f"set as_of to {sync_id}"):
        restorer(tiers).plan(RestoreRequest())
    empty(tiers)
    request = RestoreRequest(as_of=sync_id)
    assert "not that of a closed sync" in restorer(tiers).plan(request).as_of
    restore(tiers, request)
    assert state(tiers) == recorded


def test_one_restore_of_a_target_and_no_sync_beside_it(tiers: Tiers) -> None:
    sync_id = written(tiers)
    plan = restorer(tiers).plan(RestoreRequest())
    with tiers.database.advisory_lock("replication"), pytest.raises(AlreadyRunning, match="replication"):
        restorer(tiers).run(RestoreRequest(), plan.plan_hash)
    with tiers.database.advisory_lock("restore into live"), pytest.raises(AlreadyRunning, match="restore into live"):
        restorer(tiers).run(RestoreRequest(), plan.plan_hash)
    held = tiers.database.advisory_lock("replication")
    held.__enter__()
    waits: list[float] = []

    def sync_ends(seconds: float) -> None:
        waits.append(seconds)
        held.__exit__(None, None, None)

    restorer(tiers, lock_seconds=60.0, sleep=sync_ends).run(RestoreRequest(), plan.plan_hash)
    assert len(waits) == 1
    # A scratch copy takes nothing from replication.
    with tiers.database.advisory_lock("replication"):
        restore(tiers, RestoreRequest(as_of=sync_id, target=Target.scratch("beside", "beside_")))


def test_the_state_is_removed_when_it_is_done(tiers: Tiers) -> None:
    written(tiers)
    report = restore(tiers, RestoreRequest())
    name = f"restore_{report.restore_id.replace('-', '')}_content_storage"
    with pytest.raises(Permanent):
        tiers.warehouse.row_count(name)


def test_a_role_that_may_not_create_a_schema_is_told_so(tiers: Tiers) -> None:
    written(tiers)
    plan = restorer(tiers).plan(RestoreRequest(target=Target.scratch("beside", "beside_")))
    role = f"bare_{tiers.bigquery_dataset}"[:60]
    with tiers.database.connection() as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        for kind in ("TABLES", "SEQUENCES"):
            connection.execute(
                sql.SQL("GRANT ALL ON ALL {} IN SCHEMA public TO {}").format(sql.SQL(kind), sql.Identifier(role))
            )
    from content_orchestration.core.restore.engine import Restorer
    from content_orchestration.resources.postgres_client import PostgresClient

    try:
        with PostgresClient(tiers.database_url.replace("postgres@", f"{role}@")) as bare:
            engine = Restorer(bare, tiers.store, tiers.warehouse, run_id="test", chunk_bytes=plan.chunk_bytes)
            with pytest.raises(Permanent, match="may not create schema beside"):
                engine.run(plan.request, plan.plan_hash)
    finally:
        with tiers.database.connection() as connection:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_a_moment_an_hour_from_now_means_the_last_sync(tiers: Tiers) -> None:
    sync_id = written(tiers)
    later = datetime.now(UTC) + timedelta(hours=1)
    assert restorer(tiers).plan(RestoreRequest(as_of=later)).as_of_sync_id == sync_id
