"""What a restore has to come to, told without its engine: the state that was recorded, and the one that is there."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from psycopg import sql

from content_orchestration.core.restore.engine import Restorer
from content_orchestration.core.restore.plan import RestorePlan
from content_orchestration.core.restore.report import RestoreReport
from content_orchestration.core.restore.request import RestoreRequest, Target
from content_orchestration_tests.replication_model import TABLES, WITH_BODY, World, sha256

IDS = [UUID(int=(number * 0x9E37_79B9 % 2**32) << 96 | number) for number in range(1, 25)]
"""Spread over the keys, so that a state of few rows has several parts."""
CHUNK_BYTES = 3000
Found = dict[str, dict[str, tuple[str, str | None]]]
"""By table and id: the row as text, and the body that it points to."""


def restorer(world: World, **given: Any) -> Restorer:
    """An engine that does not wait between attempts and works in small chunks."""
    values: dict[str, Any] = {"chunk_bytes": CHUNK_BYTES, "sleep": lambda seconds: None, "lock_seconds": 0.0, **given}
    return Restorer(world.database, world.store, world.warehouse, run_id="test", **values)


def restore(world: World, request: RestoreRequest, **given: Any) -> RestoreReport:
    """Plan and run."""
    engine = restorer(world, **given)
    plan: RestorePlan = engine.plan(request)
    return engine.run(request, plan.plan_hash)


def state(world: World, target: Target = Target()) -> Found:  # noqa: B008  (frozen)
    """Rows and bodies of a target; a body that is missing or has another hash is None."""
    found: dict[str, list[dict[str, Any]]] = {}
    with world.database.connection() as connection:
        connection.execute("SET LOCAL timezone = 'UTC'")
        for table in TABLES:
            name = sql.Identifier(target.schema, table) if target.schema else sql.Identifier(table)
            query = sql.SQL("SELECT t.*, row_to_json(t)::text AS row_json FROM {} t").format(name)
            found[table] = connection.execute(query).fetchall()
    named = sorted({row["zerodb_row_id"] for table in WITH_BODY for row in found[table]})
    documents = world.store.get_many(target.collection("content_items"), named)
    return {
        table: {
            str(row["id"]): (row["row_json"], _body(documents, row) if table in WITH_BODY else None)
            for row in found[table]
        }
        for table in TABLES
    }


def empty(world: World, documents: bool = True) -> None:
    """Delete every row of ours, through the triggers, and every document."""
    with world.database.connection() as connection:
        for table in TABLES:
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
    if documents:
        for collection in ("content_items", "content_versions", "content_media_files"):
            world.store.delete_many(collection, [each["id"] for each in world.store.scan(collection, fields=["id"])])


def quarantine(world: World, restore_id: str) -> Sequence[Mapping[str, Any]]:
    """What a restore set aside."""
    with world.database.connection() as connection:
        return connection.execute(
            "SELECT * FROM restore_quarantine WHERE restore_id = %s ORDER BY entity, entity_id, reason", [restore_id]
        ).fetchall()


def titles_disagree(world: World) -> int:
    """Items whose title the search does not have as it is, and titles that it has of no item."""
    with world.database.connection() as connection:
        row = connection.execute(
            """SELECT count(*) AS n FROM content_storage_metadata m FULL JOIN content_title_words w
               ON (w.content_id, w.tenant_id) = (m.id, m.tenant_id)
               WHERE w.words IS DISTINCT FROM to_tsvector('simple', m.title)"""
        ).fetchone()
    assert row
    return int(row["n"])


def _body(documents: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
    text = documents.get(row["zerodb_row_id"], {}).get("body")
    return text if isinstance(text, str) and sha256(text) == row["body_sha256"] else None
