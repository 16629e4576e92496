"""Files in the buckets of renders that nobody names: told of, and never removed."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from content_orchestration.core.cleanup import orphans, stray_renders
from content_orchestration.core.cleanup.addresses import QUARANTINE_PREFIX, RenderPlaces
from content_orchestration.core.cleanup.guards import NeverDelete
from content_orchestration.core.cleanup.model import Cleaned, OrphanRules
from content_orchestration.core.errors import Permanent
from content_orchestration.core.media.model import ObjectInfo
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.render_store import RenderBuckets
from content_orchestration_tests.cleanup_world import BUCKET, RenderWorld
from content_orchestration_tests.object_servers import s3_client, s3_server

DAY = OrphanRules(timedelta(minutes=60), timedelta(hours=24))
TWO_HOURS = timedelta(hours=2)


class Aged:
    """Buckets whose files are two hours older than they are, except for what says that it is young."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def bucket(self, name: str) -> Any:
        return Aged(self._real.bucket(name))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for found in self._real.list(prefix):
            modified = found.modified_at if "young" in found.key else found.modified_at - TWO_HOURS
            yield ObjectInfo(found.key, found.size_bytes, found.etag, found.generation, modified)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as endpoint:
        yield endpoint


class Platform:
    """A platform with renders in a real store."""

    def __init__(self, world: RenderWorld, stores: RenderBuckets, scratch: Path) -> None:
        self.world = world
        self.stores = stores
        self.scratch = scratch
        world.context = replace(world.context, stores=Aged(stores), rules=DAY, workers=1)

    def file(self, path: str, body: bytes = b"12345") -> str:
        source = self.scratch / uuid4().hex
        source.write_bytes(body)
        # Cleanup never writes a file of its own, so its protocol has no put; the clients have.
        self.stores.bucket(BUCKET).put_file(source, path, hashlib.sha256(body).hexdigest())  # type: ignore[attr-defined]
        return path

    def stored(self) -> set[str]:
        return {found.key for found in self.stores.bucket(BUCKET).list()}

    def look(self, **given: Any) -> Cleaned:
        before = self.stored()
        found = stray_renders.look(replace(self.world.context, **given), dry_run=False)
        assert self.stored() == before, "a look removes nothing"
        assert (found.deleted, found.quarantined, found.freed_bytes) == (0, 0, 0)
        assert found.candidates == found.left
        return found

    def told(self, **given: Any) -> dict[str, str]:
        found = self.look(**given)
        assert found.candidates == len(found.samples)
        return {sample["file"]: sample["why"] for sample in found.samples}


@pytest.fixture(params=["local", "s3"])
def platform(database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Platform]:
    with PostgresClient(database_url) as database:
        world = RenderWorld(database, tmp_path / "store")
        if request.param == "local":
            stores = RenderBuckets((tmp_path / "store").as_uri())
        else:
            endpoint = request.getfixturevalue("s3")
            s3_client(endpoint).create_bucket(Bucket=BUCKET)
            stores = RenderBuckets("s3://", endpoint=endpoint, region="us-east-1", access_key="x", secret_key="y")
        (tmp_path / "scratch").mkdir()
        # The servers of one process share their buckets, with those of other tests too.
        _emptied(stores)
        yield Platform(world, stores, tmp_path / "scratch")
        _emptied(stores)


def _emptied(stores: RenderBuckets) -> None:
    for left in list(stores.bucket(BUCKET).list()):
        stores.bucket(BUCKET).delete(left.key)


def test_a_file_that_no_render_names_is_told_of_and_stays(platform: Platform) -> None:
    world = platform.world
    for path, url in {
        "t/a b.mp4": "https://storage.platform.example/storage/v1/object/sign/renders/t/a%20b.mp4?token=x",
        "t/ü.mp4": "https://storage.platform.example/storage/v1/object/public/renders/t/%C3%BC.mp4",
        "t/s3.mp4": "s3://renders/t/s3.mp4",
        "t/gs.mp4": "gs://renders/t/gs.mp4",
        "t/plain.mp4": "renders/t/plain.mp4",
        "t/running.mp4": "renders/t/running.mp4",
    }.items():
        platform.file(path)
        world.render(file=False, url=url, status="processing" if "running" in path else "completed")
    platform.file("t/young.mp4")
    saved = world.render(file=False, url="renders/t/saved.mp4")
    platform.file("t/saved.mp4")
    world.save(saved)
    assert platform.told() == {}
    world.run("DELETE FROM render_jobs WHERE id = %s", saved)
    stray = platform.file("t/100% ?#.mp4", b"123")
    found = platform.look()
    assert {sample["file"]: sample["bytes"] for sample in found.samples} == {
        f"renders/{stray}": 3, "renders/t/saved.mp4": 5,
    }  # fmt: skip
    assert {sample["why"] for sample in found.samples} == {stray_renders.NO_RENDER}
    assert (found.scanned, found.skipped["young"]) == (9, 1)
    assert found.oldest_seconds is not None
    assert 7200 <= found.oldest_seconds < 7300


