"""Killed at every step of retention and run again: what was to go is gone, nothing else is, and the books are true."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from content_orchestration.core.integrity.documents import compare_documents
from content_orchestration.core.integrity.report import IntegrityReport, Scope
from content_orchestration.core.integrity.report_store import store_report
from content_orchestration_tests.retention_process import RetentionProcesses
from content_orchestration_tests.retention_world import RetentionWorld, retention_world
from content_orchestration_tests.tiers import Tiers

# Each pass gets one step further than the one before and is killed there.
ONE_AFTER_ANOTHER = [
    # An item, its documents, its two files.
    "retention_noted", "retention_row_purged", "retention_documents_gone", "retention_file_released",
    "retention_file_released:2", "retention_closed",
    # Versions of another.
    "retention_noted", "retention_row_purged", "retention_documents_gone", "retention_closed",
    # The row of a deleted file; bytes; a document without a row.
    "retention_noted", "retention_row_purged", "retention_documents_gone", "retention_file_released",
    "retention_closed", "retention_bytes_gone", "retention_bytes_gone", "document_kept", "document_removed",
]  # fmt: skip
# Each alone, in a world of its own: about 3 s each.
EACH = [
    "retention_noted", "retention_row_purged", "retention_documents_gone", "retention_file_released",
    "retention_closed", "retention_noted:2", "retention_row_purged:2", "retention_documents_gone:2",
    "retention_closed:2", "retention_noted:3", "retention_row_purged:3", "retention_bytes_gone",
    "retention_bytes_gone:2", "document_kept", "document_removed",
]  # fmt: skip
SOAK = bool(os.environ.get("SOAK"))
KILLED = -9


@pytest.fixture
def world(tiers: Tiers, tmp_path: Path) -> Iterator[RetentionWorld]:
    with retention_world(tiers, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def processes() -> Iterator[RetentionProcesses]:
    with RetentionProcesses() as started:
        yield started


def fill(world: RetentionWorld) -> dict[str, Any]:
    """One of everything that goes, and what must stay beside each."""
    live = world.item("free", versions=3)
    world.aged(live.id, {1: 60, 2: 50, 3: 1})
    gone = world.item("free", days=31, versions=2)
    kept = world.item("free", days=3)
    own = world.file("free", b"own file", content=gone.id)
    world.variant("free", own)
    shared = world.file("free", b"shared file", content=gone.id)
    world.file("free", b"shared file", content=live.id)
    world.file("free", b"deleted file", days=31)
    young = world.file("free", b"young file", days=1)
    stray = {"id": f"{gone.id}.v9", "content_id": str(gone.id), "tenant_id": str(world.tenant("free")), "version": 9}
    world.tiers.store.put_many("content_versions", [stray | {"created_at": "2020-01-01T00:00:00Z"}])
    compared = compare_documents(
        world.tiers.database, world.tiers.store, grace=timedelta(hours=1), now=datetime.now(UTC)
    )
    store_report(
        world.tiers.database, IntegrityReport(Scope.FULL, "test", datetime.now(UTC), [compared], compared.seconds)
    )
    return {"items": {live.id, kept.id}, "live": live, "kept": kept, "files": sorted([shared, young])}


@pytest.mark.parametrize(
    "failpoints", [pytest.param(ONE_AFTER_ANOTHER, id="one after another"), *([[one] for one in EACH] if SOAK else [])]
)
def test_kills_at_any_step_and_a_rerun_leave_what_an_undisturbed_run_leaves(
    world: RetentionWorld, processes: RetentionProcesses, tmp_path: Path, failpoints: list[str]
) -> None:
    wanted = fill(world)
    for failpoint in failpoints:
        killed = processes.clean(world.tiers, tmp_path, failpoint)
        assert killed.status == KILLED, (failpoint, killed.said)
    again = processes.clean(world.tiers, tmp_path)
    assert again.status == 0, again.said
    # Documents that a kill left in quarantine are forgotten by the pass after.
    assert processes.clean(world.tiers, tmp_path).status == 0
    assert world.items() == wanted["items"]
    live, kept = wanted["live"].id, wanted["kept"].id
    assert world.documents() == {f"{live}.v2", f"{live}.v3", f"{kept}.v1"}
    assert world.documents("content_versions") == world.documents()
    assert world.objects("free") == wanted["files"]
    assert world.run("SELECT DISTINCT state FROM cleanup_quarantine") == [{"state": "deleted"}]
    assert world.run("SELECT * FROM media_superseded") == []
    assert world.content.get(world.tenant("free"), live).body is not None
    assert world.content.undelete(world.tenant("free"), kept).id == kept
    world.true_everywhere()
    purged = world.run("SELECT kind, count(*) FROM cleanup_audit WHERE action = 'purged' GROUP BY kind ORDER BY kind")
    assert purged == [{"kind": kind, "count": 1} for kind in ("content", "media", "version")]
