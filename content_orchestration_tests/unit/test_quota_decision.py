"""The numbers behind a yes or a no, the headers made of them, what a refusal says, and which requests are none."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.quota.decision import (
    InvalidRequest,
    QuotaDecision,
    QuotaExceeded,
    ReservationEnded,
    UnknownReservation,
    price,
)
from content_orchestration.core.quota.outcomes import refuse
from content_orchestration.core.quota.plans import PLANS
from content_orchestration.core.quota.reservation import MOST_BYTES, MOST_ITEMS, Amounts, identifier, label, lifetime

GIB = 1024**3


def decision(**given: Any) -> QuotaDecision:
    values = {
        "scope": "tenant", "used": 600, "reserved": 100, "limit": 1000, "requested": 0, "plan": "free",
        "plan_recognised": True,
    }  # fmt: skip
    return QuotaDecision(**(values | given))


def test_headers() -> None:
    assert decision().as_headers() == {
        "X-Quota-Used": "700", "X-Quota-Limit": "1000", "X-Quota-Remaining": "300", "X-Quota-Percent": "70.0",
    }  # fmt: skip


def test_headers_without_a_limit() -> None:
    assert decision(limit=None).as_headers() == {
        "X-Quota-Used": "700", "X-Quota-Limit": "unlimited", "X-Quota-Remaining": "unlimited", "X-Quota-Percent": "0.0",
    }  # fmt: skip


def test_headers_of_a_plan_that_was_lowered() -> None:
    headers = decision(limit=350).as_headers()
    assert (headers["X-Quota-Remaining"], headers["X-Quota-Percent"]) == ("0", "200.0")


def test_a_limit_of_nothing_is_full() -> None:
    assert decision(used=0, reserved=0, limit=0).percent == 100.0


def test_metadata() -> None:
    shown = decision(requested=50).as_metadata()
    assert (shown["projected"], shown["percent"], shown["limit"]) == (750, 70.0, 1000)
    assert (shown["plan_that_fits"], shown["usd_a_month"]) == ("free", "$0")
    unlimited = decision(limit=None, scope="brand").as_metadata()
    assert (unlimited["limit"], unlimited["percent"]) == ("unlimited", "no limit")
    assert (unlimited["plan_that_fits"], unlimited["usd_a_month"]) == ("none: the limit is the brand's own", "none")


@pytest.mark.parametrize(
    ("scope", "used", "requested", "fits", "cost"),
    [
        ("tenant", GIB, 1, "starter", 29),
        ("tenant", 100 * GIB, 1, "business", 299),
        ("tenant", 500 * GIB, 1, "enterprise", None),
        ("generation", 90, 11, "starter", 29),
        ("brand", GIB, 1, None, None),
    ],
)
def test_a_refusal_carries_the_numbers_and_the_way_out(
    scope: Any, used: int, requested: int, fits: str | None, cost: int | None
) -> None:
    error = QuotaExceeded("tenant t", decision(scope=scope, used=used, reserved=0, limit=used, requested=requested))
    assert isinstance(error, Permanent)
    assert (error.scope, error.used, error.reserved, error.limit) == (scope, used, 0, used)
    assert (error.projected, error.percent, error.plan) == (used + requested, 100.0, "free")
    assert (error.plan_that_fits, error.price) == (fits, cost)
    assert "nothing was changed" in str(error)
    assert (f"plan {fits} (" in str(error)) == (fits is not None)
    assert ("storage_quotas" in str(error)) == (scope == "brand")


def test_a_refusal_says_that_the_plan_is_a_default() -> None:
    assert "plan free, by default" in str(QuotaExceeded("t", decision(plan_recognised=False)))
    assert "by default" not in str(QuotaExceeded("t", decision()))


def test_prices() -> None:
    assert [price(plan) for plan in PLANS.values()] == ["$0", "$29", "$99", "$299", "on request"]


@pytest.mark.parametrize("name", ["bytes", "items", "media_bytes", "media_files"])
@pytest.mark.parametrize("value", [-1, 2**51, 0.5, float("nan"), float("inf"), True, None, "1", 2**80])
def test_what_is_no_amount(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=f"{name} is .*: it must be a whole number from 0 to"):
        Amounts(**{name: value})


def test_the_largest_amounts() -> None:
    assert int(Amounts(MOST_BYTES, MOST_ITEMS, MOST_BYTES, MOST_ITEMS).as_values()["bytes"]) == MOST_BYTES


@pytest.mark.parametrize("given", [{"items": 1}, {"bytes": 1}, {"media_bytes": 1}])
def test_something_must_be_asked_for(given: dict[str, int]) -> None:
    Amounts(**given).require_any()
    with pytest.raises(InvalidRequest, match="all 0"):
        Amounts(media_files=3).require_any()


@pytest.mark.parametrize("value", ["", "x" * 201, "a\0b", "\ud800", None, 7, b"key"])
def test_what_is_no_label(value: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"key is .*1 to 200 characters"):
        label("key", value)


def test_labels_may_hold_any_character_else() -> None:
    assert label("key", "Ünïcode 😀 '; --") == "Ünïcode 😀 '; --"
    assert label("key", "x" * 200) == "x" * 200


@pytest.mark.parametrize("value", [timedelta(0), timedelta(seconds=-1), timedelta(days=31), 60, None, float("nan")])
def test_what_is_no_lifetime(value: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"ttl is .*at most 30 days"):
        lifetime(value)


@pytest.mark.parametrize("value", ["", "acme", 7, None, "x" * 10_000])
def test_what_is_no_identifier(value: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"tenant is .*must be a UUID") as caught:
        identifier("tenant", value)
    assert len(str(caught.value)) < 300


def test_an_identifier_may_be_text() -> None:
    made = uuid4()
    assert identifier("tenant", str(made)) == identifier("tenant", made) == made


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [("ended", ReservationEnded), ("unknown", UnknownReservation), ("no_counter", Permanent), ("contended", Transient)],
)
def test_outcomes_become_errors(outcome: str, kind: type[Exception]) -> None:
    error = refuse({"outcome": outcome}, "reservation r")
    assert type(error) is kind
    assert str(error).startswith("reservation r: ")
    assert str(error).endswith("Nothing was changed")
