"""The doctor's own rules: it waits no longer than it said, says a line each, shows no secret, and judges by bounds."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from content_orchestration.core.errors import Permanent
from content_orchestration.core.operations.doctor import Finding, Probe, examine, ok, problem, unknown, warning
from content_orchestration.core.operations.doctor_connection import look_into, reason
from content_orchestration.core.operations.doctor_measures import clock, folder, http_clock
from content_orchestration.core.operations.doctor_postgres import server
from content_orchestration.local.cli import main
from content_orchestration.local.doctor import services, tiers, variables
from content_orchestration.local.doctor.secrets import secrets_of
from content_orchestration.settings import Settings
from content_orchestration_tests.e2e.environment import VARIABLES

NOW = 1_790_000_000.0


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "PGPASSWORD"):
        monkeypatch.delenv(name, raising=False)


def fail(error: BaseException) -> Iterator[Finding]:
    yield ok("a", "seen before it failed")
    raise error


def test_what_hangs_is_unknown_after_the_time_and_what_it_said_before_is_kept() -> None:
    release = threading.Event()

    def hang() -> Iterator[Finding]:
        yield ok("slow", "the first look")
        release.wait(60)
        yield ok("slow", "too late")

    began = time.monotonic()
    found = examine([Probe("slow", hang), Probe("quick", lambda: [ok("quick", "there")])], seconds=0.3)
    release.set()
    assert time.monotonic() - began < 5
    assert [(f.about, f.state) for f in found.findings] == [("slow", "ok"), ("slow", "unknown"), ("quick", "ok")]
    assert "no answer within 0.3 s" in found.findings[1].text
    assert not found.healthy


def test_probes_run_side_by_side() -> None:
    meeting = threading.Barrier(3, timeout=10)

    def meet() -> list[Finding]:
        meeting.wait()
        return [ok("met", "")]

    assert examine([Probe("met", meet)] * 3, seconds=20).healthy


def test_a_probe_that_breaks_leaves_the_others_and_shows_no_message_of_a_library() -> None:
    found = examine([
        Probe("a", lambda: fail(Permanent("STORAGE_URL is wrong"))),
        Probe("b", lambda: fail(RuntimeError("canary-in-a-message"))),
        Probe("c", lambda: [ok("c", "fine")]),
    ])  # fmt: skip
    assert [f.state for f in found.findings] == ["ok", "problem", "ok", "unknown", "ok"]
    assert found.findings[1].text == "STORAGE_URL is wrong"
    assert "RuntimeError" in found.findings[3].text
    assert "canary" not in str(found.as_json())


def test_lines_are_one_each_and_secrets_are_struck_out() -> None:
    said = [
        problem("x", "the password\nhunter2-long is bad", "not hunter2-long-er\n  but another"),
        ok("longer", "y"),
    ]
    found = examine([Probe("x", lambda: said)], secrets={"hunter2-long", "hunter2-long-er", "bad", ""})
    assert found.as_lines() == [
        "problem  x       the password *** is bad -> not *** but another",
        "ok       longer  y",
    ]
    assert found.as_json()["counts"] == {"ok": 1, "warning": 0, "problem": 1, "unknown": 0}
    json.dumps(found.as_json())


def test_warnings_leave_it_healthy_and_the_main_job_mends_what_it_makes() -> None:
    said = [ok("a", ""), warning("b", "", ""), problem("c", "", "", mended_by_main_job=True), unknown("d", "")]
    assert examine([Probe("p", lambda: said[:2])]).healthy
    for each in said[2:]:
        assert not examine([Probe("p", lambda each=each: [each])]).healthy  # type: ignore[misc]
    left = examine([Probe("p", lambda: said)]).before_the_main_job()
    assert [f.about for f in left.findings] == ["b", "d"]


@pytest.mark.parametrize(
    ("there", "state", "said"),
    [
        (0.0, "ok", "differs"), (4.9, "ok", "differs"), (-4.9, "ok", "differs"), (6.5, "warning", "ahead of"),
        (-6.5, "warning", "behind"), (62, "problem", "ahead of"), (-3600, "problem", "behind"),
    ],
)  # fmt: skip
def test_clocks_are_judged_by_stated_bounds(there: float, state: str, said: str) -> None:
    found = clock("c", NOW, NOW + 0.5 + there, NOW + 1)
    assert (found.state, said in found.text) == (state, True), found
    # What the answer's second leaves open counts for the clock.
    read = http_clock("c", NOW, formatdate(NOW + there), NOW + 0.1)
    assert read.state == state, read


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_a_server_without_a_date_is_a_warning(date: str | None) -> None:
    assert http_clock("c", NOW, date, NOW).state == "warning"


@dataclass
class Disk:
    f_frsize: int = 4096
    f_bavail: int = 10**9
    f_files: int = 10**6
    f_favail: int = 10**5


@pytest.mark.parametrize(
    ("disk", "state", "said"),
    [
        (Disk(), "ok", "MiB free"),
        (Disk(f_bavail=100), "problem", "less than 256"),
        (Disk(f_bavail=200_000), "warning", "less than 2,048"),
        (Disk(f_favail=0), "problem", "no more files"),
        (Disk(f_files=0, f_favail=0), "ok", "MiB free"),
    ],
)
def test_a_full_disk_is_a_problem_before_it_is_one(tmp_path: Path, disk: Disk, state: str, said: str) -> None:
    (found,) = folder("f", tmp_path / "a" / "b", lambda path: disk)
    assert (found.state, said in found.text) == (state, True), found
    assert found.stops == (state == "problem")
    assert list(tmp_path.iterdir()) == [], "the look leaves nothing behind"


def test_a_folder_that_cannot_be_made_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (found,) = folder("f", tmp_path / "file" / "state", lambda path: Disk())
    assert found.state == "problem"
    assert "cannot be written" in found.text
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize(
    ("given", "about", "state"),
    [
        ({"OPENAI_API_KEY": "sk-ant-api03-aaaaaaaaaaaaaaaaaaaa"}, "OPENAI_API_KEY", "problem"),
        ({"OPENAI_API_KEY": "sk-proj-aaaaaaaaaaaaaaaaaaaaaaaa"}, "OPENAI_API_KEY", "ok"),
        ({"OPENAI_API_KEY": "sk-proj-aaaaaaaaaaaa aaaaaaaaaaa"}, "OPENAI_API_KEY", "problem"),
        ({"ANTHROPIC_API_KEY": "sk-proj-aaaaaaaaaaaaaaaaaaaaaaaa"}, "ANTHROPIC_API_KEY", "problem"),
        ({"ANTHROPIC_API_KEY": "anything", "ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}, "ANTHROPIC_API_KEY", "ok"),
        ({"GENERATION_PROVIDERS": "openai:gpt-5"}, "OPENAI_API_KEY", "problem"),
        ({"GENERATION_PROVIDERS": "openai:gpt-5", "PROVIDER_MASTER_KEY": "k1:x"}, "OPENAI_API_KEY", "warning"),
        ({}, "generation", "ok"),
    ],
)
def test_a_providers_key_is_judged_by_its_shape(given: dict[str, str], about: str, state: str) -> None:
    found = {f.about: f for f in services.providers(Settings(**given))}  # type: ignore[arg-type]
    assert found[about].state == state
    for key in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        assert given.get(key, "?") not in str(found)


def test_a_master_key_is_parsed_and_never_shown() -> None:
    (good,) = services.master_key(Settings(PROVIDER_MASTER_KEY="k7:" + "A" * 43 + "="))
    assert (good.state, "k7" in good.text) == ("ok", True)
    (bad,) = services.master_key(Settings(PROVIDER_MASTER_KEY="k7:canary-not-base64"))
    assert (bad.state, "openssl rand" in bad.way_out, "canary" in str(bad)) == ("problem", True, False)


def test_addresses_of_notices_are_read_without_being_asked() -> None:
    (good,) = services.notifier(Settings(NOTIFY_URLS="mailto://me:canary-pass@example.com"))
    assert (good.state, "canary" in str(good)) == ("ok", False)
    (bad,) = services.notifier(Settings(NOTIFY_URLS="slack://canary-token"))
    assert (bad.state, "canary" in str(bad)) == ("problem", False)


REMOTE = {"DATABASE_PUBLIC_URL": "postgresql://u:p@db.example.com/platform?sslmode=verify-full"}
ZERODB = {"API_BASE_URL": "https://zerodb.example.com/v1", "ZERODB_API_KEY": "k"}
PRODUCTION = REMOTE | ZERODB | {
    "DAGSTER_PG_URL": "postgresql://u:p@db.example.com/dagster?sslmode=require",
    "DRILL_DATABASE_URL": "postgresql://u:p@db.example.com/drill?sslmode=require",
    "BIGQUERY_PROJECT_ID": "prod", "STORAGE_URL": "s3://", "NOTIFY_URLS": "mailto://a:b@example.com",
}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "about", "state", "said"),
    [
        ({}, "variables", "ok", "valid and fit together"),
        (PRODUCTION, "variables", "ok", "valid and fit together"),
        (PRODUCTION | {"DATABASE_PUBLIC_URL": "postgresql://u:p@db.example.com/platform"},
         "DATABASE_PUBLIC_URL", "warning", "does not insist on encryption"),
        (PRODUCTION | {"API_BASE_URL": "http://zerodb.example.com/v1"}, "API_BASE_URL", "problem", "readable"),
        (PRODUCTION | {"DRILL_DATABASE_URL": REMOTE["DATABASE_PUBLIC_URL"]}, "drills", "problem", "a drill destroys"),
        ({"DRILL_BIGQUERY_DATASET": "content_dr"}, "drills", "problem", "a drill destroys"),
        (PRODUCTION | {"DRILL_DATABASE_URL": ""}, "DRILL_DATABASE_URL", "warning", "no drill runs"),
        (PRODUCTION | {"DAGSTER_PG_URL": REMOTE["DATABASE_PUBLIC_URL"]}, "DAGSTER_PG_URL", "warning", "own database"),
        ({"BIGQUERY_PROJECT_ID": "prod"}, "BIGQUERY_PROJECT_ID", "problem", "would enter the live history"),
        (PRODUCTION | {"STORAGE_URL": ""}, "STORAGE_URL", "warning", "lost with the machine"),
        ({"STORAGE_ENDPOINT": "https://s3.example.com"}, "STORAGE_ENDPOINT", "warning", "has no effect"),
        (PRODUCTION | {"BIGQUERY_ENDPOINT": "http://emulator:9050"}, "BIGQUERY_ENDPOINT", "warning", "emulators"),
        ({"GENERATION_PROVIDERS": "openai:gpt-5 template"}, "GENERATION_PROVIDERS", "warning", "stand in"),
        ({"SYNC_MAX_BYTES": "1024"}, "SYNC_MAX_BYTES", "warning", "one body fills"),
        ({"BIGQUERY_SYNC_ENABLED": "false"}, "BIGQUERY_SYNC_ENABLED", "warning", "nothing is copied"),
        (PRODUCTION | {"NOTIFY_URLS": ""}, "NOTIFY_URLS", "warning", "nobody reads"),
    ],
)  # fmt: skip
def test_combinations_that_do_harm_are_named(given: dict[str, Any], about: str, state: str, said: str) -> None:
    found = list(variables.combinations(Settings(**given), {}))
    assert [(f.about, f.state) for f in found] == [(about, state)], found
    assert said in found[0].text
    assert found[0].way_out or state == "ok"


def test_a_misspelt_variable_is_named_and_others_are_not() -> None:
    given = {"BIGQUERY_DATSET": "x", "STORAGE_URL": "s3://b", "PATH": "/bin", "DAGSTER_PG_URL": ""}
    found = list(variables.combinations(Settings(), given))
    assert [(f.about, f.state) for f in found] == [("BIGQUERY_DATSET", "warning")]
    assert "BIGQUERY_DATASET" in found[0].way_out


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_PUBLIC_URL", "postgresql://u:canary%zz@127.0.0.1/db"),
        ("DATABASE_PUBLIC_URL", "postgresql://u:can ary@127.0.0.1/db"),
        ("DAGSTER_PG_URL", "postgresql://u:can@ary@127.0.0.1/db"),
        ("DAGSTER_PG_URL", "postgresql://u:canary@[::1/db"),
        ("DRILL_DATABASE_URL", "postgresql://u:can/ary@127.0.0.1/db"),
        ("API_BASE_URL", "https://u:canary@zerodb.example.com"),
        ("STORAGE_ENDPOINT", "https://u:canary@s3.example.com"),
    ],
)
def test_a_malformed_address_is_named_and_not_quoted(variable: str, value: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(**{variable: value})
    found = list(variables.invalid(caught.value))
    assert [(f.about, f.state) for f in found] == [(variable, "problem"), ("everything else", "unknown")]
    assert "ary" not in str(found).replace("library", "")
    assert found[0].text


def test_every_secret_is_known_in_all_its_parts() -> None:
    settings = Settings(
        DATABASE_PUBLIC_URL="postgresql://shown:p%40ss-word@h/db",
        CELERY_REDIS_URL="redis://:redis-word@h:6379/0",
        NOTIFY_URLS="slack://tokenA/tokenB/tokenC/ mailto://me:mail-word@example.com",
        PROVIDER_MASTER_KEY="k1:base64key",
        OPENAI_API_KEY="sk-abc",
    )  # fmt: skip
    found = secrets_of(settings, {"PGPASSWORD": "from-pg"})
    assert {
        "p%40ss-word", "p@ss-word", "redis-word", "tokenA", "tokenB", "tokenC", "mail-word", "base64key", "sk-abc",
        "from-pg",
    } <= found  # fmt: skip
    assert not {"shown", "k1", "h", "db"} & found


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ('FATAL: password authentication failed for user "u"', "user or the password"),
        ('FATAL: database "x" does not exist', "no such database"),
        ('FATAL: role "x" does not exist', "no such role"),
        ('FATAL: role "x" is not permitted to log in', "may not log in"),
        ("FATAL: no pg_hba.conf entry for host", "no such connection"),
        ("Connection refused", "nothing listens"),
        ("failed to resolve host 'h'", "name is not known"),
        ("connection timeout expired", "no answer within"),
        ("FATAL: sorry, too many clients already", "no more connections"),
        ("server does not support SSL, but SSL was required", "no encrypted connection"),
        ("something in another tongue", "was refused"),
    ],
)
def test_what_libpq_says_is_told_with_a_way_out(said: str, meant: str) -> None:
    text, way_out = reason(said, "DATABASE_PUBLIC_URL")
    assert meant in text
    assert way_out
    assert "{" not in way_out


def test_a_key_file_that_others_can_read_is_told(tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    assert list(tiers.credentials_file(None)) == []
    assert [f.state for f in tiers.credentials_file(str(file))] == ["problem"]
    file.write_text("{}")
    file.chmod(0o644)
    assert [f.state for f in tiers.credentials_file(str(file))] == ["warning"]
    file.chmod(0o600)
    assert [f.state for f in tiers.credentials_file(str(file))] == ["ok"]


SERVER = {
    "version": 180004, "clock": NOW, "replica": False, "read_only": False, "durable": True, "encoding": "UTF8",
    "connections": 97, "role": "owner", "makes_roles": True, "makes_tables": True,
}  # fmt: skip


class Answering:
    """A connection whose server says what no server of these tests would."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.row = row

    def execute(self, query: str) -> "Answering":
        return self

    def fetchone(self) -> dict[str, Any]:
        return self.row


