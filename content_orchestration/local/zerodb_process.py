"""How the local ZeroDB server is run. The server itself is the package `local/zerodb/`."""

import importlib.util
import sys
from collections.abc import Mapping

from content_orchestration.local import ports, process
from content_orchestration.local.errors import LocalStackError
from content_orchestration.local.server import LocalServer, http_status, make_folder, python_environment

_MODULE = "content_orchestration.local.zerodb"
_HEALTH = "/api/v1/health"


class ZeroDB(LocalServer):
    """The stand-in for ZeroDB, data in `zerodb/`."""

    name = "zerodb"
    title = "The ZeroDB server"

    @property
    def url(self) -> str:
        """Of its REST interface, version included."""
        return f"http://{ports.HOST}:{self.settings.local_zerodb_port}/api/v1"

    @property
    def ports(self) -> Mapping[str, int]:
        """Its one port."""
        return {"LOCAL_ZERODB_PORT": self.settings.local_zerodb_port}

    def is_mine(self, argv: list[str]) -> bool:
        """A ZeroDB server on our file."""
        return process.has_pair(argv, "-m", _MODULE) and process.has_pair(argv, "--data-file", self._data_file)

    def check_ports(self) -> None:
        """As everywhere, and a running server must know our key."""
        super().check_ports()
        running = self.find()
        argv = [] if running is None else process.command_line(running)
        if running is not None and argv and not process.has_pair(argv, "--api-key", self.settings.zerodb_key):
            raise LocalStackError(
                f"{self.title} of {self.state_dir} already runs (pid {running.pid}) with another key.",
                "run make down first, or set ZERODB_API_KEY as it was.",
            )

    def prepare(self) -> process.Command:
        """Makes the folder."""
        for package in ("starlette", "uvicorn"):
            if importlib.util.find_spec(package) is None:
                raise LocalStackError(
                    f"The ZeroDB server needs {package}, which is not installed in this Python.",
                    "run make up, or install it: pip install 'content-orchestration[local]'.",
                )
        make_folder(self.folder)
        argv = [sys.executable, "-m", _MODULE, "--port", str(self.settings.local_zerodb_port)]
        argv += ["--data-file", self._data_file, "--api-key", self.settings.zerodb_key]
        return process.Command(argv, self.folder, python_environment())

    def missing(self) -> str | None:
        """An answer of 200 to the contract's health path."""
        status = http_status(self.settings.local_zerodb_port, _HEALTH)
        if status == 200:
            return None
        return "it does not answer" if status is None else f"it answers {status} to {_HEALTH}"

    @property
    def _data_file(self) -> str:
        return str(self.folder / "zerodb.sqlite3")
