"""procrastinate with ten jobs at once: drains jobs that do nothing. Arguments: URL, jobs.

One process with its own pool of connections. Nothing of ours is imported here.
"""

import asyncio
import json
import sys
import time

import procrastinate


async def drain(url: str, jobs: int) -> float:
    """Seconds from the first fetch until the last job has run. Deferring is not counted."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, max_size=12))
    run = 0
    ended = 0.0

    @app.task(name="item")  # type: ignore[untyped-decorator]  # it is in an environment of its own
    async def item(topic: str, keywords: list[str], tone: str) -> None:
        nonlocal run, ended
        run += 1
        if run == jobs:
            ended = time.monotonic()

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        values = {"topic": "how to plan item", "keywords": ["a", "b"], "tone": "plain"}
        for start in range(0, jobs, 1000):
            await item.batch_defer_async(*[values] * min(1000, jobs - start))
        began = time.monotonic()
        await app.run_worker_async(wait=False, concurrency=10, install_signal_handlers=False, listen_notify=False)
    if run != jobs:
        raise SystemExit(f"{run} of {jobs} jobs ran")
    return ended - began


def main() -> None:
    """Print items and seconds."""
    url, jobs = sys.argv[1], int(sys.argv[2])
    print(json.dumps({"items": jobs, "seconds": asyncio.run(drain(url, jobs))}))


if __name__ == "__main__":
    main()
