"""The environment of Dagster's processes in the local stack: home, storage, logs. All of it below the state folder."""

import os
import shutil
from pathlib import Path

from content_orchestration.settings import PROJECT_ROOT, Settings


def dagster_environment(settings: Settings) -> dict[str, str]:
    """The variables that Dagster's processes need; creates the folders and puts `dagster.yaml` where Dagster looks."""
    state = settings.local_state_dir / "dagster"
    home = state / "home"
    logs = state / "compute_logs"
    for folder in (home, logs):
        folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_instance_file(), home / "dagster.yaml")
    # Dagster asks each new instance's first visitor for a mail address unless this file is there.
    (home / ".nux").mkdir(exist_ok=True)
    (home / ".nux" / "nux.yaml").write_text("seen: 1\n", encoding="utf-8")
    return {
        "DAGSTER_HOME": str(home),
        "DAGSTER_PG_URL": settings.dagster_database_url,
        "DAGSTER_STATE_DIR": str(state),
        "DAGSTER_COMPUTE_LOG_DIR": str(logs),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "LOCAL_STATE_DIR": str(settings.local_state_dir),
    }


def apply(environment: dict[str, str]) -> None:
    """Set the variables in this process, for a Dagster instance that runs in it."""
    os.environ.update(environment)


def _instance_file() -> Path:
    packaged = Path(__file__).resolve().parent.parent / "_dagster.yaml"
    return packaged if packaged.is_file() else PROJECT_ROOT / "deploy" / "dagster.yaml"
