"""The drop folder and the use of files, on the real local servers."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from content_orchestration.core.errors import Permanent
from content_orchestration.core.media.inbox import Inbox
from content_orchestration.core.media.model import Outcome
from content_orchestration.core.media.usage import asset_usage, brand_usage, log_usage
from content_orchestration.core.quota.usage import untrue_counters
from content_orchestration_tests.media_world import MediaWorld, local_stores, media_world, png
from content_orchestration_tests.tiers import Tiers


@pytest.fixture
def world(tiers: Tiers, tmp_path: Path) -> Iterator[MediaWorld]:
    with media_world(tiers, local_stores(tmp_path / "store"), tmp_path) as made:
        yield made


def test_each_dropped_file_becomes_a_row_once(world: MediaWorld, tmp_path: Path) -> None:
    folder = tmp_path / "store" / "inbox" / str(world.tenant)
    own, foreign = folder / str(world.brands[0]), folder / str(uuid4())
    for place in (own, foreign, folder / "summer"):
        place.mkdir(parents=True)
    (folder / "Foto 1 %ü.png").write_bytes(png(3_000))
    (own / "report.bin").write_bytes(png(4_000, seed=1))
    (folder / "summer" / "same.png").write_bytes(png(3_000))
    (foreign / "a.png").write_bytes(png(3_000))
    (folder / "copying.png.part").write_bytes(b"half")
    (folder / ".hidden").write_bytes(b"x")
    (folder / "bad\nname.png").write_bytes(b"x")
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(b"x")
    fresh = folder / "fresh.png"
    fresh.write_bytes(png(5_000, seed=2))
    later = fresh.stat().st_mtime + 60
    os.utime(fresh, (later, later))
    inbox = Inbox(world.tiers.database, world.stores, world.ledger, world.tiers.store, now=lambda: later)
    assert inbox.waiting(world.tenant)
    report = inbox.register(world.tenant, limit=1)
    assert report.registered == 1
    report = inbox.register(world.tenant)
    assert (report.registered, report.known, report.still_changing, report.refused, report.seen) == (2, 1, 3, 3, 9)
    assert any("no brand of this tenant" in text for text in report.as_metadata()["inbox_refused_samples"])
    counted = world.counters()
    assert (counted["media_files"], counted["media_bytes"]) == (3, 0)
    assert untrue_counters(world.tiers.database) == []
    ingestor = world.ingestor()
    outcomes = sorted(ingestor.ingest_asset(asset).outcome for asset in ingestor.pending(world.tenant))
    assert outcomes == [Outcome.DUPLICATE, Outcome.STORED, Outcome.STORED]
    rows = {row["name"]: row for row in world.rows("SELECT metadata ->> 'name' AS name, * FROM media_assets")}
    assert rows["report.bin"]["kind"] == "image"
    assert rows["report.bin"]["brand_id"] == world.brands[0]
    assert rows["same.png"]["sha256"] == rows["Foto 1 %ü.png"]["sha256"]
    assert untrue_counters(world.tiers.database) == []
    assert inbox.register(world.tenant).registered == 0
    # Replaced under its name, and quiet for long enough: a new file.
    (folder / "Foto 1 %ü.png").write_bytes(png(6_000, seed=3))
    patient = Inbox(world.tiers.database, world.stores, world.ledger, world.tiers.store, now=lambda: later + 60)
    assert patient.register(world.tenant).registered == 2
    assert not patient.waiting(world.tenant)
    assert not patient.waiting(uuid4())
    assert (folder / "fresh.png").exists()


def test_where_files_are_used_and_how_often(world: MediaWorld) -> None:
    one, two = world.add("https://example.com/1"), world.add("https://example.com/2")
    content = uuid4()
    world.rows("UPDATE media_assets SET content_id = %s WHERE id = %s RETURNING id", content, one)
    database = world.tiers.database
    assert log_usage(database, world.tenant, [one, two, uuid4()], "campaign:7", "attached", "me") == 2
    assert log_usage(database, world.tenant, [one], "campaign:7", "downloaded", "me") == 1
    assert log_usage(database, uuid4(), [one], "campaign:7", "detached", "a stranger") == 0
    used = asset_usage(database, world.tenant, [one, two])
    assert used[one].used_in == ("campaign:7", f"content:{content}")
    assert (used[one].usage_count, used[one].events) == (2, {"attached": 1, "downloaded": 1})
    assert used[two].used_in == ("campaign:7",)
    log_usage(database, world.tenant, [one], "campaign:7", "detached", "me")
    log_usage(database, world.tenant, [one], f"content:{content}", "detached", "me")
    assert asset_usage(database, world.tenant, [one])[one].used_in == ()
    for wrong in (
        lambda: log_usage(database, world.tenant, [one], "a", "burnt", "me"),  # type: ignore[arg-type]
        lambda: log_usage(database, world.tenant, [one], "", "attached", "me"),
        lambda: log_usage(database, world.tenant, [one], "a", "attached", "x" * 201),
        lambda: asset_usage(database, world.tenant, [one] * 1001),
    ):
        with pytest.raises(Permanent):
            wrong()


def test_use_by_category_and_brand(world: MediaWorld) -> None:
    brand, other = world.brands
    world.rows("UPDATE storage_quotas SET limit_bytes = 1000 WHERE brand_id = %s RETURNING 1", brand)
    for kind, mime, size, of in (
        ("image", "image/png", 300, brand), ("image", "image/gif", 100, brand), ("video", "video/mp4", 200, brand),
        ("document", "application/pdf", 200, brand), ("image", "image/png", 5, other), ("image", None, 7, None),
    ):  # fmt: skip
        asset = world.add("https://example.com/a", kind=kind, size=size, brand=of)
        world.rows("UPDATE media_assets SET mime_type = %s WHERE id = %s RETURNING 1", mime, asset)
    found = {one.brand_id: one for one in brand_usage(world.tiers.database, world.tenant)}
    first = found[brand]
    assert {name: (c.files, c.bytes, c.percent) for name, c in first.categories.items()} == {
        "images": (1, 300, 30.0), "graphics": (1, 100, 10.0), "videos": (1, 200, 20.0), "documents": (1, 200, 20.0),
    }  # fmt: skip
    assert (first.media_files, first.media_bytes, first.used_bytes, first.limit_bytes) == (4, 800, 800, 1000)
    # Over 80, not at it.
    assert (first.percent, first.status) == (80.0, "ok")
    assert (found[other].status, found[None].media_bytes) == ("ok", 7)
    assert list(found)[-1] is None
    assert first.as_metadata()["images"] == {"files": 1, "bytes": 300}
    for used, status in ((801, "warning"), (950, "warning"), (951, "critical"), (1500, "critical")):
        world.rows("UPDATE storage_quotas SET used_bytes = %s WHERE brand_id = %s RETURNING 1", used, brand)
        found = {one.brand_id: one for one in brand_usage(world.tiers.database, world.tenant)}
        assert found[brand].status == status
    world.rows("UPDATE storage_quotas SET limit_bytes = 0 WHERE brand_id = %s RETURNING 1", brand)
    world.rows("UPDATE content_quota_usage SET limit_bytes = NULL WHERE tenant_id = %s RETURNING 1", world.tenant)
    found = {one.brand_id: one for one in brand_usage(world.tiers.database, world.tenant)}
    assert (found[brand].percent, found[None].percent, found[None].status) == (100.0, None, "ok")
    assert found[None].as_metadata()["limit_bytes"] == "unlimited"
    assert brand_usage(world.tiers.database, uuid4()) == []
