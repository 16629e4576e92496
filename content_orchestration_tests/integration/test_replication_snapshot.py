"""The fast path of a snapshot: to the byte what PostgreSQL prints, column for column what the windows write."""

import os
import random
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pyarrow.parquet as pq
import pytest
from adbc_driver_manager import Error

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.replication import snapshot_files, snapshot_stream
from content_orchestration.core.replication.backfill import Snapshotter
from content_orchestration.core.replication.payload import ParquetFile
from content_orchestration.core.replication.snapshot_stream import Snapshot, exported_snapshot, tenant_rows
from content_orchestration.core.replication.tables import CONTENT_MEDIA, CONTENT_STORAGE, ENTITIES, Entity
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.fake_warehouse import FakeWarehouse
from content_orchestration_tests.integration.test_replication_roundtrip import TEXTS, TIMES, document, generated, maybe
from content_orchestration_tests.replication_fakes import FakeWorld, sync
from content_orchestration_tests.replication_model import (
    TENANT,
    content_row,
    expected,
    insert,
    media_row,
    put_bodies,
    sha256,
    version_row,
)

PLANES = [
    "".join(chr(0x10000 * plane + point) for point in (0x41, 0xA9, 0x4E00, 0xD7FF, 0xE000, 0xFFFE, 0xFFFF))
    for plane in range(17)
]
DIRTY = [
    *TEXTS,
    *PLANES,
    *map(chr, range(1, 0x21)),
    "".join(map(chr, range(1, 0x100))),
    *('"', "\\", '\\"', '"\\', "\\\\u0000", "\\n\n", "/</script>", "'", "\x7f", "{}", '{"a":1}', "null", "+00", " +00"),
]
PER_SYNC = ("sync_id", "sync_part", "synced_at")


@pytest.fixture
def world(database_url: str) -> Iterator[FakeWorld]:
    with PostgresClient(database_url) as database:
        yield FakeWorld(database)


@pytest.fixture(autouse=True)
def _nothing_runs_on() -> Iterator[None]:
    yield
    assert [thread for thread in threading.enumerate() if thread.name == "ahead"] == []


def snapshotter(world: FakeWorld, max_bytes: int = 10**8) -> Snapshotter:
    return Snapshotter(world.database, world.store, world.warehouse, max_bytes=max_bytes, run_id="test")


def snapshot_only(world: FakeWorld, *tenants: UUID, max_bytes: int = 10**8) -> FakeWorld:
    """The same PostgreSQL beside a warehouse that holds the snapshot of the tenants and nothing else."""
    alone = FakeWorld(world.database, world.store, FakeWarehouse())
    list(snapshotter(alone, max_bytes).backfill([str(each) for each in tenants or (TENANT,)]))
    return alone


def loaded(world: FakeWorld, table: str) -> dict[str, dict[str, Any]]:
    """What a history table holds, by id, without what tells one sync from another."""
    rows = [{k: v for k, v in row.items() if k not in PER_SYNC} for row in world.warehouse.tables[table]]
    by_id = {row["entity_id"]: row for row in rows}
    assert len(by_id) == len(rows), "a row is there twice"
    return by_id


def assert_same_as_windows(world: FakeWorld, *tenants: UUID, max_bytes: int = 10**8) -> FakeWorld:
    """Windows and a snapshot write the same, and both write what PostgreSQL prints."""
    sync(world)
    alone = snapshot_only(world, *tenants, max_bytes=max_bytes)
    printed = expected(world)
    for entity, source in zip(ENTITIES, ("content_versions", "media_assets", "content_storage_metadata"), strict=True):
        wanted, found = loaded(world, entity.table.name), loaded(alone, entity.table.name)
        assert found.keys() == wanted.keys()
        for key, row in wanted.items():
            assert found[key] == row
            assert found[key]["row_json"] == printed[source][key].row_json
            assert found[key]["row_sha256"] == printed[source][key].row_sha256
    return alone


def write_dirty(world: FakeWorld, chance: random.Random) -> None:
    """Every dirty text in every text column that takes it, every odd time, NULL wherever it is allowed."""
    with world.database.connection() as connection:
        for number, text in enumerate(DIRTY):
            row, body = generated(chance, number)
            row |= {"tenant_id": TENANT, "title": text, "source": maybe(chance, f"{number}:{text[:999]}")}
            put_bodies(world.store, {(row["id"], 1): body})
            insert(connection, "content_storage_metadata", row)
            version = version_row(row["id"], 1, body, changed_by=text, patch=document(chance))
            version |= {"change_reason": chance.choice(DIRTY), "created_at": chance.choice(TIMES)}
            insert(connection, "content_versions", version)
            media = media_row(
                UUID(int=chance.getrandbits(128)), url=text, external_id=maybe(chance, chance.choice(DIRTY)),
                mime_type=maybe(chance, ""), metadata=document(chance), size_bytes=chance.choice([0, 2**63 - 1]),
                sha256=maybe(chance, sha256(str(number))), created_at=TIMES[number % len(TIMES)],
                deleted_at=maybe(chance, chance.choice(TIMES)), content_id=maybe(chance, row["id"]),
            )  # fmt: skip
            insert(connection, "media_assets", media)


