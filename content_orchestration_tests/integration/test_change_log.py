"""The triggers that fill content_changes: one entry a changed row, tombstones printed as replication prints rows."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import dict_row

SHA = hashlib.sha256(b"").hexdigest()
TENANT = uuid4()
# Table, entity, and an INSERT of n rows whose ids come back.
INSERTS = {
    "content_storage_metadata": """
        INSERT INTO content_storage_metadata (tenant_id, title, content_type, status, zerodb_row_id, body_sha256,
                                              storage_size_bytes)
        SELECT %(tenant)s, 'title ' || n, 'post', 'draft', 'd' || n, %(sha)s, n FROM generate_series(1, %(n)s) n
        RETURNING id""",
    "content_versions": """
        INSERT INTO content_versions (id, content_id, tenant_id, version, zerodb_row_id, body_sha256,
                                      storage_size_bytes, changed_by, change_reason)
        SELECT gen_random_uuid(), gen_random_uuid(), %(tenant)s, 1, 'd' || n, %(sha)s, n, 'us', 'why'
        FROM generate_series(1, %(n)s) n RETURNING id""",
    "media_assets": """
        INSERT INTO media_assets (id, tenant_id, kind, url, zerodb_row_id)
        SELECT gen_random_uuid(), %(tenant)s, 'image', 'https://x/' || n, 'd' || n
        FROM generate_series(1, %(n)s) n RETURNING id""",
}
ENTITIES = {
    "content_storage_metadata": "content_storage",
    "content_versions": "content_versions",
    "media_assets": "content_media",
}
COLUMN = {"content_storage_metadata": "title", "content_versions": "change_reason", "media_assets": "url"}
every_table = pytest.mark.parametrize("table", list(INSERTS))


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection[dict[str, Any]]]:
    with Connection[dict[str, Any]].connect(database_url, autocommit=True, row_factory=dict_row) as opened:  # type: ignore[arg-type]
        yield opened


def insert(connection: Connection[Any], table: str, n: int) -> list[UUID]:
    values = {"tenant": TENANT, "sha": SHA, "n": n}
    return [row["id"] for row in connection.execute(INSERTS[table], values).fetchall()]


def changes(connection: Connection[Any], after: int = 0) -> list[dict[str, Any]]:
    return connection.execute(
        "SELECT * FROM content_changes WHERE change_id > %s ORDER BY change_id", [after]
    ).fetchall()


def last(connection: Connection[Any]) -> int:
    return connection.execute("SELECT coalesce(max(change_id), 0) AS n FROM content_changes").fetchone()["n"]


def entries(connection: Connection[Any], after: int) -> Counter[tuple[str, str, UUID | None, UUID | None]]:
    return Counter((row["op"], row["entity"], row["entity_id"], row["tenant_id"]) for row in changes(connection, after))


@every_table
def test_insert_update_and_delete_are_one_entry_a_row(connection: Connection[Any], table: str) -> None:
    entity = ENTITIES[table]
    ids = insert(connection, table, 3)
    assert entries(connection, 0) == Counter(("I", entity, each, TENANT) for each in ids)
    mark = last(connection)
    connection.execute(f"UPDATE {table} SET {COLUMN[table]} = 'new' WHERE id = ANY (%s)", [ids[:2]])
    assert entries(connection, mark) == Counter(("U", entity, each, TENANT) for each in ids[:2])
    mark = last(connection)
    printed = {
        row["id"]: row["t"] for row in connection.execute(f"SELECT id, row_to_json(t)::text AS t FROM {table} t")
    }
    connection.execute(f"DELETE FROM {table} WHERE id <> %s", [ids[0]])
    assert entries(connection, mark) == Counter(("D", entity, each, TENANT) for each in ids[1:])
    assert {row["entity_id"]: row["last_row"] for row in changes(connection, mark)} == {i: printed[i] for i in ids[1:]}


@every_table
def test_an_insert_or_an_update_carries_no_row(connection: Connection[Any], table: str) -> None:
    insert(connection, table, 2)
    connection.execute(f"UPDATE {table} SET {COLUMN[table]} = 'new'")
    assert [row["last_row"] for row in changes(connection)] == [None] * 4


@every_table
def test_truncate_leaves_a_tombstone_a_row_and_a_mark(connection: Connection[Any], table: str) -> None:
    ids = insert(connection, table, 3)
    printed = {
        str(row["id"]): row["t"] for row in connection.execute(f"SELECT id, row_to_json(t)::text AS t FROM {table} t")
    }
    mark = last(connection)
    connection.execute(f"TRUNCATE {table}")
    wanted = Counter(("D", ENTITIES[table], each, TENANT) for each in ids)
    wanted[("T", ENTITIES[table], None, None)] += 1
    assert entries(connection, mark) == wanted
    assert {
        json.loads(row["last_row"])["id"]: row["last_row"] for row in changes(connection, mark) if row["last_row"]
    } == printed


@every_table
def test_truncate_of_an_empty_table_leaves_the_mark_alone(connection: Connection[Any], table: str) -> None:
    connection.execute(f"TRUNCATE {table}")
    assert entries(connection, 0) == Counter([("T", ENTITIES[table], None, None)])


@every_table
def test_a_statement_that_changes_no_row_writes_nothing(connection: Connection[Any], table: str) -> None:
    ids = insert(connection, table, 1)
    mark = last(connection)
    connection.execute(f"UPDATE {table} SET {COLUMN[table]} = 'x' WHERE id = %s", [uuid4()])
    connection.execute(f"DELETE FROM {table} WHERE id = %s", [uuid4()])
    connection.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE false")
    connection.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE id = %s ON CONFLICT DO NOTHING", ids)
    assert changes(connection, mark) == []


@every_table
def test_the_id_of_a_row_never_changes(connection: Connection[Any], table: str) -> None:
    (row,) = insert(connection, table, 1)
    mark = last(connection)
    with pytest.raises(psycopg.errors.RaiseException, match=rf"{table}\.id is immutable") as caught:
        connection.execute(f"UPDATE {table} SET id = gen_random_uuid()")
    assert caught.value.diag.message_hint == "Delete the row and insert another one."
    assert changes(connection, mark) == []
    connection.execute(f"UPDATE {table} SET id = id, {COLUMN[table]} = 'allowed'")
    assert entries(connection, mark) == Counter([("U", ENTITIES[table], row, TENANT)])


def test_what_is_rolled_back_leaves_nothing(connection: Connection[Any]) -> None:
    with connection.transaction(force_rollback=True):
        for table in INSERTS:
            insert(connection, table, 2)
            connection.execute(f"UPDATE {table} SET {COLUMN[table]} = 'x'")
            connection.execute(f"DELETE FROM {table}")
            connection.execute(f"TRUNCATE {table}")
        assert len(changes(connection)) == 3 * (2 + 2 + 2 + 1)
    assert changes(connection) == []


def test_a_savepoint_takes_its_own_entries_back_and_no_other(connection: Connection[Any]) -> None:
    table = "media_assets"
    with connection.transaction():
        kept = insert(connection, table, 1)
        with connection.transaction(force_rollback=True):
            insert(connection, table, 5)
            connection.execute(f"DELETE FROM {table}")
        with connection.transaction():
            kept += insert(connection, table, 1)
    assert entries(connection, 0) == Counter(("I", "content_media", each, TENANT) for each in kept)
    # The entries of a savepoint bear the id of the whole transaction: a window never cuts it in two.
    assert len({row["change_xid"] for row in changes(connection)}) == 1


def test_an_entry_bears_the_transaction_that_made_it(connection: Connection[Any]) -> None:
    with connection.transaction():
        own = connection.execute("SELECT pg_current_xact_id()::text AS xid").fetchone()["xid"]
        insert(connection, "content_versions", 2)
    insert(connection, "content_versions", 1)
    xids = [row["xid"] for row in connection.execute("SELECT change_xid::text AS xid FROM content_changes ORDER BY 1")]
    assert xids.count(own) == 2
    assert len(set(xids)) == 2


def test_on_conflict_is_an_insert_or_an_update_and_never_both(connection: Connection[Any]) -> None:
    insert(connection, "media_assets", 2)
    mark = last(connection)
    connection.execute(
        "INSERT INTO media_assets (id, tenant_id, kind, url, zerodb_row_id) "
        "SELECT id, tenant_id, kind, url, zerodb_row_id FROM media_assets UNION ALL "
        "SELECT gen_random_uuid(), %s, 'video', 'u', 'd' ON CONFLICT (id) DO UPDATE SET url = 'again'",
        [TENANT],
    )
    assert Counter(row["op"] for row in changes(connection, mark)) == {"I": 1, "U": 2}


def test_merge_and_copy_are_seen_too(connection: Connection[Any]) -> None:
    ids = insert(connection, "media_assets", 2)
    mark = last(connection)
    connection.execute(
        "MERGE INTO media_assets t USING (VALUES (%s::uuid), (gen_random_uuid())) AS s (id) ON t.id = s.id "
        "WHEN MATCHED THEN DELETE "
        "WHEN NOT MATCHED THEN INSERT (id, tenant_id, kind, url, zerodb_row_id) VALUES (s.id, %s, 'image', 'u', 'd') "
        "WHEN NOT MATCHED BY SOURCE THEN UPDATE SET url = 'merged'",
        [ids[0], TENANT],
    )
    assert Counter(row["op"] for row in changes(connection, mark)) == {"D": 1, "I": 1, "U": 1}
    mark = last(connection)
    with connection.cursor().copy("COPY media_assets (id, tenant_id, kind, url, zerodb_row_id) FROM STDIN") as copy:
        for _ in range(3):
            copy.write_row([uuid4(), TENANT, "image", "u", "d"])
    assert Counter(row["op"] for row in changes(connection, mark)) == {"I": 3}


AWKWARD = """
ALTER TABLE content_storage_metadata ADD COLUMN x_float double precision, ADD COLUMN x_day date,
    ADD COLUMN x_span interval, ADD COLUMN x_raw bytea, ADD COLUMN x_local timestamp, ADD COLUMN x_range tstzrange,
    ADD COLUMN x_days date[];
