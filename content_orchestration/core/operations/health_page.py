"""The health page in Markdown: green or not at the top, what to do about each red line, every figure, and charts."""

from collections.abc import Sequence

from content_orchestration.core.database import Row
from content_orchestration.core.operations.health import HealthReport
from content_orchestration.core.operations.health_facts import Reading
from content_orchestration.core.operations.thresholds import BY_NAME, GROUPS, RULES, TIER_NAMES, State, shown

_BARS = "▁▂▃▄▅▆▇█"
_CHARTED = 72
RUNBOOK = "RUNBOOK.md"
_MARKS = {State.RED: "**RED**", State.UNKNOWN: "**UNKNOWN**"}


def runbook(anchor: str, docs_url: str) -> str:
    """Where a section of the runbook is: below `docs_url`, or by its path in the repository where none is set."""
    return f"{docs_url.rstrip('/') or 'docs'}/{RUNBOOK}#{anchor}"


def page(report: HealthReport, docs_url: str = "") -> str:
    """The whole page. Texts that come from outside hold no mark-up."""
    lines = [f"# {'Green' if report.is_green else 'Not green'}", "", f"{report.summary}.", ""]
    for state, said in ((State.RED, "Red"), (State.UNKNOWN, "Unknown: could not be looked at")):
        found = report.those(state)
        if found:
            lines += [f"## {said}", "", *(_line(reading, docs_url) for reading in found), ""]
    for group, title in GROUPS.items():
        lines += [f"## {title}", "", "| | state | figure | red |", "|---|---|---|---|"]
        lines += [_row(reading) for reading in report.readings if BY_NAME[reading.rule].group == group]
        lines.append("")
        if group == "tiers":
            lines += [_tiers_chart(report.history), ""]
    for title, chart in report.charts.items():
        lines += [f"## {title}, over time", "", chart, ""]
    lines += ["## Numbers", "", "| | |", "|---|---:|"]
    lines += [f"| {name.replace('_', ' ')} | {value:,} |" for name, value in report.numbers.items()]
    lines += ["", f"Looked at in {report.seconds:.2f} s. Where each limit comes from:", ""]
    lines += [f"- {rule.title}: red {rule.words}; {rule.source}" for rule in RULES]
    return "\n".join(lines)


def check_text(readings: Sequence[Reading]) -> str:
    """What is not all right among some readings, in one line; red and unknown each in words of their own."""
    red = [f"{BY_NAME[each.rule].title}: {each.text}" for each in readings if each.state is State.RED]
    unknown = [f"{BY_NAME[each.rule].title}: {each.text}" for each in readings if each.state is State.UNKNOWN]
    parts = [f"red: {'; '.join(red)}"] if red else []
    parts += [f"unknown: could not look. {'; '.join(unknown)}"] if unknown else []
    return ". ".join(parts) or f"{len(readings)} figures are within their limits"


def _line(reading: Reading, docs_url: str) -> str:
    rule = BY_NAME[reading.rule]
    where = runbook(rule.anchor, docs_url)
    link = f"[what to do]({where})" if docs_url else f"what to do: `{where}`"
    return f"- **{rule.title}**: {_cell(reading.text)} (red {rule.words}). {link}"


def _row(reading: Reading) -> str:
    rule = BY_NAME[reading.rule]
    return f"| {rule.title} | {_MARKS.get(reading.state, reading.state)} | {_cell(reading.text)} | {rule.words} |"


def _tiers_chart(history: Sequence[Row]) -> str:
    """The median answer of each look of the last hours as bars, oldest first; x where none was answered."""
    lines = []
    for tier, name in TIER_NAMES.items():
        mine = [row for row in history if row["tier"] == tier][-_CHARTED:]
        answers = [row["seconds"] for row in mine if row["seconds"] is not None]
        top = max(answers, default=0.0) or 1.0
        drawn = "".join("x" if row["seconds"] is None else _BARS[min(7, int(row["seconds"] / top * 7))] for row in mine)
        lines.append(
            f"`{drawn}` {name}: the last {len(mine)} looks, at most {shown(1000 * top, 'ms')}"
            if answers
            else f"{name}: no answer in the last {len(mine)} looks"
        )
    return "\n\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
