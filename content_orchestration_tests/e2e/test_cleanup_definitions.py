"""Cleanup as Dagster runs it: renders through their grace, dry runs, refusals, undo, holds, checks, schedules."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import dagster as dg
import psycopg
import pytest

from content_orchestration.core.cleanup.health import PASSES
from content_orchestration.core.cleanup.orphans import EMERGENCY_CONFIRMATION
from content_orchestration.core.cleanup.passes import LOCK
from content_orchestration.definitions import defs
from content_orchestration.failures import PERMANENT_TAG
from content_orchestration.local.ports import free_ports
from content_orchestration.policies import POOL_CLEANUP
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration_tests.e2e.environment import environment, once_an_environment
from content_orchestration_tests.replication_fakes import sync
from content_orchestration_tests.tiers import Tiers
from content_orchestration_tests.usage_rows import run, tenant

RENDERS = ("orphaned_renders", "quarantined_renders", "deleted_renders")
CHECKS = {"no_orphan_is_late", "no_pass_was_refused", "audit_is_append_only"}
JOBS = {
    "clean_orphaned_renders", "purge_expired_content", "compact_history", "look_for_stray_objects", "sweep_leftovers",
    "watch_cleanup", "bring_back_saved_renders", "emergency_orphan_cleanup", "undo_cleanup", "place_legal_hold",
    "release_legal_hold",
}  # fmt: skip
SCHEDULES = {
    # Its interval is that of the moment when the process loaded the definitions (unit/test_cleanup_addresses.py).
    "clean_orphaned_renders_on_schedule": (None, "clean_orphaned_renders", set(RENDERS)),
    "purge_expired_content_by_night": (
        "15 2 * * *",
        "purge_expired_content",
        {"purged_content", "superseded_versions"},
    ),
    "sweep_leftovers_by_night": ("45 2 * * *", "sweep_leftovers", {"cleanup_leftovers"}),
    "look_for_stray_objects_every_week": ("30 1 * * 1", "look_for_stray_objects", {"stray_objects"}),
    "compact_history_every_month": ("0 5 1 * *", "compact_history", {"history_compaction"}),
    "watch_cleanup_every_six_hours": ("50 */6 * * *", "watch_cleanup", set()),
}


@once_an_environment
def loaded() -> dg.Definitions:
    """The project's definitions."""
    return defs()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


@pytest.fixture
def state(tiers: Tiers, tmp_path: Path) -> Iterator[Path]:
    """The folder of the local stack, in the testing profile without a grace period."""
    values = {"LOCAL_STATE_DIR": str(tmp_path), "PLATFORM_PROFILE": "testing", "ORPHAN_QUARANTINE_HOURS": "0"}
    with environment(tiers.environment() | values):
        yield tmp_path


