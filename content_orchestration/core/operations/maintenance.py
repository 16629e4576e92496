"""One pass of VACUUM and REINDEX over the platform's tables: what calls for it, a step at a time, within a budget.

Nothing runs beside a restore or a drill (`exclusion.py`). A step that waits too long for a lock or runs out of time is
left for the next pass; what a REINDEX left half-made is dropped. Sizes and the estimate of bloat are `sizes.py`'s.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import psycopg
from psycopg import Connection, sql

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import AlreadyRunning
from content_orchestration.core.failpoints import reach
from content_orchestration.core.operations.budget import Budget
from content_orchestration.core.operations.exclusion import MAINTENANCE, undisturbed
from content_orchestration.core.operations.rules import Step, reindex_due, vacuum_due
from content_orchestration.core.operations.sizes import size
from content_orchestration.core.sql import statement

_DROP_SECONDS = 30.0


class MaintainableDatabase(Database, Protocol):
    """A database on which statements can run outside of a transaction."""

    def session(self) -> AbstractContextManager[Connection[Row]]:
        """A connection of its own in autocommit, closed at the end. Raises `Transient` where the server is away."""
        ...


@dataclass(frozen=True)
class Action:
    """What became of a step. Outcomes: done, planned (dry run), out_of_time, locked, gone, failed."""

    step: Step
    outcome: str
    detail: str | None = None
    seconds: float = 0.0
    bytes_after: int | None = None

    def as_report(self) -> dict[str, Any]:
        """For the table `maintenance_actions` and the JSON report."""
        return {
            "action": self.step.action,
            "relation": self.step.relation,
            "outcome": self.outcome,
            "detail": self.detail,
            "bytes_before": self.step.bytes,
            "bytes_after": self.bytes_after,
            "seconds": round(self.seconds, 3),
        }


@dataclass
class MaintenanceReport:
    """What a pass did, and why it ended before everything was done, if it did."""

    dry_run: bool
    actions: list[Action] = field(default_factory=list)
    left: int = 0
    stopped: str | None = None
    seconds: float = 0.0

    @property
    def failed(self) -> list[Action]:
        """Steps that PostgreSQL refused for another reason than time or a lock."""
        return [action for action in self.actions if action.outcome == "failed"]

    def as_metadata(self) -> dict[str, Any]:
        """For the run's metadata."""
        outcomes = [action.outcome for action in self.actions]
        return {
            "dry_run": self.dry_run,
            "steps": len(self.actions) + self.left,
            "outcomes": {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))},
            "left_for_the_next_pass": self.left,
            "stopped": self.stopped or "no: everything was looked at",
            "bytes_freed": sum(
                (a.step.bytes or 0) - a.bytes_after
                for a in self.actions
                if a.outcome == "done" and a.bytes_after is not None
            ),
            "seconds": round(self.seconds, 3),
        }

    def as_markdown(self) -> str:
        """A table of the steps."""
        lines = ["| step | of | why | outcome | before | after | seconds |", "|---|---|---|---|--:|--:|--:|"]
        for a in self.actions:
            told = f"{a.outcome}: {a.detail}" if a.detail else a.outcome
            after = "" if a.bytes_after is None else size(a.bytes_after)
            lines.append(
                f"| {a.step.action} | {a.step.relation} | {a.step.reason} | {told} | {size(a.step.bytes)} | {after} | "
                f"{a.seconds:.1f} |"
            )
        return "\n".join(lines) if self.actions else "Nothing calls for maintenance."


