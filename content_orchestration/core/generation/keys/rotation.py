"""Rotates what keys are sealed under: the master key, and a tenant's data key. Readers never see a half of it."""

from uuid import UUID

from content_orchestration.core.database import Database
from content_orchestration.core.errors import Permanent
from content_orchestration.core.generation.keys.envelope import seal
from content_orchestration.core.generation.keys.master import MasterKey
from content_orchestration.core.generation.keys.model import RewrapReport
from content_orchestration.core.generation.keys.vault import (
    add_data_key,
    data_key_bound,
    key_bound,
    open_data_key,
    open_key,
)
from content_orchestration.core.sql import statement


def rewrap(database: Database, master: MasterKey, *, apply: bool = False, most: int = 1000) -> RewrapReport:
    """Wrap data keys of older master keys by the current one, at most `most` of them; without `apply` only opens them.

    What cannot be opened raises before anything is changed, in the dry run too. Every data key is changed by itself, so
    a run that breaks off is continued by the next. Keys and ciphertexts of tenants stay as they are.
    """
    if most < 1:
        raise Permanent(f"most is {most}: give the number of data keys that this run may wrap anew, at least 1")
    current = master.current_id
    with database.connection() as connection:
        rows = connection.execute(
            statement("generation_keys/wrapped_by_others"), {"master_key_id": current, "most": most}
        ).fetchall()
    opened = [(row, open_data_key(master, row["tenant_id"], row["version"], row)) for row in rows]
    done = 0
    for row, key in opened if apply else ():
        with database.connection() as connection:
            done += connection.execute(
                statement("generation_keys/rewrap"),
                {
                    "tenant": row["tenant_id"],
                    "version": row["version"],
                    "old_master_key_id": row["master_key_id"],
                    "master_key_id": current,
                    "wrapped": master.wrap(key, data_key_bound(row["tenant_id"], row["version"])),
                },
            ).rowcount
    with database.connection() as connection:
        counts = connection.execute(statement("generation_keys/count_by_master")).fetchall()
    return RewrapReport(current, {row["master_key_id"]: row["data_keys"] for row in counts}, done, apply)


def rotate_data_key(database: Database, master: MasterKey, tenant: UUID) -> int:
    """Give a tenant a new data key and seal all its keys under it, in one transaction; returns how many keys.

    Raises `KeyMoved` where one does not open; nothing is changed then.
    """
    with database.connection() as connection:
        connection.execute(statement("generation_keys/lock_tenant"), {"tenant": tenant})
        newest = connection.execute(statement("generation_keys/data_key"), {"tenant": tenant}).fetchone()
        if newest is None:
            raise Permanent(
                f"tenant {tenant} has no data key, since it never brought a key: there is nothing to rotate"
            )
        version = newest["version"] + 1
        data_key = add_data_key(connection, master, tenant, version)
        rows = connection.execute(statement("generation_keys/sealed_keys"), {"tenant": tenant}).fetchall()
        for row in rows:
            plain = open_key(master, tenant, row["provider"], row)
            bound = key_bound(tenant, row["provider"], row["version"], version)
            connection.execute(
                statement("generation_keys/reseal"),
                {
                    "tenant": tenant,
                    "provider": row["provider"],
                    "version": row["version"],
                    "data_key_version": version,
                    "sealed": seal(data_key, plain, bound),
                },
            )
        connection.execute(statement("generation_keys/drop_data_keys"), {"tenant": tenant, "version": version})
    return len(rows)
