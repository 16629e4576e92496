"""The moments between two steps of the content store: what another caller, a drain, or a kill does just then."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest

from content_orchestration.core.content import reading, search
from content_orchestration.core.content.drafts import NextVersion, next_version
from content_orchestration.core.content.errors import InvalidContent
from content_orchestration.core.content.model import Changes, Filters, NewContent
from content_orchestration.core.content.spill import drain, spill_state
from content_orchestration.core.content.store import ContentStore
from content_orchestration.core.documents import DocumentConflict
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.failpoints import VARIABLE
from content_orchestration.core.identity import sha256_hex
from content_orchestration.core.integrity.pairs import SPILLED
from content_orchestration.core.integrity.versions import compare_versions
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration_tests.tiers import Tiers


class Meanwhile:
    """The document store, with something done before or after a call of one method."""

    def __init__(self, store: ZeroDBClient, method: str, action: Callable[[], object], *, after: bool = False) -> None:
        self._store = store
        self._method = method
        self._action = action
        self._after = after

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name != self._method:
            return method

        def call(*given: Any, **named: Any) -> Any:
            if not self._after:
                self._action()
            answer = method(*given, **named)
            if self._after:
                self._action()
            return answer

        return call


@dataclass(frozen=True)
class World:
    """A tenant, the store, and one whose ZeroDB nobody answers for."""

    tiers: Tiers
    tenant: UUID
    ledger: QuotaLedger
    store: ContentStore
    dark: ContentStore

    def over(self, documents: Any) -> ContentStore:
        return ContentStore(self.tiers.database, documents, self.ledger)

    def run(self, statement: str, *values: Any) -> list[Any]:
        with self.tiers.database.connection() as connection:
            cursor = connection.execute(statement, values or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def world(tiers: Tiers) -> Iterator[World]:
    tenant = uuid4()
    ledger = QuotaLedger(tiers.database)
    with ZeroDBClient("http://127.0.0.1:1/api/v1", "x", "k", attempts=1, total_timeout=0.1) as nobody:
        world = World(
            tiers, tenant, ledger,
            ContentStore(tiers.database, tiers.store, ledger), ContentStore(tiers.database, nobody, ledger),
        )  # fmt: skip
        world.run("INSERT INTO tenants (id, name, slug, plan_tier) VALUES (%s, 'T', 't', 'business')", tenant)
        yield world


def killed(world: World, at: str, action: Callable[[PostgresClient, ZeroDBClient], object]) -> None:
    """Do it in a forked process that is killed at the failpoint."""
    child = os.fork()
    if child == 0:
        try:
            os.environ[VARIABLE] = at
            settings = world.tiers.settings
            action(
                PostgresClient(world.tiers.database_url),
                ZeroDBClient(settings.zerodb_url, world.tiers.zerodb_project, settings.zerodb_key),
            )
        finally:
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the failpoint {at} was not reached: status {status}"


def test_what_its_source_made_anew_outlives_the_purge_that_ends_late(world: World) -> None:
    """The purge has removed the rows, and before it removes the documents the source makes the item again."""
    item = world.store.create(world.tenant, NewContent("T", "old", source="s"), created_by="t")
    world.store.update(world.tenant, item.id, Changes(body="v2"), expected_version=1, changed_by="t")
    purged, documents = world.store._writer.purge(world.tenant, item.id)
    again = world.store.create(world.tenant, NewContent("T", "new", source="s"), created_by="t")
    world.store._writer.forget(purged, documents)
    assert again.id == item.id
    assert world.store.get(world.tenant, item.id).body == "new"
    assert [document["id"] for document in world.tiers.store.scan("content_items")] == [f"{item.id}.v1"]
    assert [document["id"] for document in world.tiers.store.scan("content_versions")] == [f"{item.id}.v1"]


def test_a_read_finds_what_a_drain_moves_between_its_two_looks(world: World) -> None:
    item = world.dark.create(world.tenant, NewContent("T", "moves"), created_by="t")
    moves = Meanwhile(world.tiers.store, "get_many", lambda: drain(world.tiers.database, world.tiers.store), after=True)
    found = world.over(moves).get(world.tenant, item.id)
    assert (found.body, found.body_source) == ("moves", "zerodb")


def test_a_drain_replaces_a_document_that_has_the_body_and_nothing_else_of_the_version(world: World) -> None:
    """A writer that was killed left version 2 under another title; the body did not change in either."""
    item = world.store.create(world.tenant, NewContent("First", "same body"), created_by="t")

    def die(database: PostgresClient, documents: ZeroDBClient) -> None:
        ContentStore(database, documents, QuotaLedger(database)).update(
            world.tenant, item.id, Changes(title="Never"), expected_version=1, changed_by="killed"
        )

    killed(world, "content_documents_put", die)
    dark = ContentStore(world.tiers.database, Meanwhile(world.tiers.store, "put_many", _down), world.ledger)  # type: ignore[arg-type]
    dark.update(world.tenant, item.id, Changes(title="Second"), expected_version=1, changed_by="t")
    waiting = compare_versions(world.tiers.database, world.tiers.store)
    assert (waiting.differences, waiting.skipped) == ([], {SPILLED: 1})
    assert drain(world.tiers.database, world.tiers.store).replaced == 2
    assert compare_versions(world.tiers.database, world.tiers.store).differences == []
    world.store.update(world.tenant, item.id, Changes(title="Third"), expected_version=2, changed_by="t")
    assert world.store.rollback_to(world.tenant, item.id, 2, expected_version=3, changed_by="t").title == "Second"


def _down() -> None:
    raise Transient("down")


def test_a_spilled_body_that_the_record_of_its_version_does_not_name_replaces_nothing(world: World) -> None:
    """A restore can bring another history back than the one that the body waits for."""
    item = world.store.create(world.tenant, NewContent("T", "right"), created_by="t")
    world.run(
        "INSERT INTO content_body_spill (zerodb_row_id, tenant_id, content_id, version, body, body_sha256, size_bytes) "
        "VALUES (%s, %s, %s, 1, 'other', %s, 5)",
        item.zerodb_row_id, world.tenant, item.id, sha256_hex("other"),
    )  # fmt: skip
    report = drain(world.tiers.database, world.tiers.store)
    assert (report.moved, report.refused_samples) == (0, [item.zerodb_row_id])
    assert world.store.get(world.tenant, item.id).body == "right"


def test_a_version_that_is_recorded_already_is_not_written_over(world: World) -> None:
    """An item that a partial restore left behind its own history."""
    item = world.store.create(world.tenant, NewContent("T", "one"), created_by="t")
    world.store.update(world.tenant, item.id, Changes(body="two"), expected_version=1, changed_by="t")
    world.run(
        "UPDATE content_storage_metadata SET version = 1, zerodb_row_id = %s, body_sha256 = %s WHERE id = %s",
        f"{item.id}.v1", sha256_hex("one"), item.id,
    )  # fmt: skip
    draft = next_version(item, 2, NextVersion("T", "post", "draft", "three", "{}"), (), "t", "r")
    for store, error in ((world.store, DocumentConflict), (world.dark, Permanent)):
        with pytest.raises(error):
            store._writer.replace(item, draft)
    assert spill_state(world.tiers.database).bodies == 0
    assert world.tiers.store.get_many("content_items", [f"{item.id}.v2"])[f"{item.id}.v2"]["body"] == "two"
    assert world.ledger.usage(world.tenant).reserved_bytes == 0


@pytest.mark.parametrize("number", [1, 3, 300])
def test_however_many_items_are_created_few_locks_are_held(world: World, number: int) -> None:
    """The server has room for some thousand locks; sixteen clients with a thousand items each would take them all."""
    held: list[int] = []

    def look() -> None:
        rows = world.run(
            "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        held.append(rows[0]["n"])

    store = world.over(Meanwhile(world.tiers.store, "put_many", look))
    store.create_many(world.tenant, [NewContent("T", "b") for _ in range(number)], created_by="t")
    assert set(held) == {0}
    held.clear()
    store.create_many(world.tenant, [NewContent("T", "b", source=str(n)) for n in range(number)], created_by="t")
    assert max(held) == {1: 2, 3: 4, 300: 1}[number]


def test_bulk_and_single_creation_of_one_source_make_one_item(world: World) -> None:
    start = threading.Barrier(6)

    def create(number: int) -> set[UUID]:
        start.wait(60)
        # The odd ones create in bulk, beyond the number that is locked one by one.
        sources = range(30) if number % 2 else [number]
        contents = [NewContent("T", f"{number}", source=str(n)) for n in sources]
        return {item.id for item in world.store.create_many(world.tenant, contents, created_by="t")}

    with ThreadPoolExecutor(6) as pool:
        made = set().union(*pool.map(create, range(6)))
    documents = [document["id"] for document in world.tiers.store.scan("content_items")]
    assert sorted(documents) == sorted(f"{item}.v1" for item in made)
    assert len(made) == 30
    found = world.store.get_many(world.tenant, list(made))
    assert all(one.body for one in found.values())
    assert world.ledger.usage(world.tenant).used_bytes == 30


def test_a_random_id_is_put_without_being_looked_for(world: World) -> None:
    report = world.tiers.store.put_many("content_items", [{"id": str(uuid4())}], new=True)
    assert (report.inserted, report.requests) == (1, 1)


@pytest.mark.parametrize("at", ["content_spilled", "spill_documents_put"])
def test_a_kill_while_a_body_is_spilled_or_drained_loses_nothing(world: World, at: str) -> None:
    item = world.dark.create(world.tenant, NewContent("T", "waits"), created_by="t")

    def die(database: PostgresClient, documents: ZeroDBClient) -> None:
        if at == "spill_documents_put":
            drain(database, documents)
        else:
            nobody = ZeroDBClient("http://127.0.0.1:1/api/v1", "x", "k", attempts=1, total_timeout=0.1)
            ContentStore(database, nobody, QuotaLedger(database)).create(
                world.tenant, NewContent("T", "gone"), created_by="t"
            )

    killed(world, at, die)
    assert spill_state(world.tiers.database).bodies == 1
    assert drain(world.tiers.database, world.tiers.store).moved == 1
    assert [document["id"] for document in world.tiers.store.scan("content_items")] == [item.zerodb_row_id]
    assert world.store.get(world.tenant, item.id).body_source == "zerodb"


def test_ids_may_be_text_and_are_written_as_ids(world: World) -> None:
    campaign, user = uuid4(), uuid4()
    made = world.store.create_many(
        world.tenant,
        [
            NewContent("T", "b", campaign_space_id=campaign, user_id=user.urn),  # type: ignore[arg-type]
            NewContent("T", "b", campaign_space_id=f"{{{campaign}}}"),  # type: ignore[arg-type]
            NewContent("T", "b"),
        ],
        created_by="t",
    )
    assert [item.campaign_space_id for item in made] == [campaign, campaign, None]
    assert made[0].user_id == user
    page = world.store.list(world.tenant, Filters(campaign_space_id=campaign.urn))  # type: ignore[arg-type]
    assert len(page.items) == 2


def test_a_reservation_of_another_brand_is_not_settled(world: World) -> None:
    brand = uuid4()
    world.run("INSERT INTO brands (id, tenant_id, name) VALUES (%s, %s, 'B')", brand, world.tenant)
    held = world.ledger.reserve(world.tenant, None, bytes=10, items=1)
    with pytest.raises(InvalidContent, match="reservation is of tenant"):
        world.store.create_many(world.tenant, [NewContent("T", "b", brand_id=brand)], created_by="t", reservation=held)
    assert list(world.tiers.store.scan("content_items")) == []


def test_bodies_beyond_the_memory_of_a_call_are_refused_or_read_in_groups(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [world.dark.create(world.tenant, NewContent("T", f"{n}" * 10), created_by="t").id for n in range(3)]
    monkeypatch.setattr(reading, "MAX_READ_BYTES", 25)
    with pytest.raises(InvalidContent, match="name 30 bytes"):
        world.store.get_many(world.tenant, ids)
    assert len(world.store.get_many(world.tenant, ids[:2])) == 2
    monkeypatch.setattr(reading, "_GROUP_BYTES", 15)
    page = world.store.list(world.tenant)
    assert [entry.preview for entry in page.items] == ["2" * 10, "1" * 10, "0" * 10]


def test_a_search_says_what_it_did_not_look_at(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.dark.create(world.tenant, NewContent("Some title", "word"), created_by="t")
    found = world.store.search_bodies(world.tenant, "word")
    assert (list(found.items), found.complete) == ([], False)
    assert "wait for ZeroDB" in (found.notice or "")
    monkeypatch.setattr(search, "MAX_TITLES", 1)
    titles = world.store.search_titles(world.tenant, "title")
    assert (len(titles.items), titles.complete) == (1, False)
    assert "not all were ranked" in (titles.notice or "")
