"""Stored files described and given their variants, over a real store, real PostgreSQL and real ZeroDB."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from content_orchestration.core.errors import AlreadyRunning
from content_orchestration.core.integrity.media import compare_media
from content_orchestration.core.media.documents import keep_in_step
from content_orchestration.core.media.pipeline import process_waiting
from content_orchestration.core.media.processing import MOST_ATTEMPTS
from content_orchestration.core.media.thumbnails import MOST_BYTES, Thumbnail, as_markdown, thumbnail
from content_orchestration.core.media.variants import VariantSettings
from content_orchestration.core.media.worker import ImageWorker, Processed
from content_orchestration.core.schema.documents import ensure_collections
from content_orchestration.resources.object_store import TenantStores
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration.settings import Settings
from content_orchestration_tests.stored_files import FilesWorld, Refusing, encoded, picture
from content_orchestration_tests.usage_rows import run


@pytest.fixture(scope="module")
def worker() -> Iterator[ImageWorker]:
    with ImageWorker() as made:
        yield made


@pytest.fixture
def world(
    database_url: str, settings: Settings, zerodb_project: str, worker: ImageWorker, tmp_path: Path
) -> Iterator[FilesWorld]:
    with (
        PostgresClient(database_url) as database,
        ZeroDBClient(settings.zerodb_url, zerodb_project, settings.zerodb_key, timeout=10.0) as documents,
    ):
        ensure_collections(documents)
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        yield FilesWorld(database, documents, TenantStores((tmp_path / "media").as_uri()), worker, scratch)


def test_a_picture_gets_its_variants_and_every_row_that_names_it_says_so(world: FilesWorld) -> None:
    data = picture(1)
    sha256 = world.stored(data, "red-shoe.jpg", rows=3)
    report = process_waiting(world.database, world.processor(), world.tenant_id, most=10)
    assert report.outcomes == {"made": 1}
    variants = world.variants(sha256)
    assert [(row["width"], row["height"], row["format"]) for row in variants] == [
        (150, 112, "jpeg"),
        (400, 300, "jpeg"),
    ]
    for row in variants:
        made = world.bytes_of(row["key"])
        assert (len(made), hashlib.sha256(made).hexdigest()) == (row["bytes"], row["variant_sha256"])
        assert Image.open(io.BytesIO(made)).size == (row["width"], row["height"])
    assert report.bytes_put == sum(row["bytes"] for row in variants)
    assert world.listed() == {sha256, *(row["key"] for row in variants)}
    metadata = [row["metadata"] for row in world.rows()]
    assert len(metadata) == 3
    assert metadata[0] == metadata[1] == metadata[2]
    assert metadata[0]["position"] == 0
    assert metadata[0]["file"]["width"] == 640
    assert [each["key"] for each in metadata[0]["variants"]] == [row["key"] for row in variants]
    assert {tag["source"] for tag in metadata[0]["tags"]} == {"heuristic"}
    assert "shoe" in {tag["name"] for tag in metadata[0]["tags"]}


def test_a_second_run_finds_nothing_and_a_later_reference_gets_the_description(world: FilesWorld) -> None:
    sha256 = world.stored(picture(1))
    process_waiting(world.database, world.processor(), world.tenant_id, most=10)
    before = world.rows()
    again = process_waiting(world.database, world.processor(), world.tenant_id, most=10)
    assert (again.attempted, again.left) == (0, 0)
    assert world.rows() == before
    late = world.row(sha256, len(picture(1)), "copy.jpg")
    third = process_waiting(world.database, world.processor(worker=Refusing()), world.tenant_id, most=10)
    assert third.outcomes == {"already_made": 1}
    (row,) = [each for each in world.rows() if each["id"] == late]
    assert row["metadata"]["variants"] == before[0]["metadata"]["variants"]
    assert [each for each in world.rows() if each["id"] != late] == before, "rows that have it are left alone"


def test_files_that_failed_are_marked_with_their_reason_and_stop_nothing(world: FilesWorld) -> None:
    good = world.stored(picture(1))
    cut = world.stored(picture(2)[:2000], "cut.jpg", rows=2)
    bomb = world.stored(picture(3)[:2] + b"\xff\xd9", "bomb.jpg")
    other = world.stored(picture(4))
    report = process_waiting(world.database, world.processor(), world.tenant_id, most=10)
    assert report.outcomes == {"made": 2, "failed": 2}
    assert {step.subject for step in report.failures} == {cut, bomb}
    assert all(len(step.detail) > 20 for step in report.failures)
    for sha256 in (cut, bomb):
        for row in world.rows(sha256):
            assert (row["status"], row["metadata"]["failure"]["step"]) == ("failed", "describe")
            assert row["metadata"]["failure"]["reason"] == world.state(sha256)["failed_reason"]
    assert {row["status"] for row in world.rows(good) + world.rows(other)} == {"stored"}
    assert process_waiting(world.database, world.processor(), world.tenant_id, most=10).attempted == 0

    late = world.row(cut, 2000, "cut again.jpg")
    again = process_waiting(world.database, world.processor(), world.tenant_id, most=10)
    assert again.outcomes == {"failed": 1}, "a row that names a file which failed says so, too"
    (row,) = [each for each in world.rows(cut) if each["id"] == late]
    assert row["metadata"]["failure"]["reason"] == world.state(cut)["failed_reason"]
    assert process_waiting(world.database, world.processor(), world.tenant_id, most=10).attempted == 0


def test_other_sizes_replace_the_old_ones_in_one_step_and_their_files_stay(world: FilesWorld) -> None:
    sha256 = world.stored(picture(1))
    process_waiting(world.database, world.processor(), world.tenant_id, most=10)
    old = {row["key"] for row in world.variants(sha256)}
    wider = VariantSettings(sizes=(100, 200, 400), quality=80)
    assert process_waiting(world.database, world.processor(wider), world.tenant_id, most=10).attempted == 0
    seen: list[list[int]] = []

    class Watching:
        """Looks at what a page would find, while the next variants are made."""

        def process(self, path: Path, out_dir: Path, settings: VariantSettings) -> Processed:
            seen.append([row["width"] for row in world.variants(sha256)])
            return world.worker.process(path, out_dir, settings)

    processor = world.processor(wider, worker=Watching())
    report = process_waiting(world.database, processor, world.tenant_id, most=10, remake=True)
    assert report.outcomes == {"remade": 1}
    assert seen == [[150, 400]]
    variants = world.variants(sha256)
    assert [row["width"] for row in variants] == [100, 200, 400]
    gone = old - {row["key"] for row in variants}
    assert len(gone) == 1, "400 pixels came out the same and are the same file"
    assert world.superseded() == sorted(gone)
    assert gone <= world.listed()
    assert [each["width"] for each in world.rows()[0]["metadata"]["variants"]] == [100, 200, 400]

    back = process_waiting(world.database, world.processor(), world.tenant_id, most=10, remake=True)
    assert back.outcomes == {"remade": 1}
    assert {row["key"] for row in world.variants(sha256)} == old
    assert world.superseded() == sorted({row["key"] for row in variants} - old), "what is used again is not left over"


def test_a_remake_that_fails_leaves_the_variants_and_the_status(world: FilesWorld) -> None:
    sha256 = world.stored(picture(1))
    process_waiting(world.database, world.processor(), world.tenant_id, most=10)
    before = world.rows(), world.variants(sha256)
    processor = world.processor(VariantSettings(sizes=(99,)), worker=Refusing(again=False))
    report = process_waiting(world.database, processor, world.tenant_id, most=10, remake=True)
    assert report.outcomes == {"failed": 1}
    assert (world.rows(), world.variants(sha256)) == before
    assert "no decoder" in world.state(sha256)["failed_reason"]


def test_a_decoder_that_crashes_is_tried_again_and_then_no_more(world: FilesWorld) -> None:
    sha256 = world.stored(picture(1))
    processor = world.processor(worker=Refusing(again=True))
    for attempt in range(1, MOST_ATTEMPTS + 1):
        report = process_waiting(world.database, processor, world.tenant_id, most=10)
        assert report.outcomes == {"retry_later" if attempt < MOST_ATTEMPTS else "failed": 1}
        assert process_waiting(world.database, processor, world.tenant_id, most=10).attempted == 0, (
            "not before its time"
        )
        assert world.rows()[0]["status"] == ("stored" if attempt < MOST_ATTEMPTS else "failed")
        run(world.database, "UPDATE media_processing SET retry_at = now() WHERE retry_at IS NOT NULL")
    assert world.state(sha256)["attempts"] == MOST_ATTEMPTS


@pytest.mark.parametrize("damage", ["missing", "other bytes", "too long"])
def test_a_file_whose_bytes_are_damaged_waits_for_its_repair(world: FilesWorld, damage: str) -> None:
    data = picture(1)
    sha256 = world.stored(data)
    world.store.delete(sha256)
    if damage != "missing":
        bad = world.scratch / "bad"
        bad.write_bytes(data[:-1] + b"x" if damage == "other bytes" else data + b"xx")
        world.store.put_file(bad, sha256, sha256)
    report = process_waiting(world.database, world.processor(), world.tenant_id, most=10)
    assert report.outcomes == {"retry_later": 1}
    assert world.rows()[0]["status"] == "stored"
    world.store.delete(sha256)
    good = world.scratch / "good"
    good.write_bytes(data)
    world.store.put_file(good, sha256, sha256)
    run(world.database, "UPDATE media_processing SET retry_at = now()")
    assert process_waiting(world.database, world.processor(), world.tenant_id, most=10).outcomes == {"made": 1}


def test_pictures_that_look_alike_are_paired_and_the_later_one_names_the_other(world: FilesWorld) -> None:
    first = world.stored(picture(1), "a.jpg")
    process_waiting(world.database, world.processor(), world.tenant_id, most=10)
    later = world.stored(picture(1, 320, 240, quality=60), "b.jpg")
    unlike = world.stored(picture(2), "c.jpg")
    process_waiting(world.database, world.processor(), world.tenant_id, most=10)
    assert world.rows(later)[0]["metadata"]["near_duplicate_of"]["sha256"] == first
    assert "near_duplicate_of" not in world.rows(first)[0]["metadata"] | world.rows(unlike)[0]["metadata"]
    pairs = run(world.database, "SELECT sha256, other_sha256, distance FROM media_near_duplicates")
    assert [(row["sha256"], row["other_sha256"]) for row in pairs] == [tuple(sorted([first, later]))]
    # Made again in the other order, the same one is the duplicate.
    other = world.processor(VariantSettings(sizes=(99,)))
    process_waiting(world.database, other, world.tenant_id, most=10, remake=True)
    assert world.rows(later)[0]["metadata"]["near_duplicate_of"]["sha256"] == first
    assert "near_duplicate_of" not in world.rows(first)[0]["metadata"]


def test_pictures_are_not_compared_where_that_is_switched_off_nor_blank_ones_ever(world: FilesWorld) -> None:
    world.stored(picture(1), "a.jpg")
    world.stored(picture(1, 320, 240), "b.jpg")
    process_waiting(world.database, world.processor(mark_near=False), world.tenant_id, most=10)
    for seed in (200, 210):
        world.stored(encoded(Image.new("RGB", (seed, 300), "white")), f"{seed}.jpg")
    process_waiting(world.database, world.processor(), world.tenant_id, most=10)
    assert run(world.database, "SELECT * FROM media_near_duplicates") == []
    assert all("near_duplicate_of" not in row["metadata"] for row in world.rows())


def test_what_is_no_picture_is_described_without_variants(world: FilesWorld) -> None:
    sha256 = world.stored(b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n", "terms.pdf", kind="document")
    report = process_waiting(world.database, world.processor(), world.tenant_id, most=10)
    assert report.outcomes == {"made": 1}
    metadata = world.rows(sha256)[0]["metadata"]
    assert (metadata["file"]["format"], metadata["variants"]) == ("pdf", [])


def test_the_document_says_what_the_row_says(world: FilesWorld) -> None:
    sha256 = world.stored(picture(1))
    (asset,) = [row["id"] for row in world.rows(sha256)]
    world.documents.put_many("content_media_files", [{"id": str(asset), "url": "elsewhere", "size_bytes": 1}])
    process_waiting(world.database, world.processor(), world.tenant_id, most=10)
    found = compare_media(world.database, world.documents)
    assert (found.outcome, found.compared) == ("agree", 1)
    assert keep_in_step(world.database, world.documents, [asset]) == 0


def test_a_row_that_goes_meanwhile_gets_nothing(world: FilesWorld) -> None:
    sha256 = world.stored(picture(1))

    class Deleting:
        def process(self, path: Path, out_dir: Path, settings: VariantSettings) -> Processed:
            run(world.database, "UPDATE media_assets SET deleted_at = now()")
            return world.worker.process(path, out_dir, settings)

    assert world.processor(worker=Deleting()).process(world.tenant_id, sha256).outcome == "gone"
    assert world.variants(sha256) == []
    assert world.processor().process(world.tenant_id, sha256).outcome == "gone"


def test_a_run_takes_no_more_than_it_was_told_and_says_what_is_left(world: FilesWorld) -> None:
    for seed in range(5):
        world.stored(picture(seed, 200, 150))
    report = process_waiting(world.database, world.processor(), world.tenant_id, most=2)
    assert (report.attempted, report.left) == (2, 3)
    steps: list[str] = []
    report = process_waiting(
        world.database, world.processor(), world.tenant_id, most=9, on_step=lambda step: steps.append(step.subject)
    )
    assert (report.attempted, report.left, len(set(steps))) == (3, 0, 3)
    assert len(report.thumbnails) == 3
    shown = as_markdown(report.thumbnails)
    assert shown.count("![photo.jpg](data:image/jpeg;base64,") == 3


def test_another_run_of_the_same_tenant_is_refused(world: FilesWorld) -> None:
    with (
        world.database.advisory_lock(f"media_variants:{world.tenant_id}"),
        pytest.raises(AlreadyRunning, match="media_variants"),
    ):
        process_waiting(world.database, world.processor(), world.tenant_id, most=2)


def test_thumbnails_are_bounded_and_a_name_cannot_write_markdown(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"x" * (MOST_BYTES + 1))
    assert thumbnail("large.jpg", "image/jpeg", large, MOST_BYTES + 1) is None
    many = [Thumbnail(f"](http://evil.example) {n}", "image/jpeg", b"x") for n in range(40)]
    shown = as_markdown(many)
    assert shown.count("![") == 12
    assert "](http" not in shown
    assert as_markdown([Thumbnail("", "image/webp", b"x")]).startswith("![file](data:image/webp")
