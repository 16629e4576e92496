"""Where a drill may work, and the refusal to work anywhere else. Names only: nothing here opens a connection."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict

from content_orchestration.core.errors import Permanent

_LOOPBACK = frozenset({"", "localhost", "127.0.0.1", "::1", "0.0.0.0"})  # noqa: S104  (an address that is compared)


@dataclass(frozen=True)
class Targets:
    """One set of tiers. `database_url` may carry a password: it is never part of a message."""

    database_url: str
    zerodb_url: str
    zerodb_project: str
    bigquery_project: str
    bigquery_dataset: str


def require_apart(live: Targets, drill: Targets) -> None:
    """Raise `Permanent` where a drill would work on what is live, by whatever spelling of host, port or case.

    Aliases that no spelling shows (a second DNS name, a pooler) are caught by the marks in `scratch.py`.
    """
    (live_servers, live_name), (servers, name) = _database(live.database_url), _database(drill.database_url)
    if name == live_name and servers & live_servers:
        raise _refusal("DRILL_DATABASE_URL", "DATABASE_PUBLIC_URL", "database " + _shown(drill.database_url))
    if drill.zerodb_project.strip().casefold() == live.zerodb_project.strip().casefold() and (
        _address(drill.zerodb_url) == _address(live.zerodb_url)
    ):
        raise _refusal("DRILL_ZERODB_PROJECT_ID", "ZERODB_PROJECT_ID", f"ZeroDB project {drill.zerodb_project!r}")
    # BigQuery takes dataset names by case, people do not.
    if (live.bigquery_project, live.bigquery_dataset.casefold()) == (
        drill.bigquery_project,
        drill.bigquery_dataset.casefold(),
    ):
        raise _refusal("DRILL_BIGQUERY_DATASET", "BIGQUERY_DATASET", f"dataset {drill.bigquery_dataset!r}")


def _refusal(drill: str, live: str, what: str) -> Permanent:
    return Permanent(
        f"{drill} and {live} both name {what}: a drill destroys what it works on, so it never runs on what is live. "
        f"Nothing was done. Set {drill} to one that is for drills alone, or unset it for its default"
    )


def _database(url: str) -> tuple[frozenset[tuple[str, int]], str]:
    """What a PostgreSQL URL leads to, whoever logs in, by libpq's own rules: hosts with ports, and the database."""
    parts = conninfo_to_dict(url)
    user = str(parts.get("user") or "")
    hosts = [_host(name) for name in str(parts.get("hostaddr") or parts.get("host") or "").split(",")]
    ports = [int(port or 5432) for port in str(parts.get("port") or "5432").split(",")]
    servers = zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=False)
    return frozenset(servers), str(parts.get("dbname") or user)


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return _host(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)


def _host(name: str | None) -> str:
    host = (name or "").rstrip(".").lower()
    return "" if host in _LOOPBACK or host.startswith("127.") else host


def _shown(url: str) -> str:
    servers, name = _database(url)
    return ", ".join(f"{host or 'localhost'}:{port}/{name}" for host, port in sorted(servers))
