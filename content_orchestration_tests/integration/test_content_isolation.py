"""The wall between tenants: every table, view, function and method of the store, tried from the other side.

Statements run in the roles themselves, on the real server; row-level security has to hold whatever a statement says.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from psycopg.sql import SQL, Identifier

from content_orchestration.core.content.errors import ContentNotFound, InvalidContent, PermissionRefused
from content_orchestration.core.content.model import Changes, Filters, NewContent
from content_orchestration.core.content.store import ContentStore
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.schema.documents import ensure_collections
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration.settings import Settings

# The platform's own tables with a tenant, which this project reads and may not wall in.
PLATFORM = {"brands", "users", "topics", "articles", "campaign_assets", "content_items"}
APP, READONLY, WORKER = "content_app", "content_readonly", "content_worker"


@dataclass(frozen=True)
class World:
    """Two tenants with an item each, and something in every table that has a tenant."""

    database: PostgresClient
    store: ContentStore
    mine: UUID
    theirs: UUID
    my_item: UUID
    their_item: UUID


@pytest.fixture
def world(settings: Settings, database_url: str, zerodb_project: str) -> Iterator[World]:
    mine, theirs = uuid4(), uuid4()
    with (
        PostgresClient(database_url) as database,
        ZeroDBClient(settings.zerodb_url, zerodb_project, settings.zerodb_key, timeout=10.0) as documents,
    ):
        ensure_collections(documents)
        store = ContentStore(database, documents, QuotaLedger(database))
        with database.connection() as connection:
            for tenant, slug in ((mine, "mine"), (theirs, "theirs")):
                connection.execute(
                    "INSERT INTO tenants (id, name, slug, plan_tier) VALUES (%s, %s, %s, 'business')",
                    [tenant, slug, slug],
                )
        items = [
            store.create(tenant, NewContent("Secret title", f"secret body of {tenant}"), created_by="test")
            for tenant in (mine, theirs)
        ]
        yield World(database, store, mine, theirs, items[0].id, items[1].id)


@contextmanager
def acting(world: World, role: str, tenant: UUID | None) -> Iterator[psycopg.Connection[Any]]:
    """A transaction in a role and for a tenant, rolled back."""
    with world.database.connection() as connection, connection.transaction(force_rollback=True):
        connection.execute(
            "SELECT set_config('role', %s, true), set_config('app.tenant_id', %s, true)", [role, str(tenant or "")]
        )
        yield connection


def tables_with_tenants(world: World) -> list[str]:
    with world.database.connection() as connection:
        rows = connection.execute(
            """SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
               WHERE a.attname = 'tenant_id' AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND NOT c.relispartition
                 AND c.relnamespace = 'public'::regnamespace"""
        ).fetchall()
    return sorted(row["relname"] for row in rows if row["relname"] not in PLATFORM)


def test_every_table_with_a_tenant_is_walled_in_and_forced(world: World) -> None:
    with world.database.connection() as connection:
        rows = connection.execute(
            """SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS forced,
                      (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid) AS policies
               FROM pg_class c WHERE c.relname = ANY(%s) AND c.relnamespace = 'public'::regnamespace""",
            [tables_with_tenants(world)],
        ).fetchall()
    assert {row["relname"]: (row["forced"], row["policies"]) for row in rows} == dict.fromkeys(
        tables_with_tenants(world), (True, 2)
    )
    assert len(rows) >= 20


def fill(world: World, table: str) -> None:
    """Give the other tenant a row in `table` where it has none, without the checks of a real writer."""
    with world.database.connection() as connection:
        present = connection.execute(
            SQL("SELECT EXISTS (SELECT FROM {} WHERE tenant_id::text = %s) AS there").format(Identifier(table)),
            [str(world.theirs)],
        ).fetchone()
        if present and present["there"]:
            return
        if table == "replication_heartbeat":
            connection.execute("UPDATE replication_heartbeat SET tenant_id = %s", [world.theirs])
            return
        columns = connection.execute(
            """SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute
               WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = '' AND attnotnull
                 AND NOT atthasdef""",
            [table],
        ).fetchall()
        connection.execute("SET LOCAL session_replication_role = replica")
        for constraint in connection.execute(
            "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'c'", [table]
        ).fetchall():
            connection.execute(
                SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(Identifier(table), Identifier(constraint["conname"]))
            )
        samples = {"uuid": uuid4(), "text": "x", "timestamp with time zone": "now", "date": "2026-01-01"}
        names = {column["attname"]: samples.get(column["type"], "1") for column in columns} | {
            "tenant_id": world.theirs
        }
        connection.execute(
            SQL("INSERT INTO {} ({}) VALUES ({})").format(
                Identifier(table), SQL(", ").join(map(Identifier, names)), SQL(", ").join(SQL("%s") for _ in names)
            ),
            list(names.values()),
        )


@pytest.mark.parametrize("role", [APP, READONLY])
def test_no_role_of_a_tenant_reads_or_writes_another_tenants_rows(world: World, role: str) -> None:
    """On every table: what may be selected shows nothing, what may be updated or deleted hits nothing."""
    crossed: list[str] = []
    tried = 0
    for table in tables_with_tenants(world):
        fill(world, table)
        name = Identifier(table)
        for verb, statement in (
            ("select", SQL("SELECT count(*) AS hit FROM {} WHERE tenant_id::text = %s").format(name)),
            ("update", SQL("WITH w AS (UPDATE {} SET tenant_id = tenant_id WHERE tenant_id::text = %s RETURNING 1) "
                           "SELECT count(*) AS hit FROM w").format(name)),
            ("delete", SQL("WITH w AS (DELETE FROM {} WHERE tenant_id::text = %s RETURNING 1) "
                           "SELECT count(*) AS hit FROM w").format(name)),
        ):  # fmt: skip
            for tenant in (world.mine, None):
                tried += 1
                try:
                    with acting(world, role, tenant) as connection:
                        row = connection.execute(statement, [str(world.theirs)]).fetchone()
                except InsufficientPrivilege:
                    continue
                if row and row["hit"]:
                    crossed.append(f"{role} {verb} {table}")
    assert crossed == []
    assert tried == len(tables_with_tenants(world)) * 6


def test_the_owner_of_the_rows_does_see_them(world: World) -> None:
    """The counterpart: a wall that hides everything from everybody would pass the tests above."""
    for role in (APP, READONLY):
        with acting(world, role, world.theirs) as connection:
            rows = connection.execute("SELECT id FROM content_storage_metadata").fetchall()
        assert [row["id"] for row in rows] == [world.their_item]
    with acting(world, WORKER, None) as connection:
        rows = connection.execute("SELECT id FROM content_storage_metadata").fetchall()
    assert {row["id"] for row in rows} == {world.my_item, world.their_item}


@pytest.mark.parametrize(
    "table", ["content_storage_metadata", "content_versions", "media_assets", "content_body_spill"]
)
def test_no_row_can_be_given_to_another_tenant(world: World, table: str) -> None:
    fill_own = SQL("UPDATE {} SET tenant_id = %s").format(Identifier(table))
    with world.database.connection() as connection:
        connection.execute(
            "INSERT INTO media_assets (id, tenant_id, kind, url, zerodb_row_id) VALUES (%s, %s, 'image', 'u', 'z')",
            [uuid4(), world.mine],
        )
    with pytest.raises(InsufficientPrivilege), acting(world, APP, world.mine) as connection:
        connection.execute(fill_own, [world.theirs])
    with pytest.raises(InsufficientPrivilege), acting(world, APP, world.mine) as connection:
        connection.execute(
            SQL("INSERT INTO {} SELECT * FROM jsonb_populate_record(NULL::{}, %s::jsonb)").format(
                Identifier(table), Identifier(table)
            ),
            [f'{{"id": "{uuid4()}", "tenant_id": "{world.theirs}"}}'],
        )


@pytest.mark.parametrize("role", [APP, READONLY])
def test_no_function_reaches_another_tenant(world: World, role: str) -> None:
    """Every function that takes a tenant or a reservation, called for the other tenant: nothing of theirs changes."""
    held = QuotaLedger(world.database).reserve(world.theirs, bytes=10, items=1)
    plans = '{"business": {"bytes": 1000000, "items": 10}, "free": {"bytes": 1000000, "items": 10}}'
    calls: list[tuple[str, list[Any]]] = [
        ("SELECT * FROM quota_reserve(%s, NULL, 5, 1, 0, 'content', false, '1 min', NULL, %s)", [world.theirs, plans]),
        ("SELECT * FROM quota_settle(%s, 10, 1, 0, 0, false, %s)", [held.id, plans]),
        ("SELECT * FROM quota_release(%s)", [held.id]),
        ("SELECT * FROM quota_give_back(%s, NULL, 5, 1, 0, 0)", [world.theirs]),
        ("SELECT * FROM quota_reap(%s, 100)", [world.theirs]),
        ("SELECT * FROM quota_apply_plan(%s, %s)", [world.theirs, plans]),
        ("SELECT * FROM quota_open(%s, NULL, NULL, 'free', 1, 1)", [world.theirs]),
        ("SELECT prepare_change_log(1)", []),
        ("SELECT drop_replicated_changes('1000000'::xid8)", []),
        ("SELECT prepare_usage_history(9)", []),
    ]
    before = _counters(world)
    for statement, values in calls:
        try:
            with world.database.connection() as connection:
                connection.execute(
                    "SELECT set_config('role', %s, true), set_config('app.tenant_id', %s, true)",
                    [role, str(world.mine)],
                )
                connection.execute(statement, values)
        except psycopg.Error:
            continue
    assert _counters(world) == before
    for tenant, seen in ((world.mine, [world.my_item]), (world.theirs, [world.their_item]), (None, [])):
        with acting(world, role, tenant) as connection:
            rows = connection.execute("SELECT * FROM content_titles_matching('secret'::tsquery, 9)").fetchall()
        assert [row["content_id"] for row in rows] == seen
    with acting(world, role, world.mine) as connection:
        row = connection.execute("SELECT * FROM quota_stored(%s, NULL)", [world.theirs]).fetchone()
    assert row is not None
    assert (row["bytes"], row["items"]) == (0, 0)


def _counters(world: World) -> list[Any]:
    with world.database.connection() as connection:
        rows = connection.execute(
            """SELECT u.used_bytes, u.reserved_bytes, u.content_items, r.state, r.held_bytes
               FROM content_quota_usage u JOIN quota_reservations r USING (tenant_id) WHERE tenant_id = %s
               ORDER BY r.created_at""",
            [world.theirs],
        ).fetchall()
    assert rows
    return rows


def test_functions_that_run_as_their_owner_pin_their_search_path(world: World) -> None:
    with world.database.connection() as connection:
        rows = connection.execute(
            """SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace
               AND NOT coalesce(array_to_string(proconfig, ',') LIKE '%search_path=%', false)"""
        ).fetchall()
    assert rows == []


def test_roles_have_the_least_that_they_need(world: World) -> None:
    """content_readonly writes nothing anywhere; content_app cannot touch what belongs to jobs; neither can log in."""
    with world.database.connection() as connection:
        roles = connection.execute(
            """SELECT rolname, rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls AS strong
               FROM pg_roles WHERE rolname = ANY(%s)""",
            [[APP, READONLY, WORKER]],
        ).fetchall()
        writes = connection.execute(
            """SELECT c.relname FROM pg_class c
               WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
               AND has_table_privilege(%s, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')""",
            [READONLY],
        ).fetchall()
        app = connection.execute(
            """SELECT c.relname FROM pg_class c
               WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
               AND has_table_privilege(%s, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
               AND c.relname = ANY(%s)""",
            [APP, ["content_changes", "replication_windows", "integrity_differences", "restore_runs", "tenants"]],
        ).fetchall()
    assert {row["rolname"]: row["strong"] for row in roles} == dict.fromkeys((APP, READONLY, WORKER), False)
    assert writes == []
    assert app == []


