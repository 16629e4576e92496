"""What a compaction has to come to, told without its engine: random histories, and the state of a moment by definition.

Rows go into BigQuery as replication leaves them, over several days; horizons are those of the tenants' plans.
"""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from content_orchestration.core.cleanup.compaction import compact
from content_orchestration.core.cleanup.model import Cleaned
from content_orchestration.core.replication.payload import ParquetFile
from content_orchestration.core.replication.tables import CONTENT_STORAGE, SYNC_LOG, Entity
from content_orchestration_tests.replication_model import World

DAYS = timedelta(days=1)
# What a restore of a state reads, and what tells one row of the history from another.
COLUMNS = "entity_id, tenant_id, sync_id, sync_part, synced_at, op, row_json, row_sha256"
FREE, BUSINESS, FOREVER, HELD, UNKNOWN = (UUID(int=number) for number in (0xA, 0xB, 0xC, 0xD, 0xE))
PLANS = {FREE: "free", BUSINESS: "business", FOREVER: "enterprise", HELD: "free"}
Rows = list[dict[str, Any]]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def state_row(
    entity_id: str, tenant: UUID, sync_id: int, when: datetime, op: str, dice: random.Random
) -> dict[str, Any]:
    """A row of the history; its body and payload are what they say, unless somebody changes that."""
    body = f"body {dice.randrange(5)}"
    payload = json.dumps(
        {"id": entity_id, "title": f"t{dice.random()}", "body_sha256": sha256(body)}, separators=(",", ":")
    )
    return {
        "sync_id": sync_id, "sync_part": dice.randrange(3), "synced_at": when, "op": op, "entity_id": entity_id,
        "tenant_id": str(tenant), "content_id": entity_id, "row_json": payload, "row_sha256": sha256(payload),
        "body": None if op == "delete" else body, "body_sha256": sha256(body),
    }  # fmt: skip


@dataclass
class History:
    """Syncs and the states that they wrote."""

    syncs: dict[int, datetime]
    rows: Rows = field(default_factory=list)

    @classmethod
    def random(cls, dice: random.Random, now: datetime, *, ids: int, syncs: int = 16, hours: float = 8) -> "History":
        """Ids of several tenants; some move to another, end, come again, are there twice, or are not what they say."""
        first = now - timedelta(hours=hours) * syncs
        # Ids of syncs have gaps, as those of snapshots lie between them.
        history = cls({10 * number: first + timedelta(hours=hours) * number for number in range(1, syncs + 1)})
        tenants = [FREE, FREE, FREE, BUSINESS, FOREVER, HELD, UNKNOWN]
        for _ in range(ids):
            entity_id = str(UUID(int=dice.getrandbits(128), version=4))
            tenant = dice.choice(tenants)
            for sync_id, when in history.syncs.items():
                if dice.random() > 0.3:
                    continue
                if dice.random() < 0.08:
                    tenant = dice.choice(tenants)
                op = "delete" if dice.random() < 0.25 else "upsert"
                row = state_row(entity_id, tenant, sync_id, when, op, dice)
                history.rows += [row] * (2 if dice.random() < 0.1 else 1)
                trouble = dice.random()
                if trouble < 0.03:
                    row["body"] = None
                elif trouble < 0.06:
                    row["body"] = "other"
                elif trouble < 0.09:
                    row["row_sha256"] = sha256("other")
        return history

    def load(self, world: World, entity: Entity = CONTENT_STORAGE) -> None:
        """Into BigQuery, with the log of its syncs."""
        for table, rows in ((entity.table, self.rows), (SYNC_LOG, self._log())):
            file = ParquetFile(table)
            file.add(rows, 0)
            world.warehouse.load_parquet(
                table.name, file.close(), f"model-{entity.name}-{table.name}-{random.random()}"
            )

    def _log(self) -> Rows:
        common = {
            "sync_part": 0, "system_identifier": "1", "low_xid": 1, "high_xid": 2, "changes": 1, "rows_by_table": "{}",
            "tombstones": 0, "bytes_loaded": 0, "run_id": "test",
        }  # fmt: skip
        return [
            {**common, "sync_id": s, "synced_at": w, "read_until": w + timedelta(seconds=1)}
            for s, w in self.syncs.items()
        ]

    def period(self, by_plan: Mapping[str, int], now: datetime) -> Callable[[str | None], timedelta | None]:
        """How far back each plan reaches, so that its horizon is that sync; None for a plan that is not named."""

        def kept(plan: str | None) -> timedelta | None:
            sync_id = by_plan.get(plan or "free")
            return None if sync_id is None else now - self.syncs[sync_id] - timedelta(minutes=2)

        return kept


