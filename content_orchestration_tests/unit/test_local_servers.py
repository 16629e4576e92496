"""Which servers a stack has, by its settings, and how each knows itself. Nothing is started here."""

import sys
from pathlib import Path

import pytest

from content_orchestration.local.errors import LocalStackError
from content_orchestration.local.stack import LocalStack, stop_all
from content_orchestration_tests.conftest import scratch_settings

ELSEWHERE = {"API_BASE_URL": "https://api.example/v1", "ZERODB_API_KEY": "k", "BIGQUERY_PROJECT_ID": "real"}
POSTGRES_ELSEWHERE = dict.fromkeys(("DATABASE_PUBLIC_URL", "DAGSTER_PG_URL"), "postgresql://u:p@db.example:5432/x")


def names(stack: LocalStack) -> list[str]:
    return [server.name for server in stack.servers]


def test_a_tier_that_is_elsewhere_needs_no_server(tmp_path: Path) -> None:
    assert names(LocalStack(scratch_settings(tmp_path))) == ["postgres", "bigquery", "zerodb"]
    assert names(LocalStack(scratch_settings(tmp_path, **ELSEWHERE))) == ["postgres"]


def test_postgres_stays_while_dagster_alone_needs_it(tmp_path: Path) -> None:
    url = POSTGRES_ELSEWHERE["DATABASE_PUBLIC_URL"]
    assert "postgres" in names(LocalStack(scratch_settings(tmp_path, DATABASE_PUBLIC_URL=url)))
    both = scratch_settings(tmp_path, **POSTGRES_ELSEWHERE)
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


def test_a_start_goes_on_where_another_created_the_folder_a_moment_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    stack = LocalStack(scratch_settings(state, **ELSEWHERE, **POSTGRES_ELSEWHERE))
    mkdir, beaten = Path.mkdir, []

    def second(self: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        if self == stack.settings.local_state_dir and not beaten:
            beaten.append(self)
            mkdir(self)
        mkdir(self, mode, parents, exist_ok)

    monkeypatch.setattr(Path, "mkdir", second)
    assert stack.start().servers == ()
    assert beaten == [stack.settings.local_state_dir]
    assert (state / "run" / "lock").is_file()
