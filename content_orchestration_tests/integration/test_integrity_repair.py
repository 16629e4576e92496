"""How a repair goes: dry runs, bounds, what it writes down, kills, lost tiers. What it mends has tests of its own."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from content_orchestration.core.documents import MARK, DocumentConflict
from content_orchestration.core.errors import AlreadyRunning, Permanent, Transient
from content_orchestration.core.integrity.findings import Comparison, Difference, Kind
from content_orchestration.core.integrity.report_store import read_report
from content_orchestration.core.schema.documents import COLLECTIONS
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration.settings import Settings
from content_orchestration_tests.repair_process import RepairProcesses
from content_orchestration_tests.repair_world import RepairWorld, told
from content_orchestration_tests.tier_state import postgres_state
from content_orchestration_tests.tiers import Tiers
from content_orchestration_tests.zerodb_world import TENANTS, body_id, found, open_world, populate, sha256

ITEMS, VERSIONS, MEDIA = "content_items", "content_versions", "content_media_files"
TABLES = (
    "content_storage_metadata", "content_versions", "media_assets", "content_changes", "content_body_spill",
    "content_quota_usage", "integrity_reports", "integrity_differences", "integrity_repairs", "replication_windows",
)  # fmt: skip


@pytest.fixture
def world(settings: Settings, database_url: str, zerodb_project: str) -> Iterator[RepairWorld]:
    """Without BigQuery, which costs 2 s."""
    with open_world(settings, database_url, zerodb_project) as opened:
        populate(opened)
        yield RepairWorld(opened)


@pytest.fixture
def full(world: RepairWorld, tiers: Tiers) -> RepairWorld:
    """With BigQuery, which holds all of it."""
    made = RepairWorld(world.zerodb, tiers)
    made.sync()
    return made


def mislabel(world: RepairWorld, *numbers: int) -> None:
    """Documents that lie about their hash; their bodies are right, so no other tier has to prove them."""
    for number in numbers:
        world.zerodb.change(ITEMS, body_id(world.zerodb.items[number]), body_sha256="0" * 64)


def spoil(world: RepairWorld, *numbers: int) -> None:
    for number in numbers:
        world.zerodb.change(ITEMS, body_id(world.zerodb.items[number]), body="spoilt")


def documents(world: RepairWorld) -> dict[str, list[dict[str, Any]]]:
    return {name: list(world.zerodb.store.scan(name)) for name in COLLECTIONS}


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(full: RepairWorld) -> None:
    spoil(full, 1, 4)
    full.zerodb.put(MEDIA, full.zerodb.document(MEDIA, str(full.zerodb.media[0])))
    full.zerodb.run("UPDATE content_quota_usage SET used_bytes = used_bytes + 1")
    number = full.report()
    state, stored = postgres_state(full.tiers, *TABLES), documents(full)
    held = {name: full.tiers.warehouse.row_count(name) for name in ("content_storage_dr", "content_sync_log")}

    report = full.repair(number, dry_run=True)

    assert report.outcomes == {"planned": 5}
    assert not report.clean
    assert report.summary == (
        f"dry run of report {number}, nothing was written: 5 planned. Set dry_run to false to act"
    )
    (media,) = [a for a in report.as_metadata()["actions"] if a["table"] == MEDIA]
    assert (media["action"], media["outcome"]) == ("make the copies equal, then leave one", "planned")
    assert postgres_state(full.tiers, *TABLES) == state
    assert documents(full) == stored
    assert {name: full.tiers.warehouse.row_count(name) for name in held} == held


def test_a_repair_writes_down_what_it_did_and_repeating_it_does_nothing(world: RepairWorld) -> None:
    mislabel(world, 1, 4)
    number = world.report()
    first = world.repair(number, run_id="first")
    assert first.clean, told(first)
    assert first.summary == f"report {number}: 2 repaired; the same comparisons are clean"
    assert found(world.zerodb.comparisons()) == set()
    after = read_report(world.zerodb.database, first.after_report_id or 0)
    assert (after.scope, after.outcome, after.attempted > 0) == ("repair", "agree", True)
    stored = documents(world)

    second = world.repair(number, run_id="second")
    assert second.outcomes == {"already_clean": 2}
    assert second.clean
    assert documents(world) == stored
    told_rows = [(r["run_id"], r["kind"], r["outcome"], r["detail"]) for r in world.repairs()]
    assert told_rows == [
        *[("first", "document_differs", "repaired", {"did": "replaced", "source": "zerodb"})] * 2,
        *[("second", "document_differs", "already_clean", {})] * 2,
    ]
    assert all(row["finished_at"] >= row["started_at"] for row in world.repairs())


def test_kinds_and_bound_choose_and_the_rest_waits(world: RepairWorld) -> None:
    mislabel(world, 0, 1, 3, 4)
    world.zerodb.remove(MEDIA, str(world.zerodb.media[0]))
    number = world.report()
    first = world.repair(number, kinds=["document_differs"], max_repairs=3)
    assert (first.outcomes, first.left) == ({"repaired": 3}, 1)
    assert first.summary.endswith("3 repaired; 1 more wait for another run; the same comparisons are clean")
    # What is settled makes room: the same call takes up what is left, first.
    second = world.repair(number, kinds=["document_differs"], max_repairs=3)
    assert second.outcomes == {"repaired": 1, "already_clean": 2}
    assert {kind for kind, _, _ in found(world.zerodb.comparisons())} == {"document_missing"}
    assert world.repair(number, kinds=["document_missing", "usage_differs"]).outcomes == {"repaired": 1}
    assert found(world.zerodb.comparisons()) == set()


def test_what_does_not_exist_is_refused_with_the_way_out(world: RepairWorld) -> None:
    with pytest.raises(Permanent, match=r"report_id is 4711, and integrity_reports has no such report: take "):
        world.repair(4711)
    number = world.report()
    with pytest.raises(Permanent, match=r"kinds has 'body', 'x', which is none of: body_hash_differs, "):
        world.repair(number, kinds=["body", "body_hash_differs", "x"])
    assert world.repair(number).summary == f"report {number}: nothing to do; the same comparisons are clean"
    assert world.repairs() == []


def test_two_repairs_never_run_at_once(world: RepairWorld) -> None:
    number = world.report()
    with (
        world.zerodb.database.advisory_lock("integrity_repair"),
        pytest.raises(AlreadyRunning, match="integrity_repair is already running"),
    ):
        world.repair(number)


POINTS = ("repair_started", "repair_body_proven", "repair_mended", "repair_changes_written", "repair_synced")


def test_a_repair_that_is_killed_anywhere_is_finished_by_the_next(full: RepairWorld) -> None:
    zerodb = full.zerodb
    with RepairProcesses() as processes:
        for round_, point in enumerate(POINTS, 1):
            spoil(full, 1, 4)
            zerodb.put(ITEMS, zerodb.document(ITEMS, body_id(zerodb.items[0])))
            zerodb.run("DELETE FROM content_versions WHERE content_id = %s AND version = 2", zerodb.items[2])
            number = full.report()
            assert processes.repair(full.tiers, number, failpoint=point).status == -9, point
            left = [row for row in full.repairs() if row["outcome"] == "started"]
            assert len(left) >= 4, point
            done = processes.repair(full.tiers, number)
            assert done.status == 0, f"{point}: {done.said}"
            assert found(zerodb.comparisons()) == set(), point
            abandoned = [row for row in full.repairs() if row["outcome"] == "unknown"]
            assert len(abandoned) == sum(len([r for r in abandoned if r["report_id"] == n]) for n in range(number + 1))
            assert {row["detail"]["reason"] for row in abandoned} == {"the run ended before it said how this went"}
            assert not [row for row in full.repairs() if row["outcome"] == "started"], round_
    full.sync()
    copies = [document["id"] for document in full.tiers.store.scan(ITEMS)]
    assert len(copies) == len(set(copies))


class Broken:
    """A tier of which some methods answer as if it were down."""

    def __init__(self, tier: Any, error: Exception, *names: str) -> None:
        self._tier, self._error, self._names = tier, error, names

    def __getattr__(self, name: str) -> Any:
        if name in self._names:

            def fail(*given: Any, **named: Any) -> Any:
                raise self._error

            return fail
        return getattr(self._tier, name)


def test_a_store_that_is_down_makes_outcomes_unknown_and_nothing_else(world: RepairWorld) -> None:
    mislabel(world, 1)
    number = world.report()
    settings = world.zerodb.settings
    with ZeroDBClient(
        settings.zerodb_url, world.zerodb.project, settings.zerodb_key, timeout=2.0, attempts=1
    ) as impatient:
        world.sides = replace(world.sides, store=impatient)
        world.zerodb.fault("error")
        try:
            down = world.repair(number)
        finally:
            world.zerodb.heal()
        assert down.outcomes == {"unknown": 1}
        assert not down.clean
        (row,) = world.repairs()
        assert "ZeroDB at" in row["detail"]["reason"]

        # Up for the look, down for the write: the second look says what came of it.
        world.zerodb.fault("error", method="PUT")
        try:
            refused = world.repair(number)
        finally:
            world.zerodb.heal()
        assert refused.outcomes == {"not_repaired": 1}
        assert "update of" in refused.actions[0].detail["error"]
        assert refused.actions[0].detail["still"] == ["document_differs"]
        assert world.repair(number).clean


def test_an_answer_that_is_lost_after_the_write_is_found_done(world: RepairWorld) -> None:
    mislabel(world, 1)
    number = world.report()
    settings = world.zerodb.settings
    with ZeroDBClient(
        settings.zerodb_url, world.zerodb.project, settings.zerodb_key, timeout=5.0, attempts=1
    ) as impatient:
        world.sides = replace(world.sides, store=impatient)
        world.zerodb.fault("error_after", method="PUT", count=1)
        try:
            report = world.repair(number)
        finally:
            world.zerodb.heal()
    assert report.outcomes == {"repaired": 1}
    assert "update of" in report.actions[0].detail["error"]


def test_without_bigquery_what_only_its_history_proves_is_refused(world: RepairWorld) -> None:
    zerodb = world.zerodb
    spoil(world, 1)
    zerodb.put(ITEMS, zerodb.document(ITEMS, body_id(zerodb.items[0])))
    zerodb.run("DELETE FROM content_versions WHERE content_id = %s AND version = 2", zerodb.items[2])
    lost = Difference(Kind.MISSING_IN_WAREHOUSE, "content_storage_dr", str(zerodb.items[3]), str(TENANTS[0]))
    number = world.report([*zerodb.comparisons().values(), Comparison("rows", differences=[lost])])
    report = world.repair(number)
    outcomes = {str(a.found.difference.kind): (str(a.outcome), a.detail.get("reason", "")) for a in report.actions}
    assert outcomes["duplicate_document"] == ("repaired", "")
    assert outcomes["body_hash_differs"][0] == outcomes["version_gap"][0] == "refused"
    assert "is in ZeroDB or the spill (no BigQuery): take it from a back-up" in outcomes["body_hash_differs"][1]
    assert outcomes["version_gap"][1].startswith("BigQuery is not set up")
    assert outcomes["missing_in_warehouse"] == ("unknown", "BigQuery is off")


def test_bigquery_that_is_lost_midway_is_noted_and_the_rest_is_done(full: RepairWorld) -> None:
    zerodb = full.zerodb
    spoil(full, 1)
    zerodb.put(ITEMS, zerodb.document(ITEMS, body_id(zerodb.items[0])))
    number = full.report()
    full.sides = replace(full.sides, warehouse=Broken(full.tiers.warehouse, Transient("BigQuery is down"), "query"))  # type: ignore[arg-type]
    report = full.repair(number)
    outcomes = {str(a.found.difference.kind): a for a in report.actions}
    assert outcomes["body_hash_differs"].outcome == "not_repaired"
    assert outcomes["body_hash_differs"].detail["error"] == "BigQuery is down"
    full.sides = replace(full.sides, warehouse=full.tiers.warehouse)
    assert full.repair(number).clean
    assert found(zerodb.comparisons()) == set()


def test_postgresql_that_is_lost_midway_leaves_the_record_open_for_the_next(world: RepairWorld) -> None:
    mislabel(world, 1)
    number = world.report()
    whole = world.sides

    def lose(*given: Any) -> Any:
        raise Transient("PostgreSQL broke off")

    class Lost:
        def __getattr__(self, name: str) -> Any:
            if name == "connection" and world.repairs():
                return lose
            return getattr(whole.database, name)

    world.sides = replace(whole, database=Lost())  # type: ignore[arg-type]
    with pytest.raises(Transient, match="PostgreSQL broke off"):
        world.repair(number)
    assert [row["outcome"] for row in world.repairs()] == ["started"]
    world.sides = whole
    report = world.repair(number)
    assert (report.abandoned, report.clean) == (1, True)


# --- single documents ------------------------------------------------------------------------------------------------


def test_a_wrong_copy_beside_a_right_one_is_made_right_before_one_goes(world: RepairWorld) -> None:
    zerodb = world.zerodb
    key = body_id(zerodb.items[4])
    right = zerodb.document(ITEMS, key)
    # The wrong one sorts first, so that every reader is given it.
    zerodb.put(ITEMS, {**right, "body": "wrong", "body_sha256": "0" * 64})
    assert zerodb.document(ITEMS, key)["body"] == "wrong"
    report = world.repair(world.report())
    assert report.clean, told(report)
    (left,) = world.zerodb.store.scan(ITEMS, where={"id": key})
    assert {name: value for name, value in left.items() if name != MARK} == right
    assert {action.detail["source"] for action in report.actions if "source" in action.detail} == {"zerodb copy"}
    assert found(zerodb.comparisons()) == set()


def test_copies_that_differ_in_what_no_row_determines_all_stay(world: RepairWorld) -> None:
    zerodb = world.zerodb
    key = body_id(zerodb.items[4])
    zerodb.put(ITEMS, zerodb.document(ITEMS, key) | {"title": "Another title"})
    report = world.repair(world.report())
    (action,) = report.actions
    assert action.outcome == "refused"
    assert "differ in fields that no row determines" in action.detail["reason"]
    assert len(list(world.zerodb.store.scan(ITEMS, where={"id": key}))) == 2


def test_a_copy_that_comes_back_late_is_reduced_again(world: RepairWorld) -> None:
    zerodb = world.zerodb
    key = body_id(zerodb.items[4])
    right = zerodb.document(ITEMS, key)
    for run in ("first", "second", "third"):
        zerodb.put(ITEMS, right)
        assert world.repair(world.report(), run_id=run).clean
        (left,) = world.zerodb.store.scan(ITEMS, where={"id": key})
        assert left[MARK].startswith(f"{run}:")


def test_a_body_that_comes_meanwhile_is_not_overwritten(full: RepairWorld) -> None:
    """Bodies are immutable: where another writer was faster, the store refuses and the second look decides."""
    zerodb = full.zerodb
    key = body_id(zerodb.items[4])
    zerodb.remove(ITEMS, key)
    number = full.report()
    conflict = DocumentConflict(ITEMS, [key])
    full.sides = replace(full.sides, store=Broken(full.tiers.store, conflict, "put_many"))  # type: ignore[arg-type]
    report = full.repair(number)
    assert report.outcomes == {"refused": 1}
    assert "Bodies are immutable" in report.actions[0].detail["reason"]


def test_a_row_whose_hash_two_rows_tell_differently_is_left_alone(world: RepairWorld) -> None:
    zerodb = world.zerodb
    zerodb.run("UPDATE content_versions SET body_sha256 = %s WHERE content_id = %s", sha256("no"), zerodb.items[3])
    stored = documents(world)
    report = world.repair(world.report())
    reasons = {str(a.found.difference.kind): a.detail["reason"] for a in report.actions}
    assert "rows disagree on it: body_sha256 is" in reasons["body_hash_differs"]
    assert "rows disagree on it" in reasons["document_differs"]
    assert "contradict each other" in reasons["version_differs"]
    assert documents(world) == stored


def test_the_right_size_is_written_and_the_counters_follow(world: RepairWorld) -> None:
    zerodb = world.zerodb
    for table, column in (("content_storage_metadata", "id"), ("content_versions", "content_id")):
        zerodb.run(f"UPDATE {table} SET storage_size_bytes = 999 WHERE {column} = %s", zerodb.items[3])
    zerodb.count_usage()
    assert world.repair(world.report()).clean
    assert found(zerodb.comparisons()) == set()
    # A tenant that the platform removed has no counters that could follow.
    zerodb.run("UPDATE content_storage_metadata SET storage_size_bytes = 999 WHERE id = %s", zerodb.items[3])
    zerodb.run("DELETE FROM content_quota_usage")
    zerodb.run("DELETE FROM tenants")
    number = world.report([zerodb.comparisons()["bodies"]])
    assert world.repair(number).clean


def test_usage_of_a_tenant_that_is_gone_is_refused(world: RepairWorld) -> None:
    gone = Difference(Kind.USAGE_DIFFERS, "content_quota_usage", str(uuid4()), None)
    world.zerodb.run("UPDATE content_quota_usage SET used_bytes = 1 WHERE tenant_id = %s", TENANTS[0])
    world.zerodb.run("DELETE FROM tenants WHERE id = %s", TENANTS[0])
    number = world.report([world.zerodb.comparisons()["usage"], Comparison("usage", differences=[gone])])
    outcomes = {a.found.difference.entity_id: str(a.outcome) for a in world.repair(number).actions}
    assert outcomes[gone.entity_id] == "already_clean"
    assert set(outcomes.values()) <= {"already_clean", "refused"}


def test_a_comparison_of_another_release_is_unknown(world: RepairWorld) -> None:
    odd = Difference(Kind.DOCUMENT_MISSING, ITEMS, body_id(world.zerodb.items[1]), None)
    report = world.repair(world.report([Comparison("a new one", differences=[odd])]))
    (action,) = report.actions
    assert action.outcome == "unknown"
    assert "no comparison is called 'a new one'" in action.detail["reason"]
