"""The stores on a folder, on moto's S3 and on the GCS emulator: the same promises everywhere, kept for real."""

import hashlib
import os
import stat
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.media.model import DamagedObject, MediaStores, MissingObject, SigningUnavailable
from content_orchestration.core.media.spool import Spool
from content_orchestration.resources.object_store import TenantStores
from content_orchestration.resources.object_store_client import PART_BYTES
from content_orchestration_tests.media_world import local_stores
from content_orchestration_tests.object_servers import gcs_server, gcs_stores, s3_client, s3_server, s3_stores

TENANT = UUID(int=7)


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


def written(folder: Path, body: bytes) -> tuple[Path, str]:
    path = folder / uuid4().hex
    path.write_bytes(body)
    return path, hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 70_000, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 12_345])
def test_what_is_put_comes_back(stores: MediaStores, tmp_path: Path, size: int) -> None:
    body = os.urandom(size)
    path, sha256 = written(tmp_path, body)
    store = stores.for_tenant(TENANT)
    if not size and store.location.startswith("gs://"):
        pytest.skip("the emulator fails on an empty body")
    assert (store.head(sha256), store.exists(sha256), list(store.list())) == (None, False, [])
    put = store.put_file(path, sha256, sha256, "image/png")
    assert (put.key, put.size_bytes, put.created) == (sha256, size, True)
    assert b"".join(store.read(sha256)) == body
    again = store.put_file(path, sha256, sha256, "image/png")
    assert (again.created, again.etag, again.generation) == (False, put.etag, put.generation)
    assert store.exists(sha256)
    store.delete(sha256)
    store.delete(sha256)
    assert store.head(sha256) is None
    with pytest.raises(MissingObject):
        list(store.read(sha256))


def test_many_at_once_put_one_object(stores: MediaStores, tmp_path: Path) -> None:
    path, sha256 = written(tmp_path, os.urandom(50_000))
    store = stores.for_tenant(TENANT)
    with ThreadPoolExecutor(16) as pool:
        put = list(pool.map(lambda _: store.put_file(path, sha256, sha256), range(16)))
    assert sum(one.created for one in put) == 1
    assert len({(one.etag, one.size_bytes) for one in put}) == 1
    assert [found.key for found in store.list()] == [sha256]


def test_tenants_are_apart_and_lists_are_whole(stores: MediaStores, tmp_path: Path) -> None:
    path, sha256 = written(tmp_path, b"mine")
    mine, theirs, inbox = stores.for_tenant(TENANT), stores.for_tenant(UUID(int=8)), stores.inbox(TENANT)
    keys = [sha256, f"variants/{sha256}/150-q85.jpg", f"variants/{sha256}/400-q85.jpg"]
    for key in keys:
        mine.put_file(path, key, sha256)
    assert sorted(found.key for found in mine.list()) == sorted(keys)
    assert sorted(found.key for found in mine.list("variants")) == keys[1:]
    assert list(mine.list(f"variants/{sha256[:10]}")) == []
    assert list(theirs.list()) == []
    assert list(inbox.list()) == []
    assert not theirs.exists(sha256)
    assert mine.location.endswith(f"tenant-{TENANT}")
    with pytest.raises(MissingObject):
        list(theirs.read(sha256))


def test_other_bytes_under_a_key_are_told_and_not_overwritten(stores: MediaStores, tmp_path: Path) -> None:
    short, sha256 = written(tmp_path, b"short")
    longer, _ = written(tmp_path, b"longer")
    store = stores.for_tenant(TENANT)
    store.put_file(short, sha256, sha256)
    with pytest.raises(DamagedObject, match="has 5 bytes, the file 6"):
        store.put_file(longer, sha256, sha256)
    assert b"".join(store.read(sha256)) == b"short"
    same_size, _ = written(tmp_path, b"SHORT")
    damaged = "0" * 64
    store.put_file(same_size, damaged, damaged)
    with pytest.raises(DamagedObject, match="not 0000"), Spool(tmp_path / "spool").fetch(store, damaged, damaged, 5):
        pass
    with Spool(tmp_path / "spool").fetch(store, sha256, sha256, 5) as path:
        assert path.read_bytes() == b"short"
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize(
    "key", ["../other/a", "/etc/passwd", "a//b", "a/./b", ".part/x", "a b", "", "a\\b", "ä", "a/", "x" * 901]
)
def test_no_key_leads_outside(stores: MediaStores, tmp_path: Path, key: str) -> None:
    store = stores.for_tenant(TENANT)
    path, sha256 = written(tmp_path, b"x")
    for attempt in (
        lambda: store.put_file(path, key, sha256),
        lambda: list(store.read(key)),
        lambda: store.head(key),
        lambda: store.delete(key),
    ):
        with pytest.raises(Permanent, match="is no key"):
            attempt()


def test_signed_addresses_of_s3_can_be_read_without_credentials(s3: str, tmp_path: Path) -> None:
    path, sha256 = written(tmp_path, b"signed")
    store = s3_stores(s3).for_tenant(TENANT)
    store.put_file(path, sha256, sha256, "image/png")
    url = store.signed_url(sha256, 60)
    with urllib.request.urlopen(url) as answer:
        assert (answer.read(), answer.headers["Content-Type"]) == (b"signed", "image/png")
    assert "X-Amz-Expires=60" in url
    assert "secret" not in url
    for seconds in (0, 3601):
        with pytest.raises(Permanent, match="from 1 to 3600"):
            store.signed_url(sha256, seconds)


