"""Deleted content past its plan: gone from every tier, nothing else, and the books true afterwards."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from content_orchestration.core.cleanup import retention
from content_orchestration.core.cleanup.expired import CHANGED
from content_orchestration.core.cleanup.guards import NeverDelete, Refused
from content_orchestration.core.cleanup.horizons import RetentionRules
from content_orchestration.core.content.errors import ContentNotFound
from content_orchestration.core.content.writing import Writer
from content_orchestration.core.errors import AlreadyRunning, Permanent, Transient
from content_orchestration.core.quota.plans import PLANS, Plan
from content_orchestration.core.restore.request import RestoreRequest
from content_orchestration_tests.replication_fakes import sync
from content_orchestration_tests.restore_model import restore
from content_orchestration_tests.retention_world import RetentionWorld, retention_world
from content_orchestration_tests.tiers import Tiers


@pytest.fixture
def world(tiers: Tiers, tmp_path: Path) -> Iterator[RetentionWorld]:
    with retention_world(tiers, tmp_path) as made:
        yield made


def test_what_is_past_its_plan_goes_from_every_tier_and_nothing_else(world: RetentionWorld) -> None:
    gone = world.item("free", days=31, versions=2)
    young, live = world.item("free", days=29), world.item("free")
    paid, old = world.item("starter", days=31), world.item("starter", days=91)
    nameless = world.item(None, days=31)
    kept = [
        world.item("enterprise", days=4000),
        world.item("business", days=1800),
        world.item("professional", days=364),
    ]
    before = world.documents()
    report = world.purge()
    assert (report.deleted, report.left, report.skipped) == (3, 0, {})
    assert world.items() == {young.id, live.id, paid.id, *(each.id for each in kept)}
    assert before - world.documents() == {f"{gone.id}.v1", f"{gone.id}.v2", f"{old.id}.v1", f"{nameless.id}.v1"}
    assert world.documents("content_versions") == world.documents()
    assert report.freed_bytes == sum(each.storage_size_bytes for each in (gone, old, nameless))
    world.true_everywhere()
    audited = world.run("SELECT action, subject_id, reason FROM cleanup_audit ORDER BY audit_id")
    assert {(row["action"], row["subject_id"]) for row in audited} == {
        (action, str(each.id)) for action in ("purged", "deleted") for each in (gone, old, nameless)
    }
    assert audited[0]["reason"].startswith("deleted longer ago than plan ")
    assert world.run("SELECT count(*) FROM cleanup_quarantine WHERE state <> 'deleted' OR row_json <> '{}'")[0] == {
        "count": 0
    }
    assert world.purge().deleted == 0


def test_a_dry_run_tells_the_same_and_writes_nothing_at_all(world: RetentionWorld) -> None:
    world.item("free", days=31, versions=2)
    world.item("free", days=40)
    world.item("free", days=1)
    before = world.state()
    told = world.purge(dry_run=True)
    assert world.state() == before
    assert (told.candidates, told.deleted, told.dry_run, len(told.samples)) == (2, 0, True, 2)
    assert told.oldest_seconds == pytest.approx(40 * 86400, rel=0.01)
    assert world.purge(dry_run=True, limit=1).left == 1
    done = world.purge()
    assert (done.deleted, done.freed_bytes) == (2, told.freed_bytes)


def test_a_limit_bounds_a_pass_and_the_next_one_goes_on_with_the_oldest_first(
    world: RetentionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("content_orchestration.core.cleanup.expired._PAGE", 2)
    monkeypatch.setattr("content_orchestration.core.cleanup.expired._TENANTS", 1)
    old, mid, new = (world.item("free", days=days) for days in (50, 40, 31))
    other = world.item("starter", days=100)
    reports = [world.purge(limit=1) for _ in range(2)]
    assert [(report.deleted, report.scanned, report.left) for report in reports] == [(1, 1, 3), (1, 1, 2)]
    assert world.items() in ({new.id, other.id}, {mid.id, new.id}), "the oldest of its tenant goes first"
    assert old.id not in world.items()
    assert (world.purge().deleted, world.items()) == (2, set())


def interfering(monkeypatch: pytest.MonkeyPatch, act: Callable[[UUID], Any]) -> None:
    """Let something happen between the scan and the purge of each item."""
    purge = Writer.purge

    def later(self: Writer, tenant_id: UUID, content_id: UUID, **given: Any) -> Any:
        act(content_id)
        return purge(self, tenant_id, content_id, **given)

    monkeypatch.setattr(retention.Writer, "purge", later)


def test_an_item_that_is_brought_back_after_the_scan_survives(
    world: RetentionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = world.item("free", days=31)
    interfering(monkeypatch, lambda content: world.content.undelete(world.tenant("free"), content))
    report = world.purge()
    assert (report.deleted, report.skipped) == (0, {CHANGED: 1})
    assert world.content.get(world.tenant("free"), item.id).body is not None
    world.true_everywhere()


def test_a_plan_that_is_upgraded_after_the_scan_counts(world: RetentionWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    item = world.item("free", days=31)
    interfering(monkeypatch, lambda _: world.run("UPDATE tenants SET plan_tier = 'starter'"))
    assert world.purge().skipped == {CHANGED: 1}
    assert world.items() == {item.id}


def test_an_undelete_that_is_not_committed_keeps_the_purge_off(world: RetentionWorld) -> None:
    item = world.item("free", days=31)
    with world.tiers.database.connection() as other:
        other.execute("UPDATE content_storage_metadata SET deleted_at = NULL WHERE id = %s", [item.id])
        assert world.purge().skipped == {CHANGED: 1}
    assert world.items() == {item.id}


def test_the_delete_itself_repeats_the_rule(world: RetentionWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the look that locks, a purge that waits for an undelete still finds the item brought back."""
    item = world.item("free", days=31)
    real = retention.Writer.purge.__globals__["statement"]

    def blind(name: str) -> Any:
        return "SELECT %(id)s::uuid AS id" if name == "cleanup/retention_lock" else real(name)

    monkeypatch.setattr("content_orchestration.core.content.writing.statement", blind)
    reports: list[Any] = []
    with world.tiers.database.connection() as other:
        other.execute("UPDATE content_storage_metadata SET deleted_at = NULL WHERE id = %s", [item.id])
        thread = threading.Thread(target=lambda: reports.append(world.purge()))
        thread.start()
        while not world.run(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ):
            assert thread.is_alive(), reports
    thread.join(20)
    assert reports[0].skipped == {CHANGED: 1}
    assert world.items() == {item.id}


