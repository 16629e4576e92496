"""Point in time: what is restored as of a moment is what was recorded then, row for row and body for body.

`RESTORE_SEED` repeats a run; the seed is printed whether it passes or not. `SOAK=1` runs more histories.
"""

import os
import random
import secrets
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from content_orchestration.core.restore.moment import resolve
from content_orchestration.core.restore.request import RestoreRequest, Target
from content_orchestration_tests.replication_fakes import sync
from content_orchestration_tests.replication_model import add_content, insert, media_row, new_version, version_id
from content_orchestration_tests.restore_model import Found, restore, state
from content_orchestration_tests.tiers import Tiers

HISTORIES = 6 if os.environ.get("SOAK") else 1
SYNCS, MOMENTS = (12, 10) if os.environ.get("SOAK") else (9, 6)


def uuid_of(dice: random.Random) -> UUID:
    return UUID(int=dice.getrandbits(128), version=4)


def write(tiers: Tiers, dice: random.Random, ids: list[UUID], media: list[UUID]) -> None:
    """One transaction of creates, updates and deletes."""
    with tiers.database.connection() as connection:
        for _ in range(dice.randint(1, 4)):
            what = dice.choice(["create", "create", "version", "rename", "delete", "again", "media", "unmedia", "soft"])
            if what == "create" or not ids:
                ids.append(uuid_of(dice))
                add_content(connection, tiers.store, [ids[-1]], metadata='{"n": [1.50, null, "\\\\ \\t é"]}')
                continue
            one = dice.choice(ids)
            if what == "version":
                new_version(connection, tiers.store, one)
            elif what == "rename":
                title = f"Title\t{dice.random()}\n\\ 'quoted' \U0001f5dd"
                connection.execute("UPDATE content_storage_metadata SET title = %s WHERE id = %s", [title, one])
            elif what == "soft":
                connection.execute("UPDATE content_storage_metadata SET deleted_at = now() WHERE id = %s", [one])
            elif what == "delete":
                connection.execute("DELETE FROM content_storage_metadata WHERE id = %s", [one])
                if dice.random() < 0.5:
                    connection.execute("DELETE FROM content_versions WHERE content_id = %s", [one])
                    ids.remove(one)
            elif what == "again":
                row: Any = connection.execute("SELECT 1 FROM content_storage_metadata WHERE id = %s", [one]).fetchone()
                gone = connection.execute(
                    "SELECT 1 FROM content_versions WHERE id = %s", [version_id(one, 1)]
                ).fetchone()
                if row is None and gone is None:
                    add_content(connection, tiers.store, [one])
            elif what == "media":
                media.append(uuid_of(dice))
                insert(connection, "media_assets", media_row(media[-1], content_id=one))
            elif media:
                connection.execute("DELETE FROM media_assets WHERE id = %s", [media.pop()])


def now(tiers: Tiers) -> datetime:
    with tiers.database.connection() as connection:
        row = connection.execute("SELECT clock_timestamp() AS now").fetchone()
    assert row is not None
    moment: datetime = row["now"]
    return moment


def test_what_is_restored_as_of_a_moment_is_what_was_recorded_then(tiers: Tiers) -> None:
    seed = int(os.environ.get("RESTORE_SEED") or secrets.randbits(32))
    print(f"\nRESTORE_SEED={seed}")  # noqa: T201
    dice = random.Random(seed)
    for history in range(HISTORIES):
        recorded: list[tuple[int, list[datetime], Found]] = []
        ids: list[UUID] = []
        media: list[UUID] = []
        for _ in range(SYNCS):
            for _ in range(dice.randint(1, 3)):
                write(tiers, dice, ids, media)
            # A moment between the writes and their sync still means the sync before.
            if recorded:
                recorded[-1][1].append(now(tiers))
            sync_id = sync(tiers, batch_size=dice.choice([1, 3, 1000])).last_sync_id
            assert sync_id is not None
            recorded.append((sync_id, [now(tiers)], state(tiers)))
        for number in range(MOMENTS):
            sync_id, moments, wanted = dice.choice(recorded)
            as_of = dice.choice([sync_id, *moments])
            target = Target.scratch(f"pit_{history}_{number}", f"p{history}_{number}_")
            if not any(wanted.values()):
                continue
            report = restore(tiers, RestoreRequest(as_of=as_of, target=target), chunk_bytes=dice.choice([4000, 10**6]))
            assert report.as_of_sync_id == sync_id, f"{as_of} came to another sync"
            assert report.verified, report.as_metadata()
            assert state(tiers, target) == wanted, f"as of {as_of}"
            assert report.rows == sum(len(rows) for rows in wanted.values())
            assert not any(table.newer_not_in_history for table in report.tables.values())


def test_a_sync_that_still_read_at_that_moment_is_not_meant(tiers: Tiers) -> None:
    """Its window was open before the moment, but a change behind the moment may be in what it read."""
    with tiers.database.connection() as connection:
        add_content(connection, tiers.store, [UUID(int=1)])
    first = sync(tiers).last_sync_id
    with tiers.database.connection() as connection:
        connection.execute("UPDATE content_storage_metadata SET title = 'before'")
    moments: list[datetime] = []
    original = tiers.store.get_many

    def late(collection: str, wanted: Any, **given: Any) -> Any:
        # The window is open; the moment passes; then the row changes and is read as it is by then.
        if not moments:
            moments.append(now(tiers))
        return original(collection, wanted, **given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiers.store, "get_many", late)
        second = sync(tiers).last_sync_id
    assert resolve(tiers.warehouse, moments[0]).sync_id == first
    assert resolve(tiers.warehouse, now(tiers)).sync_id == second
