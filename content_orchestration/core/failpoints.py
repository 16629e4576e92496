"""Named points at which a test kills the process. Outside of tests the variable is unset and nothing happens."""

import os
import signal

VARIABLE = "CONTENT_FAILPOINT"


def reach(name: str) -> None:
    """Kill this process with SIGKILL when `CONTENT_FAILPOINT` is `name`, or `name:N` on the N-th time it is reached."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None or wanted.partition(":")[0] != name:
        return
    count = int(wanted.partition(":")[2] or 1) - 1
    if count > 0:
        os.environ[VARIABLE] = f"{name}:{count}"
        return
    os.kill(os.getpid(), signal.SIGKILL)
