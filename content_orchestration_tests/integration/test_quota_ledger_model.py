"""The ledger beside a model of it in Python: random requests, expiries and plans, and the same answer from both.

`SOAK=1` runs the full count. `LEDGER_SEED` repeats a run; the seed is printed whether it passes or not.
"""

import os
import secrets
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, seed
from hypothesis import settings as given
from hypothesis.stateful import run_state_machine_as_test

from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.settings import Settings
from content_orchestration_tests.quota_books import database_of_its_own, emptied
from content_orchestration_tests.quota_machine import LedgerMachine

SOAK = bool(os.environ.get("SOAK"))
RUNS, STEPS, REQUESTS = (1_000, 60, 20_000) if SOAK else (20, 40, 400)


@pytest.fixture
def database(_server: psycopg.Connection[Any], settings: Settings, _migrated_template: str) -> Iterator[PostgresClient]:
    with (
        database_of_its_own(_server, settings.local_postgres_port, _migrated_template) as url,
        emptied(url) as client,
    ):
        yield client


@pytest.mark.timeout(3600)
def test_the_ledger_does_what_its_model_does(database: PostgresClient) -> None:
    number = int(os.environ.get("LEDGER_SEED") or secrets.randbits(32))
    print(f"\nLEDGER_SEED={number}, {RUNS} runs of up to {STEPS} steps at a time, {REQUESTS} requests at least")  # noqa: T201
    machine = type("Ledger", (LedgerMachine,), {"database": database, "steps": 0, "refusals": 0})
    options = given(
        max_examples=RUNS,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        print_blob=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    # How long its runs are is up to hypothesis.
    for turn in range(20):
        run_state_machine_as_test(seed(number + turn)(machine), settings=options)
        if machine.steps >= REQUESTS:
            break
    print(f"{machine.steps} requests, {machine.refusals} of them refused")  # noqa: T201
    assert machine.steps >= REQUESTS
    assert machine.refusals > REQUESTS / 30, "hardly a limit was met: the machine proves nothing"
