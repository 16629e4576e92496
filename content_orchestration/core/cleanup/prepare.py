"""What a scan needs before it can look: indexes on the platform's tables, triggers in place, old renders noted once.

Both indexes are built without blocking anybody who writes, and a build that was killed is begun again.
"""

from dataclasses import dataclass
from uuid import UUID

from content_orchestration.core.cleanup.guards import Refused
from content_orchestration.core.database import Database
from content_orchestration.core.failpoints import reach
from content_orchestration.core.sql import statement

FIRST_PAGE = 20_000
"""Renders that one transaction of the first scan looks at: about 0.2 s."""
ROLLING_PAGE = 2_000
"""Renders that every later scan compares, in turn: what triggers did not see is found when its turn comes."""
_FIRST = UUID(int=0)
_SEED = "seed"
_ROLLING = "rolling"
_BUILDING = "orphan_indexes"
_NOTES = 10_000
_INDEXES = ("user_assets_content_render", "render_jobs_content_file")


@dataclass(frozen=True)
class Noted:
    """How many renders were compared, and how many of them were candidates that nobody had noted."""

    compared: int = 0
    added: int = 0


def ensure_indexes(database: Database) -> list[str]:
    """Build the indexes that are missing or broken; their names. A large table takes minutes, and nobody waits."""
    built = []
    for name in _INDEXES:
        with database.connection() as connection:
            row = connection.execute(statement("cleanup/index_state"), {"name": name}).fetchone()
        if row is not None and row["valid"]:
            continue
        with database.advisory_lock(_BUILDING), database.connection() as connection:
            # CONCURRENTLY works outside of transactions only.
            connection.autocommit = True
            try:
                connection.execute(statement("cleanup/timeout_off"))
                if row is not None:
                    connection.execute(statement(f"cleanup/index_drop_{name}"))
                reach("orphan_index")
                connection.execute(statement(f"cleanup/index_{name}"))
                # Without statistics of the expression the planner expects thousands of rows for each.
                connection.execute(statement(f"cleanup/analyze_{name}"))
                built.append(name)
            finally:
                connection.execute(statement("cleanup/timeout_back"))
                connection.autocommit = False
    return built


def check_triggers(database: Database) -> None:
    """Raise `Refused` where a trigger is missing or switched off: a save would not be seen by a delete beside it."""
    with database.connection() as connection:
        rows = connection.execute(statement("cleanup/triggers_missing")).fetchall()
    if rows:
        named = ", ".join(f"{row['owner']}.{row['name']}" for row in rows)
        raise Refused(
            "triggers",
            f"{named} is missing or disabled, so saves are not seen: run SELECT attach_cleanup_triggers() as the owner "
            "of those tables, or enable them",
        )


def note_old_renders(database: Database) -> Noted:
    """Note the candidates that were there before the triggers, once; a killed scan goes on where it was."""
    compared = added = 0
    while True:
        with database.connection() as connection:
            known = connection.execute(statement("cleanup/memory_read"), {"name": _SEED}).fetchone()
            if known is not None and known["finished"]:
                return Noted(compared, added)
            connection.execute(statement("cleanup/by_index"))
            page = connection.execute(
                statement("cleanup/orphan_note"),
                {"first": known["position"] if known else _FIRST, "page": FIRST_PAGE},
            ).fetchone() or {}  # fmt: skip
            position = page["next"]
            connection.execute(
                statement("cleanup/memory_write"),
                {"name": _SEED, "counted": 0, "position": position, "finished": position is None},
            )
        compared += page["compared"]
        added += page["added"]
        reach("orphan_seeded")


def take_notes(database: Database) -> int:
    """Make candidates of what triggers noted since the last time: renders that changed, or were saved no more."""
    taken = 0
    while True:
        with database.connection() as connection:
            row = connection.execute(statement("cleanup/notes_take"), {"most": _NOTES}).fetchone() or {}
        if not row["notes"]:
            return taken
        taken += int(row["notes"])
        reach("orphan_notes_taken")


def note_in_turn(database: Database, page: int = ROLLING_PAGE) -> Noted:
    """Compare the next renders of all, and begin again behind the last one."""
    with database.connection() as connection:
        known = connection.execute(statement("cleanup/memory_read"), {"name": _ROLLING}).fetchone()
        first = (known["position"] if known else None) or _FIRST
        connection.execute(statement("cleanup/by_index"))
        row = connection.execute(statement("cleanup/orphan_note"), {"first": first, "page": page}).fetchone() or {}
        values = {"name": _ROLLING, "counted": 0, "position": row["next"], "finished": False}
        connection.execute(statement("cleanup/memory_write"), values)
    return Noted(row["compared"], row["added"])
