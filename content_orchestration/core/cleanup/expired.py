"""Walks what is past its tenant's plan, tenant by tenant and the oldest first, in pages that begin behind the last.

What is past is decided in SQL by the database's clock; whoever removes one repeats the rule in the statement that does.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from content_orchestration.core.cleanup.holds import HELD, UnderHold
from content_orchestration.core.cleanup.model import MOST_SAMPLES, Cleaned
from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Transient
from content_orchestration.core.sql import statement

_TENANTS = 500
_PAGE = 200
# So many in a row that did not answer are an outage and no longer somebody who holds a lock.
_MOST_BUSY = 3
CHANGED = "changed_or_locked"
BUSY = "busy"
NEVER = "never_delete_tenant"


@dataclass(frozen=True)
class Source:
    """The statements of one kind of expired thing, and the column that they are ordered by."""

    tenants: str
    candidates: str
    ordered_by: str


def expired(
    database: Database, source: Source, kept_days: str, kept_tenants: Collection[UUID]
) -> Iterator[tuple[UUID, Row]]:
    """Each expired thing with its tenant; none of `kept_tenants`."""
    after: UUID | None = None
    while True:
        values: dict[str, Any] = {"after": after, "limit": _TENANTS, "kept_days": kept_days}
        with database.connection() as connection:
            tenants = [row["tenant_id"] for row in connection.execute(statement(source.tenants), values).fetchall()]
        for tenant_id in tenants:
            if tenant_id not in kept_tenants:
                for row in _of_tenant(database, source, kept_days, tenant_id):
                    yield tenant_id, row
        if len(tenants) < _TENANTS:
            return
        after = tenants[-1]


def _of_tenant(database: Database, source: Source, kept_days: str, tenant_id: UUID) -> Iterator[Row]:
    values: dict[str, Any] = {
        "tenant_id": tenant_id, "kept_days": kept_days, "after": None, "after_id": None, "limit": _PAGE,
    }  # fmt: skip
    while True:
        with database.connection() as connection:
            rows = connection.execute(statement(source.candidates), values).fetchall()
        yield from rows
        if len(rows) < _PAGE:
            return
        values |= {"after": rows[-1][source.ordered_by], "after_id": rows[-1]["id"]}


def kept_reason(held: Collection[UUID], never: Collection[UUID]) -> str:
    """Under which reason the candidates of tenants that are left out are counted."""
    if held and never:
        return f"{HELD}_or_{NEVER}"
    return HELD if held else NEVER


@dataclass
class Pass:
    """One pass over expired things: what it did with each, until its limit or an outage ends it."""

    kind: str
    dry_run: bool
    limit: int
    skipped: Counter[str] = field(default_factory=Counter)
    scanned: int = 0
    candidates: int = 0
    deleted: int = 0
    freed_bytes: int = 0
    samples: list[dict[str, Any]] = field(default_factory=list)
    busy: int = 0

    def go(self, found: Iterator[tuple[UUID, Row]], remove: Callable[[UUID, Row], int | None]) -> None:
        """Remove each with `remove`, which answers the bytes that it freed, or None where the thing changed.

        A dry run removes nothing. Raises `Transient` after three answers in a row that did not come.
        """
        for tenant_id, row in found:
            if self.scanned >= self.limit:
                return
            self.scanned += 1
            freed: int | None = int(row["size_bytes"])
            if not self.dry_run:
                freed = self._removed(tenant_id, row, remove)
            if freed is None:
                continue
            self.candidates += 1
            self.deleted += not self.dry_run
            self.freed_bytes += freed
            if len(self.samples) < MOST_SAMPLES:
                self.samples.append({"tenant_id": str(tenant_id), "id": str(row["id"]), "bytes": freed})

    def _removed(self, tenant_id: UUID, row: Row, remove: Callable[[UUID, Row], int | None]) -> int | None:
        try:
            freed = remove(tenant_id, row)
        except UnderHold:
            self.skipped[HELD] += 1
            return None
        except Transient:
            self.skipped[BUSY] += 1
            self.busy += 1
            if self.busy >= _MOST_BUSY:
                raise
            return None
        self.busy = 0
        if freed is None:
            self.skipped[CHANGED] += 1
        return freed

    def cleaned(self, *, left: int, oldest_seconds: float | None, seconds: float) -> Cleaned:
        """The outcome. `left` still wait after it."""
        return Cleaned(
            self.kind,
            self.dry_run,
            scanned=self.scanned,
            candidates=self.candidates,
            deleted=self.deleted,
            skipped=self.skipped,
            freed_bytes=self.freed_bytes,
            oldest_seconds=oldest_seconds,
            left=left,
            samples=self.samples,
            seconds=seconds,
        )
