"""The doctor: looks at everything at once, waits no longer than it said, and says a line each.

Which probes there are is `local/doctor/`'s; what PostgreSQL's answers mean is `doctor_postgres.py`'s.
"""

import queue
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from content_orchestration.core.errors import ContentError

State = Literal["ok", "warning", "problem", "unknown"]
MOST_SECONDS = 8.0
"""After this a probe counts as unanswered. Each client gives up before, so that its own reason is heard."""
_SHORTEST_SECRET = 4
_LONGEST_LINE = 500


@dataclass(frozen=True)
class Finding:
    """One line. `unknown` is what could not be looked at: never clean, and never known to be bad.

    mended_by_main_job: the main job brings it about, so before its first run it is as it should be.
    stops: while it lasts, the main job can only fail.
    """

    about: str
    state: State
    text: str
    way_out: str = ""
    mended_by_main_job: bool = False
    stops: bool = False


def ok(about: str, text: str) -> Finding:
    """All is well."""
    return Finding(about, "ok", text)


def warning(about: str, text: str, way_out: str, *, mended_by_main_job: bool = False) -> Finding:
    """It works, and somebody may regret it."""
    return Finding(about, "warning", text, way_out, mended_by_main_job)


def problem(
    about: str, text: str, way_out: str, *, mended_by_main_job: bool = False, stops: bool = False
) -> Finding:  # fmt: skip
    """It does not work."""
    return Finding(about, "problem", text, way_out, mended_by_main_job, stops)


def unknown(about: str, text: str, way_out: str = "") -> Finding:
    """Nobody could look."""
    return Finding(about, "unknown", text, way_out)


@dataclass(frozen=True)
class Probe:
    """One thing to look at. What `look` yields before it fails or hangs is kept; its errors become a finding."""

    about: str
    look: Callable[[], Iterable[Finding]]


@dataclass(frozen=True)
class Diagnosis:
    """Every finding in the order of the probes, and the seconds that it took."""

    findings: tuple[Finding, ...]
    seconds: float

    @property
    def healthy(self) -> bool:
        """Whether nothing is a problem and nothing is unknown; warnings are allowed."""
        return all(finding.state in ("ok", "warning") for finding in self.findings)

    def before_the_main_job(self) -> "Diagnosis":
        """What is not as it should be, without what the main job is about to bring."""
        kept = tuple(f for f in self.findings if f.state != "ok" and not f.mended_by_main_job)
        return Diagnosis(kept, self.seconds)

    def as_lines(self) -> list[str]:
        """One line a finding: its state, what it is about, what is so, and the way out."""
        width = max((len(finding.about) for finding in self.findings), default=0)
        return [
            f"{f.state:<8} {f.about:<{width}}  {f.text}" + (f" -> {f.way_out}" if f.way_out else "")
            for f in self.findings
        ]

    def as_json(self) -> dict[str, Any]:
        """For machines: `healthy`, `seconds`, the count of each state, and the findings."""
        states = [finding.state for finding in self.findings]
        return {
            "healthy": self.healthy,
            "seconds": round(self.seconds, 2),
            "counts": {state: states.count(state) for state in ("ok", "warning", "problem", "unknown")},
            "findings": [asdict(finding) for finding in self.findings],
        }


def examine(
    probes: Sequence[Probe],
    *,
    seconds: float = MOST_SECONDS,
    secrets: Collection[str] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Diagnosis:
    """Run every probe side by side and return after `seconds` at the latest, whatever hangs.

    `secrets` are struck out of every line, however they got there. A probe that hangs keeps its thread, which ends
    with the process.
    """
    began = clock()
    found: list[list[Finding]] = [[] for _ in probes]
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()
    for place, probe in enumerate(probes):
        threading.Thread(target=_run, args=(probe, found[place], ended, place), daemon=True).start()
    running = set(range(len(probes)))
    while running:
        try:
            running.discard(ended.get(timeout=max(0.0, began + seconds - clock())))
        except queue.Empty:
            break
    findings = []
    for place, probe in enumerate(probes):
        findings += list(found[place])
        if place in running:
            findings.append(
                unknown(probe.about, f"no answer within {seconds:g} s", "see that the server runs and is reachable")
            )
    struck = sorted((s for s in secrets if len(s) >= _SHORTEST_SECRET), key=len, reverse=True)
    return Diagnosis(tuple(_presentable(finding, struck) for finding in findings), clock() - began)


def _run(probe: Probe, found: list[Finding], ended: "queue.SimpleQueue[int]", place: int) -> None:
    try:
        found.extend(probe.look())
    except ContentError as error:
        found.append(problem(probe.about, str(error), ""))
    except Exception as error:  # noqa: BLE001  (whatever breaks one probe, the others' lines are what the user came for)
        found.append(unknown(probe.about, f"the look itself failed ({type(error).__name__})", "report it as a defect"))
    finally:
        ended.put(place)


def _presentable(finding: Finding, secrets: Sequence[str]) -> Finding:
    """In one line each, without secrets."""
    return replace(finding, text=_line(finding.text, secrets), way_out=_line(finding.way_out, secrets))


def _line(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return " ".join(text.split())[:_LONGEST_LINE]
