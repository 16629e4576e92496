"""Starts the ZeroDB stand-in as a process, on a free port. Shared by the tests that speak to it over HTTP."""

import subprocess
import sys
from pathlib import Path

import httpx

from content_orchestration.settings import PROJECT_ROOT

KEY = "test-key"
PROJECT = "acme"


class ZeroDBProcess:
    """One server process and a client of it. `port` 0 takes a free one; a restart keeps it."""

    def __init__(self, data_file: Path, *arguments: str) -> None:
        self.data_file = data_file
        self.port = 0
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> "ZeroDBProcess":
        command = [sys.executable, "-m", "content_orchestration.local.zerodb", "--port", str(self.port)]
        command += ["--data-file", str(self.data_file), "--api-key", KEY, *self._arguments]
        self._process = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("ZeroDB stand-in on http://127.0.0.1:"), f"it did not start: {line!r}"
        self.port = int(line.split("127.0.0.1:")[1].split("/")[0])
        self.client = httpx.Client(base_url=self.root, headers={"X-API-Key": KEY}, timeout=60)
        return self

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def tables(self) -> str:
        return f"/api/v1/projects/{PROJECT}/database/tables"

    def stop(self, *, kill: bool = False) -> str:
        """Ends the process, by SIGKILL where asked, and returns what it wrote after its first line."""
        assert self._process is not None
        self.client.close()
        if kill:
            self._process.kill()
        else:
            self._process.terminate()
        output, _ = self._process.communicate(timeout=20)
        return output
