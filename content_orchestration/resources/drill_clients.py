"""The clients of the three tiers with what a drill may do besides: make a database, drop collections and a dataset.

Only drills use them, on what `core/drill/scratch.py` has found to be theirs. The live clients cannot drop anything.
"""

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import psycopg
from google.api_core import exceptions as google
from google.cloud import bigquery
from psycopg import sql

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.sql import statement
from content_orchestration.resources.bigquery_client import BigQueryClient
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration.resources.zerodb_http import Call
from content_orchestration.resources.zerodb_json import encode

if TYPE_CHECKING:
    from content_orchestration.core.drill.scratch import ScratchDatabase, ScratchStore, ScratchWarehouse

_MAINTENANCE = "postgres"


class DrillPostgres(PostgresClient):
    """A database that it can create."""

    def create_if_missing(self) -> bool:
        """Create the database unless it is there; True if this call did.

        Raises `Transient` when the server cannot be reached and `Permanent` without the right to create it.
        """
        try:
            self._connect().close()
        except Transient:
            return self._create()
        return False

    def _create(self) -> bool:
        parts = urlsplit(self._url)
        name = unquote(parts.path.lstrip("/"))
        maintenance = urlunsplit(parts._replace(path="/" + quote(_MAINTENANCE)))
        try:
            with psycopg.connect(maintenance, autocommit=True, connect_timeout=10) as connection:
                found = connection.execute(statement("drill/database_exists"), {"name": name}).fetchone()
                if found == (True,):
                    raise Transient(f"PostgreSQL at {self.address} refused the connection: see DRILL_DATABASE_URL")
                create = sql.SQL(statement("drill/create_database")).format(name=sql.Identifier(name))
                connection.execute(create)
        except psycopg.errors.InsufficientPrivilege as error:
            raise Permanent(
                f"database {self.address} is not there and the role may not create it ({str(error).strip()}): have it "
                f'created by `CREATE DATABASE "{name}" OWNER <role>`, or set DRILL_DATABASE_URL to one that is there'
            ) from error
        except psycopg.OperationalError as error:
            raise Transient(
                f"PostgreSQL at {self.address} refused the connection ({error}): see that the server runs and that "
                "DRILL_DATABASE_URL is right"
            ) from error
        return True


class DrillZeroDB(ZeroDBClient):
    """A project whose collections it can drop."""

    def drop_collection(self, name: str) -> None:
        """Drop a collection with its documents; one that is not there is no error."""
        path = f"{self._tables}/{quote(name, safe='')}"
        payload = encode({"confirm": True}, "the confirmation")
        self._http.call(Call(f"removal of {name}", "DELETE", path, payload, accept=(200, 204, 404)))


class DrillBigQuery(BigQueryClient):
    """A dataset that it can drop."""

    def table_names(self) -> list[str]:
        """Tables and views of the dataset; none where the dataset is not there."""
        try:
            return [table.table_id for table in self._call("list the tables", self._list)]
        except Permanent as error:
            if isinstance(error.__cause__, google.NotFound):
                return []
            raise

    def drop_table(self, name: str) -> None:
        """Drop a table or view; one that is not there is no error."""
        self._call(
            f"drop table {name}",
            lambda: self._client.delete_table(self.qualified(name), not_found_ok=True, timeout=self._timeout),
        )

    def drop_dataset(self) -> None:
        """Drop the dataset, which must be empty; one that is not there is no error."""
        self._call(
            "drop the dataset",
            lambda: self._client.delete_dataset(
                bigquery.DatasetReference(self._client.project, self._dataset),
                delete_contents=False,
                not_found_ok=True,
                timeout=self._timeout,
            ),
        )

    def _list(self) -> list[Any]:
        reference = bigquery.DatasetReference(self._client.project, self._dataset)
        return list(self._client.list_tables(reference, timeout=self._timeout))


if TYPE_CHECKING:
    # Checked by mypy: the clients are what the engine asks for.
    _database: type[ScratchDatabase] = DrillPostgres
    _store: type[ScratchStore] = DrillZeroDB
    _warehouse: type[ScratchWarehouse] = DrillBigQuery
