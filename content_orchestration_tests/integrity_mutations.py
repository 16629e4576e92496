"""Ways to make PostgreSQL and BigQuery differ, each on ids of its own, with what a comparison must say of them.

Written without the engine: the writers below go around triggers and replication, as rot and accidents do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from content_orchestration.core.integrity.findings import Kind
from content_orchestration_tests.replication_model import (
    TABLES,
    TENANT,
    add_content,
    content_row,
    insert,
    media_row,
    sha256,
)
from content_orchestration_tests.tiers import Tiers

OTHER_TENANT = "00000000-0000-4000-8000-0000000000bb"
Found = set[tuple[Kind, str]]


@dataclass(frozen=True)
class Expected:
    """Kinds and ids that the hourly tier (`rows`) and the deep tier (`deep`) must report, and nothing else."""

    rows: Found = field(default_factory=set)
    deep: Found = field(default_factory=set)


@dataclass(frozen=True)
class Mutation:
    """One way to differ. `prepare` writes what must be replicated first, `apply` breaks it; both get two ids."""

    name: str
    apply: Callable[[Tiers, str, str], Expected]
    table: str = "content_storage_metadata"
    prepare: Callable[[Tiers, str, str], None] | None = None


# --- the ways to write -----------------------------------------------------------------------------------------------


def behind_the_triggers(tiers: Tiers, sql: str, *values: Any) -> None:
    """A write to PostgreSQL that no trigger sees."""
    with tiers.database.connection() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(sql, values)  # type: ignore[arg-type]


def in_history(tiers: Tiers, sql: str, table: str = "content_storage_metadata", **values: Any) -> None:
    """DML on a history table, `{h}` in the statement."""
    list(tiers.warehouse.query(sql.replace("{h}", f"`{tiers.warehouse.qualified(TABLES[table])}`"), values))


def stored(tiers: Tiers, entity_id: str, names: str, table: str = "content_storage_metadata") -> dict[str, Any]:
    """Columns of the latest state of an id."""
    sql = (
        f"SELECT {names} FROM `{tiers.warehouse.qualified(TABLES[table])}` WHERE entity_id = @id ORDER BY sync_id DESC"
    )
    return next(iter(tiers.warehouse.query(sql, {"id": entity_id})))


def flipped(text: str, place: int) -> str:
    """The text with the lowest bit of one ASCII letter or digit turned over."""
    return text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]


def _one(kind: Kind, *ids: str) -> Found:
    return {(kind, each) for each in ids}


def _different(*ids: str) -> Expected:
    return Expected(rows=_one(Kind.DIFFERENT_IN_WAREHOUSE, *ids))


def _missing(*ids: str) -> Expected:
    return Expected(rows=_one(Kind.MISSING_IN_WAREHOUSE, *ids))


def _extra(*ids: str) -> Expected:
    return Expected(rows=_one(Kind.EXTRA_IN_WAREHOUSE, *ids))


def _set(name: str, assignment: str, table: str = "content_storage_metadata", prepare: Any = None) -> Mutation:
    """A value in PostgreSQL that changes behind the triggers."""

    def apply(tiers: Tiers, a: str, _: str) -> Expected:
        behind_the_triggers(tiers, f"UPDATE {table} SET {assignment} WHERE id = %s", a)
        return _different(a)

    return Mutation(name, apply, table, prepare)


def _history(
    name: str, sql: str, expected: Callable[[str, str], Expected], table: str = "content_storage_metadata",
    prepare: Any = None,
) -> Mutation:  # fmt: skip
    """DML on the history; `@a` and `@b` are the ids."""

    def apply(tiers: Tiers, a: str, b: str) -> Expected:
        values = {name: value for name, value in (("a", a), ("b", b)) if f"@{name}" in sql}
        in_history(tiers, sql, table, **values)
        return expected(a, b)

    return Mutation(name, apply, table, prepare)


# --- what is prepared ------------------------------------------------------------------------------------------------


def _with(**columns: Any) -> Callable[[Tiers, str, str], None]:
    def prepare(tiers: Tiers, a: str, _: str) -> None:
        names = ", ".join(f"{name} = %({name})s" for name in columns)
        with tiers.database.connection() as connection:
            connection.execute(f"UPDATE content_storage_metadata SET {names} WHERE id = %(id)s", columns | {"id": a})  # type: ignore[arg-type]

    return prepare


def _deleted(tiers: Tiers, a: str, _: str) -> None:
    """An id whose row goes in the second sync."""
    with tiers.database.connection() as connection:
        connection.execute("DELETE FROM content_storage_metadata WHERE id = %s", (a,))


def _changed(tiers: Tiers, a: str, _: str) -> None:
    """An id that has a second state."""
    with tiers.database.connection() as connection:
        connection.execute("UPDATE content_storage_metadata SET status = 'archived' WHERE id = %s", (a,))


# --- what takes more than a statement --------------------------------------------------------------------------------


def _bit_in_payload(tiers: Tiers, a: str, _: str) -> Expected:
    payload = stored(tiers, a, "row_json")["row_json"]
    in_history(
        tiers, "UPDATE {h} SET row_json = @to WHERE entity_id = @a", a=a, to=flipped(payload, payload.index("Title"))
    )
    return Expected(deep=_one(Kind.CORRUPT_PAYLOAD, a))


def _payload_with_its_hash(tiers: Tiers, a: str, _: str) -> Expected:
    payload = stored(tiers, a, "row_json")["row_json"]
    changed = flipped(payload, payload.index("Title"))
    in_history(
        tiers,
        "UPDATE {h} SET row_json = @to, row_sha256 = @sha WHERE entity_id = @a",
        a=a,
        to=changed,
        sha=sha256(changed),
    )
    return _different(a)


def _bit_in_hash(tiers: Tiers, a: str, _: str) -> Expected:
    digest = flipped(stored(tiers, a, "row_sha256")["row_sha256"], 63)
    in_history(tiers, "UPDATE {h} SET row_sha256 = @to WHERE entity_id = @a", a=a, to=digest)
    return Expected(_one(Kind.DIFFERENT_IN_WAREHOUSE, a), _one(Kind.CORRUPT_PAYLOAD, a))


def swapped(tiers: Tiers, a: str, b: str, *names: str) -> None:
    """Two ids take each other's values in these columns."""
    of_a, of_b = (stored(tiers, each, ", ".join(names)) for each in (a, b))
    assignments = ", ".join(f"{name} = @{name}" for name in names)
    for each, values in ((a, of_b), (b, of_a)):
        in_history(tiers, f"UPDATE {{h}} SET {assignments} WHERE entity_id = @id", id=each, **values)


