"""Turns an error of looking into the outcome *unknown*. What is compared, and how, belongs to the comparisons."""

import time
from collections.abc import Callable

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.integrity.findings import Comparison


def looked(name: str, look: Callable[[], Comparison], clock: Callable[[], float] = time.monotonic) -> Comparison:
    """The comparison that `look` makes, or one that is unknown, with the reason, where it raises.

    Unknown is not zero (`DESIGN.md`, decision 9): what could not be read is neither clean nor different. `clock` is in
    seconds. Every other error passes through: it is a defect of ours and no outage.
    """
    started = clock()
    try:
        return look()
    except (Transient, Permanent) as error:
        return Comparison(name, unknown=str(error), seconds=clock() - started)
