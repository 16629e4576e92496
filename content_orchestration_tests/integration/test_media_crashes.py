"""Killed at every step from the drop folder to the described row, and run again: nothing lost, nothing double."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from content_orchestration.core.integrity.media import compare_media
from content_orchestration.core.media.listing import list_files
from content_orchestration.core.media.truth import scrub_files
from content_orchestration.core.quota.upkeep import reap
from content_orchestration.core.quota.usage import untrue_counters
from content_orchestration.resources.object_store import TenantStores
from content_orchestration_tests.media_process import MediaProcesses
from content_orchestration_tests.stored_files import picture
from content_orchestration_tests.tiers import Tiers
from content_orchestration_tests.usage_rows import run, tenant

FAILPOINTS = [
    "media_inbox_document", "media_fetched_whole", "media_reserved", "media_put", "media_committed",
    "media_document_written", "media_ingested", "media_fetched", "media_made", "media_variant_put",
    "media_variant_put:2", "media_described_uncommitted", "media_described",
]  # fmt: skip
KILLED = -9


@pytest.fixture
def owner(tiers: Tiers, tmp_path: Path) -> UUID:
    """A tenant with two dropped pictures, one of them twice."""
    made = tenant(tiers.database, "business")
    for name, seed in (("a.jpg", 1), ("b.jpg", 2), ("c.jpg", 1)):
        path = tmp_path / "media" / "inbox" / made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(seed, 320, 240))
        os.utime(path, (time.time() - 60, time.time() - 60))
    return UUID(made)


@pytest.fixture
def stores(tmp_path: Path) -> TenantStores:
    return TenantStores((tmp_path / "media").as_uri())


@pytest.fixture
def processes(tiers: Tiers, tmp_path: Path, owner: UUID) -> Iterator[MediaProcesses]:
    with MediaProcesses(tiers, (tmp_path / "media").as_uri(), tmp_path / "spool", owner) as started:
        yield started


def told(tiers: Tiers, owner: UUID, stores: TenantStores) -> dict[str, Any]:
    """The end state, without times and ids of the run."""
    rows = run(
        tiers.database,
        "SELECT id, sha256, size_bytes, status, metadata FROM media_assets WHERE tenant_id = %s ORDER BY url",
        [owner],
    )
    return {
        "rows": rows,
        "objects": run(tiers.database, "SELECT key, size_bytes, state, phash FROM media_objects ORDER BY key"),
        "variants": run(tiers.database, "SELECT sha256, width, key, bytes FROM media_variants ORDER BY key"),
        "files": sorted((each.key, each.size_bytes) for each in stores.for_tenant(owner).list()),
        "processed": run(tiers.database, "SELECT sha256, made_with FROM media_processing ORDER BY sha256"),
    }


def everything_is_true(tiers: Tiers, stores: TenantStores) -> None:
    assert untrue_counters(tiers.database) == []
    compared = compare_media(tiers.database, tiers.store)
    assert (compared.outcome, compared.differences) == ("agree", [])
    now = datetime.now(UTC) + timedelta(hours=2)
    assert scrub_files(tiers.database, stores, share_of=timedelta(days=7), now=now).findings == 0
    listed = list_files(tiers.database, stores, now=now)
    assert (listed.sources.findings, listed.strays.kinds) == (0, {})


def test_a_kill_at_any_step_and_a_rerun_end_as_an_undisturbed_run(
    tiers: Tiers, owner: UUID, stores: TenantStores, processes: MediaProcesses
) -> None:
    """One world, killed at each step in turn and then finished: what one run left is in the next one's way."""
    reached = {each: processes.run(each)["status"] for each in FAILPOINTS}
    assert reached == dict.fromkeys(FAILPOINTS, KILLED)
    last = processes.run()
    assert last["status"] == 0, last
    run(tiers.database, "UPDATE quota_reservations SET expires_at = now() WHERE state = 'reserved'")
    end = told(tiers, owner, stores)
    assert [row["status"] for row in end["rows"]] == ["stored"] * 3
    assert end["rows"][0]["metadata"]["file"] == end["rows"][2]["metadata"]["file"]
    assert len(end["objects"]) == len(end["processed"]) == 2
    assert len(end["variants"]) == 4
    assert len(end["files"]) == 6, "no half-written and no second file"
    again = processes.run()
    assert again["status"] == 0
    assert told(tiers, owner, stores) == end
    reap(tiers.database)
    everything_is_true(tiers, stores)


def test_a_kill_while_other_sizes_are_made_leaves_a_page_with_all_of_one(
    tiers: Tiers, owner: UUID, stores: TenantStores, processes: MediaProcesses
) -> None:
    assert processes.run()["status"] == 0
    widths = "SELECT sha256, array_agg(width ORDER BY width) AS widths FROM media_variants GROUP BY sha256"
    before = [150, 320]
    failpoints = ["media_made", "media_variant_put:2", "media_described_uncommitted", "media_described"]
    for number, failpoint in enumerate(failpoints):
        wanted = (100 + number, 200 + number)
        assert processes.run(failpoint, sizes=wanted, remake=True)["status"] == KILLED
        seen = {row["sha256"]: row["widths"] for row in run(tiers.database, widths)}
        assert len(seen) == 2
        changed = sum(each == list(wanted) for each in seen.values())
        assert changed == (1 if failpoint == "media_described" else 0), seen
        assert sum(each == before for each in seen.values()) == 2 - changed, seen
        for row in run(tiers.database, "SELECT metadata, sha256 FROM media_assets WHERE tenant_id = %s", [owner]):
            named = {each["key"]: each["width"] for each in row["metadata"]["variants"]}
            assert sorted(named.values()) == seen[row["sha256"]]
            assert all(stores.for_tenant(owner).exists(key) for key in named)
    assert processes.run(sizes=(100, 200, 300), remake=True)["status"] == 0
    assert [row["widths"] for row in run(tiers.database, widths)] == [[100, 200, 300]] * 2
    # What a killed run put is named by no row: the files of the first three.
    listed = list_files(tiers.database, stores, now=datetime.now(UTC) + timedelta(hours=2))
    assert set(listed.strays.kinds) <= {"file_without_row"}
    assert listed.sources.findings == 0
