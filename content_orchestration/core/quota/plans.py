"""The plans: what a tenant may store, keep and generate. One table of constants; nothing else knows a limit."""

from collections.abc import Mapping
from dataclasses import dataclass

_GIB = 1024**3
DEFAULT_PLAN = "free"


@dataclass(frozen=True)
class Plan:
    """A plan. `limit_bytes`, `retention_days` and `items_a_month` are None where there is no limit."""

    tier: str
    limit_bytes: int | None
    retention_days: int | None
    items_a_month: int | None
    usd_a_month: int | None


PLANS: Mapping[str, Plan] = {
    plan.tier: plan
    for plan in (
        Plan("free", 1 * _GIB, 30, 100, 0),
        Plan("starter", 10 * _GIB, 90, 1_000, 29),
        Plan("professional", 100 * _GIB, 365, 10_000, 99),
        Plan("business", 500 * _GIB, 5 * 365, 50_000, 299),
        Plan("enterprise", None, None, None, None),
    )
}


def plan_of(tier: str | None) -> Plan:
    """The plan of a tier; an unknown or missing one means free."""
    return PLANS.get(tier or DEFAULT_PLAN, PLANS[DEFAULT_PLAN])
