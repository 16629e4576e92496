"""One drill: build a world, let the disaster happen, detect it, recover, and measure all of it against what was there.

The scenarios are in `scenarios.py`, what a drill comes to in `result.py`, and what is kept of it in `record.py`.
"""

import time
from collections.abc import Callable, Mapping

import psycopg

from content_orchestration.core.drill.detection import (
    Finding,
    bodies_are_true,
    copies_agree,
    counters_equal_truth,
    tables_have_their_shape,
)
from content_orchestration.core.drill.result import DrillResult
from content_orchestration.core.drill.scenarios import Scenario
from content_orchestration.core.drill.scratch import Scratch
from content_orchestration.core.drill.world import World, built_world
from content_orchestration.core.errors import Permanent
from content_orchestration.core.replication.status import backlog

# What is asked once more when the recovery says that it is done, after a sync.
_CONFIRMING = (tables_have_their_shape, copies_agree, bodies_are_true, counters_equal_truth)


class Drill:
    """Runs scenarios in one set of scratch tiers."""

    def __init__(
        self,
        scratch: Scratch,
        *,
        items: int,
        run_id: str,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scratch = scratch
        self._items = items
        self._run_id = run_id
        self._sleep = sleep
        self._clock = clock

    def run(self, scenario: Scenario) -> DrillResult:
        """Carry one scenario out. A recovery that fails is a result, not an error.

        Raises `AlreadyRunning`, or `Permanent` or `Transient` where no disaster could be made: the tiers are not a
        drill's, or one of them is down.
        """
        started = self._clock()
        result = DrillResult(scenario.name, self._items)
        with built_world(self._scratch, self._items, self._run_id, self._sleep) as world:
            self._carry_out(scenario, world, result)
        result.seconds = self._clock() - started
        return result

    def _carry_out(self, scenario: Scenario, world: World, result: DrillResult) -> None:
        early = _look(world, scenario)
        before = synced = world.state()
        if scenario.before is not None:
            scenario.before(world)
            before = world.state()
        self._sleep(scenario.quiet_seconds)
        result.rpo_seconds = backlog(world.scratch.database).oldest_seconds
        scenario.strike(world)
        struck = self._clock()
        try:
            found = self._detect(scenario, world, result, struck)
            result.recovery = dict(scenario.recover(world, found))
            result.left_over = self._confirm(world)
            result.rto_seconds = round(self._clock() - struck, 3)
            after = world.state()
        except (Permanent, psycopg.Error) as error:
            # The recovery is what the drill examines: that it failed is its outcome. A server that is down is none.
            result.error = f"{type(error).__name__}: {error}"
            return
        differences = synced.differences(after)
        result.things_compared = len(synced.things)
        result.rows_lost = len(differences.lost)
        result.rows_within_rpo = len(before.differences(after).lost - differences.lost)
        result.differences = differences.as_metadata()
        if early:
            result.left_over["before the disaster"] = "; ".join(f"{name}: {f.said}" for name, f in early.items())

    def _detect(self, scenario: Scenario, world: World, result: DrillResult, struck: float) -> Mapping[str, Finding]:
        found: dict[str, Finding] = {}
        for detector in scenario.detectors:
            finding = detector(world)
            if finding is None:
                continue
            found[detector.__name__] = finding
            result.findings[detector.__name__] = finding.said
            if result.detected_by is None:
                result.detected_by = detector.__name__
                result.detection_seconds = round(self._clock() - struck, 3)
        if not found:
            names = ", ".join(detector.__name__ for detector in scenario.detectors)
            raise Permanent(f"no check found the disaster ({names}): nobody would have known, so nothing was recovered")
        return found

    def _confirm(self, world: World) -> dict[str, str]:
        """What the checks still say after a sync; empty when all of them agree."""
        world.sync()
        return {check.__name__: finding.said for check in _CONFIRMING if (finding := check(world)) is not None}


def _look(world: World, scenario: Scenario) -> dict[str, Finding]:
    """What the detectors say while nothing has happened: a check that always speaks detects nothing."""
    return {d.__name__: finding for d in scenario.detectors if (finding := d(world)) is not None}
