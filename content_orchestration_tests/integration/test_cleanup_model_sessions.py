"""People who render, save and unsave in sessions of their own while sweeps run and are killed, with files in S3.

`SOAK=1` runs 1,000 of these interleavings. `INTERLEAVINGS_SEED` repeats the choices of a run; the seed is printed.
"""

import os
import random
import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from content_orchestration.core.cleanup import deleting, moving, orphans, quarantine, returning
from content_orchestration.core.cleanup.guards import accept_empty_references
from content_orchestration.core.cleanup.model import OrphanRules
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.render_store import RenderBuckets
from content_orchestration_tests.cleanup_world import BUCKET, RenderWorld
from content_orchestration_tests.fake_warehouse import Killed
from content_orchestration_tests.object_servers import s3_client, s3_server

COUNT = 1_000 if os.environ.get("SOAK") else 3
PEOPLE, RENDERS, ACTS, SWEEPS = 3, 10, 4, 3
ENGINES = (quarantine, moving, deleting, returning)
INSERT = (
    "INSERT INTO user_assets (id, user_id, asset_type, metadata) "
    "VALUES (%s, %s, 'generated_saved', jsonb_build_object('render_job_id', %s::text))"
)


@dataclass
class Scenario:
    """Some renders, and what the people did to them: assets by id, with the moment at which each save was written."""

    renders: list[UUID]
    file_of: dict[UUID, str]
    saves: dict[UUID, tuple[UUID, datetime]] = field(default_factory=dict)
    guard: threading.Lock = field(default_factory=threading.Lock)


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def world(database_url: str, tmp_path: Path, s3: str) -> Iterator[RenderWorld]:
    s3_client(s3).create_bucket(Bucket=BUCKET)
    stores = RenderBuckets(
        "s3://", endpoint=s3, region="us-east-1", access_key="key", secret_key="secret", retry_seconds=5
    )
    with PostgresClient(database_url) as database:
        made = RenderWorld(database, tmp_path, OrphanRules(timedelta(minutes=60), timedelta(0)), stores=stores)
        render = made.render(file=False)
        made.save(render)
        orphans.scan(made.context, run_id="first", dry_run=False)
        accept_empty_references(made.database)
        yield made


def person(url: str, world: RenderWorld, scenario: Scenario, choose: random.Random) -> None:
    """Saves and unsaves, one to three acts a transaction, committed or not."""
    mine: list[UUID] = []
    with psycopg.connect(url) as session:
        for _ in range(ACTS):
            saved: dict[UUID, tuple[UUID, datetime]] = {}
            gone: list[UUID] = []
            for _ in range(choose.randint(1, 3)):
                if mine and choose.random() < 0.45:
                    asset = mine.pop(choose.randrange(len(mine)))
                    session.execute("DELETE FROM user_assets WHERE id = %s", [asset])
                    gone.append(asset)
                else:
                    asset, render = uuid4(), choose.choice(scenario.renders)
                    session.execute(INSERT, [asset, world.user, str(render)])
                    at: Any = session.execute("SELECT clock_timestamp()").fetchone()
                    saved[asset] = (render, at[0])
            if choose.random() < 0.8:
                session.commit()
                mine += [asset for asset in saved if asset not in gone]
                with scenario.guard:
                    scenario.saves |= saved
                    for asset in gone:
                        scenario.saves.pop(asset, None)
            else:
                session.rollback()
                mine += [asset for asset in gone if asset not in saved]


def sweeper(world: RenderWorld, choose: random.Random, errors: list[BaseException]) -> None:
    for _ in range(SWEEPS):
        for step in (orphans.scan, orphans.quarantine, orphans.delete):
            try:
                step(world.context, run_id="model", dry_run=False)
            except Killed:
                continue
            except BaseException as error:  # noqa: BLE001  (told by the test's own thread)
                errors.append(error)
                return


