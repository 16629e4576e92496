"""How the doctor comes to PostgreSQL, why it does not get there, and what Dagster's own storage looks like."""

import math
import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psycopg
from psycopg import Connection
from psycopg.rows import dict_row

from content_orchestration.core.database import Row
from content_orchestration.core.operations.doctor import Finding, ok, problem, warning
from content_orchestration.core.sql import statement

CONNECT_SECONDS = 4.0
# A statement is given up a little before the probe is, for its reason to be heard.
_STATEMENT_SHARE = 0.75
STALE_SECONDS = 300.0
"""A daemon says every 30 s that it lives; Dagster itself gives it half an hour before it calls it dead."""
DAEMONS = ("ASSET", "BACKFILL", "MONITORING", "QUEUED_RUN_COORDINATOR", "SCHEDULER", "SENSOR")

# libpq has no codes for what fails before the session begins: only its words, which English servers and clients use.
_REASONS: tuple[tuple[str, str, str], ...] = (
    (
        r"password authentication failed|no password supplied|SCRAM|authentication failed",
        "the server does not take the user or the password",
        "correct user and password in {variable} (percent-encode : / ? # @ and blanks)",
    ),
    (
        r'database "[^"]*" does not exist',
        "there is no such database on the server",
        "create it, or correct the name behind the last / of {variable}",
    ),
    (
        r'role "[^"]*" does not exist',
        "there is no such role on the server",
        "create it, or correct the user in {variable}",
    ),
    (r"not permitted to log in", "the role may not log in", "ALTER ROLE … LOGIN, or name another user in {variable}"),
    (
        r"no pg_hba.conf entry",
        "the server lets no such connection in",
        "add the machine to its pg_hba.conf, or set sslmode",
    ),
    (
        r"Connection refused",
        "nothing listens there",
        "start the server (make up starts the local one), or correct host and port in {variable}",
    ),
    (
        r"failed to resolve host|could not translate host|Name or service not known",
        "its name is not known",
        "correct the host in {variable}",
    ),
    (
        r"timeout expired|timed out",
        "no answer within {seconds:g} s",
        "see that the server runs and no firewall is between",
    ),
    (
        r"too many clients|remaining connection slots|too many connections",
        "the server takes no more connections",
        "end some, or raise max_connections",
    ),
    (
        r"SSL|certificate",
        "no encrypted connection came about",
        "compare sslmode and sslrootcert in {variable} with the server",
    ),
)


def look_into(
    url: str,
    variable: str,
    about: str,
    look: Callable[[Connection[Row]], Iterator[Finding]],
    *,
    seconds: float = CONNECT_SECONDS,
) -> Iterator[Finding]:
    """Connect once, within `seconds`, and yield what `look` finds; where that fails, why.

    No error of the driver is passed on as it is: for a malformed URL it would quote the password.
    """
    statement_ms = int(1000 * seconds * _STATEMENT_SHARE)
    try:
        connection = Connection[Row].connect(
            url, row_factory=dict_row, autocommit=True, connect_timeout=math.ceil(seconds),
            options=f"-c statement_timeout={statement_ms} -c lock_timeout={statement_ms} -c timezone=UTC",
            application_name="content_orchestration_doctor",
        )  # fmt: skip
    except psycopg.OperationalError as error:
        text, way_out = reason(str(error), variable, math.ceil(seconds))
        yield problem(about, f"{_address(url)}: {text}", way_out, stops=True)
        return
    except psycopg.Error:
        yield problem(
            about,
            f"{variable} cannot be read as an address",
            "write postgresql://user:password@host:port/database, with : / ? # @ and blanks percent-encoded",
            stops=True,
        )
        return
    with connection:
        try:
            yield from look(connection)
        except psycopg.Error as error:
            # A server's own message names objects and rules, and never a password.
            said = error.diag.message_primary or type(error).__name__
            yield problem(
                about, f"{_address(url)}: a look was refused or broke off ({said})", "look at the server's log"
            )


def reason(said: str, variable: str, seconds: float = CONNECT_SECONDS) -> tuple[str, str]:
    """What libpq's words mean, and the way out. `seconds` were given to it."""
    for pattern, text, way_out in _REASONS:
        if re.search(pattern, said):
            return text.format(seconds=seconds), way_out.format(variable=variable)
    return "the connection was refused", f"try it by hand: psql with the address of {variable}"


def dagster_storage(connection: Connection[Row], about: str) -> Iterator[Finding]:
    """Whether Dagster's tables are there or can be made."""
    row = connection.execute(statement("operations/doctor_dagster")).fetchone() or {}
    if row["made"]:
        yield ok(about, "Dagster's tables are there")
    elif row["makes_tables"]:
        yield ok(about, "empty: Dagster makes its tables with the first start")
    else:
        yield problem(
            about,
            "Dagster's tables are not there, and this role may not make them",
            "GRANT CREATE ON SCHEMA public TO the user of DAGSTER_PG_URL",
            stops=True,
        )


def daemons(connection: Connection[Row], about: str) -> Iterator[Finding]:
    """Whether what starts schedules, sensors and queued runs is alive."""
    row = connection.execute(statement("operations/doctor_dagster")).fetchone() or {}
    beats = connection.execute(statement("operations/doctor_daemons")).fetchall() if row["beats"] else []
    age = {beat["name"]: beat["seconds"] for beat in beats}
    silent = [name for name in DAEMONS if age.get(name, STALE_SECONDS + 1) > STALE_SECONDS]
    failing = [beat["name"] for beat in beats if beat["errors"] and beat["name"] not in silent]
    start = "run make up, or dagster-daemon run"
    if len(silent) == len(DAEMONS):
        last = min(age.values(), default=None)
        since = "never ran" if last is None else f"was last seen {last / 60:,.0f} minutes ago"
        yield warning(about, f"Dagster's daemon {since}: no schedule, sensor or queued run starts", start)
    elif silent:
        yield problem(about, f"silent for more than {STALE_SECONDS / 60:.0f} minutes: {', '.join(silent)}", start)
    elif failing:
        yield warning(about, f"reporting errors: {', '.join(failing)}", "read them in the UI under Deployment, Daemons")
    else:
        yield ok(about, f"{len(DAEMONS)} daemons alive, the quietest for {max(age[name] for name in DAEMONS):.0f} s")


def _address(url: str) -> str:
    """Host, port and database without the secret."""
    parts = urlsplit(url)
    return f"{parts.hostname or 'localhost'}:{parts.port or 5432}{parts.path}"