def test_a_folder_and_a_key_that_cannot_sign_say_so(gcs: str, tmp_path: Path) -> None:
    with pytest.raises(SigningUnavailable, match="signs no addresses"):
        local_stores(tmp_path).for_tenant(TENANT).signed_url("a", 60)


def test_a_bucket_a_tenant(s3: str, tmp_path: Path) -> None:
    path, sha256 = written(tmp_path, b"own bucket")
    stores = s3_stores(s3, "s3://")
    tenant = uuid4()
    store = stores.for_tenant(tenant)
    assert store.location == f"s3://tenant-{tenant}/media"
    with pytest.raises(Permanent, match="no such bucket"):
        store.put_file(path, sha256, sha256)
    with pytest.raises(Permanent, match="no such bucket"):
        list(store.list())
    client = s3_client(s3)
    client.create_bucket(Bucket=f"tenant-{tenant}")
    store.put_file(path, sha256, sha256)
    keys = [one["Key"] for one in client.list_objects_v2(Bucket=f"tenant-{tenant}")["Contents"]]
    assert keys == [f"media/{sha256}"]
    assert list(stores.inbox(tenant).list()) == []


def test_a_store_that_does_not_answer_is_a_retry(tmp_path: Path) -> None:
    path, sha256 = written(tmp_path, b"x")
    stores = TenantStores(
        "s3://bucket",
        endpoint="http://127.0.0.1:9",
        region="us-east-1",
        access_key="k",
        secret_key="s",
        retry_seconds=0.5,
    )
    store = stores.for_tenant(TENANT)
    for attempt in (
        lambda: store.put_file(path, sha256, sha256),
        lambda: store.head(sha256),
        lambda: list(store.list()),
    ):
        with pytest.raises(Transient, match="cannot"):
            attempt()


def test_azure_is_opened_with_its_own_credentials() -> None:
    stores = TenantStores(
        "az://container/files",
        endpoint="http://127.0.0.1:9",
        access_key="account",
        secret_key="a2V5",
        retry_seconds=0.2,
    )
    store = stores.for_tenant(TENANT)
    assert store.location == f"az://container/files/tenant-{TENANT}"
    assert "sig=" in store.signed_url("a", 60)
    with pytest.raises(Permanent, match="scheme 'ftp'"):
        TenantStores("ftp://x")


def test_a_local_put_waits_for_the_disk_before_the_name_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sha256 = written(tmp_path, b"durable")
    done: list[str] = []
    real_fsync, real_link = os.fsync, os.link

    def fsync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_fsync(descriptor)

    def link(source: object, target: object) -> None:
        done.append("name")
        real_link(source, target)  # type: ignore[arg-type]

    store = local_stores(tmp_path / "store").for_tenant(TENANT)
    store.put_file(path, sha256, sha256)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    other, other_hash = written(tmp_path, b"other")
    store.put_file(other, other_hash, other_hash)
    assert done == ["file", "name", "folder"]
    folder = tmp_path / "store" / f"tenant-{TENANT}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list((folder / ".part").iterdir()) == []


def test_links_out_of_a_local_store_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"of the machine")
    stores = local_stores(tmp_path / "store")
    inbox = tmp_path / "store" / "inbox" / str(TENANT)
    inbox.mkdir(parents=True)
    (inbox / "link.png").symlink_to(secret)
    (inbox / "folder").symlink_to(tmp_path)
    (inbox / "Foto 1 ü%.png").write_bytes(b"dropped")
    store = stores.inbox(TENANT)
    assert [found.key for found in store.list()] == ["Foto 1 ü%.png"]
    assert b"".join(store.read("Foto 1 ü%.png")) == b"dropped"
    for key in ("link.png", "folder/secret"):
        assert store.head(key) is None
        with pytest.raises(MissingObject):
            list(store.read(key))
    for key in ("../x", "a/../b", "", "a//b", "a\nb", "a\\b"):
        with pytest.raises(Permanent, match="no name of a dropped file"):
            store.head(key)


def test_what_a_kill_left_in_a_local_store_goes_a_day_later(tmp_path: Path) -> None:
    path, sha256 = written(tmp_path, b"x")
    stores = local_stores(tmp_path / "store")
    half = tmp_path / "store" / f"tenant-{TENANT}" / ".part"
    half.mkdir(parents=True)
    for name, age in (("old", 90_000), ("young", 60)):
        (half / name).write_bytes(b"half")
        os.utime(half / name, ((half / name).stat().st_atime - age,) * 2)
    store = stores.for_tenant(TENANT)
    assert list(store.list()) == []
    store.put_file(path, sha256, sha256)
    assert [one.name for one in half.iterdir()] == ["young"]
    assert [found.key for found in store.list()] == [sha256]


def test_a_reader_never_sees_a_part_of_a_file(tmp_path: Path) -> None:
    """Readers poll the key while large files are put: it is absent or whole."""
    store = local_stores(tmp_path / "store").for_tenant(TENANT)
    path, sha256 = written(tmp_path, os.urandom(6_000_000))
    seen: set[int] = set()
    ending = threading.Event()

    def look() -> None:
        while not ending.is_set():
            found = store.head(sha256)
            seen.add(found.size_bytes if found else -1)

    looking = threading.Thread(target=look)
    looking.start()
    for _ in range(5):
        store.put_file(path, sha256, sha256)
        store.delete(sha256)
    ending.set()
    looking.join()
    assert seen <= {-1, 6_000_000}