def rendered(world: RenderWorld, s3: str, choose: random.Random) -> Scenario:
    """Renders, of files of their own or, one in four, of the file of one before it."""
    files: dict[UUID, str] = {}
    for _ in range(RENDERS):
        shared = choose.choice(list(files.values())) if files and choose.random() < 0.25 else None
        path = shared or f"t/{uuid4()}.mp4"
        files[world.render(file=False, path=path)] = path
        if not shared:
            s3_client(s3).put_object(Bucket=BUCKET, Key=path, Body=path.encode())
    return Scenario(list(files), files)


def stored(s3: str) -> dict[str, bytes]:
    client = s3_client(s3)
    listed = client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return {each["Key"]: client.get_object(Bucket=BUCKET, Key=each["Key"])["Body"].read() for each in listed}


def grown_old(world: RenderWorld) -> None:
    world.run("UPDATE render_notes SET at = now() - interval '2 hours'")
    world.run("UPDATE render_candidates SET since = now() - interval '2 hours', look_at = now()")
    world.run("UPDATE cleanup_quarantine SET ended_at = ended_at - interval '2 hours' WHERE state = 'restored'")


def settled(world: RenderWorld, sweeps: int) -> None:
    """Sweeps after the grace, with nobody about; the first brings back what was saved."""
    for _ in range(sweeps):
        grown_old(world)
        for step in (orphans.scan, orphans.quarantine, orphans.delete, orphans.delete):
            step(world.context, run_id="model", dry_run=False)


def too_late(world: RenderWorld, render: UUID, at: datetime) -> bool:
    """Whether the last look at the render's file was over before the save had been written."""
    rows = world.all("SELECT ended_at FROM cleanup_quarantine WHERE subject_id = %s AND state = 'deleted'", str(render))
    return any(row["ended_at"] < at for row in rows)


def test_saves_and_sweeps_in_real_sessions_lose_nothing_and_leave_nothing(
    world: RenderWorld, database_url: str, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = int(os.environ.get("INTERLEAVINGS_SEED") or secrets.randbits(32))
    print(f"\nINTERLEAVINGS_SEED={seed}, {COUNT} interleavings")  # noqa: T201
    choose = random.Random(seed)
    deaths = [0]
    kept = late = gone = 0

    def reach(name: str) -> None:
        if deaths[0] > 0 and choose.random() < 0.04:
            deaths[0] -= 1
            raise Killed(name)

    for engine in ENGINES:
        monkeypatch.setattr(engine, "reach", reach)
    for number in range(COUNT):
        scenario = rendered(world, s3, choose)
        errors: list[BaseException] = []
        deaths[0] = 3
        threads = [
            threading.Thread(target=person, args=(database_url, world, scenario, random.Random(choose.random())))
            for _ in range(PEOPLE)
        ]
        threads.append(threading.Thread(target=sweeper, args=(world, choose, errors)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive()
        assert not errors, (number, errors)
        deaths[0] = 0
        settled(world, 2)
        wanted = {render for render, _ in scenario.saves.values()}
        shared = [path for path, count in Counter(scenario.file_of.values()).items() if count > 1]
        alone = {render for render, path in scenario.file_of.items() if path not in shared}
        assert not (alone - wanted) & world.renders(), (seed, number)
        # One more ends what waited for another render of its file.
        settled(world, 1)
        files, rows = stored(s3), world.renders()
        for render, at in scenario.saves.values():
            if too_late(world, render, at):
                late += 1
                continue
            kept += 1
            path = scenario.file_of[render]
            assert files.get(path) == path.encode(), (seed, number, render)
            assert render in rows, (seed, number, render)
        for render in set(scenario.renders) - wanted:
            gone += 1
            assert render not in rows, (seed, number, render)
        assert set(files) <= {scenario.file_of[render] for render in wanted}, (seed, number)
        for asset in list(scenario.saves):
            world.unsave(asset)
    print(f"{kept} saves kept, {late} after the end of their render, {gone} orphans gone")  # noqa: T201
    assert kept
    assert gone
