"""Makes replication go on rightly after a restore: its cursor belongs to this cluster, its sync ids go on above the
history's, and keys that only BigQuery has are looked for.

In a new cluster transaction ids start again, and a clock that is behind would give sync ids under which older history
wins. Called while replication's lock is held.
"""

from collections.abc import Sequence

from content_orchestration.core.database import Database
from content_orchestration.core.replication.tables import Entity
from content_orchestration.core.sql import statement


def needed(database: Database, greatest_sync_id: int | None) -> str | None:
    """What has to be done to the cursor, in words; None where it fits. Changes nothing."""
    with database.connection() as connection:
        cluster = connection.execute(statement("replication/cluster")).fetchone() or {}
        cursor = connection.execute(statement("replication/cursor_read")).fetchone()
    if cursor is None:
        return "replication begins in this database, its sync ids above those of the history"
    if cursor["system_identifier"] != cluster["system_identifier"]:
        return (
            f"replication's cursor moves from cluster {cursor['system_identifier']} to this one, "
            f"{cluster['system_identifier']}; windows that were open there are abandoned"
        )
    if (greatest_sync_id or 0) > cursor["last_sync_id"]:
        return "replication's sync ids go on above those of the history"
    return None


def adopt(database: Database, greatest_sync_id: int | None) -> None:
    """Do what `needed` said, in one transaction. Doing it again changes nothing."""
    with database.connection() as connection:
        cluster = connection.execute(statement("replication/cluster")).fetchone() or {}
        connection.execute(statement("replication/cursor_create"), cluster)
        cursor = connection.execute(statement("replication/cursor_read")).fetchone() or {}
        if cursor["system_identifier"] != cluster["system_identifier"]:
            connection.execute(statement("replication/abandon_windows"))
            connection.execute(statement("replication/fresh_start"), cluster)
        connection.execute(statement("restore/raise_sync_id"), {"greatest": greatest_sync_id or 0})


def ask_for_keys(database: Database, entities: Sequence[Entity]) -> None:
    """Have the next sync compare keys, as after a TRUNCATE: what only BigQuery shows is then noted as gone."""
    with database.connection() as connection, connection.cursor() as cursor:
        cursor.executemany(statement("restore/ask_for_keys"), [{"entity": entity.name} for entity in entities])
