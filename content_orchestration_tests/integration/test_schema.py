"""Our PostgreSQL schema on a real server: up, twice, at once, refused, and back without a trace."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from psycopg import Connection
from psycopg.rows import dict_row

from content_orchestration.core.errors import AlreadyRunning, Permanent
from content_orchestration.core.schema.platform import missing_from_platform, platform_counts, require_platform
from content_orchestration.core.schema.postgres import (
    ROLLBACK_CONFIRMATION,
    SHAPES,
    columns_of,
    rollback,
    shape_differences,
    table_counts,
    upgrade,
)
from content_orchestration.core.sql import sql_folder
from content_orchestration.local.demo_load import load_demo
from content_orchestration.local.platform_tables import PLATFORM_TABLES, create_platform_tables
from content_orchestration.resources.postgres_client import PostgresClient

REVISIONS = tuple(f"{number:04d}" for number in range(1, 19))
NEWEST = REVISIONS[-1]
# Everything that a role sees of a database: relations with columns, defaults, comments; constraints, indexes,
# triggers, functions, views, types, sequences. Dropped columns leave a gap in attnum, so the order is by rank.
# Privileges that were granted and taken back are written out where they were implied: both read the same.
CATALOGUE = """
SELECT 'column' AS kind, c.relname || '.' || a.attname AS name,
       concat_ws(' ', c.relkind, rank() OVER (PARTITION BY c.oid ORDER BY a.attnum),
                 format_type(a.atttypid, a.atttypmod),
                 a.attnotnull, pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum), a.attidentity,
                 a.attcollation, nullif(a.attacl, '{}')) AS text
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum WHERE c.relnamespace = 'public'::regnamespace
UNION ALL SELECT 'relation', relname, concat_ws(' ', relkind, relowner, relpersistence, relrowsecurity,
       relforcerowsecurity, coalesce(relacl, acldefault('r', relowner)), reloptions,
       obj_description(oid, 'pg_class'))
FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = 'public'::regnamespace
UNION ALL SELECT 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid) FROM pg_trigger
WHERE NOT tgisinternal
UNION ALL SELECT 'function', oid::regprocedure::text, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'policy', polrelid::regclass || '.' || polname, pg_get_expr(polqual, polrelid) FROM pg_policy
UNION ALL SELECT 'type', typname, typtype::text FROM pg_type WHERE typnamespace = 'public'::regnamespace
UNION ALL SELECT 'schema', nspname, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'
UNION ALL SELECT 'extension', extname, extversion FROM pg_extension
ORDER BY 1, 2, 3
"""


@pytest.fixture
def platform_url(empty_database: str) -> str:
    """A database with the platform's tables and the demo's rows, without our schema."""
    with psycopg.connect(empty_database) as connection:
        create_platform_tables(connection)
        load_demo(connection)
    return empty_database


@pytest.fixture
def database(platform_url: str) -> Iterator[PostgresClient]:
    with PostgresClient(platform_url) as client:
        yield client


@pytest.fixture
def admin(platform_url: str) -> Iterator[Connection[dict[str, Any]]]:
    with Connection[dict[str, Any]].connect(platform_url, autocommit=True, row_factory=dict_row) as connection:  # type: ignore[arg-type]
        yield connection


def catalogue(connection: Connection[Any]) -> list[dict[str, Any]]:
    return connection.execute(CATALOGUE).fetchall()


def rows(connection: Connection[Any]) -> dict[str, list[str]]:
    """Every platform row as text, NULLs and order of columns included."""
    return {
        table: [row["t"] for row in connection.execute(f"SELECT t::text AS t FROM {table} AS t ORDER BY 1")]
        for table in PLATFORM_TABLES
    }


def move(database: PostgresClient, direction: str, target: str) -> None:
    """One Alembic step, as `upgrade` and `rollback` do all of them."""
    config = Config()
    config.set_main_option("script_location", str(sql_folder() / "migrations"))
    with database.engine().connect() as connection:
        config.attributes["connection"] = connection
        getattr(command, direction)(config, target)
        connection.commit()


def test_from_nothing_to_the_listed_shapes(database: PostgresClient) -> None:
    report = upgrade(database)
    assert (report.before, report.after, report.applied) == (None, NEWEST, REVISIONS)
    assert report.as_metadata() == {
        "revision": NEWEST, "revision_before": "none", "applied": ", ".join(REVISIONS),
    }  # fmt: skip
    assert shape_differences(database) == []
    assert SHAPES == {
        "content_storage_metadata": (17, 6), "content_quota_usage": (12, 2), "content_generation_jobs": (19, 6),
    }  # fmt: skip
    assert table_counts(database) == dict.fromkeys(table_counts(database), 0)


def test_the_columns_are_those_of_the_data_model(database: PostgresClient) -> None:
    upgrade(database)
    assert " ".join(name for name, _ in columns_of(database, "content_storage_metadata")) == (
        "id tenant_id brand_id campaign_space_id user_id title content_type status zerodb_row_id body_sha256 "
        "storage_size_bytes version source metadata created_at updated_at deleted_at"
    )
    assert " ".join(name for name, _ in columns_of(database, "content_quota_usage")) == (
        "tenant_id plan_tier limit_bytes used_bytes reserved_bytes content_items media_files media_bytes usage_by_type "
        "notified_percent last_calculated_at updated_at"
    )
    assert " ".join(name for name, _ in columns_of(database, "content_generation_jobs")) == (
        "id tenant_id brand_id user_id job_type content_type target_count generation_params priority status "
        "succeeded_count failed_count total_storage_bytes total_cost_usd idempotency_key error_message created_at "
        "started_at completed_at"
    )
    assert ("created_at", "timestamptz") in columns_of(database, "content_storage_metadata")


def test_a_second_upgrade_does_nothing(database: PostgresClient, admin: Connection[Any]) -> None:
    upgrade(database)
    before = catalogue(admin)
    report = upgrade(database)
    assert (report.before, report.after, report.applied) == (NEWEST, NEWEST, ())
    assert report.as_metadata()["applied"] == "nothing: up to date"
    assert catalogue(admin) == before


def test_a_shape_that_differs_is_told(database: PostgresClient, admin: Connection[Any]) -> None:
    upgrade(database)
    admin.execute("ALTER TABLE content_quota_usage ADD COLUMN extra int")
    admin.execute("DROP INDEX content_generation_jobs_open")
    admin.execute("DROP TABLE content_storage_metadata")
    assert shape_differences(database) == [
        "content_storage_metadata has 0 columns and 0 indexes, not 17 columns and 6 indexes",
        "content_quota_usage has 13 columns and 2 indexes, not 12 columns and 2 indexes",
        "content_generation_jobs has 19 columns and 5 indexes, not 19 columns and 6 indexes",
    ]


def test_of_two_upgrades_at_once_one_works_and_one_names_it(
    database: PostgresClient, platform_url: str, admin: Connection[Any]
) -> None:
    blocked = "SELECT count(*) AS n FROM pg_locks WHERE NOT granted AND relation = 'content_items'::regclass"
    with ThreadPoolExecutor(1) as pool, psycopg.connect(platform_url) as holder:
        # The first upgrade stops in its last statement of revision 0001, behind this lock.
        holder.execute("LOCK TABLE content_items IN ACCESS SHARE MODE")
        first = pool.submit(upgrade, database)
        try:
            wait_until(lambda: admin.execute(blocked).fetchone()["n"] == 1)
            pid = admin.execute(
                "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND database = "
                "(SELECT oid FROM pg_database WHERE datname = current_database())"
            ).fetchone()["pid"]
            with PostgresClient(platform_url) as other, pytest.raises(AlreadyRunning) as caught:
                upgrade(other)
        finally:
            holder.rollback()
        assert first.result(30).applied == REVISIONS
    assert f"postgres_schema is already running: its lock is held by pid {pid} (content_orchestration)" in str(
        caught.value
    )
    assert shape_differences(database) == []


def wait_until(condition: Any, seconds: float = 15.0) -> None:
    stop = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        stop.wait(0.02)
    raise AssertionError("it did not happen")


def test_what_the_platform_lacks_is_named_and_nothing_is_changed(
    database: PostgresClient, admin: Connection[Any]
) -> None:
    admin.execute("DROP TABLE render_jobs")
    admin.execute("ALTER TABLE campaign_assets DROP COLUMN cta_text")
    admin.execute("ALTER TABLE campaign_assets ALTER COLUMN file_size_bytes TYPE integer USING 0")
    admin.execute("ALTER TABLE content_items ALTER COLUMN content_metadata TYPE json")
    before = catalogue(admin)
    with pytest.raises(Permanent) as caught:
        upgrade(database)
    assert missing_from_platform(database) == [
        "campaign_assets.cta_text text",
        "campaign_assets.file_size_bytes bigint (found integer)",
        "content_items.content_metadata jsonb (found json)",
        "render_jobs",
    ]
    for lacking in missing_from_platform(database):
        assert lacking in str(caught.value)
    assert "DATABASE_PUBLIC_URL" in str(caught.value)
    assert catalogue(admin) == before


def test_the_platform_may_have_more_than_we_need(database: PostgresClient, admin: Connection[Any]) -> None:
    admin.execute("ALTER TABLE tenants ADD COLUMN region text")
    require_platform(database)
    assert upgrade(database).applied == REVISIONS


def test_platform_counts_are_exact_for_small_tables(database: PostgresClient, admin: Connection[Any]) -> None:
    exact = {t: admin.execute(f"SELECT count(*) AS n FROM {t}").fetchone()["n"] for t in PLATFORM_TABLES}
    assert platform_counts(database) == exact
    assert (exact["tenants"], exact["campaign_assets"], exact["content_items"]) == (8, 175, 113)


def test_platform_counts_are_estimates_for_large_tables(database: PostgresClient, admin: Connection[Any]) -> None:
    admin.execute("UPDATE pg_class SET reltuples = 5e6 WHERE oid = 'campaign_assets'::regclass")
    assert platform_counts(database)["campaign_assets"] == 5_000_000


@pytest.mark.parametrize(
    "confirm", ["", "yes", ROLLBACK_CONFIRMATION.upper(), ROLLBACK_CONFIRMATION + " ", ROLLBACK_CONFIRMATION[:-1]]
)
def test_a_rollback_without_the_sentence_changes_nothing(
    database: PostgresClient, admin: Connection[Any], confirm: str
) -> None:
    upgrade(database)
    before = catalogue(admin)
    with pytest.raises(Permanent, match="nothing was changed") as caught:
        rollback(database, confirm)
    assert repr(ROLLBACK_CONFIRMATION) in str(caught.value)
    assert catalogue(admin) == before


def test_a_rollback_leaves_the_database_as_it_was(database: PostgresClient, admin: Connection[Any]) -> None:
    shape, content = catalogue(admin), rows(admin)
    upgrade(database)
    assert catalogue(admin) != shape
    admin.execute("UPDATE content_items SET zerodb_id = 'x', migrated_at = now()")
    report = rollback(database, ROLLBACK_CONFIRMATION)
    assert (report.before, report.after, report.applied) == (NEWEST, None, REVISIONS[::-1])
    assert catalogue(admin) == shape
    assert rows(admin) == content
    assert upgrade(database).applied == REVISIONS


def test_columns_that_the_platform_had_before_us_stay_with_their_values(
    database: PostgresClient, admin: Connection[Any]
) -> None:
    admin.execute("ALTER TABLE content_items ADD COLUMN zerodb_id text DEFAULT 'theirs'")
    admin.execute("COMMENT ON COLUMN content_items.zerodb_id IS 'the platform wrote this'")
    shape, content = catalogue(admin), rows(admin)
    upgrade(database)
    assert [name for name, _ in columns_of(database, "content_items")][-3:] == [
        "zerodb_id", "storage_size_bytes", "migrated_at",
    ]  # fmt: skip
    rollback(database, ROLLBACK_CONFIRMATION)
    assert catalogue(admin) == shape
    assert rows(admin) == content


def test_a_rollback_of_nothing_leaves_nothing(database: PostgresClient, admin: Connection[Any]) -> None:
    shape = catalogue(admin)
    report = rollback(database, ROLLBACK_CONFIRMATION)
    assert (report.before, report.after, report.applied) == (None, None, ())
    assert catalogue(admin) == shape


def test_a_rollback_waits_for_nobody(database: PostgresClient, platform_url: str) -> None:
    upgrade(database)
    with (
        PostgresClient(platform_url, application_name="somebody") as other,
        other.advisory_lock("postgres_schema"),
        pytest.raises(AlreadyRunning, match="somebody"),
    ):
        rollback(database, ROLLBACK_CONFIRMATION)
    assert shape_differences(database) == []


def test_every_revision_goes_down_and_up_again(database: PostgresClient, admin: Connection[Any]) -> None:
    shapes = [[row for row in catalogue(admin) if row["name"] not in VERSION_TABLE]]
    for revision in REVISIONS:
        move(database, "upgrade", revision)
        shapes.append([row for row in catalogue(admin) if row["name"] not in VERSION_TABLE])
    for index in range(len(REVISIONS), 0, -1):
        move(database, "downgrade", "-1")
        assert [row for row in catalogue(admin) if row["name"] not in VERSION_TABLE] == shapes[index - 1]
        move(database, "upgrade", "+1")
        assert [row for row in catalogue(admin) if row["name"] not in VERSION_TABLE] == shapes[index]
        move(database, "downgrade", "-1")


VERSION_TABLE = {
    "content_orchestration_version", "_content_orchestration_version", "content_orchestration_version.version_num",
    "content_orchestration_version_pkc", "content_orchestration_version_pkc.version_num",
    "content_orchestration_version.content_orchestration_version_pkc",
    "content_orchestration_version.content_orchestration_version_version_num_not_null",
}  # fmt: skip


def test_a_revision_that_fails_leaves_no_half_of_itself(database: PostgresClient, admin: Connection[Any]) -> None:
    """Revision 0003 meets a function of the same name: 0001 and 0002 stand, nothing of 0003 does."""
    admin.execute("CREATE FUNCTION refuse_id_change() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    with pytest.raises(psycopg.errors.DuplicateFunction):
        upgrade(database)
    assert admin.execute("SELECT to_regclass('content_changes') AS t").fetchone()["t"] is None
    assert admin.execute("SELECT version_num AS v FROM content_orchestration_version").fetchone()["v"] == "0002"
    admin.execute("DROP FUNCTION refuse_id_change()")
    assert upgrade(database).applied == REVISIONS[2:]
    assert shape_differences(database) == []


def test_a_database_of_a_newer_release_is_left_alone(database: PostgresClient, admin: Connection[Any]) -> None:
    upgrade(database)
    admin.execute("UPDATE content_orchestration_version SET version_num = '9999'")
    before = catalogue(admin)
    with pytest.raises(Permanent, match="revision 9999, which this release does not know") as caught:
        upgrade(database)
    assert "Install the release" in str(caught.value)
    assert catalogue(admin) == before


@pytest.mark.parametrize("create", [False, True])
def test_a_role_that_may_not_change_the_schema_is_told_what_to_grant(
    platform_url: str, admin: Connection[Any], create: bool
) -> None:
    role = "clerk_" + platform_url.rpartition("_")[2]
    admin.execute(f"CREATE ROLE {role} LOGIN")
    try:
        admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        if create:
            admin.execute(f"GRANT CREATE ON SCHEMA public TO {role}")
        before = [row for row in catalogue(admin) if row["name"] not in VERSION_TABLE]
        with (
            PostgresClient(platform_url.replace("postgres@", f"{role}@")) as database,
            pytest.raises(Permanent, match=r"may not change the schema .*(schema public|owner of table content_items)"),
        ):
            upgrade(database)
        assert [row for row in catalogue(admin) if row["name"] not in VERSION_TABLE] == before
    finally:
        admin.execute(f"DROP OWNED BY {role}")
        admin.execute(f"DROP ROLE {role}")
