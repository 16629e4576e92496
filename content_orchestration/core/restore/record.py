"""The record of a restore in PostgreSQL: that it runs, which parts are done, what was set aside."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from psycopg import Connection

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Permanent
from content_orchestration.core.restore.check import Rejected
from content_orchestration.core.restore.plan import RestorePlan
from content_orchestration.core.restore.request import RestoreRequest
from content_orchestration.core.sql import statement


@dataclass(frozen=True)
class RestoreRecord:
    """One restore that this run holds. The number of the attempt fences off a run that held it before."""

    database: Database
    restore_id: str
    plan: RestorePlan
    attempts: int

    @classmethod
    def again(cls, database: Database, request: RestoreRequest, plan_hash: str, run_id: str) -> Self | None:
        """Take over the restore of this plan that was cut off, if there is one."""
        values = {"plan_hash": plan_hash, "request": json.dumps(request.as_json()), "run_id": run_id}
        with database.connection() as connection:
            row = connection.execute(statement("restore/run_again"), values).fetchone()
        return (
            cls(database, row["restore_id"], RestorePlan.from_json(request, row["plan"]), row["attempts"])
            if row
            else None
        )

    @classmethod
    def open(cls, database: Database, plan: RestorePlan, run_id: str) -> Self:
        """Write the restore down before its first write."""
        values = {
            "plan_hash": plan.plan_hash,
            "request": json.dumps(plan.request.as_json()),
            "plan": json.dumps(plan.as_json()),
            "as_of_sync_id": plan.as_of_sync_id,
            "target": str(plan.request.target),
            "run_id": run_id,
        }
        with database.connection() as connection:
            row = connection.execute(statement("restore/run_open"), values).fetchone() or {}
        return cls(database, row["restore_id"], plan, row["attempts"])

    def done(self) -> dict[str, dict[int, dict[str, Any]]]:
        """What came of the parts that are done, by stage and number."""
        with self.database.connection() as connection:
            rows = connection.execute(statement("restore/progress_read"), {"restore_id": self.restore_id}).fetchall()
        stages: dict[str, dict[int, dict[str, Any]]] = {}
        for row in rows:
            stages.setdefault(row["stage"], {})[row["part"]] = row["outcome"]
        return stages

    def finish(
        self, connection: Connection[Row], stage: str, part: int, outcome: dict[str, Any], aside: Sequence[Rejected]
    ) -> None:
        """Note a part as done, in the transaction that did it. Raises `Permanent` when another run took over."""
        if aside:
            with connection.cursor() as cursor:
                cursor.executemany(
                    statement("restore/quarantine_insert"),
                    [asdict(each) | {"restore_id": self.restore_id} for each in aside],
                )
        values = {"stage": stage, "part": part, "outcome": json.dumps(outcome)}
        noted = connection.execute(statement("restore/progress_done"), values | self._held()).rowcount
        if noted != 1:
            raise Permanent(
                f"restore {self.restore_id} was taken over by another run; this one stopped, and what it had not "
                "committed was rolled back"
            )

    def close(self, report: dict[str, Any]) -> None:
        """Note the restore as done. Raises `Permanent` when another run took over."""
        with self.database.connection() as connection:
            closed = connection.execute(
                statement("restore/run_close"), {"report": json.dumps(report, default=str)} | self._held()
            ).rowcount
        if closed != 1:
            raise Permanent(f"restore {self.restore_id} was closed by another run")

    def set_aside(self, most: int) -> tuple[dict[tuple[str, str], int], list[Row]]:
        """How much was set aside, by table and reason, and a sample of it."""
        values = {"restore_id": self.restore_id}
        with self.database.connection() as connection:
            counts = connection.execute(statement("restore/quarantine_counts"), values).fetchall()
            sample = connection.execute(statement("restore/quarantine_samples"), values | {"most": most}).fetchall()
        return {(row["entity"], row["reason"]): row["rows"] for row in counts}, sample

    def _held(self) -> dict[str, Any]:
        return {"restore_id": self.restore_id, "attempts": self.attempts}
