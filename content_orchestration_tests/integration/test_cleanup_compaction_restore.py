"""Restores beside compaction: what remains restores row for row, and what does not is refused by name."""

import random
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from content_orchestration.core.cleanup.compaction_horizons import plan_period
from content_orchestration.core.errors import Permanent
from content_orchestration.core.integrity.deep import deep_compare
from content_orchestration.core.integrity.tombstones import missing_tombstones
from content_orchestration.core.integrity.warehouse_rows import compare_rows
from content_orchestration.core.replication.tables import ENTITIES
from content_orchestration.core.restore.horizon import refuse_compacted
from content_orchestration.core.restore.request import RestoreRequest, Scope, Target
from content_orchestration_tests.compaction_model import compacted
from content_orchestration_tests.integration.test_restore_point_in_time import now, write
from content_orchestration_tests.replication_fakes import sync
from content_orchestration_tests.replication_model import TENANT, current, expected
from content_orchestration_tests.restore_model import restore, restorer, state
from content_orchestration_tests.tiers import Tiers

SYNCS, HORIZON = 6, 3
OTHER = UUID(int=99)


def rows(tiers: Tiers) -> int:
    return sum(
        next(iter(tiers.warehouse.query(f"SELECT COUNT(*) AS n FROM `{tiers.warehouse.qualified(each.table.name)}`")))[
            "n"
        ]
        for each in ENTITIES
    )


def test_restores_of_remaining_moments_are_the_same_and_earlier_ones_are_refused(tiers: Tiers) -> None:
    seed = secrets.randbits(32)
    print(f"\nseed {seed}")  # noqa: T201
    dice = random.Random(seed)
    ids: list[UUID] = []
    media: list[UUID] = []
    recorded: list[tuple[int, datetime, Any]] = []
    for _ in range(SYNCS):
        for _ in range(5):
            write(tiers, dice, ids, media)
        sync_id = sync(tiers).last_sync_id
        assert sync_id is not None
        recorded.append((sync_id, now(tiers), state(tiers)))
    with tiers.database.connection() as connection:
        connection.execute("INSERT INTO tenants (id, name, slug) VALUES (%s, 'T', 't')", [TENANT])
    # A plan of no time at all ends where the horizon's sync had ended: measured back from when the compaction looks.
    horizon = recorded[HORIZON][1]
    before = rows(tiers)
    cleaned = compacted(tiers, period=lambda plan: datetime.now(UTC) - horizon - timedelta(milliseconds=1))
    assert cleaned.deleted == before - rows(tiers) > 0
    assert cleaned.left == 0
    assert current(tiers) == expected(tiers)
    for entity in ENTITIES:
        assert missing_tombstones(tiers.database, tiers.warehouse, entity).still_live == []
        assert compare_rows(tiers.database, tiers.warehouse, entity, max_bytes=10**12).outcome == "agree"
        deep = deep_compare(tiers.database, tiers.warehouse, entity, max_bytes=10**12, days=None)
        assert deep.outcome == "agree"

    for number, (sync_id, moment, wanted) in enumerate(recorded):
        for as_of in (sync_id, moment):
            scope = dice.choice([Scope.everything(), Scope.tenants([str(TENANT)])])
            target = Target.scratch(f"c_{number}_{as_of == sync_id}".lower(), f"c{number}{as_of == sync_id}_")
            request = RestoreRequest(scope=scope, as_of=as_of, target=target)
            if number < HORIZON:
                with pytest.raises(
                    Permanent, match=rf"earliest that can be restored .* is sync {recorded[HORIZON][0]}"
                ):
                    restorer(tiers).plan(request)
            elif as_of == sync_id or number in (HORIZON, SYNCS - 1):
                assert restore(tiers, request, chunk_bytes=10**6).verified
                assert state(tiers, target) == wanted, f"as of {as_of}"

    # The scopes: another tenant's history is whole; items are known by their tenants, unknown ones by nobody's.
    first, some = recorded[0][0], str(next(iter(recorded[-1][2]["content_storage_metadata"])))
    refuse_compacted(tiers.warehouse, Scope.tenants([str(OTHER)]), first)
    for scope in (Scope.content_ids([some]), Scope.content_ids([str(UUID(int=5))])):
        with pytest.raises(Permanent, match=f"the history of tenant {TENANT} was compacted"):
            refuse_compacted(tiers.warehouse, scope, first)
        refuse_compacted(tiers.warehouse, scope, recorded[HORIZON][0])


def test_a_restore_that_was_planned_before_is_refused_when_it_begins(tiers: Tiers) -> None:
    """Of the restore's record and the announced horizon, one sees the other."""
    dice, ids = random.Random(1), list[UUID]()
    syncs = []
    for _ in range(3):
        write(tiers, dice, ids, [])
        write(tiers, dice, ids, [])
        with tiers.database.connection() as connection:
            connection.execute("UPDATE content_storage_metadata SET updated_at = now()")
        syncs.append((sync(tiers).last_sync_id, now(tiers)))
    with tiers.database.connection() as connection:
        connection.execute("INSERT INTO tenants (id, name, slug) VALUES (%s, 'T', 't')", [TENANT])
    request = RestoreRequest(as_of=syncs[0][0], target=Target.scratch("late", "late_"))
    engine = restorer(tiers)
    plan = engine.plan(request)

    def compacts(*given: Any) -> Any:
        patch.undo()
        compacted(tiers, period=lambda plan: datetime.now(UTC) - syncs[1][1])
        return plan

    with pytest.MonkeyPatch.context() as patch:
        # Between the plan that was looked at again and the record that a compaction would have seen.
        patch.setattr(engine, "plan", compacts)
        with pytest.raises(Permanent, match="was compacted"):
            engine.run(request, plan.plan_hash)
    with tiers.database.connection() as connection:
        assert connection.execute("SELECT to_regclass('late.content_storage_metadata') AS t").fetchone() == {"t": None}


@pytest.mark.parametrize(
    ("tier", "days"),
    [
        (None, 30),
        ("free", 30),
        ("starter", 90),
        ("professional", 365),
        ("business", 1825),
        ("enterprise", None),
        ("x", None),
    ],
)
def test_the_history_of_a_plan_reaches_as_far_as_what_it_keeps(tier: str | None, days: int | None) -> None:
    assert plan_period(tier) == (None if days is None else timedelta(days=days))
