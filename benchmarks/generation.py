"""The generation queue alone, no provider: submitting, claiming and completing, beside pgqueuer and procrastinate.

`python -m benchmarks.generation` prints one JSON line last. One process with ten workers, as a run of Dagster has
them: each claims ten items by one statement and completes them by one (`batch10`), or one by one (`batch1`). All
indexes are on, PostgreSQL waits for the disk, and every completion is fenced. pgqueuer runs in batches of ten, once
with one process and once with one a core, and the faster counts; it is not fenced. procrastinate runs ten jobs at once.
Rounds of all three follow each other on one server, and the ratios are medians of rounds.
"""

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import psycopg

from benchmarks.scratch import measured, peer_environment, print_result, say, scratch_folder, scratch_postgres
from content_orchestration.core.generation.model import Claimed, Done, NewBatch, NewItem
from content_orchestration.core.generation.queue import GenerationQueue
from content_orchestration.core.quota.at_once import at_once
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.schema.postgres import upgrade
from content_orchestration.core.sql import statement
from content_orchestration.local.platform_tables import create_platform_tables
from content_orchestration.resources.postgres_client import PostgresClient

PGQUEUER = ("pgqueuer==1.6.0", "asyncpg==0.32.0")
PROCRASTINATE = ("procrastinate==3.10.0", "psycopg[binary,pool]==3.3.9")
WORKERS = 10
CORES = 2
_ROUNDS = 3
_SUBMITS = 5
# Items a round: some seconds each.
_BATCH10, _BATCH1, _PGQUEUER, _PROCRASTINATE = 20_000, 3_000, 10_000, 1_000
_CLAIMS = 49
_PEERS = Path(__file__).parent / "peers"


def items(count: int) -> list[NewItem]:
    """Items as people submit them."""
    return [
        NewItem(request={"topic": f"how to plan item {number}", "keywords": ["a", "b"], "tone": "plain"})
        for number in range(count)
    ]


def fill(database: PostgresClient, tenant: UUID, batches: int, size: int) -> None:
    """Queue batches of `size` items, and let the statistics be as they are after a minute."""
    values = {"tenant_id": tenant, "batches": batches, "items": size}
    with database.connection() as connection:
        connection.execute(statement("benchmarks/generation_batches"), values)
        connection.execute(statement("benchmarks/generation_queues"), values)
        connection.execute(statement("benchmarks/generation_items"), values)
        connection.execute(statement("generation/open_lane"), values)
    with at_once(database) as connection:
        connection.execute(statement("benchmarks/generation_vacuum"))


def empty(database: PostgresClient) -> None:
    """Take everything out of the queue."""
    with database.connection() as connection:
        connection.execute(statement("benchmarks/generation_empty"))


def done(claimed: Claimed) -> tuple[Claimed, Done]:
    """A result that cost nothing to make."""
    return claimed, Done(uuid4(), 500, 70, "none", Decimal(0), 4_000)


def drain(queue: GenerationQueue, batch: int, workers: int) -> float:
    """Items a second until the queue is empty. Raises where a completion was refused."""
    counts = [0] * workers
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            while claimed := queue.claim(batch, f"worker-{number}"):
                accepted = queue.complete([done(item) for item in claimed])
                if len(accepted) != len(claimed):
                    raise RuntimeError("the fence refused a completion, although nobody else held the items")
                counts[number] += len(claimed)
        except BaseException as error:  # noqa: BLE001  (a thread's error must reach the caller)
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    if errors:
        raise errors[0]
    return sum(counts) / seconds


