"""What the database's answers mean: numbers as a `QuotaDecision`, a no as the error that says why."""

from collections.abc import Callable, Mapping
from typing import Any

from content_orchestration.core.errors import ContentError, Permanent, Transient
from content_orchestration.core.quota.decision import (
    InvalidRequest,
    KeyReused,
    QuotaDecision,
    QuotaExceeded,
    ReservationEnded,
    UnknownBrand,
    UnknownReservation,
    UnknownTenant,
)

_ERRORS: Mapping[str, tuple[Callable[[str], ContentError], str]] = {
    "unknown_tenant": (UnknownTenant, "the tenant is not in tenants; give the id of one that is"),
    "unknown_brand": (UnknownBrand, "the brand is not one of the tenant's in brands; give one that is, or none"),
    "key_reused": (KeyReused, "the idempotency key belongs to a request of other amounts; use a key once a request"),
    "unknown": (
        UnknownReservation,
        "there is no such reservation; it was never made, or ended long ago and was pruned",
    ),
    "ended": (ReservationEnded, "it has ended already, so that nothing more can be settled; reserve again"),
    "differs": (ReservationEnded, "it was settled with other amounts already; those stand"),
    "less": (InvalidRequest, "the amounts are less than what its parts have settled; give the sum of all of them"),
    "no_counter": (Permanent, "the counters of its tenant or brand were removed; reserve again, which makes them"),
    "contended": (Transient, "others took the room ten times between looking and writing; try again"),
}


def decision_of(row: Mapping[str, Any], requested: int) -> QuotaDecision:
    """The numbers of a row that the ledger's functions answer."""
    return QuotaDecision(
        scope=row["scope"],
        used=row["used"],
        reserved=row["reserved"],
        limit=row["quota"],
        requested=requested,
        plan=row["plan"],
        plan_recognised=row["plan_recognised"],
    )


def refuse(row: Mapping[str, Any], subject: str, requested: int | None = None) -> ContentError:
    """The error that an outcome other than success stands for, about `subject`."""
    if row["outcome"] == "exceeded":
        return QuotaExceeded(subject, decision_of(row, requested or 0))
    kind, reason = _ERRORS[row["outcome"]]
    return kind(f"{subject}: {reason}. Nothing was changed")
