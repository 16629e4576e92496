"""Alerts in PostgreSQL: told once when a cause shows, once when it is over, whoever writes, dies or comes late."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from content_orchestration.core.errors import Transient
from content_orchestration.core.operations.alert_signs import CheckOutcome, tell_checks, tell_health
from content_orchestration.core.operations.alerts import (
    ALERTS,
    Kind,
    Sign,
    close_forgotten,
    forget_old,
    open_alerts,
    raise_alert,
    resolve,
    waiting,
)
from content_orchestration.core.operations.health import take_health
from content_orchestration.core.operations.thresholds import BY_NAME
from content_orchestration.core.quota.notice_text import Message
from content_orchestration.core.quota.outbox import deliver
from content_orchestration.resources.notifier_targets import FileTarget
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.health_world import LIMITS
from content_orchestration_tests.health_world import report as agreed
from content_orchestration_tests.usage_rows import run


@pytest.fixture
def database(database_url: str) -> Iterator[PostgresClient]:
    with PostgresClient(database_url) as client:
        yield client


class Heard:
    """A target that keeps what it is sent, or refuses it so often."""

    name = "heard"

    def __init__(self, refuses: int = 0) -> None:
        self.messages: list[Message] = []
        self.refuses = refuses

    def send(self, message: Message) -> None:
        if self.refuses:
            self.refuses -= 1
            raise Transient("not now")
        self.messages.append(message)

    @property
    def subjects(self) -> list[str]:
        return [message.subject for message in self.messages]


def sign(subject: str = "replicate_to_bigquery", error: str = "Transient", **given: Any) -> Sign:
    return Sign(
        **{
            "kind": Kind.RUN, "subject": subject, "error_class": error, "summary": f"{subject} failed ({error})",
            "reason": "BigQuery is away", "next_step": "wait", "link": "docs/RUNBOOK.md#a-run-failed", "event": 10,
        }
        | given
    )  # fmt: skip


def well(database: PostgresClient, subject: str = "replicate_to_bigquery", **given: Any) -> int:
    return resolve(database, Kind.RUN, subject, "run 7 succeeded", **{"event": 20} | given)


def told(database: PostgresClient, target: Any) -> int:
    return deliver(database, [target], outbox=ALERTS).delivered


def due_again(database: PostgresClient) -> None:
    """As if waits and leases were over."""
    run(database, "UPDATE platform_alerts SET next_attempt_at = now() - interval '1 s', claimed_until = NULL")


def test_an_alert_is_told_once_and_its_end_once_with_cause_and_next_step(database: PostgresClient) -> None:
    heard = Heard()
    assert raise_alert(database, sign())
    assert told(database, heard) == 1
    for event in range(11, 14):
        assert not raise_alert(database, sign(event=event))
        assert told(database, heard) == 0
    (alert,) = open_alerts(database)
    assert (alert.occurrences, alert.subject, alert.kind) == (4, "replicate_to_bigquery", Kind.RUN)
    assert well(database) == 1
    assert well(database) == 0
    assert told(database, heard) == 1
    assert told(database, heard) == 0
    assert open_alerts(database) == []
    assert heard.subjects == [
        "ALERT: replicate_to_bigquery failed (Transient)", "Resolved: replicate_to_bigquery failed (Transient)",
    ]  # fmt: skip
    begun, ended = heard.messages
    assert begun.id != ended.id
    assert "BigQuery is away\nNext: wait\nRunbook: docs/RUNBOOK.md#a-run-failed\n" in begun.text
    assert "Over: run 7 succeeded." in ended.text
    assert "It was seen 4 times." in ended.text
    assert (begun.facts["phase"], ended.facts["phase"]) == ("open", "resolved")
    assert raise_alert(database, sign(event=30)), "what comes back is a new alert"
    assert told(database, heard) == 1


def test_a_sign_that_was_seen_before_the_end_opens_nothing_after_it(database: PostgresClient) -> None:
    """A sensor reads some events twice, since they may be committed late."""
    assert raise_alert(database, sign(event=10))
    assert not raise_alert(database, sign(event=10))
    assert open_alerts(database)[0].occurrences == 1
    assert well(database, event=9) == 0, "a success before the failure proves nothing"
    assert well(database, event=20) == 1
    assert not raise_alert(database, sign(event=10))
    assert not raise_alert(database, sign(event=20))
    assert open_alerts(database) == []
    assert raise_alert(database, sign(event=21))


def test_one_alert_for_each_job_and_class_of_error(database: PostgresClient) -> None:
    heard = Heard()
    for number, (job, error) in enumerate([("a", "X"), ("a", "X"), ("a", "Y"), ("b", "X")], start=1):
        raise_alert(database, sign(job, error, event=number))
    assert told(database, heard) == 3
    assert heard.subjects == ["ALERT: a failed (X)", "ALERT: a failed (Y)", "ALERT: b failed (X)"]
    assert well(database, "a") == 2
    assert [alert.subject for alert in open_alerts(database)] == ["b"]


def test_a_partitioned_job_is_well_when_each_partition_that_failed_is(database: PostgresClient) -> None:
    heard = Heard()
    for number, scope in enumerate(["t1", "t2", "t3", "t1"], start=1):
        raise_alert(database, sign(scope=scope, event=number))
    assert told(database, heard) == 1
    assert heard.messages[0].facts["partitions"] == ["t1", "t2", "t3"]
    assert well(database, scope="t9") == 0, "another one's success proves nothing"
    assert well(database, scope="t1") == 0
    assert well(database, scope="t2") == 0
    assert list(open_alerts(database)[0].scopes) == ["t3"]
    assert well(database, scope="t3") == 1
    raise_alert(database, sign(scope="t1", event=30))
    raise_alert(database, sign(scope="t2", event=31))
    assert well(database, event=40) == 1, "a run of the whole job covers all of them"


def test_an_end_before_anybody_heard_of_the_beginning_is_one_message(database: PostgresClient) -> None:
    heard = Heard(refuses=1)
    raise_alert(database, sign())
    assert told(database, heard) == 0
    assert waiting(database).last_error == "not now"
    well(database)
    assert told(database, heard) == 1
    assert heard.subjects == ["Resolved: replicate_to_bigquery failed (Transient)"]


def test_an_end_while_the_beginning_is_being_told_follows_it(database: PostgresClient) -> None:
    heard = Heard()

    class Ends(Heard):
        def send(self, message: Message) -> None:
            super().send(message)
            if len(self.messages) == 1:
                assert well(database) == 1
                assert deliver(database, [heard], outbox=ALERTS).sends == {}, "it waits for the lease of the beginning"

    ends = Ends()
    report = deliver(database, [ends], outbox=ALERTS)
    assert (report.lost, report.delivered) == (0, 0)
    raise_alert(database, sign())
    report = deliver(database, [ends], outbox=ALERTS)
    assert (report.lost, report.delivered) == (1, 0)
    due_again(database)
    assert told(database, ends) == 1
    assert ends.subjects == [
        "ALERT: replicate_to_bigquery failed (Transient)", "Resolved: replicate_to_bigquery failed (Transient)",
    ]  # fmt: skip
    assert heard.messages == []


def test_a_muted_alert_is_told_no_more(database: PostgresClient) -> None:
    heard = Heard()
    raise_alert(database, sign())
    run(database, "UPDATE platform_alerts SET suppressed = 'muted'")
    raise_alert(database, sign(event=11))
    assert told(database, heard) == 0
    assert well(database) == 1
    assert told(database, heard) == 0
    raise_alert(database, sign(event=30))
    assert told(database, heard) == 1


def test_runs_that_were_quiet_and_checks_that_are_gone_are_closed_with_the_truth(database: PostgresClient) -> None:
    heard = Heard()
    raise_alert(database, sign())
    for name in ("a: kept", "a: gone"):
        raise_alert(database, sign(name, kind=Kind.CHECK))
    told(database, heard)
    assert close_forgotten(database, Kind.CHECK, ["a: kept", "a: gone"]) == 0
    assert close_forgotten(database, Kind.CHECK, ["a: kept"]) == 1
    run(database, "UPDATE platform_alerts SET last_seen_at = now() - interval '7 days 1 min'")
    assert close_forgotten(database, Kind.CHECK, ["a: kept"]) == 1
    assert [alert.subject for alert in open_alerts(database)] == ["a: kept"]
    assert told(database, heard) == 2
    texts = {message.subject: message.text for message in heard.messages[3:]}
    assert "it is not defined any more" in texts["Closed: a: gone failed (Transient)"]
    assert "nothing proves that it is over" in texts["Closed: replicate_to_bigquery failed (Transient)"]


def test_old_alerts_are_forgotten_once_they_are_told(database: PostgresClient) -> None:
    for name in ("told", "untold", "open"):
        raise_alert(database, sign(name))
    for name in ("told", "untold"):
        well(database, name)
    run(database, "UPDATE platform_alerts SET ended_at = now() - interval '91 days' WHERE phase <> 'open'")
    run(database, "UPDATE platform_alerts SET delivered_at = now() WHERE subject <> 'untold'")
    assert forget_old(database) == 1
    assert [row["subject"] for row in run(database, "SELECT subject FROM platform_alerts ORDER BY 1")] == [
        "open", "untold",
    ]  # fmt: skip


def test_texts_of_others_neither_break_a_header_nor_call_a_channel(database: PostgresClient) -> None:
    heard = Heard()
    raise_alert(database, sign("a\r\nBcc: x", reason="<!channel> \0 \ud800 " + "x" * 5000))
    told(database, heard)
    (message,) = heard.messages
    assert message.subject == "ALERT: a Bcc: x failed (Transient)"
    assert "<" not in message.text
    assert "!channel \\0 \\ud800 x" in message.text
    assert len(message.text) < 2000


# --- several at once, and deaths ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_ticks_that_race_open_and_end_each_alert_once(database_url: str, seed: int) -> None:
    """Each of four sensors replays the same history of failures and successes in its own time."""
    rng = random.Random(seed)
    print(f"seed {seed}")  # noqa: T201  (a seed to repeat it with)
    history = [(event, rng.choice("ab"), rng.random() < 0.6) for event in range(1, 41)]
    opened: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    guard, start = threading.Lock(), threading.Barrier(4)

    def tick(own: random.Random) -> None:
        with PostgresClient(database_url) as mine:
            start.wait()
            position = 0
            while position < len(history):
                # A sensor that lost its cursor, or overlaps: it goes back a little.
                for event, job, failed in history[max(0, position - own.randrange(6)) : position + 3]:
                    if failed:
                        new = raise_alert(mine, sign(job, event=event))
                        with guard:
                            opened[job] += new
                    else:
                        done = well(mine, job, event=event)
                        with guard:
                            ended[job] += done
                position += 3

    threads = [threading.Thread(target=tick, args=(random.Random(seed * 10 + n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with PostgresClient(database_url) as database:
        rows = run(database, "SELECT subject, phase, last_event FROM platform_alerts ORDER BY id")
        heard = Heard()
        told(database, heard)
    for job in "ab":
        mine = [(event, failed) for event, name, failed in history if name == job]
        last_failure = max((event for event, failed in mine if failed), default=0)
        is_open = bool(last_failure) and not any(not failed and event > last_failure for event, failed in mine)
        phases = [row["phase"] for row in rows if row["subject"] == job]
        assert phases.count("open") == is_open
        assert opened[job] == len(phases)
        assert ended[job] == phases.count("resolved")
        episodes = sum(failed and (index == 0 or not mine[index - 1][1]) for index, (_, failed) in enumerate(mine))
        assert len(phases) <= episodes, "a cause was told again although nothing new had happened"
    assert len(heard.messages) == len(rows)


ACT = """
import sys
from content_orchestration.core.operations.alerts import ALERTS, Kind, Sign, raise_alert, resolve
from content_orchestration.core.quota.outbox import deliver
from content_orchestration.resources.notifier_targets import FileTarget
from content_orchestration.resources.postgres_client import PostgresClient
from pathlib import Path
with PostgresClient(sys.argv[1]) as database:
    raise_alert(database, Sign(Kind.RUN, "job", "X", "job failed", "r", "n", "l", event=10))
    deliver(database, [FileTarget(Path(sys.argv[2]))], outbox=ALERTS)
    resolve(database, Kind.RUN, "job", "run 2 succeeded", event=20)
    deliver(database, [FileTarget(Path(sys.argv[2]))], outbox=ALERTS)
