"""The `doctor` command: which probes there are, and how their findings are printed."""

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from pydantic import ValidationError

from content_orchestration.core.operations import doctor_connection, doctor_postgres
from content_orchestration.core.operations.doctor import MOST_SECONDS, Diagnosis, Finding, Probe, examine
from content_orchestration.core.sql import statement
from content_orchestration.local.doctor import files, services, tiers, variables
from content_orchestration.local.doctor.secrets import secrets_of
from content_orchestration.settings import Settings, get_settings

if TYPE_CHECKING:
    from psycopg import Connection

    from content_orchestration.core.database import Row

# Of what the doctor may take in all: a client gives up before, so that its own reason is heard.
_CLIENTS_SHARE = 0.5


def run(*, as_json: bool = False, seconds: float = MOST_SECONDS) -> int:
    """Print a line a finding, or JSON; 0 where nothing is a problem or unknown, else 1."""
    found = look(seconds)
    if as_json:
        print(json.dumps(found.as_json(), ensure_ascii=False))
    else:
        print("\n".join(found.as_lines()))
        counts = found.as_json()["counts"]
        said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        print(f"\n{said}; {found.seconds:.1f} s", file=sys.stdout if found.healthy else sys.stderr)
    return 0 if found.healthy else 1


def look(seconds: float = MOST_SECONDS) -> Diagnosis:
    """Everything, or what is wrong with the variables where they cannot be read."""
    try:
        settings = get_settings()
    except ValidationError as error:
        return Diagnosis(tuple(variables.invalid(error)), 0.0)
    return examine(probes(settings, seconds=seconds), seconds=seconds, secrets=secrets_of(settings))


def before_the_main_job(settings: Settings) -> Diagnosis:
    """What `make up` has to tell: nothing that is well, and nothing that it is about to make."""
    return examine(probes(settings, running=False), secrets=secrets_of(settings)).before_the_main_job()


def probes(
    settings: Settings,
    *,
    running: bool = True,
    environment: Mapping[str, str] = os.environ,
    seconds: float = MOST_SECONDS,
) -> list[Probe]:
    """Everything, in the order of the lines, for `seconds` in all. Dagster's daemons only where it should be `running`.

    Whoever gives the doctor more time gives it to each client: a slow server is not one that does not answer.
    """
    patience = _CLIENTS_SHARE * seconds
    google = environment.get("GOOGLE_APPLICATION_CREDENTIALS")
    return [
        Probe("variables", partial(variables.combinations, settings, environment)),
        Probe("postgresql", partial(_content, settings, patience)),
        Probe("dagster storage", partial(_dagster, settings, patience, running)),
        Probe("zerodb", partial(tiers.zerodb, settings, patience)),
        Probe("bigquery", partial(_bigquery, settings, patience, google)),
        Probe(
            "object store", partial(files.object_store, settings, patience, partial(_any_tenant, settings, patience))
        ),
        Probe("folders", partial(files.folders, settings)),
        Probe(
            "pg_dump", partial(files.dump_programs, settings, patience, partial(_server_version, settings, patience))
        ),
        Probe("notices", partial(services.notifier, settings)),
        Probe("providers", partial(services.providers, settings)),
        Probe("PROVIDER_MASTER_KEY", partial(services.master_key, settings)),
    ]


def _content(settings: Settings, seconds: float) -> Iterator[Finding]:
    about = "postgresql"
    connected = False

    def all_of_it(connection: "Connection[Row]") -> Iterator[Finding]:
        nonlocal connected
        connected = True
        yield from doctor_postgres.server(connection, about, pool_size=settings.database_pool_size)
        yield from doctor_postgres.schema(connection, f"{about} schema")
        yield from doctor_postgres.privileges(connection, about)

    yield from doctor_connection.look_into(
        settings.database_url, "DATABASE_PUBLIC_URL", about, all_of_it, seconds=seconds
    )
    if not connected:
        yield from doctor_postgres.not_looked_at(about)


def _dagster(settings: Settings, seconds: float, running: bool) -> Iterator[Finding]:
    about = "dagster storage"

    def all_of_it(connection: "Connection[Row]") -> Iterator[Finding]:
        yield from doctor_connection.dagster_storage(connection, about)
        if running:
            yield from doctor_connection.daemons(connection, "dagster daemons")

    yield from doctor_connection.look_into(
        settings.dagster_database_url, "DAGSTER_PG_URL", about, all_of_it, seconds=seconds
    )


def _bigquery(settings: Settings, seconds: float, google: str | None) -> Iterator[Finding]:
    if settings.bigquery_url is None:
        yield from tiers.credentials_file(google)
    yield from tiers.bigquery_dataset(settings, seconds)


def _any_tenant(settings: Settings, seconds: float) -> UUID | None:
    row = _quick_answer(settings, "operations/doctor_tenant", seconds)
    return row["id"] if row else None


def _server_version(settings: Settings, seconds: float) -> int | None:
    row = _quick_answer(settings, "operations/doctor_server", seconds)
    return row["version"] // 10_000 if row else None


def _quick_answer(settings: Settings, name: str, seconds: float) -> "Row | None":
    """One row, or None where PostgreSQL cannot be asked: its own probe says why."""
    import psycopg
    from psycopg.rows import dict_row

    try:
        with psycopg.connect(
            settings.database_url, row_factory=dict_row, connect_timeout=math.ceil(seconds), autocommit=True
        ) as connection:
            return connection.execute(statement(name)).fetchone()
    except psycopg.Error:
        return None
