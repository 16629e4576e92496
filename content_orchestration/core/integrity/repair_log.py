"""What repairs did, in `integrity_repairs`: one row an action, written before it is done and closed after it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from content_orchestration.core.database import Database
from content_orchestration.core.integrity.report_store import FoundDifference
from content_orchestration.core.sql import statement


class Outcome(StrEnum):
    """How an action ended. The value is what the table says."""

    REPAIRED = "repaired"
    ALREADY_CLEAN = "already_clean"
    REFUSED = "refused"
    NOT_REPAIRED = "not_repaired"
    UNKNOWN = "unknown"


@dataclass
class Action:
    """What is done about one difference. `outcome` is none until it is known."""

    found: FoundDifference
    action: str
    outcome: Outcome | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    repair_id: int | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Table and id: what the difference is about, whatever its kind."""
        return self.found.difference.table, self.found.difference.entity_id

    def end(self, outcome: Outcome, **detail: Any) -> None:
        """Say how it went; the first one to know is right."""
        if self.outcome is None:
            self.outcome = outcome
            self.detail |= detail

    def as_metadata(self) -> dict[str, Any]:
        """A row of the table of actions."""
        difference = self.found.difference
        return {
            "kind": str(difference.kind),
            "table": difference.table,
            "id": difference.entity_id,
            "action": self.action,
            "outcome": str(self.outcome or "planned"),
            "detail": json.dumps(self.detail, default=str) if self.detail else "",
        }


class RepairLog:
    """Writes the actions of one run."""

    def __init__(self, database: Database, report_id: int, run_id: str) -> None:
        self._database = database
        self._report_id = report_id
        self._run_id = run_id

    def close_abandoned(self) -> int:
        """End what an earlier run began and did not end; how many there were. Call it with the lock held."""
        with self._database.connection() as connection:
            return connection.execute(statement("integrity/repairs_abandoned")).rowcount

    def start(self, actions: Sequence[Action]) -> None:
        """Write the actions down, all or none."""
        with self._database.connection() as connection, connection.cursor() as cursor:
            for action in actions:
                row = cursor.execute(statement("integrity/repair_start"), self._values(action)).fetchone() or {}
                action.repair_id = int(row["repair_id"])

    def finish(self, actions: Sequence[Action]) -> None:
        """Write down how they went."""
        values = [
            {"repair_id": a.repair_id, "outcome": str(a.outcome), "detail": json.dumps(a.detail, default=str)}
            for a in actions
            if a.repair_id is not None and a.outcome is not None
        ]
        with self._database.connection() as connection, connection.cursor() as cursor:
            cursor.executemany(statement("integrity/repair_finish"), values)

    def _values(self, action: Action) -> Mapping[str, Any]:
        difference = action.found.difference
        return {
            "report_id": self._report_id,
            "position": action.found.position,
            "run_id": self._run_id,
            "kind": str(difference.kind),
            "table": difference.table,
            "entity_id": difference.entity_id,
            "tenant_id": difference.tenant_id,
            "action": action.action,
        }
