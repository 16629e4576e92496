"""How long each plan keeps, as the statements take it, and which versions the integrity check misses above a floor."""

import json
from datetime import timedelta
from uuid import uuid4

import pytest

from content_orchestration.core.cleanup.expired import kept_reason
from content_orchestration.core.cleanup.guards import NeverDelete
from content_orchestration.core.cleanup.horizons import RetentionRules, kept_days, least_days
from content_orchestration.core.integrity.versions import missing_versions
from content_orchestration.core.quota.plans import Plan


def test_the_plans_keep_for_the_days_that_were_promised() -> None:
    assert json.loads(kept_days()) == {
        "free": 30, "starter": 90, "professional": 365, "business": 5 * 365, "enterprise": None,
    }  # fmt: skip
    assert least_days() == 30


def test_where_every_plan_keeps_for_ever_there_is_no_shortest_time() -> None:
    assert least_days({"only": Plan("only", None, None, None, None)}) is None


def test_rules_begin_with_nothing_excepted_and_a_day_for_files() -> None:
    rules = RetentionRules()
    assert (rules.never, rules.file_grace, rules.max_candidate_percent) == (NeverDelete(), timedelta(hours=24), 1.0)


@pytest.mark.parametrize(
    ("held", "newest", "first", "missing"),
    [([3, 4, 5], 5, 3, []), ([3, 5], 5, 3, [4]), ([4, 5], 5, 3, [3]), ([2, 3], 3, 1, [1]), ([], 2, 1, [1, 2])],
)
def test_versions_below_the_floor_are_not_missed(held: list[int], newest: int, first: int, missing: list[int]) -> None:
    assert missing_versions(held, newest, first) == missing


def test_what_is_left_out_is_counted_under_the_reason_for_it() -> None:
    tenant = [uuid4()]
    assert kept_reason(tenant, []) == "legal_hold"
    assert kept_reason([], tenant) == "never_delete_tenant"
    assert kept_reason(tenant, tenant) == "legal_hold_or_never_delete_tenant"
