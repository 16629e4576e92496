"""The Dagster UI and daemon as a child process: started, waited for, stopped. The servers below it are `stack.py`'s."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from content_orchestration.local import ports
from content_orchestration.local.errors import LocalStackError
from content_orchestration.local.process import RunFile, command_line, has_pair, is_alive, tail
from content_orchestration.local.server import http_status, make_folder
from content_orchestration.settings import PROJECT_ROOT, Settings

_START_SECONDS = 90.0
_STOP_SECONDS = 20.0


class DagsterUI:
    """`dagster dev` on the loopback address. It has a session of its own, so that Ctrl-C reaches us first."""

    def __init__(
        self,
        settings: Settings,
        *,
        workspace: Path = PROJECT_ROOT / "workspace.yaml",
        patience: float = _START_SECONDS,
    ) -> None:
        """`patience`: seconds that it may take until it answers."""
        self._settings = settings
        self._patience = patience
        self._workspace = workspace
        self._log = settings.local_state_dir / "logs" / "dagster.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._run_file = _run_file(settings)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._settings.dagster_ui_port}"

    def require_port(self) -> None:
        """Raise `LocalStackError` when another program has the port."""
        ports.require_free(self._settings.dagster_ui_port, "DAGSTER_UI_PORT", "the Dagster UI")

    def start(self) -> float:
        """Start it and return the seconds until it answered. Raises `LocalStackError` with the end of its log."""
        self.require_port()
        started = time.monotonic()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            offset = log.tell()
            self._process = subprocess.Popen(
                self._command(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=PROJECT_ROOT,
                start_new_session=True,
            )
        make_folder(self._run_file.path.parent)
        self._run_file.write(psutil.Process(self._process.pid), {"DAGSTER_UI_PORT": self._settings.dagster_ui_port})
        while time.monotonic() - started < self._patience:
            if self._process.poll() is not None:
                break
            if http_status(self._settings.dagster_ui_port, "/server_info") == 200:
                return time.monotonic() - started
            time.sleep(0.1)
        self.stop()
        raise LocalStackError(
            f"The Dagster UI did not answer on {self.url}. The end of its log:\n{tail(self._log, offset)}",
            f"solve what it names; the whole log is {self._log}.",
        )

    def wait(self) -> int:
        """Block until it ends by itself and return its exit code."""
        return self._process.wait() if self._process else 0

    def stop(self) -> None:
        """Interrupt it and whatever it started; kill what is left after 20 s."""
        if self._process is None:
            return
        for sign in (signal.SIGINT, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, sign)
                self._process.wait(_STOP_SECONDS)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self._process = None
        self._run_file.remove()

    def _command(self) -> list[str]:
        # The module and not the console script: a virtual environment that was moved has stale script headers.
        port = str(self._settings.dagster_ui_port)
        return [
            sys.executable, "-m", "dagster", "dev", "--host", "127.0.0.1", "--port", port,
            "--workspace", str(self._workspace), "--log-level", "warning",
        ]  # fmt: skip


def stop_left_behind(settings: Settings) -> bool:
    """Stop the UI and daemon of a `make up` that was killed and could not; whether there was one."""
    run_file = _run_file(settings)
    process = run_file.process()
    if process is None or not has_pair(command_line(process), "dagster", "dev"):
        run_file.remove()
        return False
    for sign in (signal.SIGINT, signal.SIGKILL):
        if is_alive(process):
            os.killpg(process.pid, sign)
            psutil.wait_procs([process], _STOP_SECONDS)
    run_file.remove()
    return True


def _run_file(settings: Settings) -> RunFile:
    return RunFile(settings.local_state_dir / "run" / "dagster.json")
