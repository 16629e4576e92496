"""The six disasters: what happens before, what happens, which checks look, how it is recovered from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from content_orchestration.core.drill import disasters, recovery
from content_orchestration.core.drill.detection import (
    Detector,
    a_sync_succeeds,
    bodies_are_true,
    collections_are_there,
    counters_equal_truth,
    no_transaction_touched_most_rows,
    tables_have_their_shape,
)
from content_orchestration.core.drill.world import World


@dataclass(frozen=True)
class Scenario:
    """One disaster. `before` is what nobody has replicated yet when it strikes."""

    name: str
    title: str
    strike: Callable[[World], None]
    detectors: Sequence[Detector]
    recover: recovery.Recovery
    before: Callable[[World], None] | None = None
    # Seconds between the last sync and the disaster, for those that are undone to the second before it.
    quiet_seconds: float = 0.0


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "metadata_tables_dropped",
        "The metadata tables of PostgreSQL are dropped",
        disasters.drop_tables,
        (a_sync_succeeds, tables_have_their_shape),
        recovery.after_dropped_tables,
        before=disasters.edit_without_sync,
    ),
    Scenario(
        "zerodb_emptied",
        "Every document of ZeroDB is deleted",
        disasters.empty_zerodb,
        (bodies_are_true,),
        recovery.after_empty_zerodb,
    ),
    Scenario(
        "tenant_deleted",
        "One tenant's rows and documents are deleted, and the deletes replicated",
        disasters.delete_tenant,
        (no_transaction_touched_most_rows, counters_equal_truth),
        recovery.after_deleted_tenant,
        quiet_seconds=1.1,
    ),
    Scenario(
        "bad_update",
        "An UPDATE without WHERE over all items, replicated; undone to the second before",
        disasters.update_badly,
        (no_transaction_touched_most_rows,),
        recovery.after_bad_update,
        quiet_seconds=1.1,
    ),
    Scenario(
        "bodies_corrupted",
        "Bodies of ZeroDB change silently, their documents still claim the old hash",
        disasters.corrupt_bodies,
        (bodies_are_true,),
        recovery.after_corrupt_bodies,
    ),
    Scenario(
        "both_lost_during_sync",
        "PostgreSQL and ZeroDB are lost while a sync is open",
        disasters.lose_both_during_a_sync,
        (tables_have_their_shape, collections_are_there),
        recovery.after_losing_both,
        before=disasters.write_without_sync,
    ),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
