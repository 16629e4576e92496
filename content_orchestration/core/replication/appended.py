"""Append-only tables beside the windows: what BigQuery lacks of them is written into the change log once more.

Windows carry every entry by themselves. This is for what they cannot carry: entries that lie before a cursor that was
set anew, and a dataset that was made anew. No tombstone is written: where only BigQuery has an entry, it is the last
witness of it.
"""

from uuid import UUID

from content_orchestration.core.database import Database
from content_orchestration.core.replication.tables import CLEANUP_AUDIT
from content_orchestration.core.sql import on_table, statement
from content_orchestration.core.warehouse import Warehouse

_PAGE = 10_000


def send_missing(database: Database, warehouse: Warehouse, page: int = _PAGE) -> int:
    """Have the next window carry the entries of the cleanup audit that BigQuery lacks; returns how many.

    Doing it again before that window adds nothing. Raises `Transient` or `Permanent` where a side cannot be read.
    """
    sql = on_table("bigquery/ids_held", warehouse.qualified(CLEANUP_AUDIT.table.name))
    after: UUID | None = None
    sent = 0
    while True:
        with database.connection() as connection:
            rows = connection.execute(statement("replication/audit_unsent"), {"after": after, "page": page}).fetchall()
        ids = [row["entity_id"] for row in rows]
        if ids:
            held = {row["entity_id"] for row in warehouse.query(sql, {"ids": ids})}
            missing = [each for each in ids if each not in held]
            if missing:
                with database.connection() as connection:
                    sent += connection.execute(statement("replication/audit_send"), {"ids": missing}).rowcount
        if len(ids) < page:
            return sent
        after = UUID(ids[-1])
