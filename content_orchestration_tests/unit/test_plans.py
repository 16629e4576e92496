"""The plans' constants, what an unknown tier means, and which plan has room."""

import json

import pytest

from content_orchestration.core.quota.plans import PLANS, Plan, limits_document, plan_for, plan_of
from content_orchestration.core.quota.usage import TenantUsage

GIB = 1024**3


def test_the_five_plans() -> None:
    assert {tier: plan.limit_bytes for tier, plan in PLANS.items()} == {
        "free": GIB, "starter": 10 * GIB, "professional": 100 * GIB, "business": 500 * GIB, "enterprise": None,
    }  # fmt: skip
    assert all(tier == plan.tier for tier, plan in PLANS.items())
    assert [(p.retention_days, p.items_a_month, p.usd_a_month) for p in PLANS.values()] == [
        (30, 100, 0), (90, 1_000, 29), (365, 10_000, 99), (1825, 50_000, 299), (None, None, None),
    ]  # fmt: skip


@pytest.mark.parametrize("tier", list(PLANS))
def test_a_known_tier_is_its_plan(tier: str) -> None:
    assert plan_of(tier).tier == tier


@pytest.mark.parametrize("tier", [None, "", "gold", "FREE", " free"])
def test_an_unknown_tier_is_free(tier: str | None) -> None:
    assert plan_of(tier) is PLANS["free"]


def test_limits_grow_with_the_plan() -> None:
    limited = [plan for plan in PLANS.values() if plan.limit_bytes is not None]
    for numbers in (
        [plan.limit_bytes for plan in limited],
        [plan.retention_days for plan in limited],
        [plan.items_a_month for plan in limited],
        [plan.usd_a_month for plan in limited],
    ):
        assert numbers == sorted(numbers)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("stored", "items", "tier"),
    [
        (0, 0, "free"),
        (GIB, 100, "free"),
        (GIB + 1, 100, "starter"),
        (GIB, 101, "starter"),
        (500 * GIB, 50_000, "business"),
        (500 * GIB + 1, 0, "enterprise"),
        (0, 10**9, "enterprise"),
    ],
)
def test_the_cheapest_plan_with_room(stored: int, items: int, tier: str) -> None:
    assert plan_for(stored_bytes=stored, items_a_month=items).tier == tier


def test_the_limits_as_the_database_takes_them() -> None:
    document = json.loads(limits_document())
    assert document["free"] == {"bytes": GIB, "items": 100}
    assert document["enterprise"] == {"bytes": None, "items": None}
    assert list(document) == list(PLANS)


def test_a_table_of_its_own() -> None:
    plans = {"free": Plan("free", 7, 1, 2, 0)}
    assert plan_of("starter", plans) is plans["free"]
    assert json.loads(limits_document(plans)) == {"free": {"bytes": 7, "items": 2}}


def usage(limit: int | None, used: int) -> TenantUsage:
    return TenantUsage("t", "Acme", "free", True, limit, used, 1, 2, 3, {"post": {"items": 1, "bytes": 3}}, 0)


@pytest.mark.parametrize(
    ("limit", "used", "percent"), [(GIB, GIB // 2, 50.0), (None, 5, None), (0, 5, None), (1, 3, 300)]
)
def test_percent_of_the_limit(limit: int | None, used: int, percent: float | None) -> None:
    assert usage(limit, used).percent == percent


def test_an_unlimited_tenant_is_shown_as_such() -> None:
    shown = usage(None, 2 * GIB).as_metadata()
    assert (shown["limit_bytes"], shown["percent_used"], shown["used_gib"]) == ("unlimited", "no limit", 2.0)
