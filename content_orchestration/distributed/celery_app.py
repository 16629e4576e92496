"""What a Celery worker runs: `celery -A content_orchestration.distributed.celery_app worker`. The same image, code and
variables as the daemon; broker and limits come from the `dagster.yaml` in `DAGSTER_HOME`. How runs get here is
`celery_launcher.py`'s.
"""

import ctypes
import os
import signal
import sys
from typing import Any

from celery.signals import worker_process_init
from dagster._core.instance.ref import InstanceRef
from dagster_celery.tasks import create_execute_job_task

# Loaded before the worker forks: the processes share what the imports take, and a run does not wait for them.
import content_orchestration.definitions  # noqa: F401
from content_orchestration.core.errors import Permanent
from content_orchestration.distributed.celery_launcher import WatchedCeleryRunLauncher

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _launcher() -> WatchedCeleryRunLauncher:
    home = os.environ.get("DAGSTER_HOME", "")
    launcher = InstanceRef.from_dir(home).run_launcher if home else None
    if not isinstance(launcher, WatchedCeleryRunLauncher):
        raise Permanent(
            f"DAGSTER_HOME is {home!r}, and the dagster.yaml in it names no WatchedCeleryRunLauncher: a worker takes "
            "its broker from there. Copy deploy/celery/dagster.yaml into the folder that DAGSTER_HOME names"
        )
    return launcher


app = _launcher().celery
execute_job = create_execute_job_task(app)


def die_with_the_worker(**_: Any) -> None:
    """Tie a process that works runs to its worker: left behind, it would go on beside the run's second try."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


worker_process_init.connect(die_with_the_worker)