@pytest.mark.parametrize("batch_bytes", [1, 4 * 1024 * 1024], ids=["a row a batch", "one batch"])
def test_dirty_rows_are_printed_to_the_byte(
    world: FakeWorld, batch_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_stream, "_BATCH_BYTES", batch_bytes)
    seed = int(os.environ.get("SNAPSHOT_SEED") or secrets.randbits(32))
    print(f"\nSNAPSHOT_SEED={seed}")  # noqa: T201  (to run it again)
    write_dirty(world, random.Random(seed))
    alone = assert_same_as_windows(world)
    assert len(alone.warehouse.tables["content_storage_dr"]) == len(DIRTY)


def test_a_time_alone_and_among_plain_rows(world: FakeWorld) -> None:
    tenants = [UUID(int=number) for number in range(2 * len(TIMES))]
    with world.database.connection() as connection:
        for number, when in enumerate(TIMES):
            alone, among = tenants[2 * number], tenants[2 * number + 1]
            insert(connection, "media_assets", media_row(uuid4(), tenant_id=alone, created_at=when, updated_at=when))
            insert(connection, "media_assets", media_row(uuid4(), tenant_id=among, deleted_at=when))
            insert(
                connection, "media_assets", media_row(uuid4(), tenant_id=among, created_at="2026-01-02 03:04:05.600Z")
            )
    assert_same_as_windows(world, *tenants)


def test_a_column_of_any_type_is_in_the_payload(world: FakeWorld) -> None:
    with world.database.connection() as connection:
        connection.execute(
            """ALTER TABLE media_assets ADD "we""i\\rd ü, 👩🏽‍🔧" text[] DEFAULT '{{a,NULL},{"\\"",""}}',
            ADD plain numeric DEFAULT 'NaN', ADD scaled numeric(12, 4) DEFAULT 1.5,
            ADD ratio float8 DEFAULT '-Infinity', ADD small smallint DEFAULT -1, ADD flag boolean DEFAULT true,
            ADD raw bytea DEFAULT '\\xdeadbeef',
            ADD day date DEFAULT '0044-03-15 BC', ADD local timestamp DEFAULT 'infinity',
            ADD span interval DEFAULT '1 mon', ADD old json DEFAULT '{"b":  1, "b": 2}', ADD fixed char(5) DEFAULT 'ab',
            ADD bounded varchar(9) DEFAULT '"',
            ADD bits bit(3) DEFAULT '101', ADD pair point DEFAULT '(1,2)', ADD many int4range DEFAULT '[1,5)',
            ADD precise timestamptz(0) DEFAULT '2026-01-02 03:04:05.6+09', ADD nothing uuid, ADD tags jsonb"""
        )
        connection.execute("ALTER TABLE media_assets DROP COLUMN public_url")
        insert(connection, "media_assets", media_row(UUID(int=1)))
        insert(connection, "media_assets", media_row(UUID(int=2), tags="[null, 1e400]", flag=None, plain=None))
    assert_same_as_windows(world)


def test_a_snapshot_takes_the_rows_of_its_tenants_only(world: FakeWorld) -> None:
    other, nobody = UUID(int=7), UUID(int=8)
    with world.database.connection() as connection:
        insert(connection, "media_assets", media_row(UUID(int=1)))
        insert(connection, "media_assets", media_row(UUID(int=2), tenant_id=other))
    assert set(loaded(snapshot_only(world), "content_media_dr")) == {str(UUID(int=1))}
    assert loaded(snapshot_only(world, nobody), "content_media_dr") == {}
    assert len(loaded(assert_same_as_windows(world, TENANT, other, nobody), "content_media_dr")) == 2


def test_files_and_groups_hold_every_row_once_with_its_body(world: FakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_stream, "_BATCH_BYTES", 2_000)
    monkeypatch.setattr("content_orchestration.core.replication.extract._BODY_BYTES", 1_000)
    with world.database.connection() as connection:
        for number in range(60):
            body = f"body {number} " * (number % 7 * 20)
            row = content_row(UUID(int=number), 1, body)
            put_bodies(world.store, {(row["id"], 1): body})
            insert(connection, "content_storage_metadata", row)
    alone = assert_same_as_windows(world, max_bytes=3_000)
    parts = [row["sync_part"] for row in alone.warehouse.tables["content_storage_dr"]]
    assert parts == sorted(parts)
    assert set(parts) == set(range(max(parts) + 1))
    assert max(parts) > 5


