"""The command line as `make demo` and `make up` call it: a process of its own, on ports and a folder of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from content_orchestration.local.ports import free_ports
from content_orchestration.settings import PROJECT_ROOT
from content_orchestration_tests.e2e.environment import VARIABLES


@dataclass
class CommandLine:
    """Runs `content-orchestration` in one environment."""

    state_dir: Path
    extra: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        postgres, zerodb, bigquery, grpc, ui = free_ports(5)
        self.ui = ui
        ours = {*VARIABLES, "DAGSTER_HOME", "DAGSTER_STATE_DIR", "DAGSTER_COMPUTE_LOG_DIR"}
        self.environment = {name: value for name, value in os.environ.items() if name not in ours} | {
            "LOCAL_STATE_DIR": str(self.state_dir),
            "LOCAL_POSTGRES_PORT": str(postgres),
            "LOCAL_ZERODB_PORT": str(zerodb),
            "LOCAL_BIGQUERY_PORT": str(bigquery),
            "LOCAL_BIGQUERY_GRPC_PORT": str(grpc),
            "DAGSTER_UI_PORT": str(ui),
        }

    def start(self, command: str, **extra: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "content_orchestration.local.cli", command],
            cwd=PROJECT_ROOT, env=self.environment | extra, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def run(self, command: str, **extra: str) -> tuple[int, str]:
        process = self.start(command, **extra)
        output, _ = process.communicate(timeout=180)
        return process.returncode, output

    def running(self) -> list[str]:
        return [line for line in self.run("status")[1].splitlines() if "stopped" not in line]


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[CommandLine]:
    made = CommandLine(tmp_path / "state")
    yield made
    made.run("down")


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    """What the process printed until a line contains `text`; fails when it ends before."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(f"it ended without saying {text!r}:\n{said}")


def test_a_demo_that_was_stopped_runs_again_and_a_third_one_changes_nothing(cli: CommandLine) -> None:
    process = cli.start("demo")
    wait_for(process, "postgres_schema")
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=180)
    assert process.returncode != 0
    assert "Traceback" not in output, output
    assert cli.running() == []

    code, output = cli.run("demo")
    assert code == 0, output
    report = json.loads((cli.state_dir / "demo.json").read_text())
    assert report.pop("seconds") > 0
    assert report == {
        "tenants": 8, "content_items": 288, "media_files": 1525, "migrated": 288, "quarantined": 0, "replicated": 288,
    }  # fmt: skip
    assert "27 of 27 checks passed" in output
    assert "FAIL" not in output
    assert cli.running() == []

    code, output = cli.run("demo")
    assert code == 0, output
    assert "nothing was new: no row migrated and no change replicated" in output
    assert json.loads((cli.state_dir / "demo.json").read_text())["replicated"] == 288

    code, output = cli.run("clean")
    assert (code, cli.state_dir.exists()) == (0, False), output


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"BIGQUERY_SYNC_INTERVAL_MINUTES": "7"}, "error: BIGQUERY_SYNC_INTERVAL_MINUTES: Value error, must divide 60"),
        ({"API_BASE_URL": "https://api.example.com/v1"}, "ZERODB_API_KEY is empty but API_BASE_URL is"),
    ],
)
def test_a_wrong_variable_is_named_without_a_traceback(cli: CommandLine, variables: dict[str, str], told: str) -> None:
    code, output = cli.run("demo", **variables)
    assert code == 1
    assert told in output
    assert "Traceback" not in output
    assert not cli.state_dir.exists()


def test_a_taken_ui_port_is_told_before_anything_is_started(cli: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", cli.ui)):
        started = time.monotonic()
        code, output = cli.run("up")
    assert code == 1
    assert "DAGSTER_UI_PORT" in output
    assert "Traceback" not in output
    assert time.monotonic() - started < 30
    assert not (cli.state_dir / "postgres").exists()
