"""Uploads in parts that were never finished: found and aborted on S3 and in a folder, and elsewhere told of."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from content_orchestration.core.cleanup import multipart
from content_orchestration.core.cleanup.guards import NeverDelete
from content_orchestration.core.cleanup.holds import place
from content_orchestration.core.cleanup.model import Cleaned
from content_orchestration.core.cleanup.multipart import CannotList, Upload
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.resources.object_store import TenantStores
from content_orchestration.resources.object_store_uploads import (
    LocalUploads,
    S3Uploads,
    StoreUploads,
    sign_s3,
    uploads_of,
)
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.settings import Settings
from content_orchestration_tests.media_world import local_stores
from content_orchestration_tests.object_servers import s3_client, s3_server, s3_stores
from content_orchestration_tests.usage_rows import run, tenant

KEY = "ab" * 32
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def database(database_url: str) -> Iterator[PostgresClient]:
    with PostgresClient(database_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as endpoint:
        yield endpoint


def uploads(stores: TenantStores, endpoint: str = "", key_id: str = "key") -> StoreUploads:
    return StoreUploads(stores, endpoint=endpoint, region="us-east-1", key_id=key_id, secret="secret")


def abort(database: PostgresClient, found: StoreUploads, **given: Any) -> Cleaned:
    return multipart.abort(database, found, run_id="test", **{"dry_run": False, "limit": 100, **given})


def begun(endpoint: str, location: str, key: str) -> None:
    """An upload with one part, by Amazon's own client."""
    bucket, _, prefix = location.removeprefix("s3://").partition("/")
    client = s3_client(endpoint)
    upload = client.create_multipart_upload(Bucket=bucket, Key=f"{prefix}/{key}")["UploadId"]
    client.upload_part(Bucket=bucket, Key=f"{prefix}/{key}", UploadId=upload, PartNumber=1, Body=b"x" * 1000)


def open_uploads(endpoint: str, location: str) -> list[str]:
    bucket = location.removeprefix("s3://").partition("/")[0]
    found = s3_client(endpoint).list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return sorted(each["Key"] for each in found)


def test_unfinished_uploads_in_s3_are_aborted_with_their_parts(
    database: PostgresClient, s3: str, tmp_path: Path
) -> None:
    stores, mine, other = s3_stores(s3), UUID(tenant(database)), UUID(tenant(database))
    location = stores.for_tenant(mine).location
    (tmp_path / "whole").write_bytes(b"whole")
    stores.for_tenant(mine).put_file(tmp_path / "whole", "cd" * 32, "cd" * 32)
    for key in (KEY, "ef" * 32, "held by a writer +%&"):
        begun(s3, location, key)
    begun(s3, stores.for_tenant(other).location, KEY)
    place(database, other, reason="a court asked", placed_by="test")
    found = uploads(stores, s3)

    told = abort(database, found, dry_run=True)
    assert (told.scanned, told.candidates, told.deleted, len(open_uploads(s3, location))) == (4, 4, 0, 4)
    assert abort(database, found, older_than=timedelta(days=365 * 1000)).skipped == {"young": 4}
    # As another process holds it that stores this file.
    with database.advisory_lock(f"media:{mine}:held by a writer +%&"):
        cleaned = abort(database, found)
    assert (cleaned.deleted, cleaned.skipped) == (2, {"legal_hold": 1, "busy": 1})
    assert abort(database, found, never=NeverDelete(tenants=frozenset({mine}))).deleted == 0
    assert abort(database, found, limit=0).left == 2
    assert abort(database, found).deleted == 1
    assert open_uploads(s3, location) == [f"files/tenant-{other}/{KEY}"]
    assert [each.key for each in stores.for_tenant(mine).list()] == ["cd" * 32]
    lines = run(database, "SELECT subject_id FROM cleanup_audit WHERE kind = 'multipart_upload'", [])
    assert sorted(line["subject_id"] for line in lines) == sorted((KEY, "ef" * 32, "held by a writer +%&"))
    # Aborted twice is no error.
    found.for_tenant(mine).abort(Upload(KEY, "no such upload", NOW))