# --- when it does not go well ----------------------------------------------------------------------------------------


def fill(world: FakeWorld, rows: int) -> None:
    with world.database.connection() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(
            "INSERT INTO media_assets (id, tenant_id, kind, url, zerodb_row_id) "
            "SELECT gen_random_uuid(), %s, 'image', repeat('u', 500), i::text FROM generate_series(1, %s) AS i",
            (TENANT, rows),
        )


def files(world: FakeWorld, snapshot: Snapshot, entity: Entity = CONTENT_MEDIA, max_bytes: int = 1) -> Any:
    window = snapshotter(world)._reserve()
    return snapshot_files.snapshot_files(snapshot, entity, str(TENANT), window, None, first_part=0, max_bytes=max_bytes)


def prepared(world: FakeWorld) -> AbstractContextManager[Snapshot]:
    """A snapshot beside a cursor, from which sync ids are taken."""
    sync(world)
    return exported_snapshot(world.database)


def test_a_server_that_breaks_off_is_an_error_and_not_the_end(world: FakeWorld) -> None:
    fill(world, 60_000)
    with prepared(world) as snapshot, closing(files(world, snapshot)) as written:
        next(written)
        with world.database.connection() as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY (%' "
                "AND datname = current_database() AND pid <> pg_backend_pid()"
            )
        with pytest.raises(Transient, match="broke off while a snapshot was read"):
            list(written)


def test_a_reader_that_stops_leaves_no_connection(world: FakeWorld) -> None:
    fill(world, 60_000)
    count = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database()"
    with prepared(world) as snapshot:
        before = snapshot.connection.execute(count).fetchone()
        written = files(world, snapshot)
        next(written)
        written.close()
        deadline = time.monotonic() + 20
        while (now := snapshot.connection.execute(count).fetchone()) != before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert now == before


def test_a_stream_outlives_the_statement_timeout(world: FakeWorld, database_url: str) -> None:
    fill(world, 60_000)
    sync(world)
    with PostgresClient(database_url, statement_timeout=1.0) as hurried:
        world.database = hurried
        with exported_snapshot(hurried) as snapshot, closing(files(world, snapshot)) as written:
            rows = next(written).rows
            time.sleep(1.5)
            assert rows + sum(file.rows for file in written) == 60_000


def test_what_the_server_refuses_is_permanent(world: FakeWorld) -> None:
    with prepared(world) as snapshot:
        with pytest.raises(Permanent, match="no_such_table"), tenant_rows(snapshot, "no_such_table", str(TENANT)):
            pass
        gone = Snapshot("00000000-00000000-1", snapshot.connection)
        with (
            pytest.raises(Permanent, match="refused to give a snapshot"),
            tenant_rows(gone, "media_assets", str(TENANT)),
        ):
            pass


def test_a_server_that_is_not_there_is_transient() -> None:
    info = SimpleNamespace(get_parameters=lambda: {"host": "127.0.0.1", "port": "1", "dbname": "x"}, password="s3cret")
    nowhere: Any = Snapshot("1", SimpleNamespace(info=info))  # type: ignore[arg-type]
    with pytest.raises(Transient) as raised, tenant_rows(nowhere, "media_assets", str(TENANT)):
        pass
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(("sqlstate", "kind"), [("57014", Transient), ("53200", Transient), ("42501", Permanent),
                                                ("ZZ999", Permanent), (None, Transient)])  # fmt: skip
def test_errors_by_what_the_caller_should_do(sqlstate: str | None, kind: type[Exception]) -> None:
    with pytest.raises(kind), snapshot_stream._named():
        raise Error("on purpose", status_code=10, sqlstate=sqlstate)


def test_bodies_are_left_out_without_a_reader(world: FakeWorld) -> None:
    with world.database.connection() as connection:
        insert(connection, "content_storage_metadata", content_row(UUID(int=1)))
    with prepared(world) as snapshot:
        (file,) = files(world, snapshot, CONTENT_STORAGE)
    assert isinstance(file, ParquetFile)
    with file.close() as content:
        (row,) = pq.read_table(content).to_pylist()
    assert (row["body"], row["body_sha256"]) == (None, content_row(UUID(int=1))["body_sha256"])


def test_the_snapshot_is_the_one_that_was_exported(world: FakeWorld, database_url: str) -> None:
    with world.database.connection() as connection:
        insert(connection, "media_assets", media_row(UUID(int=1), url="before"))
    with prepared(world) as snapshot:
        with psycopg.connect(database_url) as other:
            other.execute("UPDATE media_assets SET url = 'after'")
            insert(other, "media_assets", media_row(UUID(int=2)))
        (file,) = files(world, snapshot)
    with file.close() as content:
        assert [row["url"] for row in pq.read_table(content).to_pylist()] == ["before"]