class Renders:
    """Renders of one user with their files, an hour old unless said otherwise."""

    def __init__(self, tiers: Tiers, state: Path) -> None:
        self.tiers, self.folder = tiers, state / "renders" / "renders"
        self.tenant, self.user = UUID(tenant(tiers.database, "business")), uuid4()
        run(tiers.database, "INSERT INTO users (id, tenant_id, email) VALUES (%s, %s, 'a@b')", [self.user, self.tenant])

    def make(self, n: int, age: str = "2 hours") -> list[UUID]:
        made = []
        for _ in range(n):
            job = uuid4()
            path = self.folder / f"{job}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * 1000)
            run(
                self.tiers.database,
                "INSERT INTO render_jobs (id, user_id, status, output_url, created_at, updated_at) VALUES "
                "(%s, %s, 'completed', %s, now() - %s::interval, now() - %s::interval)",
                [job, self.user, f"renders/{job}.mp4", age, age],
            )
            # A candidate is as old as what the triggers saw: these were completed long ago.
            for table, column in (("render_candidates", "since"), ("render_notes", "at")):
                run(
                    self.tiers.database,
                    f"UPDATE {table} SET {column} = now() - %s::interval WHERE job_id = %s",
                    [age, job],
                )
            made.append(job)
        return made

    def save(self, job: UUID) -> None:
        run(
            self.tiers.database,
            "INSERT INTO user_assets (id, user_id, asset_type, metadata, file_size, created_at) VALUES "
            "(%s, %s, 'generated_saved', jsonb_build_object('render_job_id', %s::text), 1000, now())",
            [uuid4(), self.user, str(job)],
        )

    def files(self) -> set[UUID]:
        """Renders whose file is where it was."""
        return {UUID(path.stem) for path in self.folder.glob("*.mp4")}

    def rows(self) -> set[UUID]:
        return {row["id"] for row in run(self.tiers.database, "SELECT id FROM render_jobs")}

    def audit(self, *columns: str) -> list[dict[str, Any]]:
        named = ", ".join(columns)
        return run(self.tiers.database, f"SELECT {named} FROM cleanup_audit ORDER BY audit_id")

    def grace_is_over(self) -> None:
        run(self.tiers.database, "UPDATE cleanup_quarantine SET delete_after = now() - interval '1 second'")


@pytest.fixture
def renders(tiers: Tiers, state: Path) -> Renders:
    return Renders(tiers, state)


def launch(
    instance: dg.DagsterInstance, job: str, config: dict[str, dict[str, Any]] | None = None, **given: Any
) -> dg.ExecuteInProcessResult:
    ops = {name: {"config": values} for name, values in (config or {}).items()}
    return loaded().resolve_job_def(job).execute_in_process(
        instance=instance, run_config={"ops": ops}, raise_on_error=False, **given
    )  # fmt: skip


def sweep(instance: dg.DagsterInstance, **config: Any) -> dg.ExecuteInProcessResult:
    return launch(instance, "clean_orphaned_renders", {name: {"dry_run": False} | config for name in RENDERS})


