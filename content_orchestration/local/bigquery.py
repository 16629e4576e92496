"""The local BigQuery emulator, `bqemulator`: how it starts, and how it gets DuckDB's spatial extension offline."""

import importlib.metadata
import importlib.util
import site
import sys
from collections.abc import Mapping

from content_orchestration.local import ports, process
from content_orchestration.local.errors import LocalStackError, disk_full
from content_orchestration.local.server import LocalServer, http_status, make_folder, python_environment

_INSTALL = "run make up, or install it: pip install 'content-orchestration[local]'."


class BigQuery(LocalServer):
    """The emulator, data in `bigquery/`, DuckDB's own state included."""

    name = "bigquery"
    title = "The BigQuery emulator"

    @property
    def url(self) -> str:
        """Of its REST interface."""
        return f"http://{ports.HOST}:{self.settings.local_bigquery_port}"

    @property
    def ports(self) -> Mapping[str, int]:
        """REST and gRPC."""
        return {
            "LOCAL_BIGQUERY_PORT": self.settings.local_bigquery_port,
            "LOCAL_BIGQUERY_GRPC_PORT": self.settings.local_bigquery_grpc_port,
        }

    def is_mine(self, argv: list[str]) -> bool:
        """An emulator on our folder."""
        return process.has_pair(argv, "-m", "bqemulator") and process.has_pair(argv, "--data-dir", str(self.folder))

    def prepare(self) -> process.Command:
        """Makes the folders and installs the extension; drops uploads that no emulator will finish."""
        if importlib.util.find_spec("bqemulator") is None:
            raise LocalStackError("The BigQuery emulator is not installed in this Python.", _INSTALL)
        home, uploads = self.folder / "home", self.folder / "uploads"
        for folder in (self.folder, home, uploads):
            make_folder(folder)
        for upload in uploads.glob("*.bin"):
            upload.unlink()
        self._install_spatial()
        argv = [sys.executable, "-m", "bqemulator", "start", "--persistent", "--data-dir", str(self.folder)]
        argv += ["--rest-port", str(self.settings.local_bigquery_port)]
        argv += ["--grpc-port", str(self.settings.local_bigquery_grpc_port)]
        argv += ["--project", self.settings.bigquery_project, "--log-level", "warning"]
        # DuckDB looks for extensions below HOME; the Avro one, which we do not use, would be downloaded.
        environment = python_environment(
            "BQEMU_",
            HOME=str(home),
            PYTHONUSERBASE=site.getuserbase(),
            BQEMU_ENABLE_FORMAT_EXTENSIONS="false",
            BQEMU_UPLOAD_STAGING_DIR=str(uploads),
        )
        return process.Command(argv, self.folder, environment)

    def missing(self) -> str | None:
        """A ready REST interface, and gRPC, which it opens a moment later."""
        status = http_status(self.settings.local_bigquery_port, "/readyz")
        if status != 200:
            return "its REST interface does not answer" if status is None else f"it answers {status} to /readyz"
        return None if ports.can_connect(self.settings.local_bigquery_grpc_port) else "its gRPC port is closed"

    def _install_spatial(self) -> None:
        """Copies the extension from its wheel to where DuckDB looks for it, once for each version of DuckDB."""
        try:
            version = importlib.metadata.version("duckdb")
            home = self.folder / "home"
            if any((home / ".duckdb" / "extensions" / f"v{version}").glob("*/spatial.duckdb_extension")):
                return
            import duckdb
            import duckdb_extensions
        except (ImportError, importlib.metadata.PackageNotFoundError) as error:
            raise LocalStackError(
                f"DuckDB's extension wheels are not installed in this Python ({error}).", _INSTALL
            ) from error
        try:
            with duckdb.connect(config={"home_directory": str(home)}) as connection:
                duckdb_extensions.import_extension("spatial", con=connection)
        except (ImportError, duckdb.Error) as error:
            if "No space left" in str(error):
                raise disk_full(home) from error
            raise LocalStackError(
                f"DuckDB {version} could not take its spatial extension from the wheel: {error}",
                "solve what it says; where the file or module is missing, install the three in one version: "
                f"pip install duckdb=={version} duckdb-extensions=={version} duckdb-extension-spatial=={version}.",
            ) from error
