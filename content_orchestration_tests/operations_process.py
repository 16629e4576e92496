"""A backup in a process that may be killed at any step."""

from pathlib import Path
from typing import Any

from content_orchestration.core.operations.backup import Backups
from content_orchestration.resources.backup_store import BackupFolder
from content_orchestration.resources.postgres_maintenance import ScratchPostgres
from content_orchestration.resources.postgres_programs import programs_for
from content_orchestration_tests.forked import clients, serve


def work(wanted: dict[str, Any]) -> str:
    """One backup of the tiers' database into the folder that the test named."""
    with clients(wanted) as made:
        report = Backups(
            made.database, None, url=wanted["url"], store=BackupFolder(Path(wanted["folder"])),
            programs=programs_for(18, None), scratch=ScratchPostgres(wanted["url"]), keep=1, keep_days=1,
            run_id="child",
        ).take()  # fmt: skip
    return str(report.verified)


if __name__ == "__main__":
    serve(work)