def _swapped_payloads(tiers: Tiers, a: str, b: str) -> Expected:
    swapped(tiers, a, b, "row_json", "row_sha256")
    # Each payload is whole and names the other's body.
    return Expected(_one(Kind.DIFFERENT_IN_WAREHOUSE, a, b), _one(Kind.CORRUPT_BODY_IN_WAREHOUSE, a, b))


def _swapped_bodies(tiers: Tiers, a: str, b: str) -> Expected:
    swapped(tiers, a, b, "body")
    return Expected(deep=_one(Kind.CORRUPT_BODY_IN_WAREHOUSE, a, b))


def _swapped_bodies_with_hashes(tiers: Tiers, a: str, b: str) -> Expected:
    swapped(tiers, a, b, "body", "body_sha256")
    return Expected(deep=_one(Kind.CORRUPT_BODY_IN_WAREHOUSE, a, b))


def _bit_in_body(tiers: Tiers, a: str, _: str) -> Expected:
    in_history(
        tiers, "UPDATE {h} SET body = @to WHERE entity_id = @a", a=a, to=flipped(stored(tiers, a, "body")["body"], 0)
    )
    return Expected(deep=_one(Kind.CORRUPT_BODY_IN_WAREHOUSE, a))


def _inserted_behind_the_triggers(tiers: Tiers, a: str, _: str) -> Expected:
    new = uuid5(UUID(a), "never logged")
    with tiers.database.connection() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        insert(connection, "content_storage_metadata", content_row(new))
    return _missing(str(new))


def _deleted_behind_the_triggers(tiers: Tiers, a: str, _: str) -> Expected:
    behind_the_triggers(tiers, "DELETE FROM content_storage_metadata WHERE id = %s", a)
    return _extra(a)


def _extra_row(tiers: Tiers, a: str, _: str) -> Expected:
    extra = str(uuid5(UUID(a), "nobody's"))
    copied(tiers, a, entity_id=extra)
    return _extra(extra)


def _extra_row_without_uuid(tiers: Tiers, a: str, _: str) -> Expected:
    copied(tiers, a, entity_id=f"{a}|")
    return _extra(f"{a}|")


def _tombstone_for_a_live_row(tiers: Tiers, a: str, _: str) -> Expected:
    copied(tiers, a, op="delete", later=1, body=None)
    return _missing(a)


