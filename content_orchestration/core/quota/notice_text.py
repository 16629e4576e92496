"""What a notice says: what is used, what is left, the plan that fits and its price. Delivering it is `outbox.py`'s."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from content_orchestration.core.quota.plans import PLANS, Plan, plan_of

_GIB = 1024**3
# The first threshold of a tenant: a plan that would have to warn at once does not fit.
_ROOM = 0.70


@dataclass(frozen=True)
class Message:
    """What a target gets. `id` is the same at every attempt, so that a receiver can tell a repetition."""

    id: str
    subject: str
    text: str
    facts: Mapping[str, Any]


class Target(Protocol):
    """Somewhere a message can be sent. `name` is stable and holds no secret: the record of deliveries is kept by it."""

    @property
    def name(self) -> str:
        """The target's name."""
        ...

    def send(self, message: Message) -> None:
        """Hand the message over. Raises `Transient` or `Permanent` when the other side did not take it."""
        ...


@dataclass(frozen=True)
class Notice:
    """One crossing of a level, as the ledger wrote it down. Sizes in bytes; `brand_id` is None for a tenant's own."""

    id: int
    tenant_id: str
    tenant: str
    brand_id: str | None
    brand: str | None
    level: int
    used_bytes: int
    limit_bytes: int | None
    plan_tier: str
    created_at: datetime
    attempts: int

    @property
    def message_id(self) -> str:
        """Unique beyond this database: a restored or rebuilt one counts its ids from the start again."""
        return f"quota-{self.id}-{self.created_at:%Y%m%dT%H%M%S.%fZ}"


def plan_that_fits(plan_tier: str, used_bytes: int) -> Plan | None:
    """The cheapest plan larger than this one in which the use is below the first threshold; None when none is."""
    limit = plan_of(plan_tier).limit_bytes
    if limit is None:
        return None
    for plan in PLANS.values():
        if plan.limit_bytes is None or (plan.limit_bytes > limit and used_bytes < _ROOM * plan.limit_bytes):
            return plan
    return None


def message_of(notice: Notice) -> Message:
    """The notice in words, and as facts for receivers that read JSON."""
    limit = notice.limit_bytes
    left = None if limit is None else max(0, limit - notice.used_bytes)
    over = 0 if limit is None else max(0, notice.used_bytes - limit)
    percent = 100 * notice.used_bytes / limit if limit else None
    whose = plain(notice.tenant)
    if notice.brand_id is not None:
        whose += f", brand {plain(notice.brand or notice.brand_id)}"
    subject = f"{whose}: {notice.level} % of the storage is used"
    lines = [
        f"{whose} has used {size(notice.used_bytes)} of {'no limit' if limit is None else size(limit)}"
        + (f" ({percent:.1f} %)." if percent is not None else "."),
        f"{size(over)} above the limit: nothing more is stored until there is room; what is there stays."
        if over
        else f"{'No limit' if left is None else size(left)} left.",
    ]
    fits = None if notice.brand_id is not None else plan_that_fits(notice.plan_tier, notice.used_bytes)
    if notice.brand_id is not None:
        lines.append("The limit is this brand's own; whoever runs the tenant can raise it.")
    elif fits is not None:
        lines.append(f"Plan: {notice.plan_tier}. The plan that fits: {fits.tier}, {offer(fits)}.")
    lines += ["", f"Notice {notice.message_id}, written {notice.created_at:%Y-%m-%d %H:%M} UTC."]
    facts = {
        "tenant_id": notice.tenant_id,
        "tenant": notice.tenant,
        "brand_id": notice.brand_id,
        "level_percent": notice.level,
        "used_bytes": notice.used_bytes,
        "limit_bytes": limit,
        "left_bytes": left,
        "plan": notice.plan_tier,
        "plan_that_fits": None if fits is None else fits.tier,
        "plan_that_fits_usd_a_month": None if fits is None else fits.usd_a_month,
        "created_at": notice.created_at.isoformat(),
    }
    return Message(notice.message_id, subject, "\n".join(lines), facts)


def offer(plan: Plan) -> str:
    """A plan's storage and price in words."""
    room = "unlimited storage" if plan.limit_bytes is None else size(plan.limit_bytes)
    price = "price on request" if plan.usd_a_month is None else f"${plan.usd_a_month} a month"
    return f"{room}, {price}"


def size(count: int) -> str:
    """Bytes in the largest binary unit that leaves at least one of it, two decimals at most."""
    for unit, factor in (("GiB", _GIB), ("MiB", 1024**2), ("KiB", 1024)):
        if count >= factor:
            return f"{count / factor:,.2f}".rstrip("0").rstrip(".") + f" {unit}"
    return "1 byte" if count == 1 else f"{count:,} bytes"


def plain(name: str) -> str:
    """A name that others chose: no line break reaches a mail header, no mark-up or mention reaches a chat."""
    return " ".join("".join(" " if char in "<>" or not char.isprintable() else char for char in name).split())[:200]
