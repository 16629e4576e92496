"""Does every stored file have its bytes and its hash? Originals and variants, read a share at a time.

Each file is read within a given time; where the walk stands is kept, and what was found wrong is looked at again by
each call until it is right or gone. Report only. Files without a row, variants without a source: `listing.py`.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

from content_orchestration.core.database import Database, Row
from content_orchestration.core.media.findings import FileReport, Finding
from content_orchestration.core.media.model import MediaStores, MissingObject
from content_orchestration.core.sql import statement

LOCK = "media_truth"
SCOPE = "media_files"

GONE = "deleted while the check ran"
MISSING = "file_missing"
DIFFERS = "file_differs"
NO_OBJECT = "row_without_object"

_GIB = 1024**3
# Files that a call reads in any case: a small store is read more often than it has to be.
LEAST_SHARE = 32
_PAGE = 500
# Findings that are looked at again by the next call; beyond them the next cycle finds the rest again.
_MOST_REMEMBERED = 1000


@dataclass
class _Progress:
    """The cycle: where it stands, since when, what it has read, and what it has found wrong."""

    cycle_started_at: datetime
    tenant_id: str = str(UUID(int=0))
    key: str = ""
    wrong: list[tuple[str, str]] = field(default_factory=list)
    files: int = 0
    bytes: int = 0

    @classmethod
    def read(cls, database: Database, now: datetime) -> Self:
        """The cycle that is under way; a new one with the findings of the last where that is complete."""
        with database.connection() as connection:
            row = connection.execute(statement("integrity/scrub_read"), {"scope": SCOPE}).fetchone()
        if row is None or row["cycle_started_at"] is None:
            return cls(now)
        position = json.loads(row["position"])
        wrong = [(tenant, key) for tenant, key in position["wrong"]]
        if row["cycle_completed_at"] is not None:
            return cls(now, wrong=wrong)
        return cls(row["cycle_started_at"], position["tenant_id"], position["key"], wrong, row["bodies"], row["bytes"])

    def write(self, database: Database, completed_at: datetime | None) -> None:
        kept = asdict(self)
        position = {name: kept[name] for name in ("tenant_id", "key", "wrong")}
        values = {
            "scope": SCOPE, "position": json.dumps(position), "cycle_started_at": self.cycle_started_at,
            "completed_at": completed_at, "bodies": self.files, "bytes": self.bytes,
        }  # fmt: skip
        with database.connection() as connection:
            connection.execute(statement("integrity/scrub_write"), values)


def scrub_files(
    database: Database,
    stores: MediaStores,
    *,
    share_of: timedelta,
    now: datetime,
    max_bytes: int = 4 * _GIB,
) -> FileReport:
    """Read the next files and compare them with their rows: so many that all are read within `share_of` of the start.

    max_bytes: what one call reads at most, by the sizes that rows name; one larger file still goes, alone.
    Raises `Transient` or `Permanent` where a store or PostgreSQL could not be read: the position does not move past
    what was not compared. Raises `AlreadyRunning` while another call is at it.
    """
    report = FileReport()
    with database.advisory_lock(LOCK):
        progress = _Progress.read(database, now)
        look = _Look(database, stores, report)
        wrong = look.again(progress.wrong)
        total, ahead = _count(database, progress)
        share = _share(total, total - ahead, (now - progress.cycle_started_at) / share_of)
        finished = False
        try:
            finished = _walk(look, progress, wrong, share, max_bytes)
        finally:
            progress.wrong = wrong[:_MOST_REMEMBERED]
            progress.write(database, now if finished else None)
        _rows_without_object(database, report)
    report.notes |= {
        "cycle_started_at": progress.cycle_started_at.isoformat(),
        "files_in_cycle": progress.files,
        "bytes_in_cycle": progress.bytes,
        "files_in_all": total,
    }
    return report


@dataclass
class _Look:
    """Reads files and says which are not as their rows say."""

    database: Database
    stores: MediaStores
    report: FileReport

    def again(self, known: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Look once more at what was wrong; those that still are."""
        still = []
        for tenant_id, key in known:
            row = self._row(UUID(tenant_id), key)
            if row is not None and not self.right(row):
                still.append((tenant_id, key))
        return still

    def right(self, row: Row) -> bool:
        """Whether the file is as its row says; a finding where it is not, and still is not at a second look."""
        self.report.attempted += 1
        if self._problem(row) is None:
            self.report.compared += 1
            return True
        again = self._row(row["tenant_id"], row["key"])
        problem = None if again is None else self._problem(again)
        if again is None:
            self.report.skip(GONE)
            return True
        self.report.compared += 1
        if problem is None:
            return True
        self.report.found(problem)
        return False

    def _problem(self, row: Row) -> Finding | None:
        tenant_id, key = str(row["tenant_id"]), row["key"]
        if row["state"] == "missing":
            return Finding(MISSING, tenant_id, key, "its object is known to be missing")
        digest, size = hashlib.sha256(), 0
        try:
            for chunk in self.stores.for_tenant(row["tenant_id"]).read(key):
                digest.update(chunk)
                size += len(chunk)
        except MissingObject as error:
            return Finding(MISSING, tenant_id, key, str(error))
        finally:
            self.report.bytes_read += size
        if (size, digest.hexdigest()) == (row["size_bytes"], row["sha256"]):
            return None
        return Finding(
            DIFFERS, tenant_id, key,
            f"{size} bytes with SHA-256 {digest.hexdigest()}; its row says {row['size_bytes']} with {row['sha256']}",
        )  # fmt: skip

    def _row(self, tenant_id: UUID, key: str) -> Row | None:
        values = {"tenant_id": tenant_id, "key": key}
        with self.database.connection() as connection:
            return connection.execute(statement("media/truth_file"), values).fetchone()