def test_no_method_of_the_store_reaches_another_tenants_item(world: World) -> None:
    store, me, item = world.store, world.mine, world.their_item
    attempts = {
        "get": lambda: store.get(me, item),
        "update": lambda: store.update(me, item, Changes(title="mine"), expected_version=1, changed_by="me"),
        "soft_delete": lambda: store.soft_delete(me, item),
        "undelete": lambda: store.undelete(me, item),
        "versions": lambda: store.versions(me, item),
        "diff": lambda: store.diff(me, item, 1, 1),
        "rollback_to": lambda: store.rollback_to(me, item, 1, expected_version=1, changed_by="me"),
        "purge": lambda: store.purge(me, item, may_purge=True, confirm=f"purge {item}"),
    }
    for name, attempt in attempts.items():
        with pytest.raises(ContentNotFound):
            attempt()
        assert name
    assert store.get_many(me, [item, world.my_item]).keys() == {world.my_item}
    assert [listed.item.id for listed in store.list(me).items] == [world.my_item]
    assert [listed.item.id for listed in store.list(me, Filters(title_contains="Secret")).items] == [world.my_item]
    assert [found.id for found in store.search_titles(me, "secret").items] == [world.my_item]
    assert [found.id for found in store.search_bodies(me, "secret body").items] == [world.my_item]
    theirs = store.get(world.theirs, item)
    assert (theirs.body, theirs.item.version) == (f"secret body of {world.theirs}", 1)
    public = {name for name in dir(store) if not name.startswith("_")}
    assert public == attempts.keys() | {
        "create",
        "create_many",
        "create_admitted",
        "get_many",
        "list",
        "search_titles",
        "search_bodies",
    }


