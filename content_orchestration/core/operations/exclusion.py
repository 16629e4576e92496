"""Keeps maintenance and backups out of the way of restores and drills, by the locks that those take themselves.

The locks are taken, not looked at: between a look and the work a restore could begin. They are taken a step at a time,
so that a restore that somebody needs at night waits for one step and not for the pass.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from content_orchestration.core.database import Database
from content_orchestration.core.errors import AlreadyRunning
from content_orchestration.core.restore.request import LIVE
from content_orchestration.core.sql import statement

MAINTENANCE = "database_maintenance"
"""Held by a whole pass of maintenance and by a whole backup: neither is to run beside another."""
RESTORE = f"restore into {LIVE}"


@contextmanager
def undisturbed(database: Database, drills: Database | None) -> Iterator[None]:
    """No restore into the live tables and no drill begins within. `drills` is None where no drill has a database.

    Raises `AlreadyRunning` where one runs, also a restore into a scratch schema of this database.
    """
    with ExitStack() as held:
        held.enter_context(database.advisory_lock(RESTORE))
        if drills is not None:
            # The drills' modules bring pyarrow, half a second that every import of the definitions would pay.
            from content_orchestration.core.drill.world import LOCK as DRILL

            held.enter_context(drills.advisory_lock(DRILL))
        with database.connection() as connection:
            rows = connection.execute(statement("operations/restores_held")).fetchall()
        if rows:
            raise AlreadyRunning(f"a restore into {rows[0]['target']} is running: maintenance waits for its end")
        yield
