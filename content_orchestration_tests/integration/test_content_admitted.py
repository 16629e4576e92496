"""Content that is written together with something else: all of it in one transaction, and only what is admitted."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import Connection

from content_orchestration.core.content.model import NewContent
from content_orchestration.core.content.store import ContentStore
from content_orchestration.core.quota.decision import QuotaExceeded
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration_tests.tiers import Tiers


class World:
    """A tenant with room for a few bytes, and a note table that stands for what else the transaction writes."""

    def __init__(self, tiers: Tiers) -> None:
        self.tiers = tiers
        self.tenant = uuid4()
        self.ledger = QuotaLedger(tiers.database)
        self.store = ContentStore(tiers.database, tiers.store, self.ledger)
        self.run("INSERT INTO tenants (id, name, slug, plan_tier) VALUES (%s, 'T', 't', 'free')", [self.tenant])
        self.run("CREATE TABLE notes (id uuid PRIMARY KEY)")

    def run(self, statement: str, values: list[Any] | None = None) -> list[Any]:
        with self.tiers.database.connection() as connection:
            cursor = connection.execute(statement, values)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def write(
        self, bodies: Sequence[str], keep: int, *, store: ContentStore | None = None, reservation: UUID | None = None
    ) -> list[UUID]:
        """Write items of which the first `keep` are admitted; each gets a note in the same transaction."""
        contents = [NewContent(f"T{n}", body, source=f"item:{n}") for n, body in enumerate(bodies)]

        def admit(connection: Connection[Any], ids: Sequence[UUID]) -> Collection[UUID]:
            role = connection.execute("SELECT current_user AS role").fetchone()
            assert role is not None
            assert role["role"] == "postgres", "it works with the rights of the connection, not the tenant's"
            connection.cursor().executemany("INSERT INTO notes VALUES (%s)", [[one] for one in ids[:keep]])
            return ids[:keep]

        items = (store or self.store).create_admitted(
            self.tenant, contents, admit, created_by="test", reservation=reservation
        )
        return [item.id for item in items]

    def counts(self) -> tuple[int, int, int, int, int]:
        """Rows, notes, spilled bodies, used and reserved bytes."""
        rows = [
            self.run(f"SELECT count(*)::int AS n FROM {table}")[0]["n"]
            for table in ("content_storage_metadata", "notes", "content_body_spill")
        ]
        usage = self.ledger.usage(self.tenant)
        return rows[0], rows[1], rows[2], usage.used_bytes, usage.reserved_bytes


@pytest.fixture
def world(tiers: Tiers) -> World:
    return World(tiers)


@pytest.fixture
def dark(world: World) -> Iterator[ContentStore]:
    """A store whose ZeroDB nobody answers for."""
    nobody = ZeroDBClient("http://127.0.0.1:1/api/v1", "no", "key", attempts=1, total_timeout=0.1, wait_initial=0.01)
    with closing(nobody):
        yield ContentStore(world.tiers.database, nobody, world.ledger)


def test_only_what_is_admitted_is_written_and_counted(world: World) -> None:
    held = world.ledger.reserve(world.tenant, bytes=100, items=10, reason="generation")
    made = world.write(["one", "two", "three"], 2, reservation=held.id)
    assert len(made) == 2
    assert world.counts() == (2, 2, 0, 6, 94)
    # Once more, with the third: those that are there stay as they are and may be admitted again by nobody's harm.
    world.run("DELETE FROM notes")
    assert world.write(["other", "two", "three"], 3, reservation=held.id)[:2] == made
    assert world.counts() == (3, 3, 0, 11, 89)
    assert world.store.get(world.tenant, made[0]).body == "one"


def test_a_body_put_for_an_item_that_was_not_admitted_is_replaced_by_the_next(world: World) -> None:
    assert world.write(["of a zombie"], 0) == []
    assert world.counts() == (0, 0, 0, 0, 0)
    (made,) = world.write(["of its successor"], 1)
    assert world.store.get(world.tenant, made).body == "of its successor"
    assert world.counts() == (1, 1, 0, 16, 0)


def test_what_the_callback_writes_goes_with_the_rows(world: World) -> None:
    held = world.ledger.reserve(world.tenant, bytes=3, items=1, reason="generation")
    usage = world.ledger.usage(world.tenant)
    assert usage.limit_bytes is not None
    filler = usage.limit_bytes - usage.used_bytes - usage.reserved_bytes
    world.ledger.reserve(world.tenant, bytes=filler, items=1)
    with pytest.raises(QuotaExceeded):
        world.write(["more than three"], 1, reservation=held.id)
    assert world.counts()[:4] == (0, 0, 0, 0)


def test_without_a_reservation_it_makes_one_and_gives_it_back(world: World) -> None:
    world.write(["one", "two"], 1)
    assert world.counts() == (1, 1, 0, 3, 0)

    def refuse(connection: Connection[Any], ids: Sequence[UUID]) -> Collection[UUID]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        world.store.create_admitted(world.tenant, [NewContent("T", "b", source="x")], refuse, created_by="test")
    assert world.counts() == (1, 1, 0, 3, 0)
    assert world.store.create_admitted(world.tenant, [], refuse, created_by="test") == []


def test_while_zerodb_is_down_only_admitted_bodies_spill(world: World, dark: ContentStore) -> None:
    world.write(["one", "two"], 1, store=dark)
    assert world.counts() == (1, 1, 1, 3, 0)
