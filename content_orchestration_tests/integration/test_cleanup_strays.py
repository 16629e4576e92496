"""Stray files: told of first, let go after two looks a week apart, and never one that a row names."""

import hashlib
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from content_orchestration.core.cleanup import stray_look, strays
from content_orchestration.core.cleanup.files import remove_files
from content_orchestration.core.cleanup.guards import NeverDelete, Refused
from content_orchestration.core.cleanup.holds import place
from content_orchestration.core.cleanup.horizons import RetentionRules
from content_orchestration.core.cleanup.model import Cleaned
from content_orchestration.core.cleanup.stray_files import unnamed
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.media.model import MediaStore, ObjectInfo
from content_orchestration.resources.object_store import TenantStores
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.media_world import local_stores
from content_orchestration_tests.object_servers import s3_server, s3_stores
from content_orchestration_tests.usage_rows import run, tenant

WEEK = timedelta(days=7)
SOURCE = hashlib.sha256(b"the source").hexdigest()


class Shown:
    """A store whose files are five weeks older than they are, and whose listing breaks off where it is told to."""

    def __init__(self, real: MediaStore, broken: threading.Event) -> None:
        self.real = real
        self.broken = broken

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for number, found in enumerate(self.real.list(prefix)):
            if number == 2 and self.broken.is_set():
                raise Transient("the listing broke off, on purpose")
            yield aged(found)

    def head(self, key: str) -> ObjectInfo | None:
        found = self.real.head(key)
        return aged(found) if found else None


def aged(found: ObjectInfo) -> ObjectInfo:
    return ObjectInfo(found.key, found.size_bytes, found.etag, found.generation, found.modified_at - 5 * WEEK)


class World:
    """A tenant with files in a real store, and looks at chosen times."""

    def __init__(self, database: PostgresClient, stores: TenantStores, folder: Path) -> None:
        self.database = database
        self.real = stores
        self.folder = folder
        self.tenant = UUID(tenant(database))
        self.broken = threading.Event()
        self.at = datetime.now(UTC) - 4 * WEEK

    def for_tenant(self, tenant_id: UUID) -> Any:
        return Shown(self.real.for_tenant(tenant_id), self.broken)

    def inbox(self, tenant_id: UUID) -> MediaStore:
        return self.real.inbox(tenant_id)

    def put(self, key: str, data: bytes = b"some bytes", tenant_id: UUID | None = None) -> str:
        path = self.folder / uuid4().hex
        path.write_bytes(data)
        self.real.for_tenant(tenant_id or self.tenant).put_file(path, key, hashlib.sha256(data).hexdigest())
        return key

    def stray(self, number: int) -> str:
        """A file of our shape that no row names."""
        return self.put(hashlib.sha256(b"%d" % number).hexdigest(), b"stray %d" % number)

    def stored(self, key: str, tenant_id: UUID | None = None) -> str:
        """A file with its object."""
        self.name(self.put(key, b"named", tenant_id), tenant_id)
        return key

    def name(self, key: str, tenant_id: UUID | None = None) -> None:
        run(
            self.database,
            "INSERT INTO media_objects (tenant_id, key, sha256, location, size_bytes, mime_type) "
            "VALUES (%s, %s, left(%s, 64), 'x', 5, 'image/png')",
            [tenant_id or self.tenant, key, key],
        )

    def look(self, after: timedelta = timedelta(0), **given: Any) -> Cleaned:
        self.at += after
        return strays.look(self.database, self, run_id="look", **{"dry_run": False, "now": lambda: self.at, **given})

    def delete(self, **given: Any) -> Cleaned:
        values: dict[str, Any] = {"dry_run": False, "limit": 100, "max_candidate_percent": 1.0, **given}
        return strays.delete(self.database, self, run_id="delete", **values)

    def remove(self, grace: timedelta = timedelta(0)) -> Cleaned:
        """The removal that follows, by its own engine."""
        rules = RetentionRules(file_grace=grace)
        return remove_files(self.database, self.real, run_id="remove", dry_run=False, limit=100, rules=rules)

    def listed(self) -> set[str]:
        return {each.key for each in self.real.for_tenant(self.tenant).list()}

    def seen(self) -> dict[str, int]:
        rows = run(self.database, "SELECT key, sightings FROM stray_objects WHERE tenant_id = %s", [self.tenant])
        return {row["key"]: row["sightings"] for row in rows}