def test_an_unknown_plan_and_a_tenant_that_is_gone_keep_everything_and_are_counted(world: RetentionWorld) -> None:
    odd, lost = world.item("free", days=4000), world.item("starter", days=4000)
    world.item("professional", days=4000)
    world.run("UPDATE tenants SET plan_tier = 'platinum' WHERE id = %s", world.tenant("free"))
    world.run("DELETE FROM tenants WHERE id = %s", world.tenant("starter"))
    report = world.purge()
    assert (report.deleted, report.skipped) == (1, {"unknown_plan": 1, "unknown_tenant": 1})
    assert world.items() == {odd.id, lost.id}


def test_tenants_that_nothing_may_be_deleted_of_are_left_out(world: RetentionWorld) -> None:
    item = world.item("free", days=31)
    rules = RetentionRules(never=NeverDelete(frozenset({world.tenant("free")})))
    report = world.purge(rules=rules)
    assert (report.deleted, report.skipped) == (0, {"never_delete_tenant": 1})
    assert world.items() == {item.id}
    assert world.purge(rules=RetentionRules(plans={"free": Plan("free", 1, None, None, 0)})).deleted == 0


def test_more_candidates_than_the_ceiling_stop_the_pass_before_it_removes_anything(
    world: RetentionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "CEILING_FLOOR", 2)
    monkeypatch.setattr("content_orchestration.core.cleanup.guards.CEILING_FLOOR", 2)
    items = {world.item("free", days=31).id for _ in range(3)}
    for dry_run in (True, False):
        with pytest.raises(Refused, match="ceiling"):
            world.purge(dry_run=dry_run)
    assert world.items() == items
    # What is held is no candidate, and does not hide others either.
    assert (
        world.purge(rules=RetentionRules(plans=PLANS, never=NeverDelete(frozenset({world.tenant("free")})))).left == 0
    )


def test_an_open_restore_and_a_replication_that_is_behind_stop_the_pass(world: RetentionWorld) -> None:
    item = world.item("free", days=31)
    world.run(
        "INSERT INTO restore_runs (plan_hash, request, plan, as_of_sync_id, target, run_id) "
        "VALUES (repeat('a', 64), '{}', '{}', 1, 'live', 'r')"
    )
    with pytest.raises(Refused, match="restore_open"):
        world.purge()
    world.run("UPDATE restore_runs SET status = 'closed', closed_at = now()")
    world.run("INSERT INTO replication_cursor (system_identifier, next_xid, last_sync_id) VALUES ('x', '0', 0)")
    with pytest.raises(Refused, match="replication_behind"):
        world.purge(rules=RetentionRules(most_behind=timedelta(seconds=-1)))
    assert world.items() == {item.id}
    assert world.purge().deleted == 1


def test_a_clock_that_is_wrong_stops_the_pass(world: RetentionWorld) -> None:
    world.item("free", days=31)
    with pytest.raises(Refused, match="clock"):
        retention.purge_expired(
            world.tiers.database, world.tiers.store, run_id="t", dry_run=False, limit=9, clock=lambda: 0.0
        )
    assert len(world.items()) == 1


def test_one_pass_at_a_time(world: RetentionWorld) -> None:
    with world.tiers.database.advisory_lock(retention.LOCK), pytest.raises(AlreadyRunning):
        world.purge(dry_run=True)


