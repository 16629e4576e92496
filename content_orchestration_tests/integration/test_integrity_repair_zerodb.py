"""Repair of ZeroDB, the spill, version records and counters: every mutation comes back, or is refused with a reason."""

import os
from collections.abc import Iterator

import pytest

from content_orchestration.settings import Settings
from content_orchestration_tests.repair_world import REPAIRED, RepairWorld, told
from content_orchestration_tests.tiers import Tiers
from content_orchestration_tests.zerodb_mutations import MUTATIONS
from content_orchestration_tests.zerodb_world import found, open_world, populate

# A repair deletes no live document, and does not choose between rows of PostgreSQL that contradict each other.
REFUSED = {
    "an_old_body_without_a_row": "deletes no live document",
    "a_version_that_no_row_knows": "deletes no live document",
    "an_old_version_document_without_a_row": "deletes no live document",
    "an_old_media_document_without_a_row": "deletes no live document",
    "a_document_of_nobody_with_an_id_that_postgresql_cannot_hold": "deletes no live document",
    "a_spilled_body_without_a_row": "deletes no row",
    "the_hash_in_both_rows": "no text with SHA-256",
    "a_pointer_beyond_the_versions": "proves no record of version 4",
    "a_pointer_behind_the_versions": "contradict each other",
    "a_pointer_to_the_document_of_another_version": "contradict each other",
    "versions_of_another_tenant": "contradict each other",
    "versions_without_an_item": "contradict each other",
}
REPAIRABLE = sorted(MUTATIONS.keys() - REFUSED.keys())
SINGLE = os.environ.get("SOAK") == "1"


@pytest.fixture
def world(settings: Settings, database_url: str, zerodb_project: str, tiers: Tiers) -> Iterator[RepairWorld]:
    with open_world(settings, database_url, zerodb_project) as opened:
        populate(opened)
        made = RepairWorld(opened, tiers)
        made.sync()
        yield made


def assert_brought_back(world: RepairWorld, names: list[str]) -> None:
    before = found(world.zerodb.comparisons())
    assert before
    report = world.repair(world.report())
    assert found(world.zerodb.comparisons()) == set(), (names, told(report))
    assert {str(action.outcome) for action in report.actions} <= REPAIRED | {"refused"}, told(report)


def test_everything_that_can_be_mended_at_once_is_mended_at_once(world: RepairWorld) -> None:
    """Mutations of one document may hinder each other: what could not be made is made in a later round."""
    # The first one cannot be made after others have touched its document.
    waiting = sorted(REPAIRABLE, key=lambda name: name != "an_item_without_versions")
    rounds = 0
    while waiting:
        rounds += 1
        made, later = [], []
        for name in waiting:
            try:
                MUTATIONS[name](world.zerodb)
                made.append(name)
            except (AssertionError, KeyError, IndexError, TypeError):
                later.append(name)
        assert made, later
        assert_brought_back(world, made)
        waiting = later
    assert rounds <= 6


@pytest.mark.skipif(not SINGLE, reason="SOAK=1: one mutation at a time")
@pytest.mark.parametrize("name", REPAIRABLE)
def test_each_is_brought_back(world: RepairWorld, name: str) -> None:
    MUTATIONS[name](world.zerodb)
    assert_brought_back(world, [name])


@pytest.mark.parametrize("name", sorted(REFUSED) if SINGLE else sorted(REFUSED)[::3])
def test_what_a_repair_may_not_decide_is_refused_and_stays(world: RepairWorld, name: str) -> None:
    expected = MUTATIONS[name](world.zerodb)
    report = world.repair(world.report())
    assert not report.clean
    reasons = [str(action.detail.get("reason")) for action in report.actions if action.outcome == "refused"]
    assert any(REFUSED[name] in reason for reason in reasons), told(report)
    assert found(world.zerodb.comparisons()) <= expected
    assert [(row["outcome"], row["detail"].get("reason")) for row in world.repairs()] == [
        (str(action.outcome), action.detail.get("reason")) for action in report.actions
    ]
