"""Retention of Dagster's own event log: old runs go whole, except those that hold the latest of anything.

Dagster deletes a run with all of its events (`delete_run`), and with them whatever a partition's status or an asset's
latest materialization is read from. So what is chosen here is runs that hold none of it. Ticks have Dagster's own
retention (`dagster.yaml`). Files of runs are `compute_logs.py`'s.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import psycopg
from psycopg.rows import dict_row

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.failpoints import reach
from content_orchestration.core.operations.budget import Budget
from content_orchestration.core.sql import statement

LOCK = "dagster_retention"
BATCH = 200
"""Runs between two looks at what is the latest: a look reads the index of all asset events."""


class Runs(Protocol):
    """Dagster's instance, as far as it is needed."""

    def delete_run(self, run_id: str) -> None:
        """Delete a run with its events."""
        ...


class EventLogSize(NamedTuple):
    """Rows and bytes, indexes included, of Dagster's event log."""

    rows: int
    bytes: int


@dataclass
class RetentionReport:
    """What a pass removed. `kept` are runs past their days that hold the latest of something."""

    dry_run: bool
    runs: int = 0
    events: int = 0
    kept: int = 0
    finished: bool = True
    seconds: float = 0.0

    def as_metadata(self) -> dict[str, Any]:
        """For the run's metadata."""
        return {
            "dry_run": self.dry_run,
            "runs_removed" if not self.dry_run else "runs_that_would_go": self.runs,
            "events_removed" if not self.dry_run else "events_that_would_go": self.events,
            "old_runs_kept_for_their_latest_state": self.kept,
            "finished": self.finished,
            "seconds": round(self.seconds, 3),
        }


def event_log_size(dagster_database_url: str) -> EventLogSize:
    """How large the event log in this database is. Raises `Transient` where it cannot be asked.

    Raises `Permanent` where that database has no event log.
    """
    try:
        with psycopg.connect(dagster_database_url, connect_timeout=10, row_factory=dict_row) as connection:
            row = connection.execute(statement("operations/dagster_event_log_size")).fetchone()
    except psycopg.errors.UndefinedTable:
        row = None
    except psycopg.Error as error:
        raise Transient(f"Dagster's database cannot be asked for the size of its event log: {error}") from error
    if row is None:
        raise Permanent("the database of DAGSTER_PG_URL has no table event_logs: no Dagster has used it")
    return EventLogSize(row["rows"], row["bytes"])


def prune(
    database: Database,
    runs: Runs,
    *,
    days: int,
    budget_seconds: float,
    dry_run: bool,
    clock: Callable[[], float] = time.monotonic,
    batch: int = BATCH,
) -> RetentionReport:
    """Delete ended runs older than `days` that hold the latest of nothing, the oldest first, within the time.

    `database` is Dagster's own, the one that `runs` deletes from. Raises `AlreadyRunning`, `Permanent` for less than 2
    days (a run could still be asked for by its sensors), and `Transient`.
    """
    if days < 2:
        raise Permanent(f"days is {days}: it must be at least 2, so that sensors have seen a run before it goes")
    budget = Budget(budget_seconds, clock)
    report = RetentionReport(dry_run)
    with database.advisory_lock(LOCK):
        after = 0
        while rows := _old(database, after, days, batch):
            after = rows[-1]["id"]
            report.kept += sum(row["kept"] for row in rows)
            going = [row["run_id"] for row in rows if not row["kept"]]
            if dry_run:
                report.runs += len(going)
                report.events += _events(database, going)
            elif not _delete(database, runs, going, budget, report):
                report.finished = False
                break
    report.seconds = budget.spent
    return report


def _delete(database: Database, runs: Runs, going: Sequence[str], budget: Budget, report: RetentionReport) -> bool:
    """Delete them; False when the time ran out before."""
    for number, run_id in enumerate(going):
        if budget.left <= 0:
            _forget_checks(database, going[:number])
            return False
        events = _events(database, [run_id])
        runs.delete_run(run_id)
        reach("event_log_run_deleted")
        report.runs += 1
        report.events += events
    _forget_checks(database, going)
    return True


def _old(database: Database, after: int, days: int, most: int) -> list[Row]:
    values = {"after": after, "days": days, "most": most}
    with database.connection() as connection:
        return connection.execute(statement("operations/dagster_runs_old"), values).fetchall()


def _events(database: Database, runs: Sequence[str]) -> int:
    with database.connection() as connection:
        row = connection.execute(statement("operations/dagster_events_of"), {"runs": list(runs)}).fetchone() or {}
    return int(row["events"])


def _forget_checks(database: Database, runs: Sequence[str]) -> None:
    if runs:
        with database.connection() as connection:
            connection.execute(statement("operations/dagster_checks_of"), {"runs": list(runs)})
