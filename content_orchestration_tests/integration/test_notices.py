"""Delivery of notices against real receivers: once each, retried until they arrive, one a day, and through crashes."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from content_orchestration.core.errors import Transient
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.quota.notice_text import Message
from content_orchestration.core.quota.outbox import DeliveryReport, deliver, waiting
from content_orchestration.resources.notifier_targets import AppriseTarget, FileTarget
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.notice_receivers import Receiver, http_receiver, mail_receiver
from content_orchestration_tests.usage_rows import GIB, brand, run, tenant

ALLOWED = {"json", "mailto"}


@pytest.fixture
def database(database_url: str) -> Iterator[PostgresClient]:
    with PostgresClient(database_url) as client:
        yield client


@pytest.fixture
def endpoint() -> Iterator[Receiver]:
    with http_receiver() as receiver:
        yield receiver


def over_http(receiver: Receiver) -> AppriseTarget:
    return AppriseTarget(f"json://127.0.0.1:{receiver.port}/token-secret", ALLOWED)


def outbox(database: PostgresClient, count: int, **given: Any) -> list[int]:
    """That many pending notices, each of another tenant unless one is given."""
    values = {"tenant_id": None, "brand_id": None, "level": 85} | given
    rows = run(
        database,
        "INSERT INTO quota_notices (tenant_id, brand_id, scope, level, severity, crossing, cause, used_bytes, "
        "reserved_bytes, limit_bytes, plan_tier) SELECT coalesce(%(tenant_id)s::uuid, gen_random_uuid()), "
        "%(brand_id)s::uuid, CASE WHEN %(brand_id)s::uuid IS NULL THEN 'tenant' ELSE 'brand' END, %(level)s, "
        "'warning', n + coalesce((SELECT max(crossing) FROM quota_notices), 0), 'use', 900, 0, 1000, 'free' "
        "FROM generate_series(1, %(count)s) AS n RETURNING id",
        values | {"count": count},
    )
    return [row["id"] for row in rows]


def state(database: PostgresClient, notice: int) -> dict[str, Any]:
    (row,) = run(
        database,
        "SELECT *, next_attempt_at > now() AS later, "
        "extract(epoch FROM next_attempt_at - now())::float8 AS wait_seconds FROM quota_notices WHERE id = %s",
        [notice],
    )
    return row


def due_again(database: PostgresClient) -> None:
    """As if the waits and leases were over."""
    run(database, "UPDATE quota_notices SET next_attempt_at = now() - interval '1 s', claimed_until = NULL")


def ids(receiver: Receiver) -> Counter[int]:
    """How often each notice arrived, by the id in its text."""
    return Counter(int(body["message"].split("Notice quota-")[1].split("-")[0]) for body in receiver.received)


def test_a_crossing_reaches_the_file_once_with_what_fits(database: PostgresClient, tmp_path: Path) -> None:
    owner = tenant(database, "free", "Bluebird Bakery")
    of = brand(database, owner, "Rye")
    run(database, "INSERT INTO storage_quotas (brand_id, tenant_id, limit_bytes) VALUES (%s, %s, %s)", [of, owner, GIB])
    ledger = QuotaLedger(database)
    held = ledger.reserve(owner, of, bytes=9 * GIB // 10, items=1)
    ledger.settle(held, bytes=9 * GIB // 10, items=1)
    path = tmp_path / "notices.jsonl"
    assert waiting(database).due == 2
    report = deliver(database, [FileTarget(path)])
    assert (report.delivered, report.failed, report.throttled) == (2, 0, 0)
    assert report.as_metadata()["sends_by_target"] == {"file": 2}
    text = path.read_text()
    assert "Bluebird Bakery has used 921.6 MiB of 1 GiB (90.0 %)." in text
    assert "102.4 MiB left." in text
    assert "Plan: free. The plan that fits: starter, 10 GiB, $29 a month." in text
    assert "Bluebird Bakery, brand Rye: 80 % of the storage is used" in text
    assert deliver(database, [FileTarget(path)]).delivered == 0
    assert path.read_text() == text
    assert waiting(database).as_metadata() == {
        "waiting": 0, "due": 0, "oldest_seconds": 0, "most_attempts": 0, "last_error": "none",
    }  # fmt: skip
    superseded = run(database, "SELECT level FROM quota_notices WHERE suppressed = 'superseded'")
    assert superseded == [{"level": 70}]


def test_deliverers_that_race_send_each_notice_once(database_url: str, endpoint: Receiver) -> None:
    reports: list[DeliveryReport] = []
    start = threading.Barrier(6)

    def work() -> None:
        with PostgresClient(database_url) as mine:
            start.wait()
            reports.append(deliver(mine, [over_http(endpoint)]))

    with PostgresClient(database_url) as database:
        notices = outbox(database, 90)
        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ids(endpoint) == Counter(dict.fromkeys(notices, 1))
        assert sum(report.delivered for report in reports) == 90
        assert sum(report.delivered > 0 for report in reports) > 1, "only one of them worked: nothing raced"
        assert waiting(database).waiting == 0


def test_a_failure_is_told_counted_and_retried_until_it_arrives(database: PostgresClient, endpoint: Receiver) -> None:
    (notice,) = outbox(database, 1)
    endpoint.answers = [500, 503]
    for attempt, least in ((1, 15), (2, 30)):
        report = deliver(database, [over_http(endpoint)], jitter=lambda: 0.0)
        assert (report.failed, report.delivered, ids(endpoint)) == (1, 0, {})
        row = state(database, notice)
        assert (row["attempts"], row["delivered_at"], row["later"]) == (attempt, None, True)
        assert least - 5 < row["wait_seconds"] <= least
        assert f"error={'500' if attempt == 1 else '503'}" in row["last_error"]
        assert "token-secret" not in row["last_error"]
        assert waiting(database).last_error == row["last_error"]
        assert deliver(database, [over_http(endpoint)]).sends == {}, "not before its time"
        due_again(database)
    assert deliver(database, [over_http(endpoint)]).delivered == 1
    assert ids(endpoint) == {notice: 1}
    row = state(database, notice)
    assert (row["attempts"], row["last_error"]) == (3, None)
    assert row["delivered_at"] is not None


def test_a_target_that_is_down_neither_stops_nor_doubles_the_other(
    database: PostgresClient, endpoint: Receiver, tmp_path: Path
) -> None:
    notices = outbox(database, 5)
    file = FileTarget(tmp_path / "n.jsonl")
    endpoint.answers = [500] * 3
    report = deliver(database, [over_http(endpoint), file])
    assert (report.failed, report.delivered, report.sends) == (5, 0, {"file": 5})
    assert endpoint.refused == 3, "after three failures it is left alone for this pass"
    assert "failed 3 times in this pass" in report.errors[-1]
    assert state(database, notices[0])["delivered_to"] == ["file"]
    due_again(database)
    report = deliver(database, [over_http(endpoint), file])
    assert (report.delivered, dict(report.sends)) == (5, {over_http(endpoint).name: 5})
    assert ids(endpoint) == Counter(dict.fromkeys(notices, 1))
    assert len((tmp_path / "n.jsonl").read_text().splitlines()) == 5


def test_a_server_that_is_not_there_is_a_failure_and_not_an_end(database: PostgresClient) -> None:
    with http_receiver() as gone:
        target = over_http(gone)
    (notice,) = outbox(database, 1)
    assert deliver(database, [target]).failed == 1
    error = state(database, notice)["last_error"]
    assert "Connection error" in error
    assert "refused" in error
    assert "with url: /***" in error


def test_one_a_day_for_a_tenant_or_brand_and_level(database: PostgresClient, endpoint: Receiver) -> None:
    owner = tenant(database)
    of = brand(database, owner)
    first, repeated = outbox(database, 2, tenant_id=owner)
    (higher,) = outbox(database, 1, tenant_id=owner, level=95)
    (brands,) = outbox(database, 1, tenant_id=owner, brand_id=of)
    (others,) = outbox(database, 1)
    report = deliver(database, [over_http(endpoint)])
    assert (report.delivered, report.throttled) == (4, 1)
    assert ids(endpoint) == {first: 1, higher: 1, brands: 1, others: 1}
    assert state(database, repeated)["suppressed"] == "throttled"

    run(database, "UPDATE quota_notice_throttle SET let_through_at = now() - interval '23 hours 59 minutes'")
    (early,) = outbox(database, 1, tenant_id=owner)
    assert deliver(database, [over_http(endpoint)]).throttled == 1
    run(database, "UPDATE quota_notice_throttle SET let_through_at = now() - interval '24 hours'")
    (next_day,) = outbox(database, 1, tenant_id=owner)
    assert deliver(database, [over_http(endpoint)]).delivered == 1
    assert (ids(endpoint)[early], ids(endpoint)[next_day]) == (0, 1)


def test_a_notice_that_failed_does_not_throttle_itself(database: PostgresClient, endpoint: Receiver) -> None:
    owner = tenant(database)
    (notice,) = outbox(database, 1, tenant_id=owner)
    endpoint.answers = [500]
    assert deliver(database, [over_http(endpoint)]).failed == 1
    due_again(database)
    assert deliver(database, [over_http(endpoint)]).delivered == 1
    assert ids(endpoint) == {notice: 1}


def test_deliverers_that_race_let_one_notice_of_a_level_through(database_url: str, endpoint: Receiver) -> None:
    start = threading.Barrier(4)

    def work() -> None:
        with PostgresClient(database_url) as mine:
            start.wait()
            deliver(mine, [over_http(endpoint)])

    with PostgresClient(database_url) as database:
        outbox(database, 40, tenant_id=str(uuid4()))
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(endpoint.received) == 1
        assert waiting(database).waiting == 0


class Overtaken:
    """A target in whose send the lease runs out, and another deliverer takes the notice."""

    name = "overtaken"

    def __init__(self, database: PostgresClient, other: Any) -> None:
        self._database, self._other = database, other

    def send(self, message: Message) -> None:
        run(self._database, "UPDATE quota_notices SET claimed_until = now() - interval '1 s'")
        assert deliver(self._database, [self._other]).delivered == 1


def test_who_lost_the_lease_writes_and_sends_nothing_more(
    database: PostgresClient, endpoint: Receiver, tmp_path: Path
) -> None:
    (notice,) = outbox(database, 1)
    file = FileTarget(tmp_path / "n.jsonl")
    report = deliver(database, [Overtaken(database, file), over_http(endpoint)])
    assert (report.lost, report.delivered, report.failed) == (1, 0, 0)
    assert endpoint.received == []
    row = state(database, notice)
    assert (row["delivered_to"], row["attempts"]) == (["file"], 2)

    class Expired:
        name = "expired"

        def send(self, message: Message) -> None:
            run(database, "UPDATE quota_notices SET claimed_until = now() - interval '1 s'")
            raise Transient("slow")

    (other,) = outbox(database, 1)
    report = deliver(database, [Expired(), over_http(endpoint)], most=1)
    assert (report.lost, endpoint.received) == (1, []), "the lease is asked for before each send"
    assert state(database, other)["delivered_at"] is None


def test_no_more_than_asked_for_is_sent(database: PostgresClient, endpoint: Receiver) -> None:
    outbox(database, 3)
    assert deliver(database, [over_http(endpoint)], most=2).delivered == 2
    assert waiting(database).waiting == 1


DELIVER = """
import sys
from content_orchestration.core.quota.outbox import deliver
from content_orchestration.resources.notifier_targets import AppriseTarget, FileTarget
from content_orchestration.resources.postgres_client import PostgresClient
url, port, path = sys.argv[1:]
targets = [FileTarget(path), AppriseTarget(f"json://127.0.0.1:{port}/token-secret", {"json"})]
with PostgresClient(url) as database:
    deliver(database, targets)
