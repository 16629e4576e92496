"""Puts a load file into BigQuery exactly once, however often the run is cut off.

A job id alone does not do it: the service refuses the second job, but the emulator runs it (`TRAPS.md` 4), and after a
cut connection nobody knows whether the first arrived. So before a load is repeated, the table is asked what it holds.
"""

import random
from collections.abc import Callable
from typing import BinaryIO

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.failpoints import reach
from content_orchestration.core.replication.window import Part, Window, WindowLog
from content_orchestration.core.warehouse import Warehouse

_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0


class Loader:
    """Loads the parts of one window."""

    def __init__(self, warehouse: Warehouse, log: WindowLog, sleep: Callable[[float], None], attempts: int = 4) -> None:
        self._warehouse = warehouse
        self._log = log
        self._sleep = sleep
        self._attempts = attempts

    def job_id(self, window: Window, table: str, part: int, attempt: int) -> str:
        """Names sync, file and attempt: a failed job's id cannot be used again."""
        return f"content-{window.sync_id}-{table}-{part}-{window.attempts}-{attempt}"

    def load(
        self, window: Window, table: str, part: int, rows: int, file: BinaryIO, note: Callable[[str], None]
    ) -> None:
        """Load the file; `note` gets the job id before each attempt. Raises `Transient` when attempts run out."""
        for attempt in range(1, self._attempts + 1):
            job_id = self.job_id(window, table, part, attempt)
            note(job_id)
            reach("part_recorded")
            try:
                file.seek(0)
                self._warehouse.load_parquet(table, file, job_id)
                break
            except Transient as error:
                if self.landed(window, table, part, rows, job_id):
                    break
                if attempt == self._attempts:
                    raise
                self._sleep(_wait(attempt, error))
        reach("part_loaded")

    def landed(self, window: Window, table: str, part: int, rows: int, job_id: str) -> bool:
        """Whether the load of this file arrived, by what the table holds. Raises `Transient` if unknown."""
        self._warehouse.wait_for_job(job_id)
        held = self._warehouse.parts_loaded(table, window.sync_id, window.synced_at).get(part, 0)
        if held not in (0, rows):
            raise Permanent(
                f"{table} holds {held} rows of file {part} of sync {window.sync_id}, but that file has {rows}: "
                "another writer wrote there. Nothing more was loaded; docs/RUNBOOK.md, 'A sync that does not add up'"
            )
        return held == rows

    def recover(self, window: Window, part: Part) -> bool:
        """Settle a file of an earlier attempt: True if it landed, and noted as such."""
        if part.loaded:
            return True
        if self.landed(window, part.table, part.number, part.rows, part.job_id):
            self._log.loaded(window, part)
            return True
        return False


def _wait(attempt: int, error: Transient) -> float:
    """Seconds before the next attempt: what the server asked for, else exponential with full jitter."""
    if error.retry_after is not None:
        return error.retry_after
    return random.uniform(0, min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt))  # noqa: S311  (jitter, not a secret)
