"""The server as a process: `python -m content_orchestration.local.zerodb --port 9070 --data-file zerodb.sqlite3`."""

import argparse
import sqlite3
import sys
from pathlib import Path

from content_orchestration.local.zerodb.app import create_app
from content_orchestration.local.zerodb.rows import ROW_STYLES
from content_orchestration.local.zerodb.server import HOST, listen, make_server
from content_orchestration.settings import LOCAL_KEY


def main() -> int:
    """Serves until a signal. Exit code 1, with one line on stderr, where the port or the data file cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m content_orchestration.local.zerodb", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--data-file", type=Path, required=True, help="the SQLite file; created where it is missing")
    parser.add_argument("--api-key", default=LOCAL_KEY, help="the key that X-API-Key must carry")
    parser.add_argument("--row-style", choices=ROW_STYLES, default="document", help="how a query returns a row")
    given = parser.parse_args()
    try:
        listening = listen(given.port)
    except (OSError, OverflowError) as error:
        print(f"port {given.port} cannot be used ({error}): choose another", file=sys.stderr)
        return 1
    try:
        app = create_app(given.data_file, given.api_key, given.row_style)
    except (OSError, sqlite3.Error) as error:
        print(f"data file {given.data_file} cannot be used ({error}): move it away or name another", file=sys.stderr)
        return 1
    port = listening.getsockname()[1]
    print(f"ZeroDB stand-in on http://{HOST}:{port}/api/v1, data in {given.data_file}", flush=True)
    make_server(app).run(sockets=[listening])
    return 0


if __name__ == "__main__":
    sys.exit(main())
