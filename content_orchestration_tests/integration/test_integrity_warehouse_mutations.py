"""Every way to make PostgreSQL and BigQuery differ is found, named rightly, at the right id, and nothing else is."""

import os
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from content_orchestration.core.integrity.deep import deep_compare
from content_orchestration.core.integrity.findings import Comparison
from content_orchestration.core.integrity.warehouse_rows import compare_rows
from content_orchestration.core.replication.tables import ENTITIES
from content_orchestration_tests.integrity_mutations import MUTATIONS, Expected, Mutation, populate
from content_orchestration_tests.replication_fakes import sync
from content_orchestration_tests.replication_model import TABLES, version_id
from content_orchestration_tests.tiers import Tiers

SOAK = os.environ.get("SOAK") == "1"
MAX_BYTES = 10 * 1024**3
UNTOUCHED = 60
ENTITY_OF = {entity.table.name: entity for entity in ENTITIES}


def compared(tiers: Tiers) -> tuple[list[Comparison], list[Comparison]]:
    """Both tiers over all tables."""
    rows = [compare_rows(tiers.database, tiers.warehouse, entity, max_bytes=MAX_BYTES) for entity in ENTITIES]
    deep = [
        deep_compare(tiers.database, tiers.warehouse, entity, max_bytes=MAX_BYTES, days=None) for entity in ENTITIES
    ]
    return rows, deep


def found(comparisons: Iterable[Comparison]) -> set[tuple[str, str, str]]:
    """Table, kind and id of every difference; each is there once."""
    differences = [d for comparison in comparisons for d in comparison.differences]
    keys = [(d.table, str(d.kind), d.entity_id) for d in differences]
    assert len(keys) == len(set(keys)), "a difference was named twice"
    assert all(d.tenant_id for d in differences)
    return set(keys)


class World:
    """Items for every mutation and many that nothing touches, replicated."""

    def __init__(self, tiers: Tiers, mutations: Iterable[Mutation]) -> None:
        self.tiers = tiers
        self.targets: list[tuple[Mutation, str, str]] = []
        items: list[UUID] = [uuid4() for _ in range(UNTOUCHED)]
        media: list[UUID] = [uuid4() for _ in range(UNTOUCHED)]
        for mutation in mutations:
            a, b = uuid4(), uuid4()
            if mutation.table == "media_assets":
                media += [a, b]
            else:
                items += [a, b]
            if mutation.table == "content_versions":
                a, b = version_id(a, 1), version_id(b, 1)
            self.targets.append((mutation, str(a), str(b)))
        populate(tiers, items, media)
        sync(tiers)
        prepared = [target for target in self.targets if target[0].prepare]
        for mutation, a, b in prepared:
            assert mutation.prepare
            mutation.prepare(tiers, a, b)
        if prepared:
            sync(tiers)

    def mutate(self) -> tuple[set[tuple[str, str, str]], set[tuple[str, str, str]]]:
        """Apply every mutation; what both tiers must find."""
        rows: set[tuple[str, str, str]] = set()
        deep: set[tuple[str, str, str]] = set()
        for mutation, a, b in self.targets:
            expected: Expected = mutation.apply(self.tiers, a, b)
            assert expected.rows or expected.deep
            table = TABLES[mutation.table]
            rows |= {(table, str(kind), each) for kind, each in expected.rows}
            deep |= {(table, str(kind), each) for kind, each in expected.deep}
        return rows, deep


def test_every_mutation_is_found_and_named_and_nothing_else(tiers: Tiers) -> None:
    assert len(MUTATIONS) >= 40
    world = World(tiers, MUTATIONS)
    clean = compared(tiers)
    assert found(clean[0] + clean[1]) == set()
    assert all(comparison.outcome == "agree" for comparison in clean[0] + clean[1])
    wanted_rows, wanted_deep = world.mutate()
    rows, deep = compared(tiers)
    assert found(rows) == wanted_rows
    assert found(deep) == wanted_deep
    with tiers.database.connection() as connection:
        for entity, comparison in zip(ENTITIES, rows, strict=True):
            table = next(name for name, history in TABLES.items() if history == entity.table.name)
            held = connection.execute(f"SELECT count(*) AS n FROM {table}").fetchone()  # type: ignore[arg-type]
            assert held is not None
            assert (comparison.attempted, comparison.compared, comparison.skipped) == (held["n"], held["n"], {})


def test_a_row_that_is_sent_again_is_clean_again(tiers: Tiers) -> None:
    """What a repair does: the same content once more under a later sync id. Old rot is then a healed, skipped state."""
    mutations = [
        m for m in MUTATIONS if m.name.startswith(("a bit", "a state", "a body is gone", "the payload is empt"))
    ]
    world = World(tiers, mutations)
    world.mutate()
    with tiers.database.connection() as connection:
        connection.execute("UPDATE content_storage_metadata SET id = id")
        connection.execute("UPDATE content_versions SET id = id")
    sync(tiers)
    rows, deep = compared(tiers)
    assert found(rows + deep) == set()
    assert sum(sum(comparison.skipped.values()) for comparison in deep) > 0