"""


def killed_deliverer(database_url: str, port: int, path: Path, point: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", DELIVER.replace("FileTarget(path)", "FileTarget(__import__('pathlib').Path(path))"),
         database_url, str(port), str(path)],
        env=os.environ | {"CONTENT_FAILPOINT": point}, timeout=60, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == -signal.SIGKILL, ran.stderr


@pytest.mark.parametrize(("point", "doubled"), [("notice_sent:1", 1), ("notice_sent:2", 2)])
def test_a_crash_between_send_and_mark_loses_nothing_and_doubles_only_what_it_was_sending(
    database: PostgresClient, database_url: str, endpoint: Receiver, tmp_path: Path, point: str, doubled: int
) -> None:
    """The file has each notice once whatever happens. HTTP knows no ids: killed in its moment, it hears one twice."""
    notices = outbox(database, 3)
    path = tmp_path / "n.jsonl"
    killed_deliverer(database_url, endpoint.port, path, point)
    held = run(
        database, "SELECT claimed_until > now() + interval '4 minutes' AS held FROM quota_notices ORDER BY id LIMIT 1"
    )
    assert held == [{"held": True}]
    assert deliver(database, [FileTarget(path), over_http(endpoint)]).delivered == 2, "the third is still leased"
    due_again(database)
    assert deliver(database, [FileTarget(path), over_http(endpoint)]).delivered == 1
    assert len(path.read_text().splitlines()) == 3
    assert ids(endpoint) == Counter(dict.fromkeys(notices, 1)) + Counter({notices[0]: doubled - 1})
    assert waiting(database).waiting == 0


def test_mail_arrives_with_its_words_and_a_refusal_is_told(database: PostgresClient) -> None:
    run(
        database,
        "INSERT INTO tenants (id, name, slug, created_at) VALUES (%s, 'Kaffeehaus Süd', 'k', now())",
        [uuid4()],
    )
    (owner,) = run(database, "SELECT id::text FROM tenants")
    (notice,) = outbox(database, 1, tenant_id=owner["id"])
    with mail_receiver() as mail:
        url = f"mailto://127.0.0.1:{mail.port}/?from=quota@example.com&to=owner@example.com&mode=insecure"
        target = AppriseTarget(url, ALLOWED)
        mail.answers = [550]
        assert deliver(database, [target]).failed == 1
        assert "no such mailbox here" in state(database, notice)["last_error"]
        assert mail.received == []
        due_again(database)
        assert deliver(database, [target]).delivered == 1
    (message,) = mail.received
    assert message["To"] == "owner@example.com"
    assert message["Subject"] == "Kaffeehaus Süd: 85 % of the storage is used"
    text = message.get_body().get_content()
    assert "900 bytes of 1,000 bytes (90.0 %)" in text
    assert f"Notice quota-{notice}-" in text
