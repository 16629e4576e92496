"""The seconds of a sync that finds nothing and of one with 10,000 changed items: a part of `benchmarks.replication`."""

import statistics
import time
from contextlib import closing
from uuid import UUID

from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from content_orchestration.core.identity import document_id, sha256_hex
from content_orchestration.core.replication.engine import Replicator
from content_orchestration.core.replication.tables import CONTENT_STORAGE
from content_orchestration.core.schema.documents import ensure_collections
from content_orchestration.core.schema.warehouse import ensure_warehouse
from content_orchestration.core.sql import statement
from content_orchestration.resources.bigquery_client import BigQueryClient
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration.settings import Settings

CHANGED = 10_000
BODY_BYTES = 2_000
_ROUNDS = 3


def syncs(settings: Settings, tenant: UUID) -> dict[str, float]:
    """Seconds of a sync that finds nothing, and of one that finds 10,000 items with new bodies."""
    google = bigquery.Client(
        project=settings.bigquery_project,
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
        client_options={"api_endpoint": settings.bigquery_url},
    )
    warehouse = BigQueryClient(google, settings.bigquery_dataset)
    with (
        closing(warehouse),
        PostgresClient(settings.database_url) as database,
        ZeroDBClient(settings.zerodb_url, settings.zerodb_project_id, settings.zerodb_key) as store,
    ):
        ensure_collections(store)
        ensure_warehouse(warehouse)

        def sync() -> tuple[float, int]:
            replicator = Replicator(
                database,
                store,
                warehouse,
                batch_size=settings.bigquery_sync_batch_size,
                max_bytes=settings.sync_max_bytes,
                run_id="benchmark",
            )
            began = time.monotonic()
            report = replicator.sync()
            return time.monotonic() - began, report.rows[CONTENT_STORAGE.table.name]

        sync()
        empty = [sync()[0] for _ in range(_ROUNDS)]
        deltas = []
        for number in range(_ROUNDS):
            _change(database, store, tenant, number * CHANGED)
            seconds, rows = sync()
            if rows != CHANGED:
                raise RuntimeError(f"a sync of {CHANGED} changed items loaded {rows}")
            deltas.append(seconds)
    print(f"empty sync: {_listed(empty)} s; {CHANGED:,} items with bodies of {BODY_BYTES:,} B: {_listed(deltas)} s")
    return {"empty_cycle_s": round(statistics.median(empty), 3), "delta_10k_s": round(statistics.median(deltas), 2)}


def _change(database: PostgresClient, store: ZeroDBClient, tenant: UUID, offset: int) -> None:
    """Give some items a next version, body first."""
    with database.connection() as connection:
        page = {"offset": offset, "rows": CHANGED}
        items = connection.execute(statement("benchmarks/some_content"), page).fetchall()
    documents = []
    for item in items:
        # Text that is not all alike, as bodies are.
        seed = sha256_hex(str(item["id"]))
        body = " ".join(sha256_hex(f"{seed}{number}") for number in range(BODY_BYTES // 65 + 1))[:BODY_BYTES]
        documents.append(
            {
                "id": document_id(item["id"], item["version"] + 1),
                "content_id": str(item["id"]),
                "tenant_id": str(tenant),
                "body": body,
                "body_sha256": sha256_hex(body),
            }
        )
    store.put_many("content_items", documents)
    values = {
        "ids": [item["id"] for item in items],
        "versions": [item["version"] + 1 for item in items],
        "hashes": [document["body_sha256"] for document in documents],
        "sizes": [BODY_BYTES] * len(items),
    }
    with database.connection() as connection:
        connection.execute(statement("benchmarks/next_version"), values)


def _listed(seconds: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in seconds)
