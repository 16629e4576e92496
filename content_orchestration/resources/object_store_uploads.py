"""Unfinished uploads of each kind of store. obstore cannot list them, so S3 is asked by signed requests of our own.

A folder of this machine has half-written files instead. Google and Azure are not asked: who removes theirs is said.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from uuid import UUID
from xml.etree import ElementTree

import httpx

from content_orchestration.core.cleanup.multipart import CannotList, TenantUploads, Upload
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.media.model import MediaStores
from content_orchestration.resources.object_store import stores_of
from content_orchestration.settings import Settings

_PAGE = 1000
_TIMEOUT_SECONDS = 60.0
_EMPTY = hashlib.sha256(b"").hexdigest()
_NOT_OFFERED = (405, 501)
_INSTEAD = {
    "gs": "Google's buckets remove unfinished uploads by a life-cycle rule AbortIncompleteMultipartUpload: set one",
    "az": "Azure drops blocks that were never committed by itself, after seven days",
}


def sign_s3(method: str, url: httpx.URL, *, region: str, key_id: str, secret: str, now: datetime) -> dict[str, str]:
    """The headers of a request without a body, by AWS Signature Version 4 (the rules of the service `s3`)."""
    stamp, day = f"{now:%Y%m%dT%H%M%SZ}", f"{now:%Y%m%d}"
    headers = {"host": url.netloc.decode(), "x-amz-content-sha256": _EMPTY, "x-amz-date": stamp}
    signed = ";".join(headers)
    query = "&".join(sorted(url.query.decode().split("&")))
    lines = [method, url.raw_path.partition(b"?")[0].decode(), query]
    canonical = "\n".join([*lines, *(f"{name}:{value}" for name, value in headers.items()), "", signed, _EMPTY])
    scope = f"{day}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = b"AWS4" + secret.encode()
    for part in (day, region, "s3", "aws4_request", text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    credential = f"AWS4-HMAC-SHA256 Credential={key_id}/{scope}"
    return {**headers, "authorization": f"{credential}, SignedHeaders={signed}, Signature={key.hex()}"}


class S3Uploads:
    """Those of one tenant, by `ListMultipartUploads` and `AbortMultipartUpload` of the S3 interface."""

    def __init__(
        self,
        location: str,
        *,
        endpoint: str,
        region: str,
        key_id: str,
        secret: str,
        client: Callable[[], httpx.Client] = lambda: httpx.Client(timeout=_TIMEOUT_SECONDS),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        page: int = _PAGE,
    ) -> None:
        self._location = location
        bucket, _, prefix = location.partition("://")[2].partition("/")
        self._prefix = f"{prefix}/"
        self._region = region or "us-east-1"
        base = endpoint.rstrip("/") or f"https://s3.{self._region}.amazonaws.com"
        self._bucket = f"{base}/{quote(bucket)}"
        self._key_id, self._secret = key_id, secret
        self._client = client
        self._now = now
        self._page = page

    @property
    def location(self) -> str:
        """Address of the bucket with the tenant's prefix."""
        return self._location

    def list(self) -> Iterator[Upload]:
        """Every unfinished upload below the prefix, page after page."""
        if not self._key_id:
            raise CannotList(
                "unfinished uploads are listed with STORAGE_ACCESS_KEY_ID only: set it, or give the bucket a "
                "life-cycle rule AbortIncompleteMultipartUpload"
            )
        marks: dict[str, str] = {}
        with self._client() as client:
            while True:
                query = {"uploads": "", "prefix": self._prefix, "max-uploads": str(self._page), **marks}
                answer = _Answer(self._send(client, "GET", self._bucket, query))
                for upload in answer.uploads():
                    if upload.key.startswith(self._prefix):
                        relative = upload.key.removeprefix(self._prefix)
                        yield Upload(relative, upload.upload_id, upload.started_at)
                if not answer.more:
                    return
                known, marks = marks, answer.next_marks()
                if marks == known:
                    raise Transient(f"the listing of unfinished uploads in {self._location} does not move on")

    def abort(self, upload: Upload) -> None:
        """Drop the upload with its parts."""
        address = f"{self._bucket}/{quote(self._prefix + upload.key, safe='/-_.~')}"
        with self._client() as client:
            self._send(client, "DELETE", address, {"uploadId": upload.upload_id}, gone=True)

    def _send(
        self, client: httpx.Client, method: str, address: str, query: dict[str, str], *, gone: bool = False
    ) -> bytes:
        encoded = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in sorted(query.items()))
        url = httpx.URL(f"{address}?{encoded}")
        headers = sign_s3(method, url, region=self._region, key_id=self._key_id, secret=self._secret, now=self._now())
        where = f"unfinished uploads in {self._location}"
        try:
            answer = client.request(method, url, headers=headers)
        except httpx.TransportError as error:
            raise Transient(f"{where}: the store does not answer ({type(error).__name__})") from error
        if answer.is_success:
            return answer.content
        code = _code(answer.content)
        if gone and code == "NoSuchUpload":
            return b""
        if answer.status_code in _NOT_OFFERED:
            raise CannotList(f"{where}: the store does not offer it ({code}); set a life-cycle rule there")
        if answer.status_code >= 500 or answer.status_code in (408, 429):
            raise Transient(f"{where}: the store is busy ({answer.status_code} {code})")
        raise Permanent(
            f"{where}: refused ({answer.status_code} {code}). See STORAGE_URL and STORAGE_REGION, and that "
            "STORAGE_ACCESS_KEY_ID may list and abort uploads in parts (s3:ListBucketMultipartUploads, "
            "s3:AbortMultipartUpload)"
        )


