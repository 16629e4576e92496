"""A drill's world: three scratch tiers, filled, replicated, with a history of edits and deletes behind it.

What can happen to it is in `disasters.py`.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from content_orchestration.core.drill.content import (
    TENANTS,
    Batch,
    first_versions,
    item_id,
    next_versions,
    tenant_id,
    tenants,
)
from content_orchestration.core.drill.scratch import Scratch, clear, mark
from content_orchestration.core.drill.state import State, record_state
from content_orchestration.core.quota.usage import compute_usage
from content_orchestration.core.replication.engine import Replicator, SyncReport
from content_orchestration.core.schema.documents import ensure_collections
from content_orchestration.core.schema.platform import PLATFORM_COLUMNS
from content_orchestration.core.schema.postgres import upgrade
from content_orchestration.core.schema.warehouse import ensure_warehouse
from content_orchestration.core.sql import statement
from content_orchestration.core.warehouse import Warehouse

LOCK = "dr_drill"
_ROWS_AT_ONCE = 1000
_BATCH_SIZE = 100_000
_MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class World:
    """The scratch tiers while a drill works in them. `items` is how many were generated."""

    scratch: Scratch
    items: int
    run_id: str
    sleep: Callable[[float], None] = time.sleep

    def sync(self, warehouse: Warehouse | None = None) -> SyncReport:
        """One sync by the real engine, over another warehouse where one is given."""
        replicator = Replicator(
            self.scratch.database,
            self.scratch.store,
            warehouse or self.scratch.warehouse,
            batch_size=_BATCH_SIZE,
            max_bytes=_MAX_BYTES,
            run_id=self.run_id,
            sleep=self.sleep,
        )
        return replicator.sync()

    def state(self) -> State:
        """All that the world holds in PostgreSQL and ZeroDB."""
        return record_state(self.scratch.database, self.scratch.store)

    def tenant_ids(self) -> list[str]:
        """Its tenants."""
        return [str(tenant_id(number)) for number in range(TENANTS)]

    def execute(self, name: str, values: dict[str, Any] | None = None) -> int:
        """Run a statement of `sql/` in a transaction of its own; the number of rows that it touched."""
        with self.scratch.database.connection() as connection:
            return connection.execute(statement(name), values).rowcount

    def write(self, batch: Batch) -> None:
        """Bodies and records first, then the rows that point to them."""
        self.put(batch)
        for name, rows in (("content", batch.content), ("versions", batch.versions), ("media", batch.media)):
            self.insert(name, rows)

    def put(self, batch: Batch) -> None:
        """Write the documents of a batch."""
        for collection, documents in batch.documents.items():
            self.scratch.store.put_many(collection, documents)

    def insert(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """Insert rows with `sql/drill/insert_<name>.sql`."""
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            self.execute(f"drill/insert_{name}", {"rows": json.dumps(rows[start : start + _ROWS_AT_ONCE])})

    def build_platform(self) -> None:
        """The platform's tables with their tenants: in life the platform brings them back, not this project."""
        for table in PLATFORM_COLUMNS:
            self.execute(f"platform/create_{table}")
        self.insert("tenants", tenants())


@contextmanager
def built_world(
    scratch: Scratch, items: int, run_id: str, sleep: Callable[[float], None] = time.sleep
) -> Iterator[World]:
    """A world to destroy; whatever an earlier drill left is removed before, and all of this one afterwards.

    Raises `AlreadyRunning` when another drill works in these tiers, and `Permanent` where one of them is not a drill's.
    """
    scratch.database.create_if_missing()
    with scratch.database.advisory_lock(LOCK):
        clear(scratch)
        world = World(scratch, items, run_id, sleep)
        try:
            build(world)
            yield world
        finally:
            clear(scratch)


def build(world: World) -> None:
    """Mark the empty tiers, create everything in them, and give them content with a replicated history."""
    mark(world.scratch)
    world.build_platform()
    upgrade(world.scratch.database)
    ensure_collections(world.scratch.store)
    ensure_warehouse(world.scratch.warehouse)
    numbers = range(world.items)
    for start in range(0, world.items, _ROWS_AT_ONCE):
        world.write(first_versions(numbers[start : start + _ROWS_AT_ONCE]))
    world.sync()
    _move(world, [n for n in numbers if n % 3 == 0], 2)
    _move(world, [n for n in numbers if n % 9 == 0], 3)
    for group in _groups(world, [n for n in numbers if n % 11 == 10]):
        world.execute("drill/delete_content", {"ids": [item_id(n) for n in group]})
    for tenant in world.tenant_ids():
        compute_usage(world.scratch.database, tenant)
    world.sync()


def _move(world: World, numbers: Sequence[int], version: int) -> None:
    """Give items their next version, as the platform does: body, version record, then the pointer."""
    for group in _groups(world, numbers):
        batch = next_versions(group, version)
        world.put(batch)
        world.insert("versions", batch.versions)
        world.execute("drill/move_pointers", {"rows": json.dumps(batch.content)})


def _groups(world: World, numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Ordinary work comes in small transactions: at most a twentieth of the items in one."""
    size = min(_ROWS_AT_ONCE, max(1, world.items // 20))
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]