def shown(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    (*_, event) = result.asset_materializations_for_node(asset)
    return {key: value.value for key, value in event.metadata.items()}


def told(result: dg.ExecuteInProcessResult, op: str) -> dict[str, Any]:
    (event,) = [e for e in result.all_events if e.is_successful_output and e.step_key == op]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


def failure_of(result: dg.ExecuteInProcessResult, op: str) -> Any:
    data = result.failure_data_for_node(op)
    assert data is not None
    assert data.user_failure_data is not None
    return data.user_failure_data


def outcomes(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}


def tick(instance: dg.DagsterInstance) -> Any:
    repository = loaded().get_repository_def()
    resources = {"postgres": PostgresResource()}
    with dg.build_sensor_context(instance=instance, repository_def=repository, resources=resources) as context:
        return repository.get_sensor_def("renders_saved_in_quarantine").evaluate_tick(context)


def test_what_nobody_saved_goes_and_what_somebody_saved_stays(renders: Renders, instance: dg.DagsterInstance) -> None:
    saved, *orphans = renders.make(4)
    renders.save(saved)
    (young,) = renders.make(1, age="1 minute")
    result = sweep(instance)
    assert result.success
    found, taken, gone = (shown(result, name) for name in RENDERS)
    assert (found["candidates"], taken["quarantined"], gone["deleted"]) == (3, 3, 3)
    assert gone["freed_bytes"] == 3000
    assert gone["freed"] == "2.93 KiB"
    assert found["dagster/table_name"] == "render_candidates"
    assert len(taken["samples"].records) == 3
    assert renders.files() == {saved, young}
    assert renders.rows() == {saved, young}
    lines = renders.audit("kind", "action", "subject_id", "run_id")
    assert {line["run_id"] for line in lines} == {result.run_id}
    assert [line["kind"] for line in lines if line["action"] == "finished"] == list(RENDERS)
    for action in ("quarantined", "deleted"):
        assert {line["subject_id"] for line in lines if line["action"] == action} == {str(each) for each in orphans}


def test_a_launch_without_config_removes_nothing(renders: Renders, instance: dg.DagsterInstance) -> None:
    orphans = renders.make(3)
    result = launch(instance, "clean_orphaned_renders")
    assert result.success
    assert [shown(result, name)["dry_run"] for name in RENDERS] == [True, True, True]
    assert shown(result, "orphaned_renders")["candidates"] == 3
    assert (len(run(renders.tiers.database, "SELECT id FROM render_jobs")), tick(instance).run_requests) == (3, [])
    assert renders.files() == renders.rows() == set(orphans)
    assert renders.audit("action") == []
    assert run(renders.tiers.database, "SELECT subject_id FROM cleanup_quarantine") == []


def test_a_save_during_the_grace_brings_file_and_row_back_within_a_tick(
    renders: Renders, instance: dg.DagsterInstance, tiers: Tiers, state: Path
) -> None:
    with environment(tiers.environment() | {"LOCAL_STATE_DIR": str(state), "PLATFORM_PROFILE": "testing",
                                            "ORPHAN_QUARANTINE_HOURS": "24"}):  # fmt: skip
        wanted, unwanted = renders.make(2)
        assert shown(sweep(instance), "quarantined_renders")["quarantined"] == 2
        assert renders.files() == set()
        assert tick(instance).skip_message == "nothing in quarantine was saved"
        renders.save(wanted)
        assert len(tick(instance).run_requests) == 1
        sweeping = instance.create_run_for_job(
            loaded().resolve_job_def("clean_orphaned_renders"), status=dg.DagsterRunStatus.STARTED
        )
        assert f"run {sweeping.run_id} of clean_orphaned_renders" in str(tick(instance).skip_message)
        instance.report_run_canceled(sweeping)
        back = launch(instance, "bring_back_saved_renders")
        assert told(back, "bring_saved_renders_back")["restored"] == 1
        assert renders.files() == {wanted}
        assert tick(instance).skip_message == "nothing in quarantine was saved"
        renders.grace_is_over()
        assert shown(sweep(instance), "deleted_renders")["deleted"] == 1
        assert renders.files() == renders.rows() == {wanted}
        assert "saved_renders" in {line["kind"] for line in renders.audit("kind")}
        assert str(unwanted) in {line["subject_id"] for line in renders.audit("subject_id")}


def test_undo_brings_back_by_run_or_by_place_and_asks_for_one_of_them(
    renders: Renders, instance: dg.DagsterInstance, tiers: Tiers, state: Path
) -> None:
    with environment(tiers.environment() | {"LOCAL_STATE_DIR": str(state), "PLATFORM_PROFILE": "testing",
                                            "ORPHAN_QUARANTINE_HOURS": "24"}):  # fmt: skip
        orphans = renders.make(2)
        swept = sweep(instance)
        dry = launch(instance, "undo_cleanup", {"bring_back": {"run_id": swept.run_id}})
        assert (told(dry, "bring_back")["candidates"], renders.files()) == (2, set())
        undone = launch(instance, "undo_cleanup", {"bring_back": {"run_id": swept.run_id, "dry_run": False}})
        assert told(undone, "bring_back")["restored"] == 2
        assert renders.files() == renders.rows() == set(orphans)
        again = renders.make(1)
        assert shown(sweep(instance), "quarantined_renders")["quarantined"] == 1, "what came back is left alone"
        launch(instance, "undo_cleanup", {"bring_back": {"prefix": "renders", "dry_run": False}})
        assert renders.files() == {*orphans, *again}
        neither = launch(instance, "undo_cleanup", {"bring_back": {"dry_run": False}})
        assert "run_id or by prefix" in str(failure_of(neither, "bring_back").description)


def test_a_rule_that_stops_a_pass_fails_the_run_by_name_and_turns_its_check_red(
    renders: Renders, instance: dg.DagsterInstance
) -> None:
    saved, orphan = renders.make(2)
    renders.save(saved)
    assert sweep(instance).success
    assert all(each.passed for each in outcomes(launch(instance, "watch_cleanup")).values())
    (later,) = renders.make(1)
    run(renders.tiers.database, "DELETE FROM user_assets")
    refused = sweep(instance)
    assert not refused.success
    failure = failure_of(refused, "orphaned_renders")
    assert failure.metadata["rule"].value == "empty_references"
    assert "Nothing was removed" in str(failure.description)
    record = instance.get_run_by_id(refused.run_id)
    assert record is not None
    assert record.tags[PERMANENT_TAG] == "true"
    assert renders.files() == {saved, later}
    red = {name: each for name, each in outcomes(launch(instance, "watch_cleanup")).items() if not each.passed}
    assert list(red) == ["no_pass_was_refused"]
    check = red["no_pass_was_refused"]
    assert check.severity == dg.AssetCheckSeverity.ERROR
    assert "empty_references" in str(check.description)
    assert check.metadata["refused"].value["orphaned_renders"]["run_id"] == refused.run_id
    renders.save(saved)
    assert sweep(instance).success
    assert all(each.passed for each in outcomes(launch(instance, "watch_cleanup")).values())
    assert orphan not in renders.rows()


def test_an_emergency_needs_its_sentence_and_takes_no_more_than_its_limit(
    renders: Renders, instance: dg.DagsterInstance
) -> None:
    renders.make(3)
    renders.make(2, age="30 minutes")
    run(
        renders.tiers.database,
        "UPDATE render_candidates c SET since = r.created_at FROM render_jobs r WHERE r.id = c.job_id",
    )
    op = "clean_at_once"
    dry = launch(instance, "emergency_orphan_cleanup")
    assert dry.success, "a dry run needs no sentence"
    assert len(renders.files()) == 5
    wrong = launch(instance, "emergency_orphan_cleanup", {op: {"dry_run": False, "confirm": "yes"}})
    assert repr(EMERGENCY_CONFIRMATION) in str(failure_of(wrong, op).description)
    assert len(renders.files()) == 5
    config = {op: {"dry_run": False, "confirm": EMERGENCY_CONFIRMATION, "limit": 2}}
    done = told(launch(instance, "emergency_orphan_cleanup", config), op)
    assert (done["quarantined"], done["deleted"], len(renders.files())) == (2, 2, 3)
    assert [part["part"] for part in done["parts"]] == ["scan", "quarantine", "delete"]
    launch(instance, "emergency_orphan_cleanup", {op: {"dry_run": False, "confirm": EMERGENCY_CONFIRMATION}})
    assert len(renders.files()) == 2, "those younger than an hour stay"


def test_nothing_goes_while_a_restore_or_another_cleanup_holds_the_lock(
    renders: Renders, instance: dg.DagsterInstance
) -> None:
    orphans = renders.make(1)
    with renders.tiers.database.advisory_lock(LOCK):
        result = sweep(instance)
        assert not result.success
        assert failure_of(result, "orphaned_renders").metadata["kind"].value == "already running"
    assert renders.files() == set(orphans)


def test_a_hold_keeps_a_tenants_renders_until_it_is_released(renders: Renders, instance: dg.DagsterInstance) -> None:
    orphans = renders.make(1)
    given = {"tenant_id": str(renders.tenant), "reason": "case 7", "placed_by": "legal"}
    hold = told(launch(instance, "place_legal_hold", {"place_hold": given}), "place_hold")["hold_id"]
    assert sweep(instance).success
    assert renders.files() == set(orphans)
    release = {"tenant_id": str(renders.tenant)}
    listed = told(launch(instance, "release_legal_hold", {"release_hold": release}), "release_hold")
    assert (listed["released"], listed["standing"]) == ("none", 1)
    wrong = {**release, "hold_id": str(uuid4()), "dry_run": False, "reason": "over", "released_by": "legal"}
    refused = launch(instance, "release_legal_hold", {"release_hold": wrong})
    assert "does not stand for tenant" in str(failure_of(refused, "release_hold").description)
    right = wrong | {"hold_id": hold}
    ended = told(launch(instance, "release_legal_hold", {"release_hold": right}), "release_hold")
    assert (ended["released"], ended["standing"]) == (hold, 0)
    run(renders.tiers.database, "UPDATE render_candidates SET look_at = now()")
    assert sweep(instance).success
    assert renders.files() == set()
    nobody = launch(instance, "place_legal_hold", {"place_hold": given | {"tenant_id": str(uuid4())}})
    assert "no tenant of the platform" in str(failure_of(nobody, "place_hold").description)


def test_health_shows_the_week_the_trend_and_what_is_stored(renders: Renders, instance: dg.DagsterInstance) -> None:
    empty = shown(launch(instance, "watch_cleanup"), "cleanup_health")
    assert empty["trend"] == "nothing was removed within 30 days"
    assert empty["passes"] == "no pass has ended yet"
    saved, *_ = renders.make(3)
    renders.save(saved)
    sweep(instance)
    health = shown(launch(instance, "watch_cleanup"), "cleanup_health")
    assert (health["orphans_left"], health["orphans_week"], health["freed_bytes_today"]) == (0, 2, 2000)
    assert health["freed_bytes_week"] == 2000
    assert health["trend"].startswith("`" + "▁" * 29 + "█` freed on each of 30 days, at most 1.95 KiB")
    assert "| 2 | 2 | 0 | 1.95 KiB | 0 |" in health["week"]
    assert "| generated_saved | `█` | user_assets | 1 | 1,000 bytes |" in health["storage_by_type"]
    for name in RENDERS:
        assert f"| {name} | 0.0 h ago | finished |" in health["passes"]
    assert health["dagster/row_count"] == len(renders.audit("id"))


def test_orphans_that_nobody_takes_are_late(renders: Renders, instance: dg.DagsterInstance) -> None:
    renders.make(2, age="1 hour")
    launch(instance, "clean_orphaned_renders", {"orphaned_renders": {"dry_run": False}})
    checks = outcomes(launch(instance, "watch_cleanup"))
    assert set(checks) == CHECKS
    late = checks["no_orphan_is_late"]
    assert (late.passed, late.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert late.metadata["late"].value == 2
    assert len(late.metadata["samples"].records) == 2
    sweep(instance)
    assert outcomes(launch(instance, "watch_cleanup"))["no_orphan_is_late"].passed


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("ALTER TABLE cleanup_audit DISABLE TRIGGER append_only", "the trigger append_only is switched off"),
        ("DROP TRIGGER append_only ON cleanup_audit", "the trigger append_only is missing"),
        ("GRANT DELETE ON cleanup_audit TO content_worker", "content_worker may DELETE cleanup_audit"),
        ("GRANT UPDATE ON cleanup_audit TO PUBLIC", "everybody may UPDATE cleanup_audit"),
    ],
)
def test_an_audit_that_could_be_changed_is_red(
    tiers: Tiers, state: Path, instance: dg.DagsterInstance, statement: str, problem: str
) -> None:
    with psycopg.connect(tiers.database_url) as connection:
        connection.execute(statement)  # type: ignore[arg-type]
    check = outcomes(launch(instance, "watch_cleanup"))["audit_is_append_only"]
    assert (check.passed, check.severity, check.description) == (False, dg.AssetCheckSeverity.ERROR, problem)


