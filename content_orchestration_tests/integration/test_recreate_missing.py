"""Tables of ours that were dropped come back as they were made, and those that are there are not touched."""

from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from content_orchestration.core.errors import Permanent
from content_orchestration.core.schema.missing import recreate_missing
from content_orchestration.core.schema.postgres import rollback, shape_differences, upgrade
from content_orchestration.core.sql import statement
from content_orchestration.resources.postgres_client import PostgresClient

SHAPE = """
SELECT 'column' AS kind, format('%s.%s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
       a.attnotnull, pg_get_expr(d.adbin, d.adrelid)) AS text
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND c.relkind IN ('r', 'p', 'v') AND c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'index', pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
WHERE c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'constraint', format('%s %s', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'trigger', pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE NOT t.tgisinternal AND c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'view', format('%s %s %s', c.relname, c.reloptions, pg_get_viewdef(c.oid)) FROM pg_class c
WHERE c.relkind = 'v' AND c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'right to a view', format('%s %s %s', c.relname, a.grantee::regrole, a.privilege_type)
FROM pg_class c CROSS JOIN aclexplode(c.relacl) AS a
WHERE c.relkind = 'v' AND c.relnamespace = 'public'::regnamespace AND a.grantee <> c.relowner
ORDER BY 1, 2
"""
CONTENT = ("content_storage_metadata", "content_versions", "media_assets")


def shape(url: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(SHAPE).fetchall()


def drop(url: str, tables: Sequence[str]) -> None:
    with psycopg.connect(url) as connection:
        for table in tables:
            connection.execute(f"DROP TABLE {table} CASCADE")  # type: ignore[arg-type]


def ours(url: str) -> list[str]:
    """Every table that our revisions make."""
    with psycopg.connect(url) as connection:
        found = connection.execute(statement("drill/relations")).fetchall()
    platform = {
        "tenants", "brands", "users", "topics", "articles", "campaign_assets", "content_items", "render_jobs",
        "user_assets", "content_orchestration_version",
        # Views go and come back with their tables.
        "active_generation_jobs", "generation_job_stats",
    }  # fmt: skip
    return [name for _, name in found if name not in platform]


def test_dropped_content_tables_come_back_with_indexes_and_triggers_and_nothing_else_changes(database_url: str) -> None:
    with PostgresClient(database_url) as database:
        before = shape(database_url)
        with psycopg.connect(database_url) as connection:
            connection.execute(
                "INSERT INTO content_quota_usage (tenant_id, plan_tier) VALUES (gen_random_uuid(), 'free')"
            )
        drop(database_url, CONTENT)
        assert shape_differences(database) == [
            "content_storage_metadata has 0 columns and 0 indexes, not 17 columns and 6 indexes"
        ]
        report = recreate_missing(database)
        assert report.tables == CONTENT
        assert "content_storage_metadata.record_delete" in report.parts
        assert shape(database_url) == before
        with psycopg.connect(database_url) as connection:
            kept = connection.execute("SELECT count(*) FROM content_quota_usage").fetchone()
            schemas = connection.execute(
                "SELECT count(*) FROM pg_namespace WHERE nspname = 'content_rebuild'"
            ).fetchone()
            connection.execute(
                "INSERT INTO media_assets (id, tenant_id, kind, url, zerodb_row_id) "
                "VALUES (gen_random_uuid(), gen_random_uuid(), 'image', 'u', 'z')"
            )
            captured = connection.execute("SELECT entity, op FROM content_changes").fetchall()
        assert (kept, schemas, captured) == ((1,), (0,), [("content_media", "I")])


def test_every_table_of_ours_comes_back(database_url: str) -> None:
    """One that others refer to, one that refers to others, a partitioned one, and all of them at once."""
    before = shape(database_url)
    tables = ours(database_url)
    assert len(tables) > 15
    with PostgresClient(database_url) as database:
        for dropped in (["replication_windows"], ["restore_progress", "content_changes"], tables):
            drop(database_url, dropped)
            assert shape(database_url) != before
            assert set(dropped) <= set(recreate_missing(database).tables)
            assert shape(database_url) == before, dropped


def test_a_view_or_a_key_that_went_with_a_table_comes_back_with_it(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("DROP TABLE restore_runs CASCADE")
        gone = connection.execute(
            "SELECT count(*) FROM pg_constraint WHERE conrelid = 'restore_progress'::regclass AND contype = 'f'"
        )
        assert gone.fetchone() == (0,)
    with PostgresClient(database_url) as database:
        report = recreate_missing(database)
    assert report.tables == ("restore_runs",)
    assert "restore_progress.restore_progress_restore_id_fkey" in report.parts


def test_a_complete_schema_is_left_as_it_is(database_url: str) -> None:
    with PostgresClient(database_url) as database:
        report = recreate_missing(database)
    assert (report.tables, report.parts) == ((), ())
    assert report.as_metadata() == {"tables_recreated": [], "parts_recreated": []}


def test_a_schema_that_was_never_migrated_is_refused(database_url: str) -> None:
    with PostgresClient(database_url) as database:
        rollback(database, "drop every content_orchestration table")
        with pytest.raises(Permanent, match="materialize postgres_schema"):
            recreate_missing(database)
        upgrade(database)
