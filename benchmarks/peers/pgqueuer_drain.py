"""pgqueuer with its own defaults and a batch of ten: drains jobs that do nothing. Arguments: URL, jobs, processes.

One connection a process, as its documentation begins. Nothing of ours is imported here.
"""

import asyncio
import json
import sys
import time
from datetime import timedelta
from multiprocessing import get_context
from typing import Any

import asyncpg
from pgqueuer import QueueManager
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode


async def fill(url: str, jobs: int) -> None:
    """Install the schema and enqueue; none of it is counted."""
    connection = await asyncpg.connect(url)
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    payload = json.dumps({"topic": "how to plan item", "keywords": ["a", "b"], "tone": "plain"}).encode()
    await queries.enqueue(["item"] * jobs, [payload] * jobs, [0] * jobs)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


async def drain(url: str, begin: float) -> tuple[int, float]:
    """How many jobs this process ran, and when the last of them ended (CLOCK_MONOTONIC)."""
    connection = await asyncpg.connect(url)
    manager = QueueManager(Queries(AsyncpgDriver(connection)))
    run, ended = 0, 0.0

    @manager.entrypoint("item")  # type: ignore[untyped-decorator]  # it is in an environment of its own
    async def item(job: Job) -> None:
        nonlocal run, ended
        run += 1
        ended = time.monotonic()

    await asyncio.sleep(max(0.0, begin - time.monotonic()))
    await manager.run(batch_size=10, mode=QueueExecutionMode.drain, dequeue_timeout=timedelta(seconds=1))
    return run, ended


def worker(url: str, begin: float, answers: Any) -> None:
    """One process."""
    answers.put(asyncio.run(drain(url, begin)))


def main() -> None:
    """Print items and seconds, from the common begin to the last job's end."""
    url, jobs, processes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    asyncio.run(fill(url, jobs))
    context = get_context("fork")
    answers = context.Queue()
    begin = time.monotonic() + 0.5
    workers = [context.Process(target=worker, args=(url, begin, answers)) for _ in range(processes)]
    for each in workers:
        each.start()
    found = [answers.get(timeout=600) for _ in workers]
    for each in workers:
        each.join()
    if sum(run for run, _ in found) != jobs:
        raise SystemExit(f"{sum(run for run, _ in found)} of {jobs} jobs ran")
    print(json.dumps({"items": jobs, "seconds": max(ended for _, ended in found) - begin}))


if __name__ == "__main__":
    main()