@pytest.mark.parametrize(
    ("given", "state", "said"),
    [
        ({}, "ok", "PostgreSQL 18, role owner, 97 connections"),
        ({"version": 130011}, "problem", "PostgreSQL 13 is too old"),
        ({"replica": True}, "problem", "is a replica"),
        ({"read_only": True}, "problem", "default_transaction_read_only"),
        ({"encoding": "SQL_ASCII"}, "problem", "encoding is SQL_ASCII"),
        ({"durable": False}, "warning", "loses data"),
        ({"connections": 39}, "warning", "each process of ours takes up to 20"),
        ({"connections": 40}, "ok", "40 connections"),
    ],
)
def test_a_server_is_judged_by_what_it_says(given: dict[str, Any], state: str, said: str) -> None:
    found, time_there = server(Answering(SERVER | given), "p", pool_size=20, now=lambda: NOW)  # type: ignore[arg-type]
    assert (found.state, said in found.text) == (state, True), found
    assert found.stops == (state == "problem")
    assert (time_there.about, time_there.state) == ("p clock", "ok")


def test_an_address_that_libpq_cannot_read_is_not_quoted() -> None:
    (found,) = look_into("postgresql://u:canary%zz@127.0.0.1/db", "DRILL_DATABASE_URL", "p", lambda c: iter(()))
    assert (found.state, "canary" in str(found), "DRILL_DATABASE_URL" in found.text) == ("problem", False, True)


@pytest.mark.parametrize("seconds", ["0", "-3", "nan", "inf", "1e9", "soon", ""])
def test_a_time_that_is_none_is_refused_before_anything_is_looked_at(
    seconds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["doctor", f"--seconds={seconds}"])
    assert f"argument --seconds: {seconds!r} is no number of seconds from 1 to 3600" in capsys.readouterr().err