def drained(database: PostgresClient, tenant: UUID, total: int, batch: int, workers: int = WORKERS) -> float:
    """Fill, drain, empty: items a second."""
    empty(database)
    fill(database, tenant, 20, total // 20)
    rate = drain(GenerationQueue(database, QuotaLedger(database)), batch, workers)
    empty(database)
    return rate


def submit_seconds(database: PostgresClient, tenant: UUID) -> float:
    """Seconds for a batch of 10,000 items, quota and budget included."""
    queue = GenerationQueue(database, QuotaLedger(database))
    wanted = items(10_000)
    began = time.monotonic()
    queue.submit(NewBatch(tenant), wanted, uuid4().hex)
    return time.monotonic() - began


def claim_seconds(database: PostgresClient, tenant: UUID, queued: int) -> Callable[[], float]:
    """What one claim of ten takes with so much queued; each call claims, completes, and tells the claim alone."""
    fill(database, tenant, max(2, queued // 10_000), min(queued // 2, 10_000))
    queue = GenerationQueue(database, QuotaLedger(database))

    def once() -> float:
        began = time.perf_counter()
        claimed = queue.claim(10, "worker")
        seconds = time.perf_counter() - began
        if len(queue.complete([done(item) for item in claimed])) != 10:
            raise RuntimeError("the queue ran empty while it was measured")
        return seconds

    once()
    return once


@contextmanager
def another_database(server: str) -> Iterator[PostgresClient]:
    """A database beside the first one, with our schema, dropped again."""
    name = f"large_{uuid4().hex}"
    with closing(psycopg.connect(f"{server}/postgres", autocommit=True)) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            with psycopg.connect(f"{server}/{name}") as made:
                create_platform_tables(made)
            with PostgresClient(f"{server}/{name}", pool_size=4) as database:
                upgrade(database)
                yield database
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def peer(server: str, python: Path, script: str, jobs: int, *more: int) -> float:
    """Jobs a second of a peer, in a database of its own that is dropped again."""
    name = f"peer_{uuid4().hex}"
    with closing(psycopg.connect(f"{server}/postgres", autocommit=True)) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            found = measured([python, _PEERS / script, f"{server}/{name}", *map(str, (jobs, *more))]).last_line
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    return float(found["items"]) / float(found["seconds"])


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of rounds that ran one after the other: what else the machine does hits both alike."""
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))


def main() -> None:
    """Run everything and print the result."""
    pgqueuer, procrastinate = (
        peer_environment("pgqueuer", PGQUEUER),
        peer_environment("procrastinate", PROCRASTINATE),
    )
    with (
        scratch_folder() as folder,
        scratch_postgres(folder) as url,
        PostgresClient(url, pool_size=2 * WORKERS) as database,
    ):
        server = url.rpartition("/")[0]
        tenant = uuid4()
        with database.connection() as connection:
            connection.execute(
                "INSERT INTO tenants (id, name, slug, plan_tier, created_at) "
                "VALUES (%s, 'Bench', 'bench', 'enterprise', now())",
                [tenant],
            )
        submits = [submit_seconds(database, tenant) for _ in range(_SUBMITS)]
        say(f"10,000 items are submitted in {statistics.median(submits):.3f} s (worst {max(submits):.3f} s)")
        rates: list[list[float]] = [[] for _ in range(5)]
        ten, single, alone, queuer, crastinate = rates
        for number in range(_ROUNDS):
            ten.append(drained(database, tenant, _BATCH10, 10))
            queuer.append(max(peer(server, pgqueuer, "pgqueuer_drain.py", _PGQUEUER, n) for n in (1, CORES)))
            crastinate.append(peer(server, procrastinate, "procrastinate_drain.py", _PROCRASTINATE))
            single.append(drained(database, tenant, _BATCH1, 1))
            alone.append(drained(database, tenant, _BATCH10 // 5, 10, workers=1))
            say(
                f"round {number + 1}: {ten[-1]:.0f} items/s in tens, {single[-1]:.0f} one by one, {alone[-1]:.0f} in "
                f"tens by one worker; pgqueuer {queuer[-1]:.0f}, procrastinate {crastinate[-1]:.0f}"
            )
        empty(database)
        with another_database(server) as other:
            calls = (claim_seconds(database, tenant, 1_000), claim_seconds(other, tenant, 1_000_000))
            # In turns, so that what else the machine does hits both alike.
            short, long = zip(*[(calls[0](), calls[1]()) for _ in range(_CLAIMS)], strict=True)
        for queued, taken in ((1_000, short), (1_000_000, long)):
            say(f"{1000 * statistics.median(taken):.2f} ms a claim of ten with {queued:,} queued")
    print_result(
        {
            "name": "generation",
            "submit_10k_s": round(statistics.median(submits), 3),
            "fenced_items_per_s_batch10": round(statistics.median(ten)),
            "fenced_items_per_s_batch1": round(statistics.median(single)),
            "fenced_items_per_s_batch10_one_worker": round(statistics.median(alone)),
            "pgqueuer_items_per_s": round(statistics.median(queuer)),
            "procrastinate_items_per_s": round(statistics.median(crastinate)),
            "vs_pgqueuer": round(ratio(ten, queuer), 2),
            "vs_procrastinate": round(ratio(ten, crastinate), 1),
            "claim_ms_1k": round(1000 * statistics.median(short), 3),
            "claim_ms_1m": round(1000 * statistics.median(long), 3),
        }
    )


if __name__ == "__main__":
    main()
