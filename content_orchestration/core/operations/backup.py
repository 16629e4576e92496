"""Full dumps: taken of one snapshot, streamed to their store, restored into a scratch database and compared.

A backup that was not restored is none: only what came back equal is called verified. Names and leftovers of scratch
databases are `backup_scratch.py`'s, what "equal" means is `contents.py`'s, the table is `backup_record.py`'s.
"""

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.failpoints import reach
from content_orchestration.core.operations.backup_model import BackupStore, DamagedBackup, Programs, ScratchServer
from content_orchestration.core.operations.backup_record import MANIFEST, BackupRecords, Stored
from content_orchestration.core.operations.backup_scratch import drop_leftovers, mark_of, scratch_database
from content_orchestration.core.operations.contents import read_contents, shown
from content_orchestration.core.operations.exclusion import MAINTENANCE, undisturbed
from content_orchestration.core.replication.snapshot_stream import exported_snapshot
from content_orchestration.core.sql import statement


@dataclass
class BackupReport:
    """One backup: what was stored, how long each part took (seconds), and what was tidied up besides."""

    backup_id: str
    key: str
    location: str
    stored: Stored
    restore_seconds: float = 0.0
    compare_seconds: float = 0.0
    verified: bool = False
    removed: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)

    def as_metadata(self) -> dict[str, Any]:
        """For the asset's metadata."""
        return {
            "backup_id": self.backup_id,
            "object": f"{self.location}/{self.key}",
            "verified": self.verified,
            "size_bytes": self.stored.size_bytes,
            "sha256": self.stored.sha256,
            "tables_compared": len(self.stored.contents.tables),
            "rows_compared": self.stored.contents.rows,
            "server_version": self.stored.server_version,
            "dump_seconds": round(self.stored.dump_seconds, 3),
            "restore_seconds": round(self.restore_seconds, 3),
            "compare_seconds": round(self.compare_seconds, 3),
            "old_backups_removed": self.removed,
            "leftovers_dropped": self.leftovers,
        }


