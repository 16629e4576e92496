"""The health page over real servers: each threshold made true and seen, tiers that are down or slow, the unknown."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from content_orchestration.core.errors import Transient
from content_orchestration.core.operations.health import HealthReport, take_health
from content_orchestration.core.operations.health_page import check_text, page
from content_orchestration.core.operations.health_probe import TIER_SECONDS, Probe
from content_orchestration.core.operations.thresholds import BY_NAME, RULES, State
from content_orchestration.local.ports import free_ports
from content_orchestration.resources.health_probes import PROBE_SECONDS, TierProbes
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.settings import Settings
from content_orchestration_tests.health_world import LIMITS, changes, refused, uses, window
from content_orchestration_tests.replication_fakes import sync
from content_orchestration_tests.slow_link import slow_link
from content_orchestration_tests.tiers import Tiers
from content_orchestration_tests.usage_rows import run

GIB = 1024**3
WELL: Mapping[str, Probe] = {tier: lambda: None for tier in ("postgres", "zerodb", "bigquery")}


@pytest.fixture
def database(database_url: str) -> Iterator[PostgresClient]:
    with PostgresClient(database_url) as client:
        yield client


def look(database: PostgresClient, probes: Mapping[str, Probe] = WELL, **given: Any) -> HealthReport:
    return take_health(database, probes, given.pop("event_log", lambda: (5, 3 * GIB)), **given)


def states(report: HealthReport) -> dict[str, str]:
    """Whatever is not as it should be."""
    return {each.rule: str(each.state) for each in report.readings if each.state not in (State.OK, State.NOT_YET)}


def text_of(report: HealthReport, rule: str) -> str:
    (reading,) = [each for each in report.readings if each.rule == rule]
    return reading.text


def settings_of(tiers: Tiers, **given: Any) -> Settings:
    return Settings(
        **{
            "DATABASE_PUBLIC_URL": tiers.database_url,
            "ZERODB_PROJECT_ID": tiers.zerodb_project,
            "BIGQUERY_DATASET": tiers.bigquery_dataset,
            "LOCAL_ZERODB_PORT": tiers.settings.local_zerodb_port,
            "LOCAL_BIGQUERY_PORT": tiers.settings.local_bigquery_port,
            "LOCAL_STATE_DIR": tiers.settings.local_state_dir,
            **given,
        }
    )


def test_an_empty_platform_is_green_and_says_what_has_not_happened_yet(database: PostgresClient) -> None:
    report = look(database)
    assert states(report) == {}
    assert {tier: (each.probes, each.failed) for tier, each in report.samples.items()} == dict.fromkeys(WELL, (10, 0))
    assert report.is_green
    assert [each.rule for each in report.those(State.NOT_YET)] == ["last_verified", "last_drill", "last_backup"]
    assert page(report).startswith("# Green\n")
    assert check_text(report.readings) == f"{len(RULES)} figures are within their limits"


@pytest.mark.parametrize("rule", LIMITS)
def test_each_threshold_is_made_true_and_seen(database: PostgresClient, rule: str) -> None:
    inside, beyond = LIMITS[rule]
    inside(database)
    before = states(look(database))
    assert rule not in before
    beyond(database)
    report = look(database)
    assert states(report)[rule] == "red"
    assert not report.is_green
    assert report.as_metadata()["green"] is False
    shown = page(report, "https://docs.example.com/x/")
    assert shown.startswith("# Not green\n")
    known = BY_NAME[rule]
    (line,) = [each for each in shown.splitlines() if each.startswith(f"- **{known.title}**")]
    assert line.endswith(f"(red {known.words}). [what to do](https://docs.example.com/x/RUNBOOK.md#{known.anchor})")
    assert f"`docs/RUNBOOK.md#{known.anchor}`" in page(report)
    assert check_text(report.readings).startswith(
        f"red: {known.title}: " if len(report.those(State.RED)) == 1 else "red"
    )


@pytest.mark.parametrize(("size", "state"), [(10 * GIB, State.OK), (10 * GIB + 2**20, State.RED)])
def test_the_event_log_is_red_above_ten_gib(database: PostgresClient, size: int, state: State) -> None:
    report = look(database, event_log=lambda: (7, size))
    assert {each.rule: each.state for each in report.readings}["event_log"] is state
    assert (report.numbers["event_log_rows"], report.numbers["event_log_bytes"]) == (7, size)


def test_every_threshold_has_a_test_that_makes_it_true() -> None:
    tiers = {rule.name for rule in RULES if rule.group == "tiers"}
    assert {rule.name for rule in RULES} - tiers == {*LIMITS, "event_log"}
    assert tiers == {f"{tier}_{what}" for tier in WELL for what in ("down", "latency", "errors")}


def test_who_is_refused_and_who_is_full_is_named(database: PostgresClient) -> None:
    for number in range(7):
        uses(database, 86 + number, f"Full {number}")
    refused(database, 12, "Bluebird | <b>Bakery</b>")
    report = look(database)
    assert text_of(report, "tenant_usage").startswith("92 %: Full 6 92.0 % of free; Full 5 91.0 %")
    assert text_of(report, "tenant_usage").endswith("and 2 more")
    assert text_of(report, "quota_rejections") == "12 refusals: Bluebird | <b>Bakery</b> (tenant 12)"
    assert "Bluebird \\| &lt;b>Bakery" in page(report)
    assert report.numbers["tenants_near_their_limit"] == 7
    assert report.numbers["rejections_today"] == 12
    run(database, "UPDATE quota_rejections SET day = day - 1")
    assert "quota_rejections" not in states(look(database)), "yesterday is over"
    run(database, "UPDATE quota_rejections SET day = day - 90")
    look(database)
    assert run(database, "SELECT count(*) AS n FROM quota_rejections") == [{"n": 0}]


def test_what_never_happened_is_late_once_the_platform_is_old_enough(database: PostgresClient) -> None:
    window(database, "4 h")
    assert states(look(database)) == {"last_verified": "red"}
    window(database, "1 min")
    run(database, "UPDATE replication_windows SET opened_at = now() - interval '101 days' WHERE sync_id = 1")
    report = look(database)
    assert states(report) == {"last_verified": "red", "last_drill": "red", "last_backup": "red"}
    assert text_of(report, "last_drill") == "never, in 101.0 days: no drill has run"
    assert "last_drill_seconds" not in report.as_metadata()


def test_replication_that_never_synced_is_as_late_as_its_oldest_change(database: PostgresClient) -> None:
    changes(database, 3, "25 h")
    report = look(database)
    assert states(report) == {"replication_lag": "red", "sync_failing": "red"}
    assert text_of(report, "sync_failing") == "25 h: no sync has closed yet"


def test_replication_that_is_switched_off_is_off_and_nobody_asks_bigquery(database: PostgresClient) -> None:
    changes(database, 3, "25 h")

    def never() -> None:
        raise AssertionError("it was asked")

    report = look(database, {**WELL, "bigquery": never}, replicates=False)
    off = {"replication_lag", "unsynced_items", "sync_failing", "bigquery_down", "bigquery_latency", "bigquery_errors"}
    assert states(report) == dict.fromkeys(off, "off")
    assert report.is_green
    assert "| off | BIGQUERY_SYNC_ENABLED is false |" in page(report)


def test_a_group_that_cannot_be_read_is_unknown_and_leaves_the_others_alone(database: PostgresClient) -> None:
    run(database, "DROP TABLE render_candidates CASCADE")
    report = look(database)
    assert states(report) == {"spill_oldest": "unknown", "orphans_oldest": "unknown"}
    assert 'relation "render_candidates" does not exist' in text_of(report, "orphans_oldest")
    assert not report.is_green
    assert check_text(report.readings).startswith("unknown: could not look. Oldest body that waits for ZeroDB: ")
    assert "## Unknown: could not be looked at" in page(report)
    run(database, "DROP TABLE health_samples")
    report = look(database)
    assert {rule for rule, state in states(report).items() if rule.endswith("_errors")} == {
        "postgres_errors", "zerodb_errors", "bigquery_errors",
    }  # fmt: skip


def test_a_figure_that_takes_too_long_is_unknown(database_url: str, database: PostgresClient) -> None:
    with PostgresClient(database_url, statement_timeout=0.3) as short, database.connection() as other:
        other.execute("LOCK TABLE render_candidates IN ACCESS EXCLUSIVE MODE")
        report = look(short)
    assert states(report) == {"spill_oldest": "unknown", "orphans_oldest": "unknown"}
    assert "statement timeout" in text_of(report, "spill_oldest")


def test_an_event_log_that_cannot_be_asked_is_unknown(database: PostgresClient) -> None:
    def gone() -> tuple[int, int]:
        raise Transient("it is away")

    def hangs() -> tuple[int, int]:
        time.sleep(5)
        return 1, 1

    for event_log, why in ((gone, "it is away"), (hangs, "it did not answer in time"), (None, "nobody told where")):
        report = look(database, event_log=event_log)
        assert states(report) == {"event_log": "unknown"}
        assert why in text_of(report, "event_log")


# --- the tiers --------------------------------------------------------------------------------------------------


@pytest.fixture
def probed(tiers: Tiers) -> Callable[..., HealthReport]:
    """A look at the real tiers under settings that differ in what is given."""

    def taken(seconds: float = PROBE_SECONDS, **given: Any) -> HealthReport:
        with TierProbes(settings_of(tiers, **given), seconds=seconds) as probes:
            return look(tiers.database, probes.all(), seconds=seconds + TIER_SECONDS - PROBE_SECONDS)

    return taken


def test_the_real_stack_is_green_quickly(
    tiers: Tiers, probed: Callable[..., HealthReport], capsys: pytest.CaptureFixture[str]
) -> None:
    sync(tiers)
    probed()
    started = time.monotonic()
    report = probed()
    took = time.monotonic() - started
    with capsys.disabled():
        sys.stdout.write(f"\nhealth {took:.2f} s, of it {report.seconds:.2f} s looking\n")
    assert states(report) == {}
    assert took < 2.0
    assert {tier: sample.failed for tier, sample in report.samples.items()} == dict.fromkeys(WELL, 0)
    assert all(1 <= sample.probes <= 10 for sample in report.samples.values())
    shown = report.as_metadata()
    assert 0 < shown["zerodb_latency_ms"] < 500
    assert {"postgres_latency_ms", "bigquery_latency_ms", "replication_lag_seconds", "queue_depth"} <= set(shown)
    text = page(report)
    assert "ZeroDB: the last 2 looks, at most" in text
    assert "lag of the last" in text
    for rule in RULES:
        assert f"| {rule.title} | " in text
        assert f"red {rule.words}; {rule.source}" in text


@pytest.mark.parametrize(
    ("variable", "tier"),
    [("LOCAL_ZERODB_PORT", "zerodb"), ("LOCAL_BIGQUERY_PORT", "bigquery")],
)
def test_a_tier_that_is_down_is_red_named_and_the_rest_is_shown(
    probed: Callable[..., HealthReport], variable: str, tier: str
) -> None:
    report = probed(**{variable: free_ports(1)[0]})
    assert states(report) == {f"{tier}_down": "red", f"{tier}_latency": "unknown", f"{tier}_errors": "red"}
    name = {"zerodb": "ZeroDB", "bigquery": "BigQuery"}[tier]
    assert f"**{name} answers no probe**: 100 %: " in page(report)
    assert f"{name}: median answer | **UNKNOWN** | {name} is down: " in page(report)
    assert report.samples[tier].failed == 3
    back = probed()
    assert states(back) == {f"{tier}_errors": "red"}, "three of the last hour's had no answer"
    # A busy machine asks fewer than ten in the time that there is for it.
    assert text_of(back, f"{tier}_errors") == f"{300 / (3 + back.samples[tier].probes):.3g} %"
    assert "`x█`" in page(back) or "`x▇`" in page(back)


def test_postgresql_that_is_down_leaves_its_figures_unknown_and_the_tiers_shown(tiers: Tiers) -> None:
    nowhere = f"postgresql://postgres:canary-7@127.0.0.1:{free_ports(1)[0]}/content"
    started = time.monotonic()
    with (
        TierProbes(settings_of(tiers, DATABASE_PUBLIC_URL=nowhere)) as probes,
        PostgresClient(nowhere) as database,
    ):
        report = look(database, probes.all())
    assert time.monotonic() - started < 10.0
    found = states(report)
    assert found.pop("postgres_down") == "red"
    assert set(found.values()) == {"unknown"}
    assert {"postgres_latency", "replication_lag", "tenant_usage", "last_drill"} <= set(found)
    assert "PostgreSQL is down: PostgreSQL does not answer: connection" in text_of(report, "replication_lag")
    assert {each.rule: str(each.state) for each in report.readings if each.rule.startswith("zerodb_")} == {
        "zerodb_down": "ok", "zerodb_latency": "ok", "zerodb_errors": "unknown",
    }  # fmt: skip
    assert "canary-7" not in page(report)


@pytest.mark.parametrize(("tier", "seconds"), [("postgres", 0.12), ("zerodb", 0.55), ("bigquery", 1.05)])
def test_a_tier_that_is_slow_is_red_by_its_median(
    tiers: Tiers, probed: Callable[..., HealthReport], tier: str, seconds: float
) -> None:
    port = {
        "postgres": tiers.settings.local_postgres_port,
        "zerodb": tiers.settings.local_zerodb_port,
        "bigquery": tiers.settings.local_bigquery_port,
    }[tier]
    with slow_link(port, seconds) as late:
        given: dict[str, Any] = {f"LOCAL_{tier.upper()}_PORT": late}
        if tier == "postgres":
            name = tiers.database_url.rpartition("/")[2]
            given = {"DATABASE_PUBLIC_URL": f"postgresql://postgres@127.0.0.1:{late}/{name}?sslmode=disable"}
        # Patient, since a busy machine adds to the delay: the usual 1.3 s would take the tier for down.
        report = probed(seconds=20.0, **given)
    assert states(report) == {f"{tier}_latency": "red"}
    assert float(report.as_metadata()[f"{tier}_latency_ms"]) >= 1000 * seconds


@pytest.mark.parametrize(("tier", "most"), [("postgres", 1), ("zerodb", 1), ("bigquery", 5)])
def test_errors_are_a_share_of_the_last_hours_probes(database: PostgresClient, tier: str, most: int) -> None:
    add = (
        "INSERT INTO health_samples (tier, probes, failed, seconds, sampled_at) "
        "VALUES (%s, %s, %s, 0.1, now() - %s::interval)"
    )
    run(database, add, [tier, 90, most, "59 min"])
    run(database, add, [tier, 100, 99, "61 min"])
    report = look(database)
    assert (states(report), text_of(report, f"{tier}_errors")) == ({}, f"{most} %")
    run(database, add, [tier, 100, most + 1, "10 min"])
    assert states(look(database)) == {f"{tier}_errors": "red"}


def test_a_tier_that_hangs_costs_its_time_and_no_more(database: PostgresClient) -> None:
    started = time.monotonic()
    report = look(database, {**WELL, "zerodb": lambda: time.sleep(30)})
    assert time.monotonic() - started < 7.5
    assert states(report) == {"zerodb_down": "red", "zerodb_latency": "unknown", "zerodb_errors": "red"}
    assert text_of(report, "zerodb_down") == "100 %: 1 of 1 probes had no answer within 1.5 s"


def test_samples_older_than_a_week_are_forgotten(database: PostgresClient) -> None:
    run(
        database,
        "INSERT INTO health_samples (tier, probes, failed, seconds, sampled_at) "
        "SELECT 'zerodb', 1, 0, 0.1, now() - n * interval '1 day' FROM generate_series(1, 9) AS n",
    )
    look(database)
    assert run(database, "SELECT count(*) AS n FROM health_samples WHERE sampled_at < now() - interval '1 h'") == [
        {"n": 6}
    ]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"ZERODB_API_KEY": "wrong-key-1"}, "check ZERODB_API_KEY"),
        ({"BIGQUERY_DATASET": "not_there"}, "BigQuery answers 404 for dataset not_there"),
    ],
)
def test_a_wrong_key_or_name_is_an_outage_that_says_so(
    probed: Callable[..., HealthReport], given: dict[str, str], why: str
) -> None:
    report = probed(**given)
    tier = "zerodb" if "ZERODB_API_KEY" in given else "bigquery"
    assert why in text_of(report, f"{tier}_down")
    assert "wrong-key-1" not in page(report)
