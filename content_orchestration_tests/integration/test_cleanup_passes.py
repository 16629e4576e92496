"""One pass at a time, never beside a restore, and a line about each; what health reads from those lines."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from content_orchestration.core.cleanup.guards import Refused
from content_orchestration.core.cleanup.health import (
    PASSES,
    Lateness,
    last_passes,
    passes_table,
    storage_table,
    take_health,
    trend_chart,
)
from content_orchestration.core.cleanup.model import Cleaned
from content_orchestration.core.cleanup.passes import LOCK, run_pass
from content_orchestration.core.errors import AlreadyRunning, Transient
from content_orchestration.core.restore.engine import Restorer
from content_orchestration.core.restore.request import RestoreRequest, Target
from content_orchestration_tests.replication_fakes import sync
from content_orchestration_tests.replication_model import add_content
from content_orchestration_tests.tiers import Tiers

KIND = PASSES[0]
DONE = Cleaned(
    "render", dry_run=False, scanned=9, candidates=5, quarantined=4, restored=1, deleted=3,
    skipped=Counter({"young": 2}), freed_bytes=2048, oldest_seconds=7200.0, left=1, samples=[{"id": "a"}], seconds=0.5,
)  # fmt: skip
LATENESS = Lateness(timedelta(hours=1), timedelta(minutes=15))


def lines(tiers: Tiers) -> list[dict[str, Any]]:
    with tiers.database.connection() as connection:
        return connection.execute("SELECT * FROM cleanup_audit ORDER BY audit_id").fetchall()


def done(tiers: Tiers, cleaned: Cleaned = DONE, *, kind: str = KIND, dry_run: bool = False, **given: Any) -> Cleaned:
    return run_pass(tiers.database, kind, run_id="run", dry_run=dry_run, work=lambda: cleaned, **given)


def refusing() -> Cleaned:
    raise Refused("ceiling", "too many")


def test_a_pass_leaves_one_line_with_its_counts_and_a_dry_run_none(tiers: Tiers) -> None:
    assert done(tiers, dry_run=True) is DONE
    assert lines(tiers) == []
    assert done(tiers) is DONE
    (line,) = lines(tiers)
    assert (line["run_id"], line["kind"], line["action"], line["subject_id"]) == ("run", KIND, "finished", "pass")
    assert line["detail"] == {
        "scanned": 9, "candidates": 5, "quarantined": 4, "restored": 1, "deleted": 3, "skipped": {"young": 2},
        "freed_bytes": 2048, "oldest_hours": 2.0, "left": 1, "seconds": 0.5,
    }  # fmt: skip


def test_a_refusal_is_written_down_with_its_rule_except_by_a_dry_run(tiers: Tiers) -> None:
    for dry_run in (True, False):
        with pytest.raises(Refused, match="Nothing was removed"):
            run_pass(tiers.database, KIND, run_id="run", dry_run=dry_run, work=refusing)
    (line,) = lines(tiers)
    assert (line["action"], line["detail"]) == ("refused", {"rule": "ceiling"})
    assert line["reason"] == "ceiling: too many. Nothing was removed"
    with tiers.database.advisory_lock(LOCK):
        pass  # it was let go


def test_what_a_store_that_is_down_raises_is_no_line_and_is_raised(tiers: Tiers) -> None:
    def lost() -> Cleaned:
        raise Transient("the store does not answer")

    with pytest.raises(Transient, match="does not answer"):
        run_pass(tiers.database, KIND, run_id="run", dry_run=False, work=lost)
    assert lines(tiers) == []


def test_two_passes_never_overlap_unless_one_says_that_it_may(tiers: Tiers) -> None:
    def within(**given: Any) -> Callable[[], Cleaned]:
        return lambda: run_pass(tiers.database, PASSES[1], run_id="b", dry_run=False, work=lambda: DONE, **given)

    with pytest.raises(AlreadyRunning, match=LOCK):
        run_pass(tiers.database, KIND, run_id="a", dry_run=False, work=within())
    assert lines(tiers) == []
    run_pass(tiers.database, KIND, run_id="a", dry_run=False, work=within(alone=False))
    assert [line["run_id"] for line in lines(tiers)] == ["b", "a"]


def test_a_restore_into_the_live_tiers_waits_for_cleanup_and_keeps_it_out(tiers: Tiers) -> None:
    with tiers.database.connection() as connection:
        add_content(connection, tiers.store, [])
    sync(tiers)
    waits: list[float] = []

    def restorer(**given: Any) -> Restorer:
        return Restorer(tiers.database, tiers.store, tiers.warehouse, run_id="r", sleep=waits.append, **given)

    with tiers.database.advisory_lock(LOCK):
        with restorer(lock_seconds=0.0)._locked(RestoreRequest(target=Target.scratch("elsewhere", "x_"))):
            pass
        for tiers_wanted in ("both", "zerodb"):
            request = RestoreRequest(tiers=tiers_wanted)  # type: ignore[arg-type]
            with pytest.raises(AlreadyRunning, match=LOCK), restorer(lock_seconds=0.0)._locked(request):
                pass
        assert waits == []
        with pytest.raises(AlreadyRunning, match=LOCK), restorer(lock_seconds=12.0)._locked(RestoreRequest()):
            pass
        assert waits == [5.0, 5.0, 5.0]
    with restorer()._locked(RestoreRequest()), pytest.raises(AlreadyRunning, match=LOCK):
        done(tiers)
    assert done(tiers) is DONE


def test_health_adds_up_the_lines_of_passes_and_nothing_else(tiers: Tiers) -> None:
    done(tiers, kind="quarantined_renders")
    done(tiers, kind="deleted_renders")
    done(tiers, kind="some_other_part")
    with pytest.raises(Refused):
        run_pass(tiers.database, "purged_content", run_id="run", dry_run=False, work=refusing)
    with tiers.database.connection() as connection:
        connection.execute(
            "INSERT INTO cleanup_audit (at, run_id, kind, action, subject_id, reason, predicate_version, detail) "
            "SELECT now() - n * interval '1 day', 'old', 'deleted_renders', 'finished', 'pass', 'r', 1, "
            "jsonb_build_object('freed_bytes', n, 'deleted', 1) FROM unnest(ARRAY[2, 8, 40]) AS n"
        )
        connection.execute(
            "INSERT INTO render_candidates (job_id, state, since) VALUES "
            "(gen_random_uuid(), 'orphan', now() - interval '3 hours'), (gen_random_uuid(), 'waiting', now())"
        )
    health = take_health(tiers.database, LATENESS)
    today = health.days[-1]
    assert (len(health.days), today["quarantined"], today["orphans"], today["deleted"]) == (30, 8, 4, 6)
    assert (today["freed_bytes"], today["refused"]) == (4096, 1)
    assert sum(day["freed_bytes"] for day in health.days) == 4096 + 2 + 8
    told = health.as_metadata()
    assert (told["freed_bytes_week"], told["orphans_left"], told["oldest_hours"]) == (4098, 1, 3.0)
    assert told["passes_refused"] == ["purged_content"]
    assert {row["kind"]: row["action"] for row in last_passes(tiers.database)} == {
        "quarantined_renders": "finished", "deleted_renders": "finished", "purged_content": "refused",
    }  # fmt: skip
    assert health.waiting["orphans_late"] == 1
    assert "at most 4 KiB" in trend_chart(health.days)
    assert "| purged_content | 0.0 h ago | refused | 0 bytes | 0 | run |" in passes_table(
        health.passes, datetime.now(UTC)
    )
    assert storage_table(health.storage) == "nothing is stored"
