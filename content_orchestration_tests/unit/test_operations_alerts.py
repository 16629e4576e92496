"""Thresholds, links to the runbook, and what is told past an outbox that cannot be reached: no server, no Dagster."""

import json
import re
import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from content_orchestration.core.errors import Transient
from content_orchestration.core.operations.alert_signs import (
    CHECK_ANCHOR,
    CHECK_ANCHORS,
    JOB_ANCHORS,
    RUN_ANCHOR,
    UNKNOWN_ANCHOR,
    FailedRun,
    of_run,
)
from content_orchestration.core.operations.alert_text import message_of
from content_orchestration.core.operations.health_page import runbook
from content_orchestration.core.operations.health_probe import error_percent, probe_tiers
from content_orchestration.core.operations.outage import PATIENCE_SECONDS, Outage
from content_orchestration.core.operations.thresholds import BY_NAME, GROUPS, RULES, shown
from content_orchestration.core.quota.notice_text import Message
from content_orchestration.settings import PROJECT_ROOT


def headings() -> set[str]:
    """The anchors of the runbook's sections, as GitHub makes them."""
    text = (PROJECT_ROOT / "docs" / "RUNBOOK.md").read_text(encoding="utf-8")
    found = re.findall(r"^#{2,3} (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", each.lower()).replace(" ", "-") for each in found}


def test_every_link_leads_to_a_section_of_the_runbook() -> None:
    linked = {rule.anchor for rule in RULES} | {RUN_ANCHOR, CHECK_ANCHOR, UNKNOWN_ANCHOR, "a-tier-is-down"}
    linked |= {*JOB_ANCHORS.values(), *CHECK_ANCHORS.values()}
    assert linked - headings() == set()


def test_the_original_targets_are_the_limits() -> None:
    said = {name: (BY_NAME[name].limit, BY_NAME[name].unit, BY_NAME[name].inclusive) for name in (
        "zerodb_latency", "zerodb_errors", "unsynced_items", "sync_failing", "quota_rejections", "tenant_usage",
        "replication_lag",
    )}  # fmt: skip
    assert said == {
        "zerodb_latency": (500.0, "ms", False), "zerodb_errors": (1.0, "%", False),
        "unsynced_items": (1000.0, "items", False), "sync_failing": (86400.0, "s", False),
        "quota_rejections": (10.0, "refusals", False), "tenant_usage": (85.0, "%", False),
        "replication_lag": (900.0, "s", True),
    }  # fmt: skip
    assert len(BY_NAME) == len(RULES)
    assert {rule.group for rule in RULES} == set(GROUPS)
    assert all(rule.source and rule.title for rule in RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_limit_itself_is_red_only_where_it_says_so(rule: Any) -> None:
    assert rule.is_red(rule.limit) is rule.inclusive
    assert rule.is_red(rule.limit + 0.001)
    assert not rule.is_red(rule.limit - 0.001)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "s", "0 s"), (59.94, "s", "59.9 s"), (60.0, "s", "1 min"), (90.0, "s", "90 s"), (900.0, "s", "15 min"),
        (3600.0, "s", "1 h"), (7200.0, "s", "2 h"), (86400.0, "s", "1 days"), (172800.0, "s", "2 days"),
        (12.34, "%", "12.3 %"), (1000.0, "items", "1,000 items"), (4.0, "ms", "4 ms"),
    ],
)  # fmt: skip
def test_values_are_shown_in_the_unit_that_suits_them(value: float, unit: str, text: str) -> None:
    assert shown(value, unit) == text


def test_links_begin_with_the_address_of_the_docs_where_it_is_set() -> None:
    assert runbook("x", "") == "docs/RUNBOOK.md#x"
    assert runbook("x", "https://docs.example.com/") == "https://docs.example.com/RUNBOOK.md#x"


def test_probes_stop_after_three_failures_and_keep_what_was_answered() -> None:
    calls: list[int] = []

    def fails_from_the_third() -> None:
        calls.append(1)
        if len(calls) > 2:
            raise Transient("away")

    sample = probe_tiers({"zerodb": fails_from_the_third}, seconds=10.0)["zerodb"]
    assert (sample.probes, sample.failed, sample.is_down, sample.error) == (5, 3, False, "away")
    assert sample.seconds is not None


def test_an_error_of_a_library_is_named() -> None:
    def raises() -> None:
        raise KeyError("dataset")

    assert probe_tiers({"bigquery": raises})["bigquery"].error == "KeyError: 'dataset'"


def test_a_slow_tier_is_asked_less_often_and_has_not_failed() -> None:
    sample = probe_tiers({"bigquery": lambda: time.sleep(0.3)}, seconds=30.0)["bigquery"]
    assert sample.failed == 0
    assert 1 <= sample.probes <= 2


