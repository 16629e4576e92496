"""What a submission must obey, and that a refusal names the field, the rule and the way out."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from content_orchestration.core.generation.checks import (
    checked_batch,
    checked_items,
    document,
    dollars,
    fingerprint,
    storable,
)
from content_orchestration.core.generation.errors import InvalidBatch
from content_orchestration.core.generation.model import FailureCategory, NewBatch, NewItem

TENANT = uuid4()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"content_type": "poem"}, "content_type is 'poem': it must be one of article"),
        ({"tenant_id": "x"}, "tenant_id is 'x': it must be a UUID"),
        ({"brand_id": 7}, "brand_id is 7"),
        ({"user_id": "y"}, "user_id is 'y'"),
        ({"job_type": ""}, "job_type is ''"),
        ({"job_type": "a\0b"}, "job_type"),
        ({"job_type": "\ud800"}, "lone surrogates"),
        ({"job_type": "x" * 201}, "…: it must be a text"),
        ({"params": [1]}, r"params is \[1\]: it must be a mapping"),
        ({"params": {"n": float("nan")}}, "params is no JSON"),
        ({"params": {"n": {1, 2}}}, "params is no JSON"),
        ({"params": {"n": "\ud800"}}, "params is no JSON"),
        ({"params": {"n": "a\0"}}, "params has a NUL"),
        ({"params": {"n": "\\\0"}}, "params has a NUL"),
        ({"params": {"n": "x" * 1024 * 1024}}, "bytes, more than 1,048,576"),
        ({"priority": 40_000}, "priority is 40000"),
        ({"priority": True}, "priority is True"),
        ({"priority": 1.5}, "priority is 1.5"),
        ({"estimated_bytes_per_item": -1}, "estimated_bytes_per_item is -1"),
        ({"estimated_bytes_per_item": True}, "estimated_bytes_per_item is True"),
        ({"estimated_bytes_per_item": 2**31}, "estimated_bytes_per_item"),
        ({"max_cost_usd": Decimal(-1)}, "max_cost_usd is Decimal"),
        ({"max_cost_usd": Decimal("NaN")}, "US dollars from 0"),
        ({"max_cost_usd": True}, "max_cost_usd is True"),
        ({"max_cost_usd": "much"}, "max_cost_usd is 'much'"),
    ],
)
def test_a_batch_that_breaks_a_rule_is_refused_with_the_rule(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidBatch, match=message):
        checked_batch(NewBatch(**{"tenant_id": TENANT, **given}))


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "items are 0: a batch has 1 to 10,000"),
        ([NewItem()] * 10_001, "items are 10,001"),
        ([NewItem(), NewItem(id="")], r"items\[1\].id is ''"),
        ([NewItem(id="a"), NewItem(id="b"), NewItem(id="a")], "the id 'a' twice"),
        ([NewItem(topic_id="x")], r"items\[0\].topic_id"),  # type: ignore[arg-type]
        ([NewItem(article_id="x")], r"items\[0\].article_id"),  # type: ignore[arg-type]
        ([NewItem(request=[])], r"items\[0\].request"),  # type: ignore[arg-type]
        ([NewItem(priority=-40_000)], r"items\[0\].priority"),
    ],
)
def test_an_item_that_breaks_a_rule_is_named(items: list[NewItem], message: str) -> None:
    with pytest.raises(InvalidBatch, match=message):
        checked_items(items)


def test_json_goes_in_as_it_is() -> None:
    assert (
        document("d", {"b": "ü\\u0000", "a": [1, None, 2**70]})
        == '{"a":[1,null,1180591620717411303424],"b":"ü\\\\u0000"}'
    )
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidBatch, match="no JSON"):
        document("d", {"deep": deep})


def test_a_fingerprint_stands_for_the_content_and_not_for_how_it_is_written() -> None:
    def of(batch: NewBatch, *items: NewItem) -> str:
        return fingerprint(checked_batch(batch), checked_items(items))

    plain = of(NewBatch(TENANT, params={"a": 1, "b": 2}, max_cost_usd=Decimal(5)), NewItem(request={"x": 1, "y": 2}))
    assert plain == of(
        NewBatch(str(TENANT), params={"b": 2, "a": 1}, max_cost_usd=Decimal("5.00")),  # type: ignore[arg-type]
        NewItem(request={"y": 2, "x": 1}),
    )
    dear = NewBatch(TENANT, params={"a": 1, "b": 2}, max_cost_usd=Decimal(5))
    others = [
        of(NewBatch(TENANT, params={"a": 1, "b": 2}), NewItem(request={"x": 1, "y": 2})),
        of(dear, NewItem(request={"x": 1, "y": 3})),
        of(dear, NewItem(TENANT, request={"x": 1, "y": 2})),
    ]
    assert len({plain, *others}) == 4


def test_what_a_worker_says_can_be_stored() -> None:
    assert storable("a\0b\ud800c") == "ab?c"
    assert storable("x" * 5000) == "x" * 2000
    assert dollars("d", "0.0000004") == Decimal(0)


def test_which_failures_are_for_good() -> None:
    assert {one.value for one in FailureCategory if one.permanent} == {"content_policy", "invalid_request", "quota"}
