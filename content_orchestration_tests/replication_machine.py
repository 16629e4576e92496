"""Random interleavings: sessions of a real PostgreSQL that write, and syncs between and inside their statements.

The machine knows nothing of the engine but `sync`; what must hold at the end is `replication_model.assert_equal`.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar
from uuid import UUID

import psycopg
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from psycopg.rows import dict_row

from content_orchestration.core.errors import Transient
from content_orchestration_tests.fake_warehouse import FakeStore, FakeWarehouse, Killed, Kind
from content_orchestration_tests.replication_fakes import STATE, FakeWorld, sync
from content_orchestration_tests.replication_model import (
    World,
    add_content,
    assert_equal,
    body_of,
    content_row,
    insert,
    media_row,
    new_version,
    put_bodies,
)

CONTENT = [UUID(int=0x1000 + number * 0x1111_0000_0000) for number in range(6)]
MEDIA = [UUID(int=0x2000 + number) for number in range(3)]
# What a session may meet because of the others; it then goes back to its savepoint or rolls back, as applications do.
EXPECTED = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.SerializationFailure,
    psycopg.errors.UniqueViolation,
    psycopg.errors.DeadlockDetected,
)
OPERATIONS = (
    "insert",
    "upsert",
    "update",
    "update_all",
    "new_version",
    "delete",
    "delete_row",
    "insert_update_delete",
    "delete_insert",
    "media_upsert",
    "media_update",
    "media_delete",
)

sessions = st.integers(0, 3)
operations = st.sampled_from(OPERATIONS)
places = st.integers(0, 5)


class Session:
    """One connection: a transaction with at most one savepoint, or none."""

    def __init__(self, url: str, world: World) -> None:
        self.world = world
        # A session that would wait for another one of this thread gives up at once.
        self.connection = psycopg.connect(url, autocommit=True, row_factory=dict_row, options="-c lock_timeout=2ms")
        self.open = self.saved = False

    def begin(self, isolation: str) -> None:
        if not self.open:
            self.connection.execute(f"BEGIN ISOLATION LEVEL {isolation}")  # type: ignore[arg-type]
            self.open = True

    def end(self, how: str) -> None:
        if self.open:
            self.connection.execute(how)  # type: ignore[arg-type]
        self.open = self.saved = False

    def savepoint(self) -> None:
        if self.open:
            self.connection.execute("SAVEPOINT s")
            self.saved = True

    def rollback_to_savepoint(self) -> None:
        if self.saved:
            self.connection.execute("ROLLBACK TO SAVEPOINT s")

    def write(self, operation: str, place: int) -> None:
        """One piece of work, in the transaction that is open or in one of its own."""
        try:
            if self.open:
                self._write(operation, place)
            else:
                with self.connection.transaction():
                    self._write(operation, place)
        except EXPECTED:
            if self.saved:
                self.rollback_to_savepoint()
            else:
                self.end("ROLLBACK")

    def _write(self, operation: str, place: int) -> None:
        run, item, media = self.connection.execute, CONTENT[place], MEDIA[place % len(MEDIA)]
        if operation == "insert":
            add_content(self.connection, self.world.store, [item])
        elif operation == "upsert":
            put_bodies(self.world.store, {(item, 1): body_of(item, 1)})
            insert(self.connection, "content_storage_metadata", content_row(item, title="Upserted"), upsert=True)
        elif operation == "update":
            run("UPDATE content_storage_metadata SET title = title || '+', updated_at = now() WHERE id = %s", (item,))
        elif operation == "update_all":
            run("UPDATE content_storage_metadata SET status = 'archived', updated_at = now()")
        elif operation == "new_version":
            new_version(self.connection, self.world.store, item)
        elif operation in ("delete", "delete_row"):
            run("DELETE FROM content_storage_metadata WHERE id = %s", (item,))
            if operation == "delete":
                run("DELETE FROM content_versions WHERE content_id = %s", (item,))
        elif operation == "insert_update_delete":
            put_bodies(self.world.store, {(item, 1): body_of(item, 1)})
            insert(self.connection, "content_storage_metadata", content_row(item))
            run("UPDATE content_storage_metadata SET title = 'short' WHERE id = %s", (item,))
            run("DELETE FROM content_storage_metadata WHERE id = %s", (item,))
        elif operation == "delete_insert":
            run("DELETE FROM content_storage_metadata WHERE id = %s", (item,))
            put_bodies(self.world.store, {(item, 1): body_of(item, 1)})
            insert(self.connection, "content_storage_metadata", content_row(item, title="Back"))
        elif operation == "media_upsert":
            insert(self.connection, "media_assets", media_row(media, content_id=item), upsert=True)
        elif operation == "media_update":
            run("UPDATE media_assets SET status = 'stored', updated_at = now() WHERE id = %s", (media,))
        elif operation == "media_delete":
            run("DELETE FROM media_assets WHERE id = %s", (media,))
        else:
            raise AssertionError(operation)


class Interleavings(RuleBasedStateMachine):
    """Sessions and syncs in any order; when it ends all is committed, and BigQuery must hold what PostgreSQL holds."""

    world: ClassVar[World]
    shared: ClassVar[list[Session]]
    runs: ClassVar[int] = 0
    syncs: ClassVar[int] = 0
    rows_compared: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.failed = False
        self.reset()

    def reset(self) -> None:
        """Empty tables, and nothing in the change log that says so."""
        for session in self.shared:
            session.end("ROLLBACK")
        with self.world.database.connection() as connection:
            connection.execute("SET LOCAL session_replication_role = replica")
            for table in STATE:
                connection.execute(f"DELETE FROM {table}")  # type: ignore[arg-type]

    @initialize(there=st.integers(2, 6))
    def items(self, there: int) -> None:
        """Some items are there, so that there is something to update and to delete."""
        with self.shared[0].connection.transaction():
            add_content(self.shared[0].connection, self.world.store, CONTENT[:there])
            insert(self.shared[0].connection, "media_assets", media_row(MEDIA[0]))

    @rule(session=sessions, isolation=st.sampled_from(["READ COMMITTED", "REPEATABLE READ"]))
    def begin(self, session: int, isolation: str) -> None:
        self.shared[session].begin(isolation)

    @rule(session=sessions, work=st.lists(st.tuples(operations, places), min_size=1, max_size=4))
    def write(self, session: int, work: list[tuple[str, int]]) -> None:
        for operation, place in work:
            self.shared[session].write(operation, place)

    @rule(session=sessions)
    def savepoint(self, session: int) -> None:
        self.shared[session].savepoint()

    @rule(session=sessions)
    def rollback_to_savepoint(self, session: int) -> None:
        self.shared[session].rollback_to_savepoint()

    @rule(session=sessions, how=st.sampled_from(["COMMIT", "COMMIT", "ROLLBACK"]))
    def end(self, session: int, how: str) -> None:
        self.shared[session].end(how)

    def replicate(self, **given: Any) -> None:
        """One sync; a subclass has its own engine."""
        type(self).syncs += 1
        sync(self.world, **given)

    def check(self) -> None:
        """What must hold once all is committed and replicated."""
        assert_equal(self.world)

    def teardown(self) -> None:
        for session in self.shared:
            session.end("COMMIT")
        self.replicate()
        self.check()
        with self.world.database.connection() as connection:
            counted = connection.execute("SELECT count(*) AS n FROM content_storage_metadata").fetchone()
        assert counted
        type(self).rows_compared += counted["n"]
        type(self).runs += 1


class FastInterleavings(Interleavings):
    """With a warehouse and a store in memory: other sessions go on while a window is loaded, and loads fail or kill."""

    world: ClassVar[FakeWorld]

    def reset(self) -> None:
        super().reset()
        self.world.warehouse = FakeWarehouse()
        self.world.store = FakeStore()
        for session in self.shared:
            session.world = self.world

    @rule(
        batch_size=st.sampled_from([1, 2, 3, 5, 1000]),
        max_bytes=st.sampled_from([1, 10**7]),
        refuse=st.booleans(),
        during=st.lists(st.tuples(st.integers(1, 4), sessions, operations, places, st.booleans()), max_size=3),
        fault=st.one_of(
            st.none(),
            st.tuples(
                st.integers(1, 5),
                st.sampled_from(["before", "after", "killed_before", "killed_after", "killed_window"]),
            ),
        ),
    )
    def sync(
        self,
        batch_size: int,
        max_bytes: int,
        refuse: bool,
        during: Sequence[tuple[int, int, str, int, bool]],
        fault: tuple[int, Any] | None,
    ) -> None:
        warehouse = self.world.warehouse
        warehouse.refuse_known_jobs = refuse
        first = warehouse.loads

        def others(number: int) -> None:
            for at, session, operation, place, commit in during:
                if number == first + at:
                    self.shared[session].write(operation, place)
                    if commit:
                        self.shared[session].end("COMMIT")

        def killed(report: Any) -> None:
            if fault and fault[1] == "killed_window" and report.windows == fault[0]:
                raise Killed

        warehouse.during = others
        if fault and fault[1] != "killed_window":
            kind: Kind = fault[1]
            warehouse.faults = {first + fault[0]: kind}
        try:
            self.replicate(batch_size=batch_size, max_bytes=max_bytes, on_window=killed)
        except (Killed, Transient):
            pass
        finally:
            warehouse.faults, warehouse.during = {}, lambda number: None

    @rule(session=sessions)
    def truncate_media(self, session: int) -> None:
        """Committed at once, since its lock would hold the reader up; not done where another session has its own."""
        if not self.shared[session].open:
            try:
                self.shared[session].connection.execute("TRUNCATE media_assets")
            except psycopg.errors.LockNotAvailable:
                return


class RealInterleavings(Interleavings):
    """Against the emulator and the ZeroDB server."""

    fresh: ClassVar[Callable[[], None]]

    def reset(self) -> None:
        type(self).fresh()
        super().reset()

    @rule(batch_size=st.sampled_from([1, 3, 1000]), max_bytes=st.sampled_from([1, 10**7]))
    def sync(self, batch_size: int, max_bytes: int) -> None:
        self.replicate(batch_size=batch_size, max_bytes=max_bytes)


class NaiveCursor:
    """What polling tools do: rows with `updated_at` beyond the greatest one seen. It is here to be seen losing rows."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.seen: Any = None
        self.copied: dict[str, str] = {}

    def sync(self) -> None:
        with self.world.database.connection() as connection:
            rows = connection.execute(
                "SELECT id::text AS id, title, updated_at FROM content_storage_metadata "
                "WHERE %(seen)s::timestamptz IS NULL OR updated_at > %(seen)s ORDER BY updated_at",
                {"seen": self.seen},
            ).fetchall()
        for row in rows:
            self.copied[row["id"]] = row["title"]
            self.seen = row["updated_at"]

    def lost(self) -> list[str]:
        """Ids whose newest state was not copied."""
        with self.world.database.connection() as connection:
            rows = connection.execute("SELECT id::text AS id, title FROM content_storage_metadata").fetchall()
        return [row["id"] for row in rows if self.copied.get(row["id"]) != row["title"]]


class NaiveInterleavings(FastInterleavings):
    """The same interleavings with the naive cursor; deletes, which it never sees, are forgiven."""

    def reset(self) -> None:
        super().reset()
        self.naive = NaiveCursor(self.world)

    def replicate(self, **given: Any) -> None:
        self.naive.sync()

    def check(self) -> None:
        lost = self.naive.lost()
        assert not lost, f"the naive cursor lost {lost}"