def test_a_bucket_that_is_not_there_stops_only_tenants_with_files(database: PostgresClient, s3: str) -> None:
    mine = UUID(tenant(database))
    found = uploads(s3_stores(s3, "s3://"), s3)
    assert abort(database, found).skipped == {"no_store": 1}
    run(
        database,
        "INSERT INTO media_objects (tenant_id, key, sha256, location, size_bytes, mime_type) "
        "VALUES (%s, %s, %s, 'x', 1, 'x/y')",
        [mine, KEY, KEY],
    )
    with pytest.raises(Permanent, match=r"refused \(404 NoSuchBucket\)"):
        abort(database, found)


def test_half_written_files_of_a_folder_go_after_a_day(database: PostgresClient, tmp_path: Path) -> None:
    stores, mine = local_stores(tmp_path), UUID(tenant(database))
    found = uploads(stores)
    assert abort(database, found).scanned == 0
    folder = tmp_path / f"tenant-{mine}" / ".part"
    folder.mkdir(parents=True)
    for name, hours in (("old", 25), ("young", 23)):
        (folder / name).write_bytes(b"half")
        then = (datetime.now(UTC) - timedelta(hours=hours)).timestamp()
        os.utime(folder / name, (then, then))
    cleaned = abort(database, found)
    assert (cleaned.deleted, cleaned.freed_bytes, cleaned.skipped) == (1, 4, {"young": 1})
    assert [path.name for path in folder.iterdir()] == ["young"]
    assert cleaned.oldest_seconds is not None
    assert 24 * 3600 < cleaned.oldest_seconds < 26 * 3600
    found.for_tenant(mine).abort(Upload(".part/old", "../old", NOW))


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / ".part").write_bytes(b"a file, not a folder")
    with pytest.raises(Permanent, match="cannot list"):
        list(LocalUploads(tmp_path.as_uri()).list())


@pytest.mark.parametrize(
    ("url", "words"), [("gs://bucket", "AbortIncompleteMultipartUpload"), ("az://box", "seven days")]
)
def test_a_store_that_is_not_asked_says_who_removes_them(database: PostgresClient, url: str, words: str) -> None:
    mine = UUID(tenant(database))
    stores = TenantStores(url, access_key="name", secret_key="c2VjcmV0", google_token=lambda: {"token": "any"})
    cleaned = abort(database, uploads(stores))
    assert cleaned.skipped == {"store_cannot_list": 1}
    assert words in cleaned.samples[0]["store_cannot_list"]
    with pytest.raises(CannotList):
        uploads(stores).for_tenant(mine).abort(Upload(KEY, "x", NOW))


def test_without_a_key_the_way_out_is_named(s3: str) -> None:
    with pytest.raises(CannotList, match="STORAGE_ACCESS_KEY_ID"):
        list(uploads(s3_stores(s3), s3, key_id="").for_tenant(UUID(int=1)).list())


def test_the_settings_name_the_stores(tmp_path: Path) -> None:
    found = uploads_of(Settings(STORAGE_URL="", LOCAL_STATE_DIR=tmp_path)).for_tenant(UUID(int=1))
    assert found.location == (tmp_path / "media" / f"tenant-{UUID(int=1)}").as_uri()