class Backups:
    """Backups of one database. `drills` is where drills take their lock, None where there is no such database."""

    def __init__(
        self,
        database: Database,
        drills: Database | None,
        *,
        url: str,
        store: BackupStore,
        programs: Programs,
        scratch: ScratchServer,
        keep: int,
        keep_days: int,
        run_id: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._drills = drills
        self._url = url
        self._store = store
        self._programs = programs
        self._scratch = scratch
        self._keep = keep
        self._keep_days = keep_days
        self._run_id = run_id
        self._clock = clock
        self._records = BackupRecords(database)

    def take(self) -> BackupReport:
        """Dump, store, restore, compare, and remove what is too old.

        Raises `AlreadyRunning` while maintenance, a restore or a drill runs; `DamagedBackup` where what came back is
        not what was dumped; `Transient` where a server or the store is away. The record says how far it came.
        """
        with self._database.advisory_lock(MAINTENANCE):
            mark = mark_of(self._database)
            self._settle_unfinished()
            leftovers = drop_leftovers(self._scratch, mark, self._now())
            report = self._dump(mark)
            report.leftovers = leftovers
            self._verify(report, mark)
            report.removed = self._remove_old(mark)
        return report

    def verify(self, backup_id: str) -> BackupReport:
        """Restore a backup that is stored, and compare it with what was dumped. Raises as `take` does."""
        row = self._records.read(backup_id)
        with self._database.advisory_lock(MAINTENANCE):
            mark = mark_of(self._database)
            report = BackupReport(backup_id, row["key"], row["location"], Stored.from_json(row))
            report.leftovers = drop_leftovers(self._scratch, mark, self._now())
            self._verify(report, mark)
        return report

    def _dump(self, mark: str) -> BackupReport:
        now = self._now()
        key = f"{mark}/{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}.dump"
        backup_id = self._records.start(key, self._store.location, self._run_id)
        reach("backup_started")
        try:
            stored = self._stored(key)
            self._store.write(key + MANIFEST, [stored.manifest(key, now)])
        except (Permanent, Transient) as error:
            self._records.failed(backup_id, str(error))
            raise
        reach("backup_unrecorded")
        self._records.stored(backup_id, stored)
        reach("backup_stored")
        return BackupReport(backup_id, key, self._store.location, stored)

    def _stored(self, key: str) -> Stored:
        with ExitStack() as held:
            # No restore is half done in this snapshot; what begins after it is not in it.
            with undisturbed(self._database, self._drills):
                snapshot = held.enter_context(exported_snapshot(self._database))
            contents = read_contents(snapshot.connection)
            version = snapshot.connection.execute(statement("operations/server_version")).fetchone() or {}
            started = self._clock()
            passing = _Passing("backup_half_dumped")
            with closing(self._programs.dump(self._url, snapshot.id)) as chunks:
                info = self._store.write(key, passing.through(chunks))
            seconds = self._clock() - started
        if info.size_bytes != passing.size_bytes:
            raise DamagedBackup(
                f"{key} has {info.size_bytes} bytes in {self._store.location}, and {passing.size_bytes} were sent: "
                "nothing relies on it; take another backup"
            )
        return Stored(passing.size_bytes, passing.sha256, contents, version["text"], seconds)

    def _verify(self, report: BackupReport, mark: str) -> None:
        try:
            self._compare(report, mark)
        except DamagedBackup as error:
            self._records.failed(report.backup_id, str(error))
            raise
        except (Permanent, Transient) as error:
            self._records.in_doubt(report.backup_id, f"unknown: the check could not look. {error}")
            raise
        report.verified = True
        self._records.verified(report.backup_id, report.restore_seconds, report.compare_seconds)

    def _compare(self, report: BackupReport, mark: str) -> None:
        whole = _Passing()
        for _ in whole.through(self._store.read(report.key)):
            pass
        _require_same(report, whole, "before it was restored")
        self._require_roles()
        with scratch_database(self._scratch, mark, self._now()) as name:
            started = self._clock()
            passing = _Passing("backup_half_restored")
            self._programs.restore(self._scratch.url(name), passing.through(self._store.read(report.key)))
            report.restore_seconds = self._clock() - started
            _require_same(report, passing, "while it was restored")
            started = self._clock()
            with self._scratch.opened(name) as copy, copy.connection() as connection:
                connection.execute(statement("replication/repeatable_read"))
                found = report.stored.contents.differences(read_contents(connection))
            report.compare_seconds = self._clock() - started
        if found:
            raise DamagedBackup(
                f"{report.key} was restored and is not what was dumped: {shown(found)}. Do not rely on it; take "
                "another backup, and keep this one to find out why"
            )

    def _require_roles(self) -> None:
        with self._database.connection() as connection:
            wanted = [row["name"] for row in connection.execute(statement("operations/backup_roles")).fetchall()]
        with self._scratch.opened("postgres") as server, server.connection() as connection:
            rows = connection.execute(statement("operations/backup_roles_known"), {"names": wanted}).fetchall()
        lacking = sorted(set(wanted) - {row["name"] for row in rows})
        if lacking:
            raise Permanent(
                f"the server of DRILL_DATABASE_URL lacks the roles {', '.join(lacking)}, to which this database grants "
                "rights, so no dump can be restored there: CREATE ROLE them, NOLOGIN"
            )

    def _settle_unfinished(self) -> None:
        """What runs that are dead left: a dump with a manifest was stored whole, every other never was."""
        for row in self._records.unfinished():
            stored = self._manifest(row)
            if stored is None:
                self._records.failed(row["backup_id"], "its run ended before the dump was stored")
            else:
                self._records.stored(row["backup_id"], stored)

    def _manifest(self, row: Row) -> Stored | None:
        key = row["key"] + MANIFEST
        if self._store.head(key) is None:
            return None
        try:
            return Stored.from_json(json.loads(b"".join(self._store.read(key))))
        except (ValueError, KeyError, TypeError):
            return None

    def _remove_old(self, mark: str) -> list[str]:
        removed = []
        for row in self._records.old(f"{mark}/", self._keep, self._keep_days):
            self._store.delete(row["key"])
            self._store.delete(row["key"] + MANIFEST)
            self._records.removed(row["backup_id"])
            removed.append(row["key"])
        return removed

    def _now(self) -> datetime:
        with self._database.connection() as connection:
            now: datetime = (connection.execute(statement("operations/now")).fetchone() or {})["now"]
        return now


def _require_same(report: BackupReport, passing: "_Passing", when: str) -> None:
    if (passing.size_bytes, passing.sha256) != (report.stored.size_bytes, report.stored.sha256):
        raise DamagedBackup(
            f"{report.key} in {report.location} has {passing.size_bytes} bytes with SHA-256 {passing.sha256} {when}, "
            f"not {report.stored.size_bytes} with {report.stored.sha256}: it was cut or changed. Do not rely on it; "
            "take another backup"
        )


class _Passing:
    """Bytes on their way, counted and hashed."""

    def __init__(self, failpoint: str = "") -> None:
        self._hash = hashlib.sha256()
        self._failpoint = failpoint
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def through(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._hash.update(chunk)
            self.size_bytes += len(chunk)
            yield chunk
            if self._failpoint:
                reach(self._failpoint)
