"""Runs the main job in this process on the Dagster instance, with a line a step on the terminal."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import dagster as dg

from content_orchestration.core.quota.usage import tenant_ids
from content_orchestration.policies import TENANTS
from content_orchestration.resources.postgres_client import PostgresClient

JOB = "content_pipeline"


@dataclass
class PipelineResult:
    """What the run did: metadata by asset, every check with its outcome, and the steps that materialized something."""

    run_id: str
    success: bool
    seconds: float
    assets: dict[str, dict[str, Any]] = field(default_factory=dict)
    checks: dict[str, bool] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    steps: set[str | None] = field(default_factory=set)

    @property
    def all_passed(self) -> bool:
        """Whether every step succeeded and every check passed, warnings included."""
        return self.success and all(self.checks.values()) and not self.failures

    @property
    def changed(self) -> int:
        """Legacy rows that migrated and changes that were replicated in this run."""
        migrated = sum(int(self.assets.get(a, {}).get("migrated", 0)) for a in _MIGRATED)
        return migrated + int(self.assets.get("content_storage_dr", {}).get("changes", 0))


_MIGRATED = ("campaign_assets_migrated", "content_items_migrated")


def register_tenants(instance: dg.DagsterInstance, database: PostgresClient) -> list[str]:
    """Make the platform's tenants partitions, as the sensor does; returns them in order."""
    name = TENANTS.name or ""
    tenants = tenant_ids(database)
    instance.add_dynamic_partitions(name, tenants)
    known = set(tenants)
    return [key for key in instance.get_dynamic_partitions(name) if key in known]


def run_pipeline(instance: dg.DagsterInstance, tenants: list[str], say: Callable[[str], None]) -> PipelineResult:
    """Run schema, migration, usage, replication and checks. A failed step is in the result, it does not raise.

    Raises `KeyboardInterrupt` when the run was interrupted.
    """
    from content_orchestration.definitions import defs
    from content_orchestration.defs.schema.jobs import PIPELINE_CONFIG

    job = defs().resolve_job_def(JOB)
    result = PipelineResult(run_id=str(uuid4()), success=False, seconds=0.0)
    instance.add_event_listener(result.run_id, lambda entry: _record(entry, result, say))
    started = time.monotonic()
    tags = {"dagster/asset_partition_range_start": tenants[0], "dagster/asset_partition_range_end": tenants[-1]}
    run = job.execute_in_process(
        instance=instance,
        run_id=result.run_id,
        tags=tags,
        raise_on_error=False,
        # Dagster's console logger only for what stops the run: the lines here are for a person.
        run_config=PIPELINE_CONFIG | {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    # Dagster takes Ctrl-C itself while a run works, and ends the run as cancelled.
    record = instance.get_run_by_id(result.run_id)
    if record is not None and record.status in (dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.CANCELING):
        raise KeyboardInterrupt
    result.success = run.success
    result.seconds = time.monotonic() - started
    return result


def _record(entry: Any, result: PipelineResult, say: Callable[[str], None]) -> None:
    event = entry.dagster_event
    if event is None:
        return
    kind = event.event_type
    if kind == dg.DagsterEventType.ASSET_MATERIALIZATION:
        materialization = event.step_materialization_data.materialization
        values = {key: value.value for key, value in materialization.metadata.items()}
        result.steps.add(event.step_key)
        result.assets[materialization.asset_key.to_user_string()] = values
    elif kind == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        check = event.asset_check_evaluation_data
        name = f"{check.asset_key.to_user_string()}: {check.check_name}"
        result.checks[name] = check.passed
        say(f"  {'ok  ' if check.passed else 'FAIL'} {name}" + (f" - {check.description}" if check.description else ""))
    elif kind == dg.DagsterEventType.STEP_SUCCESS and event.step_key in result.steps:
        say(f"  ok   {event.step_key} ({event.step_success_data.duration_ms / 1000:.1f} s)")
    elif kind == dg.DagsterEventType.STEP_FAILURE:
        error = event.step_failure_data.error
        reason = event.step_failure_data.user_failure_data
        text = (reason.description if reason else None) or (error.message.strip() if error else "no message")
        result.failures.append(f"{event.step_key}: {text}")
        say(f"  FAIL {event.step_key}: {text}")