class _Answer:
    """A page of a listing."""

    def __init__(self, content: bytes) -> None:
        # The operator's own store answered, and expat bounds what entities may grow to.
        self._root = ElementTree.fromstring(content)  # noqa: S314
        for each in self._root.iter():
            each.tag = each.tag.rpartition("}")[2]

    @property
    def more(self) -> bool:
        return self._root.findtext("IsTruncated") == "true"

    def next_marks(self) -> dict[str, str]:
        return {
            "key-marker": self._root.findtext("NextKeyMarker") or "",
            "upload-id-marker": self._root.findtext("NextUploadIdMarker") or "",
        }

    def uploads(self) -> Iterator[Upload]:
        for each in self._root.iter("Upload"):
            started = datetime.fromisoformat(each.findtext("Initiated", "").replace("Z", "+00:00"))
            yield Upload(each.findtext("Key", ""), each.findtext("UploadId", ""), started.astimezone(UTC))


def _code(content: bytes) -> str:
    try:
        return ElementTree.fromstring(content).findtext("Code") or "no code"  # noqa: S314  (as above)
    except ElementTree.ParseError:
        return "no code"


class LocalUploads:
    """Half-written files of a folder: what a writer that was killed left in `.part`."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._folder = Path(unquote(urlsplit(location).path)) / ".part"

    @property
    def location(self) -> str:
        """The folder as an address."""
        return self._location

    def list(self) -> Iterator[Upload]:
        """Every half-written file; its time is that of its last byte."""
        try:
            names = sorted(self._folder.iterdir())
        except FileNotFoundError:
            return
        except OSError as error:
            raise Permanent(f"cannot list {self._folder}: {error.strerror}; give this user the folder") from error
        for path in names:
            with suppress(FileNotFoundError):
                found = path.lstat()
                changed = datetime.fromtimestamp(found.st_mtime, UTC)
                yield Upload(f".part/{path.name}", path.name, changed, found.st_size)

    def abort(self, upload: Upload) -> None:
        """Remove the file."""
        (self._folder / Path(upload.upload_id).name).unlink(missing_ok=True)


class UnlistedUploads:
    """Those of a store that is not asked."""

    def __init__(self, location: str) -> None:
        self._location = location

    @property
    def location(self) -> str:
        """Address of the bucket with the tenant's prefix."""
        return self._location

    def list(self) -> Iterator[Upload]:
        """Nothing: raises `CannotList` with the way out."""
        raise CannotList(_INSTEAD[self._location.partition("://")[0]])

    def abort(self, upload: Upload) -> None:
        """Never called: nothing is listed."""
        raise CannotList(_INSTEAD[self._location.partition("://")[0]])


class StoreUploads:
    """The unfinished uploads of all tenants, where their stores are."""

    def __init__(self, stores: MediaStores, *, endpoint: str, region: str, key_id: str, secret: str) -> None:
        self._stores = stores
        self._endpoint = endpoint
        self._region = region
        self._key_id, self._secret = key_id, secret

    def for_tenant(self, tenant_id: UUID) -> TenantUploads:
        """Those of one tenant."""
        location = self._stores.for_tenant(tenant_id).location
        scheme = location.partition("://")[0]
        if scheme == "file":
            return LocalUploads(location)
        if scheme != "s3":
            return UnlistedUploads(location)
        return S3Uploads(
            location, endpoint=self._endpoint, region=self._region, key_id=self._key_id, secret=self._secret
        )


def uploads_of(settings: Settings) -> StoreUploads:
    """The unfinished uploads of the stores that the settings name."""
    return StoreUploads(
        stores_of(settings),
        endpoint=settings.storage_endpoint,
        region=settings.storage_region,
        key_id=settings.storage_access_key_id.get_secret_value(),
        secret=settings.storage_secret_access_key.get_secret_value(),
    )
