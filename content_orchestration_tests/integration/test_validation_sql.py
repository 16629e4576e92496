"""The statements that an operator runs by hand: each runs as it stands, is quiet on a sound world, and else speaks."""

import uuid
from typing import Any

import psycopg
import pytest

from content_orchestration.core.sql import sql_folder
from content_orchestration_tests.replication_model import add_content, insert, media_row, new_version
from content_orchestration_tests.tiers import Tiers

FILES = sorted(path.stem for path in (sql_folder() / "validation").glob("*.sql"))
QUIET = {
    "capture_is_off", "large_transactions", "pointers_without_version", "restores_unfinished", "tables_missing",
    "orphans_now", "usage_is_not_true", "version_gaps",
}  # fmt: skip
HASH = "a" * 64
RESTORE = (
    f"INSERT INTO restore_runs (plan_hash, request, plan, as_of_sync_id, target, run_id) "
    f"VALUES ('{HASH}', '{{}}', '{{}}', 1, 'live', 'r')"
)
DRILL = (
    "INSERT INTO restore_drills (scenario, run_id, verified, started_at) "
    "VALUES ('bad_update', 'r', {}, now() - interval '{} day')"
)
RENDER = "11111111-1111-1111-1111-111111111111"
RENDERED = (
    "INSERT INTO render_jobs (id, status, output_url, created_at, updated_at) "
    f"VALUES ('{RENDER}', 'completed', 'renders/a.mp4', now() - interval '2 hours', now() - interval '2 hours')"
)
SAVED = (
    "INSERT INTO user_assets (id, asset_type, metadata, file_size, created_at) "
    f"VALUES (gen_random_uuid(), 'generated_saved', '{{\"render_job_id\": \"{RENDER}\"}}', 5, now())"
)
# What makes each statement say something, and a column of the row that it then gives.
TROUBLE: dict[str, tuple[list[str], str, Any]] = {
    "capture_is_off": (["ALTER TABLE media_assets DISABLE TRIGGER record_delete"], "problem", "switched off"),
    "large_transactions": (["UPDATE content_storage_metadata SET title = 'x'"], "action", "update"),
    "pointers_without_version": (
        ["DELETE FROM content_versions WHERE content_id = (SELECT min(id::text)::uuid FROM content_storage_metadata)"],
        "problem", "no version record",
    ),
    "restores_unfinished": ([RESTORE], "status", "open"),
    "tables_missing": (["DROP TABLE media_assets"], "missing_table", "media_assets"),
    "usage_is_not_true": (["UPDATE content_quota_usage SET used_bytes = 7"], "counted_bytes", 7),
    "version_gaps": (["UPDATE content_storage_metadata SET version = 5 WHERE version = 1"], "points_to", 5),
    "orphans_now": ([RENDERED], "known", "waiting"),
    "saved_assets": ([RENDERED, SAVED, "DELETE FROM render_jobs"], "renders_missing", 1),
    "recent_renders": ([RENDERED], "not_saved", 1),
    "storage_by_type": ([SAVED], "type", "generated_saved"),
    "replication_is_behind": (["UPDATE replication_cursor SET system_identifier = 'other'"], "cluster_matches", False),
    "rows_by_tenant": (["DELETE FROM media_assets"], "media", 0),
    "drills_latest": ([DRILL.format("true", 2), DRILL.format("false", 1)], "verified", False),
}  # fmt: skip


@pytest.fixture
def world(tiers: Tiers) -> Tiers:
    tenant = uuid.uuid4()
    ids = [uuid.uuid4() for _ in range(30)]
    with tiers.database.connection() as connection:
        connection.execute("INSERT INTO tenants (id, name, slug, created_at) VALUES (%s, 'T', 't', now())", [tenant])
        add_content(connection, tiers.store, ids)
        new_version(connection, tiers.store, ids[0])
        connection.execute("UPDATE content_versions SET tenant_id = %s WHERE version = 2", [tenant])
        insert(connection, "media_assets", media_row(uuid.uuid4(), tenant_id=tenant))
        connection.execute(
            "INSERT INTO content_quota_usage (tenant_id, plan_tier, media_files) VALUES (%s, 'free', 1)", [tenant]
        )
        connection.execute(
            "INSERT INTO replication_cursor (system_identifier, next_xid, last_sync_id) "
            "SELECT system_identifier::text, '0', 1 FROM pg_control_system()"
        )
    return tiers


def answer(tiers: Tiers, name: str) -> list[dict[str, Any]]:
    """As psql sends it: the whole file as one simple query, no values."""
    text = (sql_folder() / "validation" / f"{name}.sql").read_text(encoding="utf-8")
    with psycopg.connect(tiers.database_url, row_factory=psycopg.rows.dict_row) as connection:
        return connection.execute(text).fetchall()  # type: ignore[arg-type]


def test_every_file_says_what_good_looks_like_and_is_tried_here() -> None:
    assert sorted(TROUBLE) == FILES
    for name in FILES:
        text = (sql_folder() / "validation" / f"{name}.sql").read_text(encoding="utf-8")
        assert text.startswith("-- Good is "), name
        assert "%(" not in text, f"{name} binds a value: psql cannot"
        assert ":'" not in text, f"{name} names a psql variable"


@pytest.mark.parametrize("name", FILES)
def test_it_runs_is_quiet_while_all_is_well_and_speaks_when_it_is_not(world: Tiers, name: str) -> None:
    statements, column, expected = TROUBLE[name]
    sound = answer(world, name)
    if name in QUIET:
        assert sound == []
    assert expected not in [row[column] for row in sound]
    with psycopg.connect(world.database_url, autocommit=True) as connection:
        for each in statements:
            connection.execute(each)  # type: ignore[arg-type]
    assert expected in [row[column] for row in answer(world, name)]