@pytest.mark.parametrize(
    "url",
    [
        "https://s3.eu-west-1.amazonaws.com/bucket?max-uploads=1000&prefix=files%2Ftenant-1%2F&uploads=",
        "https://x.supabase.co/storage/v1/s3/bucket/files/a%20b%2B%25?uploadId=aZ%2B%2F%3D~-_.",
        "http://127.0.0.1:9000/bucket?key-marker=a%26b&uploads=",
    ],
)
def test_requests_are_signed_as_amazons_own_library_signs_them(url: str) -> None:
    mine = sign_s3("GET", httpx.URL(url), region="eu-west-1", key_id="AKID", secret="s3cret", now=NOW)
    theirs = AWSRequest("GET", url, headers={"x-amz-content-sha256": mine["x-amz-content-sha256"]})
    theirs.context["timestamp"] = mine["x-amz-date"]
    signer = S3SigV4Auth(Credentials("AKID", "s3cret"), "s3", "eu-west-1")
    theirs.headers["X-Amz-Date"] = mine["x-amz-date"]
    text = signer.string_to_sign(theirs, signer.canonical_request(theirs))
    assert mine["authorization"].rpartition("=")[2] == signer.signature(text, theirs)


def answering(*answers: Callable[[httpx.Request], httpx.Response]) -> tuple[S3Uploads, list[httpx.URL]]:
    """A client whose requests are answered one after the other; what was asked."""
    asked: list[httpx.URL] = []
    waiting = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return next(waiting)(request)

    return S3Uploads(
        "s3://bucket/files/tenant-1", endpoint="", region="eu-west-1", key_id="key", secret="secret", page=2,
        client=lambda: httpx.Client(transport=httpx.MockTransport(answer)), now=lambda: NOW,
    ), asked  # fmt: skip


def page(keys: list[str], marks: tuple[str, str] | None = None) -> Callable[[httpx.Request], httpx.Response]:
    listed = "".join(
        f"<Upload><Key>{key}</Key><UploadId>id-{key[-1]}</UploadId><Initiated>2026-01-01T00:00:00.000Z</Initiated></Upload>"
        for key in keys
    )
    more = (
        f"<NextKeyMarker>{marks[0]}</NextKeyMarker><NextUploadIdMarker>{marks[1]}</NextUploadIdMarker>" if marks else ""
    )
    text = (
        '<ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>{'true' if marks else 'false'}</IsTruncated>{more}{listed}</ListMultipartUploadsResult>"
    )
    return lambda request: httpx.Response(200, text=text)


def refusing(status: int, code: str) -> Callable[[httpx.Request], httpx.Response]:
    return lambda request: httpx.Response(status, text=f"<Error><Code>{code}</Code></Error>")


def test_all_pages_are_read_and_nothing_outside_of_the_prefix() -> None:
    store, asked = answering(
        page(["files/tenant-1/a", "files/tenant-1/b"], ("files/tenant-1/b", "id-b")),
        page(["files/tenant-1/c", "files/tenant-10/d"]),
    )
    assert [(each.key, each.upload_id) for each in store.list()] == [("a", "id-a"), ("b", "id-b"), ("c", "id-c")]
    assert asked[0].host == "s3.eu-west-1.amazonaws.com"
    assert dict(asked[1].params) == {
        "uploads": "", "prefix": "files/tenant-1/", "max-uploads": "2", "key-marker": "files/tenant-1/b",
        "upload-id-marker": "id-b",
    }  # fmt: skip
    stuck, _ = answering(*[page(["files/tenant-1/a"], ("x", "y"))] * 2)
    with pytest.raises(Transient, match="does not move on"):
        list(stuck.list())


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (refusing(503, "SlowDown"), Transient, "busy .503 SlowDown"),
        (refusing(429, "TooMany"), Transient, "busy"),
        (refusing(403, "AccessDenied"), Permanent, "s3:ListBucketMultipartUploads"),
        (refusing(501, "NotImplemented"), CannotList, "does not offer it"),
        (lambda request: httpx.Response(403, text="<html"), Permanent, "no code"),
        (lambda request: (_ for _ in ()).throw(httpx.ConnectError("no")), Transient, "does not answer"),
    ],
)
def test_errors_are_told_apart(answer: Any, kind: type[Exception], words: str) -> None:
    store, _ = answering(answer)
    with pytest.raises(kind, match=words):
        list(store.list())
