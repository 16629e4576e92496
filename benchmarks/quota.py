"""Reservations by 16 client processes against one tenant and many, beside the usual SELECT … FOR UPDATE.

`python -m benchmarks.quota` prints one JSON line last. `overshoot_bytes` is the most that used and reserved were ever
above the limit while all clients fought for the last of it; `reconcile_1m_s` counts 1,000,000 content rows anew.
"""

import random
import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from multiprocessing import get_context
from typing import Any
from uuid import UUID, uuid4

import psycopg

from benchmarks.scratch import print_result, say, scratch_folder, scratch_postgres
from content_orchestration.core.quota.decision import QuotaExceeded
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.quota.plans import PLANS
from content_orchestration.core.quota.usage import reconcile_all
from content_orchestration.resources.postgres_client import PostgresClient

CLIENTS = 16
TENANTS = 1_000
CONTENT_ROWS = 1_000_000
_ROUNDS = 5
_ROUND_SECONDS = 3.0
_BYTES = 1_000
_TTL = timedelta(hours=1)
_GIB = 1024**3

# Lock, read, decide in the client, write: how it is usually done, with the driver and the durability of ours.
_LOCK = "SELECT used_bytes, reserved_bytes, limit_bytes FROM content_quota_usage WHERE tenant_id = %s FOR UPDATE"
_WRITE = "UPDATE content_quota_usage SET reserved_bytes = reserved_bytes + %s, updated_at = now() WHERE tenant_id = %s"
_RECORD = (
    "INSERT INTO quota_reservations (tenant_id, bytes, items, media_bytes, reason, held_bytes, held_items, expires_at) "
    "VALUES (%s, %s, 0, 0, 'content', %s, 0, now() + interval '1 hour')"
)


def conditional_update(database: PostgresClient, tenant: UUID) -> None:
    """One reservation by the ledger."""
    QuotaLedger(database).reserve(tenant, None, _BYTES, ttl=_TTL)


def select_for_update(database: PostgresClient, tenant: UUID) -> None:
    """One reservation by the usual way."""
    with database.connection() as connection:
        row = connection.execute(_LOCK, [tenant]).fetchone()
        assert row is not None
        if row["limit_bytes"] is not None and row["used_bytes"] + row["reserved_bytes"] + _BYTES > row["limit_bytes"]:
            raise RuntimeError("the benchmark's tenant is full")
        connection.execute(_WRITE, [_BYTES, tenant])
        connection.execute(_RECORD, [tenant, _BYTES, _BYTES])


def fill(database: PostgresClient, tenant: UUID) -> None:
    """Reserve 1 to 3 GiB; a refusal is as good an answer."""
    try:
        QuotaLedger(database).reserve(tenant, None, random.randint(1, 3 * _GIB), ttl=_TTL)
    except QuotaExceeded:
        return


WORK: dict[str, Callable[[PostgresClient, UUID], None]] = {
    work.__name__: work for work in (conditional_update, select_for_update, fill)
}


def client(url: str, orders: Any, answers: Any) -> None:
    """One client process: takes (work, tenants, begin, seconds) until None, answers with its latencies in seconds."""
    dice = random.Random()
    with PostgresClient(url, pool_size=4) as database:
        while (order := orders.get()) is not None:
            work, tenants, begin, seconds = order
            act = WORK[work]
            act(database, dice.choice(tenants))
            while time.monotonic() < begin:
                time.sleep(0.005)
            latencies = []
            while (start := time.monotonic()) < begin + seconds:
                act(database, dice.choice(tenants))
                latencies.append(time.monotonic() - start)
            answers.put(latencies)


class Clients:
    """The client processes. CLOCK_MONOTONIC is one clock for all of them, so that they begin together."""

    def __init__(self, url: str) -> None:
        # Forked before this process connects: 16 interpreters would import for longer than they measure.
        context = get_context("fork")
        self._orders = [context.Queue() for _ in range(CLIENTS)]
        self._answers = context.Queue()
        self._processes = [context.Process(target=client, args=(url, orders, self._answers)) for orders in self._orders]
        for process in self._processes:
            process.start()

    def run(self, work: str, tenants: list[UUID], seconds: float = _ROUND_SECONDS) -> list[float]:
        """All clients do `work` for so long; every latency in seconds."""
        begin = time.monotonic() + 0.5
        for orders in self._orders:
            orders.put((work, tenants, begin, seconds))
        return [latency for _ in self._processes for latency in self._answers.get(timeout=seconds + 60)]

    def close(self) -> None:
        """End the processes."""
        for orders in self._orders:
            orders.put(None)
        for process in self._processes:
            process.join(20)
            process.kill()


