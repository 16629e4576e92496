"""What the ledger answered: the numbers behind a yes or a no, and the errors that carry a no. No SQL here."""

from dataclasses import dataclass
from typing import Any, Literal

from content_orchestration.core.errors import Permanent
from content_orchestration.core.quota.plans import Plan, plan_for

Scope = Literal["tenant", "brand", "generation"]
UNLIMITED = "unlimited"
_WHAT: dict[Scope, tuple[str, str]] = {
    "tenant": ("storage", "bytes"),
    "brand": ("the brand's storage", "bytes"),
    "generation": ("this month's generated items", "items"),
}


@dataclass(frozen=True)
class QuotaDecision:
    """One limit and how it stood: bytes for a tenant or a brand, items for a month of generation.

    `used` and `reserved` are as after a yes and as before a no; `requested` is what a no was asked for, 0 after a yes.
    """

    scope: Scope
    used: int
    reserved: int
    limit: int | None
    requested: int
    plan: str
    plan_recognised: bool

    @property
    def projected(self) -> int:
        """What would count against the limit if what was requested were granted."""
        return self.used + self.reserved + self.requested

    @property
    def remaining(self) -> int | None:
        """What can still be reserved, never below 0; None without a limit."""
        return None if self.limit is None else max(0, self.limit - self.used - self.reserved)

    @property
    def percent(self) -> float | None:
        """Share of the limit that is used or reserved; None without a limit. A limit of nothing is full."""
        if self.limit is None:
            return None
        return 100 * (self.used + self.reserved) / self.limit if self.limit else 100.0

    @property
    def plan_that_fits(self) -> Plan | None:
        """The cheapest plan with room for what is projected; None where the limit is not the plan's but the brand's."""
        if self.scope == "brand":
            return None
        if self.scope == "generation":
            return plan_for(items_a_month=self.projected)
        return plan_for(stored_bytes=self.projected)

    def as_headers(self) -> dict[str, str]:
        """X-Quota-Used, -Limit, -Remaining and -Percent for whoever serves HTTP. Used includes what is reserved.

        Without a limit, Limit and Remaining are the word `unlimited` and Percent is 0.0.
        """
        return {
            "X-Quota-Used": str(self.used + self.reserved),
            "X-Quota-Limit": UNLIMITED if self.limit is None else str(self.limit),
            "X-Quota-Remaining": UNLIMITED if self.remaining is None else str(self.remaining),
            "X-Quota-Percent": f"{self.percent or 0.0:.1f}",
        }

    def as_metadata(self) -> dict[str, Any]:
        """For an asset's or an event's metadata."""
        fits = self.plan_that_fits
        return {
            "scope": self.scope,
            "used": self.used,
            "reserved": self.reserved,
            "limit": UNLIMITED if self.limit is None else self.limit,
            "projected": self.projected,
            "percent": "no limit" if self.percent is None else round(self.percent, 1),
            "plan": self.plan,
            "plan_recognised": self.plan_recognised,
            "plan_that_fits": fits.tier if fits else "none: the limit is the brand's own",
            "usd_a_month": price(fits),
        }


def price(plan: Plan | None) -> str:
    """The price of a plan in words."""
    if plan is None:
        return "none"
    return "on request" if plan.usd_a_month is None else f"${plan.usd_a_month}"


class QuotaExceeded(Permanent):
    """There is no room. Nothing was reserved or settled in any scope; `decision` has the numbers of the limit."""

    def __init__(self, subject: str, decision: QuotaDecision) -> None:
        what, unit = _WHAT[decision.scope]
        fits = decision.plan_that_fits
        way_out = (
            f"plan {fits.tier} ({price(fits)} a month) has room; or delete content, or ask for less"
            if fits
            else "raise the brand's limit in storage_quotas, delete content of the brand, or ask for less"
        )
        super().__init__(
            f"{subject}: {what} is at {decision.percent or 0:.1f} % of {decision.limit} {unit} ({decision.used} used, "
            f"{decision.reserved} reserved, plan {decision.plan}{'' if decision.plan_recognised else ', by default'}), "
            f"and {decision.requested} more would make {decision.projected}: nothing was changed; {way_out}"
        )
        self.decision = decision
        self.scope = decision.scope
        self.used = decision.used
        self.reserved = decision.reserved
        self.limit = decision.limit
        self.projected = decision.projected
        self.percent = decision.percent
        self.plan = decision.plan
        self.plan_that_fits = fits.tier if fits else None
        self.price = fits.usd_a_month if fits else None


class InvalidRequest(Permanent):
    """An argument breaks a rule that its message names. Nothing was written."""


class UnknownTenant(Permanent):
    """The tenant is not among the platform's. Nothing was written."""


class UnknownBrand(Permanent):
    """The brand is not one of this tenant's; whether another tenant has it is not told. Nothing was written."""


class KeyReused(Permanent):
    """The idempotency key belongs to a reservation of other amounts. Nothing was written."""


class UnknownReservation(Permanent):
    """No reservation has this id. Nothing was written."""


class ReservationEnded(Permanent):
    """The reservation was settled with other amounts, or released. Nothing was written."""
