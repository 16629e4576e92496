"""A world for the media engines: a tenant, brands, a web server that serves files, and an ingestor on real servers.

The web server is on the loopback, which no download may reach: the allowance is an argument given here, nowhere else.
"""

import random
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from content_orchestration.core.media.addresses import Address, is_public
from content_orchestration.core.media.download import Downloader
from content_orchestration.core.media.ingest import Ingestor
from content_orchestration.core.media.model import MediaStores
from content_orchestration.core.media.spool import Spool
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.resources.object_store import TenantStores
from content_orchestration_tests.tiers import Tiers

Answer = Callable[[socket.socket], None]


def loopback_too(address: Address) -> bool:
    """The public internet and this machine: for downloads from the test's own server."""
    return is_public(address) or address == IPv4Address("127.0.0.1")


def png(size: int, seed: int = 0) -> bytes:
    """A valid grey PNG of at least `size` bytes: one line of noise after the other, none compressible."""
    width = 256 if size < 4_000_000 else 8192
    height = max(1, size // (width + 1) + 1)
    noise = random.Random(seed).randbytes(height * width)
    lines = b"".join(b"\0" + noise[n * width : (n + 1) * width] for n in range(height))

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 0)) + chunk(b"IEND", b"")


@dataclass
class WebServer:
    """Says to each path what it was told to, byte by byte if need be. `hits` counts requests."""

    port: int
    answers: dict[str, Answer | bytes] = field(default_factory=dict)
    hits: Counter[str] = field(default_factory=Counter)
    requests: list[str] = field(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def serve(self, path: str, body: bytes | Answer) -> str:
        self.answers[path] = body
        return self.url(path)

    def handle(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            client.settimeout(10)
            asked = b""
            while b"\r\n\r\n" not in asked:
                part = client.recv(65536)
                if not part:
                    return
                asked += part
            self.requests.append(asked.decode("latin-1"))
            path = asked.split(b" ")[1].decode()
            self.hits[path] += 1
            answer = self.answers.get(path)
            if answer is None:
                client.sendall(respond(404, b"no"))
            elif isinstance(answer, bytes):
                client.sendall(respond(200, answer))
            else:
                answer(client)


def respond(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer; `headers` replace the length and add others."""
    given = {"Content-Length": str(len(body)), "Connection": "close"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + body


@contextmanager
def web_server() -> Iterator[WebServer]:
    """A server on a free port of the loopback, a thread a connection."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    server = WebServer(listener.getsockname()[1])
    ending = threading.Event()

    def accept() -> None:
        while not ending.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=server.handle, args=(client,), daemon=True).start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield server
    finally:
        ending.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(5)


@dataclass
class MediaWorld:
    """A tenant on the business plan with two brands, and what stores its files."""

    tiers: Tiers
    stores: MediaStores
    tenant: UUID
    brands: tuple[UUID, UUID]
    spool: Path
    ledger: QuotaLedger
    downloader: Downloader

    def ingestor(self, **given: Any) -> Ingestor:
        return Ingestor(
            self.tiers.database, given.pop("stores", self.stores), self.ledger, self.tiers.store,
            given.pop("downloader", self.downloader), Spool(self.spool), **given,
        )  # fmt: skip

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with self.tiers.database.connection() as connection:
            return connection.execute(query, values).fetchall()

    def add(
        self, url: str, *, kind: str = "image", size: int = 0, brand: UUID | None = None, source: str | None = None
    ) -> UUID:
        """A row as an application writes it, with its document and counted in the ledger as every live row is."""
        asset = uuid4()
        self.tiers.store.put_many(
            "content_media_files",
            [{
                "id": str(asset), "content_id": None, "tenant_id": str(self.tenant), "kind": kind, "url": url,
                "public_url": None, "external_id": None, "mime_type": None, "size_bytes": size,
            }],
        )  # fmt: skip
        with self.tiers.database.connection() as connection:
            connection.execute(
                "INSERT INTO media_assets (id, tenant_id, brand_id, source, kind, url, size_bytes, zerodb_row_id) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                [asset, self.tenant, brand, source, kind, url, size, str(asset)],
            )
            connection.execute("SELECT media_count(%s, %s, %s, %s, 1)", [self.tenant, brand, size, size])
        return asset

    def counters(self) -> dict[str, Any]:
        """What the ledger says, and whether that is what the rows add up to."""
        with self.tiers.database.connection() as connection:
            counted = connection.execute(
                "SELECT used_bytes, reserved_bytes, media_files, media_bytes FROM content_quota_usage "
                "WHERE tenant_id = %s",
                [self.tenant],
            ).fetchone() or {"used_bytes": 0, "reserved_bytes": 0, "media_files": 0, "media_bytes": 0}
            brands = connection.execute(
                "SELECT brand_id, used_bytes, reserved_bytes FROM storage_quotas WHERE tenant_id = %s", [self.tenant]
            ).fetchall()
        return {**counted, "brands": {row["brand_id"]: row["used_bytes"] for row in brands}}

    def objects(self) -> list[str]:
        """Keys in the tenant's store."""
        return sorted(found.key for found in self.stores.for_tenant(self.tenant).list())


@contextmanager
def media_world(tiers: Tiers, stores: MediaStores, folder: Path, plan: str = "business") -> Iterator[MediaWorld]:
    """The world, with counters that begin at nothing."""
    tenant, brands = uuid4(), (uuid4(), uuid4())
    ledger = QuotaLedger(tiers.database)
    with tiers.database.connection() as connection:
        connection.execute(
            "INSERT INTO tenants (id, name, slug, plan_tier) VALUES (%s, 'Media', %s, %s)", [tenant, str(tenant), plan]
        )
        for brand in brands:
            connection.execute("INSERT INTO brands (id, tenant_id, name) VALUES (%s, %s, 'b')", [brand, tenant])
            connection.execute("INSERT INTO storage_quotas (brand_id, tenant_id) VALUES (%s, %s)", [brand, tenant])
    ledger.apply_plan(tenant)
    yield MediaWorld(
        tiers, stores, tenant, brands, folder / "spool", ledger, Downloader(total_seconds=20, permits=loopback_too)
    )


def local_stores(folder: Path) -> TenantStores:
    """A store in a folder."""
    return TenantStores(folder.as_uri())


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for a condition, with a limit."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.01)
