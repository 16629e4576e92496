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

    def job_id(self, window: Window, table: str, part: int, job: int) -> str:
        """Names sync, file and job. A failed job's id cannot be used again; any other one must be.

        A load that was given up may still take effect: under its id the service then does it once.
        """
        return f"content-{window.sync_id}-{table}-{part}-{window.attempts}-{job}"

    def load(
        self, window: Window, table: str, part: int, rows: int, file: BinaryIO, note: Callable[[str], None]
    ) -> None:
        """Load the file; `note` gets the job id before each attempt. Raises `Transient` when attempts run out."""
        job = 1
        for attempt in range(1, self._attempts + 1):
            job_id = self.job_id(window, table, part, job)
            note(job_id)
            reach("part_recorded")
            try:
                file.seek(0)
                self._warehouse.load_parquet(table, file, job_id)
                break
            except Transient as error:
                failed = self._warehouse.wait_for_job(job_id)
                if self._holds(window, table, part, rows):
                    break
                if attempt == self._attempts:
                    raise
                job += failed
                self._sleep(wait_seconds(attempt, error))
        reach("part_loaded")

    def _holds(self, window: Window, table: str, part: int, rows: int) -> bool:
        """Whether the table holds this file. Raises `Transient` if unknown, `Permanent` if it holds something else."""
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
        self._warehouse.wait_for_job(part.job_id)
        if self._holds(window, part.table, part.number, part.rows):
            self._log.loaded(window, part)
            return True
        return False


def wait_seconds(attempt: int, error: Transient) -> float:
    """Seconds before the next attempt: what the server asked for, else exponential with full jitter."""
    if error.retry_after is not None:
        return error.retry_after
    return random.uniform(0, min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt))  # noqa: S311  (jitter, not a secret)