def test_copies_in_quarantine_are_named_until_their_row_is_through(platform: Platform) -> None:
    world = platform.world
    for number in range(3):
        platform.file(f"t/{number}.mp4")
    mine, twin = (world.render(file=False, url="renders/t/0.mp4") for _ in range(2))
    world.save(world.render(file=False, url="renders/t/1.mp4"))
    back = world.render(file=False, url="renders/t/2.mp4")
    orphans.scan(world.context, run_id="run", dry_run=False)
    assert orphans.quarantine(world.context, run_id="run", dry_run=False).quarantined == 3
    copies = {key for key in platform.stored() if key.startswith(f"{QUARANTINE_PREFIX}/")}
    assert len(copies) == 2, "two renders of one file have one copy, where one moves after the other"
    assert platform.told() == {}
    world.save(back)
    orphans.bring_back(world.context, run_id="tick")
    assert platform.told() == {}, "the copy of what came back is kept for an hour"
    lost = {platform.file(f"{QUARANTINE_PREFIX}/{each}") for each in (uuid4(), "not-an-id", f"{uuid4()}/x")}

    def expect(*more: str) -> None:
        assert platform.told() == {f"renders/{key}": stray_renders.NO_QUARANTINE for key in {*lost, *more}}

    def key_of(render: UUID) -> str:
        return str(world.one("SELECT quarantine_key FROM cleanup_quarantine WHERE subject_id = %s", str(render)))

    platform.file("t/0.mp4")
    world.run("DELETE FROM render_jobs WHERE id = ANY(%s)", [mine, twin])
    expect()
    key = key_of(mine)
    assert key == key_of(twin)
    owner = UUID(key.removeprefix(f"{QUARANTINE_PREFIX}/"))
    world.run("UPDATE cleanup_quarantine SET state = 'deleted' WHERE quarantine_id = %s", owner)
    expect()
    world.run("UPDATE cleanup_quarantine SET bucket = 'another' WHERE state = 'quarantined'")
    expect(key)
    world.run("UPDATE cleanup_quarantine SET bucket = 'renders', state = 'deleted' WHERE state = 'quarantined'")
    assert platform.told().keys() == {f"renders/{each}" for each in (*lost, key, "t/0.mp4")}


def test_only_the_places_of_renders_are_listed(platform: Platform) -> None:
    for path in ("out/a.mp4", "out/deep/b.mp4", "outer/c.mp4", "d.mp4", "kept/e.mp4"):
        platform.file(path)

    def within(*entries: str, never: NeverDelete = NeverDelete()) -> set[str]:  # noqa: B008  (frozen)
        return {file.removeprefix("renders/") for file in platform.told(places=RenderPlaces(entries), never=never)}

    assert within("renders/out") == within("renders/out/", "renders/out/deep") == {"out/a.mp4", "out/deep/b.mp4"}
    assert within("renders/out/{tenant}/x") == within("renders/out")
    assert within("renders/{user}", "renders/out") == platform.stored()
    kept = platform.look(never=NeverDelete(prefixes=("renders/kept",)))
    assert (kept.candidates, kept.skipped["never_delete_prefix"]) == (4, 1)
    mine = platform.look(places=RenderPlaces(("of-{tenant}/out", "renders/kept")))
    assert (mine.candidates, mine.skipped["buckets_by_owner"]) == (1, 1)


def test_more_than_a_page_is_counted(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stray_renders, "_PAGE", 3)
    for number in range(8):
        platform.file(f"t/{number}.mp4")
    platform.world.render(file=False, url="renders/t/5.mp4")
    found = platform.look()
    assert (found.scanned, found.candidates) == (8, 7)


def test_a_bucket_that_is_not_there_is_an_error_only_where_there_are_renders(
    database_url: str, tmp_path: Path, s3: str
) -> None:
    with PostgresClient(database_url) as database:
        world = RenderWorld(database, tmp_path)
        stores = RenderBuckets("s3://", endpoint=s3, region="us-east-1", access_key="x", secret_key="y")
        context = replace(world.context, stores=stores, places=RenderPlaces(("nowhere",)))
        assert stray_renders.look(context, dry_run=True).skipped == {"no_store": 1}
        world.render(file=False, url="nowhere/a.mp4")
        with pytest.raises(Permanent, match="nowhere"):
            stray_renders.look(context, dry_run=True)
