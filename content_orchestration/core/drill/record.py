"""What is kept of drills, in `restore_drills` of the live database: the one thing of it that a drill touches."""

import json
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from content_orchestration.core.database import Database
from content_orchestration.core.drill.result import DrillResult
from content_orchestration.core.errors import Permanent
from content_orchestration.core.sql import statement


@dataclass(frozen=True)
class PastDrill:
    """A drill as it is on record. `age_seconds` counts from its start, by the server's clock."""

    drill_id: UUID
    scenario: str
    started_at: datetime
    finished_at: datetime | None
    detection_seconds: float | None
    rows_lost: int | None
    rpo_seconds: float | None
    rto_seconds: float | None
    verified: bool
    run_id: str
    detected_by: str | None
    error: str | None
    items: int | None
    age_seconds: float


class DrillRecord:
    """Writes and reads `restore_drills`. A role that may do no more than that is enough."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, scenario: str, items: int, run_id: str) -> UUID:
        """Write down that a drill begins, and return its id. Raises `Transient` where the record cannot be reached."""
        values = {"scenario": scenario, "run_id": run_id, "detail": json.dumps({"items": items})}
        with self._database.connection() as connection:
            row = connection.execute(statement("drill/record_start"), values).fetchone() or {}
        drill_id: UUID = row["drill_id"]
        return drill_id

    def finish(self, drill_id: UUID, result: DrillResult) -> None:
        """Write down what it measured. Raises `Permanent` where it is on record as finished already, or not at all."""
        values = {
            "drill_id": drill_id,
            "detection_seconds": result.detection_seconds,
            "rows_lost": result.rows_lost,
            "rpo_seconds": result.rpo_seconds,
            "rto_seconds": result.rto_seconds,
            "verified": result.verified,
            "detail": json.dumps(result.detail(), default=str),
        }
        with self._database.connection() as connection:
            if connection.execute(statement("drill/record_finish"), values).rowcount != 1:
                raise Permanent(f"drill {drill_id} is not on record as running: somebody removed or finished its row")

    def recent(self, most: int) -> list[PastDrill]:
        """At most the last `most` drills of each scenario, newest first."""
        with self._database.connection() as connection:
            rows = connection.execute(statement("drill/recent"), {"most": most}).fetchall()
        return [PastDrill(**row) for row in rows]
