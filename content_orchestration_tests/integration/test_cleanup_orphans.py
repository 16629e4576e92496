"""Orphaned renders on the real server with files in a folder: what goes, what stays, what comes back."""

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from content_orchestration.core.cleanup import deleting, holds, orphans
from content_orchestration.core.cleanup.addresses import QUARANTINE_PREFIX
from content_orchestration.core.cleanup.guards import NeverDelete, Refused
from content_orchestration.core.cleanup.model import Cleaned, OrphanRules
from content_orchestration.core.cleanup.prepare import ROLLING_PAGE
from content_orchestration.core.cleanup.undo import undo
from content_orchestration.core.errors import AlreadyRunning, Permanent
from content_orchestration.core.sql import statement
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.cleanup_world import RenderWorld

RUN = "run"
DAY = OrphanRules(timedelta(minutes=60), timedelta(hours=24))


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[RenderWorld]:
    with PostgresClient(database_url) as database:
        made = RenderWorld(database, tmp_path)
        made.anchor()
        yield made


def sweep(world: RenderWorld, run: str = RUN) -> tuple[Cleaned, Cleaned, Cleaned]:
    return (
        orphans.scan(world.context, run_id=run, dry_run=False),
        orphans.quarantine(world.context, run_id=run, dry_run=False),
        orphans.delete(world.context, run_id=run, dry_run=False),
    )


def into_quarantine(world: RenderWorld, run: str = RUN) -> Cleaned:
    """With a day's grace."""
    context = replace(world.context, rules=DAY)
    orphans.scan(context, run_id=run, dry_run=False)
    return orphans.quarantine(context, run_id=run, dry_run=False)


def due(world: RenderWorld) -> None:
    world.run("UPDATE cleanup_quarantine SET delete_after = now() - interval '1 second'")


def test_an_orphan_goes_with_its_file_and_nothing_else_does(world: RenderWorld) -> None:
    orphan, young = world.render(body=b"12345"), world.render(age="10 minutes")
    pending, empty, saved = world.render(status="pending"), world.render(url="", file=False), world.render()
    world.save(saved)
    before = world.renders()
    scanned, quarantined, deleted = sweep(world)
    assert (scanned.candidates, quarantined.quarantined, deleted.deleted, deleted.freed_bytes) == (1, 1, 1, 5)
    assert world.renders() == before - {orphan} >= {young, pending, empty, saved}
    assert world.files() == {f"t/{each}.mp4" for each in before - {orphan, empty}}
    assert world.waiting() == set()
    assert world.state(orphan) == ("deleted", "removed")
    assert scanned.skipped["young"] == 1
    actions = [row["action"] for row in world.all("SELECT action FROM cleanup_audit ORDER BY audit_id")]
    assert actions == ["quarantined", "row_deleted", "deleted"]
    kept = world.one("SELECT row_json FROM cleanup_quarantine")
    assert (kept["id"], kept["status"]) == (str(orphan), "completed")
    assert deleted.as_metadata()["samples"] == [{"render": str(orphan), "file": f"renders/t/{orphan}.mp4", "bytes": 5}]


def test_a_dry_run_of_everything_changes_nothing(world: RenderWorld) -> None:
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    old, fresh = world.render(), world.render()
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    seen = world.all("SELECT * FROM render_candidates ORDER BY job_id")
    assert orphans.scan(world.context, run_id=RUN, dry_run=True).candidates == 2
    assert orphans.quarantine(world.context, run_id=RUN, dry_run=True).candidates == 2
    assert world.all("SELECT * FROM render_candidates ORDER BY job_id") == seen
    assert world.one("SELECT count(*) FROM cleanup_quarantine") == 0
    orphans.quarantine(world.context, run_id=RUN, dry_run=False, limit=1)
    stored = world.stored()
    told = orphans.delete(world.context, run_id=RUN, dry_run=True)
    assert (told.candidates, told.deleted, len(told.samples)) == (1, 0, 1)
    back = undo(world.context, acting_run="undo", dry_run=True, run_id=RUN)
    assert (back.candidates, back.restored) == (1, 0)
    assert world.stored() == stored
    assert {old, fresh} <= world.renders()


