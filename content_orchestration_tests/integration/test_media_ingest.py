"""Ingest on the real local servers: stored once, referenced, counted by the rule, marked where it fails."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.integrity.media import compare_media
from content_orchestration.core.media.asking import request_again, request_ingest
from content_orchestration.core.media.download import Downloader
from content_orchestration.core.media.ingest import MOST_ATTEMPTS
from content_orchestration.core.media.model import MediaStores, Outcome
from content_orchestration.core.media.objects import mark_missing
from content_orchestration.core.media.references import remove_reference
from content_orchestration.core.media.turns import object_turn
from content_orchestration.core.quota.usage import untrue_counters
from content_orchestration.settings import PROJECT_ROOT
from content_orchestration_tests.media_world import (
    MediaWorld,
    WebServer,
    local_stores,
    loopback_too,
    media_world,
    png,
    respond,
    web_server,
)
from content_orchestration_tests.object_servers import gcs_server, gcs_stores, s3_client, s3_server, s3_stores
from content_orchestration_tests.tiers import Tiers

PDF = b"%PDF-1.7\n" + b"1 0 obj\n<< >>\nendobj\n" * 20 + b"trailer\n<< >>\n%%EOF\n"


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture
def world(tiers: Tiers, tmp_path: Path) -> Iterator[MediaWorld]:
    with media_world(tiers, local_stores(tmp_path / "store"), tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def gcs() -> Iterator[str]:
    with gcs_server() as endpoint:
        yield endpoint


@pytest.fixture(params=["local", "s3", "gcs"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> MediaStores:
    makers: dict[str, Callable[[], MediaStores]] = {
        "local": lambda: local_stores(tmp_path / "store"),
        "s3": lambda: s3_stores(request.getfixturevalue("s3")),
        "gcs": lambda: gcs_stores(request.getfixturevalue("gcs")),
    }
    return makers[request.param]()


def assert_books_add_up(world: MediaWorld) -> None:
    """Counters are what the rows add up to, nothing is held, and documents say what rows say."""
    assert untrue_counters(world.tiers.database) == []
    assert world.counters()["reserved_bytes"] == 0
    compared = compare_media(world.tiers.database, world.tiers.store)
    assert (compared.differences, compared.unknown) == ([], None)


def row(world: MediaWorld, asset: UUID) -> dict[str, Any]:
    return world.rows(
        "SELECT m.*, i.outcome, i.reason, i.attempts, i.next_try, i.next_try > now() AS later, i.document_due "
        "FROM media_assets m LEFT JOIN media_ingest i ON i.asset_id = m.id WHERE m.id = %s",
        asset,
    )[0]


def test_a_file_is_stored_verified_and_counted_on_every_store(
    tiers: Tiers, stores: MediaStores, web: WebServer, tmp_path: Path
) -> None:
    with media_world(tiers, stores, tmp_path) as world:
        body = png(9_000_000)
        asset = world.add(web.serve("/a.png", body), brand=world.brands[0])
        same = world.add(web.serve("/b.png", body), brand=world.brands[1])
        ingestor = world.ingestor()
        assert set(ingestor.pending(world.tenant)) == {asset, same}
        first, second = ingestor.ingest_asset(asset), ingestor.ingest_asset(same)
        assert (first.outcome, second.outcome) == (Outcome.STORED, Outcome.DUPLICATE)
        assert first.stored == second.stored
        stored = first.stored
        assert stored is not None
        assert stored.key == stored.sha256 == hashlib.sha256(body).hexdigest()
        assert (stored.size_bytes, stored.mime_type, stored.state) == (len(body), "image/png", "stored")
        assert b"".join(stores.for_tenant(world.tenant).read(stored.key)) == body
        found = row(world, asset)
        assert (found["status"], found["size_bytes"], found["mime_type"], found["sha256"], found["document_due"]) == (
            "stored", len(body), "image/png", stored.sha256, False,
        )  # fmt: skip
        assert ingestor.pending(world.tenant) == []
        assert ingestor.ingest_asset(asset).outcome is Outcome.UNCHANGED
        counted = world.counters()
        assert (counted["media_files"], counted["media_bytes"]) == (1, len(body))
        assert counted["brands"] == dict.fromkeys(world.brands, len(body))
        assert list((tmp_path / "spool").iterdir()) == []
        assert_books_add_up(world)


def test_64_identical_uploads_at_once_are_one_object(world: MediaWorld, web: WebServer) -> None:
    """With a limit that has room for the file once and not twice: nothing is reserved in vain."""
    body = png(600_000)
    limit = world.rows("SELECT limit_bytes FROM content_quota_usage WHERE tenant_id = %s", world.tenant)[0][
        "limit_bytes"
    ]
    with world.tiers.database.connection() as connection:
        connection.execute(
            "UPDATE content_quota_usage SET used_bytes = %s WHERE tenant_id = %s", [limit - 1_000_000, world.tenant]
        )
    assets = [world.add(web.serve(f"/{n}.png", body)) for n in range(64)]
    ingestor = world.ingestor()
    with ThreadPoolExecutor(64) as pool:
        outcomes = list(pool.map(ingestor.ingest_asset, assets))
    assert Counter(one.outcome for one in outcomes) == {Outcome.STORED: 1, Outcome.DUPLICATE: 63}
    assert world.objects() == [hashlib.sha256(body).hexdigest()]
    references = world.rows(
        "SELECT count(*) AS n FROM media_assets WHERE sha256 = %s", hashlib.sha256(body).hexdigest()
    )
    assert references[0]["n"] == 64
    counted = world.counters()
    assert (counted["media_files"], counted["media_bytes"], counted["reserved_bytes"]) == (1, len(body), 0)
    assert counted["used_bytes"] == limit - 1_000_000 + len(body)


def task(world: MediaWorld, folder: Path, assets: list[UUID], **given: Any) -> dict[str, Any]:
    settings = world.tiers.settings
    return {
        "database": world.tiers.database_url, "zerodb": settings.zerodb_url, "project": world.tiers.zerodb_project,
        "key": settings.zerodb_key, "stores": (folder / "store").as_uri(), "spool": str(world.spool),
        "answer": str(folder / f"{uuid4().hex}.json"), "assets": [str(asset) for asset in assets], **given,
    }  # fmt: skip


def processes(*tasks: dict[str, Any]) -> "subprocess.Popen[str]":
    started = subprocess.Popen(
        [sys.executable, "-m", "content_orchestration_tests.ingest_process"],
        cwd=PROJECT_ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert started.stdin is not None
    started.stdin.write("".join(json.dumps(one) + "\n" for one in tasks))
    started.stdin.close()
    started.stdin = None
    return started


def exit_codes(started: "subprocess.Popen[str]") -> list[int]:
    out, _ = started.communicate(timeout=240)
    assert started.returncode == 0, out
    return list(json.loads(out.splitlines()[-1]))


def test_64_identical_uploads_from_eight_processes_are_one_object(
    world: MediaWorld, web: WebServer, tmp_path: Path
) -> None:
    body = png(400_000)
    assets = [world.add(web.serve(f"/{n}.png", body)) for n in range(64)]
    tasks = [task(world, tmp_path, assets[n::8]) for n in range(8)]
    assert exit_codes(processes(*tasks)) == [0] * 8
    outcomes = Counter(outcome for one in tasks for outcome in json.loads(Path(one["answer"]).read_text()))
    assert outcomes == {"stored": 1, "duplicate": 63}
    assert world.objects() == [hashlib.sha256(body).hexdigest()]
    counted = world.counters()
    assert (counted["media_files"], counted["media_bytes"]) == (1, len(body))
    assert_books_add_up(world)


FAILPOINTS = [
    "media_fetched_whole", "media_reserved", "media_local_half_written", "media_local_half_written:3", "media_put",
    "media_rows_written", "media_committed", "media_document_written",
]  # fmt: skip


def test_a_kill_at_every_step_leaves_nothing_half_and_a_rerun_completes(
    world: MediaWorld, web: WebServer, tmp_path: Path
) -> None:
    """A row, a file and a process for each failpoint, all at once: one start of Python."""
    bodies = {name: png(2_500_000, seed=n) for n, name in enumerate(FAILPOINTS)}
    hashes = {name: hashlib.sha256(body).hexdigest() for name, body in bodies.items()}
    assets = {
        name: world.add(web.serve(f"/{n}.png", body), brand=world.brands[0])
        for n, (name, body) in enumerate(bodies.items())
    }
    tasks = [task(world, tmp_path, [assets[name]], failpoint=name) for name in FAILPOINTS]
    assert dict(zip(FAILPOINTS, exit_codes(processes(*tasks)), strict=True)) == dict.fromkeys(FAILPOINTS, -9)
    store = world.stores.for_tenant(world.tenant)
    whole = ("media_put", "media_rows_written", "media_committed", "media_document_written")
    assert world.objects() == sorted(hashes[name] for name in whole)
    for name in whole:
        assert hashlib.sha256(b"".join(store.read(hashes[name]))).hexdigest() == hashes[name]
    counted = world.counters()
    assert counted["media_bytes"] == sum(len(bodies[name]) for name in whole[2:])
    ingestor = world.ingestor()
    assert sorted(ingestor.pending(world.tenant)) == sorted(assets.values())
    for name, asset in assets.items():
        assert ingestor.ingest_asset(asset).succeeded, name
    assert ingestor.pending(world.tenant) == []
    assert world.objects() == sorted(hashes.values())
    # What the killed ones held expires; here it is made to, and nothing is counted for it.
    expire = (
        "UPDATE quota_reservations SET expires_at = now() - interval '1 hour' WHERE state = 'reserved' RETURNING id"
    )
    assert len(world.rows(expire)) == len(FAILPOINTS) - 3
    world.ledger.reap(world.tenant)
    counted = world.counters()
    total = sum(len(body) for body in bodies.values())
    assert (counted["media_files"], counted["media_bytes"], counted["brands"][world.brands[0]]) == (
        len(bodies), total, total,
    )  # fmt: skip
    assert_books_add_up(world)


def test_a_kill_in_the_middle_of_an_upload_in_parts_leaves_no_object(
    tiers: Tiers, s3: str, web: WebServer, tmp_path: Path
) -> None:
    """The store is S3: the process dies while parts go up, and nothing is under the key."""
    stores = s3_stores(s3)
    client = s3_client(s3)
    with media_world(tiers, stores, tmp_path) as world:
        body = png(30_000_000)
        asset = world.add(web.serve("/a.png", body))
        options = {"endpoint": s3, "region": "us-east-1", "access_key": "key", "secret_key": "secret"}
        started = processes(task(world, tmp_path, [asset], stores=f"s3://{stores._bucket}/files", options=options))
        ended = threading.Event()
        try:
            while not client.list_multipart_uploads(Bucket=stores._bucket).get("Uploads"):
                assert started.poll() is None
                ended.wait(0.002)
        finally:
            os.killpg(started.pid, signal.SIGKILL)
            started.communicate(timeout=30)
        assert world.objects() == []
        assert world.ingestor().ingest_asset(asset).outcome is Outcome.STORED
        assert world.objects() == [hashlib.sha256(body).hexdigest()]
        assert world.counters()["media_bytes"] == len(body)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (respond(404, b"x"), "http_404"),
        (respond(200, b"MZ" + b"\0" * 300), None),
        (respond(200, b"<html><script>alert(1)</script></html>"), None),
        (respond(200, PDF), "kind"),
        (respond(200, b""), None),
        (respond(200, png(5000)[:2000]), None),
        (respond(302, Location="http://10.0.0.1/a"), "address_private"),
        (respond(200, png(60_000), Content_Length=""), "too_large"),
        (respond(200, png(60_000)), "too_large"),
    ],
)
def test_a_bad_file_is_marked_with_its_reason_and_nothing_is_stored(
    world: MediaWorld, web: WebServer, answer: bytes, reason: str | None
) -> None:
    asset = world.add(web.serve("/bad", lambda client: client.sendall(answer)), size=700, brand=world.brands[0])
    outcome = world.ingestor(max_file_size=50_000).ingest_asset(asset)
    assert outcome.outcome is Outcome.FAILED
    assert outcome.reason == reason or reason is None
    assert outcome.as_metadata()["reason"]
    found = row(world, asset)
    assert (found["status"], found["outcome"], found["reason"], found["sha256"]) == (
        "failed", "failed", outcome.reason, None,
    )  # fmt: skip
    assert world.objects() == []
    assert world.ingestor().pending(world.tenant) == []
    assert world.counters()["media_bytes"] == 700
    assert_books_add_up(world)
    good = png(5000)
    web.serve("/bad", good)
    assert request_again(world.tiers.database, world.tenant, ["none of these"]) == 0
    assert request_again(world.tiers.database, world.tenant) == 1
    assert world.ingestor().pending(world.tenant) == [asset]
    assert world.ingestor().ingest_asset(asset).outcome is Outcome.STORED
    assert (world.counters()["media_bytes"], world.counters()["media_files"]) == (len(good), 1)
    assert_books_add_up(world)


def test_a_silent_source_is_tried_again_and_given_up_in_the_end(world: MediaWorld, web: WebServer) -> None:
    asset = world.add(web.serve("/busy", lambda client: client.sendall(respond(503, b"", Retry_After="7200"))))
    ingestor = world.ingestor()
    for attempt in range(1, MOST_ATTEMPTS):
        outcome = ingestor.ingest_asset(asset)
        assert (outcome.outcome, outcome.reason) == (Outcome.RETRY, "unavailable")
        found = row(world, asset)
        assert (found["attempts"], found["status"], found["later"]) == (attempt, "referenced", True)
        assert ingestor.pending(world.tenant) == []
    waits = world.rows("SELECT extract(epoch FROM next_try - updated_at) AS s FROM media_ingest")
    assert waits[0]["s"] >= 7199
    assert ingestor.ingest_asset(asset).outcome is Outcome.FAILED
    assert (row(world, asset)["status"], row(world, asset)["next_try"]) == ("failed", None)


def test_a_full_quota_is_marked_nothing_is_stored_and_it_is_tried_again_later(
    tiers: Tiers, tmp_path: Path, web: WebServer
) -> None:
    with media_world(tiers, local_stores(tmp_path / "store"), tmp_path, plan="free") as world:
        limit = world.rows("SELECT limit_bytes FROM content_quota_usage WHERE tenant_id = %s", world.tenant)[0][
            "limit_bytes"
        ]
        body = png(500_000)
        asset = world.add(web.serve("/a.png", body))
        same = world.add(web.serve("/b.png", body), brand=world.brands[0])
        fill = "UPDATE content_quota_usage SET used_bytes = %s WHERE tenant_id = %s RETURNING tenant_id"
        world.rows(fill, limit - 400_000, world.tenant)
        outcome = world.ingestor().ingest_asset(asset)
        assert (outcome.outcome, outcome.reason) == (Outcome.FAILED, "quota_exceeded")
        assert world.objects() == []
        assert world.rows("SELECT * FROM media_objects") == []
        assert (row(world, asset)["status"], row(world, asset)["later"]) == ("failed", True)
        world.rows(fill, 0, world.tenant)
        assert world.ingestor().ingest_asset(asset).outcome is Outcome.STORED
        # A full brand refuses a reference too, though the tenant stores nothing more for it.
        world.rows("UPDATE storage_quotas SET limit_bytes = 1000 WHERE brand_id = %s RETURNING 1", world.brands[0])
        refused = world.ingestor().ingest_asset(same)
        assert (refused.outcome, refused.reason) == (Outcome.FAILED, "quota_exceeded")
        assert world.counters()["brands"][world.brands[0]] == 0
        world.rows("UPDATE storage_quotas SET limit_bytes = 1000000 WHERE brand_id = %s RETURNING 1", world.brands[0])
        # A full tenant may reference: it stores nothing more.
        world.rows(fill, limit, world.tenant)
        assert world.ingestor().ingest_asset(same).outcome is Outcome.DUPLICATE
        assert (world.counters()["used_bytes"], world.counters()["media_files"]) == (limit, 1)


@pytest.mark.parametrize("recorded", [0, 5_000, 20_000_000])
def test_a_recorded_size_gives_way_to_the_real_one(world: MediaWorld, web: WebServer, recorded: int) -> None:
    """A row counts with its recorded size until its file is stored; then with what the file has, once."""
    body = png(30_000)
    assets = [world.add(web.serve(f"/{n}", body), size=recorded, brand=world.brands[n % 2]) for n in range(3)]
    assert world.counters()["media_bytes"] == 3 * recorded
    assert_books_add_up(world)
    for n, asset in enumerate(assets):
        world.ingestor().ingest_asset(asset)
        counted = world.counters()
        assert counted["media_bytes"] == len(body) + (2 - n) * recorded
        assert counted["media_files"] == 3 - n
        assert_books_add_up(world)
    for n, asset in enumerate(assets):
        assert remove_reference(world.tiers.database, world.ledger, asset)
        assert not remove_reference(world.tiers.database, world.ledger, asset)
        assert world.counters()["media_files"] == (1 if n < 2 else 0)
        assert_books_add_up(world)
    assert world.counters()["brands"] == dict.fromkeys(world.brands, 0)
    assert world.ingestor().ingest_asset(assets[0]).outcome is Outcome.GONE
    # The object is still there: a reference counts anew, and nothing goes up again.
    again = world.add(web.url("/0"))
    assert world.ingestor().ingest_asset(again).outcome is Outcome.DUPLICATE
    assert (world.counters()["media_files"], world.counters()["media_bytes"]) == (1, len(body))
    assert_books_add_up(world)


def test_removing_a_row_without_a_file_frees_its_recorded_size(world: MediaWorld) -> None:
    asset = world.add("https://example.com/a", size=900, brand=world.brands[0])
    assert remove_reference(world.tiers.database, world.ledger, asset)
    assert (world.counters()["media_files"], world.counters()["media_bytes"]) == (0, 0)
    assert not remove_reference(world.tiers.database, world.ledger, uuid4())
    assert_books_add_up(world)


def test_without_duplicate_detection_each_row_has_a_file_of_its_own(world: MediaWorld, web: WebServer) -> None:
    body = png(30_000)
    assets = [world.add(web.serve(f"/{n}", body)) for n in range(3)]
    ingestor = world.ingestor(share_duplicates=False)
    assert [ingestor.ingest_asset(asset).outcome for asset in assets] == [Outcome.STORED] * 3
    sha256 = hashlib.sha256(body).hexdigest()
    assert world.objects() == sorted(f"{sha256}.{asset}" for asset in assets)
    assert (world.counters()["media_files"], world.counters()["media_bytes"]) == (3, 3 * len(body))
    assert_books_add_up(world)
    assert ingestor.unknown(world.tenant) == []
    assert remove_reference(world.tiers.database, world.ledger, assets[0])
    assert (world.counters()["media_files"], world.counters()["media_bytes"]) == (2, 2 * len(body))
    shared = world.add(web.url("/0"))
    assert world.ingestor().ingest_asset(shared).outcome is Outcome.STORED
    assert world.counters()["media_files"] == 3
    assert_books_add_up(world)


def test_migrated_rows_wait_until_somebody_asks(world: MediaWorld, web: WebServer) -> None:
    body = png(3_000)
    migrated = [world.add(web.serve(f"/{n}", body), source=f"campaign_assets:{uuid4()}") for n in range(5)]
    ingestor = world.ingestor()
    assert ingestor.pending(world.tenant) == []
    assert request_ingest(world.tiers.database, world.tenant, 3) == 3
    assert ingestor.pending(world.tenant) == []
    assert request_ingest(world.tiers.database, world.tenant, 3, dry_run=False) == 3
    assert sorted(ingestor.pending(world.tenant)) == sorted(migrated[:3])
    assert len(ingestor.pending(world.tenant, 2)) == 2
    assert request_ingest(world.tiers.database, world.tenant, dry_run=False) == 2
    assert request_ingest(world.tiers.database, world.tenant) == 0
    for limit in (0, 10_001):
        with pytest.raises(Permanent, match="1 to 10000"):
            request_ingest(world.tiers.database, world.tenant, limit)
    assert ingestor.pending(uuid4()) == []


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "s3://bucket/key", "inbox:../other/a.png", "inbox:gone.png", "inbox:"]
)
def test_a_row_names_no_file_of_this_machine_or_of_another_tenant(world: MediaWorld, url: str) -> None:
    outcome = world.ingestor().ingest_asset(world.add(url))
    assert outcome.outcome is Outcome.FAILED
    assert outcome.reason in ("url_scheme", "url_malformed", "missing")


def test_after_a_restore_objects_are_found_verified_and_known_again(
    world: MediaWorld, web: WebServer, tmp_path: Path
) -> None:
    body, lost, other = png(30_000), png(40_000, seed=1), png(50_000, seed=2)
    assets = [world.add(web.serve(f"/{n}", file)) for n, file in enumerate((body, lost, other))]
    ingestor = world.ingestor()
    for asset in assets:
        ingestor.ingest_asset(asset)
    before = world.counters()
    world.rows("DELETE FROM media_objects RETURNING key")
    folder = tmp_path / "store" / f"tenant-{world.tenant}"
    (folder / hashlib.sha256(lost).hexdigest()).unlink()
    (folder / hashlib.sha256(other).hexdigest()).write_bytes(png(50_000, seed=3))
    assert sorted(ingestor.unknown(world.tenant)) == sorted(assets)
    outcomes = [ingestor.ingest_asset(asset) for asset in assets]
    assert [one.outcome for one in outcomes] == [Outcome.ADOPTED, Outcome.FAILED, Outcome.FAILED]
    assert [one.reason for one in outcomes] == [None, "bytes_missing", "bytes_missing"]
    assert ingestor.unknown(world.tenant) == []
    states = {one["sha256"]: one["state"] for one in world.rows("SELECT sha256, state FROM media_objects")}
    assert states == {
        hashlib.sha256(body).hexdigest(): "stored", hashlib.sha256(lost).hexdigest(): "missing",
        hashlib.sha256(other).hexdigest(): "missing",
    }  # fmt: skip
    assert world.counters() == before
    # The same bytes come again: the missing object is put, and every row that references it has it.
    again = world.add(web.url("/1"))
    assert ingestor.ingest_asset(again).outcome is Outcome.STORED
    assert b"".join(world.stores.for_tenant(world.tenant).read(hashlib.sha256(lost).hexdigest())) == lost
    assert_books_add_up(world)


def test_an_empty_store_is_a_wrong_address_and_no_lost_file(world: MediaWorld, web: WebServer, tmp_path: Path) -> None:
    asset = world.add(web.serve("/a", png(3_000)))
    world.ingestor().ingest_asset(asset)
    world.rows("DELETE FROM media_objects RETURNING key")
    elsewhere = world.ingestor(stores=local_stores(tmp_path / "unmounted"))
    with pytest.raises(Permanent, match="is empty though rows say"):
        elsewhere.ingest_asset(asset)
    assert world.rows("SELECT * FROM media_objects") == []
    assert world.ingestor().ingest_asset(asset).outcome is Outcome.ADOPTED


def test_an_object_marked_missing_is_put_again(world: MediaWorld, web: WebServer, tmp_path: Path) -> None:
    body = png(3_000)
    first, second = (world.add(web.serve(f"/{n}", body)) for n in range(2))
    stored = world.ingestor().ingest_asset(first).stored
    assert stored is not None
    world.stores.for_tenant(world.tenant).delete(stored.key)
    assert mark_missing(world.tiers.database, world.tenant, stored.key)
    assert not mark_missing(world.tiers.database, world.tenant, stored.key)
    assert world.ingestor().ingest_asset(second).outcome is Outcome.STORED
    assert world.objects() == [stored.key]
    assert (world.counters()["media_files"], world.counters()["media_bytes"]) == (1, len(body))
    assert_books_add_up(world)


def test_a_document_that_could_not_be_written_follows_later(
    world: MediaWorld, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = world.add(web.serve("/a", png(3_000)))

    def down(*arguments: object, **named: object) -> None:
        raise Transient("ZeroDB is down")

    ingestor = world.ingestor()
    with monkeypatch.context() as patched:
        patched.setattr(world.tiers.store, "get_many", down)
        with pytest.raises(Transient):
            ingestor.ingest_asset(asset)
    assert row(world, asset)["status"] == "stored"
    assert ingestor.pending(world.tenant) == [asset]
    assert ingestor.ingest_asset(asset).outcome is Outcome.UNCHANGED
    assert ingestor.pending(world.tenant) == []
    assert_books_add_up(world)


def test_a_row_that_goes_while_its_file_is_fetched_is_left_alone(world: MediaWorld, web: WebServer) -> None:
    body = png(3_000)

    def vanish(client: Any) -> None:
        remove_reference(world.tiers.database, world.ledger, asset)
        client.sendall(respond(200, body))

    asset = world.add(web.serve("/a", vanish))
    assert world.ingestor().ingest_asset(asset).outcome is Outcome.GONE
    counted = world.counters()
    assert (counted["media_files"], counted["media_bytes"], counted["reserved_bytes"]) == (0, 0, 0)
    other = world.add(web.serve("/b", vanish))
    asset = other
    assert world.ingestor().ingest_asset(other).outcome is Outcome.GONE
    assert_books_add_up(world)


def test_the_same_row_twice_at_once_is_stored_once(world: MediaWorld, web: WebServer) -> None:
    asset = world.add(web.serve("/a", png(300_000)))
    ingestor = world.ingestor()
    with ThreadPoolExecutor(8) as pool:
        outcomes = Counter(one.outcome for one in pool.map(ingestor.ingest_asset, [asset] * 8))
    assert outcomes[Outcome.STORED] == 1
    assert set(outcomes) <= {Outcome.STORED, Outcome.GONE, Outcome.UNCHANGED}
    assert_books_add_up(world)


def test_a_store_that_is_down_blames_no_row(world: MediaWorld, web: WebServer) -> None:
    asset = world.add(web.serve("/a", png(3_000)))
    nowhere = s3_stores("http://127.0.0.1:9", "s3://bucket")
    with pytest.raises(Transient, match="cannot put"):
        world.ingestor(stores=nowhere).ingest_asset(asset)
    assert row(world, asset)["outcome"] is None
    assert world.counters()["reserved_bytes"] == 0
    assert world.ingestor().pending(world.tenant) == [asset]


def test_whose_turn_it_is_ends_with_the_patience(world: MediaWorld) -> None:
    waited: list[float] = []
    with (
        world.tiers.database.advisory_lock(f"media:{world.tenant}:key"),
        pytest.raises(Transient, match="by somebody else"),
        object_turn(world.tiers.database, world.tenant, "key", patience=0.2, sleep=waited.append, clock=Clock()),
    ):
        raise AssertionError("both have it")
    assert waited
    assert max(waited) <= 0.5


class Clock:
    """Each look is 50 ms later."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        self._now += 0.05
        return self._now


def test_a_download_that_is_cut_off_is_a_retry_and_leaves_no_file(world: MediaWorld, web: WebServer) -> None:
    cut = respond(200, b"x", Content_Length="100000")
    asset = world.add(web.serve("/cut", lambda client: client.sendall(cut)))
    slow = Downloader(total_seconds=5, permits=loopback_too)
    assert world.ingestor(downloader=slow).ingest_asset(asset).outcome is Outcome.RETRY
    assert list(world.spool.iterdir()) == []