"""


def act(url: str, path: Path, point: str = "") -> int:
    ran = subprocess.run(
        [sys.executable, "-c", ACT, url, str(path)],
        env=os.environ | {"CONTENT_FAILPOINT": point}, timeout=60, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode in (0, -signal.SIGKILL), ran.stderr
    return ran.returncode


@pytest.mark.parametrize("point", ["alert_raised", "notice_sent:1", "alert_resolved", "notice_sent:2"])
def test_killed_anywhere_each_is_told_once(
    database: PostgresClient, database_url: str, tmp_path: Path, point: str
) -> None:
    """The file knows ids, so that even a death between send and mark shows no line twice."""
    path = tmp_path / "alerts.jsonl"
    assert act(database_url, path, point) == -signal.SIGKILL
    due_again(database)
    assert act(database_url, path) == 0
    due_again(database)
    deliver(database, [FileTarget(path)], outbox=ALERTS)
    phases = [json.loads(line)["phase"] for line in path.read_text().splitlines()]
    assert phases in (["open", "resolved"], ["resolved"]), "in order, and none twice"
    assert phases == ["open", "resolved"] or point == "alert_resolved"
    assert run(database, "SELECT count(*) AS n FROM platform_alerts") == [{"n": 1}]
    assert waiting(database).waiting == 0


# --- what becomes an alert ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [name for name in LIMITS if name not in ("undelivered", "unsynced_items")])
def test_each_red_figure_is_told_once_and_once_that_it_is_well(database: PostgresClient, rule: str) -> None:
    probes = {tier: (lambda: None) for tier in ("postgres", "zerodb", "bigquery")}

    def look() -> tuple[int, int]:
        report = take_health(database, probes, lambda: (1, 1))
        return tell_health(database, report, "https://docs.example.com")

    heard = Heard()
    LIMITS[rule][1](database) if not rule.startswith(("last_", "sync_")) else _both(database, rule)
    assert look() == (1, 0)
    assert look() == (0, 0)
    assert told(database, heard) == 1
    (message,) = heard.messages
    known = BY_NAME[rule]
    assert message.subject == f"ALERT: {known.title} is red"
    assert f"Runbook: https://docs.example.com/RUNBOOK.md#{known.anchor}" in message.text
    assert f"(red {known.words}; {known.source})" in message.text
    for table in ("content_changes", "replication_windows", "content_body_spill", "render_candidates",
                  "quota_rejections", "content_quota_usage", "generation_jobs", "integrity_reports", "restore_drills",
                  "database_backups"):  # fmt: skip
        run(database, f"DELETE FROM {table}")
    assert look() == (0, 1)
    assert look() == (0, 0)
    assert told(database, heard) == 1
    assert heard.subjects[1] == f"Resolved: {known.title} is red"


def _both(database: PostgresClient, rule: str) -> None:
    for make in LIMITS[rule]:
        make(database)
    if rule == "sync_failing":
        # A platform with old syncs is old enough to have been verified.
        agreed(database, "1 min")


def test_an_unknown_figure_neither_opens_nor_ends_an_alert(database: PostgresClient) -> None:
    probes = {tier: (lambda: None) for tier in ("postgres", "zerodb", "bigquery")}
    LIMITS["spill_oldest"][1](database)
    assert tell_health(database, take_health(database, probes, None), "") == (1, 0)
    run(database, "DELETE FROM content_body_spill")
    run(database, "ALTER TABLE render_candidates RENAME TO elsewhere")
    assert tell_health(database, take_health(database, probes, None), "") == (0, 0)
    assert len(open_alerts(database)) == 1
    run(database, "ALTER TABLE elsewhere RENAME TO render_candidates")
    assert tell_health(database, take_health(database, probes, None), "") == (0, 1)


def outcome(name: str, passed: bool, event: int, what: str = "") -> CheckOutcome:
    return CheckOutcome("an_asset", name, passed, what, f"{name} says why", f"run-{event}", event)


def test_a_check_is_told_when_it_fails_and_when_it_passes_again(database: PostgresClient) -> None:
    heard, names = Heard(), ["an_asset: copies_agree", "an_asset: other"]

    def tell(*found: CheckOutcome) -> tuple[int, int]:
        return tell_checks(database, found, names, "")

    assert tell(outcome("copies_agree", False, 5), outcome("other", True, 6)) == (1, 0)
    assert tell(outcome("copies_agree", False, 5), outcome("other", True, 6)) == (0, 0)
    assert tell(outcome("copies_agree", False, 7)) == (0, 0)
    assert open_alerts(database)[0].occurrences == 2
    assert told(database, heard) == 1
    assert "copies_agree says why" in heard.messages[0].text
    assert "Runbook: docs/RUNBOOK.md#the-copies-differ" in heard.messages[0].text
    assert tell(outcome("copies_agree", True, 8)) == (0, 1)
    assert told(database, heard) == 1
    assert "Over: it passed in run run-8." in heard.messages[1].text
    assert tell(outcome("copies_agree", False, 5)) == (0, 0), "an evaluation from before the end opens nothing"


def test_a_check_that_could_not_look_is_another_cause(database: PostgresClient) -> None:
    heard, names = Heard(), ["an_asset: copies_agree"]
    assert tell_checks(database, [outcome("copies_agree", False, 5, "unknown")], names, "") == (1, 0)
    assert tell_checks(database, [outcome("copies_agree", False, 6)], names, "") == (1, 0)
    told(database, heard)
    assert heard.subjects == ["ALERT: an_asset: copies_agree could not look", "ALERT: an_asset: copies_agree failed"]
    assert "#a-check-says-unknown" in heard.messages[0].text
    assert tell_checks(database, [outcome("copies_agree", True, 7)], names, "") == (0, 2)


def test_a_check_that_is_gone_ends_its_alert(database: PostgresClient) -> None:
    tell_checks(database, [outcome("old", False, 5)], ["an_asset: old"], "")
    assert tell_checks(database, [], [], "") == (0, 0)
    assert open_alerts(database) == []
