"""The platform's tables on a real PostgreSQL: created as the contract says, loaded once, and open to dirty rows."""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import Connection
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from content_orchestration.local.demo_data import DemoData, generate
from content_orchestration.local.demo_load import load_demo
from content_orchestration.local.platform_tables import PLATFORM_TABLES, create_platform_tables, platform_counts
from content_orchestration_tests.dirty_data import MAX_BODY_BYTES, by_source, dirty_rows, insert_dirty_rows
from content_orchestration_tests.dirty_row import TYPES

CONTRACT: dict[str, dict[str, str]] = {
    "tenants": {"id": "uuid", "name": "text", "slug": "text", "plan_tier": "text", "created_at": "timestamptz"},
    "brands": {"id": "uuid", "tenant_id": "uuid", "name": "text"},
    "users": {"id": "uuid", "tenant_id": "uuid", "email": "text"},
    "topics": {"id": "uuid", "tenant_id": "uuid", "topic_title": "text", "keywords": "text[]"},
    "articles": {"id": "uuid", "tenant_id": "uuid", "title": "text", "status": "text"},
    "campaign_assets": TYPES["campaign_assets"],
    "content_items": TYPES["content_items"],
    "render_jobs": {
        "id": "uuid",
        "user_id": "uuid",
        "status": "text",
        "output_url": "text",
        "created_at": "timestamptz",
        "updated_at": "timestamptz",
    },
    "user_assets": {
        "id": "uuid",
        "user_id": "uuid",
        "asset_type": "text",
        "metadata": "jsonb",
        "file_size": "bigint",
        "created_at": "timestamptz",
    },
}
SHORT_TYPES = {"timestamp with time zone": "timestamptz"}


@pytest.fixture
def database(empty_database: str) -> str:
    """An empty database of this test alone, read in UTC."""
    return make_conninfo(empty_database, options="-c timezone=UTC")