INSERT INTO content_storage_metadata (tenant_id, title, content_type, status, zerodb_row_id, body_sha256,
    storage_size_bytes, metadata, created_at, updated_at, x_float, x_day, x_span, x_raw, x_local, x_range, x_days)
VALUES (gen_random_uuid(), E'quote " back \\\\ 𝄞 \\u0001', 'post', 'draft', 'd', repeat('0', 64), 9223372036854775807,
    '{"n": 18446744073709551616, "f": 1.10}', '2026-03-29 01:30:00.123456+00', 'infinity', 0.1::float8 + 0.2::float8,
    '2026-02-01', '1 year 2 mons -3 days 04:05:06.7', '\\xdeadbeef', '2026-02-01 03:04:05',
    tstzrange('2026-01-01 00:00+00', '2026-02-01 00:00+00'), ARRAY['2026-02-01'::date, NULL])
"""
PINNED = (
    "SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET bytea_output = 'hex'; "
    "SET extra_float_digits = 1"
)
FOREIGN = (
    "SET timezone = 'America/New_York'; SET datestyle = 'German, DMY'; SET intervalstyle = 'sql_standard'; "
    "SET bytea_output = 'escape'; SET extra_float_digits = -15"
)


@pytest.mark.parametrize("removal", ["DELETE FROM content_storage_metadata", "TRUNCATE content_storage_metadata"])
def test_a_tombstone_is_printed_under_pinned_settings_whatever_the_session_says(
    connection: Connection[Any], removal: str
) -> None:
    connection.execute(AWKWARD)
    text = "SELECT row_to_json(t)::text AS t FROM content_storage_metadata t"
    connection.execute(PINNED)
    pinned = connection.execute(text).fetchone()["t"]
    connection.execute(FOREIGN)
    assert connection.execute(text).fetchone()["t"] != pinned
    connection.execute(removal)
    # Only the text: the driver does not read timestamps in this style.
    (tombstone,) = [
        row["last_row"] for row in connection.execute("SELECT last_row FROM content_changes WHERE op = 'D'")
    ]
    assert tombstone == pinned
    for printed in (
        "0.30000000000000004",
        "2026-03-29T01:30:00.123456+00:00",
        "infinity",
        "18446744073709551616",
        "1.10",
    ):
        assert printed in tombstone
    # The trigger's settings end with it.
    assert connection.execute("SHOW timezone").fetchone()["TimeZone"] == "America/New_York"


def test_a_tombstone_comes_back_as_the_same_row(connection: Connection[Any]) -> None:
    connection.execute(AWKWARD)
    connection.execute("CREATE TABLE kept AS SELECT * FROM content_storage_metadata")
    connection.execute("DELETE FROM content_storage_metadata")
    assert connection.execute(
        "SELECT count(*) AS n FROM kept k, content_changes c, "
        "LATERAL jsonb_populate_record(NULL::content_storage_metadata, c.last_row::jsonb) r "
        "WHERE c.op = 'D' AND row(k.*) IS NOT DISTINCT FROM row(r.*)"
    ).fetchone() == {"n": 1}


def test_a_large_statement_is_one_entry_a_row(connection: Connection[Any]) -> None:
    ids = insert(connection, "content_storage_metadata", 5000)
    mark = last(connection)
    connection.execute("UPDATE content_storage_metadata SET version = version + 1")
    assert entries(connection, mark) == Counter(("U", "content_storage", each, TENANT) for each in ids)


def test_a_writer_needs_no_right_on_the_change_log(connection: Connection[Any], database_url: str) -> None:
    role = "writer_" + database_url.rpartition("_")[2]
    connection.execute(f"CREATE ROLE {role}")
    try:
        connection.execute(f"GRANT INSERT, SELECT, UPDATE, DELETE, TRUNCATE ON content_storage_metadata TO {role}")
        connection.execute(f"CREATE POLICY writer ON content_storage_metadata TO {role} USING (true)")
        connection.execute(f"SET ROLE {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM content_changes")
        insert(connection, "content_storage_metadata", 1)
        connection.execute("UPDATE content_storage_metadata SET title = 'x'")
        connection.execute("DELETE FROM content_storage_metadata")
        connection.execute("TRUNCATE content_storage_metadata")
        connection.execute("RESET ROLE")
        assert "".join(row["op"] for row in changes(connection)) == "IUDT"
    finally:
        connection.execute("RESET ROLE")
        connection.execute(f"DROP OWNED BY {role}")
        connection.execute(f"DROP ROLE {role}")


def test_a_temporary_table_of_the_writer_does_not_catch_the_entries(connection: Connection[Any]) -> None:
    """The functions run with their owner's rights, so the writer's schemas must come last in their search path."""
    connection.execute("CREATE TEMP TABLE content_changes (LIKE public.content_changes INCLUDING ALL)")
    insert(connection, "media_assets", 1)
    assert connection.execute("SELECT count(*) AS n FROM public.content_changes").fetchone() == {"n": 1}
    assert connection.execute("SELECT count(*) AS n FROM pg_temp.content_changes").fetchone() == {"n": 0}
