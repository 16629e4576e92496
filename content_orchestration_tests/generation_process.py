"""Generation workers in processes of their own that may be stopped and killed. `python -m` of this module forks them.

Its argument is JSON: url, lease (seconds), seed, work (most seconds an item), failing (share of items). A line `N` on
stdin forks N workers, whose pids come as one line; the end of stdin asks them to end. Whatever a worker writes carries
its token, so that the database itself can tell a stale write (`WITNESS`).
"""

import json
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

from content_orchestration.core.errors import Transient
from content_orchestration.core.generation.model import Claimed, Done, FailureCategory, Phase
from content_orchestration.core.generation.queue import GenerationQueue
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.resources import postgres_client
from content_orchestration.resources.postgres_client import PostgresClient

T = TypeVar("T")
COST = Decimal("0.001")
BYTES = 50

# Every write of a worker names its token; the trigger sees which token the row has. Every end is counted as it happens.
WITNESS = """
CREATE TABLE stale_writes (item text, what text, said text, held text);
CREATE TABLE ends (item text, status text, token bigint);
CREATE FUNCTION witness_generation() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    said text := CASE WHEN NEW.status = 'completed' AND OLD.status <> 'completed' THEN NEW.provider_used
                      WHEN NEW.current_step LIKE '%:%' AND NEW.current_step IS DISTINCT FROM OLD.current_step
                      THEN NEW.current_step
                      WHEN NEW.error_message LIKE 'failed:%' AND NEW.error_message IS DISTINCT FROM OLD.error_message
                      THEN NEW.error_message END;
BEGIN
    IF said IS NOT NULL AND (split_part(said, ':', 2)::bigint <> OLD.lease_token
                             OR OLD.status NOT IN ('running', 'storing')) THEN
        INSERT INTO stale_writes VALUES (NEW.id, NEW.status, said, OLD.status || ' ' || OLD.lease_token);
    END IF;
    IF OLD.completed_at IS NOT NULL AND NEW.status <> OLD.status THEN
        INSERT INTO stale_writes VALUES (NEW.id, 'left its end', OLD.status, NEW.status);
    END IF;
    IF OLD.completed_at IS NULL AND NEW.completed_at IS NOT NULL THEN
        INSERT INTO ends VALUES (NEW.id, NEW.status, OLD.lease_token);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER witness BEFORE UPDATE ON generation_jobs FOR EACH ROW EXECUTE FUNCTION witness_generation();
"""


class Worker:
    """One process's life: claims, works behind a heartbeat, and writes what becomes of each item."""

    def __init__(self, given: dict[str, Any], number: int) -> None:
        self._dice = random.Random(f"{given['seed']}:{number}")
        self._name = f"worker-{number}"
        self._most = given["work"]
        self._failing = given["failing"]
        self._ended = threading.Event()
        self._database = PostgresClient(given["url"], pool_size=6, statement_timeout=10.0)
        self._ledger = QuotaLedger(self._database)
        self._queue = GenerationQueue(
            self._database, self._ledger, lease=timedelta(seconds=given["lease"]),
            retry_base=timedelta(milliseconds=20), retry_longest=timedelta(milliseconds=100),
        )  # fmt: skip

    def live(self) -> None:
        """Work until asked to end."""
        signal.signal(signal.SIGTERM, lambda *_: self._ended.set())
        with self._database, self._queue.heartbeat(self._name) as beat:
            while not self._ended.is_set():
                claimed = self._patiently(lambda: self._queue.claim(self._dice.randint(1, 6), self._name))
                beat.add(claimed)
                for item in claimed:
                    if not self._work(item):
                        beat.discard(item)
                        claimed = [other for other in claimed if other is not item]
                for item in claimed:
                    self._patiently(partial(self._complete, item, self._mark(item)))
                    beat.discard(item)
                if not claimed:
                    self._ended.wait(0.05)

    def _mark(self, item: Claimed) -> str:
        return f"{self._name}:{item.token}"

    def _work(self, item: Claimed) -> bool:
        """Whether there is something to complete. Most wait as storing until all of the claim are worked."""
        if not self._patiently(lambda: self._queue.progress(item, Phase.writing, 30, self._mark(item))):
            return False
        attempt = self._patiently(lambda: self._queue.begin_attempt(item, "template", "m"))
        if attempt is None:
            return False
        time.sleep(self._dice.uniform(0, self._most))
        failed = self._dice.random() < self._failing
        outcome = self._dice.choice(["provider", "content_policy"]) if failed else "succeeded"
        self._patiently(lambda: self._queue.end_attempt(attempt, outcome=outcome, cost_usd=COST))
        if outcome == "succeeded":
            if self._dice.random() < 0.1:
                return True
            return self._patiently(lambda: self._queue.hold(item, f"{self._mark(item)}:held"))
        category = FailureCategory(outcome)
        self._patiently(lambda: self._queue.fail(item, category, f"failed:{item.token}"))
        return False

    def _complete(self, item: Claimed, mark: str) -> None:
        done = Done(uuid4(), 10, 50, mark, COST, BYTES)
        with self._database.connection() as connection:
            if self._queue.complete_in(connection, [(item, done)]):
                row = connection.execute(
                    "SELECT reservation_id FROM generation_queues WHERE id = %s", [item.batch_id]
                ).fetchone()
                assert row is not None
                self._ledger.settle_part_in(connection, row["reservation_id"], bytes=BYTES, items=1)

    def _patiently(self, act: Callable[[], T]) -> T:
        """The server may be away; whether a write that was cut off happened, the fence knows."""
        while True:
            try:
                return act()
            except Transient:
                time.sleep(0.05)


def main() -> None:
    """Fork what stdin asks for; when it ends, ask all to end and wait."""
    given = json.loads(sys.argv[1])
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    postgres_client._CONNECT_SECONDS = 1.0
    children: list[int] = []
    for line in sys.stdin:
        made = []
        for _ in range(int(line)):
            number = len(children) + len(made)
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    Worker(given, number).live()
                    code = 0
                finally:
                    os._exit(code)
            made.append(child)
        children += made
        print(*made, flush=True)  # noqa: T201
    for child in children:
        if os.waitpid(child, os.WNOHANG)[0] == 0:
            os.kill(child, signal.SIGCONT)
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)


if __name__ == "__main__":
    main()
