"""What an open connection to PostgreSQL tells the doctor: server, role, roles, schema, privileges.

How the connection comes about, and what it means where none does, is `doctor_connection.py`'s.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from psycopg import Connection
from psycopg.errors import InsufficientPrivilege

from content_orchestration.core.database import Row
from content_orchestration.core.operations.doctor import Finding, ok, problem, unknown, warning
from content_orchestration.core.operations.doctor_measures import clock
from content_orchestration.core.schema.platform import PLATFORM_COLUMNS, WRITTEN_COLUMNS
from content_orchestration.core.sql import sql_folder, statement

OLDEST = 140000
"""PostgreSQL 14, as the README says."""
ROLES = ("content_app", "content_readonly", "content_worker")
_ALL = ("SELECT", "INSERT", "UPDATE", "DELETE")
# What serves tenants acts as content_app: without these a write of content fails half-way through its transaction.
APP_GRANTS: Mapping[str, Sequence[str]] = {
    "content_storage_metadata": _ALL,
    "content_versions": ("SELECT", "INSERT", "DELETE"),
    "content_body_spill": ("SELECT", "INSERT", "DELETE"),
    "media_assets": ("SELECT", "INSERT", "UPDATE"),
    "content_quota_usage": ("SELECT", "INSERT", "UPDATE"),
    "quota_reservations": ("SELECT", "INSERT", "UPDATE"),
}
_CREATED = re.compile(r"^CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?(\w+)(?![^;]*PARTITION OF)", re.MULTILINE)
_SHOWN = 6


def server(
    connection: Connection[Row], about: str, *, pool_size: int, now: Callable[[], float] = time.time
) -> Iterator[Finding]:
    """Version, whether it can be written and loses nothing, the connection's role, room for our pool, its clock."""
    asked = now()
    row = _one(connection, "operations/doctor_server")
    answered = now()
    major = row["version"] // 10_000
    if row["version"] < OLDEST:
        yield problem(about, f"PostgreSQL {major} is too old", "use PostgreSQL 14 or newer", stops=True)
    elif row["replica"] or row["read_only"]:
        why = "is a replica" if row["replica"] else "has default_transaction_read_only on"
        yield problem(about, f"the server {why}: nothing can be written", "name the primary server", stops=True)
    elif row["encoding"] != "UTF8":
        yield problem(about, f"the database's encoding is {row['encoding']}", "use a database in UTF8", stops=True)
    elif not row["durable"]:
        yield warning(
            about, "fsync or full_page_writes is off: a crash of the machine loses data", "set both to on, and restart"
        )
    elif row["connections"] < 2 * pool_size:
        yield warning(
            about,
            f"max_connections leaves {row['connections']}, and each process of ours takes up to {pool_size}",
            "raise max_connections, or lower DATABASE_POOL_SIZE",
        )
    else:
        yield ok(about, f"PostgreSQL {major}, role {row['role']}, {row['connections']} connections")
    yield clock(f"{about} clock", asked, row["clock"], answered)


def schema(connection: Connection[Row], about: str) -> Iterator[Finding]:
    """Our revision against the newest one of this release."""
    wanted = revisions()[-1]
    try:
        found = _revision(connection)
    except InsufficientPrivilege:
        yield problem(
            about, "this role may not read at which revision it is", "GRANT the role that owns it to this one"
        )
        return
    materialize = "materialize postgres_schema (make up does)"
    if found is None:
        yield problem(about, "our tables were never made here", materialize, mended_by_main_job=True)
    elif found not in revisions():
        yield problem(
            about,
            f"at revision {found}, which this release does not know (its newest is {wanted})",
            "install the release that migrated this database, or a newer one",
            stops=True,
        )
    elif found != wanted:
        yield problem(about, f"at revision {found}, this release needs {wanted}", materialize, mended_by_main_job=True)
    else:
        yield ok(about, f"at the newest revision, {wanted}")


def privileges(connection: Connection[Row], about: str) -> Iterator[Finding]:
    """What our statements and migrations need, and whether row-level security stands."""
    row = _one(connection, "operations/doctor_server")
    roles = _all(connection, "operations/doctor_roles", {"roles": list(ROLES)})
    absent = [role["name"] for role in roles if not role["present"]]
    closed = [role["name"] for role in roles if role["present"] and not role["settable"]]
    made = _one(connection, "schema/version_table")["present"]
    if absent and not row["makes_roles"]:
        yield problem(
            f"{about} roles",
            f"{_listed(absent)} missing, and {row['role']} may not create roles",
            "let it create roles (ALTER ROLE … CREATEROLE), or create them (NOLOGIN) and grant them to it",
            stops=True,
        )
    elif absent and made:
        yield problem(f"{about} roles", f"{_listed(absent)} missing", "create them (NOLOGIN) and run migrations again")
    elif closed:
        yield problem(
            f"{about} roles",
            f"{row['role']} may not act as {_listed(closed)}",
            f"GRANT {', '.join(closed)} TO {row['role']}",
        )
    else:
        yield ok(f"{about} roles", f"{row['role']} may act as {', '.join(ROLES)}" if made else "can be made")
    yield _legacy(connection, f"{about} platform tables", row["role"])
    yield from _ours(connection, about, row) if made else _unmade(about, row)


