"""How long each plan keeps what was deleted or superseded, and what stops a pass of retention before it begins.

The days themselves are in `core/quota/plans.py`, with all else that a plan says. Holds are `holds.py`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from psycopg import Connection

from content_orchestration.core.cleanup.guards import NeverDelete, Refused, check_clock
from content_orchestration.core.database import Database, Row
from content_orchestration.core.quota.plans import PLANS, Plan
from content_orchestration.core.sql import statement

RETENTION_PREDICATE = 1
"""Which rules made something expire: raised with every change of them, kept in the audit."""
MOST_COUNTED = 100_000
"""Candidates are counted up to here: the ceiling needs no more, and a count reads each of them."""
MOST_BEHIND = timedelta(hours=24)
"""How far replication may be behind: BigQuery's history is what a purged item can be brought back from."""


@dataclass(frozen=True)
class RetentionRules:
    """What a pass goes by. `file_grace` is how long a file that nothing names stays in its store."""

    plans: Mapping[str, Plan] = field(default_factory=lambda: PLANS)
    never: NeverDelete = field(default_factory=NeverDelete)
    max_candidate_percent: float = 1.0
    file_grace: timedelta = timedelta(hours=24)
    most_behind: timedelta = MOST_BEHIND


def kept_days(plans: Mapping[str, Plan] = PLANS) -> str:
    """Days by plan as the statements take them, `{"free": 30, …, "enterprise": null}`; null is for ever.

    A plan that is not named is compared with NULL in SQL, so what belongs to an unknown one is kept.
    """
    return json.dumps({plan.tier: plan.retention_days for plan in plans.values()})


def least_days(plans: Mapping[str, Plan] = PLANS) -> int | None:
    """The shortest time in days that any plan keeps; None where all keep for ever."""
    return min((plan.retention_days for plan in plans.values() if plan.retention_days is not None), default=None)


def check_pass(database: Database, rules: RetentionRules, *, dry_run: bool, clock: Callable[[], float]) -> None:
    """Raise `Refused` where nothing may be removed now: a clock jumped, a restore is open, BigQuery is behind.

    A dry run does not look at the clocks, since that look writes them down.
    """
    with database.connection() as connection:
        _no_restore(connection)
        _replicated(connection, rules.most_behind)
    if not dry_run:
        check_clock(database, clock)


def _no_restore(connection: Connection[Row]) -> None:
    row = connection.execute(statement("cleanup/restore_open")).fetchone()
    if row is not None:
        raise Refused(
            "restore_open",
            f"restore {row['restore_id']} of run {row['run_id']} is open since {row['opened_at']}: let it end, or run "
            "it again, before anything is removed",
        )


def _replicated(connection: Connection[Row], most: timedelta) -> None:
    row = connection.execute(statement("cleanup/replication_behind")).fetchone()
    if row is not None and row["seconds"] > most.total_seconds():
        raise Refused(
            "replication_behind",
            f"the oldest change that BigQuery does not have is {row['seconds'] / 3600:.1f} hours old, more than {most}"
            ": what is removed here could not be brought back from it; let replication catch up",
        )
