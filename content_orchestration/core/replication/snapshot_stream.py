"""Rows as PostgreSQL streams them: a COPY into Arrow batches, in an exported snapshot. What is made of them is
`assemble.py`'s.

The connection is ADBC's: 0.7 M rows/s in bounded memory. Its traps (`TRAPS.md` 6) are kept out by the types that
`snapshot_columns` lets through: PostgreSQL prints all others, and each row with a timestamp beyond the years 1 to 9999.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pyarrow as pa
from psycopg import Connection, sql
from psycopg.conninfo import make_conninfo

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.replication.assemble import SourceColumn
from content_orchestration.core.sql import statement

# Rows come in batches of about this size, and a few are held at once.
_BATCH_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True)
class Snapshot:
    """A snapshot that was exported on `connection` and lives as long as that one's transaction."""

    id: str
    connection: Connection[Row]


@contextmanager
def exported_snapshot(database: Database) -> Iterator[Snapshot]:
    """A snapshot that readers can share until the end. It has no transaction id, so no window waits for it."""
    with database.connection() as connection:
        connection.execute(statement("replication/repeatable_read"))
        row = connection.execute(statement("replication/snapshot_export")).fetchone()
        yield Snapshot(str(row["snapshot"]) if row else "", connection)


@dataclass(frozen=True)
class StreamedRows:
    """The columns of a table, and rows of it."""

    columns: list[SourceColumn]
    batches: Generator[pa.RecordBatch, None, None]


@contextmanager
def tenant_rows(snapshot: Snapshot, table: str, tenant: str) -> Iterator[StreamedRows]:
    """The rows of a tenant in `table`, as the snapshot shows them, in no order; `tenant_id` itself is left out.

    Raises `Transient` when the server cannot be reached or breaks off.
    """
    with _streamed(snapshot, table, "replication/snapshot_rows", str(UUID(tenant)), "tenant_id") as rows:
        yield rows


@contextmanager
def table_rows(snapshot: Snapshot, table: str, tenant: UUID | None) -> Iterator[StreamedRows]:
    """The rows of `table` with all columns, as the snapshot shows them, in no order; of one tenant where given.

    Batches are half as large: a comparison is to take less memory than a load, which has files to fill.
    Raises `Transient` when the server cannot be reached or breaks off.
    """
    with _streamed(snapshot, table, "replication/snapshot_table", str(tenant or ""), None, 2) as rows:
        yield rows


@contextmanager
def _streamed(
    snapshot: Snapshot, table: str, name: str, tenant: str, left_out: str | None, fraction: int = 1
) -> Iterator[StreamedRows]:
    import adbc_driver_postgresql.dbapi as adbc

    with _named(), adbc.connect(_address(snapshot.connection)) as connection, connection.cursor() as cursor:
        cursor.execute(statement("replication/repeatable_read"))
        snapshot_id = sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot.id))
        cursor.execute(snapshot_id.as_string(snapshot.connection))
        for setting, values in (("pin_settings", ()), ("snapshot_settings", (tenant,))):
            cursor.execute(statement(f"replication/{setting}"), values or None)
            cursor.fetchall()
        cursor.execute(statement("replication/snapshot_lock").replace("{table}", table))
        cursor.execute(statement("replication/snapshot_columns"), (table,))
        found = cursor.fetchall()
        columns = [SourceColumn(column, kind) for column, kind, _, _ in found]
        expressions = ", ".join(expression for column, _, expression, _ in found if column != left_out)
        odd = " OR ".join(condition for _, _, _, condition in found if condition)
        rows = statement(name).replace("{table}", table)
        cursor.adbc_statement.set_options(
            **{"adbc.postgresql.batch_size_hint_bytes": str(max(1, _BATCH_BYTES // fraction))}
        )
        cursor.execute(rows.replace("{expressions}", expressions).replace("{odd}", odd or "false"))
        yield StreamedRows(columns, _batches(cursor))


def _batches(cursor: Any) -> Generator[pa.RecordBatch, None, None]:
    with _named():
        yield from cursor.fetch_record_batch()


def _address(connection: Connection[Row]) -> str:
    """Where `connection` leads, with its password: never log it."""
    info = connection.info
    parameters = info.get_parameters() | {"client_encoding": "UTF8"}
    return make_conninfo(**parameters, **({"password": info.password} if info.password else {}))


@contextmanager
def _named() -> Iterator[None]:
    """Errors of the driver by what the caller should do, as the SQLSTATE and psycopg's classes have it."""
    import adbc_driver_manager as adbc

    try:
        yield
    except (adbc.Error, pa.ArrowException, OSError) as error:
        sqlstate = getattr(error, "sqlstate", None)
        try:
            kind: type[BaseException] = psycopg.errors.lookup(sqlstate) if sqlstate else psycopg.OperationalError
        except KeyError:
            kind = psycopg.DatabaseError
        if issubclass(kind, psycopg.OperationalError):
            raise Transient(f"PostgreSQL broke off while a snapshot was read: {error}") from error
        raise Permanent(f"PostgreSQL refused to give a snapshot: {error}") from error
