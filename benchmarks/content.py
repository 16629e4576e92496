"""The content store under 16 concurrent clients, with 100,000 items in place.

`python -m benchmarks.content` prints one JSON line last. Every number is that of callers, over PostgreSQL, ZeroDB's
REST interface and quota; PostgreSQL waits for the disk. Phases run one after another, three rounds each, medians.
"""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import UUID, uuid4

from benchmarks.scratch import print_result, say, scratch_folder, scratch_stack
from content_orchestration.core.content.model import Changes, Filters, NewContent
from content_orchestration.core.content.store import ContentStore
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.schema.documents import ensure_collections
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration.settings import Settings

CLIENTS = 16
TENANTS = 8
ITEMS = 100_000
_BULK = 1_000
_ROUNDS = 3
_ROUND_SECONDS = 5.0
_GROUP = 20


@dataclass
class World:
    """The store, and what is in it."""

    store: ContentStore
    tenants: list[UUID]
    items: dict[UUID, list[UUID]]

    def some(self) -> tuple[UUID, UUID]:
        """A tenant and one of its items."""
        tenant = random.choice(self.tenants)
        return tenant, random.choice(self.items[tenant])


def content(number: int) -> NewContent:
    """An item of about 2 KB."""
    words = " ".join(f"word{number * 7919 % 10_007 + n}" for n in range(200))
    return NewContent(
        f"Item {number} about subject {number % 97}",
        f"# Item {number}\n\n{words}\n",
        content_type=("article", "post", "email")[number % 3],
        status=("draft", "published")[number % 2],
        metadata={"tags": [f"t{number % 50}"], "number": number},
    )


def fill(world: World) -> float:
    """Put the items in place by the bulk form; items a second."""
    began = time.perf_counter()
    for start in range(0, ITEMS, _BULK):
        tenant = world.tenants[start // _BULK % TENANTS]
        made = world.store.create_many(tenant, [content(start + n) for n in range(_BULK)], created_by="benchmark")
        world.items[tenant] += [item.id for item in made]
    return ITEMS / (time.perf_counter() - began)


def rounds(name: str, action: Callable[[], int]) -> tuple[float, list[float]]:
    """Operations a second (median of the rounds, counted by what `action` returns), and the latencies of all calls."""
    rates: list[float] = []
    latencies: list[float] = []
    for _ in range(_ROUNDS):
        until = time.perf_counter() + _ROUND_SECONDS

        def client(until: float = until) -> tuple[int, list[float]]:
            done, mine = 0, []
            while (began := time.perf_counter()) < until:
                done += action()
                mine.append(time.perf_counter() - began)
            return done, mine

        began = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            results = [future.result() for future in [pool.submit(client) for _ in range(CLIENTS)]]
        rates.append(sum(done for done, _ in results) / (time.perf_counter() - began))
        latencies += [latency for _, mine in results for latency in mine]
    rate = statistics.median(rates)
    say(f"{name}: {rate:,.0f}/s, p50 {at(latencies, 50):.1f} ms, p99 {at(latencies, 99):.1f} ms")
    return rate, latencies


def at(latencies: Sequence[float], percent: int) -> float:
    """A percentile in milliseconds."""
    ordered = sorted(latencies)
    return round(1000 * ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 2)


def measure(settings: Settings) -> dict[str, float | str]:
    """All phases on a stack that runs."""
    with (
        PostgresClient(settings.database_url, pool_size=2 * CLIENTS) as database,
        ZeroDBClient(settings.zerodb_url, "benchmark", settings.zerodb_key, concurrency=CLIENTS) as documents,
    ):
        ensure_collections(documents)
        tenants = [uuid4() for _ in range(TENANTS)]
        with database.connection() as connection:
            for number, tenant in enumerate(tenants):
                connection.execute(
                    "INSERT INTO tenants (id, name, slug, plan_tier) VALUES (%s, %s, %s, 'enterprise')",
                    [tenant, f"Tenant {number}", f"t{number}"],
                )
        world = World(ContentStore(database, documents, QuotaLedger(database)), tenants, {t: [] for t in tenants})
        bulk = fill(world)
        say(f"bulk create: {bulk:,.0f} items/s")
        with database.connection() as connection:
            connection.commit()
            connection.autocommit = True
            connection.execute("VACUUM (ANALYZE) content_storage_metadata")
            connection.autocommit = False

        def get() -> int:
            tenant, item = world.some()
            assert world.store.get(tenant, item).body
            return 1

        def get_many() -> int:
            tenant = random.choice(tenants)
            found = world.store.get_many(tenant, random.sample(world.items[tenant], _GROUP))
            assert all(one.body for one in found.values())
            return len(found)

        def list_page() -> int:
            filters = random.choice(
                [
                    Filters(),
                    Filters(content_type="post"),
                    Filters(status="draft"),
                    Filters(tag=f"t{random.randrange(50)}"),
                ]
            )
            page = world.store.list(random.choice(tenants), filters)
            assert len(page.items) == _GROUP
            assert page.items[0].preview
            return 1

        def create() -> int:
            tenant = random.choice(tenants)
            world.items[tenant].append(
                world.store.create(tenant, content(random.randrange(ITEMS)), created_by="benchmark").id
            )
            return 1

        def update() -> int:
            tenant, item = world.some()
            current = world.store.get(tenant, item).item
            changes = Changes(body=content(random.randrange(ITEMS)).body)
            world.store.update(tenant, item, changes, expected_version=current.version, changed_by="benchmark")
            return 1

        _, gets = rounds("get", get)
        reads, _ = rounds("get_many of 20", get_many)
        _, lists = rounds("list of 20", list_page)
        writes, creates = rounds("create", create)
        rounds("get, then update", update)
    return {
        "name": "content",
        "get_ms_p50": at(gets, 50),
        "get_ms_p99": at(gets, 99),
        "list20_ms_p99": at(lists, 99),
        "create_ms_p99": at(creates, 99),
        "reads_per_s": round(reads),
        "writes_per_s": round(writes),
        "bulk_create_per_s": round(bulk),
    }


def main() -> None:
    """Run all phases and print the result."""
    random.seed(20_261_121)
    with scratch_folder() as folder, scratch_stack(folder) as settings:
        result = measure(settings)
    print_result(result)


if __name__ == "__main__":
    main()