def add_tenants(connection: psycopg.Connection[Any], count: int, plan: str) -> list[UUID]:
    """New tenants of a plan."""
    ids = [uuid4() for _ in range(count)]
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO tenants (id, name, slug, plan_tier, created_at) VALUES (%s, %s, %s, %s, now())",
            [(tenant, f"Tenant {tenant}", str(tenant), plan) for tenant in ids],
        )
    return ids


def overshoot(url: str, clients: Clients, tenant: UUID) -> int:
    """Bytes above the limit at the worst of all looks, while every client asks for more than is left."""
    limit = PLANS["business"].limit_bytes or 0
    with get_context("fork").Pool(1) as pool, psycopg.connect(url, autocommit=True) as connection:
        running = pool.apply_async(_watch, (url, tenant, 3.5))
        clients.run("fill", [tenant], 3.0)
        worst: int = running.get(60)
        row = connection.execute(
            "SELECT used_bytes + reserved_bytes, (SELECT sum(held_bytes) FROM quota_reservations r "
            "WHERE r.tenant_id = u.tenant_id AND r.state = 'reserved') FROM content_quota_usage u WHERE tenant_id = %s",
            [tenant],
        ).fetchone()
    assert row is not None
    say(f"filled to {row[0]} of {limit} bytes; the reservations add up to {row[1]}")
    return max(0, worst - limit, int(row[0]) - limit, int(row[1]) - limit)


def _watch(url: str, tenant: UUID, seconds: float) -> int:
    most = 0
    with psycopg.connect(url, autocommit=True) as connection:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            row = connection.execute(
                "SELECT used_bytes + reserved_bytes FROM content_quota_usage WHERE tenant_id = %s", [tenant]
            ).fetchone()
            most = max(most, int(row[0]) if row else 0)
    return most


def reconcile_seconds(url: str) -> float:
    """Seconds to count 1,000,000 content rows of 100 tenants anew and to correct counters that know none of them."""
    with psycopg.connect(url) as connection:
        tenants = add_tenants(connection, 100, "business")
        connection.execute(
            "INSERT INTO content_storage_metadata "
            "(tenant_id, title, content_type, status, zerodb_row_id, body_sha256, storage_size_bytes) "
            "SELECT (%s::uuid[])[1 + n %% 100], 'Title ' || n, 'article', 'draft', 'd' || n, repeat('0', 64), "
            "n %% 5000 FROM generate_series(1, %s) AS n",
            [tenants, CONTENT_ROWS],
        )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE content_storage_metadata")
    with PostgresClient(url) as database:
        started = time.monotonic()
        for _ in reconcile_all(database):
            pass
        seconds = time.monotonic() - started
        counted = QuotaLedger(database).usage(tenants[0])
    assert counted.content_items == CONTENT_ROWS // 100
    return seconds


def main() -> None:
    """Run everything and print the result."""
    with scratch_folder() as folder, scratch_postgres(folder) as url:
        clients = Clients(url)
        try:
            with psycopg.connect(url) as connection:
                hot, full = add_tenants(connection, 2, "business")
                many = add_tenants(connection, TENANTS, "business")
            ours: list[list[float]] = []
            usual: list[int] = []
            clients.run("conditional_update", many, 2.0)
            for number in range(_ROUNDS):
                ours.append(clients.run("conditional_update", [hot]))
                usual.append(len(clients.run("select_for_update", [hot])))
                say(f"round {number + 1}: {len(ours[-1])} by conditional update, {usual[-1]} by select for update")
            spread = [len(clients.run("conditional_update", many)) for _ in range(_ROUNDS)]
            over = overshoot(url, clients, full)
        finally:
            clients.close()
        reconciled = reconcile_seconds(url)
    latencies = sorted(latency for each in ours for latency in each)
    hot_per_round = statistics.median(len(each) for each in ours)
    print_result(
        {
            "name": "quota",
            "hot_tenant_per_s": round(hot_per_round / _ROUND_SECONDS),
            "many_tenants_per_s": round(statistics.median(spread) / _ROUND_SECONDS),
            "overshoot_bytes": over,
            "p99_ms": round(1000 * latencies[int(len(latencies) * 0.99)], 2),
            # Of rounds that ran one after the other: what else the machine does hits both alike.
            "vs_select_for_update": round(
                statistics.median(len(each) / base for each, base in zip(ours, usual, strict=True)), 2
            ),
            "reconcile_1m_s": round(reconciled, 2),
        }
    )


if __name__ == "__main__":
    main()