def copied(tiers: Tiers, original: str, *, later: int = 0, **columns: Any) -> None:
    """A copy of the latest state of an id with other columns, `later` sync ids on."""
    names = "sync_part, synced_at, op, entity_id, tenant_id, content_id, row_json, row_sha256, body, body_sha256"
    given = {name: value for name, value in columns.items() if value is not None}
    chosen = [f"@new_{n}" if n in given else "NULL" if n in columns else n for n in names.split(", ")]
    in_history(
        tiers,
        f"INSERT INTO {{h}} (sync_id, {names}) SELECT sync_id + {later}, {', '.join(chosen)} FROM {{h}} "
        "WHERE entity_id = @id",
        id=original, **{f"new_{name}": value for name, value in given.items()},
    )  # fmt: skip


def _moved_to_another_id(tiers: Tiers, a: str, _: str) -> Expected:
    other = str(uuid5(UUID(a), "elsewhere"))
    in_history(tiers, "UPDATE {h} SET entity_id = @b WHERE entity_id = @a", a=a, b=other)
    return Expected(_one(Kind.MISSING_IN_WAREHOUSE, a) | _one(Kind.EXTRA_IN_WAREHOUSE, other))


def _wrong_tenant(tiers: Tiers, a: str, _: str) -> Expected:
    in_history(tiers, "UPDATE {h} SET tenant_id = @b WHERE entity_id = @a", a=a, b=OTHER_TENANT)
    return _different(a)


def _body_and_hash_replaced(tiers: Tiers, a: str, _: str) -> Expected:
    in_history(tiers, "UPDATE {h} SET body = 'x', body_sha256 = @b WHERE entity_id = @a", a=a, b=sha256("x"))
    return Expected(deep=_one(Kind.CORRUPT_BODY_IN_WAREHOUSE, a))


def _both_ways(rows: Kind | None = None, deep: Kind | None = None) -> Callable[[str, str], Expected]:
    return lambda a, _: Expected(_one(rows, a) if rows else set(), _one(deep, a) if deep else set())


_VERSIONS, _MEDIA = "content_versions", "media_assets"
_EMPTY_TITLE = _with(title="")
_WHERE_A = "WHERE entity_id = @a"
_COPY = "INSERT INTO {h} SELECT * FROM {h} WHERE entity_id = @a"

