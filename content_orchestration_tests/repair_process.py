"""Repairs in processes that may be killed."""

import os
from typing import Any

from content_orchestration.core.integrity.repair import Repairer
from content_orchestration.core.integrity.survey import Sides
from content_orchestration.core.replication.engine import Replicator
from content_orchestration_tests.forked import ForkServer, Outcome, clients, serve
from content_orchestration_tests.repair_world import LIMITS
from content_orchestration_tests.tiers import Tiers


class RepairProcesses(ForkServer):
    """Starts repairs of the same tiers in processes of their own."""

    def __init__(self) -> None:
        super().__init__(__name__)

    def repair(self, tiers: Tiers, report_id: int, *, failpoint: str = "") -> Outcome:
        return self.run(tiers, failpoint, report_id=report_id)


def _repair(wanted: dict[str, Any]) -> str:
    with clients(wanted) as own:
        run_id = f"pid {os.getpid()}"

        def sync() -> None:
            Replicator(*own, batch_size=1000, max_bytes=10**7, run_id=run_id).sync()

        Repairer(Sides(*own), LIMITS, sync, run_id=run_id).repair(
            wanted["report_id"], kinds=[], max_repairs=1000, dry_run=False
        )
    return ""


if __name__ == "__main__":
    serve(_repair)
