"""Writers in processes of their own that reserve, and settle, release, or die. `python -m` of this module forks them.

Its first argument is JSON: url, tenant, brands, writers, rounds, seed, deaths (how likely a writer dies between
reserving and settling). Each acknowledged settle is a line `<reservation> <bytes>` on stdout, each refusal a line
`refused <scope>`.
"""

import json
import os
import random
import signal
import sys
from datetime import timedelta
from typing import Any

from content_orchestration.core.quota.decision import QuotaExceeded
from content_orchestration.core.quota.reservation import GENERATION, Reservation
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.quota_books import small_ledger

# Bytes that are asked for, of limits of 100 to 1,000: a large request makes two that race overshoot at once.
SMALL_REQUEST, LARGE_REQUEST = 8, 400


def say(line: str) -> None:
    """One write of less than PIPE_BUF: lines of several processes never mix, and a killed one leaves no half."""
    os.write(1, f"{line}\n".encode())


def write(given: dict[str, Any], number: int) -> None:
    """One writer's life."""
    dice = random.Random(f"{given['seed']}:{number}")
    with PostgresClient(given["url"], pool_size=4) as database:
        ledger = small_ledger(database)
        for turn in range(given["rounds"]):
            brand = dice.choice([*given["brands"], None])
            size = dice.randint(1, dice.choice([SMALL_REQUEST, LARGE_REQUEST]))
            items, reason = dice.randint(0, 2), dice.choice([GENERATION, "upload"])
            try:
                made = ledger.reserve(
                    given["tenant"], brand, size, items, 0, reason, timedelta(minutes=5), f"{number}-{turn}"
                )
                if dice.random() < given["deaths"]:
                    os.kill(os.getpid(), signal.SIGKILL)
                finish(database, ledger, dice, made)
            except QuotaExceeded as refusal:
                say(f"refused {refusal.scope}")


def finish(database: PostgresClient, ledger: Any, dice: random.Random, made: Reservation) -> None:
    """End a reservation in one of the ways that there are. Settling may ask for more than was reserved."""
    # Mostly released, so that they fight for the last of the room until the end.
    way = dice.choice(["less", "all", "more", "part", "own transaction", *["release"] * 8])
    if made.bytes > SMALL_REQUEST or way == "release":
        ledger.release(made)
    elif way == "part":
        with database.connection() as connection:
            ledger.settle_part_in(connection, made, made.bytes // 2, made.items)
        ledger.release(made)
    elif way == "own transaction":
        with database.connection() as connection:
            ledger.settle_in(connection, made, made.bytes, made.items)
        say(f"{made.id} {made.bytes}")
    else:
        actual = {"less": made.bytes // 2, "all": made.bytes, "more": made.bytes + dice.randint(1, LARGE_REQUEST)}[way]
        try:
            ledger.settle(made, actual, made.items)
        except QuotaExceeded as refusal:
            say(f"refused {refusal.scope}")
            actual = made.bytes
            ledger.settle(made, actual, made.items)
        say(f"{made.id} {actual}")


def main() -> None:
    """Fork the writers and wait for them; the last line counts how they ended."""
    given = json.loads(sys.argv[1])
    children = []
    for number in range(given["writers"]):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                write(given, number)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    # The test kills some of them at moments of its own.
    say("writers " + " ".join(str(child) for child in children))
    ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    say(f"ended {json.dumps([ends.count(0), ends.count(-signal.SIGKILL), len(ends)])}")


if __name__ == "__main__":
    main()