def test_one_tenants_source_says_nothing_about_anothers(world: World) -> None:
    content = NewContent("T", "body", source="campaign:1")
    first = world.store.create(world.mine, content, created_by="me")
    second = world.store.create(world.theirs, content, created_by="them")
    assert first.id != second.id
    assert world.store.create(world.mine, content, created_by="me").id == first.id


def test_a_cursor_of_one_tenant_shows_another_only_its_own(world: World) -> None:
    world.store.create(world.theirs, NewContent("second", "b"), created_by="them")
    cursor = world.store.list(world.theirs, limit=1).cursor
    assert [listed.item.tenant_id for listed in world.store.list(world.mine, after=cursor).items] in ([], [world.mine])


def test_purge_asks_for_permission_and_a_sentence(world: World) -> None:
    with pytest.raises(PermissionRefused, match="no permission"):
        world.store.purge(world.mine, world.my_item, may_purge=False, confirm=f"purge {world.my_item}")
    with pytest.raises(PermissionRefused, match="confirm is 'yes'"):
        world.store.purge(world.mine, world.my_item, may_purge=True, confirm="yes")
    assert world.store.get(world.mine, world.my_item).body is not None


@pytest.mark.parametrize("tenant", ["", "not-a-uuid", "00000000-0000-0000-0000-000000000000", None])
def test_nobody_is_no_tenant(world: World, tenant: Any) -> None:
    with pytest.raises(InvalidContent, match="tenant_id"):
        world.store.list(tenant)
