"""A drill never works on what is live, however its targets are spelled, and says so where there is no place for it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from content_orchestration.core.drill.targets import Targets, require_apart
from content_orchestration.core.errors import Permanent
from content_orchestration.resources.drill import DrillResource, drill_targets, live_targets, why_no_drill
from content_orchestration.settings import Settings, get_settings
from content_orchestration_tests.e2e.environment import environment

SECRET = "canary-91c4"
ZERODB = "https://zerodb.example.com/api/v1"
LIVE = Targets(f"postgresql://owner:{SECRET}@db.example.com:5432/content", ZERODB, "live", "prod", "content_dr")
APART = Targets(f"postgresql://owner:{SECRET}@db.example.com:5432/drills", ZERODB, "drill", "prod", "content_drill")


def test_targets_of_their_own_are_accepted() -> None:
    require_apart(LIVE, APART)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://owner:{SECRET}@db.example.com:5432/content",
        "postgresql://someone@db.example.com/content",
        "postgres://DB.Example.COM/content?sslmode=require",
        "postgresql://u@db.example.com.:5432/%63ontent",
        "postgresql://content@db.example.com",
        "postgresql:///content?host=db.example.com",
        "postgresql://u@replica.example.com,db.example.com/content",
        "postgresql://u@replica.example.com:5433,db.example.com:5432/content",
    ],
)
def test_the_live_database_is_refused_however_it_is_spelled(url: str) -> None:
    with pytest.raises(Permanent, match="DRILL_DATABASE_URL and DATABASE_PUBLIC_URL both name database") as caught:
        require_apart(LIVE, replace(APART, database_url=url))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]", "LOCALHOST."])
def test_every_name_of_this_machine_is_one(host: str) -> None:
    live = replace(LIVE, database_url="postgresql://postgres@127.0.0.1:54329/content")
    with pytest.raises(Permanent, match="DRILL_DATABASE_URL"):
        require_apart(live, replace(APART, database_url=f"postgresql://postgres@{host}:54329/content"))
    require_apart(live, replace(APART, database_url=f"postgresql://postgres@{host}:54330/content"))


@pytest.mark.parametrize(
    ("change", "variable"),
    [
        ({"zerodb_project": "live"}, "DRILL_ZERODB_PROJECT_ID"),
        ({"zerodb_project": " LIVE "}, "DRILL_ZERODB_PROJECT_ID"),
        ({"zerodb_project": "live", "zerodb_url": "https://zerodb.example.com:443/api/v1/"}, "DRILL_ZERODB_PROJECT_ID"),
        ({"bigquery_dataset": "content_dr"}, "DRILL_BIGQUERY_DATASET"),
        ({"bigquery_dataset": "Content_DR"}, "DRILL_BIGQUERY_DATASET"),
    ],
)
def test_the_other_live_tiers_are_refused(change: dict[str, Any], variable: str) -> None:
    with pytest.raises(Permanent, match=f"{variable} and .* both name"):
        require_apart(LIVE, replace(APART, **change))


@pytest.mark.parametrize(
    "change",
    [
        {"zerodb_project": "live", "zerodb_url": "https://other.example.com/api/v1"},
        {"bigquery_dataset": "content_dr", "bigquery_project": "sandbox"},
    ],
)
def test_the_same_name_elsewhere_is_another_target(change: dict[str, Any]) -> None:
    require_apart(LIVE, replace(APART, **change))


def settings_of(tmp_path: Path, **given: str) -> Settings:
    with environment({"LOCAL_STATE_DIR": str(tmp_path)} | given):
        return get_settings()


def test_the_defaults_are_apart(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    assert why_no_drill(settings) is None
    require_apart(live_targets(settings), drill_targets(settings))


def test_a_live_server_elsewhere_wants_a_drill_database_named(tmp_path: Path) -> None:
    remote = {"DATABASE_PUBLIC_URL": "postgresql://u:p@db.example.com/content"}
    assert "DRILL_DATABASE_URL is empty" in str(why_no_drill(settings_of(tmp_path, **remote)))
    given = remote | {"DRILL_DATABASE_URL": "postgresql://u:p@db.example.com/drill"}
    assert why_no_drill(settings_of(tmp_path, **given)) is None
    with (
        environment({"LOCAL_STATE_DIR": str(tmp_path)} | remote),
        pytest.raises(Permanent, match="DRILL_DATABASE_URL is empty"),
    ):
        DrillResource().scratch()


def test_the_resource_opens_nothing_that_is_live(tmp_path: Path) -> None:
    same = {
        "LOCAL_STATE_DIR": str(tmp_path),
        "DATABASE_PUBLIC_URL": f"postgresql://u:{SECRET}@127.0.0.1:1/content",
        "DRILL_DATABASE_URL": f"postgresql://u:{SECRET}@localhost:1/content",
    }
    with environment(same), pytest.raises(Permanent, match="DRILL_DATABASE_URL and DATABASE_PUBLIC_URL") as caught:
        DrillResource().scratch()
    assert SECRET not in str(caught.value)


def test_without_google_credentials_it_says_what_to_set(tmp_path: Path) -> None:
    values = {
        "LOCAL_STATE_DIR": str(tmp_path), "BIGQUERY_PROJECT_ID": "prod", "CLOUDSDK_CONFIG": str(tmp_path),
        "NO_GCE_CHECK": "true", "HOME": str(tmp_path),
    }  # fmt: skip
    with environment(values), pytest.raises(Permanent, match="set GOOGLE_APPLICATION_CREDENTIALS"):
        DrillResource().scratch()


def test_what_was_opened_is_closed_and_can_be_opened_again(tmp_path: Path) -> None:
    with environment({"LOCAL_STATE_DIR": str(tmp_path)}):
        resource = DrillResource()
        first = resource.scratch()
        assert resource.scratch() is first
        resource.close()
        assert resource.scratch() is not first
        resource.close()
