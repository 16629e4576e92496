"""Past drills as a table and a chart, and whether they prove the promise: each disaster, lately, in time, no loss."""

from collections.abc import Sequence
from dataclasses import dataclass

from content_orchestration.core.drill.record import PastDrill

CHARTED = 30
"""Drills of a scenario in the chart."""
LONGEST_AGE_SECONDS = 8 * 24 * 3600
"""A drill proves nothing any more after this: the schedule runs every week, and one day is for repairing it."""
LONGEST_RTO_SECONDS = 3600
"""The recovery time objective."""
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Verdict:
    """Whether every scenario was proved; `never` means that there is no drill at all, which is not a failed one."""

    failures: Sequence[str]
    never: bool

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.failures

    @property
    def summary(self) -> str:
        """One sentence for the UI."""
        if self.never:
            return "no drill has run yet: launch the job run_drills, or wait for the weekly schedule"
        return "; ".join(self.failures) or "every disaster was recovered from in the last 8 days, in time, without loss"


def judge(drills: Sequence[PastDrill], scenarios: Sequence[str]) -> Verdict:
    """What speaks against the promise, scenario by scenario, by the last drill of each. Given newest first."""
    if not drills:
        return Verdict(("no drill has run yet",), never=True)
    failures = []
    for scenario in scenarios:
        last = next((drill for drill in drills if drill.scenario == scenario), None)
        failures += [f"{scenario}: {reason}" for reason in _against(last)]
    return Verdict(tuple(failures), never=False)


def _against(drill: PastDrill | None) -> list[str]:
    if drill is None:
        return ["was never drilled"]
    if drill.age_seconds > LONGEST_AGE_SECONDS:
        return [f"the last drill was {drill.age_seconds / 86400:.1f} days ago, at most 8 are allowed"]
    if drill.finished_at is None:
        return [f"the drill of {drill.started_at:%Y-%m-%d %H:%M} did not finish (run {drill.run_id})"]
    reasons = []
    if not drill.verified:
        reasons.append("was not verified" + (f" ({drill.error})" if drill.error else ""))
    if drill.rows_lost:
        reasons.append(f"lost {drill.rows_lost} rows and documents beyond the recovery point objective")
    if drill.rto_seconds is not None and drill.rto_seconds >= LONGEST_RTO_SECONDS:
        reasons.append(f"took {drill.rto_seconds:.0f} s, at most {LONGEST_RTO_SECONDS} are allowed")
    return reasons


def drills_chart(drills: Sequence[PastDrill], scenarios: Sequence[str]) -> str:
    """Recovery times of the last drills as a line of bars a scenario, and a table of the last ones, in Markdown.

    Given newest first; bars run from old to new, on one scale, and a drill that was not verified is an x.
    """
    if not drills:
        return "no drill has run yet"
    top = max((drill.rto_seconds or 0.0 for drill in drills), default=0.0) or 1.0
    lines = ["| disaster | recovery times, old to new | last | found by | lost | RPO s | RTO s | verified |"]
    lines += ["|---|---|---|---|---:|---:|---:|---|"]
    for scenario in scenarios:
        mine = [drill for drill in drills if drill.scenario == scenario][:CHARTED]
        if not mine:
            lines.append(f"| {scenario} | | never | | | | | no |")
            continue
        last = mine[0]
        bars = "".join(_bar(drill, top) for drill in reversed(mine))
        lines.append(
            f"| {scenario} | `{bars}` | {last.started_at:%Y-%m-%d %H:%M} | {last.detected_by or 'nobody'} in "
            f"{_number(last.detection_seconds)} s | {'?' if last.rows_lost is None else last.rows_lost} | "
            f"{_number(last.rpo_seconds)} | {_number(last.rto_seconds)} | {'yes' if last.verified else 'no'} |"
        )
    return "\n".join([*lines, "", f"The highest bar is {top:.1f} s; x was not verified or did not finish."])


def _bar(drill: PastDrill, top: float) -> str:
    if not drill.verified or drill.rto_seconds is None:
        return "x"
    return _BARS[min(len(_BARS) - 1, int(drill.rto_seconds / top * (len(_BARS) - 1)))]


def _number(seconds: float | None) -> str:
    return "?" if seconds is None else f"{seconds:.1f}"
