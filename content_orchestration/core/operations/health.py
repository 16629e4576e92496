"""Is everything all right? Probes of the tiers and what PostgreSQL knows, judged by the thresholds, as one report.

What is read is in `health_facts.py`, how it looks in `health_page.py`.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psycopg

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import ContentError
from content_orchestration.core.operations.health_facts import READERS, Facts, Reading, forget_rejections, read
from content_orchestration.core.operations.health_probe import (
    TIER_SECONDS,
    Probe,
    Sample,
    error_percent,
    probe_tiers,
    recent_samples,
    record_samples,
)
from content_orchestration.core.operations.thresholds import BY_NAME, RULES, TIER_NAMES, State

CHARTED_HOURS = 24.0
_GIB = 1024**3

EventLog = Callable[[], tuple[int, int]]


@dataclass(frozen=True)
class HealthReport:
    """Every rule's figure in the order of the rules, plain numbers, charts, and how long the look took (seconds)."""

    readings: Sequence[Reading]
    samples: Mapping[str, Sample]
    history: Sequence[Row]
    seconds: float
    numbers: Mapping[str, float | int] = field(default_factory=dict)
    charts: Mapping[str, str] = field(default_factory=dict)

    def those(self, state: State) -> list[Reading]:
        """The figures in one state."""
        return [reading for reading in self.readings if reading.state is state]

    @property
    def is_green(self) -> bool:
        """Whether nothing is red and nothing is unknown: what could not be looked at is not all right."""
        return not self.those(State.RED) and not self.those(State.UNKNOWN)

    @property
    def summary(self) -> str:
        """One line: green, or what is not."""
        if self.is_green:
            return f"green: {len(self.those(State.OK))} figures are within their limits"
        red, unknown = self.those(State.RED), self.those(State.UNKNOWN)
        parts = []
        if red:
            parts.append(f"{len(red)} red ({', '.join(each.rule for each in red)})")
        if unknown:
            parts.append(f"{len(unknown)} unknown ({', '.join(each.rule for each in unknown)})")
        return "not green: " + ", ".join(parts)

    def as_metadata(self) -> dict[str, Any]:
        """Numbers for the asset's metadata: one key a figure, so that Dagster plots each of them."""
        return {
            "green": self.is_green,
            "summary": self.summary,
            "red": len(self.those(State.RED)),
            "unknown": len(self.those(State.UNKNOWN)),
            "health_seconds": round(self.seconds, 3),
            **{
                _key(reading.rule): round(float(reading.value), 3)
                for reading in self.readings
                if reading.value is not None
            },
            **self.numbers,
        }


def take_health(
    database: Database,
    probes: Mapping[str, Probe],
    event_log: EventLog | None,
    *,
    replicates: bool = True,
    seconds: float = TIER_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> HealthReport:
    """Look at everything, within about two seconds whatever is down. Raises nothing that a tier or database did.

    The probes of a tier may take `seconds` together, and the look at Dagster's event log no longer than is left of it.
    `probes` has one question a tier; `event_log` answers rows and bytes of Dagster's event log. Where replication is
    switched off (`replicates`), nobody asks BigQuery, and its figures and replication's are off.
    """
    started = clock()
    log = _Aside(event_log)
    asked = {tier: probe for tier, probe in probes.items() if replicates or tier != "bigquery"}
    samples = probe_tiers(asked, seconds=seconds)
    down = samples["postgres"].error if samples["postgres"].is_down else None
    history: list[Row] = []
    facts: list[Facts]
    if down is None:
        with ThreadPoolExecutor(len(READERS), thread_name_prefix="health") as pool:
            facts = list(pool.map(lambda name: read(database, name), READERS))
        history = _remembered(database, samples)
    else:
        why = f"PostgreSQL is down: {down}"
        facts = [Facts([Reading.unknown(rule, why) for rule in rules]) for _, rules in READERS.values()]
    found = {reading.rule: reading for each in facts for reading in each.readings}
    numbers = {name: value for each in facts for name, value in each.numbers.items()}
    charts = {title: chart for each in facts for title, chart in each.charts.items()}
    for sample in samples.values():
        found |= {reading.rule: reading for reading in _of_tier(sample, history, known=down is None)}
    found["event_log"], rows = log.read(max(0.0, seconds - (clock() - started)))
    numbers |= rows
    for rule in RULES:
        if not replicates and (rule.group == "replication" or rule.name.startswith("bigquery_")):
            found[rule.name] = Reading(rule.name, None, "BIGQUERY_SYNC_ENABLED is false", State.OFF)
    return HealthReport([found[rule.name] for rule in RULES], samples, history, clock() - started, numbers, charts)


def _remembered(database: Database, samples: Mapping[str, Sample]) -> list[Row]:
    """This look's samples written down, and those of the last day; nothing where the table cannot be used."""
    try:
        record_samples(database, list(samples.values()))
        forget_rejections(database)
        return recent_samples(database, CHARTED_HOURS)
    except (ContentError, psycopg.Error):
        return []


def _of_tier(sample: Sample, history: Sequence[Row], *, known: bool) -> list[Reading]:
    tier, name = sample.tier, TIER_NAMES[sample.tier]
    lately = [row for row in history if row["lately"]]
    errors = error_percent(lately, tier)
    why = sample.error or ""
    return [
        Reading.of(f"{tier}_down", 100.0 * sample.failed / sample.probes, why),
        Reading.unknown(f"{tier}_latency", f"{name} is down: {why}")
        if sample.seconds is None
        else Reading.of(f"{tier}_latency", 1000.0 * sample.seconds),
        Reading.unknown(
            f"{tier}_errors",
            "the probes of the last hour could not be read" if known else "PostgreSQL, which keeps the probes, is down",
        )
        if errors is None
        else Reading.of(f"{tier}_errors", errors),
    ]


class _Aside:
    """The size of Dagster's event log, asked in a thread of its own: that server may hang like any other."""

    def __init__(self, event_log: EventLog | None) -> None:
        self._event_log = event_log
        self._size: tuple[int, int] | None = None
        self._why = "it did not answer in time" if event_log else "nobody told where Dagster's event log is"
        self._thread = threading.Thread(target=self._ask, daemon=True, name="probe event log")
        self._thread.start()

    def read(self, seconds: float) -> tuple[Reading, dict[str, int]]:
        """The figure and its numbers; unknown where it is not there within `seconds`."""
        self._thread.join(seconds)
        if self._size is None:
            return Reading.unknown("event_log", self._why), {}
        rows, size = self._size
        numbers = {"event_log_rows": rows, "event_log_bytes": size}
        return Reading.of("event_log", size / _GIB, f"{rows:,} rows"), numbers

    def _ask(self) -> None:
        try:
            self._size = self._event_log() if self._event_log else None
        except (ContentError, psycopg.Error) as error:
            self._why = " ".join(str(error).split())[:300]


def _key(rule: str) -> str:
    """The name of a figure among the metadata, with its unit where the rule's name does not tell it."""
    unit = {"s": "seconds", "%": "percent", "ms": "ms", "GiB": "gib"}.get(BY_NAME[rule].unit)
    return f"{rule}_{unit}" if unit else rule
