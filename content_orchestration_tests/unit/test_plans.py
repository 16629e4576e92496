"""The plans' constants and what an unknown tier means."""

import pytest

from content_orchestration.core.quota.plans import PLANS, plan_of
from content_orchestration.core.quota.usage import TenantUsage

GIB = 1024**3


def test_the_five_plans() -> None:
    assert {tier: plan.limit_bytes for tier, plan in PLANS.items()} == {
        "free": GIB, "starter": 10 * GIB, "professional": 100 * GIB, "business": 500 * GIB, "enterprise": None,
    }  # fmt: skip
    assert all(tier == plan.tier for tier, plan in PLANS.items())


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
