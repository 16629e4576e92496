"""The UI of a `make up` that was killed: found by its note, stopped with its children, and nobody else is hit."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from content_orchestration.local.ports import free_ports
from content_orchestration.local.ui import DagsterUI, stop_left_behind
from content_orchestration.settings import Settings

# A child of its own, as the daemon is one, and an answer on the UI's port.
SERVER = """
import http.server, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[3])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (port,) = free_ports(1)
    (tmp_path / "server_info").touch()
    return Settings(_env_file=None, LOCAL_STATE_DIR=str(tmp_path / "state"), DAGSTER_UI_PORT=port)  # type: ignore[call-arg]


@pytest.fixture
def left_behind(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[psutil.Process]:
    """The processes of a UI whose starter forgot it."""
    command = [sys.executable, "-c", SERVER, "dagster", "dev", str(settings.dagster_ui_port)]
    monkeypatch.setattr(DagsterUI, "_command", lambda self: command)
    monkeypatch.setattr("content_orchestration.local.ui.PROJECT_ROOT", tmp_path)
    ui = DagsterUI(settings)
    ui.start()
    assert ui._process
    process = psutil.Process(ui._process.pid)
    return [process, *process.children(recursive=True)]


def test_what_a_killed_up_left_is_stopped_with_its_children_and_its_port_is_free(
    settings: Settings, left_behind: list[psutil.Process]
) -> None:
    assert len(left_behind) == 2
    assert stop_left_behind(settings)
    psutil.wait_procs(left_behind, 10)
    assert not [each for each in left_behind if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    DagsterUI(settings).require_port()
    assert not stop_left_behind(settings)


def test_a_note_of_another_program_is_forgotten_and_nobody_is_hit(
    settings: Settings, left_behind: list[psutil.Process]
) -> None:
    note = settings.local_state_dir / "run" / "dagster.json"
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as other:
        try:
            mine = note.read_text()
            note.write_text(mine.replace(str(left_behind[0].pid), str(other.pid)))
            assert not stop_left_behind(settings)
            assert other.poll() is None
            assert not note.exists()
            note.write_text(mine)
            assert stop_left_behind(settings)
        finally:
            other.kill()