@pytest.fixture
def database(database_url: str) -> Iterator[PostgresClient]:
    with PostgresClient(database_url) as opened:
        yield opened


@pytest.fixture
def world(database: PostgresClient, tmp_path: Path) -> World:
    return World(database, local_stores(tmp_path / "store"), tmp_path)


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as endpoint:
        yield endpoint


def test_a_file_whose_name_is_no_text_is_told_of(world: World) -> None:
    world.stored(SOURCE)
    folder = world.real.for_tenant(world.tenant).location.removeprefix("file://")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.txt")).write_bytes(b"x")
    for _ in range(2):
        found = world.look(WEEK)
        assert (found.candidates, found.skipped["not_ours"]) == (1, 1)
        assert found.samples[0]["key"] == r"caf\xe9.txt"
    assert (world.delete().candidates, world.seen()) == (0, {r"caf\xe9.txt": 2})


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_a_stray_goes_after_two_looks_a_week_apart_and_a_named_file_never(
    database: PostgresClient, tmp_path: Path, s3: str, kind: str
) -> None:
    stores = local_stores(tmp_path / "store") if kind == "local" else s3_stores(s3)
    world = World(database, stores, tmp_path)
    named = world.stored(SOURCE)
    variant = world.put(f"variants/{SOURCE}/150-q.jpg")
    run(
        database,
        "INSERT INTO media_variants (tenant_id, sha256, width, format, height, key, bytes, variant_sha256) "
        "VALUES (%s, %s, 150, 'jpeg', 100, %s, 10, %s)",
        [world.tenant, SOURCE, variant, SOURCE],
    )
    stray, old_variant = world.stray(1), world.put(f"variants/{SOURCE}/400-old.jpg")
    foreign = world.put("report-2026.pdf")

    told = world.look(dry_run=True)
    assert (told.scanned, told.candidates, told.skipped["not_ours"]) == (5, 3, 1)
    assert world.seen() == {}
    first = world.look()
    assert (first.candidates, first.left) == (3, 3)
    assert world.seen() == {stray: 1, old_variant: 1, foreign: 1}
    world.look(WEEK - timedelta(minutes=1))
    assert (world.delete().candidates, world.seen()[stray]) == (0, 2)
    world.look(timedelta(minutes=1))

    assert world.delete(dry_run=True).candidates == 2
    assert world.seen().keys() == {stray, old_variant, foreign}
    cleaned = world.delete()
    assert (cleaned.quarantined, cleaned.deleted, cleaned.left, cleaned.skipped.total()) == (2, 0, 0, 0)
    assert world.listed() == {named, variant, stray, old_variant, foreign}
    assert world.remove(timedelta(hours=1)).deleted == 0
    assert world.remove().deleted == 2
    assert world.listed() == {named, variant, foreign}
    lines = run(database, "SELECT action, subject_id FROM cleanup_audit WHERE kind = 'stray_object'", [])
    assert sorted((line["action"], line["subject_id"]) for line in lines) == sorted(
        ("quarantined", key) for key in (stray, old_variant)
    )
    assert world.look(WEEK).candidates == 1
    assert world.seen() == {foreign: 4}


