"""Every way to make PostgreSQL and ZeroDB differ: found, named rightly, at the right id, and nothing else.

`SOAK=1` runs the generated ones with their full count.
"""

import json
import os
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as tuned
from hypothesis import strategies as st

from content_orchestration.core.errors import Permanent
from content_orchestration.core.integrity.bodies import NO_ROW, check_ids, scan_bodies
from content_orchestration.core.integrity.media import compare_media
from content_orchestration.core.integrity.pairs import SPILLED
from content_orchestration.core.integrity.versions import compare_versions
from content_orchestration.settings import Settings
from content_orchestration_tests.zerodb_mutations import ITEMS, MEDIA, MUTATIONS, VERSIONS
from content_orchestration_tests.zerodb_world import (
    TENANTS,
    Altered,
    World,
    assert_adds_up,
    body_id,
    empty,
    found,
    populate,
    scratch_world,
    sha256,
)

EXAMPLES = 400 if os.environ.get("SOAK") else 15


@pytest.fixture(scope="module")
def shared(_server: psycopg.Connection, _migrated_template: str, settings: Settings) -> Iterator[World]:
    with scratch_world(_server, _migrated_template, settings) as world:
        yield world


@pytest.fixture
def world(shared: World) -> World:
    empty(shared)
    populate(shared)
    return shared


def test_there_are_enough_mutations() -> None:
    assert len(MUTATIONS) >= 50


def test_nothing_differs_where_all_agree(world: World) -> None:
    comparisons = world.comparisons()
    assert found(comparisons) == set()
    bodies = sum(number % 3 + 1 for number in range(14)) + 1
    assert {name: each.attempted for name, each in comparisons.items()} == {
        "bodies": bodies,
        "documents": 2 * (bodies - 1) + 6,
        "versions": 15 + bodies,
        "media": 6,
        "spill": 1,
        "usage": 2,
    }
    assert {name: each.skipped for name, each in comparisons.items() if each.skipped} == {
        "bodies": {SPILLED: 1},
        "versions": {SPILLED: 1},
    }
    assert all(each.seconds > 0 for each in comparisons.values())