class Maintenance:
    """Passes over one database. `drills` is where drills take their lock, None where there is no such database."""

    def __init__(
        self,
        database: MaintainableDatabase,
        drills: Database | None,
        *,
        budget_seconds: float,
        lock_seconds: float,
        run_id: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._drills = drills
        self._budget_seconds = budget_seconds
        self._lock_seconds = lock_seconds
        self._run_id = run_id
        self._clock = clock

    def run(self, *, vacuum: bool, reindex: bool, dry_run: bool) -> MaintenanceReport:
        """One pass. A dry run says what a pass would do and takes no lock.

        Raises `AlreadyRunning` where another pass or a backup runs, and `Transient` where the server is away.
        """
        budget = Budget(self._budget_seconds, self._clock)
        report = MaintenanceReport(dry_run)
        if dry_run:
            report.actions = [Action(step, "planned") for step in self._steps(vacuum, reindex)]
        else:
            with self._database.advisory_lock(MAINTENANCE), self._database.session() as session:
                steps = self._steps(vacuum, reindex)
                self._carry_out(session, steps, budget, report)
        report.seconds = budget.spent
        return report

    def _steps(self, vacuum: bool, reindex: bool) -> list[Step]:
        with self._database.connection() as connection:
            connection.execute(statement("operations/lock_timeout"))
            left = connection.execute(statement("operations/reindex_left")).fetchall() if reindex else []
            tables = connection.execute(statement("operations/sizes_tables")).fetchall() if vacuum else []
            indexes = connection.execute(statement("operations/sizes_indexes")).fetchall() if reindex else []
        drops = [Step("drop_index", row["name"], "left half-made by a REINDEX", row["bytes"]) for row in left]
        return [*drops, *vacuum_due(tables), *reindex_due(indexes)]

    def _carry_out(
        self, session: Connection[Row], steps: Sequence[Step], budget: Budget, report: MaintenanceReport
    ) -> None:
        for number, step in enumerate(steps):
            if budget.left < 1:
                report.left, report.stopped = len(steps) - number, "the time is used up"
                return
            if step.seconds > budget.left:
                # It would be cut off after having cost all that is left, at this pass and at each after it.
                detail = (
                    f"takes about {step.seconds:.0f} s and {budget.left:.0f} s are left: MAINTENANCE_BUDGET_MINUTES"
                )
                report.actions.append(Action(step, "out_of_time", detail))
                continue
            try:
                with undisturbed(self._database, self._drills):
                    for action in self._done(session, step, budget):
                        report.actions.append(action)
                        self._record(action)
            except AlreadyRunning as error:
                report.left, report.stopped = len(steps) - number, str(error)
                return

    def _done(self, session: Connection[Row], step: Step, budget: Budget) -> Iterator[Action]:
        action = self._execute(session, step, budget.left)
        yield action
        if step.action == "reindex" and action.outcome != "done":
            for row in session.execute(statement("operations/reindex_left")).fetchall():
                left = Step("drop_index", row["name"], "left half-made by this REINDEX", row["bytes"])
                yield self._execute(session, left, _DROP_SECONDS)

    def _execute(self, session: Connection[Row], step: Step, seconds: float) -> Action:
        limits = {"lock": f"{int(self._lock_seconds * 1000)}ms", "statement": f"{max(int(seconds * 1000), 1)}ms"}
        session.execute(statement("operations/session_limits"), limits)
        name = sql.Identifier("public", step.relation)
        text = sql.SQL(statement(f"operations/{step.action}")).format(table=name, index=name)
        started = self._clock()
        outcome, detail = "done", None
        try:
            reach(f"maintenance_{step.action}")
            session.execute(text)
        except psycopg.errors.LockNotAvailable:
            outcome, detail = "locked", f"waited {self._lock_seconds:g} s for somebody's transaction"
        except psycopg.errors.QueryCanceled:
            outcome, detail = "out_of_time", f"cut off after {seconds:.0f} s"
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedObject):
            outcome = "gone"
        except psycopg.DatabaseError as error:
            if session.broken:
                raise
            outcome, detail = "failed", str(error).strip().splitlines()[0]
        took = self._clock() - started
        if outcome != "done":
            return Action(step, outcome, detail, took)
        session.execute(statement("operations/session_limits"), limits | {"statement": "60s"})
        after = session.execute(
            statement("operations/relation_bytes"), {"name": f'public."{step.relation}"'}
        ).fetchone()
        return Action(step, outcome, detail, took, after["bytes"] if after else None)

    def _record(self, action: Action) -> None:
        with self._database.connection() as connection:
            connection.execute(statement("operations/action_record"), action.as_report() | {"run_id": self._run_id})
