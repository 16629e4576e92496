"""A restore that is cut off anywhere is finished by the next run that names its plan, and comes to the same result."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.restore.request import RestoreRequest, Target
from content_orchestration.settings import PROJECT_ROOT
from content_orchestration_tests.replication_fakes import sync
from content_orchestration_tests.replication_model import add_content, assert_equal, insert, media_row, new_version
from content_orchestration_tests.restore_model import IDS, empty, restore, restorer, state, titles_disagree
from content_orchestration_tests.restore_process import RestoreProcesses
from content_orchestration_tests.tiers import Tiers

SOAK = bool(os.environ.get("SOAK"))
# Chunks of about eight rows: every table has several.
CHUNK_BYTES = 5000
FEW = [
    "restore_history_ready",
    "restore_bodies_put:2",
    "restore_rows_written:2",
    "restore_chunk_done:4",
    "restore_usage_done",
]
MORE = [
    "restore_opened",
    "restore_target_ready",
    "restore_bodies_put",
    "restore_bodies_put:5",
    "restore_rows_written",
    "restore_rows_written:6",
    "restore_chunk_done",
    "restore_chunk_done:7",
]
# Behind the end: there is nothing to go on with, and the plan may simply be run again.
CLOSED = "restore_closed"


@pytest.fixture(scope="module")
def processes() -> Iterator[RestoreProcesses]:
    with RestoreProcesses() as started:
        yield started


def written(tiers: Tiers) -> int:
    """Items, a second version, a file; the sync that holds them."""
    with tiers.database.connection() as connection:
        add_content(connection, tiers.store, IDS)
        new_version(connection, tiers.store, IDS[0])
        for each in IDS[:10]:
            insert(connection, "media_assets", media_row(each, content_id=each))
    found = sync(tiers).last_sync_id
    assert found is not None
    return found


def test_the_failpoints_are_those_of_the_engine() -> None:
    folder = PROJECT_ROOT / "content_orchestration" / "core" / "restore"
    text = "".join(Path(path).read_text(encoding="utf-8") for path in folder.glob("*.py"))
    there = set(re.findall(r'reach\("(\w+)"\)', text))
    assert {each.partition(":")[0] for each in [*FEW, *MORE, CLOSED]} | {"restore_chunk_checked"} == there


@pytest.mark.timeout(1200)
def test_a_killed_restore_is_finished_with_the_same_result(tiers: Tiers, processes: RestoreProcesses) -> None:
    sync_id = written(tiers)
    wanted = state(tiers)
    total = sum(len(rows) for rows in wanted.values())
    request = RestoreRequest(as_of=sync_id)
    plan = restorer(tiers, chunk_bytes=CHUNK_BYTES).plan(request)
    for failpoint in [*FEW, *(MORE if SOAK else [])]:
        empty(tiers)
        killed = processes.restore(tiers, sync_id, plan.plan_hash, chunk_bytes=CHUNK_BYTES, failpoint=failpoint)
        assert killed.status == -9, f"{failpoint}: {killed.said}"
        if failpoint != "restore_usage_done":
            assert state(tiers) != wanted, f"{failpoint} is reached when all is done"
        assert titles_disagree(tiers) == 0, f"{failpoint}: rows stand whose titles nobody finds"
        done = processes.restore(tiers, sync_id, plan.plan_hash, chunk_bytes=CHUNK_BYTES)
        assert done.status == 0, f"{failpoint}: {done.said}"
        report = json.loads(done.said)
        assert state(tiers) == wanted, failpoint
        assert titles_disagree(tiers) == 0, failpoint
        assert report["attempts"] == 2
        # What the killed run had committed counts too, and nothing twice.
        assert sum(table["inserted"] for table in report["rows"].values()) == total
        assert report["verification"]["outcome"] == "agree"
    sync(tiers)
    assert_equal(tiers)


@pytest.mark.timeout(600)
def test_killed_behind_its_end_the_plan_may_be_run_again(tiers: Tiers, processes: RestoreProcesses) -> None:
    sync_id = written(tiers)
    wanted = state(tiers)
    empty(tiers)
    plan = restorer(tiers).plan(RestoreRequest(as_of=sync_id))
    killed = processes.restore(tiers, sync_id, plan.plan_hash, chunk_bytes=plan.chunk_bytes, failpoint=CLOSED)
    assert killed.status == -9
    done = processes.restore(tiers, sync_id, plan.plan_hash, chunk_bytes=plan.chunk_bytes)
    rows = json.loads(done.said)["rows"]
    assert sum(table["same"] for table in rows.values()) == plan.rows
    assert state(tiers) == wanted


class Interrupted:
    """Calls a method of a client, and fails from the n-th call on until `heal`."""

    def __init__(self, method: Callable[..., Any], error: Exception, calls: int) -> None:
        self.method, self.error, self.left = method, error, calls

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return self.method(*given, **named)


@pytest.mark.parametrize(
    ("client", "method", "calls"), [("warehouse", "read_arrow", 4), ("store", "put_many", 1), ("store", "get_many", 3)]
)
def test_a_server_that_goes_down_ends_it_clearly_and_the_same_call_goes_on(
    tiers: Tiers, monkeypatch: pytest.MonkeyPatch, client: str, method: str, calls: int
) -> None:
    sync_id = written(tiers)
    wanted = state(tiers)
    empty(tiers)
    engine = restorer(tiers, workers=1, chunk_bytes=CHUNK_BYTES)
    request = RestoreRequest(as_of=sync_id)
    plan = engine.plan(request)
    down = Interrupted(getattr(getattr(tiers, client), method), Transient(f"{client} is down, on purpose"), calls)
    with monkeypatch.context() as patch:
        patch.setattr(getattr(tiers, client), method, down)
        with pytest.raises(Transient, match="is down, on purpose"):
            engine.run(request, plan.plan_hash)
    assert state(tiers) != wanted
    report = engine.run(request, plan.plan_hash)
    assert report.attempts == 2
    assert report.verified
    assert state(tiers) == wanted


def test_a_server_that_comes_back_in_time_is_no_failure(tiers: Tiers, monkeypatch: pytest.MonkeyPatch) -> None:
    sync_id = written(tiers)
    wanted = state(tiers)
    empty(tiers)
    original = tiers.store.put_many
    calls: list[str] = []

    def once(collection: str, documents: Any) -> Any:
        calls.append(collection)
        if len(calls) == 2:
            raise Transient("once, on purpose")
        return original(collection, documents)

    monkeypatch.setattr(tiers.store, "put_many", once)
    assert restore(tiers, RestoreRequest(as_of=sync_id)).verified
    assert state(tiers) == wanted


def test_a_run_that_lost_its_restore_to_another_one_commits_nothing_more(
    tiers: Tiers, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync_id = written(tiers)
    target = Target.scratch("taken", "taken_")
    engine = restorer(tiers, workers=1)
    request = RestoreRequest(as_of=sync_id, target=target)
    plan = engine.plan(request)
    original = tiers.warehouse.read_arrow
    reads: list[str] = []

    def stolen(table: str, columns: Any, restriction: str) -> Any:
        reads.append(table)
        if len(reads) == 5:
            with tiers.database.connection() as connection:
                connection.execute("UPDATE restore_runs SET attempts = attempts + 1")
        return original(table, columns, restriction)

    monkeypatch.setattr(tiers.warehouse, "read_arrow", stolen)
    with pytest.raises(Permanent, match="taken over by another run"):
        engine.run(request, plan.plan_hash)
    with tiers.database.connection() as connection:
        noted = connection.execute("SELECT count(*) AS n FROM restore_progress").fetchone()
        rows = connection.execute(
            "SELECT (SELECT count(*) FROM taken.content_versions) + (SELECT count(*) FROM taken.media_assets) AS n"
        ).fetchone()
        done = connection.execute(
            "SELECT coalesce(sum((outcome -> 'rows' ->> 'inserted')::int), 0) AS n FROM restore_progress"
        ).fetchone()
    assert noted is not None
    assert rows is not None
    assert done is not None
    assert rows["n"] == done["n"], "rows stand that no part is noted for"