def test_only_what_two_whole_looks_saw_unchanged_is_due(world: World) -> None:
    changed, gone, late, stays, new = (world.stray(number) for number in range(5))
    world.stored(SOURCE)
    world.real.for_tenant(world.tenant).delete(new)
    world.look()
    store = world.real.for_tenant(world.tenant)
    store.delete(changed)
    world.stray(0)
    store.delete(gone)
    world.stray(4)
    world.look(WEEK)
    assert world.seen() == {changed: 1, late: 2, stays: 2, new: 1}
    # Seen twice as it is by now, but within an hour.
    world.look(timedelta(hours=1))
    assert world.seen() == {changed: 2, late: 3, stays: 3, new: 2}
    assert world.delete(dry_run=True).candidates == 2
    # One more look that breaks off: nothing is due until the next is whole.
    world.broken.set()
    with pytest.raises(Transient):
        world.look(WEEK)
    with pytest.raises(Refused, match="look_unfinished"):
        world.delete()
    world.broken.clear()
    world.look(timedelta(hours=1))
    # What changes, goes or gets its row between the look and the delete stays.
    store.delete(late)
    world.name(stays)
    store.delete(changed)
    world.stray(0)
    cleaned = world.delete()
    assert (cleaned.quarantined, cleaned.skipped) == (1, {"changed": 1, "gone": 1, "named_again": 1})
    assert world.seen() == {}
    assert run(world.database, "SELECT key FROM media_superseded", []) == [{"key": new}]


def test_a_file_that_gets_its_row_while_it_waits_is_kept(world: World) -> None:
    stray = world.stray(1)
    world.stored(SOURCE)
    world.look()
    world.look(WEEK)
    assert world.delete().quarantined == 1
    world.name(stray)
    assert world.remove().skipped == {"named_again": 1}
    assert stray in world.listed()
    assert world.look(WEEK).candidates == 0


def test_rows_of_a_restore_and_variants_that_are_being_made_name_their_files(world: World) -> None:
    """A restore brings rows of assets and no objects; a variant lies in the store before its row."""
    source, kept_apart = (hashlib.sha256(b"%d" % number).hexdigest() for number in (1, 2))
    asset = uuid4()
    insert = (
        "INSERT INTO media_assets "
        "(id, tenant_id, kind, url, size_bytes, sha256, status, zerodb_row_id, metadata, deleted_at) "
        "VALUES (%s, %s, 'image', 'https://x.example/a', 5, %s, 'stored', %s, %s, now())"
    )
    run(world.database, insert, [uuid4(), world.tenant, source, "a", "{}"])
    named = f'{{"object_key": "{kept_apart}.{asset}"}}'
    run(world.database, insert, [asset, world.tenant, kept_apart, "b", named])
    for key in (source, f"variants/{source}/150-q.jpg", f"{kept_apart}.{asset}"):
        world.put(key)
    assert world.look().candidates == 0
    run(
        world.database,
        "INSERT INTO media_processing (tenant_id, sha256, made_with) VALUES (%s, %s, '150 q85 r1')",
        [world.tenant, source],
    )
    world.look()
    assert world.seen() == {f"variants/{source}/150-q.jpg": 1}


