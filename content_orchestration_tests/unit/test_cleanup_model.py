"""Renders, saves, unsaves, sweeps, restores and deaths in random order, in memory: nothing saved is lost, orphans go.

`SOAK=1` runs 100,000 interleavings. `INTERLEAVINGS_SEED` repeats one; seeds are printed whether it passes or not.
"""

import os
import secrets
from collections.abc import Callable

import pytest

from content_orchestration.core.cleanup import batches, deleting, orphans, verdicts
from content_orchestration.core.cleanup.addresses import QUARANTINE_PREFIX
from content_orchestration_tests.cleanup_machine import FakePostgres, Inline, Machine

COUNT = 100_000 if os.environ.get("SOAK") else 300
STEPS = (orphans.scan, orphans.quarantine, orphans.delete, orphans.bring_back)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "ThreadPoolExecutor", Inline)
    for module in (verdicts, deleting):
        monkeypatch.setattr(module, "held_tenants", lambda connection: frozenset())


def interleave(seed: int) -> tuple[int, int]:
    """One interleaving, settled and judged; how many renders are saved at its end, and how many were orphans."""
    machine = Machine(seed)
    for _ in range(machine.choose.randint(3, 9)):
        machine.sweep(machine.choose.choice(STEPS))
    machine.quiet = True
    # A grace of nothing and one sweep; the second ends what the first brought back unsaved.
    for _ in range(2):
        machine.sweep(*STEPS)
    tables, files = machine.database.tables, machine.bucket.files
    saved = {job for asset, job in tables.assets.items() if asset not in machine.late}
    for job in saved:
        assert files.get(str(job)) == job.bytes, f"INTERLEAVINGS_SEED={seed}: the file of {job} is lost"
        assert job in tables.jobs, f"INTERLEAVINGS_SEED={seed}: the row of {job} is lost"
    orphaned = set(machine.renders) - set(tables.assets.values())
    for job in orphaned:
        assert job not in tables.jobs, f"INTERLEAVINGS_SEED={seed}: {job} is there though nobody saved it"
        assert str(job) not in files, f"INTERLEAVINGS_SEED={seed}: the file of {job} is there"
    assert not [key for key in files if key.startswith(QUARANTINE_PREFIX)], f"INTERLEAVINGS_SEED={seed}: a copy is left"
    return len(saved), len(orphaned)


def first_seed() -> int:
    seed = int(os.environ.get("INTERLEAVINGS_SEED") or secrets.randbits(40))
    print(f"\nINTERLEAVINGS_SEED={seed}, {COUNT} interleavings")  # noqa: T201
    return seed


def test_no_interleaving_loses_what_is_saved_or_keeps_what_is_not() -> None:
    first = first_seed()
    told = [interleave(first + number) for number in range(1 if "INTERLEAVINGS_SEED" in os.environ else COUNT)]
    kept, gone = sum(saved for saved, _ in told), sum(orphaned for _, orphaned in told)
    print(f"{kept} saved renders kept, {gone} orphans gone")  # noqa: T201
    assert kept
    assert gone


def no_fence(self: FakePostgres, quarantine_id: object, size_bytes: int, **_: object) -> object:
    return {}


def blind(self: FakePostgres, ids: list[object], cutoff: object) -> list[dict[str, object]]:
    gone = [job for job in ids if self.tables.jobs.pop(job, None)]  # type: ignore[call-overload]
    return [{"id": job} for job in gone]


def no_lock(self: FakePostgres, ids: list[object]) -> list[dict[str, object]]:
    return [{"id": job} for job in ids if job in self.tables.jobs]


def no_last_look(self: FakePostgres, quarantine_id: object, **_: object) -> dict[str, object]:
    row = self.tables.quarantine[quarantine_id]  # type: ignore[index]
    row |= {"file_fate": "removing"} if row["file_fate"] in ("moved", "removing") else {"state": "deleted"}
    return {"file_fate": row["file_fate"]}


def nothing_noted(self: FakePostgres, most: int) -> None:
    self.tables.recalls.clear()


@pytest.mark.parametrize("broken", [{"_last_look": no_last_look, "_orphan_lock": no_lock, "_orphan_delete": blind}])
def test_the_model_sees_what_goes_wrong(
    monkeypatch: pytest.MonkeyPatch, broken: dict[str, Callable[..., object]]
) -> None:
    """Without the lock, the repeated predicate and the last look, saves are lost: the model can fail."""
    for name, way in broken.items():
        monkeypatch.setattr(FakePostgres, name, way)

    def all_of_them() -> None:
        for seed in range(3_000):
            interleave(seed)

    with pytest.raises(AssertionError, match="is lost"):
        all_of_them()