@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_a_mutation_is_found_and_nothing_else(world: World, name: str) -> None:
    expected = MUTATIONS[name](world)
    comparisons = world.comparisons()
    assert found(comparisons) == expected
    tenants = {each.tenant_id for comparison in comparisons.values() for each in comparison.differences}
    for tenant in TENANTS:
        by_tenant = found(world.comparisons(tenant_id=str(tenant)))
        assert by_tenant <= expected
        # What is wrong about one tenant is not told to another: only a mutation of tenants concerns both.
        assert by_tenant == set() or "tenant" in name or str(tenant) in tenants


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("half a pair \ud800", "text without UTF-8"),
        (None, "not text"),
        ({"text": "plain"}, "not text"),
        (False, "not text"),
    ],
)
def test_a_body_that_is_no_text_differs(world: World, body: Any, says: str) -> None:
    """The stand-in refuses half of a surrogate pair, another store may give it back."""
    wanted = body_id(world.items[3])

    def alter(collection: str, documents: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {key: document | {"body": body} if key == wanted else document for key, document in documents.items()}

    comparison = check_ids(world.database, Altered(world.store, alter), [str(each) for each in world.items])
    (difference,) = comparison.differences
    assert (difference.kind, difference.entity_id) == ("body_hash_differs", wanted)
    assert (difference.detail["body"], difference.detail["found_sha256"]) == (says, None)


def test_only_the_ids_that_were_asked_for_are_compared(world: World) -> None:
    for number in (0, 2, 4):
        world.change(ITEMS, body_id(world.items[number]), body="wrong")
    nobody = UUID(int=7)
    asked = [str(world.items[2]), str(world.items[3]), str(nobody), str(world.items[2]).upper(), str(world.spilled)]
    comparison = check_ids(world.database, world.store, asked)
    assert_adds_up(comparison)
    assert [each.entity_id for each in comparison.differences] == [body_id(world.items[2])]
    assert (comparison.attempted, comparison.compared) == (6, 4)
    assert comparison.skipped == {SPILLED: 1, NO_ROW: 1}
    assert check_ids(world.database, world.store, []).attempted == 0
    with pytest.raises(Permanent, match="ids is 'x', which is not a UUID"):
        check_ids(world.database, world.store, ["x"])


def test_the_detail_says_where_to_look(world: World) -> None:
    content = world.items[3]
    world.change(ITEMS, body_id(content), body="wrong")
    (difference,) = check_ids(world.database, world.store, [str(content)]).differences
    (record,) = world.run("SELECT id FROM content_versions WHERE content_id = %s", content)
    assert (difference.tenant_id, dict(difference.detail)) == (
        str(TENANTS[1]),
        {
            "content_id": str(content),
            "version": 1,
            "rows": [f"content_storage_metadata:{content}", f"content_versions:{record['id']}"],
            "expected_sha256": sha256("null"),
            "expected_bytes": 4,
            "found_sha256": sha256("wrong"),
            "found_bytes": 5,
            "document_sha256": sha256("null"),
        },
    )


def test_a_row_that_alone_is_wrong_is_named_alone(world: World) -> None:
    world.run("UPDATE content_storage_metadata SET body_sha256 = %s WHERE id = %s", sha256("no"), world.items[3])
    comparisons = world.comparisons()
    assert found(comparisons) == {
        ("body_hash_differs", ITEMS, body_id(world.items[3])),
        ("version_differs", "content_storage_metadata", str(world.items[3])),
    }
    assert comparisons["bodies"].differences[0].detail["rows"] == [f"content_storage_metadata:{world.items[3]}"]
    assert comparisons["versions"].differences[0].detail["fields"] == ["body_sha256"]


@pytest.mark.parametrize("compare", [scan_bodies, compare_versions, compare_media])
def test_a_malformed_tenant_is_refused(world: World, compare: Any) -> None:
    with pytest.raises(Permanent, match="tenant_id is 'acme', which is not a UUID"):
        compare(world.database, world.store, tenant_id="acme")


# --- generated -------------------------------------------------------------------------------------------------------

VALUES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8) | st.lists(st.text(max_size=2))
FIELDS = {
    ITEMS: ["body", "content_id", "tenant_id", "body_sha256"],
    VERSIONS: ["content_id", "tenant_id", "version", "changed_by", "change_reason", "body_sha256", "patch"],
    MEDIA: ["content_id", "tenant_id", "kind", "url", "public_url", "external_id", "mime_type", "size_bytes"],
}


@st.composite
def edits(draw: st.DrawFn) -> list[tuple[str, int, str, Any]]:
    """What is done to documents: (collection, number of the document, operation, value), no document twice."""
    places = st.tuples(st.sampled_from(sorted(FIELDS)), st.integers(0, 5))
    done = []
    for collection, number in draw(st.lists(places, unique=True, max_size=8)):
        operation = draw(st.sampled_from(["remove", "double", *FIELDS[collection]]))
        done.append((collection, number, operation, draw(VALUES)))
    return done


def edit(world: World, collection: str, number: int, operation: str, value: Any) -> tuple[str, str, str] | None:
    """Do it; returns what has to be found."""
    key = str(world.media[number]) if collection == MEDIA else body_id(world.items[number])
    before = world.document(collection, key)
    if operation == "remove":
        world.remove(collection, key)
        return ("document_missing", collection, key)
    if operation == "double":
        world.put(collection, before)
        return ("duplicate_document", collection, key)
    if json.dumps(before[operation]) == json.dumps(value) or (operation, before[operation], value) == (
        "patch",
        [],
        None,
    ):
        return None
    world.change(collection, key, **{operation: value})
    return ("body_hash_differs" if operation == "body" else "document_differs", collection, key)


@tuned(
    max_examples=EXAMPLES, deadline=None, database=None, print_blob=True,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(edits())
def test_generated_edits_are_found_and_nothing_else(shared: World, wanted: list[tuple[str, int, str, Any]]) -> None:
    empty(shared)
    populate(shared)
    expected = {difference for each in wanted if (difference := edit(shared, *each)) is not None}
    assert found(shared.comparisons()) == expected