def test_files_of_a_purged_item_go_with_it_but_not_one_that_another_row_names(world: RetentionWorld) -> None:
    item, other = world.item("free", days=31), world.item("free")
    own = world.file("free", b"own", content=item.id)
    shared = world.file("free", b"shared", content=item.id)
    world.file("free", b"shared", content=other.id)
    world.variant("free", own)
    world.true_everywhere()
    report = world.purge()
    assert report.freed_bytes == item.storage_size_bytes + len(b"own") + len(b"shared")
    assert world.run("SELECT content_id FROM media_assets") == [{"content_id": other.id}]
    assert world.run("SELECT key FROM media_objects") == [{"key": shared}]
    assert world.run("SELECT key FROM media_variants") == []
    assert {row["key"] for row in world.run("SELECT key FROM media_superseded")} == {own, f"variants/{own}/1-t.webp"}
    assert len(world.documents("content_media_files")) == 1
    assert world.objects("free") == sorted([own, shared, f"variants/{own}/1-t.webp"]), "bytes wait for their grace"
    world.true_everywhere()


def test_while_the_document_store_is_down_rows_go_and_documents_follow_later(
    world: RetentionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = world.item("free", days=31)

    def down(*_: Any) -> int:
        raise Transient("down")

    with monkeypatch.context() as broken:
        broken.setattr(type(world.tiers.store), "delete_many", down)
        report = world.purge()
    assert (report.deleted, report.skipped) == (1, {"unended_tier_unavailable": 1})
    assert f"{item.id}.v1" in world.documents()
    assert world.purge().skipped == {}
    assert world.documents() == set()


def test_an_item_that_its_source_makes_anew_keeps_its_documents(
    world: RetentionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before documents went, the same ids came back to life: ending the old removal leaves them alone."""
    first = world.item("free", days=31, source="campaign:1")
    with monkeypatch.context() as broken:
        broken.setattr("content_orchestration.core.cleanup.retention.finish", lambda *_, **__: {})
        world.purge()
    again = world.item("free", source="campaign:1")
    assert again.id == first.id
    # Deleted once more, while the first removal is not ended: it waits.
    with monkeypatch.context() as broken:
        broken.setattr("content_orchestration.core.cleanup.retention.finish", lambda *_, **__: {})
        world.content.soft_delete(world.tenant("free"), again.id)
        world.deleted_ago(again.id, 31)
        assert world.purge().skipped == {CHANGED: 1}
    world.content.undelete(world.tenant("free"), again.id)
    assert world.purge().skipped == {}
    assert world.documents() == {f"{again.id}.v1"}
    world.true_everywhere()


def test_what_was_migrated_and_purged_is_not_migrated_again(world: RetentionWorld) -> None:
    legacy, owner = uuid4(), world.tenant("free")
    world.run(
        "INSERT INTO content_items (id, tenant_id, title, content_body, content_type, status, created_at) "
        "VALUES (%s, %s, 't', 'b', 'post', 'draft', now())",
        legacy,
        owner,
    )
    (item,) = world.migrate()
    world.content.soft_delete(owner, item)
    world.deleted_ago(item, 31)
    assert world.purge().deleted == 1
    assert world.migrate() == set()
    truth = world.migration_truth()
    assert (truth.items, truth.unaccounted) == (1, 0)


def test_a_purge_by_hand_says_what_it_always_said(world: RetentionWorld) -> None:
    item = world.item("free")
    owner = world.tenant("free")
    world.content.purge(owner, item.id, may_purge=True, confirm=f"purge {item.id}")
    with pytest.raises(ContentNotFound):
        world.content.purge(owner, item.id, may_purge=True, confirm=f"purge {item.id}")
    assert world.run("SELECT * FROM cleanup_quarantine") == []
    world.true_everywhere()


def test_what_was_purged_can_be_restored_from_the_history(world: RetentionWorld) -> None:
    item = world.item("free", versions=3)
    world.aged(item.id, {1: 90, 2: 60, 3: 40})
    body = world.content.get(world.tenant("free"), item.id).body
    before = sync(world.tiers).last_sync_id
    assert before is not None
    assert world.supersede().deleted == 1
    world.content.soft_delete(world.tenant("free"), item.id)
    world.deleted_ago(item.id, 31)
    assert world.purge().deleted == 1
    assert world.documents() == set()
    after = sync(world.tiers).last_sync_id
    assert after is not None
    with pytest.raises(Permanent, match="the history has no row"):
        restore(world.tiers, RestoreRequest(as_of=after))
    assert restore(world.tiers, RestoreRequest(as_of=before)).verified
    assert world.content.get(world.tenant("free"), item.id).body == body
    assert [each.version for each in world.content.versions(world.tenant("free"), item.id)] == [3, 2, 1]
    world.true_everywhere()
