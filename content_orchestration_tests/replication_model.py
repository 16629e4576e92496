"""What replication has to come to, told without its engine: direct writers, what PostgreSQL holds, what BigQuery shows.

Nothing here imports the engine or its SQL: the pinned settings and the hashes are written out once more on purpose.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol
from uuid import UUID, uuid5

from psycopg import Connection
from psycopg.rows import dict_row

from content_orchestration.core.database import Database
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.warehouse import Warehouse

TENANT = UUID("00000000-0000-4000-8000-0000000000aa")
TABLES = {
    "content_storage_metadata": "content_storage_dr",
    "content_versions": "content_versions_dr",
    "media_assets": "content_media_dr",
}
WITH_BODY = ("content_storage_metadata", "content_versions")
_SAMPLES = 5
_PIN = (
    "SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres'; "
    "SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1"
)


class World(Protocol):
    """The three tiers: `Tiers`, or one with fakes in it."""

    @property
    def database(self) -> Database: ...
    @property
    def store(self) -> DocumentStore: ...
    @property
    def warehouse(self) -> Warehouse: ...


@dataclass(frozen=True)
class State:
    """One row with its body, as it is in PostgreSQL and ZeroDB or as the view in BigQuery shows it."""

    row_json: str
    row_sha256: str
    body: str | None


# --- writers ---------------------------------------------------------------------------------------------------------


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def body_of(content_id: UUID, version: int) -> str:
    """The body of a version: the same whoever writes it, so that a transaction that is rolled back does no harm."""
    return f"Body {version} of {content_id}. Zażółć gęślą jaźń 🗝️"


def version_id(content_id: UUID, version: int) -> UUID:
    """The id of the version record."""
    return uuid5(content_id, f"v{version}")


def put_bodies(store: DocumentStore, bodies: Mapping[tuple[UUID, int], str]) -> None:
    """Write immutable bodies by content id and version."""
    store.put_many(
        "content_items",
        [
            {
                "id": f"{content}.v{version}",
                "content_id": str(content),
                "tenant_id": str(TENANT),
                "body": body,
                "body_sha256": sha256(body),
            }
            for (content, version), body in bodies.items()
        ],
    )


def insert(connection: Connection[Any], table: str, row: Mapping[str, Any], *, upsert: bool = False) -> None:
    """Insert a row; `upsert` overwrites the one with its id."""
    names = ", ".join(row)
    values = ", ".join(f"%({name})s" for name in row)
    tail = f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{n} = excluded.{n}' for n in row if n != 'id')}"
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({values})" + (tail if upsert else ""), row)  # type: ignore[arg-type]


def content_row(content_id: UUID, version: int = 1, body: str | None = None, **columns: Any) -> dict[str, Any]:
    """A row of content_storage_metadata that points to that body."""
    text = body_of(content_id, version) if body is None else body
    return {
        "id": content_id,
        "tenant_id": TENANT,
        "title": f"Title {version}",
        "content_type": "article",
        "status": "draft",
        "zerodb_row_id": f"{content_id}.v{version}",
        "body_sha256": sha256(text),
        "storage_size_bytes": len(text.encode()),
        "version": version,
        **columns,
    }


def version_row(content_id: UUID, version: int = 1, body: str | None = None, **columns: Any) -> dict[str, Any]:
    """The version record that goes with `content_row`."""
    text = body_of(content_id, version) if body is None else body
    return {
        "id": version_id(content_id, version),
        "content_id": content_id,
        "tenant_id": TENANT,
        "version": version,
        "zerodb_row_id": f"{content_id}.v{version}",
        "body_sha256": sha256(text),
        "storage_size_bytes": len(text.encode()),
        "changed_by": "tester",
        "change_reason": "because",
        **columns,
    }


def media_row(media_id: UUID, **columns: Any) -> dict[str, Any]:
    """A row of media_assets."""
    return {
        "id": media_id,
        "tenant_id": TENANT,
        "kind": "image",
        "url": f"https://files.example/{media_id}.jpg",
        "zerodb_row_id": f"media-{media_id}",
        **columns,
    }


def add_content(
    connection: Connection[Any], store: DocumentStore, ids: Sequence[UUID], *, body: str | None = None, **columns: Any
) -> None:
    """Items at version 1 with their version records and bodies."""
    put_bodies(store, {(each, 1): body_of(each, 1) if body is None else body for each in ids})
    for each in ids:
        insert(connection, "content_storage_metadata", content_row(each, 1, body, **columns))
        insert(connection, "content_versions", version_row(each, 1, body))


def new_version(connection: Connection[Any], store: DocumentStore, content_id: UUID) -> None:
    """The next body of an item: written first, then the pointer moves."""
    found = connection.execute(
        "SELECT version FROM content_storage_metadata WHERE id = %s FOR UPDATE", (content_id,)
    ).fetchone()
    if found is None:
        return
    version = (found["version"] if isinstance(found, dict) else found[0]) + 1
    put_bodies(store, {(content_id, version): body_of(content_id, version)})
    row = content_row(content_id, version)
    connection.execute(
        "UPDATE content_storage_metadata SET version = %(version)s, zerodb_row_id = %(zerodb_row_id)s, "
        "body_sha256 = %(body_sha256)s, storage_size_bytes = %(storage_size_bytes)s, updated_at = now() "
        "WHERE id = %(id)s",
        row,
    )
    insert(connection, "content_versions", version_row(content_id, version), upsert=True)


# --- both sides ------------------------------------------------------------------------------------------------------


def expected(world: World) -> dict[str, dict[str, State]]:
    """What PostgreSQL holds, by table and id; a body that is missing or has another hash is None."""
    with world.database.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute(_PIN)
        rows = {
            table: cursor.execute(
                "SELECT t.id::text AS id, row_to_json(t)::text AS row_json, t.zerodb_row_id, "  # type: ignore[arg-type]
                f"{'t.body_sha256' if table in WITH_BODY else 'NULL::text'} AS body_sha256 FROM {table} t"
            ).fetchall()
            for table in TABLES
        }
    wanted = {row["zerodb_row_id"] for table in WITH_BODY for row in rows[table]}
    documents = world.store.get_many("content_items", sorted(wanted))

    def body(row: dict[str, Any]) -> str | None:
        text = documents.get(row["zerodb_row_id"], {}).get("body")
        return text if isinstance(text, str) and _hash_or_none(text) == row["body_sha256"] else None

    return {
        table: {row["id"]: State(row["row_json"], sha256(row["row_json"]), body(row)) for row in found}
        for table, found in rows.items()
    }


def current(world: World) -> dict[str, dict[str, State]]:
    """What the `content_*_current` views show, by table and id."""
    shown: dict[str, dict[str, State]] = {}
    for table, history in TABLES.items():
        has_body = table in WITH_BODY
        names = "entity_id, row_json, row_sha256" + (", body" if has_body else "")
        rows = list(_read(world, history.removesuffix("_dr") + "_current", names))
        shown[table] = {
            row["entity_id"]: State(row["row_json"], row["row_sha256"], row["body"] if has_body else None)
            for row in rows
        }
        assert len(rows) == len(shown[table]), f"an id twice in the view over {history}"
    return shown


def assert_equal(world: World) -> None:
    """Row for row: BigQuery shows what PostgreSQL holds, nothing is there twice, the cursor is where it is due."""
    wanted, shown = expected(world), current(world)
    for table in TABLES:
        lost = sorted(wanted[table].keys() - shown[table].keys())
        extra = sorted(shown[table].keys() - wanted[table].keys())
        differ = [k for k in sorted(wanted[table].keys() & shown[table].keys()) if wanted[table][k] != shown[table][k]]
        assert not lost, f"{table}: {len(lost)} rows are not in BigQuery: {lost[:_SAMPLES]}"
        assert not extra, f"{table}: {len(extra)} rows are in BigQuery only: {extra[:_SAMPLES]}"
        assert not differ, (
            f"{table}: {len(differ)} rows differ: "
            f"{[(k, _difference(wanted[table][k], shown[table][k])) for k in differ[:_SAMPLES]]}"
        )
    assert_history(world)
    assert_cursor(world)


def assert_history(world: World) -> None:
    """No state of a row twice in one sync, and every payload has its hash. The files that are noted hold their rows."""
    held: Counter[tuple[str, int, int]] = Counter()
    for history in TABLES.values():
        rows = list(_read(world, history, "entity_id, sync_id, sync_part, row_json, row_sha256"))
        times = Counter((row["entity_id"], row["sync_id"]) for row in rows)
        double = [key for key, count in times.items() if count > 1]
        assert not double, f"{history}: {len(double)} (entity_id, sync_id) are there twice: {double[:_SAMPLES]}"
        wrong = [row["entity_id"] for row in rows if sha256(row["row_json"]) != row["row_sha256"]]
        assert not wrong, f"{history}: row_sha256 is wrong: {wrong[:_SAMPLES]}"
        held.update((history, row["sync_id"], row["sync_part"]) for row in rows)
    with world.database.connection() as connection:
        parts = connection.execute(
            "SELECT * FROM replication_parts WHERE loaded_at IS NOT NULL AND table_name <> 'content_sync_log'"
        ).fetchall()
    noted = {(p["table_name"], p["sync_id"], p["part"]): p["rows"] for p in parts}
    assert {key: count for key, count in held.items() if key in noted} == noted
    assert held.keys() <= noted.keys(), f"files that nobody noted: {sorted(held.keys() - noted.keys())[:_SAMPLES]}"


def assert_cursor(world: World) -> None:
    """No open window, windows without a gap or an overlap, the cursor at their end, and the sync log says the same."""
    with world.database.connection() as connection:
        windows = connection.execute(
            "SELECT sync_id, low_xid::text::numeric AS low, high_xid::text::numeric AS high, status, changes, "
            "rows_by_table FROM replication_windows ORDER BY sync_id"
        ).fetchall()
        cursor = connection.execute(
            "SELECT next_xid::text::numeric AS next_xid, last_sync_id FROM replication_cursor"
        ).fetchone()
    assert windows, "no window was ever opened"
    assert cursor is not None
    left_open = [w["sync_id"] for w in windows if w["status"] != "closed"]
    assert not left_open, f"windows left open: {left_open}"
    for earlier, later in pairwise(windows):
        assert earlier["high"] == later["low"], f"between {earlier} and {later} something was passed over or done twice"
    assert (cursor["next_xid"], cursor["last_sync_id"]) == (windows[-1]["high"], windows[-1]["sync_id"])
    logged = list(_read(world, "content_sync_log", "sync_id, low_xid, high_xid, changes, rows_by_table"))
    told = [(r["sync_id"], r["low_xid"], r["high_xid"], r["changes"], json.loads(r["rows_by_table"])) for r in logged]
    done = [(w["sync_id"], int(w["low"]), int(w["high"]), w["changes"], w["rows_by_table"]) for w in windows]
    assert sorted(told, key=lambda row: row[0]) == done, "content_sync_log and replication_windows differ"


def history(world: World, table: str, names: str) -> list[dict[str, Any]]:
    """Columns of everything that was ever loaded for a table of PostgreSQL, oldest first."""
    return sorted(_read(world, TABLES[table], f"{names}, sync_id"), key=lambda row: row["sync_id"])


def _read(world: World, name: str, names: str) -> Iterator[dict[str, Any]]:
    return world.warehouse.query(f"SELECT {names} FROM `{world.warehouse.qualified(name)}`")


def _hash_or_none(text: str) -> str | None:
    """None for text that has no UTF-8, as a lone surrogate."""
    try:
        return sha256(text)
    except UnicodeEncodeError:
        return None


def _difference(wanted: State, shown: State) -> dict[str, tuple[Any, Any]]:
    return {
        name: (str(getattr(wanted, name))[:300], str(getattr(shown, name))[:300])
        for name in ("row_json", "row_sha256", "body")
        if getattr(wanted, name) != getattr(shown, name)
    }
