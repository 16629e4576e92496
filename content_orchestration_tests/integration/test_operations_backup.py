"""Full dumps on real servers: restored and compared, refused where they were changed, and killed half-way."""

import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from content_orchestration.core.drill.world import LOCK as DRILL
from content_orchestration.core.errors import AlreadyRunning, Permanent, Transient
from content_orchestration.core.operations.backup import Backups
from content_orchestration.core.operations.backup_model import BackupStore, DamagedBackup
from content_orchestration.core.operations.backup_record import last_verified, recent
from content_orchestration.core.operations.contents import read_contents
from content_orchestration.core.operations.exclusion import MAINTENANCE, RESTORE
from content_orchestration.core.sql import sql_folder
from content_orchestration.local.demo_load import load_demo
from content_orchestration.resources.backup_store import BackupFolder, _Buckets
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.postgres_maintenance import ScratchPostgres
from content_orchestration.resources.postgres_programs import PostgresPrograms, programs_for
from content_orchestration.settings import Settings
from content_orchestration_tests.forked import ForkServer
from content_orchestration_tests.object_servers import s3_client, s3_server

ODD = (
    "CREATE TABLE odd (id int PRIMARY KEY, f float8, t timestamptz, n numeric, j jsonb, a int[], b bytea, s text);"
    "INSERT INTO odd SELECT g, 'NaN', 'infinity', 10 ^ 30 + g, '{\"k\": [1, null]}', '{{1,2},{3,NULL}}', '\\x00ff', "
    "'' FROM generate_series(1, 500) AS g;"
    "INSERT INTO odd (id, f, t, s) VALUES (0, -0.0, '4000-01-01 BC', E'tab\\t\"quote\" ünï'), (-1, NULL, NULL, NULL);"
    "CREATE INDEX odd_s ON odd (s); ALTER TABLE odd ENABLE ROW LEVEL SECURITY;"
    "CREATE SEQUENCE counted; SELECT nextval('counted'), nextval('counted');"
)


@dataclass
class World:
    """A database with rows, and where its backups go."""

    url: str
    database: PostgresClient
    folder: Path
    programs: "Programs"

    def backups(self, **given: Any) -> Backups:
        values: dict[str, Any] = {
            "url": self.url, "store": BackupFolder(self.folder), "programs": self.programs,
            "scratch": ScratchPostgres(self.url), "keep": 2, "keep_days": 30, "run_id": "run",
        } | given  # fmt: skip
        return Backups(self.database, values.pop("drills", None), **values)

    def row(self) -> dict[str, Any]:
        return recent(self.database)[0]

    def object(self) -> Path:
        return self.folder / self.row()["key"]

    def scratches(self) -> list[str]:
        with psycopg.connect(self.url) as connection:
            rows = connection.execute(
                "SELECT datname FROM pg_database WHERE datname LIKE %s", [f"content_backup_{self.mark()}%"]
            ).fetchall()
        return [row[0] for row in rows]

    def mark(self) -> str:
        return str(self.row()["key"]).partition("/")[0]


class Programs(PostgresPrograms):
    """The real ones; a test may have something happen to what was restored."""

    restored = 0
    afterwards = ""

    def restore(self, url: str, chunks: Iterable[bytes]) -> None:
        self.restored += 1
        super().restore(url, chunks)
        if self.afterwards:
            with psycopg.connect(url) as connection:
                connection.execute(self.afterwards)


@pytest.fixture
def world(empty_database: str, _migrated_template: str, tmp_path: Path) -> Iterator[World]:
    """A small database with our tables of restores and backups; the template has made the roles."""
    with psycopg.connect(empty_database) as connection:
        for revision in ("0005_restore", "0015_maintenance"):
            connection.execute((sql_folder() / "migrations" / f"{revision}.up.sql").read_text())  # type: ignore[arg-type]
        connection.execute(ODD)
    with opened(empty_database, tmp_path / "backups") as made:
        yield made


@contextmanager
def opened(url: str, folder: Path) -> Iterator[World]:
    with PostgresClient(url, pool_size=6) as database:
        yield World(url, database, folder, Programs(programs_for(18, None).folder))


def test_the_platform_is_stored_restored_and_compared_equal(database_url: str, tmp_path: Path) -> None:
    with psycopg.connect(database_url) as connection:
        load_demo(connection)
        connection.execute(ODD)
    with opened(database_url, tmp_path) as world:
        _stored_restored_and_compared(world)


