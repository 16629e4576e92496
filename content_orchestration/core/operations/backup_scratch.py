"""The scratch databases in which dumps are restored: their names, how they come and go, and what killed checks left."""

import hashlib
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from content_orchestration.core.database import Database
from content_orchestration.core.operations.backup_model import ScratchServer
from content_orchestration.core.sql import statement

_NAME = re.compile(r"content_backup_([0-9a-f]{8})_(\d{14})_[0-9a-f]{6}")
_OLD = timedelta(hours=24)


def mark_of(database: Database) -> str:
    """Eight digits that stand for this database of this cluster, whatever name led there: names begin with them."""
    with database.connection() as connection:
        row = connection.execute(statement("drill/identity")).fetchone() or {}
    return hashlib.sha256(f"{row['system_identifier']}/{row['database_oid']}".encode()).hexdigest()[:8]


@contextmanager
def scratch_database(server: ScratchServer, mark: str, now: datetime) -> Iterator[str]:
    """An empty database, dropped at the end whatever happened; its name."""
    name = f"content_backup_{mark}_{now:%Y%m%d%H%M%S}_{secrets.token_hex(3)}"
    try:
        server.create(name)
        yield name
    finally:
        server.drop(name)


def drop_leftovers(server: ScratchServer, mark: str, now: datetime) -> list[str]:
    """Drop what killed checks of this database left; their names. Call it while the lock of backups is held.

    One with somebody connected is left alone for 24 hours. Those of other databases are never touched.
    """
    dropped = []
    for row in server.databases():
        found = _NAME.fullmatch(row["name"])
        if found is None or found[1] != mark:
            continue
        age = now - datetime.strptime(found[2], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        if row["sessions"] == 0 or age > _OLD:
            server.drop(row["name"])
            dropped.append(row["name"])
    return dropped