def _legacy(connection: Connection[Row], about: str, role: str) -> Finding:
    given = {"tables": list(PLATFORM_COLUMNS), "columns": list(WRITTEN_COLUMNS)}
    present = {r["table_name"] for r in _all(connection, "schema/columns", {"tables": list(PLATFORM_COLUMNS)})}
    gone = sorted(set(PLATFORM_COLUMNS) - present)
    if gone:
        return problem(
            about,
            f"{_listed(gone)} missing",
            "see that DATABASE_PUBLIC_URL names the platform's database and that its own migrations ran",
            stops=True,
        )
    lacking = [f"{r['privilege']} on {r['name']}" for r in _all(connection, "operations/doctor_legacy", given)]
    if lacking:
        return problem(about, f"{role} lacks {_listed(lacking)}", f"GRANT them to {role}", stops=True)
    return ok(about, f"{len(present)} tables, readable")


def _unmade(about: str, row: Row) -> Iterator[Finding]:
    name = f"{about} our tables"
    if row["makes_tables"]:
        yield ok(name, "can be made: the schema public takes them")
    else:
        yield problem(
            name, f"{row['role']} may not create tables", f"GRANT CREATE ON SCHEMA public TO {row['role']}", stops=True
        )


def _ours(connection: Connection[Row], about: str, row: Row) -> Iterator[Finding]:
    try:
        wanted = tables(_revision(connection) or "")
    except InsufficientPrivilege:
        wanted = tables(revisions()[-1])
    found = _all(connection, "operations/doctor_tables", {"tables": wanted, "privileges": list(_ALL)})
    gone = [table["name"] for table in found if not table["present"]]
    barred = [table["name"] for table in found if table["present"] and table["lacking"]]
    foreign = [table["name"] for table in found if table["present"] and not table["owned"]]
    open_ = [table["name"] for table in found if table["present"] and table["of_tenants"] and not table["walled"]]
    name = f"{about} our tables"
    if gone:
        yield problem(name, f"{_listed(gone)} missing", "run the job restore_from_bigquery, which makes them anew")
    elif barred:
        yield problem(
            name,
            f"{row['role']} may not read and write {_listed(barred)}",
            f"GRANT the role that owns them, or content_worker, TO {row['role']}",
        )
    elif foreign:
        yield problem(
            name,
            f"{row['role']} does not own {_listed(foreign)}: migrations and maintenance will fail",
            f"GRANT the role that owns them TO {row['role']}",
        )
    else:
        yield ok(name, f"{len(found)} tables, owned and writable")
    if open_:
        yield problem(
            f"{about} tenants apart",
            f"row-level security is not forced on {_listed(open_)}",
            "ALTER TABLE … ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        )
    else:
        yield ok(f"{about} tenants apart", "row-level security is forced on every table with tenants")
    yield _grants(connection, f"{about} content_app")


def _grants(connection: Connection[Row], about: str) -> Finding:
    wanted = [("content_app", table, privilege) for table, granted in APP_GRANTS.items() for privilege in granted]
    roles, names, granted = (list(column) for column in zip(*wanted, strict=True))
    given = {"roles": roles, "tables": names, "privileges": granted}
    lacking = [f"{r['privilege']} on {r['name']}" for r in _all(connection, "operations/doctor_grants", given)]
    if lacking:
        return problem(about, f"it lacks {_listed(lacking)}", "GRANT them to content_app as the migrations do")
    return ok(about, "has what writing content takes")


def revisions() -> list[str]:
    """The revisions of this release, oldest first. Read from file names: Alembic costs 0.3 s to import."""
    folder = sql_folder() / "migrations" / "versions"
    return sorted(path.name.partition("_")[0] for path in folder.glob("[0-9]*.py"))


def tables(revision: str) -> list[str]:
    """The tables that the revisions up to this one make, partitions left out."""
    made: set[str] = set()
    for path in sorted((sql_folder() / "migrations").glob("*.up.sql")):
        if path.name.partition("_")[0] <= revision:
            made |= set(_CREATED.findall(path.read_text(encoding="utf-8")))
    return sorted(made)


def _revision(connection: Connection[Row]) -> str | None:
    if not _one(connection, "schema/version_table")["present"]:
        return None
    row = connection.execute(statement("schema/revision")).fetchone()
    return str(row["version_num"]) if row else None


def not_looked_at(about: str) -> Iterator[Finding]:
    """The lines of what cannot be seen without a connection."""
    for what in ("schema", "privileges"):
        yield unknown(f"{about} {what}", "not looked at: there is no connection")


def _one(connection: Connection[Row], name: str) -> Row:
    row = connection.execute(statement(name)).fetchone()
    assert row is not None, f"{name} has always a row"  # noqa: S101
    return row


def _all(connection: Connection[Row], name: str, values: Mapping[str, Any]) -> list[Row]:
    return connection.execute(statement(name), values).fetchall()


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
