"""The UI as a person walks it, in a real browser over `make up`: lineage, a restore's dry run, the health page."""

import json
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from content_orchestration.settings import PROJECT_ROOT
from content_orchestration_tests.browser import CHROMEDRIVER, CHROMIUM, Browser, browser
from content_orchestration_tests.e2e.test_cli import CommandLine, wait_for

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or CHROMEDRIVER is None,
    reason="chromium or chromedriver is not installed: on Debian, apt-get install chromium chromium-driver",
)
PICTURES = PROJECT_ROOT / ".local" / "screenshots"
GROUPS = ("platform", "schema", "migration", "quota", "generation", "media", "replication", "integrity", "operations")


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser in front of what `make up` serves, on ports and in a folder of its own."""
    folder = tmp_path_factory.mktemp("walk")
    cli = CommandLine(folder / "state")
    process = cli.start("up")
    try:
        wait_for(process, "Dagster UI: http://127.0.0.1:")
        with browser(f"http://127.0.0.1:{cli.ui}", folder / "chromium", PICTURES) as opened:
            yield opened
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            process.kill()
        cli.run("down")


def asked(walk: Browser, query: str, **variables: Any) -> dict[str, Any]:
    """What the server answers to a GraphQL query: for what the pages only draw."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{walk.base}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)["data"]
    return found


def test_lineage_shows_the_groups_and_leads_to_an_asset(walk: Browser) -> None:
    walk.open("/")
    walk.click("Lineage", "a")
    walk.see(*GROUPS)
    walk.picture("lineage")
    walk.open("/assets/content_storage_dr")
    walk.see("rows_loaded_here", "lag of the last")
    walk.picture("asset")
    assert walk.other_hosts() == set()


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


def test_the_health_page_says_what_is_green_and_what_is_not(walk: Browser) -> None:
    walk.open("/assets/platform_health")
    walk.click("Materialize", "button")
    # Once by whoever clicked, and perhaps once by the schedule before: either page will do.
    query = """query { assetOrError(assetKey: {path: ["platform_health"]}) {
        ... on Asset { assetMaterializations(limit: 1) { runId } } } }"""
    walk.until("a materialization", lambda: asked(walk, query)["assetOrError"]["assetMaterializations"])
    walk.open("/assets/platform_health")
    walk.see("health_seconds", "are within their limits")
    walk.picture("health")
    walk.click("[Show Markdown]")
    page = walk.dialog("Looked at in", "PostgreSQL", "ZeroDB", "BigQuery")
    walk.picture("health_page")
    assert re.search(r"^(Green|Not green)$", page, re.MULTILINE), page
    assert walk.other_hosts() == set()
