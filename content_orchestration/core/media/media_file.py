"""A stored file as the steps after ingest see it: its hash and key, the live rows that name it, how far it has come."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit
from uuid import UUID

from content_orchestration.core.database import Database, Row
from content_orchestration.core.sql import statement

# A step that failed and may be tried again waits so long, doubling with each attempt.
FIRST_WAIT = timedelta(minutes=5)
LONGEST_WAIT = timedelta(hours=6)


@dataclass(frozen=True)
class MediaFile:
    """A file of a tenant, however many rows name it. The first row is the oldest and gives the name."""

    tenant_id: UUID
    sha256: str
    key: str
    size_bytes: int
    rows: Sequence[Row]
    made_with: str | None
    description: str
    described_at: datetime | None
    attempts: int
    given_up: str | None
    """Why it is never tried again by itself; None where it may be."""

    @property
    def name(self) -> str:
        """What the file is called in the address that it came from."""
        return file_name(str(self.rows[0]["name"]))

    @property
    def assets(self) -> list[UUID]:
        """The rows of media_assets that name it."""
        return [row["id"] for row in self.rows]


def read_media_file(database: Database, tenant_id: UUID, sha256: str) -> MediaFile | None:
    """The file and its state; None where no live row names it or no stored object has its bytes."""
    values = {"tenant_id": tenant_id, "sha256": sha256}
    with database.connection() as connection:
        rows = connection.execute(statement("media/process_rows"), values).fetchall()
        state = connection.execute(statement("media/process_read"), values).fetchone()
    if not rows:
        return None
    given_up = state is not None and state["made_with"] is None and state["retry_at"] is None
    return MediaFile(
        tenant_id=tenant_id,
        sha256=sha256,
        key=rows[0]["key"],
        size_bytes=rows[0]["size_bytes"],
        rows=rows,
        made_with=state["made_with"] if state else None,
        description=state["description"] if state else "{}",
        described_at=state["described_at"] if state else None,
        attempts=state["attempts"] if state else 0,
        given_up=state["failed_reason"] if state and given_up else None,
    )


def file_name(address: str) -> str:
    """The last part of an address's path, decoded, or of a name; `file` where it has none."""
    path = unquote(urlsplit(address).path) if "://" in address else address
    return PurePosixPath(path).name or "file"


def wait_after(attempts: int) -> timedelta:
    """How long to wait after so many attempts: 5 minutes, doubling, at most 6 hours."""
    doublings = min(attempts, 20)
    return min(LONGEST_WAIT, FIRST_WAIT * (1 << doublings))
