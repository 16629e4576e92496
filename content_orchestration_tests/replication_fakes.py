"""A world of real PostgreSQL, a warehouse in memory and a store in memory; and syncs over any world."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from content_orchestration.core.replication.engine import Replicator, SyncReport
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.fake_warehouse import FakeStore, FakeWarehouse
from content_orchestration_tests.replication_model import World

# Everything that replication writes or reads in PostgreSQL, in an order that foreign keys allow.
STATE = (
    "content_storage_metadata",
    "content_versions",
    "media_assets",
    "content_changes",
    "content_body_spill",
    "replication_backfills",
    "replication_parts",
    "replication_windows",
    "replication_cursor",
    "replication_quarantine",
)


@dataclass
class FakeWorld:
    """Real PostgreSQL with the other two tiers in memory."""

    database: PostgresClient
    store: FakeStore = field(default_factory=FakeStore)
    warehouse: FakeWarehouse = field(default_factory=FakeWarehouse)


def sync(
    world: World,
    *,
    batch_size: int = 1000,
    max_bytes: int = 10**7,
    on_window: Callable[[SyncReport], None] = lambda report: None,
    **given: Any,
) -> SyncReport:
    """One sync that does not wait between attempts."""
    replicator = Replicator(
        world.database,
        world.store,
        world.warehouse,
        batch_size=batch_size,
        max_bytes=max_bytes,
        run_id="test",
        sleep=lambda seconds: None,
        **given,
    )
    return replicator.sync(on_window)
