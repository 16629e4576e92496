"""Legal holds: nothing of a held tenant goes, from the moment on that the hold is placed, and none is forgotten."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from content_orchestration.core.cleanup import retention
from content_orchestration.core.cleanup.holds import (
    HELD,
    UnderHold,
    held_tenants,
    holds_of,
    place,
    release,
    require_free,
)
from content_orchestration.core.content.scope import as_tenant
from content_orchestration.core.content.writing import Writer
from content_orchestration.core.errors import Permanent
from content_orchestration_tests.retention_world import RetentionWorld, retention_world
from content_orchestration_tests.tiers import Tiers


@pytest.fixture
def world(tiers: Tiers, tmp_path: Path) -> Iterator[RetentionWorld]:
    with retention_world(tiers, tmp_path) as made:
        yield made


def test_a_tenant_is_held_until_each_of_its_holds_is_released_and_all_of_it_is_told(world: RetentionWorld) -> None:
    database, tenant = world.tiers.database, world.tenant("free")
    first = place(database, tenant, reason=" lawsuit ", placed_by="counsel")
    second = place(database, tenant, reason="audit", placed_by="finance")
    release(database, first.hold_id, reason="settled", released_by="counsel")
    with database.connection() as connection:
        assert held_tenants(connection) == {tenant}
        with pytest.raises(UnderHold):
            require_free(connection, tenant)
        require_free(connection, world.tenant("starter"))
    release(database, second.hold_id, reason="done", released_by="finance")
    with database.connection() as connection:
        assert held_tenants(connection) == frozenset()
    told = [(each.reason, each.released_by, each.release_reason) for each in holds_of(database, tenant)]
    assert told == [("audit", "finance", "done"), ("lawsuit", "counsel", "settled")]
    audited = world.run("SELECT action, reason, tenant_id, detail ->> 'by' AS by FROM cleanup_audit ORDER BY audit_id")
    assert [(row["action"], row["by"]) for row in audited] == [
        ("placed", "counsel"), ("placed", "finance"), ("released", "counsel"), ("released", "finance"),
    ]  # fmt: skip
    for wrong in (first.hold_id, uuid4()):
        with pytest.raises(Permanent, match="was not released"):
            release(database, wrong, reason="r", released_by="b")


@pytest.mark.parametrize("given", [{"reason": " "}, {"reason": "x" * 1001}, {"placed_by": ""}, {"reason": "a\0b"}])
def test_a_hold_needs_a_reason_and_a_name(world: RetentionWorld, given: dict[str, str]) -> None:
    with pytest.raises(Permanent, match="a hold needs"):
        place(world.tiers.database, world.tenant("free"), **({"reason": "r", "placed_by": "b"} | given))
    assert world.run("SELECT * FROM legal_holds") == []


def test_a_look_that_cannot_see_every_hold_never_says_that_there_are_none(world: RetentionWorld) -> None:
    tenant = world.tenant("free")
    world.hold("free")
    # That role may read the columns, and the policies hide every row of another tenant.
    with (
        as_tenant(world.tiers.database, uuid4()) as connection,
        pytest.raises(Permanent, match="does not see every tenant"),
    ):
        held_tenants(connection)
    item = world.item("free", days=31)
    world.run("ALTER TABLE legal_holds RENAME TO elsewhere")
    with pytest.raises(psycopg.errors.UndefinedTable):
        world.purge()
    world.run("ALTER TABLE elsewhere RENAME TO legal_holds")
    assert world.items() == {item.id}
    assert tenant in {hold.tenant_id for hold in holds_of(world.tiers.database, tenant)}


def test_holds_are_ended_and_never_removed_or_rewritten_by_a_job(world: RetentionWorld) -> None:
    world.hold("free")
    for statement in (
        "DELETE FROM legal_holds",
        "TRUNCATE legal_holds",
        "UPDATE legal_holds SET tenant_id = gen_random_uuid()",
        "UPDATE legal_holds SET reason = 'x'",
    ):
        with world.tiers.database.connection() as connection:
            connection.execute("SET LOCAL ROLE content_worker")
            with pytest.raises(InsufficientPrivilege):
                connection.execute(statement)
            connection.rollback()
    assert len(world.run("SELECT * FROM legal_holds")) == 1


def test_nothing_of_a_held_tenant_goes(world: RetentionWorld) -> None:
    gone = world.item("starter", days=91)
    item = world.item("free", days=31, versions=2)
    world.aged(item.id, {1: 90, 2: 60})
    world.file("free", b"deleted", days=40)
    hold = world.hold("free")
    before = world.state()
    report = world.purge()
    assert (report.deleted, report.skipped) == (1, {HELD: 1})
    assert world.supersede().deleted == 0
    assert {kind: each.deleted for kind, each in world.sweep().items() if each.deleted} == {}
    assert world.items() == {item.id}
    after = world.state()
    assert before["documents"]["content_items"] != after["documents"]["content_items"], "the other tenant's went"
    assert f"{item.id}.v1" in world.documents()
    assert before["files"] == after["files"]
    assert gone.id not in world.items()
    owner = world.tenant("free")
    with pytest.raises(UnderHold):
        world.content.purge(owner, item.id, may_purge=True, confirm=f"purge {item.id}")
    release(world.tiers.database, hold, reason="settled", released_by="counsel")
    assert world.purge().deleted == 1
    assert world.items() == set()


def test_a_hold_that_is_placed_after_the_scan_counts(world: RetentionWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    item = world.item("free", days=31)
    purge = Writer.purge

    def held(self: Writer, *given: Any, **named: Any) -> Any:
        world.hold("free")
        return purge(self, *given, **named)

    monkeypatch.setattr(retention.Writer, "purge", held)
    assert world.purge().skipped == {HELD: 1}
    assert world.items() == {item.id}


def test_the_statements_themselves_hold(world: RetentionWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were nobody to ask beforehand, the deletes would still find no row of a held tenant."""
    item = world.item("free", days=31, versions=2)
    world.aged(item.id, {1: 90, 2: 60})
    world.file("free", b"deleted", days=40)
    world.hold("free")
    for module in ("content.writing", "cleanup.versions", "cleanup.media_rows", "cleanup.files"):
        monkeypatch.setattr(f"content_orchestration.core.{module}.require_free", lambda *_: None)
    for module in ("retention", "versions", "media_rows"):
        monkeypatch.setattr(f"content_orchestration.core.cleanup.{module}.held_tenants", lambda _: frozenset())
    before = world.state()
    reports = [world.purge(), world.supersede(), world.sweep()["media"]]
    assert [report.deleted for report in reports] == [0, 0, 0]
    for part in ("documents", "files"):
        assert world.state()[part] == before[part]
    assert world.items() == {item.id}
    assert world.run("SELECT count(*) FROM content_versions") == [{"count": 2}]
    assert world.run("SELECT count(*) FROM media_assets") == [{"count": 1}]


