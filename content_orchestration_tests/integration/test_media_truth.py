"""The checks of stored files: each kind of damage is found, nothing else is, and an outage is raised."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from content_orchestration.core.errors import AlreadyRunning, Permanent, Transient
from content_orchestration.core.media import truth
from content_orchestration.core.media.findings import SAMPLES, FileReport, Finding
from content_orchestration.core.media.listing import GONE, YOUNG, ListingReport, list_files
from content_orchestration.core.media.model import MediaStore
from content_orchestration.core.media.pipeline import process_waiting
from content_orchestration.core.media.truth import LEAST_SHARE, scrub_files
from content_orchestration.core.media.variants import VariantSettings
from content_orchestration.core.media.worker import ImageWorker
from content_orchestration.core.schema.documents import ensure_collections
from content_orchestration.resources.object_store import TenantStores
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration.settings import Settings
from content_orchestration_tests.object_servers import s3_server, s3_stores
from content_orchestration_tests.stored_files import FilesWorld, picture
from content_orchestration_tests.usage_rows import run

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
WEEK = timedelta(days=7)


@pytest.fixture(scope="module")
def worker() -> Iterator[ImageWorker]:
    with ImageWorker() as made:
        yield made


@pytest.fixture
def world(
    database_url: str, settings: Settings, zerodb_project: str, worker: ImageWorker, tmp_path: Path
) -> Iterator[FilesWorld]:
    """Two pictures with their variants, all true."""
    with (
        PostgresClient(database_url) as database,
        ZeroDBClient(settings.zerodb_url, zerodb_project, settings.zerodb_key, timeout=10.0) as documents,
    ):
        ensure_collections(documents)
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        made = FilesWorld(database, documents, TenantStores((tmp_path / "media").as_uri()), worker, scratch)
        for seed in (1, 2):
            made.stored(picture(seed))
        process_waiting(database, made.processor(), made.tenant_id, most=10)
        yield made


def scrub(world: FilesWorld, now: datetime = NOW, **given: Any) -> FileReport:
    return scrub_files(world.database, world.stores, share_of=WEEK, now=now, **given)


def listed(world: FilesWorld, **given: Any) -> ListingReport:
    """A look at files that are two hours old."""
    return list_files(world.database, world.stores, now=datetime.now(UTC) + timedelta(hours=2), **given)


def test_what_is_true_passes(world: FilesWorld) -> None:
    report = scrub(world)
    assert (report.findings, report.attempted, report.compared) == (0, 6, 6)
    assert report.bytes_read == sum(each.size_bytes for each in world.store.list())
    found = listed(world)
    assert (found.sources.findings, found.sources.compared) == (0, 2)
    assert (found.strays.findings, found.strays.attempted, found.strays.compared) == (0, 6, 6)
    assert found.strays.notes["superseded_files"] == 0


def damaged(world: FilesWorld, kind: str) -> tuple[str, str]:
    """Damage one file; its key and the finding that it must be."""
    original = world.rows()[0]["sha256"]
    variant = world.variants(original)[0]["key"]
    if kind == "a byte of an original":
        data = bytearray(world.bytes_of(original))
        data[len(data) // 2] ^= 1
        world.put(original, bytes(data))
        return original, truth.DIFFERS
    if kind == "a byte of a variant":
        data = bytearray(world.bytes_of(variant))
        data[-1] ^= 1
        world.put(variant, bytes(data))
        return variant, truth.DIFFERS
    if kind == "an original is cut":
        world.put(original, world.bytes_of(original)[:-1])
        return original, truth.DIFFERS
    if kind == "a variant is gone":
        world.store.delete(variant)
        return variant, truth.MISSING
    if kind == "an object is known to be missing":
        run(world.database, "UPDATE media_objects SET state = 'missing' WHERE sha256 = %s", [original])
        return original, truth.MISSING
    run(world.database, "DELETE FROM media_objects WHERE sha256 = %s", [original])
    return str(world.rows(original)[0]["id"]), truth.NO_OBJECT


@pytest.mark.parametrize(
    "kind",
    [
        "a byte of an original", "a byte of a variant", "an original is cut", "a variant is gone",
        "an object is known to be missing", "an object is unknown",
    ],
)  # fmt: skip
def test_damage_is_found_by_name_until_it_is_repaired(world: FilesWorld, kind: str) -> None:
    before = {key: world.bytes_of(key) for key in world.listed()}
    key, finding = damaged(world, kind)
    report = scrub(world)
    assert report.kinds == {finding: 1}
    assert (report.samples[0].key, report.samples[0].tenant_id) == (key, str(world.tenant_id))
    assert scrub(world, NOW + timedelta(hours=1)).kinds == {finding: 1}, "the next look says it again"
    if kind in ("an object is known to be missing", "an object is unknown"):
        return
    world.put(key, before[key])
    assert scrub(world, NOW + timedelta(hours=2)).findings == 0


def test_a_finding_stays_though_the_walk_has_passed_it(world: FilesWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(truth, "LEAST_SHARE", 1)
    first = min((world.rows()[0]["sha256"], world.rows()[1]["sha256"]))
    world.store.delete(first)
    run(world.database, "DELETE FROM media_variants")
    assert scrub(world).kinds == {truth.MISSING: 1}
    later = scrub(world, NOW + timedelta(minutes=1))
    assert (later.kinds, later.attempted) == ({truth.MISSING: 1}, 2)
    run(world.database, "DELETE FROM media_objects WHERE sha256 = %s", [first])
    run(world.database, "UPDATE media_assets SET deleted_at = now() WHERE sha256 = %s", [first])
    assert scrub(world, NOW + timedelta(minutes=2)).findings == 0, "what no row names is nobody's loss here"


def test_every_file_is_read_within_the_time_and_a_call_reads_its_share(
    world: FilesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(truth, "LEAST_SHARE", 1)
    monkeypatch.setattr(truth, "_PAGE", 2)
    read = [scrub(world, NOW).attempted]
    for day in range(1, 8):
        report = scrub(world, NOW + timedelta(days=day))
        read.append(report.attempted)
        if day < 7:
            assert report.notes["files_in_cycle"] == sum(read)
    assert sum(read[:8]) >= 6
    assert max(read) <= 2
    late = scrub(world, NOW + timedelta(days=30))
    assert late.attempted >= 1


def test_a_call_reads_no_more_bytes_than_it_may(world: FilesWorld) -> None:
    assert scrub(world, max_bytes=1).attempted == 1
    rest = scrub(world, NOW + timedelta(minutes=1))
    assert rest.attempted == 5
    assert LEAST_SHARE >= 6


class Flaky:
    """A store that breaks off after some calls of a method."""

    def __init__(self, stores: Any, name: str, error: Exception, after: int) -> None:
        self._stores, self._name, self._error, self._left = stores, name, error, after

    def for_tenant(self, tenant_id: UUID) -> MediaStore:
        store = self._stores.for_tenant(tenant_id)
        original = getattr(store, self._name)

        def breaking(*args: Any) -> Any:
            yield from self._some(original(*args))

        setattr(store, self._name, breaking)
        return store

    def _some(self, items: Iterator[Any]) -> Iterator[Any]:
        for item in items:
            if self._left == 0:
                raise self._error
            self._left -= 1
            yield item
        if self._left == 0:
            raise self._error


def test_an_outage_while_reading_is_raised_and_the_position_stays_where_it_was_proven(world: FilesWorld) -> None:
    flaky = Flaky(world.stores, "read", Transient("the store is down"), after=3)
    with pytest.raises(Transient, match="the store is down"):
        scrub_files(world.database, flaky, share_of=WEEK, now=NOW)
    rest = scrub(world, NOW + timedelta(minutes=1))
    assert rest.notes["files_in_cycle"] == 6
    assert rest.attempted == 4, "two were proven before the third broke off"


@pytest.mark.parametrize("error", [Transient("timed out"), Permanent("no bucket")])
def test_a_listing_that_fails_is_an_outage_and_reports_nothing(world: FilesWorld, error: Exception) -> None:
    world.put("variants/stray.jpg", b"stray")
    with pytest.raises(type(error), match=str(error)):
        list_files(world.database, Flaky(world.stores, "list", error, after=2), now=NOW)


def test_two_looks_at_once_are_refused(world: FilesWorld) -> None:
    with world.database.advisory_lock(truth.LOCK), pytest.raises(AlreadyRunning):
        scrub(world)


def test_a_file_without_a_row_is_found_and_named(world: FilesWorld) -> None:
    for key in ("stray.txt", f"variants/{'0' * 64}/1-x.jpg", "a" * 64):
        world.put(key, b"stray")
    found = listed(world)
    assert found.strays.kinds == {"file_without_row": 3}
    assert {sample.key for sample in found.strays.samples} == {"stray.txt", f"variants/{'0' * 64}/1-x.jpg", "a" * 64}
    assert found.strays.compared == found.strays.attempted == 9
    assert world.listed() >= {"stray.txt"}, "report only"


def test_a_file_of_any_name_is_found(world: FilesWorld) -> None:
    """People and their systems put files where they can; nothing of ours could ask the store for these again."""
    folder = Path(world.store.location.removeprefix("file://"))
    for name in (b"Report 2026 (final).pdf", b".DS_Store", "Ü/ä.txt".encode(), b"caf\xe9.txt", b"a\\b"):
        path = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"stray")
    found = listed(world)
    assert found.strays.kinds == {"file_without_row": 5}
    assert {sample.key for sample in found.strays.samples} == {
        "Report 2026 (final).pdf", ".DS_Store", "Ü/ä.txt", r"caf\xe9.txt", r"a\b",
    }  # fmt: skip


def test_a_young_file_may_be_ahead_of_its_row(world: FilesWorld) -> None:
    world.put("stray.txt", b"stray")
    found = list_files(world.database, world.stores, now=datetime.now(UTC))
    assert (found.strays.findings, found.strays.skipped) == (0, {YOUNG: 1})
    assert found.strays.as_metadata()["skipped"] == {YOUNG: 1}


def test_a_file_that_goes_while_the_check_runs_is_no_finding(world: FilesWorld) -> None:
    world.put("stray.txt", b"stray")

    class Vanishing:
        def for_tenant(self, tenant_id: UUID) -> MediaStore:
            store = world.stores.for_tenant(tenant_id)
            store.exists = lambda key: False  # type: ignore[method-assign]
            return store

    found = list_files(world.database, Vanishing(), now=datetime.now(UTC) + timedelta(hours=2))  # type: ignore[arg-type]
    assert (found.strays.findings, found.strays.skipped[GONE]) == (0, 1)


@pytest.mark.parametrize("how", ["bytes", "object"])
def test_a_variant_whose_source_is_gone_is_found(world: FilesWorld, how: str) -> None:
    sha256 = world.rows()[0]["sha256"]
    if how == "bytes":
        world.store.delete(sha256)
    else:
        run(world.database, "DELETE FROM media_objects WHERE sha256 = %s", [sha256])
    found = listed(world).sources
    assert found.kinds == {"variant_without_source": 1}
    assert found.samples[0].key == sha256
    assert ("no object" if how == "object" else "not in the store") in found.samples[0].detail
    assert (found.attempted, found.compared) == (2, 2)


def test_a_source_that_came_after_the_listing_began_is_no_finding(world: FilesWorld) -> None:
    class Late:
        """A listing that was taken before the last file was put."""

        def for_tenant(self, tenant_id: UUID) -> MediaStore:
            store = world.stores.for_tenant(tenant_id)
            shown = [each for each in store.list() if each.key != world.rows()[0]["sha256"]]
            store.list = lambda prefix="": iter(shown)  # type: ignore[method-assign]
            return store

    found = list_files(world.database, Late(), now=datetime.now(UTC))  # type: ignore[arg-type]
    assert (found.sources.findings, found.sources.compared) == (0, 2)


def test_superseded_files_are_counted_and_are_no_strays(world: FilesWorld) -> None:
    other = world.processor(VariantSettings(sizes=(99,)))
    process_waiting(world.database, other, world.tenant_id, most=10, remake=True)
    found = listed(world)
    assert found.strays.findings == 0
    assert found.strays.notes["superseded_files"] == 4
    assert found.strays.notes["superseded_bytes"] > 0
    assert found.strays.notes["superseded_since"] != "none"


def test_findings_are_all_counted_and_twenty_are_shown() -> None:
    report = FileReport()
    for number in range(30):
        report.found(Finding("kind", str(uuid4()), str(number)))
    assert (report.findings, len(report.as_metadata()["samples"])) == (30, SAMPLES)


def test_all_of_it_over_s3(
    database_url: str, settings: Settings, zerodb_project: str, worker: ImageWorker, tmp_path: Path
) -> None:
    """Variants made, replaced and looked at in a bucket: what works on a folder works there."""
    with (
        s3_server() as endpoint,
        PostgresClient(database_url) as database,
        ZeroDBClient(settings.zerodb_url, zerodb_project, settings.zerodb_key, timeout=10.0) as documents,
    ):
        ensure_collections(documents)
        world = FilesWorld(database, documents, s3_stores(endpoint), worker, tmp_path)
        sha256 = world.stored(picture(1))
        process_waiting(database, world.processor(), world.tenant_id, most=10)
        other = world.processor(VariantSettings(sizes=(99,)))
        process_waiting(database, other, world.tenant_id, most=10, remake=True)
        variant = world.variants(sha256)[0]["key"]
        assert world.listed() == {sha256, variant, *world.superseded()}
        assert scrub(world).findings == 0
        found = listed(world)
        assert (found.sources.findings, found.strays.findings) == (0, 0)

        world.put("variants/stray.jpg", b"stray")
        world.put(variant, world.bytes_of(variant)[::-1])
        assert scrub(world).kinds == {truth.DIFFERS: 1}
        world.store.delete(sha256)
        found = listed(world)
        assert found.sources.kinds == {"variant_without_source": 1}
        assert found.strays.kinds == {"file_without_row": 1}
        assert process_waiting(database, world.processor(), world.tenant_id, most=9, remake=True).outcomes == {
            "retry_later": 1
        }
    with pytest.raises((Transient, Permanent)):
        listed(world)