def _walk(look: _Look, progress: _Progress, wrong: list[tuple[str, str]], share: int, max_bytes: int) -> bool:
    """Read on from the position until the end or a bound; True at the end."""
    known = set(wrong)
    files = size = 0
    while True:
        most = min(_PAGE, share - files)
        values = {"tenant_id": progress.tenant_id, "key": progress.key, "most": most}
        with look.database.connection() as connection:
            rows = connection.execute(statement("media/truth_files"), values).fetchall()
        for row in rows:
            name = (str(row["tenant_id"]), row["key"])
            # What was wrong before has been looked at already.
            if name not in known and not look.right(row):
                wrong.append(name)
            progress.tenant_id, progress.key = name
            progress.files += 1
            progress.bytes += row["size_bytes"]
            files += 1
            size += row["size_bytes"]
            if files >= share or size >= max_bytes:
                return False
        if len(rows) < most:
            return True
        progress.wrong = wrong[:_MOST_REMEMBERED]
        progress.write(look.database, None)


def _count(database: Database, progress: _Progress) -> tuple[int, int]:
    values = {"tenant_id": progress.tenant_id, "key": progress.key}
    with database.connection() as connection:
        row = connection.execute(statement("media/truth_count"), values).fetchone()
    return (row["files"], row["ahead"]) if row else (0, 0)


def _share(total: int, done: int, elapsed: float) -> int:
    """Files to read by this moment for all to be read in time, less those that were; a small number in any case."""
    return max(LEAST_SHARE, math.ceil(total * min(1.0, elapsed)) - done)


def _rows_without_object(database: Database, report: FileReport) -> None:
    with database.connection() as connection:
        rows = connection.execute(statement("media/truth_rows"), {"most": 5}).fetchall()
    for number, row in enumerate(rows):
        detail = f"the row says stored, SHA-256 {row['sha256']}, and no object is known: materialize media_files"
        count = row["found"] - len(rows) + 1 if number == 0 else 1
        report.found(Finding(NO_OBJECT, str(row["tenant_id"]), str(row["id"]), detail), count)
