"""Passes of cleanup in processes that may be killed at any step; `python -m` of it forks one a line."""

import json
import os
from pathlib import Path
from typing import Any

from content_orchestration.core.cleanup import orphans
from content_orchestration.core.cleanup.undo import undo
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.render_store import RenderBuckets
from content_orchestration_tests.cleanup_world import NOW_RULES, PLACES
from content_orchestration_tests.forked import serve


def _work(wanted: dict[str, Any]) -> str:
    os.environ.update(wanted["environment"])
    with PostgresClient(wanted["url"]) as database:
        context = orphans.OrphanContext(
            database, RenderBuckets(Path(wanted["folder"]).as_uri()), PLACES, NOW_RULES, workers=1
        )
        for step in wanted["steps"]:
            if step == "undo":
                undo(context, acting_run="undo", dry_run=False, run_id=wanted["run"])
            elif step == "bring_back":
                orphans.bring_back(context, run_id=wanted["run"])
            else:
                getattr(orphans, step)(context, run_id=wanted["run"], dry_run=False)
    return json.dumps("done")


if __name__ == "__main__":
    serve(_work)
