"""Saves and deletes that meet, in real sessions, in exactly the orders that could lose a file."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from content_orchestration.core.cleanup import deleting, moving, orphans, quarantine, writers
from content_orchestration.core.cleanup.model import OrphanRules
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.cleanup_world import RenderWorld

RUN = "run"
INSERT = (
    "INSERT INTO user_assets (id, metadata) VALUES (gen_random_uuid(), jsonb_build_object('render_job_id', %s::text))"
)
DAY = OrphanRules(timedelta(minutes=60), timedelta(hours=24))


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[RenderWorld]:
    with PostgresClient(database_url) as database:
        made = RenderWorld(database, tmp_path)
        made.anchor()
        yield made


def waits_for_a_lock(world: RenderWorld) -> bool:
    return bool(
        world.one("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid <> pg_backend_pid()")
    )


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@contextmanager
def saving_in_a_thread(world: RenderWorld, render: UUID) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=world.save, args=[render])
    yield thread
    thread.join(30)
    assert not thread.is_alive()


def at(monkeypatch: pytest.MonkeyPatch, module: object, point: str, act: Callable[[], None]) -> list[str]:
    """Call `act` the first time that the point is reached; the points that were."""
    seen: list[str] = []

    def reach(name: str) -> None:
        seen.append(name)
        if name == point and seen.count(point) == 1:
            act()

    monkeypatch.setattr(module, "reach", reach)
    return seen


def test_a_save_that_waits_for_a_delete_gets_row_and_file_back(
    world: RenderWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The asset is inserted, its trigger waits for the row; the delete commits, and the row is gone under the save."""
    render = world.render(body=b"mine")
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    orphans.quarantine(world.context, run_id=RUN, dry_run=False)
    printed = world.one("SELECT to_jsonb(r) FROM render_jobs r WHERE id = %s", render)
    with saving_in_a_thread(world, render) as saving:

        def save_now() -> None:
            saving.start()
            until(lambda: waits_for_a_lock(world))

        seen = at(monkeypatch, deleting, "orphan_deleting", save_now)
        told = orphans.delete(world.context, run_id=RUN, dry_run=False)
    assert "orphan_row_deleted" in seen
    assert (told.deleted, told.restored, told.skipped["saved"]) == (0, 1, 1)
    assert world.one("SELECT to_jsonb(r) FROM render_jobs r WHERE id = %s", render) == printed
    assert (world.folder / f"t/{render}.mp4").read_bytes() == b"mine"
    assert world.state(render) == ("restored", "back")


def test_a_save_that_is_not_committed_keeps_its_render_from_being_deleted(
    world: RenderWorld, database_url: str
) -> None:
    render = world.render()
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    orphans.quarantine(replace(world.context, rules=DAY), run_id=RUN, dry_run=False)
    world.run("UPDATE cleanup_quarantine SET delete_after = now()")
    with psycopg.connect(database_url) as session:
        session.execute(
            INSERT,
            [str(render)],
        )
        told = orphans.delete(world.context, run_id=RUN, dry_run=False)
        assert (told.deleted, told.skipped) == (0, {"busy": 1})
        session.commit()
    assert orphans.bring_back(world.context, run_id=RUN).restored == 1
    assert f"t/{render}.mp4" in world.files()


def test_a_save_that_is_not_committed_keeps_its_render_out_of_quarantine(world: RenderWorld, database_url: str) -> None:
    render = world.render()
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    with psycopg.connect(database_url) as session:
        session.execute(
            INSERT,
            [str(render)],
        )
        told = orphans.quarantine(world.context, run_id=RUN, dry_run=False)
        assert (told.quarantined, told.skipped) == (0, {"busy": 1})
        session.rollback()
    assert orphans.quarantine(world.context, run_id=RUN, dry_run=False).quarantined == 1
    assert world.state(render) == ("quarantined", "moved")


