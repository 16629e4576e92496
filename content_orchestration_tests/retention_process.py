"""Retention in processes that may be killed. `python -m` of it forks one a line."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from content_orchestration.core.cleanup.horizons import RetentionRules
from content_orchestration.core.cleanup.leftovers import sweep
from content_orchestration.core.cleanup.retention import purge_expired
from content_orchestration.core.cleanup.versions import purge_superseded
from content_orchestration.resources.object_store import TenantStores
from content_orchestration_tests.forked import ForkServer, Outcome, clients, serve
from content_orchestration_tests.tiers import Tiers


class RetentionProcesses(ForkServer):
    """Starts whole passes over the same tiers in processes of their own."""

    def __init__(self) -> None:
        super().__init__(__name__)

    def clean(self, tiers: Tiers, folder: Path, failpoint: str = "") -> Outcome:
        return self.run(tiers, failpoint, stores=(folder / "media").as_uri())


def clean_all(database: Any, documents: Any, stores: Any) -> list[dict[str, Any]]:
    """Every part of retention once, files without a grace period."""
    rules = RetentionRules(file_grace=timedelta(0))
    done = [
        purge_expired(database, documents, run_id="killed", dry_run=False, limit=100, rules=rules),
        purge_superseded(database, documents, run_id="killed", dry_run=False, limit=100, rules=rules),
        *sweep(
            database, documents, stores, run_id="killed", dry_run=False, limit=100, history_days=90, rules=rules,
            quarantine=timedelta(0),
        ),
    ]  # fmt: skip
    return [{"kind": each.kind, "deleted": each.deleted, "skipped": dict(each.skipped)} for each in done]


def _clean(wanted: dict[str, Any]) -> str:
    with clients(wanted) as own:
        return json.dumps(clean_all(own.database, own.store, TenantStores(wanted["stores"])))


if __name__ == "__main__":
    serve(_clean)
