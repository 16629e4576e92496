"""Faults on demand: which request shall fail, and how. What a client then sees is made in `gate.py`."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from content_orchestration.local.zerodb.documents import MalformedError

Kind = Literal["rate_limit", "error", "error_after", "slow", "cut_before", "cut_after"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass
class Fault:
    """One order to fail. It fires for a matching request until `count` is used up, each time with `probability`.

    `rate_limit` answers 429 with Retry-After `retry_after` (seconds); `error` answers `status` before the write and
    `error_after` after it; `slow` does the work and holds the answer back for `seconds`; `cut_before` and `cut_after`
    close the connection without an answer, before or after the write.
    """

    kind: Kind
    count: int | None = None
    probability: float = 1.0
    seed: int = 0
    method: str | None = None
    path_part: str | None = None
    retry_after: int = 1
    status: int = 503
    seconds: float = 1.0
    fired: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311  (repeatable on purpose)

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> "Fault":
        """An order as JSON has it. Without `count` and `probability` it fires once. Raises `MalformedError`."""
        types: dict[str, type | tuple[type, ...]] = {
            "kind": str,
            "count": int,
            "probability": (int, float),
            "seed": int,
            "method": str,
            "path_part": str,
            "retry_after": int,
            "status": int,
            "seconds": (int, float),
        }
        for name, value in given.items():
            if name not in types:
                raise MalformedError(f"unknown field {name}; a fault takes {', '.join(types)}")
            if isinstance(value, bool) or not isinstance(value, types[name]):
                raise MalformedError(f"{name} has the wrong type")
        if given.get("kind") not in KINDS:
            raise MalformedError(f"kind must be one of {', '.join(KINDS)}")
        if "count" not in given and "probability" not in given:
            given = {**given, "count": 1}
        fault = cls(**given)
        if not 0 <= fault.probability <= 1:
            raise MalformedError("probability must be between 0 and 1")
        if not 500 <= fault.status <= 599:
            raise MalformedError("status must be between 500 and 599")
        if min(fault.retry_after, fault.seconds, 0 if fault.count is None else fault.count) < 0:
            raise MalformedError("count, retry_after and seconds must not be negative")
        return fault

    def fires(self, method: str, path: str) -> bool:
        """Whether this request shall fail, counted where it shall."""
        if self.count is not None and self.fired >= self.count:
            return False
        if self.method is not None and self.method.upper() != method:
            return False
        if self.path_part is not None and self.path_part not in path:
            return False
        if self.probability < 1 and self._random.random() >= self.probability:
            return False
        self.fired += 1
        return True

    def as_json(self) -> dict[str, Any]:
        """The order and how often it fired."""
        return asdict(self)


class Controls:
    """What the control endpoints hold: the faults that stand, and counts. Used on the event loop only."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Starts the counts again; faults stay."""
        self.requests: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.in_flight_peak = self._in_flight

    def opened(self, request: str) -> Callable[[], None]:
        """Counts a request as open; the function returned counts it as closed, once."""
        self.requests[request] += 1
        self._in_flight += 1
        self.in_flight_peak = max(self.in_flight_peak, self._in_flight)
        still_open = [request]

        def closed() -> None:
            if still_open:
                still_open.clear()
                self._in_flight -= 1

        return closed

    def pick(self, method: str, path: str) -> Fault | None:
        """The first standing fault that this request sets off."""
        return next((fault for fault in self.faults if fault.fires(method, path)), None)

    def as_json(self) -> dict[str, Any]:
        """Counts by `METHOD route`, by status (or `cut`), and the most requests that were open at once."""
        return {
            "requests": dict(self.requests),
            "answers": dict(self.answers),
            "in_flight_peak": self.in_flight_peak,
        }
