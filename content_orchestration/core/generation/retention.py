"""Moves what ended into the history and drops days of it that are too old. The steps are revision 0008's."""

from dataclasses import dataclass
from typing import Any

from content_orchestration.core.database import Database
from content_orchestration.core.errors import Permanent
from content_orchestration.core.quota.at_once import at_once, one

# Items a transaction: about a tenth of a second, so that nobody waits for it.
STEP = 5_000


@dataclass(frozen=True)
class Cleaned:
    """What one clean-up moved and dropped."""

    moved_jobs: int
    moved_attempts: int
    dropped_partitions: int

    def as_metadata(self) -> dict[str, Any]:
        """For an asset's metadata."""
        return {
            "moved_jobs": self.moved_jobs,
            "moved_attempts": self.moved_attempts,
            "dropped_partitions": self.dropped_partitions,
        }


def clean_up(database: Database, history_days: int, step: int = STEP) -> Cleaned:
    """Move items that ended more than 24 hours ago, `step` a transaction, and drop days past `history_days`.

    Only items whose batch is closed move. Raises `Permanent` where `history_days` is less than 2.
    """
    if history_days < 2:
        raise Permanent(
            f"history_days is {history_days}: it must be at least 2, or what moves in would be dropped at once"
        )
    jobs = attempts = dropped = 0
    while True:
        with at_once(database) as connection:
            row = one(connection, "generation/cleanup", {"history_days": history_days, "most": step})
        jobs += row["moved_jobs"]
        attempts += row["moved_attempts"]
        dropped += row["dropped_partitions"]
        if row["moved_jobs"] < step:
            return Cleaned(jobs, attempts, dropped)
