"""The plans: what a tenant may store, keep and generate. One table of constants; nothing else knows a limit."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

_GIB = 1024**3
DEFAULT_PLAN = "free"


@dataclass(frozen=True)
class Plan:
    """A plan. `limit_bytes`, `retention_days` and `items_a_month` are None where there is no limit.

    `usd_a_month` is None where the price is agreed with the customer.
    """

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


def plan_of(tier: str | None, plans: Mapping[str, Plan] = PLANS) -> Plan:
    """The plan of a tier; an unknown or missing one means free."""
    return plans.get(tier or DEFAULT_PLAN, plans[DEFAULT_PLAN])


def plan_for(*, stored_bytes: int = 0, items_a_month: int = 0) -> Plan:
    """The cheapest plan that has room for so much; the last one has room for everything."""
    return next(
        plan
        for plan in PLANS.values()
        if (plan.limit_bytes is None or stored_bytes <= plan.limit_bytes)
        and (plan.items_a_month is None or items_a_month <= plan.items_a_month)
    )


def limits_document(plans: Mapping[str, Plan] = PLANS) -> str:
    """The limits as the functions of revision 0006 take them: `{"free": {"bytes": 1073741824, "items": 100}, …}`."""
    return json.dumps({p.tier: {"bytes": p.limit_bytes, "items": p.items_a_month} for p in plans.values()})