@pytest.mark.parametrize("point", ["orphan_copied", "orphan_fenced", "orphan_original_deleted", "orphan_quarantined"])
def test_a_save_while_the_file_moves(world: RenderWorld, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    """It does not wait, and the pass that moved the file brings it back before it ends."""
    render = world.render(body=b"moving")
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    at(monkeypatch, moving, point, lambda: world.save(render) and None)
    told = orphans.quarantine(world.context, run_id=RUN, dry_run=False)
    assert told.restored == 1
    assert (world.folder / f"t/{render}.mp4").read_bytes() == b"moving"
    orphans.delete(world.context, run_id=RUN, dry_run=False)
    assert (world.folder / f"t/{render}.mp4").read_bytes() == b"moving"


def test_a_save_keeps_the_copy_that_another_orphan_of_the_same_file_is_about_to_take_along(
    world: RenderWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both rows are deleted and one has had its last look; the other one is saved before its own."""
    path = "t/both.mp4"
    renders = {world.render(path=path, body=b"both"), world.render(path=path, body=b"both")}
    context = replace(world.context, workers=1)
    orphans.scan(context, run_id=RUN, dry_run=False)
    orphans.quarantine(context, run_id=RUN, dry_run=False)
    saved: list[UUID] = []

    def save_the_other() -> None:
        (gone,) = world.all("SELECT subject_id FROM cleanup_quarantine WHERE file_fate = 'removing'")
        (other,) = renders - {UUID(gone["subject_id"])}
        world.save(other)
        saved.append(other)

    at(monkeypatch, deleting, "orphan_removing", save_the_other)
    told = orphans.delete(context, run_id=RUN, dry_run=False)
    assert (told.deleted, told.restored) == (1, 1)
    assert (world.folder / path).read_bytes() == b"both"
    assert world.renders() & renders == set(saved)


def test_a_file_stays_for_a_render_that_was_saved_until_a_moment_ago(world: RenderWorld) -> None:
    """Its row is not in quarantine, so a save of it brings nothing back: whoever shares its file must leave it."""
    path = "t/both.mp4"
    orphan, other = world.render(path=path, body=b"both"), world.render(path=path, body=b"both")
    asset = world.save(other)
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    world.unsave(asset)
    orphans.quarantine(world.context, run_id=RUN, dry_run=False)
    assert world.state(orphan) == ("quarantined", "shared")
    orphans.delete(world.context, run_id=RUN, dry_run=False)
    world.save(other)
    assert (world.folder / path).read_bytes() == b"both"
    assert world.renders() & {orphan, other} == {other}


def test_a_copy_waits_for_a_render_of_its_file_that_is_not_in_quarantine_yet(world: RenderWorld) -> None:
    path = "t/both.mp4"
    renders = {world.render(path=path, body=b"both"), world.render(path=path, body=b"both")}
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    orphans.quarantine(world.context, run_id=RUN, dry_run=False, limit=1)
    told = orphans.delete(world.context, run_id=RUN, dry_run=False)
    assert (told.deleted, told.skipped) == (0, {"file_awaited": 1})
    (other,) = [render for render in renders if world.state(render) is None]
    world.save(other)
    orphans.delete(world.context, run_id=RUN, dry_run=False)
    assert (world.folder / path).read_bytes() == b"both"
    assert renders <= world.renders()


def test_two_orphans_that_left_their_file_for_each_other_do_not_leave_it_behind(
    world: RenderWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each was put into quarantine while the other was saved; neither moved the file, and nobody else would have."""
    path = "t/both.mp4"
    first, second = world.render(path=path), world.render(path=path)
    asset = world.save(second)
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    orphans.quarantine(replace(world.context, rules=DAY), run_id=RUN, dry_run=False)
    world.unsave(asset)
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    world.run("UPDATE render_candidates SET since = now() - interval '2 hours', look_at = now()")
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    saves: list[UUID] = []

    def reach(point: str) -> None:
        # The pass has asked who is wanted back, and asks again at its end.
        if point == "orphan_locked":
            saves.append(world.save(first))
        if point == "orphan_noted":
            world.unsave(saves.pop())

    monkeypatch.setattr(quarantine, "reach", reach)
    orphans.quarantine(replace(world.context, rules=DAY), run_id=RUN, dry_run=False)
    monkeypatch.undo()
    assert {world.state(first), world.state(second)} == {("quarantined", "shared")}
    assert orphans.delete(world.context, run_id=RUN, dry_run=True).skipped == {}
    world.run("UPDATE cleanup_quarantine SET delete_after = now()")
    assert orphans.delete(world.context, run_id=RUN, dry_run=True).skipped == {"last_of_file": 1}
    told = orphans.delete(world.context, run_id=RUN, dry_run=False)
    assert (told.deleted, told.restored, told.skipped) == (1, 1, {"last_of_file": 1})
    assert path in world.files()
    everything(world)
    assert path not in world.files()
    assert not world.renders() & {first, second}


def test_an_orphan_that_left_its_file_for_a_render_that_the_platform_removed_takes_it_along(world: RenderWorld) -> None:
    path = "t/both.mp4"
    orphan, other = world.render(path=path), world.render(path=path, status="pending")
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    orphans.quarantine(world.context, run_id=RUN, dry_run=False)
    assert world.state(orphan) == ("quarantined", "shared")
    world.run("DELETE FROM render_jobs WHERE id = %s", other)
    told = orphans.delete(world.context, run_id=RUN, dry_run=False)
    assert (told.deleted, told.restored) == (0, 1)
    assert orphan in world.renders()
    everything(world)
    assert path not in world.files()
    assert orphan not in world.renders()


def everything(world: RenderWorld) -> None:
    """A sweep for which whatever was noted is old enough."""
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    world.run("UPDATE render_candidates SET since = now() - interval '2 hours', look_at = now()")
    for step in (orphans.scan, orphans.quarantine, orphans.delete):
        step(world.context, run_id=RUN, dry_run=False)


def test_a_render_that_is_saved_and_unsaved_in_quarantine_is_not_put_there_twice(world: RenderWorld) -> None:
    """The unsave notes it as a candidate; an index refuses a second row in quarantine, which would stop the pass."""
    context = replace(world.context, rules=DAY)
    render = world.render()
    orphans.scan(context, run_id=RUN, dry_run=False)
    orphans.quarantine(context, run_id=RUN, dry_run=False)
    world.unsave(world.save(render))
    orphans.scan(context, run_id=RUN, dry_run=False)
    assert not world.one("SELECT count(*) FROM render_candidates WHERE job_id = %s", render)
    # A scan that ran beside the pass may have noted it all the same.
    world.run(
        "INSERT INTO render_candidates (job_id, created_at, since, state) "
        "VALUES (%s, now() - interval '3 hours', now() - interval '2 hours', 'orphan')",
        render,
    )
    other = world.render()
    orphans.scan(context, run_id=RUN, dry_run=False)
    assert orphans.quarantine(context, run_id=RUN, dry_run=False).quarantined == 1
    assert world.state(other) == ("quarantined", "moved")
    world.run("UPDATE cleanup_quarantine SET delete_after = now()")
    assert orphans.delete(context, run_id=RUN, dry_run=False).deleted == 2
    orphans.scan(context, run_id=RUN, dry_run=False)
    assert not world.one("SELECT count(*) FROM render_candidates")


def test_a_file_that_is_written_anew_while_it_moves_stays(world: RenderWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    render = world.render(body=b"old")
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    at(monkeypatch, moving, "orphan_fenced", lambda: world.write(f"t/{render}.mp4", b"newer"))
    orphans.quarantine(world.context, run_id=RUN, dry_run=False)
    assert (world.folder / f"t/{render}.mp4").read_bytes() == b"newer"
    assert world.state(render) == ("quarantined", "shared")


def test_a_long_writer_of_assets_puts_the_file_off(
    world: RenderWorld, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    render = world.render()
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    orphans.quarantine(world.context, run_id=RUN, dry_run=False)
    ended = writers.writers_ended
    monkeypatch.setattr(deleting, "writers_ended", lambda database: ended(database, patience=0.05))
    with psycopg.connect(database_url) as session:
        session.execute("UPDATE user_assets SET file_size = 2")
        told = orphans.delete(world.context, run_id=RUN, dry_run=False)
        assert (told.deleted, told.skipped) == (0, {"writers_busy": 1})
        assert render not in world.renders()
        assert len(world.waiting()) == 1
    assert orphans.delete(world.context, run_id=RUN, dry_run=False).deleted == 1
    assert world.waiting() == set()


def test_writers_that_begin_later_are_not_waited_for(world: RenderWorld, database_url: str) -> None:
    with psycopg.connect(database_url) as first, psycopg.connect(database_url) as second:
        first.execute("UPDATE user_assets SET file_size = 2")

        def sleep(_: float) -> None:
            first.rollback()
            second.execute("UPDATE user_assets SET file_size = 3")

        assert writers.writers_ended(world.database, sleep=sleep)


def test_two_saves_of_one_render_do_not_wait_for_each_other(world: RenderWorld, database_url: str) -> None:
    render = world.render()
    with psycopg.connect(database_url) as first, psycopg.connect(database_url) as second:
        first.execute(INSERT, [str(render)])
        second.execute("SET LOCAL lock_timeout = '2s'")
        second.execute(INSERT, [str(render)])
        # Nor does the renderer, who writes other columns.
        with psycopg.connect(database_url) as third:
            third.execute("SET LOCAL lock_timeout = '2s'")
            third.execute("UPDATE render_jobs SET updated_at = updated_at WHERE id = %s", [render])


def test_references_that_go_while_a_pass_runs_stop_it(world: RenderWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        world.render()
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    monkeypatch.setattr(quarantine, "BATCH", 1)
    at(monkeypatch, quarantine, "orphan_noted", lambda: world.run("TRUNCATE user_assets"))
    with pytest.raises(Exception, match="empty_references"):
        orphans.quarantine(world.context, run_id=RUN, dry_run=False)
    assert world.one("SELECT count(*) FROM cleanup_quarantine") == 1
