"""Any order of operations, faults and kills leaves all three tiers as the reference dictionary says.

`SOAK=1` runs the full count. `CONTENT_SEED` repeats a run; the seed is printed whether it passes or not.
"""

import os
import secrets

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from content_orchestration_tests.content_machine import KILLS, ContentMachine
from content_orchestration_tests.tiers import Tiers

EXAMPLES, STEPS = (300, 40) if os.environ.get("SOAK") else (8, 20)


@pytest.mark.timeout(3600)
def test_every_order_of_operations_leaves_three_tiers_that_agree(tiers: Tiers) -> None:
    number = int(os.environ.get("CONTENT_SEED") or secrets.randbits(32))
    print(f"\nCONTENT_SEED={number}, {EXAMPLES} runs of up to {STEPS} steps, kills at {', '.join(KILLS)}")  # noqa: T201

    class Machine(ContentMachine):
        pass

    Machine.tiers = tiers
    given = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        # Shrinking forks and syncs for minutes; the seed repeats the run.
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(number)(Machine), settings=given)
