"""Up to which sync each tenant's history may be compacted, by plan. What goes of a table: `compaction_history.py`."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from content_orchestration.core.cleanup.guards import NeverDelete
from content_orchestration.core.cleanup.holds import HELD, held_tenants
from content_orchestration.core.database import Database
from content_orchestration.core.quota.plans import DEFAULT_PLAN, PLANS
from content_orchestration.core.restore.moment import NoSyncByThen, resolve
from content_orchestration.core.sql import statement
from content_orchestration.core.warehouse import Warehouse

MOST_TENANTS = 100_000
"""Bound into one query as one array: 55 bytes each, and a request may have 10 MB. More are left as they are."""

Period = Callable[[str | None], timedelta | None]
"""How far back the history of a plan's tenants reaches; None for ever."""


def plan_period(tier: str | None) -> timedelta | None:
    """The retention of `core/quota/plans.py`; no plan means free, and one that nobody knows keeps all."""
    plan = PLANS.get(tier or DEFAULT_PLAN)
    return None if plan is None or plan.retention_days is None else timedelta(days=plan.retention_days)


@dataclass(frozen=True)
class Horizons:
    """By tenant: the sync before which superseded states go, whichever run finds them."""

    pairs: Mapping[UUID, int] = field(default_factory=dict)
    earliest: Mapping[int, datetime] = field(default_factory=dict)
    """By sync: the earliest moment (UTC) that can be restored when it is the horizon."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Tenants of whom nothing goes, by reason."""

    def as_values(self) -> list[str]:
        """As the statements take them, `<tenant>:<sync id>`."""
        return [f"{tenant}:{sync_id}" for tenant, sync_id in self.pairs.items()]


def horizons(
    database: Database, warehouse: Warehouse, *, now: datetime, period: Period, never: NeverDelete
) -> Horizons:
    """The horizon of every tenant of the platform that has one. Writes nothing.

    now: the database's time (UTC). Left out are tenants under a hold or in `never`, those whose plan keeps all, and
    those of a plan for whose time no sync had finished. A tenant that `tenants` does not have keeps everything.
    Raises `Permanent` or `Transient` where plans, holds or syncs cannot be read.
    """
    with database.connection() as connection:
        held = held_tenants(connection)
        rows = connection.execute(statement("cleanup/compaction_tenants")).fetchall()
    pairs: dict[UUID, int] = {}
    earliest: dict[int, datetime] = {}
    skipped: Counter[str] = Counter()
    syncs: dict[timedelta, int | None] = {}
    for row in rows:
        tenant_id, kept = row["tenant_id"], period(row["plan_tier"])
        reason = HELD if tenant_id in held else never.forbids(tenant_id)
        if reason is None and kept is None:
            reason = "plan_keeps_all"
        if reason is None and kept is not None:
            if kept not in syncs:
                syncs[kept] = _sync_at(warehouse, now - kept)
            sync_id = syncs[kept]
            if sync_id is None:
                reason = "history_begins_later"
            elif len(pairs) >= MOST_TENANTS:
                reason = "too_many_tenants"
            else:
                pairs[tenant_id] = sync_id
                earliest[sync_id] = now - kept
        if reason is not None:
            skipped[reason] += 1
    return Horizons(pairs, earliest, skipped)


def _sync_at(warehouse: Warehouse, moment: datetime) -> int | None:
    """The sync that a restore of this moment means; None where there is none so old."""
    try:
        return resolve(warehouse, moment).sync_id
    except NoSyncByThen:
        return None
