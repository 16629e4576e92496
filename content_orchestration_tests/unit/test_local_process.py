"""Processes: recognised by note and command line, never confused with another program, stopped whatever they do."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from content_orchestration.local import process
from content_orchestration.local.process import Command, RunFile

Start = Callable[..., psutil.Process]
_READY = "import signal, sys, time; {}; print('ready', flush=True); time.sleep(600)"


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a Python program that sleeps; its extra arguments can be recognised."""
    children: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, first: str = "pass") -> psutil.Process:
        argv = [sys.executable, "-c", _READY.format(first), *arguments]
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        return psutil.Process(child.pid)

    yield begin
    for child in children:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def on(folder: str) -> Callable[[list[str]], bool]:
    return lambda argv: process.has_pair(argv, "--data-dir", folder)


def test_a_noted_process_is_found(start: Start, tmp_path: Path) -> None:
    note = RunFile(tmp_path / "a.json")
    server = start("--data-dir", str(tmp_path))
    note.write(server, {"PORT": 1})
    assert note.process() == server
    assert process.find(note, on(str(tmp_path))) == server
    assert json.loads(note.path.read_text())["ports"] == {"PORT": 1}


def test_a_process_without_a_note_is_found_by_its_command_line(start: Start, tmp_path: Path) -> None:
    server = start("--data-dir", str(tmp_path))
    start("--data-dir", str(tmp_path) + "2")
    assert process.find(RunFile(tmp_path / "none.json"), on(str(tmp_path))) == server


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1}', '{"pid": -5, "create_time": 0}', "\0"])
def test_a_broken_note_is_as_good_as_none(text: str, tmp_path: Path) -> None:
    note = RunFile(tmp_path / "a.json")
    note.path.write_text(text)
    assert note.process() is None


def test_a_number_that_another_program_got_is_not_ours(start: Start, tmp_path: Path) -> None:
    note = RunFile(tmp_path / "a.json")
    other = start("--data-dir", str(tmp_path))
    note.path.write_text(json.dumps({"pid": other.pid, "create_time": other.create_time() - 3600, "ports": {}}))
    assert note.process() is None, "the start time differs"
    note.write(other, {})
    assert process.find(note, on("/elsewhere")) is None, "the command line differs"


def test_a_dead_process_is_not_found_even_before_it_is_reaped(start: Start, tmp_path: Path) -> None:
    note = RunFile(tmp_path / "a.json")
    server = start("--data-dir", str(tmp_path))
    note.write(server, {})
    os.kill(server.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while process.is_alive(server):
        assert time.monotonic() < deadline
    assert process.find(note, on(str(tmp_path))) is None


def test_stop_asks_first(start: Start, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    server = start(first=f"signal.signal(15, lambda *_: (open({str(kept)!r}, 'w').close(), sys.exit()))")
    process.stop(server, "It", ((signal.SIGTERM, 10.0),))
    assert not process.is_alive(server)
    assert kept.exists(), "it was killed before it could put its things away"


def test_stop_kills_what_does_not_listen(start: Start) -> None:
    server = start(first="signal.signal(15, signal.SIG_IGN)")
    process.stop(server, "It", ((signal.SIGTERM, 0.05),))
    assert not process.is_alive(server)


def test_stop_of_one_that_is_gone_is_no_error(start: Start) -> None:
    server = start()
    process.stop(server, "It", ())
    process.stop(server, "It", ((signal.SIGTERM, 1.0),))


def test_a_started_process_has_a_session_of_its_own_and_logs(tmp_path: Path) -> None:
    code = "import os; print(os.getsid(0) == os.getpid(), os.environ.get('A'), os.environ.get('HOME'), os.getcwd())"
    log = tmp_path / "a.log"
    child = process.spawn(Command([sys.executable, "-c", code], tmp_path, {"A": "1"}), log)
    assert child.wait(30) == 0
    assert log.read_text() == f"True 1 None {tmp_path}\n"


def test_a_log_that_grew_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_LOG_BYTES", 10)
    log = tmp_path / "a.log"
    log.write_text("x" * 11)
    process.spawn(Command(["true"], tmp_path, {}), log).wait(30)
    assert log.read_text() == ""
    assert (tmp_path / "a.log.1").read_text() == "x" * 11


def test_tail_shows_this_run_only_and_cuts_long_lines(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"old\n")
    start_of_run = log.stat().st_size
    assert process.tail(log, start_of_run) == ""
    with log.open("ab") as file:
        file.write(b"new \xff\n" + b"y" * 500 + b"\n")
    assert process.tail(log, start_of_run).splitlines() == ["new \ufffd", "y" * 240]
    log.write_bytes(b"after rotation\n"[:3])
    assert process.tail(log, start_of_run) == "aft", "a shorter log is a new one"
    assert process.tail(tmp_path / "none", 0) == ""


def test_the_environment_loses_prefixes_and_gains_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "elsewhere")
    monkeypatch.setenv("KEEP", "1")
    found = process.environment("PG", PGX="2")
    assert (found.get("PGHOST"), found["KEEP"], found["PGX"]) == (None, "1", "2")


def test_has_pair_wants_neighbours() -> None:
    assert process.has_pair(["x", "-D", "/a"], "-D", "/a")
    assert not process.has_pair(["-D", "/b", "/a"], "-D", "/a")
    assert not process.has_pair(["/a", "-D"], "-D", "/a")
