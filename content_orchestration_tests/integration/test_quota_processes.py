"""64 processes against one tenant and its brands, dying between reserve and settle and in the middle of statements.

Not one byte over a limit at any moment, and books that add up once the dead are reaped. `SOAK=1` runs the full count.
`QUOTA_SEED` repeats what the processes choose; when they die is up to the machine.
"""

import json
import os
import random
import secrets
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psutil
import psycopg
import pytest

from content_orchestration.core.quota.upkeep import reap
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.settings import PROJECT_ROOT, Settings
from content_orchestration_tests.quota_books import (
    SMALL,
    WITNESS,
    add_brand,
    add_tenant,
    assert_books_add_up,
    brand_counters,
    counters,
    database_of_its_own,
    emptied,
    expire,
    run,
)

SOAK = bool(os.environ.get("SOAK"))
WRITERS = 64
TRIES, ROUNDS = (20, 40) if SOAK else (1, 12)


@pytest.fixture
def url(_server: psycopg.Connection[Any], settings: Settings, _migrated_template: str) -> Iterator[str]:
    with database_of_its_own(_server, settings.local_postgres_port, _migrated_template) as made:
        yield made


@pytest.fixture
def database(url: str) -> Iterator[PostgresClient]:
    with emptied(url) as client:
        run(client, WITNESS)
        yield client


@dataclass
class Heard:
    """What the processes said before they ended."""

    settled: dict[UUID, int] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    ended: tuple[int, int, int] = (0, 0, 0)


def listen(process: "subprocess.Popen[str]", dice: random.Random) -> Heard:
    """Read until all have ended; kill some of them while they talk."""
    heard = Heard()
    writers: list[int] = []
    assert process.stdout
    for line in process.stdout:
        kind, _, rest = line.strip().partition(" ")
        if kind == "writers":
            writers = [int(pid) for pid in rest.split()]
        elif kind == "refused":
            heard.refused[rest] += 1
        elif kind == "ended":
            clean, killed, all_of_them = json.loads(rest)
            heard.ended = (clean, killed, all_of_them)
            writers = []
        else:
            heard.settled[UUID(kind)] = int(rest)
        if writers and dice.random() < 0.05:
            victim = writers.pop(dice.randrange(len(writers)))
            if process.poll() is None and is_child(victim, process.pid):
                os.kill(victim, signal.SIGKILL)
    assert process.wait(30) == 0
    return heard


def is_child(pid: int, parent: int) -> bool:
    """A writer that has ended may have left its number to somebody else."""
    try:
        return psutil.Process(pid).ppid() == parent
    except psutil.NoSuchProcess:
        return False


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("attempt", range(TRIES))
def test_nothing_overshoots_and_the_books_add_up_after_reaping(
    database: PostgresClient, url: str, attempt: int
) -> None:
    seed = int(os.environ.get("QUOTA_SEED") or secrets.randbits(32))
    print(f"\nQUOTA_SEED={seed}, {WRITERS} processes, {ROUNDS} rounds each")  # noqa: T201
    dice = random.Random(seed)
    tenant = add_tenant(database, "free")
    limit = SMALL["free"].limit_bytes or 0
    # A large request fills any of them.
    brands = [add_brand(database, tenant, of) for of in (100, 150)]
    given = {
        "url": url, "tenant": str(tenant), "brands": [str(brand) for brand in brands], "writers": WRITERS,
        "rounds": ROUNDS, "seed": seed, "deaths": 0.06,
    }  # fmt: skip
    stop = threading.Event()
    reaper = threading.Thread(target=reap_until, args=(database, dice, stop))
    with subprocess.Popen(
        [sys.executable, "-m", "content_orchestration_tests.quota_process", json.dumps(given)],
        cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        reaper.start()
        try:
            heard = listen(process, dice)
        finally:
            stop.set()
            reaper.join(30)

    assert run(database, "SELECT * FROM overshoots") == []
    held = run(database, "SELECT count(*) AS n FROM quota_reservations WHERE state = 'reserved'")[0]["n"]
    clean, killed, all_of_them = heard.ended
    print(f"{clean} writers ended, {killed} were killed and left {held} reservations, {heard.refused}")  # noqa: T201
    # Each reservation is left by a writer that died; all else would be a leak.
    assert (clean + killed, all_of_them) == (WRITERS, WRITERS)
    assert held <= killed
    assert_books_add_up(database)

    expire(database)
    reap(database)
    assert_books_add_up(database)
    used, reserved = counters(database, tenant)
    assert reserved == 0
    assert used <= limit
    assert [brand_counters(database, brand)[1] for brand in brands] == [0, 0]
    assert run(database, "SELECT FROM quota_reservations WHERE state = 'reserved'") == []
    stored = {
        row["id"]: row["settled_bytes"]
        for row in run(database, "SELECT id, settled_bytes FROM quota_reservations WHERE state = 'settled'")
    }
    assert heard.settled.items() <= stored.items(), "a settle that was acknowledged is not in the books"
    # The run proves something only where limits were met and writers died.
    assert killed >= 3
    assert min(heard.refused[scope] for scope in ("tenant", "brand", "generation")) > 0
    assert used > 0


def reap_until(database: PostgresClient, dice: random.Random, stop: threading.Event) -> None:
    """Let reservations expire under the living and the dead, and reap them meanwhile."""
    while not stop.wait(0.05):
        if dice.random() < 0.2:
            run(
                database,
                "UPDATE quota_reservations SET expires_at = clock_timestamp() WHERE id IN "
                "(SELECT id FROM quota_reservations WHERE state = 'reserved' ORDER BY created_at LIMIT 3 "
                "FOR UPDATE SKIP LOCKED)",
            )
        reap(database)
