"""The environment: its defaults, what it refuses and how it says so, and that no secret ever leaves it."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from content_orchestration.settings import LOCAL_KEY, PROJECT_ROOT, Settings, get_settings, variables_table

VARIABLES = {field.alias for field in Settings.model_fields.values() if field.alias}
CANARY = "canary-7f3a"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "PGPASSWORD"):
        monkeypatch.delenv(name, raising=False)


def refusal(**given: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Settings(**given)
    return str(caught.value)


def test_the_defaults_describe_the_local_stack() -> None:
    settings = Settings()
    assert settings.database_url == "postgresql://postgres@127.0.0.1:54329/content"
    assert settings.dagster_database_url == "postgresql://postgres@127.0.0.1:54329/dagster"
    assert settings.zerodb_url == "http://127.0.0.1:9070/api/v1"
    assert settings.zerodb_key == LOCAL_KEY
    assert settings.bigquery_url == "http://127.0.0.1:9050"
    assert settings.bigquery_project == "local-project"
    assert (settings.database_pool_size, settings.api_timeout, settings.bigquery_dataset) == (20, 30, "content_dr")
    assert (settings.bigquery_sync_interval_minutes, settings.migration_batch_size) == (15, 100)
    assert settings.bigquery_sync_enabled is True
    assert settings.local_state_dir == PROJECT_ROOT / ".local"


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        ("DATABASE_PUBLIC_URL", "mysql://u:p@h/db", "must begin with postgresql://"),
        ("DAGSTER_PG_URL", "sqlite:///x", "must begin with postgresql://"),
        ("DATABASE_PUBLIC_URL", "postgresql://u:p@h:abc/db", "port that is not a number"),
        ("DATABASE_PUBLIC_URL", "postgresql://u:p@h:99999/db", "from 0 to 65535"),
        ("DATABASE_POOL_SIZE", "3", "greater than or equal to 4"),
        ("DATABASE_POOL_SIZE", "201", "less than or equal to 200"),
        ("DATABASE_POOL_SIZE", "many", "valid integer"),
        ("DATABASE_STATEMENT_TIMEOUT", "0", "greater than 0"),
        ("ZERODB_CONCURRENCY", "65", "less than or equal to 64"),
        ("API_TIMEOUT", "-1", "greater than 0"),
        ("API_BASE_URL", "zerodb.example.com", "must begin with http:// or https://"),
        ("BIGQUERY_ENDPOINT", "localhost:9050", "must begin with http:// or https://"),
        ("BIGQUERY_DATASET", "content-dr", "match pattern"),
        ("BIGQUERY_SYNC_ENABLED", "perhaps", "valid boolean"),
        ("BIGQUERY_SYNC_INTERVAL_MINUTES", "7", "must divide 60 (1, 2, 3"),
        ("BIGQUERY_SYNC_INTERVAL_MINUTES", "0", "must divide 60"),
        ("BIGQUERY_SYNC_INTERVAL_MINUTES", "120", "must divide 60"),
        ("BIGQUERY_SYNC_BATCH_SIZE", "0", "greater than or equal to 1"),
        ("SYNC_MAX_BYTES", "1", "greater than or equal to 1024"),
        ("MIGRATION_BATCH_SIZE", "1001", "less than or equal to 1000"),
        ("LOCAL_POSTGRES_PORT", "65536", "less than or equal to 65535"),
        ("DAGSTER_UI_PORT", "0", "greater than or equal to 1"),
    ],
)
def test_a_wrong_value_is_refused_with_the_variable_and_what_it_may_be(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, rule: str
) -> None:
    monkeypatch.setenv(variable, value)
    message = refusal()
    assert re.search(rf"^{variable}\b", message, re.MULTILINE)
    assert rule in message


@pytest.mark.parametrize("host", ["api.example.com", "10.0.0.5", "zerodb"])
def test_a_production_zerodb_without_a_key_is_refused(host: str) -> None:
    message = refusal(API_BASE_URL=f"https://{host}/v1")
    assert f"ZERODB_API_KEY is empty but API_BASE_URL is https://{host}/v1" in message
    assert "set ZERODB_API_KEY" in message
    assert "or unset API_BASE_URL" in message
    assert Settings(API_BASE_URL=f"https://{host}/v1", ZERODB_API_KEY="k").zerodb_key == "k"


def test_a_production_database_without_a_password_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql://app@db.example.com:5432/content"
    message = refusal(DATABASE_PUBLIC_URL=url)
    assert "DATABASE_PUBLIC_URL" in message
    assert "carries no password" in message
    assert "or set PGPASSWORD" in message
    monkeypatch.setenv("PGPASSWORD", "p")
    assert Settings(DATABASE_PUBLIC_URL=url).database_url == url


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_this_machine_needs_no_secret(host: str) -> None:
    settings = Settings(API_BASE_URL=f"http://{host}:1/api", DATABASE_PUBLIC_URL=f"postgresql://p@{host}:1/d")
    assert settings.zerodb_key == LOCAL_KEY


@pytest.mark.parametrize(
    ("minutes", "cron"), [(1, "*/1 * * * *"), (15, "*/15 * * * *"), (30, "*/30 * * * *"), (60, "0 * * * *")]
)
def test_the_interval_becomes_a_cron_schedule_that_stays_even(minutes: int, cron: str) -> None:
    assert Settings(BIGQUERY_SYNC_INTERVAL_MINUTES=minutes).sync_cron == cron


@pytest.mark.parametrize(
    ("given", "url", "project"),
    [
        ({}, "http://127.0.0.1:9050", "local-project"),
        ({"BIGQUERY_PROJECT_ID": "prod"}, None, "prod"),
        ({"BIGQUERY_PROJECT_ID": "prod", "BIGQUERY_ENDPOINT": "http://h:1/"}, "http://h:1", "prod"),
        ({"LOCAL_BIGQUERY_PORT": 7}, "http://127.0.0.1:7", "local-project"),
    ],
)
def test_bigquery_is_google_only_where_a_project_is_named_without_an_endpoint(
    given: dict[str, Any], url: str | None, project: str
) -> None:
    settings = Settings(**given)
    assert (settings.bigquery_url, settings.bigquery_project) == (url, project)


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    unset = Settings()
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    assert Settings() == unset


def test_relative_folders_begin_at_the_project() -> None:
    assert Settings(LOCAL_STATE_DIR=Path("somewhere")).local_state_dir == PROJECT_ROOT / "somewhere"


def test_no_secret_is_printed() -> None:
    given = {
        "DATABASE_PUBLIC_URL": f"postgresql://u:{CANARY}@h/d",
        "DAGSTER_PG_URL": f"postgresql://u:{CANARY}@h/d",
        "ZERODB_API_KEY": CANARY,
    }
    settings = Settings(**given)
    assert settings.zerodb_key == CANARY
    assert CANARY in settings.database_url
    for shown in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert CANARY not in shown


@pytest.mark.parametrize(
    "given",
    [
        {"DATABASE_PUBLIC_URL": f"mysql://u:{CANARY}@h/d"},
        {"DATABASE_PUBLIC_URL": f"postgresql://u:{CANARY}@h:{CANARY}/d"},
        {"DATABASE_PUBLIC_URL": "postgresql://u@db.example.com/d", "ZERODB_API_KEY": CANARY},
        {"API_BASE_URL": "https://api.example.com", "DATABASE_PUBLIC_URL": f"postgresql://u:{CANARY}@h/d"},
    ],
)
def test_no_secret_is_in_the_message_of_a_refusal(given: dict[str, str]) -> None:
    assert CANARY not in refusal(**given)


def test_every_secret_is_held_as_one() -> None:
    for field in Settings.model_fields.values():
        # An address of an API, a bucket or the documentation holds no secret.
        if re.search(r"KEY|(?<!BASE)(?<!STORAGE)(?<!BACKUP)(?<!DOCS)_URL$|PASSWORD|SECRET|TOKEN", str(field.alias)):
            assert field.annotation is SecretStr, field.alias


def test_the_environment_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_POOL_SIZE", "7")
    get_settings.cache_clear()
    try:
        assert get_settings().database_pool_size == 7
        monkeypatch.setenv("DATABASE_POOL_SIZE", "8")
        assert get_settings().database_pool_size == 7
    finally:
        get_settings.cache_clear()


def test_the_table_has_a_line_with_a_meaning_for_every_variable() -> None:
    lines = variables_table().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [row[0] for row in rows] == [f"`{field.alias}`" for field in Settings.model_fields.values()]
    for variable, default, meaning in rows:
        assert default.startswith("`") or default == "(empty)", variable
        assert "None" not in default, variable
        assert len(meaning) > 15, variable
    shown = {row[0].strip("`"): row[1] for row in rows}
    assert shown["BIGQUERY_SYNC_ENABLED"] == "`true`"
    assert shown["LOCAL_STATE_DIR"] == "`.local`"
    assert shown["ZERODB_API_KEY"] == "(empty)"


def test_nothing_else_reads_the_environment() -> None:
    """Settings are the one place; the failpoints of tests, and what is handed to child processes, are named here."""
    allowed = {"settings.py", "core/failpoints.py", "local"}
    # What pg_dump is given, and where Dagster keeps the file that names the broker.
    allowed |= {"resources/postgres_programs.py", "distributed/celery_app.py"}
    package = PROJECT_ROOT / "content_orchestration"
    readers = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(r"os\.(environ|getenv)", path.read_text(encoding="utf-8"))
    }
    assert {reader for reader in readers if reader not in allowed and reader.split("/")[0] not in allowed} == set()


def test_the_readme_has_the_table_of_the_variables() -> None:
    assert variables_table() in (PROJECT_ROOT / "README.md").read_text(encoding="utf-8")