def test_a_probe_that_hangs_is_left_behind() -> None:
    let_go = threading.Event()
    samples = probe_tiers({"zerodb": lambda: let_go.wait(60) and None, "bigquery": lambda: None}, seconds=0.2)
    let_go.set()
    assert (samples["zerodb"].probes, samples["zerodb"].failed, samples["bigquery"].failed) == (1, 1, 0)
    assert error_percent([], "zerodb") is None


class Target:
    """Keeps what it is sent, unless it is away."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.away = False
        self.heard: list[Message] = []

    def send(self, message: Message) -> None:
        if self.away:
            raise Transient("away")
        self.heard.append(message)


def test_an_outage_of_the_outbox_is_told_once_to_each_and_its_end_to_those_who_heard() -> None:
    one, two = Target("one"), Target("two")
    two.away = True
    outage = Outage.load(None)

    def again() -> Outage:
        return Outage.load(outage.dump())

    for after in (0.0, PATIENCE_SECONDS - 1):
        outage.unreachable(1000.0 + after, "refused <x>", [one, two], "link")
        outage = again()
        assert one.heard == []
    for after in (PATIENCE_SECONDS, PATIENCE_SECONDS + 30):
        outage.unreachable(1000.0 + after, "refused <x>", [one, two], "link")
        outage = again()
    assert [message.subject for message in one.heard] == ["ALERT: alerts cannot reach PostgreSQL"]
    assert "refused x\nNext: bring PostgreSQL back" in one.heard[0].text
    two.away = False
    outage.unreachable(1200.0, "refused", [one, two], "link")
    one.away = True
    outage.reachable(1300.0, [one, two])
    outage = again()
    assert (len(one.heard), [m.subject for m in two.heard][1:]) == (1, ["Resolved: alerts reach PostgreSQL again"])
    one.away = False
    outage.reachable(1330.0, [one, two])
    assert "It began 1970-01-01 00:16 UTC, 6 min ago." in one.heard[1].text
    outage.reachable(1360.0, [one, two])
    assert (len(one.heard), len(two.heard), json.loads(outage.dump())) == (2, 2, {"since": None, "told": []})


def test_a_short_outage_is_told_to_nobody() -> None:
    target, outage = Target("one"), Outage()
    outage.unreachable(1000.0, "refused", [target], "link")
    outage.reachable(1030.0, [target])
    assert (target.heard, outage.since) == ([], None)


def row(**given: Any) -> dict[str, Any]:
    moment = datetime(2026, 5, 1, 10, tzinfo=UTC)
    return {
        "id": 7, "kind": "run", "subject": "job", "cause": "run|job|X", "scopes": [""], "summary": "job failed (X)",
        "reason": "why", "next_step": "do", "link": "l", "phase": "open", "occurrences": 1, "opened_at": moment,
        "ended_at": None, "ended_by": None,
    } | given  # fmt: skip


@pytest.mark.parametrize(
    ("ended", "text"),
    [
        (datetime(2026, 5, 1, 10, 5, tzinfo=UTC), "(5 min)"),
        (datetime(2026, 5, 1, 12, 5, tzinfo=UTC), "(2 h 5 min)"),
        (datetime(2026, 5, 4, 12, 5, tzinfo=UTC), "(3 days)"),
    ],
)
def test_the_end_says_how_long_it_was_and_the_ids_differ(ended: datetime, text: str) -> None:
    begins, ends = message_of(row()), message_of(row(phase="resolved", ended_at=ended, ended_by="run 2 succeeded"))
    assert text in ends.text
    assert begins.id == "alert-7-open-20260501T100000.000000Z"
    assert ends.id == "alert-7-resolved-20260501T100000.000000Z"
    assert "It was seen once." in ends.text


@pytest.mark.parametrize(
    ("permanent", "not_retried", "said"),
    [
        (True, False, "mend what the error names, then launch the job again"),
        (False, False, "see the run in the UI; when its cause is gone"),
        (False, True, "it was to be retried, and nothing was started: does the daemon run? Then see the run"),
    ],
)
def test_the_next_step_of_a_failed_run(permanent: bool, not_retried: bool, said: str) -> None:
    failed = FailedRun("r", "replicate_to_bigquery", "", ["a"], "X", "m", permanent, 5, not_retried)
    sign = of_run(failed, "")
    assert sign.next_step.startswith(said)
    assert sign.link == "docs/RUNBOOK.md#a-window-is-left-open"
    assert sign.cause == "run|replicate_to_bigquery|X"
