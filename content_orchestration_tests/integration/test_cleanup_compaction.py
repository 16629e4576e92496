"""Compaction of the history: every remaining moment restores as before, and nothing is removed that need not go.

`COMPACTION_SEED` repeats a run; the seed is printed whether it passes or not. `SOAK=1` runs more histories.
"""

import os
import random
import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import pytest

from content_orchestration.core.cleanup import compaction
from content_orchestration.core.cleanup.compaction_history import HistoryTable
from content_orchestration.core.cleanup.guards import Refused
from content_orchestration.core.cleanup.holds import place
from content_orchestration.core.errors import AlreadyRunning, Permanent
from content_orchestration.core.integrity.metered import TooManyBytes
from content_orchestration.core.replication.tables import CONTENT_MEDIA, CONTENT_STORAGE
from content_orchestration.local.stack import LocalStack
from content_orchestration_tests.compaction_model import (
    BUSINESS,
    FOREVER,
    FREE,
    HELD,
    UNKNOWN,
    History,
    Rows,
    compacted,
    expected,
    rows_of,
    shown_to,
    state_at,
    tenants_are_there,
)
from content_orchestration_tests.compaction_process import CompactionProcesses
from content_orchestration_tests.tiers import Tiers

IDS = 3000 if os.environ.get("SOAK") else 250
HORIZONS = {"free": 110, "business": 50}


def seeded() -> random.Random:
    seed = int(os.environ.get("COMPACTION_SEED") or secrets.randbits(32))
    print(f"\nCOMPACTION_SEED={seed}")  # noqa: T201
    return random.Random(seed)


def same_from_the_horizons_on(before: Rows, after: Rows, syncs: list[int], *, held: bool = True) -> int:
    """Every moment that a tenant may restore shows the same; how many rows were compared."""
    compared = 0
    first = {FREE: HORIZONS["free"], BUSINESS: HORIZONS["business"]} | ({} if held else {HELD: HORIZONS["free"]})
    for sync_id in syncs:
        then, now = state_at(before, sync_id), state_at(after, sync_id)
        for tenant in (FREE, BUSINESS, FOREVER, HELD, UNKNOWN):
            if sync_id >= first.get(tenant, 0):
                assert shown_to(now, tenant) == shown_to(then, tenant), f"{tenant} as of {sync_id}"
                compared += len(shown_to(then, tenant))
        if sync_id >= max(HORIZONS.values()):
            assert now == then, f"everything as of {sync_id}"
    return compared


def test_every_remaining_moment_restores_as_before(tiers: Tiers) -> None:
    dice, now = seeded(), datetime.now(UTC)
    history = History.random(dice, now, ids=IDS, hours=3)
    history.load(tiers)
    tenants_are_there(tiers)
    place(tiers.database, HELD, reason="a court asked", placed_by="test")
    period = history.period(HORIZONS, now)
    before = rows_of(tiers)
    wanted = expected(before, {FREE: HORIZONS["free"], BUSINESS: HORIZONS["business"]})

    told = compacted(tiers, period=period, dry_run=True)
    assert Counter(tuple(row.items()) for row in rows_of(tiers)) == Counter(tuple(row.items()) for row in before)

    cleaned = compacted(tiers, period=period)
    after = rows_of(tiers)
    assert Counter(tuple(row.items()) for row in after) == wanted
    assert cleaned.deleted == told.candidates == len(before) - len(after) > 0
    assert (cleaned.left, cleaned.freed_bytes) == (0, told.freed_bytes)
    assert cleaned.skipped == {"legal_hold": 1, "plan_keeps_all": 1}
    syncs = sorted(history.syncs)
    assert same_from_the_horizons_on(before, after, [n for s in syncs for n in (s - 5, s, s + 3)]) > IDS
    # An id whose states under another tenant went with that tenant's tombstone has its last tenant's horizon from then
    # on, so a later compaction may find more of it. It comes to an end, and no moment is any different.
    for _ in range(4):
        again = compacted(tiers, period=period)
        assert (again.left, again.deleted) == (0, again.candidates)
        if not again.deleted:
            break
        assert same_from_the_horizons_on(before, rows_of(tiers), [n for s in syncs for n in (s - 5, s, s + 3)]) > IDS
    assert again.deleted == 0

    # The comparison sees a checkpoint that is missing.
    lost = next(iter(shown_to(state_at(after, HORIZONS["free"]), FREE)))
    broken = [row for row in after if row["entity_id"] != lost or row["sync_id"] > HORIZONS["free"]]
    with pytest.raises(AssertionError):
        same_from_the_horizons_on(before, broken, syncs)


def small(tiers: Tiers, dice: random.Random, entity: Any = CONTENT_STORAGE) -> tuple[History, datetime, Rows]:
    """A history of few ids within some hours, with its tenants."""
    now = datetime.now(UTC)
    history = History.random(dice, now, ids=40, hours=0.25)
    history.load(tiers, entity)
    tenants_are_there(tiers)
    return history, now, rows_of(tiers, entity)


