"""The record of backups in PostgreSQL, and the manifest beside each dump: by that it is restored without the record."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Permanent
from content_orchestration.core.operations.contents import Contents
from content_orchestration.core.sql import statement

MANIFEST = ".json"


@dataclass(frozen=True)
class Stored:
    """A dump in its store: bytes, SHA-256, what it holds, the server's version, seconds that it took."""

    size_bytes: int
    sha256: str
    contents: Contents
    server_version: str
    dump_seconds: float

    def manifest(self, key: str, started_at: datetime) -> bytes:
        """The manifest as JSON."""
        told = {
            "dump": key, "started_at": started_at.isoformat(), "size_bytes": self.size_bytes, "sha256": self.sha256,
            "server_version": self.server_version, "dump_seconds": self.dump_seconds,
            "contents": self.contents.as_json(),
        }  # fmt: skip
        return json.dumps(told, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Stored":
        """Of a manifest, or of a row of `database_backups`."""
        return cls(
            int(found["size_bytes"]), found["sha256"], Contents.from_json(found["contents"]), found["server_version"],
            float(found["dump_seconds"]),
        )  # fmt: skip


class BackupRecords:
    """The table `database_backups`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, key: str, location: str, run_id: str) -> str:
        """Write a backup down before it begins; its id."""
        return str(
            self._one("operations/backup_start", {"key": key, "location": location, "run_id": run_id})["backup_id"]
        )

    def stored(self, backup_id: str, stored: Stored) -> None:
        """The dump is whole in its store."""
        values = {
            "backup_id": backup_id, "size_bytes": stored.size_bytes, "sha256": stored.sha256,
            "contents": json.dumps(stored.contents.as_json()), "server_version": stored.server_version,
            "dump_seconds": stored.dump_seconds,
        }  # fmt: skip
        self._do("operations/backup_stored", values)

    def verified(self, backup_id: str, restore_seconds: float, compare_seconds: float) -> None:
        """It was restored and compared equal."""
        values = {"backup_id": backup_id, "restore_seconds": restore_seconds, "compare_seconds": compare_seconds}
        self._do("operations/backup_verified", values)

    def failed(self, backup_id: str, failure: str) -> None:
        """It cannot be relied on."""
        self._do("operations/backup_failed", {"backup_id": backup_id, "failure": failure})

    def in_doubt(self, backup_id: str, failure: str) -> None:
        """It could not be checked."""
        self._do("operations/backup_doubt", {"backup_id": backup_id, "failure": failure})

    def removed(self, backup_id: str) -> None:
        """Its object is gone."""
        self._do("operations/backup_removed", {"backup_id": backup_id})

    def unfinished(self) -> list[Row]:
        """Backups that began and were never stored: id and key."""
        return self._rows("operations/backups_open", {})

    def old(self, prefix: str, keep: int, days: int) -> list[Row]:
        """Backups of this database that may go: id and key, the oldest first."""
        return self._rows("operations/backups_old", {"prefix": f"{prefix}%", "keep": keep, "days": days})

    def read(self, backup_id: str) -> Row:
        """One backup. Raises `Permanent` where there is none of this id, or where it was never stored."""
        rows = self._rows("operations/backup_read", {"backup_id": backup_id})
        if not rows or rows[0]["sha256"] is None or rows[0]["state"] == "removed":
            state = rows[0]["state"] if rows else "not known"
            raise Permanent(
                f"backup_id is {backup_id!r}, which is {state}: choose one of the table database_backups whose state "
                "is stored, verified or failed and that has a hash"
            )
        return rows[0]

    def _one(self, name: str, values: Mapping[str, Any]) -> Row:
        return self._rows(name, values)[0]

    def _rows(self, name: str, values: Mapping[str, Any]) -> list[Row]:
        with self._database.connection() as connection:
            return connection.execute(statement(name), values).fetchall()

    def _do(self, name: str, values: Mapping[str, Any]) -> None:
        with self._database.connection() as connection:
            connection.execute(statement(name), values)


def last_verified(database: Database) -> Row | None:
    """The newest dump that was proven to restore: id, key, moments, bytes, `age_days` since it was taken; or None."""
    with database.connection() as connection:
        return connection.execute(statement("operations/backup_last_verified")).fetchone()


def recent(database: Database) -> list[Row]:
    """Up to 100 backups that were not removed, the newest first."""
    with database.connection() as connection:
        return connection.execute(statement("operations/backups_recent")).fetchall()
