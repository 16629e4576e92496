"""Compactions in processes that may be killed."""

import json
import os
from datetime import timedelta
from typing import Any

from content_orchestration.core.cleanup.compaction import compact
from content_orchestration_tests.forked import ForkServer, Outcome, clients, serve
from content_orchestration_tests.tiers import Tiers


class CompactionProcesses(ForkServer):
    """Starts compactions in processes of their own; `seconds` is how far back the history of each plan reaches."""

    def __init__(self) -> None:
        super().__init__(__name__)

    def compact(self, tiers: Tiers, seconds: dict[str, float], *, failpoint: str = "") -> Outcome:
        return self.run(tiers, failpoint, seconds=seconds)


def _compact(wanted: dict[str, Any]) -> str:
    kept = {plan: timedelta(seconds=seconds) for plan, seconds in wanted["seconds"].items()}
    with clients(wanted) as own:
        cleaned = compact(
            own.database, own.warehouse, run_id=f"pid {os.getpid()}", dry_run=False, limit=1000, max_bytes=10**12,
            period=lambda plan: kept.get(plan or "free"), lock_seconds=0.0,
        )  # fmt: skip
        return json.dumps(cleaned.as_metadata())


if __name__ == "__main__":
    serve(_compact)
