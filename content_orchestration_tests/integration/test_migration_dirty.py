"""Every dirty kind of legacy row through the real tiers: all of it migrates or is quarantined, and none of it is lost.

Kills, faults and concurrent runs are in `test_migration_faults.py`.
"""

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import psycopg
import pytest

from content_orchestration.core.identity import content_id, document_id
from content_orchestration.core.migration.engine import legacy_rows, migrate
from content_orchestration.core.migration.legacy import CAMPAIGN_ASSETS, CONTENT_ITEMS, LegacyTable
from content_orchestration.core.migration.report import MigrationReport
from content_orchestration.core.migration.truth import unaccounted_rows
from content_orchestration.core.sql import statement
from content_orchestration.settings import Settings
from content_orchestration_tests.dirty_data import BAD_TIMES, MISSING_TENANT, by_source, dirty_rows, insert_dirty_rows
from content_orchestration_tests.dirty_row import BODY, UNCHECKED, DirtyRow, Expectation, asset, item
from content_orchestration_tests.tier_state import (
    WRITTEN,
    document_counts,
    ids_in_postgres,
    postgres_state,
    rows_as_text,
)
from content_orchestration_tests.tiers import Tiers, open_tiers

TABLES = (CAMPAIGN_ASSETS, CONTENT_ITEMS)
NUMBERS = (
    '{"scale": 1.10, "zero": 0.000, "huge": 1e400, "tiny": 1e-400, "big": 18446744073709551617,'
    ' "minus": -170141183460469231731687303715884105728.50, "in": {"a": [1.0, 2.50, 1e30]}}'
)
# Longer than the 4,300 digits at which Python refuses to read a number.
ENDLESS = '{"digits": 1e20000, "media": [{"url": "https://files.example/endless.jpg", "size_bytes": 3}]}'
TAKEN = '{"legacy_status": "mine", "legacy_content_type": 2.50, "other": 1}'


def _rows() -> Iterator[DirtyRow]:
    """Every dirty kind and ours. An asset without a name that has a headline goes by its headline."""
    for row in (*dirty_rows(), *_more_rows()):
        named = row.kind in ("asset_name_null", "asset_name_blank")
        yield replace(row, expect=replace(row.expect, title="A headline")) if named else row


def _more_rows() -> Iterator[DirtyRow]:
    """Kinds that only the migration's own tests need: exact numbers, and ids at both ends of the range."""
    yield item("exact_numbers", Expectation(body=BODY, metadata_json=NUMBERS), content_metadata=NUMBERS)
    yield item("endless_number", Expectation(body=BODY, media_files=1), content_metadata=ENDLESS)
    taken = Expectation(status="draft", metadata={"legacy_status": "lost", "legacy_metadata": json.loads(TAKEN)})
    yield item("metadata_key_taken", taken, status="lost", content_metadata=TAKEN)
    sizeless = '{"media": [{"url": "https://files.example/sizeless.jpg", "size_bytes": null}]}'
    yield item("media_size_null", Expectation(media_files=1, malformed_media=0), content_metadata=sizeless)
    for kind, key in {"lowest": UUID(int=0), "highest": UUID(int=2**128 - 1)}.items():
        yield item(f"id_{kind}", id=key)
        yield asset(f"id_{kind}", id=key)
    whole = {
        "file_url": "https://f/1",
        "public_url": "https://p/1",
        "external_asset_id": "e-1",
        "mime_type": "video/mp4",
    }
    yield asset("file_whole", Expectation(media_files=1), file_size_bytes=7, **whole)
    yield asset("deleted_forever", deleted_at="infinity")
    # PostgreSQL stores this in some 12 KB; it takes a million in memory.
    yield item("metadata_compressible", content_metadata=json.dumps({"filler": "a" * 1_000_000}))
    yield asset("asset_name_large", asset_name="n" * 1_000_000, headline_text=None)


