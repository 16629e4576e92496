"""Sizes, maintenance and backups as Dagster runs them: the launchpad's words, what is shown, and what a check says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from content_orchestration.defs.operations import backups as backup_defs
from content_orchestration.defs.operations import maintenance as maintenance_defs
from content_orchestration.defs.operations.backups import (
    back_up_by_quarter,
    database_backup,
    last_backup_is_young,
    verify_backup,
)
from content_orchestration.defs.operations.maintenance import maintain_database, table_sizes
from content_orchestration.resources.maintenance import MaintenanceResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.settings import Settings
from content_orchestration_tests.e2e.environment import environment, ports


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


@pytest.fixture
def world(database_url: str, settings: Settings, tmp_path: Path) -> Iterator[dict[str, str]]:
    drills = f"{database_url.rpartition('/')[0]}/no_drill_here"
    values = ports(settings) | {
        "DATABASE_PUBLIC_URL": database_url, "LOCAL_STATE_DIR": str(tmp_path), "DRILL_DATABASE_URL": drills,
    }  # fmt: skip
    with environment(values):
        yield values


def resources() -> dict[str, Any]:
    return {"postgres": PostgresResource(), "maintenance": MaintenanceResource()}


def metadata(result: Any) -> dict[str, Any]:
    (event,) = [e for e in result.all_node_events if e.is_successful_output]
    return {key: value.value for key, value in event.step_output_data.metadata.items()}


def run(job: dg.JobDefinition, instance: dg.DagsterInstance, op: str, **config: Any) -> Any:
    return job.execute_in_process(
        instance=instance, resources=resources(), run_config={"ops": {op: {"config": config}}}, raise_on_error=False
    )


def test_the_sizes_and_a_pass(world: dict[str, str], instance: dg.DagsterInstance, tmp_path: Path) -> None:
    result = dg.materialize([table_sizes], instance=instance, resources=resources())
    (event,) = result.asset_materializations_for_node("table_sizes")
    assert event.metadata["dagster/table_name"].value == "table_sizes"
    assert "| content_storage_metadata |" in str(event.metadata["tables_by_size"].value)
    assert "was read" in str(event.metadata["indexes_nobody_reads"].value)

    with psycopg.connect(world["DATABASE_PUBLIC_URL"], autocommit=True) as admin:
        admin.execute("CREATE TABLE heavy AS SELECT g FROM generate_series(1, 5000) AS g")
        admin.execute("DELETE FROM heavy WHERE g > 100")
        admin.execute("SELECT pg_stat_force_next_flush()")
    planned = metadata(run(maintain_database, instance, "maintain_tables"))
    assert planned["dry_run"] is True
    assert "| vacuum | heavy |" in planned["actions"]
    done = metadata(run(maintain_database, instance, "maintain_tables", dry_run=False))
    assert done["outcomes"] == {"done": 1}
    assert Path(done["report"]).parent == tmp_path / "reports"
    refused = run(maintain_database, instance, "maintain_tables", vacuum=False, reindex=False)
    assert not refused.success
    assert "set one of them to true" in str(
        refused.failure_data_for_node("maintain_tables").user_failure_data.description
    )


def test_a_backup_its_check_and_another_proof(world: dict[str, str], instance: dg.DagsterInstance) -> None:
    def checked() -> Any:
        result = dg.materialize(
            [database_backup, last_backup_is_young], instance=instance, resources=resources(),
            selection=dg.AssetSelection.checks(last_backup_is_young),
        )  # fmt: skip
        (evaluation,) = result.get_asset_check_evaluations()
        return evaluation

    assert not checked().passed
    assert "was ever proven" in str(checked().description)
    result = dg.materialize([database_backup], instance=instance, resources=resources())
    (event,) = result.asset_materializations_for_node("database_backup")
    assert event.metadata["verified"].value is True
    assert checked().passed
    backup_id = str(event.metadata["backup_id"].value)
    assert metadata(run(verify_backup, instance, "restore_and_compare", backup_id=backup_id))["verified"] is True
    with psycopg.connect(world["DATABASE_PUBLIC_URL"]) as connection:
        connection.execute("UPDATE database_backups SET started_at = started_at - interval '101 days'")
    assert not checked().passed
    assert "101.0 days old, and 100 are allowed" in str(checked().description)


@pytest.mark.usefixtures("impatient")
def test_a_check_that_cannot_look_is_unknown(settings: Settings, tmp_path: Path) -> None:
    with environment({"DATABASE_PUBLIC_URL": "postgresql://u@127.0.0.1:1/x", "LOCAL_STATE_DIR": str(tmp_path)}):
        result = last_backup_is_young(PostgresResource())
    assert isinstance(result, dg.AssetCheckResult)
    assert result.metadata["outcome"].value == "unknown"


def test_a_step_that_postgresql_refuses_fails_the_run(
    world: dict[str, str], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from content_orchestration.core.operations.maintenance import Maintenance
    from content_orchestration.core.operations.rules import Step

    with psycopg.connect(world["DATABASE_PUBLIC_URL"]) as connection:
        connection.execute("CREATE TABLE ranges (r int4range, EXCLUDE USING gist (r WITH &&))")
    steps = [Step("reindex", "ranges_r_excl", "", 0)]
    monkeypatch.setattr(Maintenance, "_steps", lambda self, vacuum, reindex: steps)
    result = run(maintain_database, instance, "maintain_tables", dry_run=False)
    assert not result.success
    assert "PostgreSQL refused ranges_r_excl" in str(
        result.failure_data_for_node("maintain_tables").user_failure_data.description
    )


def test_schedules_do_the_work_and_say_why_not(world: dict[str, str]) -> None:
    for schedule, wanted in (
        (maintenance_defs.vacuum_by_week, {"vacuum": True, "reindex": False, "dry_run": False}),
        (maintenance_defs.reindex_by_month, {"vacuum": False, "reindex": True, "dry_run": False}),
    ):
        (request,) = schedule.evaluate_tick(dg.build_schedule_context()).run_requests or ()
        assert request.run_config == {"ops": {"maintain_tables": {"config": wanted}}}
    assert isinstance(back_up_by_quarter(dg.build_schedule_context()), dg.RunRequest)
    with environment({"DATABASE_PUBLIC_URL": "postgresql://u:p@db.example/content"}):
        skipped = back_up_by_quarter(dg.build_schedule_context())
    assert isinstance(skipped, dg.SkipReason)
    assert "BACKUP_URL" in str(skipped.skip_message)
    assert backup_defs.YOUNG_DAYS == 100