@pytest.mark.usefixtures("impatient")
def test_checks_that_cannot_look_are_unknown(instance: dg.DagsterInstance, state: Path) -> None:
    nowhere = f"postgresql://postgres@127.0.0.1:{free_ports(1)[0]}/x"
    keys = [dg.AssetCheckKey(dg.AssetKey("cleanup_health"), name) for name in sorted(CHECKS)]
    job = dg.define_asset_job("cleanup_checks", selection=dg.AssetSelection.checks(*keys))
    with environment({"DATABASE_PUBLIC_URL": nowhere, "LOCAL_STATE_DIR": str(state)}):
        result = dg.Definitions.merge(defs(), dg.Definitions(jobs=[job])).resolve_job_def("cleanup_checks")
        found = outcomes(result.execute_in_process(instance=instance))
    assert {name: each.metadata["outcome"].value for name, each in found.items()} == dict.fromkeys(CHECKS, "unknown")


def test_the_other_parts_run_dry_and_for_real(tiers: Tiers, state: Path, instance: dg.DagsterInstance) -> None:
    sync(tiers)
    parts = {
        "purge_expired_content": ["purged_content", "superseded_versions"],
        "sweep_leftovers": ["cleanup_leftovers"],
        "look_for_stray_objects": ["stray_objects"],
        "compact_history": ["history_compaction"],
    }
    for dry in (True, False):
        for job, assets in parts.items():
            result = launch(instance, job, {asset: {"dry_run": dry} for asset in assets})
            assert result.success, job
            for asset in assets:
                metadata = shown(result, asset)
                assert (metadata["dry_run"], metadata["freed_bytes"], metadata["left"]) == (dry, 0, 0)
                assert {"dagster/table_name", "samples", "oldest_hours"} <= metadata.keys()
        ended = {row["kind"] for row in run(tiers.database, "SELECT kind FROM cleanup_audit WHERE action = 'finished'")}
        assert ended <= set(PASSES)
        assert ended >= ({*(a for each in parts.values() for a in each)} if not dry else set())
        assert not (dry and ended)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_schedules_say_themselves_that_they_mean_it(tiers: Tiers, state: Path, name: str) -> None:
    cron, job, parts = SCHEDULES[name]
    schedule = defs().get_repository_def().get_schedule_def(name)
    assert (schedule.cron_schedule, schedule.job_name) == (cron or schedule.cron_schedule, job)
    with dg.instance_for_test() as instance, dg.build_schedule_context(instance) as context:
        (request,) = schedule.evaluate_tick(context).run_requests or []
    configs = request.run_config.get("ops", {})
    assert {part: given["config"] for part, given in configs.items()} == {part: {"dry_run": False} for part in parts}


