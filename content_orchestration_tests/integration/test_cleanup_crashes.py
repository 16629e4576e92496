"""Killed at every step of a cleanup and run again: what is saved is whole, orphans go, and no copy is left."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from content_orchestration_tests.cleanup_world import RenderWorld
from content_orchestration_tests.forked import ForkServer
from content_orchestration_tests.tiers import Tiers

SWEEP = ["scan", "quarantine", "delete"]
KILLED = -9
POINTS = [
    "orphan_seeded", "orphan_index", "orphan_notes_taken", "orphan_locked", "orphan_noted", "orphan_copied",
    "orphan_fenced", "orphan_original_deleted", "orphan_quarantined", "orphan_deleting", "orphan_row_deleted",
    "orphan_last_look", "orphan_removing", "orphan_copy_deleted", "orphan_deleted", "orphan_recalled",
]  # fmt: skip
RETURNS = ["orphan_recalled", "orphan_copied_back", "orphan_restored"]
TOO_LATE = {"orphan_removing", "orphan_copy_deleted", "orphan_deleted"}
"""From here on a save names what is gone already."""


@pytest.fixture
def world(tiers: Tiers, tmp_path: Path) -> RenderWorld:
    made = RenderWorld(tiers.database, tmp_path)
    made.anchor()
    return made


@pytest.fixture(scope="module")
def processes() -> Iterator[ForkServer]:
    with ForkServer("content_orchestration_tests.cleanup_process") as started:
        yield started


def body(world: RenderWorld, render: UUID) -> bytes | None:
    path = world.folder / f"t/{render}.mp4"
    return path.read_bytes() if path.exists() else None


def test_killed_anywhere_in_a_sweep_and_swept_again(
    tiers: Tiers, world: RenderWorld, processes: ForkServer, tmp_path: Path
) -> None:
    """At each point: one orphan that nobody wants, and one that is saved after the kill."""
    wanted = {"folder": str(tmp_path), "run": "run"}
    for point in POINTS:
        orphan, saved = world.render(), world.render()
        other = world.save(orphan)
        world.unsave(other)
        world.run("UPDATE render_notes SET at = now() - interval '2 hours'")
        if point == "orphan_index":
            world.run("DROP INDEX IF EXISTS user_assets_content_render")
        if point == "orphan_seeded":
            world.run("DELETE FROM cleanup_memory WHERE name = 'seed'")
        said = processes.run(tiers, point, steps=SWEEP, **wanted)
        assert said.status == KILLED, (point, said)
        asset = world.save(saved)
        again = processes.run(tiers, "", steps=SWEEP, **wanted)
        assert again.status == 0, (point, again)
        assert orphan not in world.renders(), point
        assert body(world, orphan) is None, point
        if point not in TOO_LATE:
            assert body(world, saved) == str(saved).encode(), point
            assert saved in world.renders(), point
        world.unsave(asset)
        world.run("UPDATE render_notes SET at = now() - interval '2 hours'")
        world.run("UPDATE render_candidates SET since = now() - interval '2 hours', look_at = now()")
        world.run("UPDATE cleanup_quarantine SET ended_at = ended_at - interval '2 hours' WHERE state = 'restored'")
        assert processes.run(tiers, "", steps=[*SWEEP, "delete"], **wanted).status == 0
        assert world.waiting() == set(), point
        assert world.all("SELECT FROM cleanup_quarantine WHERE state NOT IN ('deleted', 'restored')") == [], point
    assert len(world.files()) == 1


def test_killed_while_a_save_comes_back(
    tiers: Tiers, world: RenderWorld, processes: ForkServer, tmp_path: Path
) -> None:
    wanted = {"folder": str(tmp_path), "run": "run"}
    for point in RETURNS:
        render = world.render()
        assert processes.run(tiers, "", steps=["scan", "quarantine"], **wanted).status == 0
        assert body(world, render) is None
        world.save(render)
        assert processes.run(tiers, point, steps=["bring_back"], **wanted).status == KILLED, point
        # Another pass may come first: a delete begins with what has to come back.
        assert processes.run(tiers, "", steps=["delete", "bring_back"], **wanted).status == 0
        assert body(world, render) == str(render).encode(), point
        assert render in world.renders()


def test_killed_in_an_undo(tiers: Tiers, world: RenderWorld, processes: ForkServer, tmp_path: Path) -> None:
    render = world.render()
    wanted = {"folder": str(tmp_path), "run": "run"}
    assert processes.run(tiers, "", steps=["scan", "quarantine"], **wanted).status == 0
    assert processes.run(tiers, "orphan_undone", steps=["undo"], **wanted).status == KILLED
    assert processes.run(tiers, "", steps=SWEEP, **wanted).status == 0
    assert body(world, render) == str(render).encode()