MUTATIONS: Sequence[Mutation] = (
    Mutation("a bit of the payload flips and its hash stays", _bit_in_payload),
    Mutation("the payload changes together with its hash", _payload_with_its_hash),
    Mutation("a bit of the stored hash flips", _bit_in_hash),
    _history("the payload is emptied", f"UPDATE {{h}} SET row_json = '' {_WHERE_A}",
             _both_ways(deep=Kind.CORRUPT_PAYLOAD)),
    _history("the stored hash is in capitals", f"UPDATE {{h}} SET row_sha256 = UPPER(row_sha256) {_WHERE_A}",
             _both_ways(Kind.DIFFERENT_IN_WAREHOUSE, Kind.CORRUPT_PAYLOAD)),
    _history("a blank behind the stored hash", f"UPDATE {{h}} SET row_sha256 = CONCAT(row_sha256, ' ') {_WHERE_A}",
             _both_ways(Kind.DIFFERENT_IN_WAREHOUSE, Kind.CORRUPT_PAYLOAD)),
    Mutation("two rows swap payload and hash", _swapped_payloads),
    _set("NULL becomes the empty text", "source = ''", prepare=_with(source=None)),
    _set("NULL becomes the text null", "source = 'null'", prepare=_with(source=None)),
    _set("a text becomes NULL", "source = NULL", prepare=_with(source="null ")),
    _set("the empty text becomes the text null", "title = 'null'", prepare=_EMPTY_TITLE),
    _set("an empty text becomes a blank", "title = ' '", prepare=_EMPTY_TITLE),
    _set("a trailing blank", "title = title || ' '"),
    _set("a leading blank", "title = ' ' || title"),
    _set("a separator moves between fields", "title = 'a', source = 'b|c'", prepare=_with(title="a|b", source="c")),
    _set("a quote that JSON escapes", "title = title || '\"'"),
    _set("capitals", "title = upper(title)"),
    _set("another form of the same letter", "title = 'e' || chr(769)", prepare=_with(title="\u00e9")),
    _set("a joiner that nobody sees", "title = title || chr(8205)"),
    _set("the scale of a number in JSON", """metadata = '{"n": 1.00}'""", prepare=_with(metadata='{"n": 1.0}')),
    _set("a JSON null appears", """metadata = '{"n": null}'"""),
    _set("a number becomes text", """metadata = '{"n": "1"}'""", prepare=_with(metadata='{"n": 1}')),
    _set("a microsecond", "updated_at = updated_at + interval '1 microsecond'"),
    _set("infinity becomes NULL", "deleted_at = NULL", prepare=_with(deleted_at="infinity")),
    _set("a byte of the recorded size", "storage_size_bytes = storage_size_bytes + 1"),
    _set("a status that no trigger saw", "status = 'published'"),
    Mutation("a row is inserted behind the triggers", _inserted_behind_the_triggers),
    Mutation("a row is deleted behind the triggers", _deleted_behind_the_triggers),
    _history("a state is there twice", _COPY, _both_ways(Kind.DUPLICATE_IN_WAREHOUSE)),
    _history("the tombstone is lost", f"DELETE FROM {{h}} {_WHERE_A} AND op = 'delete'",
             _both_ways(Kind.TOMBSTONE_MISSING), prepare=_deleted),
    Mutation("a tombstone for a live row", _tombstone_for_a_live_row),
    _history("a row is missing in the middle", f"DELETE FROM {{h}} {_WHERE_A}", lambda a, _: _missing(a)),
    _history("the latest state is lost, an older one shows", f"DELETE FROM {{h}} {_WHERE_A} AND status = 'archived'",
             lambda a, _: _different(a), prepare=_changed),
    Mutation("an extra row", _extra_row),
    Mutation("an extra row whose id is no UUID", _extra_row_without_uuid),
    Mutation("a row moves to another id", _moved_to_another_id),
    Mutation("a row is filed under another tenant", _wrong_tenant),
    Mutation("a bit of a body flips", _bit_in_body),
    Mutation("two bodies are swapped", _swapped_bodies),
    Mutation("two bodies are swapped with their hashes", _swapped_bodies_with_hashes),
    _history("a body is gone", f"UPDATE {{h}} SET body = NULL {_WHERE_A}",
             _both_ways(deep=Kind.BODY_MISSING_IN_WAREHOUSE)),
    _history("a body and its hash are gone", f"UPDATE {{h}} SET body = NULL, body_sha256 = NULL {_WHERE_A}",
             _both_ways(deep=Kind.BODY_MISSING_IN_WAREHOUSE)),
    _history("a body is emptied", f"UPDATE {{h}} SET body = '' {_WHERE_A}",
             _both_ways(deep=Kind.CORRUPT_BODY_IN_WAREHOUSE)),
    _history("a blank behind a body", f"UPDATE {{h}} SET body = CONCAT(body, ' ') {_WHERE_A}",
             _both_ways(deep=Kind.CORRUPT_BODY_IN_WAREHOUSE)),
    _history("a hash of a body is gone", f"UPDATE {{h}} SET body_sha256 = NULL {_WHERE_A}",
             _both_ways(deep=Kind.CORRUPT_BODY_IN_WAREHOUSE)),
    Mutation("a body is replaced together with its hash", _body_and_hash_replaced),
    _set("a version record changes", "change_reason = 'another'", _VERSIONS),
    _history("a version record is there twice", _COPY, _both_ways(Kind.DUPLICATE_IN_WAREHOUSE), _VERSIONS),
    _history("the body of a version is gone", f"UPDATE {{h}} SET body = NULL {_WHERE_A}",
             _both_ways(deep=Kind.BODY_MISSING_IN_WAREHOUSE), _VERSIONS),
    _set("a media file points elsewhere", "url = url || '?'", _MEDIA),
    _history("a media row is missing", f"DELETE FROM {{h}} {_WHERE_A}", lambda a, _: _missing(a), _MEDIA),
    _history("the payload of a media row breaks", f"UPDATE {{h}} SET row_json = CONCAT(row_json, ' ') {_WHERE_A}",
             _both_ways(deep=Kind.CORRUPT_PAYLOAD), _MEDIA),
)  # fmt: skip


def populate(tiers: Tiers, items: Sequence[UUID], media: Sequence[UUID]) -> None:
    """Items with version records and bodies, and media rows."""
    with tiers.database.connection() as connection:
        add_content(connection, tiers.store, items)
        for each in media:
            insert(connection, "media_assets", media_row(each, tenant_id=TENANT))
