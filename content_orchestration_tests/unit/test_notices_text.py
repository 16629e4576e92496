"""What a notice says, and the targets that can be told by themselves: the file, and URLs that are refused."""

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.quota.notice_text import Message, Notice, message_of, offer, plan_that_fits, size
from content_orchestration.core.quota.outbox import backoff
from content_orchestration.core.quota.plans import PLANS
from content_orchestration.resources.notifier import NotifierResource
from content_orchestration.resources.notifier_targets import AppriseTarget, FileTarget
from content_orchestration.settings import Settings
from content_orchestration_tests.e2e.environment import environment

GIB = 1024**3
CANARY = "canary5e21"


def notice(**given: Any) -> Notice:
    return Notice(
        **{
            "id": 7, "tenant_id": "t", "tenant": "Acme", "brand_id": None, "brand": None, "level": 85,
            "used_bytes": 9 * GIB, "limit_bytes": 10 * GIB, "plan_tier": "starter",
            "created_at": datetime(2026, 3, 1, 12, 30, tzinfo=UTC), "attempts": 1, **given,
        }
    )  # fmt: skip


def test_a_notice_says_what_is_used_what_is_left_and_which_plan_fits() -> None:
    message = message_of(notice())
    assert message.subject == "Acme: 85 % of the storage is used"
    assert message.text.splitlines() == [
        "Acme has used 9 GiB of 10 GiB (90.0 %).",
        "1 GiB left.",
        "Plan: starter. The plan that fits: professional, 100 GiB, $99 a month.",
        "",
        f"Notice {message.id}, written 2026-03-01 12:30 UTC.",
    ]
    assert message.id == "quota-7-20260301T123000.000000Z"
    assert (message.facts["left_bytes"], message.facts["plan_that_fits_usd_a_month"]) == (GIB, 99)


def test_above_the_limit_it_says_what_happens() -> None:
    text = message_of(notice(level=100, used_bytes=12 * GIB)).text
    assert "2 GiB above the limit: nothing more is stored until there is room; what is there stays." in text
    assert "(120.0 %)" in text


def test_a_brands_notice_names_it_and_no_plan() -> None:
    message = message_of(notice(brand_id="b", brand="Acme Tools", level=80, used_bytes=4 * GIB, limit_bytes=5 * GIB))
    assert message.subject == "Acme, brand Acme Tools: 80 % of the storage is used"
    assert "brand's own" in message.text
    assert message.facts["plan_that_fits"] is None
    assert "brand b" in message_of(notice(brand_id="b")).subject


def test_without_a_limit_nothing_is_missing() -> None:
    text = message_of(notice(limit_bytes=None, plan_tier="enterprise")).text
    assert text.startswith("Acme has used 9 GiB of no limit.\nNo limit left.\n\n")


@pytest.mark.parametrize(
    ("plan", "used", "fits"),
    [
        ("free", 0.9, "starter"), ("free", 7.1, "professional"), ("starter", 9, "professional"),
        ("gold", 0.9, "starter"), ("professional", 95, "business"), ("business", 480, "enterprise"),
        ("enterprise", 9000, None), ("free", 600, "enterprise"),
    ],
)  # fmt: skip
def test_the_plan_that_fits_is_the_cheapest_with_room_to_grow(plan: str, used: float, fits: str | None) -> None:
    found = plan_that_fits(plan, int(used * GIB))
    assert (found.tier if found else None) == fits


