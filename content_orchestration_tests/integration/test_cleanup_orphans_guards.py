"""Each rule that stops a cleanup: nothing goes, the message says why and what to do, and the next pass can go on."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from content_orchestration.core.cleanup import guards, orphans, verdicts
from content_orchestration.core.cleanup.audit import AuditEntry, record
from content_orchestration.core.cleanup.guards import Refused, accept_empty_references, check_ceiling
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.media.model import ObjectInfo
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.cleanup_world import RenderWorld

RUN = "run"
PASSES = (orphans.scan, orphans.quarantine, orphans.delete)


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[RenderWorld]:
    with PostgresClient(database_url) as database:
        made = RenderWorld(database, tmp_path)
        made.anchor()
        orphans.scan(made.context, run_id="first", dry_run=False)
        yield made


def ready(world: RenderWorld) -> None:
    """One orphan that waits for its delete, and one for its quarantine."""
    world.render()
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    orphans.quarantine(world.context, run_id=RUN, dry_run=False)
    world.render()
    orphans.scan(world.context, run_id=RUN, dry_run=False)


def refused(world: RenderWorld, rule: str, *passes: Callable[..., Any]) -> list[str]:
    """Every pass is refused by the rule, dry or not, and changes nothing; the messages."""
    before = (world.renders(), world.stored(), world.all("SELECT * FROM cleanup_quarantine"))
    told = []
    for step in passes or PASSES:
        for dry in (False, True):
            with pytest.raises(Refused) as stopped:
                step(world.context, run_id=RUN, dry_run=dry)
            assert stopped.value.rule == rule
            told.append(str(stopped.value))
    assert (world.renders(), world.stored(), world.all("SELECT * FROM cleanup_quarantine")) == before
    return told


def test_no_references_where_there_were_some(world: RenderWorld) -> None:
    ready(world)
    world.run("DELETE FROM user_assets")
    assert "accept_empty_references" in refused(world, "empty_references")[0]
    accept_empty_references(world.database)
    orphans.quarantine(world.context, run_id=RUN, dry_run=False)
    assert orphans.delete(world.context, run_id=RUN, dry_run=False).deleted == 2


def test_an_error_while_references_are_read_is_no_answer(world: RenderWorld) -> None:
    ready(world)
    kept = world.renders()
    world.run("ALTER TABLE user_assets RENAME TO lost")
    for step in PASSES:
        with pytest.raises(psycopg.errors.UndefinedTable):
            step(world.context, run_id=RUN, dry_run=False)
    world.run("ALTER TABLE lost RENAME TO user_assets")
    world.run("ALTER TABLE legal_holds RENAME TO lost")
    for step in PASSES:
        with pytest.raises(psycopg.errors.UndefinedTable):
            step(world.context, run_id=RUN, dry_run=False)
    assert world.renders() == kept


def test_an_error_in_the_middle_takes_back_the_whole_batch(world: RenderWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ready(world)
    asked = verdicts.held_tenants

    def late(connection: Any) -> Any:
        asked(connection)
        raise Transient("on purpose")

    monkeypatch.setattr(verdicts, "held_tenants", late)
    kept = (world.renders(), world.stored())
    for step in PASSES:
        with pytest.raises(Transient, match="on purpose"):
            step(world.context, run_id=RUN, dry_run=False)
    assert (world.renders(), world.stored()) == kept


def test_more_candidates_than_the_ceiling(world: RenderWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ready(world)
    monkeypatch.setattr(guards, "CEILING_FLOOR", 0)
    told = refused(world, "ceiling", orphans.quarantine, orphans.delete)
    assert "CLEANUP_MAX_CANDIDATE_PERCENT is 1, the floor 0" in told[0]
    assert orphans.scan(world.context, run_id=RUN, dry_run=False).candidates == 1
    world.run("ANALYZE render_jobs")
    world.context = replace(world.context, percent=100)
    assert orphans.quarantine(world.context, run_id=RUN, dry_run=False).quarantined == 1


@pytest.mark.parametrize(
    ("candidates", "objects", "percent", "stops"),
    [
        (1_000, 0, 1, False), (1_001, 0, 1, True), (1_001, 100_000, 1, True), (1_001, 100_100, 1, False),
        (10_000, 1_000_000, 1, False), (10_001, 1_000_000, 1, True), (0, 0, 0.001, False),
        (50_000, 1_000_000, 5, False),
    ],
)  # fmt: skip
def test_where_the_ceiling_is(candidates: int, objects: int, percent: float, stops: bool) -> None:
    if stops:
        with pytest.raises(Refused, match="ceiling"):
            check_ceiling(candidates, objects, percent)
    else:
        check_ceiling(candidates, objects, percent)


@pytest.mark.parametrize("hours", [-24, -1, 1, 24 * 400])
def test_a_machine_that_has_another_time_than_the_database(world: RenderWorld, hours: float) -> None:
    ready(world)
    world.context = replace(world.context, clock=lambda: time.time() + hours * 3600)
    assert "set the clock that is wrong" in refused(world, "clock")[0]


def test_a_database_whose_clock_went_back(world: RenderWorld) -> None:
    ready(world)
    world.run("UPDATE cleanup_memory SET at = now() + interval '1 day' WHERE name = 'clock'")
    assert "went back" in refused(world, "clock")[0]


def test_a_clock_that_jumped_or_a_long_pause_stops_one_pass(world: RenderWorld) -> None:
    ready(world)
    for step in PASSES:
        world.run("UPDATE cleanup_memory SET at = now() - interval '8 days' WHERE name = 'clock'")
        with pytest.raises(Refused, match="the next pass goes on"):
            step(world.context, run_id=RUN, dry_run=False)
        step(world.context, run_id=RUN, dry_run=False)


def test_triggers_that_are_missing_or_switched_off(world: RenderWorld) -> None:
    ready(world)
    world.run("DROP TRIGGER note_save_insert ON user_assets")
    assert "attach_cleanup_triggers()" in refused(world, "triggers")[0]
    assert world.one("SELECT attach_cleanup_triggers()") == 1
    assert world.one("SELECT tgenabled FROM pg_trigger WHERE tgname = 'note_save_insert'") in ("A", b"A")
    world.run("ALTER TABLE render_jobs DISABLE TRIGGER note_candidate_update")
    refused(world, "triggers")


class Broken:
    """A store that fails on demand."""

    def __init__(self, bucket: Any, error: Exception, verbs: set[str]) -> None:
        self._bucket, self._error, self._verbs = bucket, error, verbs
        self.location = bucket.location

    def bucket(self, _: str) -> "Broken":
        return self

    def head(self, key: str) -> ObjectInfo | None:
        self._fail("head")
        found: ObjectInfo | None = self._bucket.head(key)
        return found

    def copy(self, source: str, target: str) -> ObjectInfo:
        self._fail("copy")
        found: ObjectInfo = self._bucket.copy(source, target)
        return found

    def delete(self, key: str) -> None:
        self._fail("delete")
        self._bucket.delete(key)

    def _fail(self, verb: str) -> None:
        if verb in self._verbs:
            raise self._error


@pytest.mark.parametrize("verb", ["head", "copy", "delete"])
def test_a_store_that_is_down_loses_nothing_and_is_gone_on_with(world: RenderWorld, verb: str) -> None:
    working = world.context
    render, saved = world.render(), world.render()
    orphans.scan(working, run_id=RUN, dry_run=False)
    bucket = working.stores.bucket("renders")
    world.context = replace(working, stores=Broken(bucket, Transient("down, on purpose"), {verb}))
    with pytest.raises(Transient, match="on purpose"):
        orphans.quarantine(world.context, run_id=RUN, dry_run=False)
    assert {world.state(render), world.state(saved)} == {("moving", "waiting")}
    assert "down" in world.one("SELECT error FROM cleanup_quarantine LIMIT 1")
    world.save(saved)
    assert orphans.quarantine(working, run_id=RUN, dry_run=False).quarantined == 1
    orphans.delete(working, run_id=RUN, dry_run=False)
    assert (f"t/{saved}.mp4" in world.files(), f"t/{render}.mp4" in world.stored()) == (True, False)


def test_one_file_that_the_store_refuses_does_not_stop_the_others(world: RenderWorld) -> None:
    renders = [world.render() for _ in range(3)]
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    orphans.quarantine(world.context, run_id=RUN, dry_run=False)
    key = sorted(world.waiting())[0]
    world.write(key, b"somebody else wrote here, and more")
    told = orphans.delete(world.context, run_id=RUN, dry_run=False)
    assert (told.deleted, sorted(world.waiting())) == (3, [key])
    fates = sorted(world.state(each) or ("", "") for each in renders)
    assert fates == [("deleted", "removed"), ("deleted", "removed"), ("deleted", "shared")]


def test_a_file_that_is_lost_is_said_to_be(world: RenderWorld) -> None:
    """Saved, but in neither place: it stays on the list with its error, and the others come back."""
    lost, other = world.render(), world.render()
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    orphans.quarantine(world.context, run_id=RUN, dry_run=False)
    key = world.one("SELECT quarantine_key FROM cleanup_quarantine WHERE subject_id = %s", str(lost))
    (world.folder / key).unlink()
    for each in (lost, other):
        world.save(each)
    told = orphans.bring_back(world.context, run_id=RUN)
    assert (told.restored, told.left, told.skipped) == (1, 1, {"store_error": 1})
    assert world.state(lost) == ("restoring", "moved")
    assert "is neither there nor in quarantine" in world.one(
        "SELECT error FROM cleanup_quarantine WHERE state = 'restoring'"
    )
    assert issubclass(Refused, Permanent)


def test_the_audit_takes_every_text(world: RenderWorld) -> None:
    with world.database.connection() as connection:
        record(connection, [])
        record(connection, [AuditEntry("r", "k", "skipped", "s", reason="\x00\ud800" + "x" * 5000, location="ü")])
    assert world.one("SELECT reason FROM cleanup_audit WHERE kind = 'k'").startswith("\\0\\ud800xxx")