def _stored_restored_and_compared(world: World) -> None:
    report = world.backups().take()
    assert report.verified
    row = world.row()
    assert (row["state"], row["sha256"], row["size_bytes"]) == (
        "verified",
        report.stored.sha256,
        report.stored.size_bytes,
    )
    assert world.object().stat().st_size == report.stored.size_bytes
    told = report.as_metadata()
    assert told["rows_compared"] > 500
    assert told["tables_compared"] > 50
    assert report.stored.contents.tables["public.odd"][0] == 502
    assert report.stored.contents.sequences["public.counted"] == 2
    assert all(row[name] > 0 for name in ("dump_seconds", "restore_seconds", "compare_seconds"))
    assert world.scratches() == []
    last = last_verified(world.database)
    assert last is not None
    assert last["age_days"] < 1
    # The manifest alone is enough to restore by hand.
    assert report.stored.sha256 in world.object().with_name(world.object().name + ".json").read_text()
    again = world.backups().verify(report.backup_id)
    assert again.verified
    assert world.programs.restored == 2


def test_a_dump_is_of_one_moment(world: World) -> None:
    """What is written while it is taken is neither in the dump nor in what it is compared with."""

    class Meanwhile(Programs):
        def dump(self, url: str, snapshot: str) -> Any:
            with psycopg.connect(url) as connection:
                connection.execute("UPDATE odd SET s = 'later'; INSERT INTO odd (id) VALUES (9999)")
            return super().dump(url, snapshot)

    report = world.backups(programs=Meanwhile(world.programs.folder)).take()
    assert report.verified
    assert report.stored.contents.tables["public.odd"][0] == 502


@pytest.mark.parametrize("how", ["a byte", "the tail", "the recorded hash", "more bytes"])
def test_what_was_changed_is_refused_before_it_is_restored(how: str, world: World) -> None:
    backup_id = world.backups().take().backup_id
    stored = world.object().read_bytes()
    middle = len(stored) // 2
    changed = {
        "a byte": stored[:middle] + bytes([stored[middle] ^ 1]) + stored[middle + 1 :],
        "the tail": stored[:-1000],
        "more bytes": stored + b"x",
    }.get(how, stored)
    world.object().write_bytes(changed)
    if how == "the recorded hash":
        with world.database.connection() as connection:
            connection.execute("UPDATE database_backups SET sha256 = repeat('0', 64)")
    restored = world.programs.restored
    with pytest.raises(DamagedBackup, match="cut or changed"):
        world.backups().verify(backup_id)
    assert world.programs.restored == restored
    assert world.scratches() == []
    assert world.row()["state"] == "failed"
    assert last_verified(world.database) is None


def test_a_store_that_changes_between_two_readings_is_found_out(world: World) -> None:
    backup_id = world.backups().take().backup_id

    class Twice(BackupFolder):
        readings = 0

        def read(self, key: str) -> Iterator[bytes]:
            self.readings += 1
            yield from super().read(key)
            if self.readings == 2:
                yield b"x"

    with pytest.raises(DamagedBackup, match="while it was restored"):
        world.backups(store=Twice(world.folder)).verify(backup_id)
    assert world.scratches() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DELETE FROM odd WHERE id = 3", "public.odd has 501 rows in the copy, not 502"),
        ("UPDATE odd SET s = NULL WHERE id = 3", "public.odd has 502 rows in both, and not the same ones"),
        ("DROP TABLE odd", "public.odd is not in the copy"),
        ("DROP INDEX odd_s", "index public.odd_s is not the same"),
        ("SELECT setval('counted', 1)", "sequence public.counted is at 1 in the copy, not at 2"),
        ("ALTER TABLE odd DISABLE ROW LEVEL SECURITY", "relation public.odd is not the same"),
    ],
)
def test_a_copy_that_differs_is_no_backup(change: str, said: str, world: World) -> None:
    world.programs.afterwards = change
    with pytest.raises(DamagedBackup, match=said):
        world.backups().take()
    assert world.row()["state"] == "failed"
    assert world.scratches() == []


def test_an_outage_of_the_check_says_nothing_of_the_dump(world: World) -> None:
    class Down(ScratchPostgres):
        def create(self, name: str) -> None:
            raise Transient("the server of drills is away")

    with pytest.raises(Transient):
        world.backups(scratch=Down(world.url)).take()
    row = world.row()
    assert (row["state"], row["failure"][:7]) == ("stored", "unknown")
    assert world.backups().verify(row["backup_id"]).verified
    assert world.row()["failure"] is None


def test_a_dump_that_breaks_off_stores_nothing(world: World) -> None:
    class Breaks(Programs):
        def dump(self, url: str, snapshot: str) -> Any:
            yield b"x" * 2**20
            raise Transient("connection to server was lost")

    with pytest.raises(Transient, match="was lost"):
        world.backups(programs=Breaks(world.programs.folder)).take()
    assert world.row()["state"] == "failed"
    assert [path for path in world.folder.rglob("*") if path.is_file()] == []

    class Short(BackupFolder):
        def write(self, key: str, chunks: Iterable[bytes]) -> Any:
            return super().write(key, list(chunks)[:-1])

    with pytest.raises(DamagedBackup, match="were sent"):
        world.backups(store=Short(world.folder)).take()


