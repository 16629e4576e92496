"""What is left over: documents nobody names, copies, deleted files, bytes, jobs, reservations; kept as promised."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from content_orchestration.core.cleanup import documents as stray_documents
from content_orchestration.core.cleanup.guards import NeverDelete, Refused
from content_orchestration.core.cleanup.holds import HELD
from content_orchestration.core.cleanup.horizons import RetentionRules
from content_orchestration.core.cleanup.model import Cleaned
from content_orchestration.core.errors import Transient
from content_orchestration.core.identity import sha256_hex
from content_orchestration.core.integrity.documents import compare_documents
from content_orchestration.core.integrity.findings import Comparison
from content_orchestration.core.integrity.report import IntegrityReport, Scope
from content_orchestration.core.integrity.report_store import store_report
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration_tests.retention_world import RetentionWorld, retention_world
from content_orchestration_tests.tiers import Tiers

NO_GRACE = RetentionRules(file_grace=timedelta(0))


@pytest.fixture
def world(tiers: Tiers, tmp_path: Path) -> Iterator[RetentionWorld]:
    with retention_world(tiers, tmp_path) as made:
        yield made


def report(world: RetentionWorld, *, ago: timedelta = timedelta(0), unknown: str | None = None) -> Comparison:
    """What the integrity check says of the documents, stored as it does."""
    compared = compare_documents(
        world.tiers.database, world.tiers.store, grace=timedelta(hours=1), now=datetime.now(UTC)
    )
    compared.unknown = unknown
    store_report(
        world.tiers.database, IntegrityReport(Scope.HOURLY, "t", datetime.now(UTC) - ago, [compared], compared.seconds)
    )
    return compared


def stray(world: RetentionWorld, plan: str | None = "free", **given: Any) -> str:
    """A body that no row names, written long ago; its id."""
    content, body = uuid4(), "a zero \0 and more"
    document = {
        "id": f"{content}.v1", "content_id": str(content), "tenant_id": str(world.tenant(plan)), "version": 1,
        "body": body, "created_at": "2020-01-01T00:00:00Z",
    } | given  # fmt: skip
    world.tiers.store.put_many("content_items", [document])
    return str(document["id"])


def restore(world: RetentionWorld, **given: Any) -> Cleaned:
    wanted: dict[str, Any] = {"of_run": None, "prefix": None, "dry_run": False, "limit": 100} | given
    return stray_documents.restore(world.tiers.database, world.tiers.store, run_id="undo", **wanted)


def test_a_document_without_a_row_is_kept_and_can_be_brought_back_as_it_was(world: RetentionWorld) -> None:
    live = world.item("free")
    gone = stray(world)
    whole = world.tiers.store.get_many("content_items", [gone])[gone]
    report(world)
    swept = world.sweep()["document"]
    assert (swept.candidates, swept.quarantined, swept.left) == (1, 1, 0)
    assert world.documents() == {f"{live.id}.v1"}
    assert restore(world, dry_run=True).candidates == 1
    assert restore(world, of_run="other").candidates == restore(world, prefix="content_versions/").candidates == 0
    assert restore(world, of_run="test", prefix=f"content_items/{gone[:8]}", limit=0).restored == 0
    assert restore(world, of_run="test", prefix=f"content_items/{gone[:8]}").restored == 1
    assert world.tiers.store.get_many("content_items", [gone])[gone] == whole
    told = world.run("SELECT run_id, action FROM cleanup_audit WHERE kind = 'document' ORDER BY audit_id")
    assert [tuple(row.values()) for row in told] == [("test", "quarantined"), ("undo", "restored")]
    assert restore(world).restored == 0


def test_past_its_grace_a_document_is_forgotten(world: RetentionWorld) -> None:
    stray(world)
    report(world)
    assert world.sweep(quarantine=timedelta(0))["document"].quarantined == 1
    kept = world.run("SELECT state, row_json ->> 'text' AS text FROM cleanup_quarantine")
    assert (kept[0]["state"], json.loads(kept[0]["text"])[0]["version"]) == ("quarantined", 1)
    assert world.sweep()["document"].deleted == 1
    assert world.run("SELECT state, row_json FROM cleanup_quarantine") == [{"state": "deleted", "row_json": {}}]
    assert restore(world).candidates == 0


def test_a_document_that_is_stored_again_is_not_overwritten_by_an_undo(world: RetentionWorld) -> None:
    gone = stray(world)
    report(world)
    world.sweep()
    world.tiers.store.put_many("content_items", [{"id": gone, "body": "another"}])
    assert restore(world).skipped == {"stored_already": 1}
    assert world.tiers.store.get_many("content_items", [gone])[gone]["body"] == "another"


def test_whatever_is_named_held_excepted_changed_or_gone_since_the_report_stays(
    world: RetentionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, held, excepted, anybodys, changed, gone = (
        stray(world), stray(world, "starter"), stray(world, "business"), stray(world, tenant_id="nobody's"),
        stray(world), stray(world),
    )  # fmt: skip
    report(world)
    item = world.item("free")
    world.run("UPDATE content_versions SET zerodb_row_id = %s WHERE content_id = %s", named, item.id)
    world.hold("starter")
    world.tiers.store.delete_many("content_items", [gone])
    keep = stray_documents._remove

    def later(database: Any, documents: Any, row: Any, *rest: Any) -> Any:
        world.tiers.store.replace("content_items", {"id": changed, "body": "somebody else's"})
        return keep(database, documents, row, *rest)

    monkeypatch.setattr(stray_documents, "_remove", later)
    rules = RetentionRules(never=NeverDelete(frozenset({world.tenant("business")})))
    expected = {"named_again": 1, HELD: 2, "never_delete_tenant": 1, "gone": 1}
    told = world.sweep(dry_run=True, rules=rules)["document"]
    assert told.skipped == expected
    swept = world.sweep(rules=rules)["document"]
    assert (swept.skipped, swept.quarantined) == (expected | {"changed": 1}, 0)
    assert {named, held, excepted, anybodys, changed} <= world.documents()
    world.run("UPDATE legal_holds SET released_at = now(), released_by = 'x', release_reason = 'y'")
    assert world.sweep(rules=rules)["document"].skipped["tenant_unknown"] == 1


def test_a_row_that_comes_while_its_document_goes_gets_it_back(
    world: RetentionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = stray(world)
    report(world)
    item = world.item("free")
    delete = type(world.tiers.store).delete_many

    def slow(self: Any, collection: str, ids: Any) -> int:
        done = delete(self, collection, ids)
        world.run("UPDATE content_versions SET zerodb_row_id = %s WHERE content_id = %s", gone, item.id)
        return done

    monkeypatch.setattr(type(world.tiers.store), "delete_many", slow)
    assert world.sweep()["document"].skipped == {"named_again": 1}
    assert gone in world.documents()
    assert world.run("SELECT state FROM cleanup_quarantine") == [{"state": "restored"}]


def test_without_a_report_that_looked_lately_no_document_is_touched(world: RetentionWorld) -> None:
    gone = stray(world)
    assert world.sweep()["document"].skipped == {"no_integrity_report": 1}
    report(world, ago=timedelta(days=2))
    assert world.sweep()["document"].skipped == {"integrity_report_too_old": 1}
    report(world, unknown="ZeroDB is down")
    assert world.sweep()["document"].skipped == {"integrity_could_not_look": 1}
    assert gone in world.documents()


def test_more_documents_than_the_ceiling_stop_the_pass(world: RetentionWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("content_orchestration.core.cleanup.guards.CEILING_FLOOR", 1)
    ids = {stray(world), stray(world)}
    report(world)
    with pytest.raises(Refused, match="ceiling"):
        world.sweep()
    assert ids <= world.documents()


def test_a_dry_run_writes_nothing_at_all(world: RetentionWorld) -> None:
    stray(world)
    key = world.file("free", b"deleted", days=31)
    released = world.file("free", b"released", days=1)
    world.run(
        "INSERT INTO media_superseded SELECT tenant_id, key || 'x', sha256, 1 FROM media_objects WHERE key = %s",
        released,
    )
    held = QuotaLedger(world.tiers.database).reserve(world.tenant("free"), bytes=10)
    world.run("UPDATE quota_reservations SET expires_at = now() - interval '1 hour' WHERE id = %s", held.id)
    report(world)
    before = world.state()
    told = world.sweep(dry_run=True, rules=NO_GRACE)
    assert world.state() == before
    assert {kind: (each.candidates, each.deleted, each.quarantined) for kind, each in told.items()} == {
        "media": (1, 0, 0), "media_file": (1, 0, 0), "document": (1, 0, 0), "duplicate_document": (0, 0, 0),
        "generation_job": (0, 0, 0), "reservation": (1, 0, 0),
    }  # fmt: skip
    assert key in world.objects("free")
    done = world.sweep(rules=NO_GRACE)
    assert (done["media"].deleted, done["reservation"].deleted, done["reservation"].freed_bytes) == (1, 1, 10)
    assert key not in world.objects("free")
    world.true_everywhere()


def test_of_copies_that_the_rows_prove_one_stays_and_of_others_all(world: RetentionWorld) -> None:
    item, other = world.item("free"), world.item("free")
    good, torn = f"{item.id}.v1", f"{other.id}.v1"
    store = world.tiers.store
    world.copy(good)
    world.copy(torn)
    store.replace("content_items", {"id": torn, "body": "not what the row names"})
    report(world)
    assert world.sweep(dry_run=True)["duplicate_document"].candidates == 2
    swept = world.sweep()["duplicate_document"]
    assert (swept.deleted, swept.skipped) == (1, {"no_copy_is_proven": 1})
    assert store.count("content_items", {"id": good}) == 1
    assert store.count("content_items", {"id": torn}) == 2
    assert sha256_hex(store.get_many("content_items", [good])[good]["body"]) == item.body_sha256
    told = world.run("SELECT action, subject_id FROM cleanup_audit WHERE kind = 'duplicate_document'")
    assert {tuple(row.values()) for row in told} == {
        ("deleted", f"content_items/{good}"), ("refused", f"content_items/{torn}"),
    }  # fmt: skip
    assert world.sweep()["duplicate_document"].skipped == {"gone": 1, "no_copy_is_proven": 1}


def test_copies_of_a_held_or_excepted_tenant_stay(world: RetentionWorld) -> None:
    item = world.item("free")
    key = f"{item.id}.v1"
    world.copy(key)
    report(world)
    rules = RetentionRules(never=NeverDelete(frozenset({world.tenant("free")})))
    assert world.sweep(rules=rules)["duplicate_document"].skipped == {"never_delete_tenant": 1}
    world.hold("free")
    assert world.sweep()["duplicate_document"].skipped == {HELD: 1}
    assert world.tiers.store.count("content_items", {"id": key}) == 2


def test_a_deleted_file_past_its_plan_goes_with_its_variants_when_no_row_names_it(world: RetentionWorld) -> None:
    gone = world.file("free", b"gone", days=31)
    variant = world.variant("free", gone)
    shared = world.file("free", b"shared", days=31)
    world.file("free", b"shared", days=3)
    young = world.file("free", b"young", days=29)
    swept = world.sweep(rules=NO_GRACE)
    assert (swept["media"].deleted, swept["media_file"].deleted) == (2, 2)
    assert world.objects("free") == sorted([shared, young])
    assert len(world.documents("content_media_files")) == 2
    assert {row["key"] for row in world.run("SELECT key FROM media_objects")} == {shared, young}
    gone_keys = world.run("SELECT subject_id FROM cleanup_audit WHERE kind = 'media_file' AND action = 'deleted'")
    assert {row["subject_id"] for row in gone_keys} == {gone, variant}
    world.true_everywhere()


def test_bytes_wait_for_their_grace_and_stay_where_somebody_names_them_again(world: RetentionWorld) -> None:
    keys = [world.file("free", body, days=31) for body in (b"a", b"b", b"c", b"d")]
    swept = world.sweep()
    assert (swept["media"].deleted, swept["media_file"].deleted, swept["media_file"].scanned) == (4, 0, 0)
    # The same bytes came again; a row says that it is stored though no object is known; another is being stored.
    world.file("free", b"a")
    world.file("free", b"b")
    world.run("DELETE FROM media_objects WHERE key = %s", keys[1])
    world.run(
        "INSERT INTO media_objects (tenant_id, key, sha256, location, size_bytes, mime_type) "
        "SELECT %s, %s, %s, %s, 1, 'x'",
        uuid4(), keys[3], keys[3], world.stores.for_tenant(world.tenant("free")).location,
    )  # fmt: skip
    told = world.sweep(dry_run=True, rules=NO_GRACE)["media_file"]
    assert (told.skipped, told.candidates) == ({"named_again": 3}, 1)
    turn = world.tiers.database.advisory_lock(f"media:{world.tenant('free')}:{keys[2]}")
    with pytest.MonkeyPatch.context() as quick, turn:
        quick.setattr("content_orchestration.core.cleanup.files._PATIENCE_SECONDS", 0.0)
        done = world.sweep(rules=NO_GRACE)["media_file"]
    assert (done.deleted, done.skipped) == (0, {"named_again": 3, "busy": 1})
    assert world.objects("free") == sorted(keys)
    done = world.sweep(rules=NO_GRACE)["media_file"]
    assert (done.deleted, world.objects("free")) == (1, sorted([keys[0], keys[1], keys[3]]))


def test_bytes_of_a_held_or_excepted_tenant_or_place_stay(world: RetentionWorld) -> None:
    key = world.file("free", b"a", days=31)
    world.sweep()
    place = world.stores.for_tenant(world.tenant("free")).location.partition("://")[2]
    for never, why in (
        (NeverDelete(frozenset({world.tenant("free")})), "never_delete_tenant"),
        (NeverDelete(prefixes=(place,)), "never_delete_prefix"),
    ):
        rules = RetentionRules(file_grace=timedelta(0), never=never)
        assert world.sweep(rules=rules)["media_file"].skipped == {why: 1}
    world.hold("free")
    for dry_run in (True, False):
        assert world.sweep(rules=NO_GRACE, dry_run=dry_run)["media_file"].skipped == {HELD: 1}
    assert world.objects("free") == [key]


def test_a_limit_bounds_each_part(world: RetentionWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("content_orchestration.core.cleanup.files._PAGE", 1)
    monkeypatch.setattr("content_orchestration.core.cleanup.removals._PAGE", 1)
    monkeypatch.setattr("content_orchestration.core.cleanup.documents._PAGE", 1)
    for body in (b"a", b"b", b"c"):
        world.file("free", body, days=31)
    for _ in range(3):
        stray(world)
    report(world)
    swept = [world.sweep(limit=2, rules=NO_GRACE, quarantine=timedelta(0)) for _ in range(2)]
    assert [(s["media"].deleted, s["media_file"].deleted, s["document"].quarantined) for s in swept] == [
        (2, 2, 2), (1, 1, 1),
    ]  # fmt: skip
    assert swept[0]["media"].left == 1


def test_while_a_hold_stands_no_day_of_generation_is_dropped(
    world: RetentionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    clean_up = world.sweep.__globals__["sweep"].__globals__["clean_up"]

    def noted(database: Any, history_days: int) -> Any:
        asked.append(history_days)
        return clean_up(database, history_days)

    monkeypatch.setattr("content_orchestration.core.cleanup.leftovers.clean_up", noted)
    world.sweep(history_days=90)
    world.hold("free")
    assert world.sweep(history_days=90)["generation_job"].skipped == {f"days_kept_for_{HELD}": 1}
    assert asked == [90, 36_500]


def test_three_answers_in_a_row_that_do_not_come_are_an_outage(
    world: RetentionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    for days in (31, 32, 33, 34):
        world.item("free", days=days)

    def down(*_: Any, **__: Any) -> Any:
        raise Transient("down")

    monkeypatch.setattr("content_orchestration.core.cleanup.retention.Writer.purge", down)
    assert world.purge(limit=2).skipped == {"busy": 2}
    with pytest.raises(Transient):
        world.purge()
    assert len(world.items()) == 4


def test_a_document_that_could_not_be_put_back_whole_is_left(world: RetentionWorld) -> None:
    twice, halved, large = stray(world), stray(world), stray(world)
    world.copy(twice, body="another")
    report(world)
    scan = type(world.tiers.store).scan

    def halves(self: Any, collection: str, **given: Any) -> Iterator[dict[str, Any]]:
        """Half of a surrogate pair can come out of a document store; ours takes none in."""
        for document in scan(self, collection, **given):
            yield document | ({"body": "\ud800"} if document["id"] == halved else {})

    with pytest.MonkeyPatch.context() as odd:
        odd.setattr(type(world.tiers.store), "scan", halves)
        odd.setattr(stray_documents, "_LARGEST_BYTES", 10)
        swept = world.sweep()["document"]
    assert (swept.skipped, swept.quarantined) == (
        {"copies_differ": 1, "cannot_be_put_back": 1, "too_large": 1}, 0,
    )  # fmt: skip
    assert {twice, halved, large} <= world.documents()
