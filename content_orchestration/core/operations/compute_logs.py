"""Removes what runs that are gone wrote to Dagster's folder of compute logs. Nothing outside of that folder, ever."""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from content_orchestration.core.database import Database
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.sql import statement

_AT_ONCE = 500
# A run's folder is made after its row, so a folder without a row is of a run that was deleted; a day besides, in case
# another instance writes to the same folder.
_YOUNG_SECONDS = 24 * 3600


@dataclass
class LogsReport:
    """Folders of runs that are gone and their bytes. In a dry run they would go."""

    folders: int = 0
    bytes: int = 0

    def as_metadata(self) -> dict[str, Any]:
        """For the run's metadata."""
        return {"log_folders_of_gone_runs": self.folders, "log_bytes_of_gone_runs": self.bytes}


def remove_logs(
    database: Database, folder: Path, *, dry_run: bool, clock: Callable[[], float] = time.time
) -> LogsReport:
    """Remove the folders of runs that Dagster's `database` does not know. Folders with other names stay.

    Links are neither followed nor removed. Raises `Transient` where a folder cannot be read or removed, and `Permanent`
    where `folder` is the root of the file system or no absolute path.
    """
    if not folder.is_absolute() or folder == Path(folder.anchor):
        raise Permanent(f"the folder of compute logs is {str(folder)!r}: it must be an absolute path below /")
    report = LogsReport()
    try:
        old = _old_folders(folder, clock() - _YOUNG_SECONDS)
        for start in range(0, len(old), _AT_ONCE):
            part = old[start : start + _AT_ONCE]
            known = _known(database, [path.name for path in part])
            for path in (each for each in part if each.name not in known):
                report.folders += 1
                report.bytes += _bytes(path)
                if not dry_run:
                    shutil.rmtree(path)
    except OSError as error:
        raise Transient(f"compute logs in {folder} cannot be cleared: {error}") from error
    return report


def _old_folders(folder: Path, before: float) -> list[Path]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(
            Path(entry.path)
            for entry in entries
            if _is_run(entry.name)
            and entry.is_dir(follow_symlinks=False)
            and entry.stat(follow_symlinks=False).st_mtime < before
        )


def _known(database: Database, names: Sequence[str]) -> set[str]:
    with database.connection() as connection:
        rows = connection.execute(statement("operations/dagster_runs_known"), {"runs": list(names)}).fetchall()
    return {row["run_id"] for row in rows}


def _is_run(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False


def _bytes(folder: Path) -> int:
    return sum(
        (Path(place) / name).lstat().st_size for place, _, names in os.walk(folder, followlinks=False) for name in names
    )
