"""Batches worked in processes that may be killed, with the template provider."""

import json
import os
import signal
import threading
from datetime import timedelta
from typing import Any
from uuid import UUID

from content_orchestration.core.content.store import ContentStore
from content_orchestration.core.generation.fallback import Link, ProviderChain
from content_orchestration.core.generation.progress import Progress
from content_orchestration.core.generation.queue import GenerationQueue
from content_orchestration.core.generation.template import TemplateProvider
from content_orchestration.core.generation.work import BatchWork
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration_tests.forked import ForkServer, Outcome, clients, serve
from content_orchestration_tests.tiers import Tiers

LEASE_SECONDS = 1.0


class WorkProcesses(ForkServer):
    """Works batches of some tiers in processes of their own."""

    def __init__(self) -> None:
        super().__init__(__name__)

    def work(
        self, tiers: Tiers, batch: UUID, *, failpoint: str = "", kill_after: float = 0.0, interrupt: bool = False
    ) -> Outcome:
        """Work the batch; kill the process after so many seconds, or interrupt it when an item is done."""
        return self.run(tiers, failpoint, batch=str(batch), kill_after=kill_after, interrupt=interrupt)


def _work(wanted: dict[str, Any]) -> str:
    def tell(progress: Progress) -> None:
        if wanted["interrupt"] and progress.done:
            os.kill(os.getpid(), signal.SIGINT)

    if wanted["kill_after"]:
        timer = threading.Timer(wanted["kill_after"], os.kill, [os.getpid(), signal.SIGKILL])
        timer.daemon = True
        timer.start()
    with clients(wanted) as own:
        ledger = QuotaLedger(own.database)
        work = BatchWork(
            GenerationQueue(own.database, ledger, lease=timedelta(seconds=LEASE_SECONDS)),
            ContentStore(own.database, own.store, ledger),
            lambda tenant: ProviderChain([Link(TemplateProvider())]),
            UUID(wanted["batch"]),
            worker=f"pid {os.getpid()}",
        )
        return json.dumps(work.run(tell=tell).as_metadata())


if __name__ == "__main__":
    serve(_work)