def test_none_is_taken_beside_a_restore_a_drill_or_maintenance(world: World) -> None:
    with PostgresClient(world.url) as other:
        for lock in (RESTORE, DRILL, MAINTENANCE):
            with other.advisory_lock(lock), pytest.raises(AlreadyRunning):
                world.backups(drills=other).take()
        assert world.backups(drills=other).take().verified


def test_a_restore_may_begin_while_the_dump_is_written(world: World) -> None:
    class Restoring(Programs):
        def dump(self, url: str, snapshot: str) -> Any:
            with PostgresClient(url) as other, other.advisory_lock(RESTORE):
                yield from super().dump(url, snapshot)

    assert world.backups(programs=Restoring(world.programs.folder)).take().verified


def test_old_ones_go_but_never_the_last_that_was_verified(world: World) -> None:
    for _ in range(2):
        world.backups().take()
    old = [row["key"] for row in recent(world.database)]
    with world.database.connection() as connection:
        connection.execute("UPDATE database_backups SET started_at = started_at - interval '60 days'")
        connection.execute(
            "INSERT INTO database_backups (key, location, state, started_at, size_bytes, sha256, run_id) "
            "VALUES ('00000000/other.dump', 'x', 'stored', '2020-01-01', 1, repeat('a', 64), 'x')"
        )
        connection.execute("UPDATE database_backups SET state = 'failed' WHERE key = %s", [old[0]])
    report = world.backups(keep=1).take()
    # The new one is the newest that was verified, so all of the others may go; another database's may not.
    assert sorted(report.removed) == sorted(old)
    assert {row["key"] for row in recent(world.database)} == {report.key, "00000000/other.dump"}
    assert sorted(path.name for path in world.folder.rglob("*") if path.is_file()) == sorted(
        [world.object().name, world.object().name + ".json"]
    )
    with world.database.connection() as connection:
        connection.execute("UPDATE database_backups SET started_at = started_at - interval '90 days'")
    assert world.backups(keep=1)._remove_old(world.mark()) == []
    with pytest.raises(Permanent, match="not known"):
        world.backups().verify("no-id")


def test_leftovers_go_by_name_and_age_and_others_stay(world: World) -> None:
    world.backups().take()
    mark, server = world.mark(), ScratchPostgres(world.url)
    other = f"content_backup_{uuid.uuid4().hex[:8]}_20200101000000_aaaaaa"
    own, used, ancient = (f"content_backup_{mark}_{moment}" for moment in (
        "20260101000000_aaaaaa", "29990101000000_bbbbbb", "20200101000000_cccccc"))  # fmt: skip
    strange = f"content_backup_{mark}_by_hand"
    for name in (other, own, used, ancient, strange):
        server.create(name)
    try:
        with psycopg.connect(server.url(used)), psycopg.connect(server.url(ancient)):
            assert sorted(world.backups().take().leftovers) == sorted([own, ancient])
        assert set(world.scratches()) == {used, strange}
    finally:
        for name in (other, own, used, ancient, strange):
            server.drop(name)