def test_content_that_no_later_state_holds_stays_a_difference(tiers: Tiers) -> None:
    """Rot in a state that the row has since left is lost history, and says so."""
    [first] = [m for m in MUTATIONS if m.name == "a bit of the payload flips and its hash stays"]
    [body] = [m for m in MUTATIONS if m.name == "a bit of a body flips"]
    [gone] = [m for m in MUTATIONS if m.name == "a body is gone"]
    world = World(tiers, [first, body, gone])
    world.mutate()
    payload_id, body_id, gone_id = (a for _, a, _ in world.targets)
    with tiers.database.connection() as connection:
        for each in (payload_id, body_id, gone_id):
            connection.execute(
                "UPDATE content_storage_metadata SET title = 'moved on', zerodb_row_id = zerodb_row_id || '-gone', "
                "body_sha256 = repeat('0', 64) WHERE id = %s",
                (each,),
            )
    sync(tiers)
    _, deep = compared(tiers)
    told = {(d.entity_id, str(d.kind)): d.detail["superseded"] for c in deep for d in c.differences}
    # The new states have no body at all in ZeroDB, so theirs are missing too.
    assert told == {
        (payload_id, "corrupt_payload"): True,
        (body_id, "corrupt_body_in_warehouse"): True,
        **{(each, "body_missing_in_warehouse"): False for each in (payload_id, body_id, gone_id)},
    }


@contextmanager
def restored(tiers: Tiers) -> Iterator[None]:
    """Puts PostgreSQL's rows and BigQuery's history back afterwards, behind the triggers."""
    histories = {name: f"`{tiers.warehouse.qualified(name)}`" for name in TABLES.values()}
    kept = {name: f"`{tiers.warehouse.qualified('kept_' + name)}`" for name in TABLES.values()}
    for name, history in histories.items():
        list(tiers.warehouse.query(f"CREATE OR REPLACE TABLE {kept[name]} AS SELECT * FROM {history}"))
    with tiers.database.connection() as connection:
        for table in TABLES:
            connection.execute(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}")  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name, history in histories.items():
            list(tiers.warehouse.query(f"DELETE FROM {history} WHERE TRUE"))
            list(tiers.warehouse.query(f"INSERT INTO {history} SELECT * FROM {kept[name]}"))
        with tiers.database.connection() as connection:
            connection.execute("SET LOCAL session_replication_role = replica")
            for table in TABLES:
                connection.execute(f"DELETE FROM {table}")  # type: ignore[arg-type]
                connection.execute(f"INSERT INTO {table} SELECT * FROM kept_{table}")  # type: ignore[arg-type]
                connection.execute(f"DROP TABLE kept_{table}")  # type: ignore[arg-type]


def test_any_mutations_together_on_any_rows(tiers: Tiers) -> None:
    """Generated: some mutations, in any order, each on rows of its own; the rest of the world stays clean."""
    world = World(tiers, MUTATIONS)
    everything = list(world.targets)

    @hypothesis_settings(
        max_examples=60 if SOAK else 2, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(
        chosen=st.lists(st.sampled_from(range(len(MUTATIONS))), min_size=1, max_size=6, unique=True), seed=st.integers()
    )
    def generated(chosen: list[int], seed: int) -> None:
        # Rows that a preparation changed stay with their mutation; all others change places.
        free = [(a, b) for m, a, b in everything if not m.prepare and m.table == "content_storage_metadata"]
        random.Random(seed).shuffle(free)
        world.targets = []
        for index in chosen:
            mutation, a, b = everything[index]
            if not mutation.prepare and mutation.table == "content_storage_metadata":
                a, b = free.pop()
            world.targets.append((mutation, a, b))
        with restored(tiers):
            wanted_rows, wanted_deep = world.mutate()
            rows, deep = compared(tiers)
            assert found(rows) == wanted_rows
            assert found(deep) == wanted_deep

    generated()
    rows, deep = compared(tiers)
    assert found(rows + deep) == set()


@pytest.mark.parametrize("name", sorted(ENTITY_OF))
def test_what_a_difference_tells(tiers: Tiers, name: str) -> None:
    """Hashes, tenants and the sync of both sides are in the detail."""
    by_table = {"content_storage_dr": "a status that no trigger saw", "content_versions_dr": "a version record changes",
                "content_media_dr": "a media file points elsewhere"}  # fmt: skip
    [mutation] = [m for m in MUTATIONS if m.name == by_table[name]]
    world = World(tiers, [mutation])
    world.mutate()
    comparison = compare_rows(tiers.database, tiers.warehouse, ENTITY_OF[name], max_bytes=MAX_BYTES)
    [difference] = comparison.differences
    detail: dict[str, Any] = dict(difference.detail)
    assert detail["postgres_sha256"] != detail["warehouse_sha256"]
    assert detail["postgres_tenant_id"] == detail["warehouse_tenant_id"] == difference.tenant_id
    assert (detail["warehouse_op"], detail["copies"], detail["sync_id"]) == ("upsert", 1, comparison.as_of_sync_id)