@pytest.fixture
def connection(database: str) -> Iterator[Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def platform(connection: Connection[Any]) -> Connection[Any]:
    create_platform_tables(connection)
    return connection


@pytest.fixture(scope="module")
def demo() -> DemoData:
    return generate()


def test_the_columns_and_types_are_the_contracts(connection: Connection[Any]) -> None:
    assert create_platform_tables(connection) == PLATFORM_TABLES
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in connection.execute(
        "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a"
        " JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = 'public'::regnamespace"
        " AND c.relkind = 'r' AND a.attnum > 0 ORDER BY c.relname, a.attnum"
    ):
        found.setdefault(table, {})[column] = SHORT_TYPES.get(kind, kind)
    assert found == CONTRACT


def test_keys_and_references_are_the_contracts_and_legacy_rows_have_none(platform: Connection[Any]) -> None:
    constraints = platform.execute(
        "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'u', 'f')"
    ).fetchall()
    expected = {(table, "PRIMARY KEY (id)") for table in PLATFORM_TABLES}
    expected |= {(table, "FOREIGN KEY (tenant_id) REFERENCES tenants(id)") for table in ("brands", "users")}
    assert set(constraints) == expected | {("tenants", "UNIQUE (slug)")}


def test_creating_again_changes_nothing(platform: Connection[Any], demo: DemoData) -> None:
    load_demo(platform, demo)
    before = platform_counts(platform)
    assert create_platform_tables(platform) == ()
    assert platform_counts(platform) == before


def test_only_missing_tables_are_created_and_a_changed_one_is_left_alone(platform: Connection[Any]) -> None:
    platform.execute("ALTER TABLE tenants ADD COLUMN region text")
    platform.execute("DROP TABLE render_jobs, articles")
    assert create_platform_tables(platform) == ("articles", "render_jobs")
    assert platform.execute("SELECT region FROM tenants").fetchall() == []


def in_parallel(database: str, work: Any, count: int = 4) -> list[Any]:
    results: list[Any] = []
    start = threading.Barrier(count)

    def run() -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            start.wait()
            try:
                results.append(work(connection))
            except psycopg.Error as error:
                results.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_creators_at_once_do_not_fail_and_one_creates_all(database: str) -> None:
    results = in_parallel(database, create_platform_tables)
    assert sorted(map(len, results)) == [0, 0, 0, len(PLATFORM_TABLES)]


def test_the_demo_loads_exactly_and_reads_back_equal(platform: Connection[Any], demo: DemoData) -> None:
    report = load_demo(platform)
    assert report.loaded
    assert report.rows == {table: len(rows) for table, rows in demo.tables.items()}
    assert report.as_metadata()["campaign_assets"] == 175
    assert platform_counts(platform) == report.rows | {"named_media": 1525}
    for table, rows in demo.tables.items():
        with platform.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            stored = cursor.execute(SQL("SELECT * FROM {}").format(Identifier(table))).fetchall()
        assert {row["id"]: row for row in stored} == {row["id"]: row for row in rows}


def test_loading_again_changes_nothing_and_says_so(platform: Connection[Any], demo: DemoData) -> None:
    load_demo(platform, demo)
    platform.execute("UPDATE tenants SET name = 'Renamed'")
    before = platform_counts(platform)
    again = load_demo(platform, demo)
    assert (again.loaded, again.rows) == (False, {})
    assert "tenants, campaign_assets, content_items already has rows" in again.reason
    assert platform_counts(platform) == before
    assert platform.execute("SELECT DISTINCT name FROM tenants").fetchall() == [("Renamed",)]


@pytest.mark.parametrize("table", ["tenants", "campaign_assets", "content_items"])
def test_one_row_of_somebody_keeps_the_demo_out(platform: Connection[Any], demo: DemoData, table: str) -> None:
    platform.execute(SQL("INSERT INTO {} (id) VALUES (gen_random_uuid())").format(Identifier(table)))
    report = load_demo(platform, demo)
    assert not report.loaded
    assert f"{table} already has rows" in report.reason
    assert sum(platform_counts(platform).values()) == 1


def test_a_load_that_fails_half_way_leaves_nothing(platform: Connection[Any], demo: DemoData) -> None:
    jobs = demo.tables["render_jobs"]
    broken = DemoData(demo.tables | {"render_jobs": (*jobs, jobs[0])})
    with pytest.raises(psycopg.errors.UniqueViolation):
        load_demo(platform, broken)
    assert sum(platform_counts(platform).values()) == 0
    assert load_demo(platform, demo).loaded


def test_loaders_at_once_load_once(platform: Connection[Any], database: str) -> None:
    results = in_parallel(database, load_demo)
    assert sorted(each.loaded for each in results) == [False, False, False, True]
    assert platform_counts(platform)["content_items"] == 113


def test_every_dirty_row_goes_in_and_keeps_its_values(platform: Connection[Any]) -> None:
    rows = insert_dirty_rows(platform, dirty_rows())
    assert len(by_source(rows)) == len(rows)
    stored = Counter({table: platform_counts(platform)[table] for table in TYPES})
    assert stored == Counter(row.table for row in rows)
    for row in rows:
        for column, kind in TYPES[row.table].items():
            # As text, since the driver cannot represent some of these timestamps and numbers.
            same = platform.execute(
                SQL("SELECT {column}::text IS NOT DISTINCT FROM {value} FROM {table} WHERE id = %s").format(
                    column=Identifier(column),
                    table=Identifier(row.table),
                    value=SQL("%s::jsonb::text") if kind == "jsonb" else SQL("%s::text"),
                ),
                [_as_text(row.values[column], kind), row.values["id"]],
            ).fetchone()
            assert same == (True,), (row.kind, column)


def _as_text(value: Any, kind: str) -> str | None:
    return value if value is None or kind == "jsonb" else str(value)


def test_the_dirty_rows_are_what_their_kinds_say(platform: Connection[Any]) -> None:
    rows = insert_dirty_rows(platform, dirty_rows())
    reasons = Counter(row.expect.reason for row in rows if row.expect.outcome == "quarantined")
    assert reasons == {"unknown_tenant": 7, "body_too_large": 3, "metadata_too_deep": 4}
    unknown = platform.execute(
        "SELECT 'content_items:' || id FROM content_items c WHERE NOT EXISTS"
        " (SELECT FROM tenants t WHERE t.id = c.tenant_id) UNION ALL"
        " SELECT 'campaign_assets:' || id FROM campaign_assets c WHERE NOT EXISTS"
        " (SELECT FROM tenants t WHERE t.id = c.tenant_id)"
    ).fetchall()
    assert {source for (source,) in unknown} == {row.source for row in rows if row.expect.reason == "unknown_tenant"}
    large = platform.execute(
        "SELECT 'content_items:' || id FROM content_items WHERE octet_length(content_body) > %s", [MAX_BODY_BYTES]
    ).fetchall()
    named = {row.source for row in rows if row.expect.reason == "body_too_large" and row.table == "content_items"}
    assert {source for (source,) in large} == named
    planes = platform.execute(
        "SELECT count(DISTINCT ascii(letter) / 65536) FROM content_items,"
        " LATERAL regexp_split_to_table(title, '') AS letter WHERE title LIKE 'Plane %'"
    ).fetchone()
    assert planes == (17,)
