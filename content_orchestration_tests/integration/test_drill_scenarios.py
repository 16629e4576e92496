"""A drill tells the truth: a recovery that was sabotaged is not verified, a disaster that nobody sees is not recovered.

That each disaster is recovered from, all six through Dagster, is in `e2e/test_restore_definitions.py`. One sabotage
runs always, the one that only the full comparison finds; the others under SOAK=1.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import psycopg
import pytest

from content_orchestration.core.drill import recovery
from content_orchestration.core.drill.content import item_id
from content_orchestration.core.drill.detection import Finding, bodies_are_true, copies_agree
from content_orchestration.core.drill.engine import Drill
from content_orchestration.core.drill.recovery import Found
from content_orchestration.core.drill.result import DrillResult
from content_orchestration.core.drill.scenarios import BY_NAME, Scenario
from content_orchestration.core.drill.scratch import Scratch, ScratchStore
from content_orchestration.core.drill.world import World, built_world
from content_orchestration.core.errors import Transient
from content_orchestration.core.restore.engine import Restorer
from content_orchestration.core.restore.request import RestoreRequest, Scope
from content_orchestration.settings import Settings
from content_orchestration_tests.drill_tiers import open_scratch, scratch_names

ITEMS = 100


@pytest.fixture(scope="module")
def scratch(settings: Settings) -> Iterator[Scratch]:
    with scratch_names(settings) as names, open_scratch(settings, names) as opened:
        yield opened


def carry_out(scratch: Scratch, scenario: Scenario) -> DrillResult:
    return Drill(scratch, items=ITEMS, run_id="test").run(scenario)


def sql(world: World, text: str) -> None:
    with world.scratch.database.connection() as connection:
        connection.execute(text)  # type: ignore[arg-type]


def restore(world: World, request: RestoreRequest) -> None:
    tiers = world.scratch
    restorer = Restorer(tiers.database, tiers.store, tiers.warehouse, run_id="sabotage")
    restorer.run(request, restorer.plan(request).plan_hash)


def one_version_record_less(world: World, found: Found) -> Mapping[str, Any]:
    recovery.after_dropped_tables(world, found)
    sql(world, "DELETE FROM content_versions WHERE id = (SELECT id FROM content_versions ORDER BY id LIMIT 1)")
    return {}


def one_body_with_another_text_and_its_hash(world: World, found: Found) -> Mapping[str, Any]:
    recovery.after_empty_zerodb(world, found)
    document = next(world.scratch.store.scan("content_items"))
    world.scratch.store.replace("content_items", document | {"body": str(document["body"]) + " "})
    return {}


def another_tenant(world: World, found: Found) -> Mapping[str, Any]:
    began = found["no_transaction_touched_most_rows"].facts["began"]
    scope = Scope.tenants([world.tenant_ids()[0]])
    restore(world, RestoreRequest(scope=scope, as_of=began - timedelta(seconds=1)))
    return {}


def one_blank_in_one_title(world: World, found: Found) -> Mapping[str, Any]:
    """Replicated like any edit: every copy agrees, and only the state from before the disaster tells it."""
    recovery.after_bad_update(world, found)
    sql(world, f"UPDATE content_storage_metadata SET title = title || ' ' WHERE id = '{item_id(0)}'")
    return {}


def nothing_at_all(world: World, found: Found) -> Mapping[str, Any]:
    return {}


def an_older_state(world: World, found: Found) -> Mapping[str, Any]:
    recovery.after_losing_both(world, found)
    query = f"SELECT MIN(sync_id) AS first FROM `{world.scratch.warehouse.qualified('content_sync_log')}`"
    first = next(world.scratch.warehouse.query(query))["first"]
    restore(world, RestoreRequest(as_of=first, on_conflict="overwrite"))
    return {}


def a_document_too_many(world: World, found: Found) -> Mapping[str, Any]:
    recovery.after_empty_zerodb(world, found)
    world.scratch.store.put_many("content_media_files", [{"id": "nobody's"}])
    return {}


SABOTAGES = [
    ("bad_update", one_blank_in_one_title, {"changed": 1}),
    ("metadata_tables_dropped", one_version_record_less, {"missing": 1}),
    ("zerodb_emptied", one_body_with_another_text_and_its_hash, {"changed": 1}),
    ("zerodb_emptied", a_document_too_many, {"extra": 1}),
    ("tenant_deleted", another_tenant, {}),
    ("bodies_corrupted", nothing_at_all, {}),
    ("both_lost_during_sync", an_older_state, {}),
]


@pytest.mark.parametrize(("name", "sabotage", "told"), SABOTAGES if os.environ.get("SOAK") == "1" else SABOTAGES[:1])
def test_a_sabotaged_recovery_is_not_verified(
    scratch: Scratch, name: str, sabotage: Callable[[World, Found], Mapping[str, Any]], told: dict[str, int]
) -> None:
    result = carry_out(scratch, replace(BY_NAME[name], recover=sabotage))
    assert result.error is None
    assert result.detected_by is not None
    assert not result.verified
    counts = {kind: found["count"] for kind, found in result.differences.items()}
    if told:
        assert counts == {"missing": 0, "extra": 0, "changed": 0} | told
    else:
        assert sum(counts.values()) > 5
    assert result.rows_lost == counts["missing"] + counts["changed"]
    assert result.as_metadata()["verified"] == "no"


def nothing_happens(world: World) -> None:
    pass


def test_a_disaster_that_no_check_finds_is_not_recovered_from(scratch: Scratch) -> None:
    result = carry_out(scratch, replace(BY_NAME["zerodb_emptied"], strike=nothing_happens))
    assert not result.verified
    assert result.error == (
        "Permanent: no check found the disaster (bodies_are_true): nobody would have known, so nothing was recovered"
    )
    assert (result.detected_by, result.rows_lost, result.rto_seconds) == (None, None, None)


def test_a_recovery_that_needs_what_was_not_found_says_so(scratch: Scratch) -> None:
    scenario = replace(BY_NAME["zerodb_emptied"], recover=recovery.after_bad_update)
    result = carry_out(scratch, scenario)
    assert str(result.error).startswith("Permanent: no_transaction_touched_most_rows found nothing")
    assert not result.verified


def fails(error: Exception) -> Callable[[World, Found], Mapping[str, Any]]:
    def recover(world: World, found: Found) -> Mapping[str, Any]:
        raise error

    return recover


def test_a_recovery_that_fails_is_a_result(scratch: Scratch) -> None:
    failing = fails(psycopg.errors.UndefinedTable("no such table"))
    result = carry_out(scratch, replace(BY_NAME["zerodb_emptied"], recover=failing))
    assert result.error == "UndefinedTable: no such table"
    assert result.detected_by == "bodies_are_true"
    assert not result.verified


def test_a_server_that_is_down_is_no_result_and_the_world_goes_all_the_same(scratch: Scratch) -> None:
    with pytest.raises(Transient, match="is down"):
        carry_out(scratch, replace(BY_NAME["zerodb_emptied"], recover=fails(Transient("ZeroDB is down"))))
    assert not scratch.warehouse.table_names()
    assert not scratch.store.collections()


def always_alarmed(world: World) -> Finding:
    return Finding("something is always wrong")


def test_a_check_that_always_speaks_detects_nothing(scratch: Scratch) -> None:
    scenario = replace(
        BY_NAME["zerodb_emptied"], strike=nothing_happens, recover=nothing_at_all, detectors=(always_alarmed,)
    )
    result = carry_out(scratch, scenario)
    assert result.left_over == {"before the disaster": "always_alarmed: something is always wrong"}
    assert result.rows_lost == 0
    assert not result.verified


class NoStore:
    """A document store that does not answer."""

    def get_many(self, collection: str, ids: Any) -> Any:
        raise Transient("ZeroDB does not answer")


def test_the_checks_behind_a_recovery_see_what_only_bigquery_lost_and_know_when_they_cannot_look(
    scratch: Scratch,
) -> None:
    with built_world(scratch, ITEMS, "test") as world:
        assert copies_agree(world) is None
        table = scratch.warehouse.qualified("content_storage_dr")
        list(scratch.warehouse.query(f"DELETE FROM `{table}` WHERE entity_id = '{item_id(1)}'"))
        finding = copies_agree(world)
        assert finding is not None
        assert "content_storage_dr: missing_in_warehouse 1" in finding.said
        assert "PostgreSQL 91 rows, BigQuery 90" in finding.said
        blind = replace(world, scratch=replace(scratch, store=cast(ScratchStore, NoStore())))
        with pytest.raises(Transient, match="bodies could not be read: ZeroDB does not answer"):
            bodies_are_true(blind)
