"""Finds deletes that no trigger saw: keys that BigQuery holds and PostgreSQL does not.

`TRUNCATE` hides rows from the trigger that its own snapshot cannot see, and `session_replication_role = replica`
by-passes triggers altogether (`TRAPS.md` 2). What is found goes into the change log, and the next window carries it.
"""

from collections.abc import Iterator

from content_orchestration.core.database import Database
from content_orchestration.core.replication.tables import Entity, view_name
from content_orchestration.core.sql import on_table, statement
from content_orchestration.core.warehouse import Warehouse

_PAGE = 10_000


def reconcile_keys(database: Database, warehouse: Warehouse, entity: Entity, tenant_id: str | None = None) -> int:
    """Write a tombstone for every current key of BigQuery that PostgreSQL does not have; returns how many.

    Reads the keys of the current view, so it is for a TRUNCATE, a snapshot or a repair, not for every sync.
    """
    written = 0
    for keys in _pages(warehouse, entity, tenant_id):
        with database.connection() as connection:
            gone = [
                row["entity_id"]
                for row in connection.execute(statement("replication/keys_gone"), {"ids": keys, "entity": entity.name})
            ]
            if gone:
                with connection.cursor() as cursor:
                    cursor.executemany(
                        statement("replication/tombstone_insert"),
                        [row | {"entity": entity.name} for row in _last_rows(warehouse, entity, gone)],
                    )
            written += len(gone)
    return written


def _pages(warehouse: Warehouse, entity: Entity, tenant_id: str | None) -> Iterator[list[str]]:
    view = warehouse.qualified(view_name(entity.table.name))
    sql = on_table("bigquery/keys_page", view)
    after = ""
    while True:
        keys = [
            row["entity_id"] for row in warehouse.query(sql, {"after": after, "tenant": tenant_id or "", "page": _PAGE})
        ]
        if keys:
            yield keys
        if len(keys) < _PAGE:
            return
        after = keys[-1]


def _last_rows(warehouse: Warehouse, entity: Entity, ids: list[str]) -> Iterator[dict[str, object]]:
    view = warehouse.qualified(view_name(entity.table.name))
    sql = on_table("bigquery/last_rows", view)
    yield from warehouse.query(sql, {"ids": ids})
