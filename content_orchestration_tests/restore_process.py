"""Restores in processes that may be killed."""

import json
import os
from typing import Any

from content_orchestration.core.restore.engine import Restorer
from content_orchestration.core.restore.request import RestoreRequest
from content_orchestration_tests.forked import ForkServer, Outcome, clients, serve
from content_orchestration_tests.tiers import Tiers


class RestoreProcesses(ForkServer):
    """Starts restores of everything into the live tables, in processes of their own."""

    def __init__(self) -> None:
        super().__init__(__name__)

    def restore(self, tiers: Tiers, as_of: int, plan_hash: str, *, chunk_bytes: int, failpoint: str = "") -> Outcome:
        """One restore by one worker, so that failpoints are passed in order."""
        return self.run(tiers, failpoint, as_of=as_of, plan_hash=plan_hash, chunk_bytes=chunk_bytes)


def _restore(wanted: dict[str, Any]) -> str:
    with clients(wanted) as own:
        restorer = Restorer(*own, run_id=f"pid {os.getpid()}", workers=1, chunk_bytes=wanted["chunk_bytes"])
        return json.dumps(restorer.run(RestoreRequest(as_of=wanted["as_of"]), wanted["plan_hash"]).as_metadata())


if __name__ == "__main__":
    serve(_restore)
