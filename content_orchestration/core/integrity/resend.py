"""Writes what BigQuery lacks into the change log; a sync then carries it, exactly once, as it carries everything.

The history is append-only: what is wrong in it is superseded by a newer state of the same id, never rewritten.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

import psycopg

from content_orchestration.core.database import Database
from content_orchestration.core.integrity.proof import last_states
from content_orchestration.core.replication.tables import Entity
from content_orchestration.core.sql import statement
from content_orchestration.core.warehouse import Warehouse

_LAST_WITNESS = (
    "PostgreSQL has no such row, and this table is append-only: BigQuery's copy is the last witness of it and stays as "
    "it is"
)


@dataclass
class Resent:
    """Ids that the change log carries anew, as rows and as tombstones; ids that it cannot carry, with the reason."""

    rows: list[str] = field(default_factory=list)
    tombstones: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def resend(database: Database, warehouse: Warehouse, entity: Entity, ids: Mapping[str, str | None]) -> Resent:
    """Write an entry for each id: its row where PostgreSQL has one, else a tombstone with the row as it last was.

    The values of `ids` are the tenants that the differences name, for tombstones whose payload does not say.
    Raises `Transient` when a side cannot be reached; nothing was written then, or all rows and no tombstone were.
    """
    done = Resent()
    keys = [key for key in ids if is_uuid(key)]
    done.refused = {
        key: "the key is no UUID, so no row had it and no tombstone can name it: another writer loaded it"
        for key in ids
        if not is_uuid(key)
    }
    if not keys:
        return done
    with database.connection() as connection:
        rows = connection.execute(statement("integrity/resend_rows"), {"entity": entity.name, "ids": keys})
        done.rows = [row["entity_id"] for row in rows]
    gone = sorted(set(keys) - set(done.rows))
    if entity.append_only:
        done.refused |= dict.fromkeys(gone, _LAST_WITNESS)
        return done
    if not gone:
        return done
    states = last_states(warehouse, entity, gone)
    with database.connection() as connection, connection.cursor() as cursor:
        for key in gone:
            state = states.get(key)
            tenant, last_row = _tombstone(database, key, state["row_json"] if state else None)
            # The row's own word first; a tenant only files a tombstone, its id is what it is about.
            tenant = tenant or ids[key] or (str(state["tenant_id"]) if state else None)
            if tenant is None or not is_uuid(tenant):
                done.refused[key] = "no state in the history proves whose row it was, and a tombstone names its tenant"
                continue
            values = {"entity": entity.name, "entity_id": UUID(key), "tenant_id": UUID(tenant), "last_row": last_row}
            cursor.execute(statement("replication/tombstone_insert"), values)
            done.tombstones.append(key)
    return done


def is_uuid(text: str) -> bool:
    """Whether this is a UUID as PostgreSQL prints it."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _tombstone(database: Database, key: str, row_json: str | None) -> tuple[str | None, str]:
    """Tenant and payload of a tombstone: the row as it last was, or its key alone where PostgreSQL cannot read that."""
    if row_json is not None:
        try:
            with database.connection() as connection:
                found = connection.execute(statement("integrity/json_object"), {"text": row_json}).fetchone() or {}
        except psycopg.DataError:
            found = {}
        tenant = found.get("tenant_id")
        if found.get("readable"):
            return (tenant if tenant and is_uuid(tenant) else None), row_json
    return None, json.dumps({"id": key})
