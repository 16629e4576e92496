"""PostgreSQL's side of a comparison as this process prints and hashes it: to the byte what PostgreSQL does itself."""

import os
import random
import secrets
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest

from content_orchestration.core.errors import Permanent
from content_orchestration.core.integrity import local_rows as module
from content_orchestration.core.integrity.local_rows import local_rows
from content_orchestration.core.integrity.warehouse_rows import compare_rows
from content_orchestration.core.replication import assemble
from content_orchestration.core.replication.snapshot_files import SOURCES
from content_orchestration.core.replication.tables import CONTENT_MEDIA, ENTITIES, Entity
from content_orchestration.core.sql import statement
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.fake_warehouse import FakeWarehouse
from content_orchestration_tests.integration.test_replication_snapshot import write_dirty
from content_orchestration_tests.replication_fakes import FakeWorld, sync
from content_orchestration_tests.replication_model import TENANT, insert, media_row

ALL = [f"{number:x}" for number in range(16)]


@pytest.fixture
def world(database_url: str) -> Iterator[FakeWorld]:
    with PostgresClient(database_url) as database:
        yield FakeWorld(database)


def here(
    world: FakeWorld, entity: Entity, tenant: UUID | None = None, in_flight: list[str] | None = None
) -> tuple[dict[str, tuple[str, str]], dict[str, tuple[str, str]]]:
    """Rows by id as this process hashes them, and as PostgreSQL does, in one snapshot."""
    with local_rows() as rows, world.database.connection() as connection:
        for name in ("repeatable_read", "pin_settings"):
            connection.execute(statement(f"replication/{name}"))
        buckets = rows.read(connection, entity, tenant, in_flight or [], 3)
        with world.database.connection() as other:
            other.execute(f"DELETE FROM {SOURCES[entity.name]}")  # type: ignore[arg-type]
        printed = connection.execute(
            "SELECT id::text, tenant_id::text, "
            "encode(sha256(convert_to(row_to_json(t)::text, 'UTF8')), 'hex') AS sha256 "
            f"FROM {SOURCES[entity.name]} t"  # type: ignore[arg-type]
        ).fetchall()
        opened = rows.opened(ALL, 1)
        assert sum(bucket.rows for bucket in buckets.values()) == len(opened)
        assert rows.divided(ALL, 1, 3) == buckets
        assert set(rows.samples.items()) <= set(opened.items())
        assert bool(rows.samples) == bool(opened)
        return opened, {row["id"]: (row["tenant_id"], row["sha256"]) for row in printed}


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.name)
def test_dirty_rows_have_the_hash_that_postgresql_gives_them(world: FakeWorld, entity: Entity) -> None:
    seed = int(os.environ.get("SNAPSHOT_SEED") or secrets.randbits(32))
    print(f"\nSNAPSHOT_SEED={seed}")  # noqa: T201  (to run it again)
    write_dirty(world, random.Random(seed))
    ours, theirs = here(world, entity)
    assert len(ours) > 50
    assert ours == theirs


def test_tenants_and_ids_in_flight(world: FakeWorld) -> None:
    mine, moving, theirs = uuid4(), uuid4(), uuid4()
    with world.database.connection() as connection:
        for each, tenant in ((mine, TENANT), (moving, TENANT), (theirs, UUID(int=5))):
            insert(connection, "media_assets", media_row(each, tenant_id=tenant))
    ours, printed = here(world, CONTENT_MEDIA, TENANT, [str(moving), str(uuid4())])
    assert ours == {str(mine): printed[str(mine)]}
    assert here(world, CONTENT_MEDIA) == ({}, {})


def test_a_printer_with_a_mistake_is_no_measure(world: FakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would agree with a history that it wrote itself: PostgreSQL prints some rows too."""
    with world.database.connection() as connection:
        insert(connection, "media_assets", media_row(uuid4(), url='a "quoted" word'))
    sync(world)
    monkeypatch.setattr(assemble, "json_escaped", lambda column: column)
    monkeypatch.setattr(module, "_MOST_SAMPLES", 1)

    class Empty(FakeWarehouse):
        def query(self, sql: str, *_: object, **__: object) -> Iterator[dict[str, object]]:  # type: ignore[override]
            return iter(())

        def estimate(self, *_: object, **__: object) -> int:
            return 0

    with pytest.raises(Permanent, match="is printed otherwise by PostgreSQL than by this program"):
        compare_rows(world.database, Empty(), CONTENT_MEDIA, max_bytes=10**9)  # type: ignore[arg-type]
