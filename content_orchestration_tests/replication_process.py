"""Syncs in processes that may be killed."""

import json
import os
from typing import Any

from content_orchestration.core.replication.engine import Replicator
from content_orchestration_tests.forked import ForkServer, Outcome, clients, serve
from content_orchestration_tests.tiers import Tiers


class SyncProcesses(ForkServer):
    """Starts syncs of the same tiers in processes of their own."""

    def __init__(self) -> None:
        super().__init__(__name__)

    def sync(self, tiers: Tiers, *, failpoint: str = "", batch_size: int = 1000, max_bytes: int = 10**7) -> Outcome:
        return self.run(tiers, failpoint, batch_size=batch_size, max_bytes=max_bytes)


def _sync(wanted: dict[str, Any]) -> str:
    with clients(wanted) as own:
        replicator = Replicator(
            *own, batch_size=wanted["batch_size"], max_bytes=wanted["max_bytes"], run_id=f"pid {os.getpid()}"
        )
        return json.dumps(replicator.sync().as_metadata())


if __name__ == "__main__":
    serve(_sync)