def bag(rows: Rows) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(row.items()) for row in rows)


def settled(before: Rows) -> Counter[tuple[Any, ...]]:
    """What stays where nobody is under a hold."""
    return expected(before, {FREE: 110, HELD: 110, BUSINESS: 50})


def test_a_table_without_bodies_is_compacted_by_its_payloads(tiers: Tiers) -> None:
    history, now, before = small(tiers, seeded(), CONTENT_MEDIA)
    assert compacted(tiers, period=history.period(HORIZONS, now)).deleted > 0
    assert bag(rows_of(tiers, CONTENT_MEDIA)) == settled(before)


def test_a_run_takes_so_many_partitions_and_the_next_goes_on_with_the_same_horizons(tiers: Tiers) -> None:
    history, now, before = small(tiers, seeded())
    period = history.period(HORIZONS, now)
    first = compacted(tiers, period=period, limit=1)
    assert first.left > 0
    assert [sample["pass"] for sample in first.samples] == ["superseded"]
    # Nothing that came later counts: neither other horizons nor other plans.
    assert compacted(tiers, period=lambda plan: None, limit=first.left).left == 0
    assert bag(rows_of(tiers)) == settled(before)
    with tiers.database.connection() as connection:
        rows = connection.execute("SELECT action, size_bytes FROM cleanup_audit WHERE kind = 'history'").fetchall()
        parts = connection.execute("SELECT state, count(*) AS n FROM history_compaction_parts GROUP BY 1").fetchall()
    assert {row["action"] for row in rows} == {"compacted"}
    assert parts == [{"state": "done", "n": len(rows)}]


def test_a_plan_for_whose_time_there_is_no_sync_loses_nothing(tiers: Tiers) -> None:
    _, _, before = small(tiers, seeded())
    # The plans as they are: of 30 days nothing was replicated.
    for dry_run in (True, False):
        cleaned = compacted(tiers, dry_run=dry_run)
        assert (cleaned.candidates, cleaned.deleted) == (0, 0)
        assert cleaned.skipped == {"history_begins_later": 3, "plan_keeps_all": 1}
    assert bag(rows_of(tiers)) == bag(before)


def test_a_tenant_that_is_put_under_a_hold_meanwhile_stops_the_compaction(tiers: Tiers) -> None:
    history, now, before = small(tiers, seeded())
    period = history.period(HORIZONS, now)
    original = tiers.warehouse.load_parquet

    def announced(*given: Any) -> Any:
        place(tiers.database, FREE, reason="a court asked", placed_by="test")
        return original(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiers.warehouse, "load_parquet", announced)
        with pytest.raises(Refused, match="legal_hold"):
            compacted(tiers, period=period)
    assert bag(rows_of(tiers)) == bag(before)
    assert compacted(tiers, period=period).skipped == {"legal_hold": 1, "plan_keeps_all": 1}
    assert bag(rows_of(tiers)) == expected(before, {HELD: 110, BUSINESS: 50})


@pytest.mark.parametrize("busy", ["replication", "integrity_report", "integrity_repair", "window", "restore"])
def test_beside_others_that_use_the_history_nothing_is_rewritten(tiers: Tiers, busy: str) -> None:
    history, now, before = small(tiers, seeded())
    period = history.period(HORIZONS, now)
    waited: list[float] = []
    given: dict[str, Any] = {"period": period, "lock_seconds": 8.0, "sleep": waited.append}
    with tiers.database.connection() as connection:
        if busy == "window":
            connection.execute(
                "INSERT INTO replication_windows "
                "(sync_id, system_identifier, low_xid, high_xid, changes, run_id, synced_at) "
                "VALUES (10, '1', '1', '2', 1, 'test', now())"
            )
        elif busy == "restore":
            connection.execute(
                "INSERT INTO restore_runs (plan_hash, request, plan, as_of_sync_id, target, run_id) "
                "VALUES (repeat('a', 64), '{}', '{}', 10, 'somewhere', 'test')"
            )
    held = nullcontext() if busy in ("window", "restore") else tiers.database.advisory_lock(busy)
    with held, pytest.raises(AlreadyRunning, match=busy):
        compacted(tiers, **given)
    assert waited == [5.0, 5.0]
    assert bag(rows_of(tiers)) == bag(before)
    if busy == "restore":
        with tiers.database.connection() as connection:
            connection.execute("UPDATE restore_runs SET opened_at = opened_at - interval '9 days'")
    if busy != "window":
        assert compacted(tiers, period=period).left == 0
        assert bag(rows_of(tiers)) == settled(before)


