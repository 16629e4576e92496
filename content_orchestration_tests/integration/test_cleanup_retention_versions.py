"""Superseded versions past the plan: what an item said within the plan's time stays, and no check complains."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from content_orchestration.core.cleanup.expired import CHANGED
from content_orchestration.core.cleanup.guards import NeverDelete
from content_orchestration.core.cleanup.holds import HELD
from content_orchestration.core.cleanup.horizons import RetentionRules
from content_orchestration.core.content.errors import InvalidContent
from content_orchestration.core.integrity.findings import Kind
from content_orchestration.core.integrity.versions import compare_versions
from content_orchestration.core.sql import statement
from content_orchestration_tests.retention_world import RetentionWorld, retention_world
from content_orchestration_tests.tiers import Tiers


@pytest.fixture
def world(tiers: Tiers, tmp_path: Path) -> Iterator[RetentionWorld]:
    with retention_world(tiers, tmp_path) as made:
        yield made


def versions_of(world: RetentionWorld) -> list[str]:
    return sorted(row["zerodb_row_id"] for row in world.run("SELECT zerodb_row_id FROM content_versions"))


def test_versions_go_up_to_the_one_that_was_current_when_the_plans_time_began(world: RetentionWorld) -> None:
    item = world.item("free", versions=4)
    world.aged(item.id, {1: 90, 2: 60, 3: 31, 4: 5})
    young = world.item("free", versions=2)
    world.aged(young.id, {1: 400, 2: 29})
    still = world.item("free", versions=1)
    world.aged(still.id, {1: 400})
    deleted = world.item("free", versions=2, days=3)
    world.aged(deleted.id, {1: 90, 2: 60})
    kept = world.item("enterprise", versions=2)
    world.aged(kept.id, {1: 4000, 2: 3000})
    before = world.state()
    told = world.supersede(dry_run=True)
    assert world.state() == before
    report = world.supersede()
    assert (told.candidates, told.deleted, report.deleted, report.skipped) == (2, 0, 2, {})
    left = {f"{item.id}.v3", f"{item.id}.v4", f"{deleted.id}.v2", f"{still.id}.v1"}
    left |= {f"{one.id}.v{n}" for one in (young, kept) for n in (1, 2)}
    assert versions_of(world) == sorted(left)
    assert world.documents() == world.documents("content_versions") == left
    assert told.freed_bytes == report.freed_bytes > 0
    world.true_everywhere()
    assert world.supersede().deleted == 0
    owner = world.tenant("free")
    with pytest.raises(InvalidContent, match="versions 3 to 4"):
        world.content.rollback_to(owner, item.id, 1, expected_version=4, changed_by="t")
    assert world.content.rollback_to(owner, item.id, 3, expected_version=4, changed_by="t").version == 5
    world.true_everywhere()


def test_a_gap_above_the_floor_is_still_a_finding_and_one_at_the_floor_too(world: RetentionWorld) -> None:
    item = world.item("free", versions=5)
    world.aged(item.id, {1: 90, 2: 60, 3: 31, 4: 5, 5: 1})
    world.supersede()
    assert world.run("SELECT floor FROM retention_floors") == [{"floor": 3}]
    found = []
    for version in (4, 3):
        world.run("DELETE FROM content_versions WHERE content_id = %s AND version = %s", item.id, version)
        compared = compare_versions(world.tiers.database, world.tiers.store)
        found += [(each.kind, each.detail["missing"]) for each in compared.differences if each.kind == Kind.VERSION_GAP]
        assert len(world.run(statement("validation/version_gaps"))) == 1
    assert found == [(Kind.VERSION_GAP, [4]), (Kind.VERSION_GAP, [3, 4])]


def test_what_a_restore_brought_back_from_below_the_floor_is_no_finding_and_goes_again(world: RetentionWorld) -> None:
    item = world.item("free", versions=3)
    world.aged(item.id, {1: 90, 2: 60, 3: 31})
    rows = world.run(
        "SELECT row_to_json(v)::text AS row_json FROM content_versions v WHERE version < 3 ORDER BY version"
    )
    assert world.supersede().deleted == 1
    for row in rows:
        world.run(statement("integrity/version_restore").replace("%(row_json)s", "%s"), row["row_json"])
    compared = compare_versions(world.tiers.database, world.tiers.store)
    assert [each for each in compared.differences if each.kind == Kind.VERSION_GAP] == []
    assert world.supersede().deleted == 1
    world.true_everywhere()


def test_a_body_that_waits_in_the_spill_keeps_its_version_and_all_behind_it(world: RetentionWorld) -> None:
    item = world.item("free", versions=4)
    world.aged(item.id, {1: 90, 2: 80, 3: 70, 4: 31})
    row = world.run("SELECT * FROM content_versions WHERE version = 2")[0]
    world.run(
        "INSERT INTO content_body_spill (zerodb_row_id, tenant_id, content_id, version, body, body_sha256, size_bytes) "
        "VALUES (%s, %s, %s, 2, 'b', %s, 1)",
        row["zerodb_row_id"], row["tenant_id"], item.id, row["body_sha256"],
    )  # fmt: skip
    assert world.supersede().deleted == 1
    assert versions_of(world) == [f"{item.id}.v{n}" for n in (2, 3, 4)]
    # All that could go has gone; the rest is looked at and left.
    report = world.supersede()
    assert (report.deleted, report.skipped) == (0, {CHANGED: 1})
    world.run("DELETE FROM content_body_spill")
    assert world.supersede().deleted == 1
    assert versions_of(world) == [f"{item.id}.v4"]


def test_a_pointer_that_a_restore_moved_back_bounds_what_goes(world: RetentionWorld) -> None:
    item = world.item("free", versions=3)
    world.aged(item.id, {1: 90, 2: 80, 3: 70})
    world.run("UPDATE content_storage_metadata SET version = 2 WHERE id = %s", item.id)
    assert world.supersede().deleted == 1
    assert versions_of(world) == [f"{item.id}.v2", f"{item.id}.v3"]


def test_an_upgrade_a_hold_and_a_locked_item_keep_versions(
    world: RetentionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = world.item("free", versions=2)
    world.aged(item.id, {1: 90, 2: 60})
    with world.tiers.database.connection() as other:
        other.execute("SELECT FROM content_storage_metadata WHERE id = %s FOR UPDATE", [item.id])
        assert world.supersede().skipped == {CHANGED: 1}
    never = RetentionRules(never=NeverDelete(frozenset({world.tenant("free")})))
    assert world.supersede(rules=never).scanned == 0
    from content_orchestration.core.cleanup import versions

    real = versions.held_tenants

    def blind(connection: object) -> frozenset[object]:
        """The look before the walk sees no hold, as if it was placed a moment later."""
        real(connection)  # type: ignore[arg-type]
        return frozenset()

    with monkeypatch.context() as late:
        late.setattr(versions, "held_tenants", blind)
        world.hold("free")
        assert world.supersede().skipped == {HELD: 1}
    world.run("UPDATE legal_holds SET released_at = now(), released_by = 'x', release_reason = 'y'")
    purge = versions._purge

    def upgraded(*given: object) -> int | None:
        world.run("UPDATE tenants SET plan_tier = 'starter'")
        return purge(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(versions, "_purge", upgraded)
    assert world.supersede().skipped == {CHANGED: 1}
    assert len(versions_of(world)) == 2


def test_a_removal_of_the_same_floor_that_is_not_ended_keeps_versions_that_came_back(
    world: RetentionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = world.item("free", versions=2)
    world.aged(item.id, {1: 90, 2: 60})
    row = world.run("SELECT row_to_json(v)::text AS row_json FROM content_versions v WHERE version = 1")[0]
    with monkeypatch.context() as broken:
        broken.setattr("content_orchestration.core.cleanup.versions.finish", lambda *_, **__: {"tier_unavailable": 1})
        assert world.supersede().skipped == {"unended_tier_unavailable": 1}
        world.run(statement("integrity/version_restore").replace("%(row_json)s", "%s"), row["row_json"])
        assert world.supersede().skipped == {CHANGED: 1, "unended_tier_unavailable": 1}
    assert world.run("SELECT count(*) FROM content_versions") == [{"count": 2}]
    # The documents are named again, so ending the old removal leaves them; then all goes in order.
    assert world.supersede().deleted == 1
    world.true_everywhere()