def test_a_role_that_would_leave_rows_out_is_refused(world: World) -> None:
    role = f"reader_{uuid.uuid4().hex}"
    with psycopg.connect(world.url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN")
        admin.execute(f"GRANT pg_read_all_data TO {role}")
        try:
            with (
                PostgresClient(world.url.replace("postgres@", f"{role}@")) as database,
                database.connection() as connection,
            ):
                with pytest.raises(Permanent, match="BYPASSRLS"):
                    read_contents(connection)
                connection.rollback()
            admin.execute(f"ALTER ROLE {role} BYPASSRLS")
            with (
                PostgresClient(world.url.replace("postgres@", f"{role}@")) as database,
                database.connection() as connection,
            ):
                assert read_contents(connection).rows > 500
            with pytest.raises(Permanent, match="CREATEDB"):
                ScratchPostgres(world.url.replace("postgres@", f"{role}@")).create("content_backup_never")
        finally:
            admin.execute(f"DROP OWNED BY {role}")
            admin.execute(f"DROP ROLE {role}")


def test_roles_that_the_other_server_lacks_are_named(world: World) -> None:
    class Elsewhere(ScratchPostgres):
        @contextmanager
        def opened(self, name: str) -> Iterator[Any]:
            with super().opened(name) as client:
                if name == "postgres":
                    client.connection = _lacking(client.connection)  # type: ignore[method-assign]
                yield client

    with pytest.raises(Permanent, match="lacks the roles content_worker"):
        world.backups(scratch=Elsewhere(world.url)).take()
    assert world.row()["state"] == "stored"


def _lacking(connection: Any) -> Any:
    class Nothing:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def execute(self, text: str, values: Any = None) -> Any:
            return self._inner.execute(text, values if values is None or "names" not in values else {"names": []})

    @contextmanager
    def opened() -> Iterator[Any]:
        with connection() as inner:
            yield Nothing(inner)

    return opened


# --- killed ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forks() -> Iterator[ForkServer]:
    with ForkServer("content_orchestration_tests.operations_process") as server:
        yield server


@pytest.mark.parametrize(
    ("failpoint", "state"),
    [
        ("backup_started", "failed"),
        ("backup_half_dumped", "failed"),
        ("backup_unrecorded", "stored"),
        ("backup_stored", "stored"),
        ("backup_half_restored", "stored"),
    ],
)
def test_a_kill_leaves_nothing_that_lies(
    failpoint: str, state: str, forks: ForkServer, world: World, settings: Settings
) -> None:
    place = SimpleNamespace(
        environment=lambda: {"LOCAL_STATE_DIR": str(settings.local_state_dir)},
        database_url=world.url, zerodb_project="none", bigquery_dataset="none",
    )  # fmt: skip
    outcome = forks.run(place, failpoint, folder=str(world.folder))  # type: ignore[arg-type]
    assert outcome.status == -9, outcome.said
    killed = world.row()
    assert killed["state"] == ("running" if failpoint not in ("backup_stored", "backup_half_restored") else "stored")
    # The killed run's pg_restore ends by itself when its pipe does; until then its database is in use.
    end = time.monotonic() + 60
    while any(row["sessions"] for row in ScratchPostgres(world.url).databases() if row["name"] in world.scratches()):
        assert time.monotonic() < end, "pg_restore outlived its run"
        time.sleep(0.05)
    report = world.backups().take()
    assert report.verified
    assert len(report.leftovers) == (failpoint == "backup_half_restored")
    assert world.scratches() == []
    assert {row["backup_id"]: row["state"] for row in recent(world.database)} == {
        killed["backup_id"]: state, report.backup_id: "verified",
    }  # fmt: skip
    if failpoint == "backup_unrecorded":
        assert world.backups().verify(killed["backup_id"]).verified


# --- stores ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as endpoint:
        yield endpoint


def s3_store(endpoint: str, bucket: str) -> BackupStore:
    return _Buckets(
        f"s3://{bucket}/of/content", endpoint=endpoint, region="us-east-1", access_key="key", secret_key="secret",
        retry_seconds=5,
    ).backups(5 * 2**20)  # fmt: skip


def test_a_bucket_takes_a_stream_in_parts_or_not_at_all(s3: str) -> None:
    bucket = f"test-{uuid.uuid4().hex}"
    s3_client(s3).create_bucket(Bucket=bucket)
    store = s3_store(s3, bucket)
    parts = [bytes([number]) * 2**20 for number in range(12)]
    info = store.write("a/b.dump", iter(parts))
    assert info.size_bytes == 12 * 2**20
    assert b"".join(store.read("a/b.dump")) == b"".join(parts)
    assert s3_client(s3).head_object(Bucket=bucket, Key="of/content/a/b.dump")["ETag"].endswith('-3"')

    def breaks() -> Iterator[bytes]:
        yield from parts
        raise Transient("pg_dump ended with status 1")

    with pytest.raises(Transient, match="pg_dump ended with status 1"):
        store.write("a/c.dump", breaks())
    assert store.head("a/c.dump") is None
    assert s3_client(s3).list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
    with pytest.raises(Permanent, match="no such bucket"):
        s3_store(s3, "not-there").write("a", iter(parts))


def test_a_backup_in_a_bucket(s3: str, world: World) -> None:
    bucket = f"test-{uuid.uuid4().hex}"
    s3_client(s3).create_bucket(Bucket=bucket)
    report = world.backups(store=s3_store(s3, bucket)).take()
    assert report.verified
    s3_client(s3).put_object(Bucket=bucket, Key=f"of/content/{report.key}", Body=b"PGDMP")
    with pytest.raises(DamagedBackup, match="has 5 bytes"):
        world.backups(store=s3_store(s3, bucket)).verify(report.backup_id)


def test_a_folder_takes_a_stream_or_nothing(tmp_path: Path) -> None:
    store = BackupFolder(tmp_path / "made")

    def breaks() -> Iterator[bytes]:
        yield b"half"
        raise Transient("away")

    with pytest.raises(Transient, match="away"):
        store.write("a/b", breaks())
    assert store.head("a/b") is None
    assert store.write("a/b", [b"one", b"two"]).size_bytes == 6
    assert store.write("a/b", [b"three"]).size_bytes == 5
    assert [path.name for path in (tmp_path / "made").rglob("*") if path.is_file()] == ["b"]
    store.delete("a/b")
    assert store.head("a/b") is None