def test_a_hold_waits_for_what_is_being_removed_and_stops_what_comes_next(world: RetentionWorld) -> None:
    """Two sessions: who removes has looked, so placing waits until that is over; then nobody removes any more."""
    tenant, placed = world.tenant("free"), threading.Event()

    def placing() -> None:
        world.hold("free")
        placed.set()

    with world.tiers.database.connection() as connection:
        require_free(connection, tenant)
        thread = threading.Thread(target=placing)
        thread.start()
        while not world.run("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            assert thread.is_alive()
        assert not placed.is_set()
        with connection.transaction():
            assert held_tenants(connection) == frozenset()
    thread.join(20)
    assert placed.is_set()
    with world.tiers.database.connection() as connection, pytest.raises(UnderHold):
        require_free(connection, tenant)


def test_documents_of_a_row_that_went_before_the_hold_wait_for_its_end(
    world: RetentionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = world.item("free", days=31)
    with monkeypatch.context() as killed:
        killed.setattr("content_orchestration.core.cleanup.retention.finish", lambda *_, **__: {})
        world.purge()
    hold = world.hold("free")
    assert world.purge().skipped == {f"unended_{HELD}": 1}
    assert world.documents() == {f"{item.id}.v1"}
    release(world.tiers.database, hold, reason="settled", released_by="counsel")
    world.purge()
    assert world.documents() == set()