@dataclass(frozen=True)
class Migrated:
    """The tiers after one run over every dirty row, and what was there before it."""

    tiers: Tiers
    rows: dict[str, DirtyRow]
    originals: dict[str, str]
    before: dict[str, dict[str, str]]
    reports: dict[str, MigrationReport]
    items: dict[str, dict[str, Any]]
    quarantine: dict[str, dict[str, Any]]

    def select(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with self.tiers.database.connection() as connection:
            return connection.execute(query, values).fetchall()

    def expected(self, outcome: str, table: str | None = None) -> list[DirtyRow]:
        return [r for r in self.rows.values() if r.expect.outcome == outcome and table in (None, r.table)]


@pytest.fixture(scope="module")
def migrated(settings: Settings, _server: psycopg.Connection, _migrated_template: str) -> Iterator[Migrated]:
    name = f"test_{uuid.uuid4().hex}"
    _server.execute(f"CREATE DATABASE {name} TEMPLATE {_migrated_template}")
    url = f"postgresql://postgres@127.0.0.1:{settings.local_postgres_port}/{name}"
    try:
        with open_tiers(settings, url, f"test-{uuid.uuid4().hex}", name) as tiers:
            yield _migrated(tiers)
    finally:
        _server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _migrated(tiers: Tiers) -> Migrated:
    with tiers.database.connection() as connection:
        rows = insert_dirty_rows(connection, _rows())
    with tiers.database.connection() as connection:
        before = {
            "campaign_assets": rows_as_text(connection, "campaign_assets"),
            "content_items": rows_as_text(connection, "content_items", without=WRITTEN),
            "tenants": rows_as_text(connection, "tenants"),
        }
        originals = {
            row["source"]: row["original"]
            for table in TABLES
            for row in connection.execute(
                f"SELECT '{table.name}:' || id AS source, row_to_json(l)::text AS original FROM {table.name} l"
            )
        }
    reports = {
        table.name: migrate(table, tiers.database, tiers.store, batch_size=40, dry_run=False) for table in TABLES
    }
    with tiers.database.connection() as connection:
        items = connection.execute(
            "SELECT id, source, title, content_type, status, zerodb_row_id, body_sha256, storage_size_bytes, version,"
            " tenant_id, brand_id, user_id, campaign_space_id, created_at::text AS created,"
            " updated_at::text AS updated, deleted_at::text AS deleted, metadata::text AS metadata"
            " FROM content_storage_metadata"
        ).fetchall()
        quarantine = connection.execute("SELECT * FROM migration_quarantine").fetchall()
    return Migrated(
        tiers,
        by_source(rows),
        originals,
        before,
        reports,
        {row["source"]: row for row in items},
        {row["source"]: row for row in quarantine},
    )


def test_every_row_ends_as_it_is_expected_to(migrated: Migrated) -> None:
    assert migrated.items.keys() == {row.source for row in migrated.expected("migrated")}
    reasons = {source: row["reason"] for source, row in migrated.quarantine.items()}
    assert reasons == {row.source: row.expect.reason for row in migrated.expected("quarantined")}
    assert len(migrated.items) + len(reasons) == len(migrated.rows) == len(migrated.originals)


def test_the_reports_account_for_every_row(migrated: Migrated) -> None:
    for table in TABLES:
        report = migrated.reports[table.name]
        good, bad = migrated.expected("migrated", table.name), migrated.expected("quarantined", table.name)
        assert (report.read, report.migrated, report.already_there, report.quarantined) == (
            legacy_rows(migrated.tiers.database, table),
            len(good),
            0,
            len(bad),
        )
        assert report.adds_up
        assert report.reasons == Counter(row.expect.reason for row in bad)
        assert report.notes["malformed_media"] == sum(row.expect.malformed_media or 0 for row in good)
        assert report.notes["untitled"] == sum(row.expect.title == "Untitled" for row in good)
        assert report.body_bytes == sum(migrated.items[row.source]["storage_size_bytes"] for row in good)
        assert all(len(samples) <= 20 for samples in report.samples.values())
        assert set().union(*report.samples.values()) <= migrated.rows.keys()
        json.dumps(report.as_metadata(), allow_nan=False)
        truth = unaccounted_rows(migrated.tiers.database, table)
        assert (truth.legacy, truth.items, truth.quarantined, truth.unaccounted) == (
            report.read,
            len(good),
            len(bad),
            0,
        )
        assert truth.reasons == ", ".join(sorted(report.reasons))


def test_quarantined_rows_are_kept_whole(migrated: Migrated) -> None:
    for source, row in migrated.quarantine.items():
        assert row["original_row"] == migrated.originals[source], source
        assert row["detail"]
        assert row["resolved_at"] is None


def test_columns_are_as_expected(migrated: Migrated) -> None:
    for row in migrated.expected("migrated"):
        found, expect = migrated.items[row.source], row.expect
        assert found["id"] == content_id(row.source)
        assert (found["zerodb_row_id"], found["version"]) == (document_id(found["id"], 1), 1)
        for column, wanted in {
            "title": expect.title,
            "content_type": expect.content_type,
            "status": expect.status,
            "created": expect.created_at,
        }.items():
            assert wanted in (UNCHECKED, found[column]), (row.kind, column)
        for column in ("tenant_id", "brand_id", "user_id"):
            assert found[column] == row.values[column], (row.kind, column)
        assert found["campaign_space_id"] == row.values.get("campaign_space_id")
        assert found["deleted"] == row.values.get("deleted_at")
        metadata = json.loads(found["metadata"], parse_int=str)
        wanted_metadata = json.loads(json.dumps(expect.metadata), parse_int=str)
        assert {key: metadata.get(key) for key in wanted_metadata} == wanted_metadata, row.kind


def test_times_that_cannot_be_kept_are_in_the_metadata(migrated: Migrated) -> None:
    repaired = Counter[str]()
    for row in migrated.expected("migrated"):
        metadata = json.loads(migrated.items[row.source]["metadata"], parse_int=str)
        for column in ("created_at", "updated_at"):
            text = row.values[column]
            bad = text in BAD_TIMES.values() and text is not None
            assert metadata.get(f"legacy_{column}") == (text if bad else None), (row.kind, column)
        created, updated = row.values["created_at"], row.values["updated_at"]
        if created is None or "legacy_created_at" in metadata or "legacy_updated_at" in metadata:
            repaired[row.table] += 1
        else:
            assert migrated.items[row.source]["updated"] == (updated or created), row.kind
    assert repaired == {name: report.notes["repaired_timestamp"] for name, report in migrated.reports.items()}
    assert min(repaired.values()) > 0


def test_metadata_survives_to_the_last_digit(migrated: Migrated) -> None:
    """Compared as text: jsonb's `=` takes 1.1 for 1.10."""
    differing = migrated.select(
        "SELECT m.source FROM content_storage_metadata m JOIN content_items l ON m.source = 'content_items:' || l.id"
        " WHERE jsonb_typeof(l.content_metadata) = 'object' AND NOT m.metadata ? 'legacy_metadata' AND"
        " (m.metadata - %s::text[] || CASE WHEN l.content_metadata ? 'legacy_status' THEN"
        "  jsonb_build_object('legacy_status', m.metadata -> 'legacy_status') ELSE '{}' END)::text"
        " <> l.content_metadata::text",
        ["legacy_created_at", "legacy_updated_at", "legacy_status", "legacy_content_type"],
    )
    assert differing == []
    wrapped = migrated.select(
        "SELECT m.source FROM content_storage_metadata m JOIN content_items l ON m.source = 'content_items:' || l.id"
        " WHERE m.metadata ? 'legacy_metadata' AND (m.metadata -> 'legacy_metadata')::text = l.content_metadata::text"
    )
    kinds = {migrated.rows[row["source"]].kind for row in wrapped}
    assert kinds == {"metadata_key_taken"} | {
        f"metadata_{kind}" for kind in ("array", "text", "number", "true", "null", "empty_array")
    }
    for row in migrated.expected("migrated"):
        if row.expect.metadata_json:
            (found,) = migrated.select(
                "SELECT metadata @> %s::jsonb AS all FROM content_storage_metadata WHERE source = %s",
                row.expect.metadata_json,
                row.source,
            )
            assert found["all"], row.kind
    exact = migrated.items[item("exact_numbers").source]["metadata"]
    for text in ('"scale": 1.10}', '"zero": 0.000', '"huge": 1' + "0" * 400 + ",", "[1.0, 2.50, 1", "884105728.50"):
        assert text in exact
    assert "1" + "0" * 20_000 in migrated.items[item("endless_number").source]["metadata"]


def test_bodies_are_the_same_bytes_in_zerodb(migrated: Migrated) -> None:
    documents = migrated.tiers.store.get_many(
        "content_items", [row["zerodb_row_id"] for row in migrated.items.values()], chunk=20
    )
    assert len(documents) == len(migrated.items)
    for row in migrated.expected("migrated"):
        found = migrated.items[row.source]
        document = documents[found["zerodb_row_id"]]
        if row.table == "content_items":
            assert document["body"] == (row.values["content_body"] or ""), row.kind
        assert row.expect.body in (UNCHECKED, document["body"]), row.kind
        raw = document["body"].encode()
        digest = hashlib.sha256(raw).hexdigest()
        assert (digest, len(raw)) == (found["body_sha256"], found["storage_size_bytes"]), row.kind
        assert document == {
            "id": found["zerodb_row_id"],
            "content_id": str(found["id"]),
            "tenant_id": str(found["tenant_id"]),
            "version": 1,
            "content_type": found["content_type"],
            "title": found["title"],
            "preview": document["body"][:200],
            "body": document["body"],
            "body_sha256": digest,
            "size_bytes": len(raw),
        }


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_rows_are_counted_by_what_they_take_in_memory(migrated: Migrated, table: LegacyTable) -> None:
    with migrated.tiers.database.connection() as connection:
        keys = connection.execute(statement(table.batch_sql), {"first": UUID(int=0), "limit": 10_000}).fetchall()
    sizes = {f"{table.name}:{key['id']}": key["bytes"] for key in keys}
    columns = ("content_body", "content_metadata", "asset_name", "headline_text", "ad_copy_text")
    for row in migrated.rows.values():
        if row.table == table.name:
            texts = sum(len((row.values.get(column) or "").encode()) for column in columns)
            assert texts < 10_000 or sizes[row.source] > 0.9 * texts, row.kind
    assert max(sizes.values()) > 10_000_000


def test_postgresql_agrees_on_hashes_and_sizes(migrated: Migrated) -> None:
    differing = migrated.select(
        "SELECT m.source FROM content_items l JOIN content_storage_metadata m ON m.source = 'content_items:' || l.id"
        " WHERE m.body_sha256 <> encode(sha256(convert_to(coalesce(l.content_body, ''), 'UTF8')), 'hex')"
        " OR m.storage_size_bytes <> octet_length(coalesce(l.content_body, ''))"
    )
    assert differing == []


def test_bodies_of_assets(migrated: Migrated) -> None:
    planes = "".join(chr(0x10000 * plane + 0x4E00) for plane in range(17))
    nameless = asset("asset_name_null_no_text").values["id"]
    for kind, body in {
        "deleted": "# A headline",
        "text_null": "Asset of text_null",
        "text_empty": "Asset of text_empty",
        "asset_name_null_no_text": f"Campaign asset {nameless}",
        "text_every_plane": f"# A headline\n\n{planes}",
    }.items():
        found = migrated.items[asset(kind).source]
        assert found["body_sha256"] == hashlib.sha256(body.encode()).hexdigest(), kind


def test_every_unicode_plane_comes_back(migrated: Migrated) -> None:
    rows = {row.kind: row for row in migrated.rows.values() if row.kind.startswith("plane_")}
    assert len(rows) == 17
    for plane in range(17):
        row = rows[f"plane_{plane}"]
        found = migrated.items[row.source]
        (document,) = migrated.tiers.store.get_many("content_items", [found["zerodb_row_id"]]).values()
        assert document["body"] == row.values["content_body"]
        assert document["title"] == found["title"] == row.values["title"]
        assert {ord(character) // 0x10000 for character in document["body"]} == {plane}


def test_zerodb_holds_what_the_rows_name_once_and_nothing_else(migrated: Migrated) -> None:
    assert document_counts(migrated.tiers) == ids_in_postgres(migrated.tiers)
    counts = {name: sum(ids.values()) for name, ids in document_counts(migrated.tiers).items()}
    assert counts == migrated.tiers.store.collections()
    assert counts["content_items"] == counts["content_versions"] == len(migrated.items)


def test_versions_say_where_each_item_came_from(migrated: Migrated) -> None:
    records = migrated.select(
        "SELECT id, content_id, tenant_id, version, zerodb_row_id, body_sha256, storage_size_bytes, changed_by,"
        " change_reason, created_at::text AS created FROM content_versions"
    )
    assert len(records) == len(migrated.items)
    documents = {document["id"]: document for document in migrated.tiers.store.scan("content_versions")}
    by_content = {record["content_id"]: record for record in records}
    for source, found in migrated.items.items():
        record, document = by_content[found["id"]], documents[found["zerodb_row_id"]]
        for name in ("zerodb_row_id", "body_sha256", "storage_size_bytes", "version", "tenant_id", "created"):
            assert record[name] == found[name]
        assert record["id"] == content_id(f"{source}:version:1")
        assert document["content_id"] == str(found["id"])
        assert document["tenant_id"] == str(found["tenant_id"])
        assert document["body_sha256"] == found["body_sha256"]
        assert record["change_reason"] == document["change_reason"] == f"migrated from {source}"
        assert record["changed_by"] == document["changed_by"] == "migration"


def test_files_are_rows_and_documents_with_their_recorded_size(migrated: Migrated) -> None:
    rows = migrated.select("SELECT *, deleted_at::text AS deleted FROM media_assets")
    documents = {document["id"]: document for document in migrated.tiers.store.scan("content_media_files")}
    assert documents.keys() == {str(row["id"]) for row in rows}
    for row in rows:
        document = documents[row["zerodb_row_id"]]
        for name in ("kind", "url", "public_url", "external_id", "mime_type", "size_bytes"):
            assert document[name] == row[name]
        assert (document["content_id"], document["tenant_id"]) == (str(row["content_id"]), str(row["tenant_id"]))
        assert row["status"] == "referenced"
        assert row["source"].split(":media:")[1] == str(row["metadata"]["position"])
    files = Counter(row["content_id"] for row in rows)
    for dirty in migrated.expected("migrated"):
        wanted = dirty.expect.media_files
        assert wanted in (None, files[content_id(dirty.source)]), dirty.kind
    (whole,) = (row for row in rows if row["content_id"] == content_id(asset("file_whole").source))
    assert (whole["url"], whole["public_url"], whole["external_id"]) == ("https://f/1", "https://p/1", "e-1")
    assert (whole["kind"], whole["mime_type"], whole["size_bytes"]) == ("video", "video/mp4", 7)
    sizes = {row["source"]: row["size_bytes"] for row in rows}
    assert sizes[f"{asset('asset_media_size_largest').source}:media:0"] == 2**63 - 1
    assert sizes[f"{item('media_size_null').source}:media:0"] == 0
    reported = sum(report.media_files for report in migrated.reports.values())
    assert (reported, sum(r.media_bytes for r in migrated.reports.values())) == (len(rows), sum(sizes.values()))


def test_legacy_rows_say_where_their_body_is_and_are_otherwise_untouched(migrated: Migrated) -> None:
    for table, found in postgres_state(migrated.tiers, "campaign_assets", "tenants").items():
        assert found == migrated.before[table]
    marked = migrated.select(f"SELECT 'content_items:' || id AS source, {', '.join(WRITTEN)} FROM content_items")
    for row in marked:
        found = migrated.items.get(row["source"])
        if found is None:
            assert not any(row[column] for column in WRITTEN), row["source"]
        else:
            assert (row["zerodb_id"], row["storage_size_bytes"]) == (
                found["zerodb_row_id"],
                found["storage_size_bytes"],
            )
            assert row["migrated_at"] is not None
    with migrated.tiers.database.connection() as connection:
        after = rows_as_text(connection, "content_items", without=WRITTEN)
    assert sorted(after.values()) == sorted(migrated.before["content_items"].values())
    # Quarantined rows were not even written to.
    untouched = after.items() & migrated.before["content_items"].items()
    assert len(untouched) == len(migrated.expected("quarantined", "content_items"))


def test_a_row_whose_tenant_comes_later_migrates_with_the_next_run(tiers: Tiers) -> None:
    kinds = ("tenant_", "title_null", "metadata_deep_40")
    with tiers.database.connection() as connection:
        rows = insert_dirty_rows(
            connection, [row for row in dirty_rows(large_bodies=False) if row.kind.startswith(kinds)]
        )
    waiting = {row.source for row in rows if row.values["tenant_id"] == MISSING_TENANT}
    bad = {row.source for row in rows if row.expect.outcome == "quarantined"}
    assert len(waiting) == 3
    for table in TABLES:
        migrate(table, tiers.database, tiers.store, batch_size=3, dry_run=False)
    first = _quarantine(tiers)
    assert first.keys() == bad
    with tiers.database.connection() as connection:
        connection.execute(
            "INSERT INTO tenants (id, name, slug) VALUES (%s, 'Came later', 'came-later')", [MISSING_TENANT]
        )
        connection.execute(
            "UPDATE migration_quarantine SET first_seen = first_seen - interval '1 day',"
            " last_seen = last_seen - interval '1 day'"
        )
    reports = [migrate(table, tiers.database, tiers.store, batch_size=3, dry_run=False) for table in TABLES]
    assert sum(report.migrated for report in reports) == 3
    assert sum(report.quarantined for report in reports) == len(bad) - 3
    assert sum(report.already_there for report in reports) == len(rows) - len(bad)
    assert all(report.adds_up for report in reports)
    second = _quarantine(tiers)
    assert {source for source, row in second.items() if row["resolved_at"] is not None} == waiting
    for source, row in second.items():
        assert row["original_row"] == first[source]["original_row"]
        assert row["first_seen"] < first[source]["first_seen"]
        assert (row["last_seen"] > first[source]["last_seen"]) == (source not in waiting)
    with tiers.database.connection() as connection:
        found = connection.execute(
            "SELECT source FROM content_storage_metadata WHERE tenant_id = %s", [MISSING_TENANT]
        ).fetchall()
    assert {row["source"] for row in found} == waiting
    assert document_counts(tiers) == ids_in_postgres(tiers)
    assert [unaccounted_rows(tiers.database, table).unaccounted for table in TABLES] == [0, 0]


def _quarantine(tiers: Tiers) -> dict[str, dict[str, Any]]:
    with tiers.database.connection() as connection:
        return {row["source"]: row for row in connection.execute("SELECT * FROM migration_quarantine")}


def test_a_row_that_is_bad_again_for_another_reason_opens_its_quarantine_again(tiers: Tiers) -> None:
    row = item("twice_bad", tenant_id=MISSING_TENANT)
    with tiers.database.connection() as connection:
        insert_dirty_rows(connection, [row])
    migrate(CONTENT_ITEMS, tiers.database, tiers.store, batch_size=10, dry_run=False)
    with tiers.database.connection() as connection:
        connection.execute("UPDATE migration_quarantine SET resolved_at = now()")
        connection.execute("INSERT INTO tenants (id, name, slug) VALUES (%s, 'New', 'new')", [MISSING_TENANT])
        connection.execute("UPDATE content_items SET content_body = repeat('x', 10485761)")
    report = migrate(CONTENT_ITEMS, tiers.database, tiers.store, batch_size=10, dry_run=False)
    assert report.reasons == {"body_too_large": 1}
    (kept,) = _quarantine(tiers).values()
    assert (kept["reason"], kept["resolved_at"]) == ("body_too_large", None)
    assert json.loads(kept["original_row"])["content_body"] == "x" * 10_485_761