def test_compaction_is_skipped_where_nothing_is_replicated(tiers: Tiers, state: Path) -> None:
    schedule = loaded().get_repository_def().get_schedule_def("compact_history_every_month")
    with (
        environment(tiers.environment() | {"BIGQUERY_SYNC_ENABLED": "false"}),
        dg.instance_for_test() as instance,
        dg.build_schedule_context(instance) as context,
    ):
        assert "BIGQUERY_SYNC_ENABLED" in str(schedule.evaluate_tick(context).skip_message)


def test_every_job_defaults_to_a_dry_run_and_no_two_cleanups_overlap() -> None:
    repository = loaded().get_repository_def()
    assert {job.name for job in repository.get_all_jobs()} >= JOBS
    graph = loaded().resolve_asset_graph()
    for name in (*RENDERS, "purged_content", "superseded_versions", "cleanup_leftovers"):
        assert graph.get(dg.AssetKey(name)).pools == {POOL_CLEANUP}, name
    for job in ("emergency_orphan_cleanup", "undo_cleanup"):
        (node,) = loaded().resolve_job_def(job).nodes
        assert node.definition.pools == {POOL_CLEANUP}
    for name in JOBS - {"watch_cleanup", "bring_back_saved_renders", "place_legal_hold"}:
        for node in loaded().resolve_job_def(name).nodes:
            fields = node.definition.config_schema.config_type.fields  # type: ignore[attr-defined]
            assert fields["dry_run"].default_value is True, (name, node.name)
