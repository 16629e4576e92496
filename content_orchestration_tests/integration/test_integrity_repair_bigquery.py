"""Repair of BigQuery's history: what is missing, wrong, rotten or there twice is superseded, and only that."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from content_orchestration.core.errors import AlreadyRunning, Transient
from content_orchestration.core.identity import sha256_hex
from content_orchestration.core.integrity.findings import Comparison, Difference, Kind
from content_orchestration.core.integrity.recheck import look_again
from content_orchestration.core.integrity.repair import Repairer
from content_orchestration.core.integrity.resend import resend
from content_orchestration.core.replication.payload import single_row
from content_orchestration.core.replication.tables import CONTENT_MEDIA, CONTENT_STORAGE, CONTENT_VERSIONS
from content_orchestration.settings import Settings
from content_orchestration_tests.repair_world import LIMITS, RepairWorld, told
from content_orchestration_tests.replication_model import assert_cursor
from content_orchestration_tests.tiers import Tiers
from content_orchestration_tests.zerodb_world import TENANTS, body_id, found, open_world, populate

STORAGE, VERSIONS, MEDIA = "content_storage_dr", "content_versions_dr", "content_media_dr"
ENTITIES = {STORAGE: CONTENT_STORAGE, VERSIONS: CONTENT_VERSIONS, MEDIA: CONTENT_MEDIA}


@pytest.fixture
def world(settings: Settings, database_url: str, zerodb_project: str, tiers: Tiers) -> Iterator[RepairWorld]:
    with open_world(settings, database_url, zerodb_project) as opened:
        populate(opened)
        made = RepairWorld(opened, tiers)
        made.sync()
        yield made


def change(world: RepairWorld, table: str, statement: str) -> None:
    list(world.tiers.warehouse.query(statement.replace("{table}", f"`{world.tiers.warehouse.qualified(table)}`")))


def load(world: RepairWorld, table: str, **row: Any) -> None:
    base = {
        "sync_id": 1, "sync_part": 0, "synced_at": datetime.now(UTC), "op": "upsert", "tenant_id": str(TENANTS[0]),
        "row_json": "{}", "row_sha256": sha256_hex("{}"),
    }  # fmt: skip
    world.tiers.warehouse.load_parquet(table, single_row(ENTITIES[table].table, base | row), f"job-{uuid4()}")


def past_the_triggers(world: RepairWorld, *statements: str) -> None:
    with world.tiers.database.connection() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            connection.execute(statement)  # type: ignore[arg-type]


def still(world: RepairWorld) -> set[tuple[str, str, str]]:
    """What differs between PostgreSQL and BigQuery by rows, and by the hashes of what BigQuery holds now."""
    differences = {
        (str(d.kind), d.table, d.entity_id) for comparison in world.rows().values() for d in comparison.differences
    }
    for table in ENTITIES:
        view = world.tiers.warehouse.qualified(table.removesuffix("_dr") + "_current")
        body = "body, body_sha256" if table != MEDIA else "NULL AS body, NULL AS body_sha256"
        for row in world.tiers.warehouse.query(f"SELECT entity_id, row_json, row_sha256, {body} FROM `{view}`"):
            if sha256_hex(row["row_json"]) != row["row_sha256"]:
                differences.add(("corrupt_payload", table, row["entity_id"]))
            if table != MEDIA and row["body"] is None:
                differences.add(("body_missing_in_warehouse", table, row["entity_id"]))
            elif table != MEDIA and sha256_hex(row["body"]) != row["body_sha256"]:
                differences.add(("corrupt_body_in_warehouse", table, row["entity_id"]))
    return differences


def report_of(world: RepairWorld, found_: set[tuple[str, str, str]]) -> int:
    listed = [Difference(Kind(kind), table, key) for kind, table, key in sorted(found_)]
    return world.report([Comparison("rows", differences=listed)])


def item(world: RepairWorld, number: int) -> str:
    return str(world.zerodb.items[number])


def several_at_once(world: RepairWorld) -> set[str]:
    """One difference of each kind, each at an item of its own; the ids that are concerned."""
    ids = {name: item(world, number) for number, name in enumerate(
        ("lost", "title", "payload", "body", "no_body", "twice", "deleted"), 0)}  # fmt: skip
    change(world, STORAGE, f"DELETE FROM {{table}} WHERE entity_id = '{ids['lost']}'")
    wrong = json.dumps({"id": ids["title"], "title": "wrong"})
    hashed = sha256_hex(wrong)
    at = {name: f"WHERE entity_id = '{key}'" for name, key in ids.items()}
    change(world, STORAGE, f"UPDATE {{table}} SET row_json = '{wrong}', row_sha256 = '{hashed}' {at['title']}")
    change(world, STORAGE, f"UPDATE {{table}} SET row_json = CONCAT(row_json, ' ') {at['payload']}")
    change(world, STORAGE, f"UPDATE {{table}} SET body = CONCAT(body, ' ') WHERE entity_id = '{ids['body']}'")
    change(world, STORAGE, f"UPDATE {{table}} SET body = NULL WHERE entity_id = '{ids['no_body']}'")
    change(world, STORAGE, f"INSERT INTO {{table}} SELECT * FROM {{table}} WHERE entity_id = '{ids['twice']}'")
    past_the_triggers(world, f"DELETE FROM content_storage_metadata WHERE id = '{ids['deleted']}'")
    stranger = str(uuid4())
    load(world, MEDIA, entity_id=stranger, content_id=None)
    ids["stranger"] = stranger
    return set(ids.values())


def test_one_of_each_is_brought_back_and_nothing_else_is_sent(world: RepairWorld) -> None:
    ids = several_at_once(world)
    before = still(world)
    assert {key for _, _, key in before} == ids, before
    report = world.repair(report_of(world, before))
    assert report.clean, told(report)
    assert still(world) == set()
    assert_cursor(world.tiers)
    sent = world.zerodb.run(
        "SELECT entity_id::text AS id, op FROM content_changes WHERE change_id > "
        "(SELECT max(change_id) FROM content_changes WHERE op = 'I')"
    )
    entries = {(row["id"], row["op"]) for row in sent if row["id"] in ids}
    assert entries == {
        (key, "D" if key in (item(world, 6), *(k for k in ids if k not in map(str, world.zerodb.items))) else "U")
        for key in ids
    }
    outcomes = {row["entity_id"]: row["detail"].get("sent_as") for row in world.repairs()}
    assert outcomes[item(world, 6)] == "tombstone"
    assert outcomes[item(world, 0)] == "row"
    loaded = world.tiers.warehouse.row_count(STORAGE)
    assert world.repair(report_of(world, before), run_id="again").outcomes == {"already_clean": len(before)}
    assert world.tiers.warehouse.row_count(STORAGE) == loaded


def test_a_body_that_zerodb_lost_is_taken_from_an_older_state_of_the_history(world: RepairWorld) -> None:
    """The newest state has no body, ZeroDB has none: the state before it does, and its hash proves it."""
    key, document = item(world, 1), body_id(world.zerodb.items[1], 2)
    right = world.zerodb.document("content_items", document)
    world.zerodb.remove("content_items", document)
    world.zerodb.run("UPDATE content_storage_metadata SET title = 'touched' WHERE id = %s", key)
    assert world.sync().bodies_withheld == 1
    missing = {("body_missing_in_warehouse", STORAGE, key)}
    assert missing <= still(world)
    report = world.repair(report_of(world, missing))
    assert report.clean, told(report)
    assert still(world) == set()
    stored = world.zerodb.document("content_items", document)
    assert {name: stored[name] for name in right} == right | {"title": "touched"}
    assert (report.actions[0].detail["source"], report.actions[0].detail["did"]) == ("bigquery", "inserted")
    assert found(world.zerodb.comparisons()) == set()


def test_a_row_whose_body_is_nowhere_is_not_sent_without_it(world: RepairWorld) -> None:
    key, document = item(world, 1), body_id(world.zerodb.items[1], 2)
    wrong = json.dumps({"id": key})
    change(world, STORAGE, f"UPDATE {{table}} SET row_json = '{wrong}', body = 'x' WHERE entity_id = '{key}'")
    change(world, VERSIONS, f"UPDATE {{table}} SET body = NULL WHERE zerodb_row_id = '{document}'")
    world.zerodb.change("content_items", document, body="spoilt")
    rows = world.tiers.warehouse.row_count(STORAGE)
    report = world.repair(report_of(world, {("corrupt_payload", STORAGE, key)}))
    assert report.outcomes == {"refused": 1}
    assert "its body would be withheld: no text with SHA-256" in report.actions[0].detail["reason"]
    assert world.tiers.warehouse.row_count(STORAGE) == rows


def tombstones(world: RepairWorld, key: str) -> list[dict[str, Any]]:
    return world.zerodb.run(
        "SELECT tenant_id::text AS tenant_id, last_row FROM content_changes WHERE entity_id = %s AND op = 'D'", key
    )


UNREADABLE = (
    '{"id": 1, "url": "\\u0000"}',
    '{"id": 1, "x": "\\ud800"}',
    "not json at all",
    "[1]",
)


def test_a_tombstone_carries_what_postgresql_can_read_or_its_key_alone(world: RepairWorld) -> None:
    """rows_content_media reads the payload of a tombstone as JSON: one that is none would stop every sync after it."""
    cases = [(payload, payload, False) for payload in UNREADABLE]
    cases += [('{"id": 1, "tenant_id": 7}', '{"id": 1, "tenant_id": 7}', True), ('{"id": 1}', "not its text", False)]
    keys = {str(uuid4()): case for case in cases}
    for key, (payload, hashed, _) in keys.items():
        load(world, MEDIA, entity_id=key, row_json=payload, row_sha256=sha256_hex(hashed))
    done = resend(world.tiers.database, world.tiers.warehouse, CONTENT_MEDIA, dict.fromkeys(keys, str(TENANTS[1])))
    assert (done.rows, sorted(done.tombstones), done.refused) == ([], sorted(keys), {})
    for key, (payload, _, readable) in keys.items():
        last_row = payload if readable else json.dumps({"id": key})
        assert tombstones(world, key) == [{"tenant_id": str(TENANTS[1]), "last_row": last_row}], payload

    # The newest state that is proven, and the tenant that it names, go before what the difference says.
    key = str(uuid4())
    proven = json.dumps({"id": key, "tenant_id": str(TENANTS[1]), "title": "as it was"})
    load(world, MEDIA, entity_id=key, sync_id=1, row_json=proven, row_sha256=sha256_hex(proven))
    load(world, MEDIA, entity_id=key, sync_id=2, row_json='{"rotten": 1}', row_sha256=sha256_hex("no"))
    resend(world.tiers.database, world.tiers.warehouse, CONTENT_MEDIA, {key: str(TENANTS[0])})
    assert tombstones(world, key) == [{"tenant_id": str(TENANTS[1]), "last_row": proven}]
    world.sync()
    assert still(world) == set()

    of_nobody = str(uuid4())
    load(world, MEDIA, entity_id="Not-A-Key")
    load(world, MEDIA, entity_id=of_nobody, tenant_id="nobody")
    refused = resend(world.tiers.database, world.tiers.warehouse, CONTENT_MEDIA, {"Not-A-Key": None, of_nobody: None})
    assert (refused.rows, refused.tombstones) == ([], [])
    assert "the key is no UUID" in refused.refused["Not-A-Key"]
    assert "a tombstone names its tenant" in refused.refused[of_nobody]
    only = resend(world.tiers.database, world.tiers.warehouse, CONTENT_MEDIA, {"Not-A-Key": None})
    assert list(only.refused) == ["Not-A-Key"]


def test_what_is_on_its_way_is_neither_different_nor_repaired(world: RepairWorld) -> None:
    key = item(world, 0)
    number = report_of(world, {("different_in_warehouse", STORAGE, key)})
    world.zerodb.run("UPDATE content_storage_metadata SET title = 'later' WHERE id = %s", key)
    (action,) = world.repair(number, dry_run=True).actions
    assert action.outcome == "unknown"
    assert "the row changed since the last closed window" in action.detail["reason"]
    assert world.repair(number).outcomes == {"already_clean": 1}, "the repair begins with a sync"

    # A sync that runs beside is waited for, twice here.
    change(world, STORAGE, f"DELETE FROM {{table}} WHERE entity_id = '{key}'")
    waits: list[float] = []
    busy = iter([AlreadyRunning("replication is already running"), None, AlreadyRunning("again"), None])

    def sync() -> None:
        error = next(busy)
        if error:
            raise error
        world.sync()

    repairer = Repairer(world.sides, LIMITS, sync, run_id="r", sleep=waits.append)
    assert repairer.repair(number, kinds=[], max_repairs=10, dry_run=False).clean
    assert waits == [5.0, 5.0]

    # Without a sync nothing is called repaired; the next one carries what was written.
    for error in (AlreadyRunning("replication is already running"), Transient("BigQuery is down")):
        change(world, STORAGE, f"DELETE FROM {{table}} WHERE entity_id = '{key}'")

        def never(error: Exception = error) -> None:
            raise error

        repairer = Repairer(world.sides, LIMITS, never, run_id="r", sleep=waits.append, sync_attempts=2)
        report = repairer.repair(number, kinds=[], max_repairs=10, dry_run=False)
        assert report.outcomes == {"unknown": 1}
        assert report.problems == [str(error)] * 2
        assert world.repair(number).outcomes == {"already_clean": 1}

    class Down:
        def __getattr__(self, name: str) -> Callable[..., Any]:
            def fail(*given: Any, **named: Any) -> Any:
                raise Transient("BigQuery is down")

            return fail

    world.sides = replace(world.sides, warehouse=Down())  # type: ignore[arg-type]
    report = world.repair(number, dry_run=True)
    assert report.outcomes == {"unknown": 1}
    assert "BigQuery is down" in report.actions[0].detail["reason"]


def test_the_look_hashes_what_bigquery_holds_now(world: RepairWorld) -> None:
    """A rotten state that a newer one supersedes is no difference: it is what a repair leaves behind."""
    key = item(world, 3)
    change(world, STORAGE, f"UPDATE {{table}} SET body = CONCAT(body, ' ') WHERE entity_id = '{key}'")
    number = report_of(world, {("corrupt_body_in_warehouse", STORAGE, key)})
    report = world.repair(number, dry_run=True)
    assert [(str(a.found.difference.kind), a.outcome) for a in report.actions] == [("corrupt_body_in_warehouse", None)]
    assert world.repair(number).clean
    look = look_again(world.sides, LIMITS, report.actions)
    assert look.differences == {}
    assert {comparison.name for comparison in look.comparisons} == {f"{STORAGE}: rows", f"{STORAGE}: hashes"}


def test_rot_in_a_replaced_state_is_refused_since_nothing_proves_it(world: RepairWorld) -> None:
    past = Difference(Kind.CORRUPT_PAYLOAD, STORAGE, item(world, 0), None, {"sync_id": 1, "superseded": True})
    report = world.repair(world.report([Comparison("deep", differences=[past])]))
    assert report.outcomes == {"refused": 1}
    assert "none of them holds its content" in report.actions[0].detail["reason"]
