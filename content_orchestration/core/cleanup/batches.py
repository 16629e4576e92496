"""Works on a batch of files at once, and tells apart what failed: one file, or the store."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from content_orchestration.core.cleanup.context import OrphanContext
from content_orchestration.core.database import Row
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.sql import statement

_T = TypeVar("_T")


def each_file(
    context: OrphanContext, rows: Sequence[Row], work: Callable[[Row], _T], skipped: Counter[str]
) -> list[tuple[Row, _T]]:
    """What `work` made of each row. A file that fails is counted, noted in its row, and tried by the next pass.

    Raises `Transient` where no file of the batch came through: then it is the store, and going on is no use.
    """
    done: list[tuple[Row, _T]] = []
    down: list[Transient] = []
    with ThreadPoolExecutor(context.workers) as pool:
        futures = [(row, pool.submit(work, row)) for row in rows]
        for row, future in futures:
            try:
                done.append((row, future.result()))
            except (Permanent, Transient) as error:
                if isinstance(error, Transient):
                    down.append(error)
                skipped["store_error"] += 1
                _note(context, row, error)
    if down and not done:
        raise down[0]
    return done


def _note(context: OrphanContext, row: Row, error: Exception) -> None:
    values = {"quarantine_id": row["quarantine_id"], "error": str(error)[:500].replace("\x00", "")}
    with context.database.connection() as connection:
        connection.execute(statement("cleanup/quarantine_error"), values)