def test_an_upload_that_races_is_never_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its row, between bytes and row, and behind it: the file is there and named when both are done."""
    monkeypatch.setattr(strays, "_PATIENCE_SECONDS", 0.1)
    for number, moment in enumerate(["before", "put", "after"]):
        key = world.stray(number)
        world.stored(hashlib.sha256(b"other %d" % number).hexdigest())
        world.look(4 * WEEK)
        world.look(WEEK)
        upload = threading.Event(), threading.Event()
        told: list[Cleaned] = []

        def store(key: str = key, moment: str = moment, upload: Any = upload) -> None:
            # What `storing.py` does: under the turn of the key the bytes, then the row.
            with world.database.advisory_lock(f"media:{world.tenant}:{key}"):
                world.put(key, world.folder.joinpath("same").read_bytes())
                upload[0].set()
                upload[1].wait(20)
                world.name(key)

        (world.folder / "same").write_bytes(b"stray %d" % number)
        writer = threading.Thread(target=store)
        if moment == "before":
            told.append(world.delete())
            assert told[0].quarantined == 1
        writer.start()
        upload[0].wait(20)
        if moment == "put":
            told.append(world.delete())
            assert told[0].skipped == {"busy": 1}
        upload[1].set()
        writer.join(20)
        if moment == "after":
            told.append(world.delete())
            assert told[0].skipped == {"named_again": 1}
        world.remove()
        assert key in world.listed()
        assert unnamed(world.database, world.tenant, [key]) == []


@pytest.mark.parametrize("rule", ["hold", "never_tenant", "never_prefix", "limit"])
def test_what_must_stay_stays(world: World, rule: str) -> None:
    stray = world.stray(1)
    world.stored(SOURCE)
    world.look()
    world.look(WEEK)
    given: dict[str, Any] = {}
    if rule == "hold":
        place(world.database, world.tenant, reason="a court asked", placed_by="test")
    elif rule == "never_tenant":
        given["never"] = NeverDelete(tenants=frozenset({world.tenant}))
    elif rule == "never_prefix":
        place_of = world.real.for_tenant(world.tenant).location.removeprefix("file://")
        given["never"] = NeverDelete(prefixes=(f"{place_of}/{stray}",))
    else:
        given["limit"] = 0
    for dry_run in (True, False):
        cleaned = world.delete(dry_run=dry_run, **given)
        assert (cleaned.quarantined, cleaned.candidates) == (0, 0)
    assert world.seen() == {stray: 2}
    assert cleaned.left == 1
    if rule.startswith("never"):
        assert world.look(never=given["never"]).skipped.keys() == {
            f"never_delete_{rule.removeprefix('never_')}",
            "young",
        }


def test_an_empty_set_of_references_stops_the_look_and_the_delete(world: World) -> None:
    other = UUID(tenant(world.database))
    world.stray(1)
    world.stored(SOURCE)
    world.stored(SOURCE, other)
    world.look()
    world.look(WEEK)
    run(world.database, "DELETE FROM media_objects WHERE tenant_id = %s RETURNING 1", [world.tenant])
    assert world.delete().skipped == {"empty_references": 1}
    assert world.look(WEEK).skipped["empty_references"] == 1
    assert len(world.seen()) == 1
    run(world.database, "DELETE FROM media_objects RETURNING 1", [])
    for attempt in (world.look, world.delete):
        with pytest.raises(Refused, match="empty_references"):
            attempt()
    strays.accept_empty(world.database, world.tenant)
    strays.accept_empty(world.database, other)
    assert world.look(WEEK).candidates == 3


def test_more_strays_than_can_be_believed_stop_the_delete(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("content_orchestration.core.cleanup.guards.CEILING_FLOOR", 1)
    for number in range(3):
        world.stray(number)
    world.stored(SOURCE)
    world.look()
    world.look(WEEK)
    with pytest.raises(Refused, match="ceiling: 3 of about 4 objects"):
        world.delete()
    assert world.delete(max_candidate_percent=100.0).quarantined == 3


def test_a_tenant_without_files_need_not_have_a_bucket(database: PostgresClient, tmp_path: Path, s3: str) -> None:
    world = World(database, s3_stores(s3, "s3://"), tmp_path)
    assert world.look().skipped["no_store"] == 1
    world.name(SOURCE)
    with pytest.raises(Permanent, match="no such bucket"):
        world.look()


def test_pages_of_a_large_store_are_looked_at_and_let_go_one_after_the_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strays, "_PAGE", 3)
    monkeypatch.setattr(stray_look, "_PAGE", 3)
    wanted = {world.stray(number) for number in range(8)}
    world.stored(SOURCE)
    world.look()
    assert world.look(WEEK).scanned == 9
    assert world.delete(limit=5).left == 3
    assert world.delete().quarantined == 3
    assert {row["key"] for row in run(world.database, "SELECT key FROM media_superseded", [])} == wanted


def test_a_stray_that_another_run_lets_go_of_is_left_to_it(world: World) -> None:
    stray = world.stray(1)
    world.stored(SOURCE)
    world.look()
    world.look(WEEK)
    with world.database.connection() as other:
        other.execute("SELECT 1 FROM stray_objects WHERE key = %s FOR UPDATE", [stray])
        assert world.delete().skipped == {"locked_or_younger": 1}