def tenants_are_there(world: World) -> None:
    with world.database.connection() as connection:
        for tenant, plan in PLANS.items():
            connection.execute(
                "INSERT INTO tenants (id, name, slug, plan_tier) VALUES (%s, %s, %s, %s)",
                [tenant, f"T {tenant}", f"t-{tenant}", plan],
            )


def rows_of(world: World, entity: Entity = CONTENT_STORAGE) -> Rows:
    """Every row of the history, as it is."""
    more = ", body, body_sha256" if entity.has_body else ""
    return list(world.warehouse.query(f"SELECT {COLUMNS}{more} FROM `{world.warehouse.qualified(entity.table.name)}`"))


def state_at(rows: Rows, sync_id: int) -> dict[str, Counter[tuple[Any, ...]]]:
    """By definition: of each id the newest rows up to the sync, with how often they are there; none for a tombstone."""
    newest: dict[str, Rows] = {}
    for row in rows:
        if row["sync_id"] > sync_id:
            continue
        held = newest.setdefault(row["entity_id"], [])
        if held and (held[0]["sync_id"], held[0]["sync_part"]) > (row["sync_id"], row["sync_part"]):
            continue
        if held and (held[0]["sync_id"], held[0]["sync_part"]) < (row["sync_id"], row["sync_part"]):
            held.clear()
        held.append(row)
    return {
        each: Counter(tuple(row.items()) for row in held) for each, held in newest.items() if held[0]["op"] != "delete"
    }


def shown_to(state: Mapping[str, Counter[tuple[Any, ...]]], tenant: UUID) -> dict[str, Counter[tuple[Any, ...]]]:
    """The part of a state that a restore of one tenant brings."""
    return {each: rows for each, rows in state.items() if dict(next(iter(rows)))["tenant_id"] == str(tenant)}


def expected(rows: Rows, horizons: Mapping[UUID, int]) -> Counter[tuple[Any, ...]]:
    """The rows that stay, by the rule as it is told in words."""
    by_id: dict[str, Rows] = {}
    for row in rows:
        by_id.setdefault(row["entity_id"], []).append(row)
    kept: Rows = []
    for states in by_id.values():
        horizon = min(horizons.get(UUID(row["tenant_id"]), -1) for row in states)
        within = [row for row in states if row["sync_id"] <= horizon]
        kept += [row for row in states if row["sync_id"] > horizon]
        if not within:
            continue
        last = max((row["sync_id"], row["sync_part"]) for row in within)
        checkpoint = [row for row in within if (row["sync_id"], row["sync_part"]) == last]
        if not all(_proven(row) for row in checkpoint):
            kept += within
        elif any(row["op"] != "delete" for row in checkpoint):
            kept += checkpoint
    return Counter(tuple(row.items()) for row in kept)


def compacted(world: World, **given: Any) -> Cleaned:
    """One compaction that does not wait for locks."""
    values: dict[str, Any] = {
        "run_id": "test", "dry_run": False, "limit": 1000, "max_bytes": 10**12, "lock_seconds": 0.0,
        "sleep": lambda seconds: None, **given,
    }  # fmt: skip
    return compact(world.database, world.warehouse, **values)


def _proven(row: Mapping[str, Any]) -> bool:
    if sha256(row["row_json"]) != row["row_sha256"]:
        return False
    if row["op"] == "delete" or "body_sha256" not in row:
        return True
    return row["body"] is not None and sha256(row["body"]) == row["body_sha256"]