@pytest.mark.parametrize(
    ("form", "kept"),
    [
        ("https://storage.platform.example/storage/v1/object/sign/renders/t/{0}.mp4?token=x", False),
        ("https://storage.platform.example/storage/v1/object/public/renders/t/{0}.mp4", False),
        ("s3://renders/t/{0}.mp4", False),
        ("gs://renders/t/{0}.mp4", False),
        ("renders/t/{0}.mp4", False),
        ("renders/../renders/t/{0}.mp4", True),
        ("https://evil.example/storage/v1/object/public/renders/t/{0}.mp4", True),
        ("https://storage.platform.example/storage/v1/object/sign/renders/%2e%2e/renders/t/{0}.mp4", True),
        ("secrets/t/{0}.mp4", True),
    ],
)
def test_addresses_of_every_form_and_hostile_ones(world: RenderWorld, form: str, kept: bool) -> None:
    path = uuid4()
    render = world.render(path=f"t/{path}.mp4", url=form.format(path))
    (world.folder.parent / "secrets" / "t").mkdir(parents=True)
    (world.folder.parent / "secrets" / "t" / f"{path}.mp4").write_bytes(b"not ours")
    sweep(world)
    assert (render in world.renders()) is kept
    assert (f"t/{path}.mp4" in world.files()) is kept
    assert (world.folder.parent / "secrets" / "t" / f"{path}.mp4").exists()
    told = world.all("SELECT action, reason FROM cleanup_audit WHERE subject_id = %s", str(render))
    assert ([row["action"] for row in told] == ["refused"]) is kept
    sweep(world)
    assert len(world.all("SELECT FROM cleanup_audit WHERE subject_id = %s AND action = 'refused'", str(render))) == kept


def test_a_save_during_the_grace_brings_the_file_back(world: RenderWorld) -> None:
    render = world.render(body=b"precious")
    into_quarantine(world)
    assert (world.state(render), world.files()) == (("quarantined", "moved"), world.files() - {f"t/{render}.mp4"})
    assert render in world.renders()
    asset = world.save(render)
    assert orphans.recalls_waiting(world.database) == 1
    assert orphans.bring_back(world.context, run_id="tick").restored == 1
    assert orphans.recalls_waiting(world.database) == 0
    assert (world.folder / f"t/{render}.mp4").read_bytes() == b"precious"
    due(world)
    sweep(world)
    assert (world.folder / f"t/{render}.mp4").read_bytes() == b"precious"
    assert len(world.waiting()) == 1
    world.run("UPDATE cleanup_quarantine SET ended_at = now() - interval '2 hours'")
    sweep(world)
    assert world.waiting() == set()
    world.unsave(asset)
    sweep(world)
    assert render in world.renders()
    world.run("UPDATE render_candidates SET since = now() - interval '2 hours', look_at = now()")
    sweep(world)
    assert render not in world.renders()
    assert f"t/{render}.mp4" not in world.stored()


def test_a_save_that_no_trigger_saw_is_found_before_anything_is_deleted(world: RenderWorld) -> None:
    render = world.render()
    into_quarantine(world)
    world.run("ALTER TABLE user_assets DISABLE TRIGGER ALL")
    world.save(render)
    with pytest.raises(Refused, match=r"user_assets\.note_save_insert"):
        orphans.delete(world.context, run_id=RUN, dry_run=False)
    world.run("ALTER TABLE user_assets ENABLE TRIGGER ALL")
    due(world)
    assert orphans.delete(world.context, run_id=RUN, dry_run=False).restored == 1
    assert f"t/{render}.mp4" in world.files()


def test_a_copy_that_was_lost_again_comes_back_again(world: RenderWorld) -> None:
    """A request of a process that was thought dead deletes the original after it came back."""
    render = world.render(body=b"twice")
    into_quarantine(world)
    world.save(render)
    orphans.bring_back(world.context, run_id="tick")
    (world.folder / f"t/{render}.mp4").unlink()
    world.run("UPDATE cleanup_quarantine SET ended_at = now() - interval '2 hours'")
    orphans.delete(world.context, run_id=RUN, dry_run=False)
    orphans.bring_back(world.context, run_id="tick")
    assert (world.folder / f"t/{render}.mp4").read_bytes() == b"twice"


