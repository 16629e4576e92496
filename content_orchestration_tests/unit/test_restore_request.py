"""What a restore may be asked for, and what its plan's hash covers."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from content_orchestration.core.errors import Permanent
from content_orchestration.core.restore.plan import RestorePlan, TablePlan
from content_orchestration.core.restore.request import MOST_IDS, RestoreRequest, Scope, Target

ONE = "0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f"
TWO = "5f3b7a52-0d0e-5c0e-9a67-3f6f5f6b6f21"
PLAN = RestorePlan(
    RestoreRequest(), 7, "sync 7", [TablePlan("content_versions", 3, 30, 21)], {"content_versions": ("id",)}, 1000, 5
)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Scope("some"), "scope is 'some': it must be one of everything, tenants, content_ids"),  # type: ignore[arg-type]
        (lambda: Scope("everything", (ONE,)), "scope is everything but names ids"),
        (lambda: Scope.tenants([]), "scope is tenants but names none"),
        (lambda: Scope.content_ids(["x"]), "scope.content_ids has 'x', which is no UUID"),
        (lambda: Scope.tenants([None]), "scope.tenants has None"),  # type: ignore[list-item]
        (lambda: Scope.tenants([str(UUID(int=n)) for n in range(MOST_IDS + 1)]), "takes at most 10000"),
        (lambda: Target.scratch("public", "p_"), "target.schema is 'public'"),
        (lambda: Target.scratch("pg_mine", "p_"), "target.schema is 'pg_mine'"),
        (lambda: Target.scratch('a"; DROP', "p_"), "target.schema"),
        (lambda: Target.scratch("fine", ""), "target.collection_prefix is ''"),
        (lambda: Target.scratch("fine", "a-b"), "target.collection_prefix is 'a-b'"),
        (lambda: RestoreRequest(tiers="all"), "tiers is 'all'"),  # type: ignore[arg-type]
        (lambda: RestoreRequest(on_conflict="merge"), "on_conflict is 'merge'"),  # type: ignore[arg-type]
        (lambda: RestoreRequest(as_of=datetime(2026, 1, 1)), "without a time zone"),
        (lambda: RestoreRequest(as_of=0), "as_of is 0"),
        (lambda: RestoreRequest(as_of=True), "as_of is True"),
        (lambda: RestoreRequest(max_rows=0), "max_rows is 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(make: Any, message: str) -> None:
    with pytest.raises(Permanent) as refused:
        make()
    assert message in str(refused.value)


def test_the_same_ids_are_the_same_scope() -> None:
    assert Scope.tenants([TWO.upper(), ONE, ONE]) == Scope.tenants([ONE, TWO])
    assert str(Scope.tenants([ONE, TWO])) == "2 tenants"
    assert str(Scope.everything()) == "everything"


@pytest.mark.parametrize(
    "changed",
    [
        {"as_of_sync_id": 8},
        {"tables": [TablePlan("content_versions", 4, 30, 21)]},
        {"tables": [TablePlan("content_versions", 3, 30, 22)]},
        {"columns": {"content_versions": ("id", "note")}},
        {"chunk_bytes": 2000},
        {"cluster": "moves"},
        {"request": RestoreRequest(on_conflict="overwrite")},
        {"request": RestoreRequest(as_of=datetime(2026, 1, 1, tzinfo=UTC))},
        {"request": RestoreRequest(max_rows=10)},
        {"request": RestoreRequest(target=Target.scratch("beside", "b_"))},
        {"request": RestoreRequest(scope=Scope.tenants([ONE]))},
        {"request": RestoreRequest(tiers="zerodb")},
    ],
)
def test_everything_that_decides_what_runs_is_in_the_hash(changed: dict[str, Any]) -> None:
    assert replace(PLAN, **changed).plan_hash != PLAN.plan_hash


def test_what_only_describes_is_not_in_the_hash() -> None:
    assert replace(PLAN, bytes_billed=99, as_of="told otherwise").plan_hash == PLAN.plan_hash


def test_a_kept_plan_is_the_same_plan() -> None:
    kept = json.loads(json.dumps(PLAN.as_json()))
    again = RestorePlan.from_json(PLAN.request, kept)
    assert again.plan_hash == PLAN.plan_hash
    assert again.as_metadata() == PLAN.as_metadata()


def test_an_estimate_counts_what_is_written() -> None:
    big = replace(PLAN, tables=[TablePlan("content_versions", 300_000, 200 * 1024**2, 0)])
    rows = replace(big, request=RestoreRequest(tiers="postgres")).estimated_seconds
    bodies = replace(big, request=RestoreRequest(tiers="zerodb")).estimated_seconds
    assert rows == 10 + 2
    assert bodies == 10 + 2
    assert big.estimated_seconds == 20 + 2
    assert "3 | 30" in PLAN.as_markdown()
    assert str(Target.scratch("beside", "b_")) == "scratch schema beside, collections b_*"
