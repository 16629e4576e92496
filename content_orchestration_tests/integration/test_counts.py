"""The comparison after a sync, against both real sides: differences show, and what is in flight does not."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from content_orchestration.core.errors import Transient
from content_orchestration.core.identity import document_id, sha256_hex
from content_orchestration.core.integrity import counts
from content_orchestration.core.integrity.counts import CountComparison, compare_counts
from content_orchestration.core.replication.engine import Replicator
from content_orchestration.core.replication.payload import single_row
from content_orchestration.core.replication.tables import CONTENT_MEDIA, CONTENT_STORAGE, CONTENT_VERSIONS, Entity
from content_orchestration_tests.tiers import Tiers

TENANT = uuid4()


class Content:
    """Items with their body, version and file in all the places that replication reads."""

    def __init__(self, tiers: Tiers) -> None:
        self.tiers = tiers

    def add(self, number: int, *, with_body: bool = True) -> list[UUID]:
        ids = [uuid4() for _ in range(number)]
        documents = [
            {"id": document_id(each, 1), "content_id": str(each), "tenant_id": str(TENANT), "body": f"body of {each}",
             "body_sha256": sha256_hex(f"body of {each}")}
            for each in ids
        ]  # fmt: skip
        if with_body:
            self.tiers.store.put_many("content_items", documents)
        with self.tiers.database.connection() as connection, connection.cursor() as cursor:
            for document in documents:
                values = {**document, "tenant": TENANT, "other": uuid4()}
                cursor.execute(
                    "INSERT INTO content_storage_metadata (id, tenant_id, title, content_type, status, zerodb_row_id, "
                    "body_sha256, storage_size_bytes) "
                    "VALUES (%(content_id)s, %(tenant)s, 't', 'post', 'draft', %(id)s, %(body_sha256)s, 44)",
                    values,
                )
                cursor.execute(
                    "INSERT INTO content_versions (id, content_id, tenant_id, version, zerodb_row_id, body_sha256, "
                    "storage_size_bytes, changed_by, change_reason) VALUES (%(other)s, %(content_id)s, %(tenant)s, 1, "
                    "%(id)s, %(body_sha256)s, 44, 'us', 'why')",
                    values,
                )
                cursor.execute(
                    "INSERT INTO media_assets (id, tenant_id, kind, url, zerodb_row_id) "
                    "VALUES (%(other)s, %(tenant)s, 'image', 'u', 'd')",
                    values,
                )
        return ids

    def execute(self, query: str, values: Any = None) -> None:
        with self.tiers.database.connection() as connection:
            connection.execute(query, values)  # type: ignore[arg-type]

    def sync(self) -> None:
        tiers = self.tiers
        Replicator(tiers.database, tiers.store, tiers.warehouse, batch_size=1000, max_bytes=10**7, run_id="run").sync()

    def compare(self, entity: Entity = CONTENT_STORAGE) -> CountComparison:
        return compare_counts(self.tiers.database, self.tiers.warehouse, entity)


@pytest.fixture
def content(tiers: Tiers) -> Iterator[Content]:
    return Content(tiers)


def numbers(found: CountComparison) -> tuple[int, int, int, int]:
    return found.postgres_rows, found.bigquery_rows, found.bodies_missing, found.in_flight


def test_both_sides_agree_after_a_sync_and_what_changed_since_is_left_out(content: Content) -> None:
    kept = content.add(4)
    content.sync()
    for entity in (CONTENT_STORAGE, CONTENT_VERSIONS, CONTENT_MEDIA):
        found = content.compare(entity)
        assert numbers(found) == (4, 4, 0, 0)
        assert found.agrees
        assert found.as_metadata()["outcome"] == "agree"

    content.add(3)
    content.execute("UPDATE content_storage_metadata SET title = 'new' WHERE id = %s", [kept[0]])
    content.execute("DELETE FROM content_storage_metadata WHERE id = %s", [kept[1]])
    found = content.compare()
    assert numbers(found) == (2, 2, 0, 5)
    assert found.agrees
    content.sync()
    assert numbers(content.compare()) == (6, 6, 0, 0)


def test_rows_that_nobody_synced_are_a_difference(content: Content) -> None:
    assert content.compare().agrees
    content.add(2)
    found = content.compare()
    assert numbers(found) == (2, 0, 0, 0)
    assert not found.agrees


@pytest.mark.parametrize("entity", [CONTENT_STORAGE, CONTENT_VERSIONS, CONTENT_MEDIA])
def test_a_row_that_went_past_the_triggers_is_found(content: Content, entity: Entity) -> None:
    content.add(3)
    content.sync()
    table = {"content_storage": "content_storage_metadata", "content_media": "media_assets"}.get(
        entity.name, entity.name
    )
    with content.tiers.database.connection() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(f"DELETE FROM {table} WHERE id = (SELECT id FROM {table} LIMIT 1)")  # type: ignore[arg-type]
    found = content.compare(entity)
    assert numbers(found) == (2, 3, 0, 0)
    assert not found.agrees
    assert found.as_metadata()["outcome"] == "different"
    assert f"{found.postgres_rows}" in found.summary
    assert f"{found.bigquery_rows}" in found.summary


def test_a_row_that_bigquery_lost_is_found(content: Content) -> None:
    content.add(3)
    content.sync()
    content.execute("DELETE FROM content_changes")
    with content.tiers.database.connection() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(
            "INSERT INTO media_assets (id, tenant_id, kind, url, zerodb_row_id) VALUES (%s, %s, 'image', 'u', 'd')",
            [uuid4(), TENANT],
        )
    found = content.compare(CONTENT_MEDIA)
    assert numbers(found) == (4, 3, 0, 0)
    assert not found.agrees


def extra(op: str, entity_id: UUID, sync_id: int) -> dict[str, Any]:
    return {
        "sync_id": sync_id, "sync_part": 0, "synced_at": datetime.now(UTC), "op": op, "entity_id": str(entity_id),
        "tenant_id": str(TENANT), "row_json": "{}", "row_sha256": sha256_hex("{}"), "body": "b",
        "body_sha256": sha256_hex("b"),
    }  # fmt: skip


def test_a_row_that_only_bigquery_has_is_found(content: Content) -> None:
    content.add(2)
    content.sync()
    load = content.tiers.warehouse.load_parquet
    load("content_storage_dr", single_row(CONTENT_STORAGE.table, extra("upsert", uuid4(), 1)), f"job-{uuid4()}")
    assert numbers(content.compare()) == (2, 3, 0, 0)


def test_a_tombstone_and_a_second_copy_do_not_count(content: Content) -> None:
    (kept, gone) = content.add(2)
    content.sync()
    load = content.tiers.warehouse.load_parquet
    load("content_storage_dr", single_row(CONTENT_STORAGE.table, extra("upsert", kept, 1)), f"job-{uuid4()}")
    assert numbers(content.compare()) == (2, 2, 0, 0)
    load("content_storage_dr", single_row(CONTENT_STORAGE.table, extra("delete", gone, 2**62)), f"job-{uuid4()}")
    assert numbers(content.compare()) == (2, 1, 0, 0)


def test_a_withheld_body_is_found(content: Content) -> None:
    content.add(2)
    content.add(1, with_body=False)
    content.sync()
    found = content.compare()
    assert numbers(found) == (3, 3, 1, 0)
    assert not found.agrees
    assert content.compare(CONTENT_MEDIA).agrees


def test_too_many_changes_since_the_sync_are_no_answer(content: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    content.sync()
    monkeypatch.setattr(counts, "_MOST_IN_FLIGHT", 3)
    content.add(3)
    assert numbers(content.compare()) == (0, 0, 0, 3)
    content.add(1)
    with pytest.raises(Transient, match=r"more than 3 ids of content_storage_dr changed .*: sync, then check"):
        content.compare()