def test_a_copy_of_an_earlier_return_brings_nothing_back_after_row_and_file_went(world: RenderWorld) -> None:
    """Saved, unsaved, deleted in due course, and named again too late: a file of no row would stay."""
    render = world.render()
    into_quarantine(world)
    asset = world.save(render)
    orphans.bring_back(world.context, run_id="tick")
    world.unsave(asset)
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    world.run("UPDATE render_candidates SET since = now() - interval '2 hours', look_at = now()")
    for step in (orphans.scan, orphans.quarantine, orphans.delete):
        step(world.context, run_id=RUN, dry_run=False)
    assert render not in world.renders()
    world.save(render)
    world.run("UPDATE cleanup_quarantine SET ended_at = ended_at - interval '2 hours'")
    orphans.delete(world.context, run_id=RUN, dry_run=False)
    assert orphans.bring_back(world.context, run_id="tick").restored == 0
    assert not any(str(render) in path for path in world.files())
    assert not world.one("SELECT count(*) FROM cleanup_quarantine WHERE state = 'restored' AND quarantine_key <> ''")


def test_a_copy_of_an_earlier_return_leaves_what_is_in_quarantine_again_to_its_own(
    world: RenderWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index allows one open row a render: to open the earlier one again would stop the pass."""
    render = world.render(body=b"twice")
    into_quarantine(world)
    asset = world.save(render)
    orphans.bring_back(world.context, run_id="tick")
    world.unsave(asset)
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    world.run("UPDATE render_candidates SET since = now() - interval '2 hours', look_at = now()")
    into_quarantine(world)
    world.run("UPDATE cleanup_quarantine SET ended_at = ended_at - interval '2 hours'")
    original = deleting._drop_kept_copies

    def save_first(work: deleting._Pass) -> None:
        world.save(render)
        original(work)

    monkeypatch.setattr(deleting, "_drop_kept_copies", save_first)
    orphans.delete(world.context, run_id=RUN, dry_run=False)
    orphans.bring_back(world.context, run_id="tick")
    assert (world.folder / f"t/{render}.mp4").read_bytes() == b"twice"
    assert render in world.renders()


@pytest.mark.parametrize("other", ["saved", "young", "pending", "somebody else's"])
def test_a_file_that_another_render_needs_stays_and_the_row_goes(world: RenderWorld, other: str) -> None:
    path = "t/shared file.mp4"
    first = world.render(path=path)
    ages = {"young": "1 minute"}
    second = world.render(
        path=path,
        url="https://storage.platform.example/storage/v1/object/sign/renders/t/shared%20file.mp4?token=1",
        age=ages.get(other, "2 hours"), status="pending" if other == "pending" else "completed",
        user=uuid4() if other.startswith("somebody") else None,
    )  # fmt: skip
    if other == "saved":
        world.save(second)
    sweep(world)
    assert path in world.files()
    assert first not in world.renders()
    assert second in world.renders()
    assert world.state(first) == ("deleted", "shared")


def test_of_two_orphans_of_one_file_the_last_takes_it_along(world: RenderWorld) -> None:
    path = "t/both.mp4"
    first = world.render(path=path)
    second = world.render(path=path)
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    for _ in range(2):
        orphans.quarantine(replace(world.context, rules=DAY), run_id=RUN, dry_run=False, limit=1)
    assert path not in world.files()
    assert {world.state(first), world.state(second)} == {("quarantined", "moved")}
    assert len(world.waiting()) == 1
    saved, other = (first, second)
    world.save(saved)
    assert orphans.bring_back(world.context, run_id="tick").restored == 1
    due(world)
    orphans.delete(world.context, run_id=RUN, dry_run=False)
    assert path in world.files()
    assert saved in world.renders()
    for _ in range(3):
        world.run("UPDATE render_candidates SET since = now() - interval '2 hours', look_at = now()")
        sweep(world)
    assert other not in world.renders()
    assert path in world.files()


def test_a_render_that_names_a_file_in_quarantine_brings_it_back(world: RenderWorld) -> None:
    path = "t/again.mp4"
    first = world.render(path=path, body=b"x")
    into_quarantine(world)
    second = world.render(path=path, file=False)
    world.save(second)
    due(world)
    sweep(world)
    assert (world.folder / path).read_bytes() == b"x"
    assert second in world.renders()
    world.run("UPDATE render_candidates SET since = now() - interval '2 hours', look_at = now()")
    sweep(world)
    assert first not in world.renders()
    assert (world.folder / path).read_bytes() == b"x"


def test_a_render_made_anew_during_the_grace_is_none_any_more(world: RenderWorld) -> None:
    render = world.render(body=b"first")
    into_quarantine(world)
    world.write(f"t/{render}.mp4", b"second")
    world.run("UPDATE render_jobs SET output_url = output_url || '.v2', updated_at = now() WHERE id = %s", render)
    due(world)
    sweep(world)
    assert render in world.renders()
    assert (world.folder / f"t/{render}.mp4").read_bytes() == b"second"


def test_a_file_that_is_missing_lets_its_row_go(world: RenderWorld) -> None:
    render = world.render(file=False)
    sweep(world)
    assert (render in world.renders(), world.state(render)) == (False, ("deleted", "missing"))


def test_a_row_that_the_platform_removed_meanwhile_ends_with_its_file(world: RenderWorld) -> None:
    render = world.render()
    into_quarantine(world)
    world.run("DELETE FROM render_jobs WHERE id = %s", render)
    due(world)
    assert orphans.delete(world.context, run_id=RUN, dry_run=False).deleted == 1
    assert world.waiting() == set()


def test_a_render_that_another_table_names_stays_in_quarantine(world: RenderWorld) -> None:
    world.run("CREATE TABLE invoices (render_id uuid REFERENCES render_jobs (id))")
    named, free = world.render(), world.render()
    world.run("INSERT INTO invoices VALUES (%s)", named)
    into_quarantine(world)
    due(world)
    told = orphans.delete(world.context, run_id=RUN, dry_run=False)
    assert (told.deleted, told.skipped) == (1, {"referenced_elsewhere": 1})
    assert world.renders() >= {named}
    assert free not in world.renders()
    assert world.state(named) == ("quarantined", "moved")


def test_what_nobody_may_touch_stays(world: RenderWorld) -> None:
    held, kept_tenant, unknown = uuid4(), uuid4(), uuid4()
    owners: dict[str, UUID] = {}
    for name, tenant in (("held", held), ("never", kept_tenant)):
        owners[name] = uuid4()
        world.run("INSERT INTO tenants (id, name, slug) VALUES (%s, 'x', %s)", tenant, tenant.hex)
        world.run("INSERT INTO users (id, tenant_id) VALUES (%s, %s)", owners[name], tenant)
    renders = {
        "legal_hold": world.render(user=owners["held"]),
        "never_delete_tenant": world.render(user=owners["never"]),
        "never_delete_prefix": world.render(path="kept/a.mp4"),
        "unknown_tenant": world.render(user=unknown),
        "unknown_age": world.render(),
    }
    world.run("UPDATE render_jobs SET created_at = NULL, updated_at = NULL WHERE id = %s", renders["unknown_age"])
    hold = holds.place(world.database, held, reason="case", placed_by="counsel")
    never = NeverDelete(frozenset({kept_tenant}), ("renders/kept",))
    allowed = world.context
    world.context = replace(allowed, never=never)
    scanned, *_ = sweep(world)
    assert {reason: scanned.skipped[reason] for reason in renders} == dict.fromkeys(renders, 1)
    assert set(renders.values()) <= world.renders()
    told = {
        row["subject_id"]: row["reason"]
        for row in world.all("SELECT subject_id, reason FROM cleanup_audit WHERE kind = 'orphaned_render'")
    }
    assert told == {str(render): reason for reason, render in renders.items()}
    # A hold that is placed during the grace keeps what is in quarantine already.
    holds.release(world.database, hold.hold_id, reason="over", released_by="counsel")
    world.context = allowed
    world.run("UPDATE render_candidates SET look_at = now()")
    into_quarantine(world)
    due(world)
    world.run("DELETE FROM render_jobs WHERE id = %s", renders["never_delete_tenant"])
    holds.place(world.database, held, reason="case 2", placed_by="counsel")
    world.context = replace(allowed, never=never)
    told_delete = orphans.delete(world.context, run_id=RUN, dry_run=False)
    assert (told_delete.deleted, told_delete.skipped) == (
        0, {"legal_hold": 1, "never_delete_tenant": 1, "never_delete_prefix": 1},
    )  # fmt: skip
    holds.place(world.database, kept_tenant, reason="case 3", placed_by="counsel")
    world.context = allowed
    assert orphans.delete(world.context, run_id=RUN, dry_run=False).skipped == {"legal_hold": 2}
    world.run(
        "UPDATE cleanup_quarantine SET tenant_id = NULL WHERE subject_id = %s", str(renders["never_delete_tenant"])
    )
    assert orphans.delete(world.context, run_id=RUN, dry_run=False).skipped == {"legal_hold": 1, "unknown_tenant": 1}


HOSTILE = [
    "", "x", "null", "00000000-0000-0000-0000-00000000000g", "x" * 3_000_000, "%s", "'; DROP TABLE render_jobs; --",
    "{" * 40, "00000000-0000-0000-0000-000000000001" * 3, "\u202e", 7, 1e300, True, None, [], ["a"], {"a": 1},
]  # fmt: skip


def test_whatever_an_asset_names_it_is_saved(world: RenderWorld) -> None:
    render = world.render()
    into_quarantine(world)
    shapes = [{"render_job_id": each} for each in HOSTILE] + [None, [], 5, "text", {"render_job_id": {"x": [1] * 1000}}]
    for shape in shapes:
        world.run(
            "INSERT INTO user_assets (id, user_id, metadata) VALUES (%s, %s, %s)", uuid4(), world.user, Jsonb(shape)
        )
    world.run("UPDATE user_assets SET file_size = 1")
    assert orphans.recalls_waiting(world.database) == 0
    for spelling in (str(render).upper(), f" {{{render}}}\n", render.hex):
        asset = world.save(spelling)
        assert orphans.bring_back(world.context, run_id="tick", everything=True).restored == (
            spelling == str(render).upper()
        )
        sweep(world)
        assert f"t/{render}.mp4" in world.files()
        if spelling != render.hex:
            world.unsave(asset)
    world.run("DELETE FROM user_assets WHERE metadata->>'render_job_id' IS DISTINCT FROM %s", render.hex)


def test_an_unsave_of_one_of_two_saves_keeps_the_render(world: RenderWorld) -> None:
    render = world.render()
    first, second = world.save(render), world.save(render)
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    world.unsave(first)
    world.run("UPDATE render_notes SET at = now() - interval '2 hours'")
    sweep(world)
    assert render in world.renders()
    world.run("UPDATE user_assets SET metadata = '{}' WHERE id = %s", second)
    world.run("UPDATE render_notes SET at = now() - interval '2 hours'")
    sweep(world)
    assert render not in world.renders()


def test_what_by_passed_the_triggers_is_found_in_its_turn(world: RenderWorld) -> None:
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    with world.session() as session:
        session.execute("SET LOCAL session_replication_role = replica")
        render = uuid4()
        world.write(f"t/{render}.mp4", b"x")
        session.execute(
            "INSERT INTO render_jobs VALUES (%s, %s, 'completed', %s, now() - interval '3 h', now() - interval '3 h')",
            [render, world.user, f"renders/t/{render}.mp4"],
        )
    assert world.one("SELECT count(*) FROM render_candidates WHERE job_id = %s", render) == 0
    sweep(world)
    assert render not in world.renders()


def test_a_completed_update_makes_a_candidate(world: RenderWorld) -> None:
    render = world.render(status="processing")
    sweep(world)
    world.run("UPDATE render_jobs SET status = 'completed' WHERE id = %s", render)
    sweep(world)
    assert render not in world.renders()


def test_undo_by_run_and_by_prefix(world: RenderWorld) -> None:
    first, second, third = world.render(path="a/1.mp4"), world.render(path="a/2.mp4"), world.render(path="ab/3.mp4")
    into_quarantine(world, "monday")
    assert world.files().isdisjoint({"a/1.mp4", "a/2.mp4", "ab/3.mp4"})
    told = undo(world.context, acting_run="undo", dry_run=False, prefix="renders/a")
    assert (told.restored, told.left) == (2, 0)
    assert world.files() >= {"a/1.mp4", "a/2.mp4"}
    assert "ab/3.mp4" not in world.files()
    again = undo(world.context, acting_run="undo", dry_run=False, run_id="monday", limit=5)
    assert (again.restored, again.skipped) == (1, {"restored": 2})
    assert world.files() >= {"ab/3.mp4"}
    sweep(world)
    assert world.renders() >= {first, second, third}
    assert undo(world.context, acting_run="undo", dry_run=False, prefix="renders").candidates == 0
    for wrong in ({}, {"run_id": "a", "prefix": "b"}, {"run_id": "a", "limit": 0}):
        with pytest.raises(Permanent):
            undo(world.context, acting_run="undo", dry_run=False, **wrong)  # type: ignore[arg-type]


def test_the_emergency_job_asks_for_its_sentence_and_keeps_to_its_limits(world: RenderWorld) -> None:
    renders = [world.render() for _ in range(5)]
    world.context = replace(world.context, rules=OrphanRules(timedelta(minutes=3), timedelta(0)))
    recent = world.render(age="30 minutes")
    with pytest.raises(Permanent, match="is not the sentence"):
        orphans.emergency(world.context, run_id=RUN, dry_run=False, confirm="yes")
    with pytest.raises(Permanent, match="limit is 0"):
        orphans.emergency(world.context, run_id=RUN, dry_run=True, confirm="", limit=0)
    told = orphans.emergency(world.context, run_id=RUN, dry_run=False, confirm=orphans.EMERGENCY_CONFIRMATION, limit=2)
    assert (told["quarantine"].quarantined, told["delete"].deleted) == (2, 2)
    assert len(set(renders) & world.renders()) == 3
    told = orphans.emergency(world.context, run_id=RUN, dry_run=False, confirm=orphans.EMERGENCY_CONFIRMATION)
    assert told["delete"].deleted == 3
    assert recent in world.renders()


def test_one_pass_at_a_time_moves_files(world: RenderWorld) -> None:
    with world.context.moving_files():
        for step in (orphans.quarantine, orphans.delete, orphans.bring_back):
            with pytest.raises(AlreadyRunning):
                step(world.context, run_id=RUN, **({} if step is orphans.bring_back else {"dry_run": False}))
        assert orphans.scan(world.context, run_id=RUN, dry_run=False).restored == 0


def test_a_broken_index_is_built_again(world: RenderWorld) -> None:
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    world.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'user_assets_content_render'::regclass")
    orphans.scan(world.context, run_id=RUN, dry_run=False)
    assert world.one("SELECT indisvalid FROM pg_index WHERE indexrelid = 'user_assets_content_render'::regclass")
    assert world.one("SELECT current_setting('statement_timeout')") == "5min"


def test_files_of_quarantine_are_no_renders(world: RenderWorld) -> None:
    render = world.render(path=f"{QUARANTINE_PREFIX}/x", url=f"renders/{QUARANTINE_PREFIX}/x")
    sweep(world)
    assert render in world.renders()


def test_the_audit_is_added_to_and_nothing_else(world: RenderWorld) -> None:
    world.render()
    sweep(world)
    for change in ("UPDATE cleanup_audit SET reason = ''", "DELETE FROM cleanup_audit", "TRUNCATE cleanup_audit"):
        with pytest.raises(Exception, match="append-only"):
            world.run(change)
    allowed = world.all(
        "SELECT DISTINCT privilege_type AS p FROM information_schema.table_privileges "
        "WHERE table_name = 'cleanup_audit'"
    )
    assert {row["p"] for row in allowed}.isdisjoint({"UPDATE", "DELETE", "TRUNCATE"})


def test_a_scan_grows_with_orphans_and_not_with_renders(world: RenderWorld) -> None:
    """`SOAK=1`: a million renders, 0.5 s. Otherwise 20,000, and no table is read whole."""
    soak = bool(os.environ.get("SOAK"))
    count, orphaned = (1_000_000, 1_000) if soak else (20_000, 100)
    for change in ("DISABLE", "ENABLE"):
        world.run(f"ALTER TABLE render_jobs {change} TRIGGER USER")
        world.run(f"ALTER TABLE user_assets {change} TRIGGER USER")
        if change == "DISABLE":
            values = {"user_id": world.user, "first": 1, "last": count, "unsaved": orphaned}
            with world.session() as session:
                session.execute(statement("benchmarks/cleanup_renders"), values)
                session.execute("TRUNCATE user_assets")
                session.execute(statement("benchmarks/cleanup_saves"), values)
    world.run("ANALYZE render_jobs, user_assets")
    first = orphans.scan(world.context, run_id=RUN, dry_run=False)
    assert (first.candidates, first.scanned >= count) == (orphaned, True)
    before = sequential(world)
    again = orphans.scan(world.context, run_id=RUN, dry_run=False)
    assert (again.candidates, again.scanned) == (orphaned, orphaned + ROLLING_PAGE)
    assert sequential(world) - before < count
    if soak:
        assert min(orphans.scan(world.context, run_id=RUN, dry_run=False).seconds for _ in range(5)) <= 0.5


def sequential(world: RenderWorld) -> int:
    """Rows that were read without an index: the whole of a table is no less than all its rows."""
    for _ in range(2):
        world.run("SELECT pg_stat_force_next_flush()")
    return int(
        world.one(
            "SELECT sum(seq_tup_read)::int FROM pg_stat_user_tables WHERE relname IN ('render_jobs', 'user_assets')"
        )
    )
