"""The disasters: what is destroyed in a drill's world. Each works on the tiers of a `World` and on nothing else."""

from contextlib import suppress
from itertools import islice
from typing import BinaryIO, cast
from uuid import UUID

from content_orchestration.core.documents import Document
from content_orchestration.core.drill.content import first_versions, item_id
from content_orchestration.core.drill.scratch import mark_database
from content_orchestration.core.drill.world import World
from content_orchestration.core.schema.documents import COLLECTIONS
from content_orchestration.core.sql import statement
from content_orchestration.core.warehouse import LoadResult, Warehouse

BODIES = "content_items"
_EDITED = 10
_CORRUPT_EVERY = 10
_DELETED_TENANT = 1


class _PowerCutError(Exception):
    """Ends a sync where a machine that loses its power would end it: no client retries it, nothing cleans up."""


class _CutAfterFirstFile:
    """The warehouse of a sync whose machine goes down behind its first load file."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def load_parquet(self, table: str, parquet: BinaryIO, job_id: str) -> LoadResult:
        """Load the file, and lose power before anybody notes it."""
        self._warehouse.load_parquet(table, parquet, job_id)
        raise _PowerCutError


def edit_without_sync(world: World) -> None:
    """Edits of the minutes before a disaster: no sync has carried them yet."""
    world.execute("drill/edit_titles", {"ids": [item_id(number) for number in range(_EDITED)]})


def write_without_sync(world: World) -> None:
    """The same, and an item that is not in the history at all."""
    edit_without_sync(world)
    world.write(first_versions([world.items + 1]))


def drop_tables(world: World) -> None:
    """The three content tables are dropped."""
    world.execute("drill/drop_content_tables")


def empty_zerodb(world: World) -> None:
    """Every document of ZeroDB is deleted; the collections stay."""
    for collection in COLLECTIONS:
        ids = [document["id"] for document in world.scratch.store.scan(collection, fields=["id"])]
        world.scratch.store.delete_many(collection, ids)


def delete_tenant(world: World) -> None:
    """One tenant's rows and documents are deleted, and a sync carries the deletes into BigQuery."""
    tenant = UUID(world.tenant_ids()[_DELETED_TENANT])
    with world.scratch.database.connection() as connection:
        rows = connection.execute(statement("drill/delete_tenant_content"), {"tenant_id": tenant}).fetchall()
    for collection in COLLECTIONS:
        world.scratch.store.delete_many(collection, [row["zerodb_row_id"] for row in rows])
    world.sync()


def update_badly(world: World) -> None:
    """An UPDATE without its WHERE clause, and a sync that carries it into BigQuery."""
    world.execute("drill/bad_update")
    world.sync()


def corrupt_bodies(world: World) -> None:
    """One character of every tenth body changes; its document still claims the old hash and size."""
    for document in islice(list(world.scratch.store.scan(BODIES)), 0, None, _CORRUPT_EVERY):
        world.scratch.store.replace(BODIES, document | {"body": _flipped(document)})


def lose_both_during_a_sync(world: World) -> None:
    """A sync is cut off behind its first file; then PostgreSQL and ZeroDB are gone, and empty servers stand there."""
    with suppress(_PowerCutError):
        world.sync(cast(Warehouse, _CutAfterFirstFile(world.scratch.warehouse)))
    with world.scratch.database.connection() as connection:
        connection.execute(statement("drill/drop_schema"))
        connection.execute(statement("drill/create_schema"))
        # In the same transaction: a drill that is killed here leaves a database that the next one knows as its own.
        mark_database(connection)
    for collection in COLLECTIONS:
        world.scratch.store.drop_collection(collection)


def _flipped(document: Document) -> str:
    body = str(document["body"])
    return ("~" if body[:1] != "~" else "!") + body[1:]
