"""Object stores that tests run for real: moto's S3 server, and gcp-storage-emulator behind a gateway of ours.

The emulator speaks Google's JSON API; obstore speaks the XML API, of which the emulator has no HEAD, list, delete,
parts, ETag or generation. `GcsGateway` is those over the emulator's JSON API: requests are obstore's, bytes are the
emulator's. What that cannot show: Google's own answers to conditions, and signing, for which there is no key here.
"""

import hashlib
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

import boto3
import httpx
from gcp_storage_emulator.server import create_server
from moto.server import ThreadedMotoServer

from content_orchestration.resources.object_store import TenantStores


@contextmanager
def s3_server() -> Iterator[str]:
    """moto's S3 on a free port of the loopback; its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def s3_client(endpoint: str) -> Any:
    """Amazon's own client, to look with other eyes than the engine's."""
    return boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1"
    )


def s3_stores(endpoint: str, url: str | None = None) -> TenantStores:
    """Stores in a bucket of their own, or at `url`."""
    bucket = f"test-{uuid.uuid4().hex}"
    if url is None:
        s3_client(endpoint).create_bucket(Bucket=bucket)
    return TenantStores(
        url or f"s3://{bucket}/files", endpoint=endpoint, region="us-east-1", access_key="key", secret_key="secret",
        retry_seconds=5,
    )  # fmt: skip


def gcs_stores(endpoint: str) -> TenantStores:
    """Stores in a bucket of their own at the gateway; any token will do."""
    bucket = f"test{uuid.uuid4().hex}"
    httpx.post(f"{endpoint}/storage/v1/b", json={"name": bucket}).raise_for_status()
    return TenantStores(
        f"gs://{bucket}/files", endpoint=endpoint, retry_seconds=5,
        google_token=lambda: {"token": "any", "expires_at": None},
    )  # fmt: skip


@contextmanager
def gcs_server() -> Iterator[str]:
    """The emulator and its gateway on free ports of the loopback; the gateway's address."""
    emulator = create_server("127.0.0.1", 0, in_memory=True)
    emulator.start()
    try:
        port = emulator._api._httpd.server_address[1]
        gateway = GcsGateway(f"http://127.0.0.1:{port}")
        threading.Thread(target=gateway.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{gateway.server_address[1]}"
        finally:
            gateway.shutdown()
            gateway.server_close()
    finally:
        emulator.stop()


class GcsGateway(ThreadingHTTPServer):
    """Google's XML API, as far as obstore uses it, in front of the JSON API."""

    daemon_threads = True

    def __init__(self, emulator: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.client = httpx.Client(base_url=emulator, timeout=30)
        # The emulator answers one request at a time, and knows no condition: both are kept here.
        self.guard = threading.RLock()
        self.parts: dict[str, dict[int, bytes]] = {}

    def server_close(self) -> None:
        super().server_close()
        self.client.close()

    def describe(self, bucket: str, key: str) -> dict[str, Any] | None:
        with self.guard:
            answer = self.client.get(f"/storage/v1/b/{bucket}/o/{quote(key, safe='')}")
        return answer.json() if answer.status_code == 200 else None

    def store(self, bucket: str, key: str, body: bytes, *, only_new: bool, kind: str) -> tuple[int, dict[str, str]]:
        with self.guard:
            if only_new and self.describe(bucket, key):
                return 412, {}
            answer = self.client.post(
                f"/upload/storage/v1/b/{bucket}/o", params={"uploadType": "media", "name": key}, content=body,
                headers={"Content-Type": kind},
            )  # fmt: skip
            found = self.describe(bucket, key)
        return (200, headers_of(found)) if answer.status_code == 200 and found else (answer.status_code, {})


def headers_of(found: dict[str, Any]) -> dict[str, str]:
    changed = datetime.fromisoformat(found["updated"].replace("Z", "+00:00")).astimezone(UTC)
    return {
        "ETag": f'"{found["etag"]}"', "x-goog-generation": str(found["generation"]),
        "Last-Modified": format_datetime(changed, usegmt=True), "x-goog-stored-content-length": found["size"],
    }  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: GcsGateway

    def log_message(self, *args: Any) -> None:
        """Silent."""

    def _asked(self) -> tuple[str, str, dict[str, str]]:
        parts = urlsplit(self.path)
        bucket, _, key = parts.path.lstrip("/").partition("/")
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        return unquote(bucket), unquote(key), query

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(
        self, status: int, headers: dict[str, str] | None = None, body: bytes = b"", *, length: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        bucket, key, _ = self._asked()
        found = self.server.describe(bucket, key)
        if found is None:
            self._answer(404)
        else:
            self._answer(200, headers_of(found), length=int(found["size"]))

    def do_GET(self) -> None:
        bucket, key, query = self._asked()
        if not key:
            self._list(bucket, query.get("prefix", ""))
            return
        found = self.server.describe(bucket, key)
        if found is None:
            self._answer(404)
            return
        with self.server.guard:
            body = self.server.client.get(
                f"/storage/v1/b/{bucket}/o/{quote(key, safe='')}", params={"alt": "media"}
            ).content
        self._answer(200, headers_of(found), body)

    def do_PUT(self) -> None:
        bucket, key, query = self._asked()
        body = self._body()
        if "partNumber" in query:
            with self.server.guard:
                self.server.parts[query["uploadId"]][int(query["partNumber"])] = body
            self._answer(200, {"ETag": f'"{hashlib.md5(body).hexdigest()}"'})
            return
        only_new = self.headers.get("x-goog-if-generation-match") == "0"
        kind = self.headers.get("Content-Type") or "application/octet-stream"
        self._answer(*self.server.store(bucket, key, body, only_new=only_new, kind=kind))

    def do_POST(self) -> None:
        bucket, key, query = self._asked()
        body = self._body()
        if bucket == "storage":
            with self.server.guard:
                answer = self.server.client.post(self.path, content=body, headers={"Content-Type": "application/json"})
            self._answer(answer.status_code, {}, answer.content)
        elif "uploads" in query:
            upload = uuid.uuid4().hex
            self.server.parts[upload] = {}
            told = f"<Bucket>{bucket}</Bucket><Key>{escape(key)}</Key><UploadId>{upload}</UploadId>"
            text = f"<InitiateMultipartUploadResult>{told}</InitiateMultipartUploadResult>"
            self._answer(200, {}, text.encode())
        else:
            parts = self.server.parts.pop(query["uploadId"])
            whole = b"".join(parts[number] for number in sorted(parts))
            status, headers = self.server.store(bucket, key, whole, only_new=False, kind="application/octet-stream")
            etag = escape(headers.get("ETag", ""))
            text = f"<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>"
            self._answer(status, headers, text.encode())

    def do_DELETE(self) -> None:
        bucket, key, query = self._asked()
        if "uploadId" in query:
            self.server.parts.pop(query["uploadId"], None)
            self._answer(204)
            return
        with self.server.guard:
            answer = self.server.client.delete(f"/storage/v1/b/{bucket}/o/{quote(key, safe='')}")
        self._answer(404 if answer.status_code == 404 else 204)

    def _list(self, bucket: str, prefix: str) -> None:
        with self.server.guard:
            answer = self.server.client.get(f"/storage/v1/b/{bucket}/o", params={"prefix": prefix})
        if answer.status_code != 200:
            self._answer(404, {}, b"<Error><Code>NoSuchBucket</Code></Error>")
            return
        items = "".join(
            f"<Contents><Key>{escape(item['name'])}</Key><LastModified>{item['updated']}</LastModified>"
            f"<ETag>&quot;{item['etag']}&quot;</ETag><Size>{item['size']}</Size></Contents>"
            for item in answer.json().get("items", [])
        )
        self._answer(200, {"Content-Type": "application/xml"}, f"<ListBucketResult>{items}</ListBucketResult>".encode())
