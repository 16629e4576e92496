"""Which servers a stack has, by its settings, and how each knows itself. Nothing is started here."""

import sys
from pathlib import Path

import pytest

from content_orchestration.local.errors import LocalStackError
from content_orchestration.local.stack import LocalStack, stop_all
from content_orchestration_tests.conftest import scratch_settings


def names(stack: LocalStack) -> list[str]:
    return [server.name for server in stack.servers]


def test_a_tier_that_is_elsewhere_needs_no_server(tmp_path: Path) -> None:
    assert names(LocalStack(scratch_settings(tmp_path))) == ["postgres", "bigquery", "zerodb"]
    elsewhere = {"API_BASE_URL": "https://api.example/v1", "ZERODB_API_KEY": "k", "BIGQUERY_PROJECT_ID": "real"}
    assert names(LocalStack(scratch_settings(tmp_path, **elsewhere))) == ["postgres"]


def test_postgres_stays_while_dagster_alone_needs_it(tmp_path: Path) -> None:
    url = "postgresql://u:p@db.example:5432/x"
    assert "postgres" in names(LocalStack(scratch_settings(tmp_path, DATABASE_PUBLIC_URL=url)))
    both = scratch_settings(tmp_path, DATABASE_PUBLIC_URL=url, DAGSTER_PG_URL=url)
    assert "postgres" not in names(LocalStack(both))


def test_an_address_that_is_the_local_server_written_out_is_served(tmp_path: Path) -> None:
    settings = scratch_settings(tmp_path, LOCAL_ZERODB_PORT=23456, API_BASE_URL="http://localhost:23456/api/v1")
    assert "zerodb" in names(LocalStack(settings))


def test_two_servers_on_one_port_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    settings = scratch_settings(tmp_path / "state", LOCAL_ZERODB_PORT=23456, LOCAL_BIGQUERY_GRPC_PORT=23456)
    with pytest.raises(LocalStackError, match="LOCAL_ZERODB_PORT and LOCAL_BIGQUERY_GRPC_PORT are both 23456"):
        LocalStack(settings).start()
    assert not (tmp_path / "state").exists()


def test_a_server_knows_its_own_command_line_only(tmp_path: Path) -> None:
    postgres, bigquery, zerodb = LocalStack(scratch_settings(tmp_path)).servers
    folder = str(tmp_path.resolve() / "postgres")
    assert postgres.is_mine(["/any/bin/postgres", "-D", folder, "-p", "1"])
    assert not postgres.is_mine(["/any/bin/postgres", "-D", folder + "2", "-p", "1"])
    assert not postgres.is_mine(["/usr/bin/pg_ctl", "-D", folder])
    assert not postgres.is_mine([])
    emulator = [sys.executable, "-m", "bqemulator", "start", "--data-dir", str(tmp_path.resolve() / "bigquery")]
    assert bigquery.is_mine(emulator)
    assert not zerodb.is_mine(emulator)
    assert not bigquery.is_mine(["tail", "-f", str(tmp_path.resolve() / "bigquery")])


def test_stopping_what_never_ran_creates_nothing(tmp_path: Path) -> None:
    assert stop_all(scratch_settings(tmp_path / "state")) == ()
    assert not (tmp_path / "state").exists()
    LocalStack(scratch_settings(tmp_path / "state")).stop()
    assert {s.state for s in LocalStack(scratch_settings(tmp_path / "state")).status()} == {"stopped"}
