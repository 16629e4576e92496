"""`make up` as a person uses it: its UI in a real browser (lineage, a restore's dry run, health), and how it ends."""

import json
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from content_orchestration.core.operations.thresholds import BY_NAME, TIER_NAMES, TIERS
from content_orchestration.settings import PROJECT_ROOT
from content_orchestration_tests.browser import CHROMEDRIVER, CHROMIUM, Browser, browser
from content_orchestration_tests.e2e.test_cli import CommandLine, wait_for

in_a_browser = pytest.mark.skipif(
    CHROMIUM is None or CHROMEDRIVER is None,
    reason="chromium or chromedriver is not installed: on Debian, apt-get install chromium chromium-driver",
)
PICTURES = PROJECT_ROOT / ".local" / "screenshots"
# Both summaries that the page can have.
_SUMMARY = re.compile(
    r"^(?:(?P<green>green): \d+ figures are within their limits"
    r"|not green: (?:\d+ red \((?P<red>[^)]+)\))?(?:, )?(?:\d+ unknown \((?P<unknown>[^)]+)\))?)\.?$",
    re.MULTILINE,
)
# What a busy machine alone can make red, and the words for what was not answered in time; the last gives no reason.
_TIMED = {f"{tier}_{figure}" for tier in TIERS for figure in ("down", "latency", "errors")}
_LATE = re.compile(r"time(d )?out|no answer within|in time|probes of the last hour could not be read")
GROUPS = ("platform", "schema", "migration", "quota", "generation", "media", "replication", "integrity", "operations")


@dataclass
class Up:
    """A `make up` that serves, on ports and in a folder of its own."""

    cli: CommandLine
    process: subprocess.Popen[str] | None = None

    def serve(self) -> None:
        """Start it, unless it runs. One that ended by itself is tried again, and says why to each test."""
        if self.process is None or self.process.poll() is not None:
            self.process = self.cli.start("up")
            wait_for(self.process, "Dagster UI: http://127.0.0.1:")

    def interrupt(self) -> str:
        """Ctrl-C: what it said until it ended, which it did well."""
        assert self.process is not None
        process, self.process = self.process, None
        try:
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=180)
        finally:
            process.kill()
        assert process.returncode == 0, output
        return output


@pytest.fixture(scope="module")
def _up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    made = Up(CommandLine(tmp_path_factory.mktemp("up") / "state"))
    try:
        yield made
    finally:
        if made.process is not None:
            made.process.kill()
        made.cli.run("down")


@pytest.fixture
def up(_up: Up) -> Up:
    """The module's one, started again where a test before ended it."""
    _up.serve()
    return _up


@pytest.fixture(scope="module")
def _browser(_up: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(f"http://127.0.0.1:{_up.cli.ui}", tmp_path_factory.mktemp("walk") / "chromium", PICTURES) as opened:
        yield opened


@pytest.fixture
def walk(up: Up, _browser: Browser) -> Browser:
    return _browser


def asked(walk: Browser, query: str, **variables: Any) -> dict[str, Any]:
    """What the server answers to a GraphQL query: for what the pages only draw."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{walk.base}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)["data"]
    return found


def named(rules: str | None) -> set[str]:
    return set(rules.split(", ")) if rules else set()


def lines(page: str, beginning: str) -> list[str]:
    return [line for line in page.splitlines() if line.startswith(beginning)]


@in_a_browser
def test_lineage_shows_the_groups_and_leads_to_an_asset(walk: Browser) -> None:
    walk.open("/")
    walk.click("Lineage", "a")
    walk.see(*GROUPS)
    walk.picture("lineage")
    walk.open("/assets/content_storage_dr")
    walk.see("rows_loaded_here", "lag of the last")
    walk.picture("asset")
    assert walk.other_hosts() == set()


@in_a_browser
def test_a_restore_is_a_dry_run_from_the_launchpad_and_shows_its_plan(walk: Browser) -> None:
    walk.open("/jobs")
    walk.see("content_pipeline")
    # The list of jobs draws only what is in view, and this one is further down.
    walk.open("/locations/content_orchestration/jobs/restore_from_bigquery")
    walk.click("Launchpad", "a")
    walk.see("dry_run: true", "No errors")
    walk.picture("launchpad")
    walk.click("Launch Run", "button")
    walk.until("the run's page", lambda: walk.window_at("/runs/"))
    walk.see("Success", "plan_hash")
    walk.picture("restore_dry_run")
    walk.click("[Show Markdown]")
    walk.dialog("To run exactly this")
    walk.picture("restore_plan")
    query = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status jobName } } }"
    found = asked(walk, query, id=Path(walk.driver.current_url).name)["runOrError"]
    assert found == {"status": "SUCCESS", "jobName": "restore_from_bigquery"}
    assert walk.other_hosts() == set()


@in_a_browser
def test_the_health_page_says_what_is_green_and_what_is_not(walk: Browser) -> None:
    walk.open("/assets/platform_health")
    walk.click("Materialize", "button")
    # Once by whoever clicked, and perhaps once by the schedule before: either page will do.
    query = """query { assetOrError(assetKey: {path: ["platform_health"]}) {
        ... on Asset { assetMaterializations(limit: 1) { runId } } } }"""
    walk.until("a materialization", lambda: asked(walk, query)["assetOrError"]["assetMaterializations"])
    walk.open("/assets/platform_health")
    walk.see("health_seconds")
    walk.until("a summary", lambda: _SUMMARY.search(walk.text()))
    walk.picture("health")
    walk.click("[Show Markdown]")
    page = walk.dialog("Looked at in", "PostgreSQL", "ZeroDB", "BigQuery")
    walk.picture("health_page")
    # The page's own summary: the schedule may have made a newer one since the table was read.
    summary = _SUMMARY.search(page)
    assert summary is not None, page
    assert page.splitlines().count("Green" if summary["green"] else "Not green") == 1, page
    # All is well in a platform that was just started, but for how fast its servers answer on a machine like this.
    assert named(summary["red"]) <= _TIMED, page
    for rule in named(summary["unknown"]):
        assert any(_LATE.search(line) for line in lines(page, f"{BY_NAME[rule].title}: ")), page
    for tier in TIER_NAMES.values():
        (row,) = lines(page, f"{tier} answers no probe ")
        assert " ok 0 % " in row or _LATE.search(row), page
    assert walk.other_hosts() == set()


def test_an_interrupted_up_stops_what_it_started(up: Up) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{up.cli.ui}/server_info", timeout=10) as answer:
        assert "dagster_version" in json.load(answer)
    assert len(up.cli.running()) == 3
    assert "Traceback" not in up.interrupt()
    assert up.cli.running() == []
    with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.1", up.cli.ui), timeout=5):
        pass