def test_a_job_past_the_bound_is_not_sent(tiers: Tiers, monkeypatch: pytest.MonkeyPatch) -> None:
    history, now, before = small(tiers, seeded())
    period = history.period(HORIZONS, now)
    with monkeypatch.context() as patch:
        patch.setattr(tiers.warehouse, "estimate", lambda sql, values: 11)
        with pytest.raises(Permanent, match="COMPACTION_MAX_BYTES"):
            compacted(tiers, period=period, max_bytes=10)
    # The listing fits and no job does.
    with monkeypatch.context() as patch:
        patch.setattr(tiers.warehouse, "estimate", lambda sql, values: 100 if sql.startswith("DELETE") else 0)
        with pytest.raises(TooManyBytes):
            compacted(tiers, period=period, max_bytes=10)
    assert bag(rows_of(tiers)) == bag(before)
    # One job fits, and the next is left.
    with monkeypatch.context() as patch:
        patch.setattr(tiers.warehouse, "estimate", lambda sql, values: 6 if sql.startswith("DELETE") else 0)
        assert compacted(tiers, period=period, max_bytes=10).left > 0
    bounds: list[int | None] = []
    original = tiers.warehouse.query

    def billed(sql: str, values: Any = None, **given: Any) -> Any:
        if sql.startswith("DELETE"):
            bounds.append(given["maximum_bytes_billed"])
        return original(sql, values, **given)

    monkeypatch.setattr(tiers.warehouse, "query", billed)
    assert compacted(tiers, period=period, max_bytes=10**9).left == 0
    assert set(bounds) == {10**9}
    assert bag(rows_of(tiers)) == settled(before)


def test_a_partition_that_somebody_else_changed_stops_the_compaction(tiers: Tiers) -> None:
    history, now, before = small(tiers, seeded())
    period = history.period(HORIZONS, now)
    original = HistoryTable.delete

    def more(self: HistoryTable, day: Any, pass_: Any) -> None:
        original(self, day, pass_)
        # A row of this very partition: after midnight the history lies on two days.
        History({}, [next(row for row in history.rows if row["synced_at"].date() == day)]).load(tiers)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HistoryTable, "delete", more)
        with pytest.raises(Permanent, match="somebody else wrote there"):
            compacted(tiers, period=period)
    with tiers.database.connection() as connection:
        states = connection.execute("SELECT state FROM history_compactions").fetchall()
        lines = connection.execute("SELECT reason FROM cleanup_audit WHERE action = 'refused'").fetchall()
    assert states == [{"state": "abandoned"}]
    assert lines == [{"reason": "partition_differs"}]
    assert before


@pytest.fixture(autouse=True)
def one_table(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each job takes its time in the emulator, and one table tells as much as three; the large history has them all."""
    if "remaining" not in request.node.name:
        table = CONTENT_MEDIA if "without_bodies" in request.node.name else CONTENT_STORAGE
        monkeypatch.setattr(compaction, "TABLES", (table,))


@pytest.fixture(scope="module")
def processes(stack: LocalStack) -> Iterator[CompactionProcesses]:
    with CompactionProcesses() as running:
        yield running


STEPS = ("opened", "staged", "announced", "intended", "deleted", "verified", "forgotten")


def test_a_compaction_that_is_killed_at_any_step_is_finished_by_the_next(
    tiers: Tiers, processes: CompactionProcesses
) -> None:
    dice = seeded()
    history, now, before = small(tiers, dice)
    seconds = {plan: (now - history.syncs[sync]).total_seconds() - 120 for plan, sync in HORIZONS.items()}
    killed = 0
    for step in STEPS:
        outcome = processes.compact(tiers, seconds, failpoint=f"compaction_{step}")
        assert outcome.status in (-9, 0), outcome.said
        killed += outcome.status == -9
        same_from_the_horizons_on(before, rows_of(tiers), sorted(history.syncs), held=False)
    assert killed >= len(STEPS) - 1
    outcome = processes.compact(tiers, seconds)
    assert outcome.status == 0, outcome.said
    assert bag(rows_of(tiers)) == settled(before)
    with tiers.database.connection() as connection:
        rows = connection.execute("SELECT state, count(*) AS n FROM history_compaction_parts GROUP BY 1").fetchall()
        ended = connection.execute("SELECT count(*) AS n FROM history_compactions WHERE state = 'open'").fetchone()
        lines = connection.execute("SELECT count(*) AS n FROM cleanup_audit WHERE kind = 'history'").fetchone()
    assert ended == {"n": 0}
    assert [row["state"] for row in rows] == ["done"]
    assert lines == {"n": rows[0]["n"]}


def test_an_old_compaction_is_given_up_and_begun_anew(tiers: Tiers) -> None:
    history, now, before = small(tiers, seeded())
    period = history.period(HORIZONS, now)
    compacted(tiers, period=period, limit=0)
    with tiers.database.connection() as connection:
        connection.execute("UPDATE history_compactions SET opened_at = opened_at - interval '6 days'")
    assert compacted(tiers, period=period).deleted > 0
    with tiers.database.connection() as connection:
        states = connection.execute("SELECT state FROM history_compactions ORDER BY opened_at").fetchall()
    assert [row["state"] for row in states] == ["abandoned", "closed"]
    assert bag(rows_of(tiers)) == settled(before)
    tables = tiers.warehouse.qualified("INFORMATION_SCHEMA.TABLES")
    found = tiers.warehouse.query(f"SELECT table_name FROM `{tables}` WHERE table_name LIKE 'compaction_%'")
    assert list(found) == []
