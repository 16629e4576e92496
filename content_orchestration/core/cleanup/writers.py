"""Waits until every transaction that was writing assets at a moment has ended, without making anybody wait.

A save that began before its render's row was deleted has its lock on the table of assets already, and is waited for:
so it is seen by the last look at the file, whichever of both woke up first.
"""

import time
from collections.abc import Callable

from content_orchestration.core.database import Database
from content_orchestration.core.sql import statement

PATIENCE_SECONDS = 5.0
_STEP_SECONDS = 0.01


def writers_ended(
    database: Database,
    *,
    patience: float = PATIENCE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Whether all that wrote to `user_assets` when this was called have ended; False after `patience` seconds."""
    end = clock() + patience
    waited_for: set[str] | None = None
    while True:
        with database.connection() as connection:
            rows = connection.execute(statement("cleanup/asset_writers")).fetchall()
        writing = {row["writer"] for row in rows}
        waited_for = writing if waited_for is None else waited_for & writing
        if not waited_for:
            return True
        if clock() >= end:
            return False
        sleep(_STEP_SECONDS)