def test_an_offer_without_price_or_limit() -> None:
    assert offer(PLANS["enterprise"]) == "unlimited storage, price on request"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1,023 bytes"),
        (1024, "1 KiB"),
        (1536 * 1024, "1.5 MiB"),
        (5 * GIB, "5 GiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    "name", ["A\nBcc: victim@example.com", "A\r\n\r\nB", "<!channel> A", "A\x00\x1b[31m", "A" * 999]
)
def test_a_tenants_name_stays_a_name(name: str) -> None:
    subject = message_of(notice(tenant=name)).subject
    assert subject.isprintable()
    assert not {"<", ">"} & set(subject)
    assert len(subject) < 260


def test_the_wait_doubles_up_to_an_hour_and_never_ends() -> None:
    assert [backoff(n) for n in (1, 2, 3, 7, 8, 9, 5_000)] == [30, 60, 120, 1_920, 3_600, 3_600, 3_600]


def lines(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def told(number: int) -> Message:
    return Message(f"quota-{number}", "s", "t\nt", {"used_bytes": 1})


def test_the_file_keeps_one_line_a_notice(tmp_path: Path) -> None:
    path = tmp_path / "new" / "notices.jsonl"
    for number in (1, 2, 1, 2, 2, 3):
        FileTarget(path).send(told(number))
    assert lines(path) == ["quota-1", "quota-2", "quota-3"]
    assert json.loads(path.read_text().splitlines()[0]) == {
        "id": "quota-1", "subject": "s", "text": "t\nt", "used_bytes": 1,
    }  # fmt: skip


def test_a_line_that_a_crash_tore_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "notices.jsonl"
    FileTarget(path).send(told(1))
    with path.open("a") as file:
        file.write('not json\n[1]\n{"id": "quota-2", "subj')
    FileTarget(path).send(told(2))
    assert path.read_text().splitlines()[1:3] == ["not json", "[1]"]
    assert json.loads(path.read_text().splitlines()[3])["id"] == "quota-2"


def _send_all(path: Path) -> None:
    for number in range(40):
        FileTarget(path).send(told(number))


def test_writers_at_once_double_nothing(tmp_path: Path) -> None:
    path = tmp_path / "notices.jsonl"
    # The lock belongs to the opened file, so threads exclude each other as processes do.
    writers = [threading.Thread(target=_send_all, args=(path,)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(lines(path)) == sorted(f"quota-{number}" for number in range(40))


def test_a_file_that_cannot_be_written_is_worth_a_retry(tmp_path: Path) -> None:
    (tmp_path / "notices.jsonl").mkdir()
    with pytest.raises(Transient, match=r"notices.jsonl could not be written"):
        FileTarget(tmp_path / "notices.jsonl").send(told(1))


ALLOWED = frozenset({"mailto", "mailtos", "slack", "workflow", "workflows", "json"})


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("telegram://1/2", "scheme 'telegram'; allowed are json, mailto"),
        ("nonsense", "scheme ''"),
        (f"slack://{CANARY}", r"cannot read the slack:// URL in NOTIFY_URLS \(slack-[0-9a-f]{12}\)"),
        (f"mailto://u:{CANARY}@host/?from=a@example.com&to=a@example.com,b@example.com", "has 2 recipients"),
        ("mailto://host/?from=a@example.com&to=a@example.com&cc=b@example.com", "has 2 recipients"),
        ("mailto://host/?from=a@example.com&to=a@example.com&bcc=b@example.com", "has 2 recipients"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_telling_it(url: str, rule: str) -> None:
    with pytest.raises(Permanent, match=rule) as caught:
        AppriseTarget(url, ALLOWED)
    assert CANARY not in str(caught.value)


GOOD = [
    "mailtos://user:password@example.com/?from=a@example.com&to=b@example.com",
    "slack://TAAAAAAAA/BAAAAAAAA/abcdefghijklmnopqrstuvwx",
    "workflows://example.com:443/workflow1234/signature1234",
]


def test_targets_are_the_urls_of_the_environment(tmp_path: Path) -> None:
    with environment({"NOTIFY_URLS": f" {GOOD[0]}\n{GOOD[1]}  {GOOD[2]} {GOOD[0]} "}):
        names = [target.name for target in NotifierResource().targets()]
        assert [name.partition("-")[0] for name in names] == ["mailtos", "slack", "workflows"]
        assert names == [target.name for target in NotifierResource().targets()], "names are stable"
        assert "password" not in "".join(names)
    with environment({"LOCAL_STATE_DIR": str(tmp_path)}):
        (target,) = NotifierResource().targets()
        assert target.name == "file"
        target.send(told(1))
    assert lines(tmp_path / "notices.jsonl") == ["quota-1"]


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        (f"json://{CANARY}/", "the scheme 'json'; NOTIFY_SCHEMES allows mailto mailtos"),
        (f"msteams://{CANARY}/", "Teams retired msteams://, use workflows://"),
        (CANARY, "no scheme"),
    ],
)
def test_settings_refuse_other_schemes_without_telling_the_url(url: str, rule: str) -> None:
    with environment({}), pytest.raises(ValidationError) as caught:
        Settings(NOTIFY_URLS=f"{GOOD[0]} {url}")  # type: ignore[call-arg, arg-type]
    assert rule in str(caught.value)
    assert CANARY not in str(caught.value)


def test_settings_allow_what_they_are_told_to() -> None:
    with environment({"NOTIFY_URLS": "json://127.0.0.1:9/x", "NOTIFY_SCHEMES": "json"}):
        (target,) = NotifierResource().targets()
        assert target.name.startswith("json-")
